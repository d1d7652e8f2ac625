"""Time limit of a run: ``--flperf-max-time``."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Self

from pytest_flperf._text import printable
from pytest_flperf.session.options import RunOptions

__all__ = ["OutOfTimeError", "TimeLimit"]


class OutOfTimeError(Exception):
    """The time of ``--flperf-max-time`` is over; no further case begins."""


@dataclass(frozen=True, slots=True)
class TimeLimit:
    """Time limit for measuring, counted from the run's start.

    It thus includes waiting and loading.
    """

    ends_at: float | None
    """On the monotonic clock, in seconds; None: no limit."""
    words: str
    """Why no more is measured."""

    @classmethod
    def of(cls, options: RunOptions, begun_s: float) -> Self:
        """Time limit of a run that began at this monotonic time."""
        if options.max_time is None or options.max_time_s is None:
            return cls(None, "")
        return cls(begun_s + options.max_time_s, f"--flperf-max-time={printable(options.max_time, 40)} is over")

    @property
    def over(self) -> bool:
        """Whether nothing more may begin."""
        return self.ends_at is not None and time.monotonic() >= self.ends_at
