"""Deadline of scoring: the end of the time, or an interrupt."""

from __future__ import annotations

import math
import time
from typing import Final

from pytest_flperf.loadgen.worker_client import Pending

__all__ = ["ScoringTime"]

_GRACE_S: Final = 2.0
"""To score what has been measured where the time is over."""
_OVER: Final = "the run's time was up"
_INTERRUPTED: Final = "the run was interrupted"


class ScoringTime:
    """Tells why scoring of a case ends; empty: go on."""

    def __init__(self, stop_at: float | None) -> None:
        """``stop_at``: when the run ends (monotonic, in seconds); None: never."""
        self._ends_at = math.inf if stop_at is None else stop_at + _GRACE_S
        self._why = _OVER
        self._interrupts: Pending | None = None

    def begin(self, interrupts: Pending) -> None:
        """Begin the scoring: everything is measured.

        From now on an interrupt ends the scoring, and it has a little time in any case.
        """
        self._interrupts = interrupts
        self._ends_at = max(self._ends_at, time.monotonic() + _GRACE_S)

    def hurry(self) -> None:
        """Shorten the scoring: the case was interrupted while it was measured.

        A little time is left.
        """
        self._why = _INTERRUPTED
        self._ends_at = min(self._ends_at, time.monotonic() + _GRACE_S)

    def __call__(self) -> str:
        """Why scoring ends; the reason stays."""
        if self._interrupts is not None and self._interrupts.pending:
            return _INTERRUPTED
        return self._why if time.monotonic() >= self._ends_at else ""
