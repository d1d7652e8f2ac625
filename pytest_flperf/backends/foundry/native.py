"""Native Foundry chat: answers inside the runtime's host, without HTTP.

Requests and answers are the same JSON as over HTTP.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from pytest_flperf.backends.base import BackendError, NativeAnswer
from pytest_flperf.foundry_host.client import Answered, RuntimeHost
from pytest_flperf.foundry_host.errors import RuntimeHostError
from pytest_flperf.foundry_host.logs import clean

__all__ = ["FoundryChat"]

_SAME: Final = ("id", "object", "created", "model")
_SHOWN: Final = 1_000
_NS_PER_S: Final = 1_000_000_000


class FoundryChat:
    """Native chat with a loaded model of a host."""

    def __init__(self, host: RuntimeHost, model_id: str) -> None:
        """``host`` must have ``model_id`` loaded."""
        self._host = host
        self._model_id = model_id

    def chat(self, body: Mapping[str, Any], deadline_s: float) -> NativeAnswer:
        """Answer a request; cancels it after ``deadline_s``.

        A cancelled answer has the chunks so far, and an error.  Thread-safe.  ``model`` in the body is overridden.  A
        stream always ends with token counts: they cost nothing here.
        """
        try:
            answered = self._host.chat(self._model_id, json.dumps({**body, "model": self._model_id}), deadline_s)
        except (RuntimeHostError, OSError) as error:
            raise BackendError(f"{self._model_id}: {error}") from error
        said = clean(answered.error, _SHOWN)
        late = bool(said) and answered.ended_ns - answered.sent_ns >= deadline_s * _NS_PER_S
        if late:
            said = f"no end within {deadline_s:g} s, cancelled ({said})"
        return NativeAnswer(answered.sent_ns, _chunks(answered), answered.ended_ns, said, late)


def _chunks(answered: Answered) -> tuple[tuple[int, Mapping[str, Any]], ...]:
    """Chunks as the web service sends them, plus one with usage.

    Only a stream has that last chunk.
    """
    read = [(stamp, _read(text)) for stamp, text in zip(answered.stamps_ns, answered.chunks, strict=True)]
    found = [(stamp, chunk) for stamp, chunk in read if chunk is not None]
    usage = _read(answered.usage) if answered.usage else None
    if usage is not None:
        last = found[-1][1] if found else {}
        same: dict[str, Any] = {name: last[name] for name in _SAME if name in last}
        found.append((answered.ended_ns, {**same, "choices": [], "usage": usage}))
    return tuple(found)


def _read(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
