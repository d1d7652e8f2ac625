"""Garbage collection, held still while measuring and decoding.

It would cost more there than it could find.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from typing import Final

__all__ = ["Collector", "no_collections"]

_PYTHONS_OWN: Final = 1_000  # Python 3.12 begins with 375 objects set aside


class Collector:
    """Spares the garbage collector the objects from before measuring.

    Nearly all of them are modules, which are never garbage.

    One pass through what pytest and pydantic have made takes 35 ms of a processor that the server may share with us, at
    any moment; what a case leaves behind takes 1 ms.
    """

    def __init__(self) -> None:
        self._set_aside = False

    def set_aside(self) -> None:
        """Freeze all objects that exist now, once (``gc.freeze``).

        Nothing is done where somebody else has frozen theirs.
        """
        if not self._set_aside and gc.get_freeze_count() < _PYTHONS_OWN:
            gc.freeze()
            self._set_aside = True

    def give_back(self) -> None:
        """Unfreeze the objects; safe to call twice.

        What has become garbage meanwhile is found again.
        """
        if self._set_aside:
            self._set_aside = False
            gc.unfreeze()


@contextlib.contextmanager
def no_collections() -> Iterator[None]:
    """Context without garbage collection, for decoding.

    Decoding makes no cycles, but so many objects that the collector goes through all of them again and again.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
