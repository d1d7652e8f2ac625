"""Progress of a run: what is told while it measures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from pytest_flperf.session.time_left import Expected

__all__ = ["CaseProgress", "Progress", "SilentProgress"]


class CaseProgress(Protocol):
    """Progress of one case."""

    def stage(self, what: str, percent: float | None) -> None:
        """Report progress of a download or a model load."""

    def requests(self, done: int, total: int) -> None:
        """Report the number of finished requests."""


class Progress(Protocol):
    """Progress of a run."""

    def expect(self, cases: Callable[[], Mapping[str, Expected]], ends_at_s: float | None) -> None:
        """Hear which cases are to be measured, and when the run will be ended.

        ``cases`` gives what is expected of each by node id; it is called only where that is shown.
        """

    def of(self, nodeid: str) -> AbstractContextManager[CaseProgress]:
        """Report on one case."""

    def line(self, text: str) -> None:
        """Print a line that a person must see."""


class SilentProgress:
    """Progress that tells nobody."""

    def expect(self, cases: Callable[[], Mapping[str, Expected]], ends_at_s: float | None) -> None:
        """Estimate nothing."""
        del cases, ends_at_s

    @contextmanager
    def of(self, nodeid: str) -> Iterator[CaseProgress]:
        """Report on one case."""
        del nodeid
        yield _Silent()

    def line(self, text: str) -> None:
        """Print nothing."""


class _Silent:
    def stage(self, what: str, percent: float | None) -> None:
        """Print nothing."""

    def requests(self, done: int, total: int) -> None:
        """Print nothing."""
