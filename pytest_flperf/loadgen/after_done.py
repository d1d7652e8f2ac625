"""Open bodies after ``[DONE]``: when to check that an answer ended."""

from __future__ import annotations

import re
from typing import Final

from pytest_flperf.wire.exchange import Ending

__all__ = ["PERHAPS_DONE", "AfterDone", "may_be_done"]

_DONE: Final = b"[DONE]"
_PATIENCE_NS: Final = 50_000_000
"""For the end of the body, which nearly always comes together with ``[DONE]`` or right behind it."""
_SURE: Final = 2
"""Bodies that must have stayed open before a target is known for it."""
_TAIL: Final = 64
"""Bytes at the end of a read in which ``[DONE]`` is looked for: nothing but the body's own end belongs behind it."""
_SHORT: Final = 24
"""Bytes of the read that may bring the rest of a ``[DONE]`` that was split."""
_FEW: Final = 24
"""Reads that such a ``[DONE]`` is looked for in, the newest ones."""
_BETWEEN_CHUNKS: Final = re.compile(rb"\r\n[0-9a-fA-F]+\r\n")

PERHAPS_DONE: Final = (Ending.COMPLETE, "[DONE] may have come")
"""What a read returns in place of an ending: the caller must check what came.  Compared by identity."""


def may_be_done(data: bytes, parts: list[bytes]) -> bool:
    """Whether a read may have completed the ``[DONE]`` of a stream.

    A true result is no proof: the bytes may also be text of the answer.

    Args:
        data: The last read; it is in ``parts``, too.
        parts: All reads.

    """
    # Once for every token: a search of all bytes with "in" takes twice as long, 60 % of what the framing does.
    if data.find(_DONE, -_TAIL) >= 0:
        return True
    if len(data) >= _SHORT:
        return False
    tail = b"".join(parts[-_FEW:])  # split over reads, or over chunks as well
    return _DONE in tail or _DONE in _BETWEEN_CHUNKS.sub(b"", tail)


class AfterDone:
    """Targets that keep the body open after ``[DONE]``.

    A connection can be reused only where the body ends, so there is time to wait for that; a target that has shown
    that it doesn't end its bodies costs no waiting.
    """

    def __init__(self) -> None:
        self._open: dict[int, int] = {}

    def look_ns(self, target: int, now_ns: int) -> int:
        """When to check whether the answer has ended with ``[DONE]``."""
        return now_ns if self._open.get(target, 0) >= _SURE else now_ns + _PATIENCE_NS

    def stayed_open(self, target: int) -> None:
        """Record that a body did not end after ``[DONE]``."""
        self._open[target] = self._open.get(target, 0) + 1
