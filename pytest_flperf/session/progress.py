"""Progress of a run: what is told while it measures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Protocol

from pytest_flperf.session.time_left import Expected

if TYPE_CHECKING:
    from pytest_flperf.measurement.plan_progress import Counter

__all__ = ["CaseProgress", "Progress", "SilentProgress"]


class CaseProgress(Protocol):
    """Progress of one case."""

    def stage(self, what: str, percent: float | None) -> None:
        """Report progress of a download or a model load."""

    def requests(self, count: Counter) -> None:
        """Report the requests that have ended, of a warm-up or measured."""


class Progress(Protocol):
    """Progress of a run."""

    def expect(self, cases: Callable[[], Mapping[str, Expected]], ends_at_s: float | None) -> None:
        """Hear which cases are to be measured, and when the run will be ended.

        ``cases`` gives what is expected of each by node id; it is called only where that is shown.
        """

    def of(self, nodeid: str) -> AbstractContextManager[CaseProgress]:
        """Report on one case; without a node id, on what comes before the first."""

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

    def requests(self, count: Counter) -> None:
        """Print nothing."""
