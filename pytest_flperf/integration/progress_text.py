"""Progress text of a case, fitted to the room that a line has left."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from pytest_flperf._text import printable
from pytest_flperf.measurement.plan_progress import Counter
from pytest_flperf.report.terminal.tables import cut, width_of
from pytest_flperf.wire.exchange import Phase

__all__ = ["CaseText", "count_words", "fitted", "measured_share", "speed_words"]

_SHORTEST_NAME: Final = 12
_LONGEST: Final = 400
_WHOLE_FROM: Final = 100.0
_REQUESTS: Final = " requests"


@dataclass(frozen=True, slots=True)
class CaseText:
    """Parts of a case's progress; empty ones are left out."""

    place: str
    """Its number in the run: ``3/22``."""
    name: str
    """Of the case, or of what is done to make its model ready: ``loading nano``."""
    doing: str
    """``12/50 requests``, ``43 % (12 s)``."""
    speed: tuple[str, ...]
    """Current numbers, the more important first."""
    left: str
    """Time left in the run."""

    def __str__(self) -> str:
        """In one line: ``3/22 chat 12/50 requests, TTFT 152 ms, 41.2 tok/s, 40 s left``."""
        words = " ".join(filter(None, (self.place, self.name, self.doing)))
        return printable(", ".join(filter(None, (words, *self.speed, self.left))), _LONGEST)


def fitted(text: CaseText, room: int) -> str:
    """The text in so many cells.

    The name is shortened first; then words go, the least important first.
    """
    for shorter in _ever_shorter(text):
        excess = width_of(str(shorter)) - room
        if excess <= 0:
            return str(shorter)
        width = width_of(printable(shorter.name))
        if shorter.name and width - excess >= _SHORTEST_NAME:
            return str(replace(shorter, name=cut(printable(shorter.name), width - excess)))
    return cut(str(replace(text, name="", speed=(), left="")), room)


def _ever_shorter(text: CaseText) -> Iterator[CaseText]:
    yield text
    text = replace(text, doing=text.doing.removesuffix(_REQUESTS))
    yield text
    while text.speed:
        text = replace(text, speed=text.speed[:-1])
        yield text
    yield replace(text, name="")
    yield replace(text, name="", left="")


def count_words(count: Counter) -> str:
    """Requests that have ended: ``12/50 requests``, ``warming up 1/3``."""
    done = f"{count.done}/{count.total}" if count.total else str(count.done)
    return f"warming up {done}" if count.phase is Phase.WARMUP else done + _REQUESTS


def measured_share(count: Counter) -> float:
    """Share of a case's measured requests that have ended; 0 where nobody knows."""
    return count.done / count.total if count.total and count.phase is not Phase.WARMUP else 0.0


def speed_words(count: Counter) -> tuple[str, ...]:
    """Current numbers of a case: ``TTFT 152 ms``, ``41.2 tok/s``."""
    speed = count.speed()
    tps = "" if speed.tps is None else f"{_digits(speed.tps)} {'total ' if speed.of_all else ''}tok/s"
    return ("" if speed.ttft_ms is None else f"TTFT {_digits(speed.ttft_ms)} ms", tps)


def _digits(value: float) -> str:
    return f"{value:.0f}" if value >= _WHOLE_FROM else f"{value:.3g}"
