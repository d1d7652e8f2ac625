"""Trends: one number of each case over the stored runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pytest_flperf.history.series import SeriesPoint

__all__ = ["Trend", "newest_runs", "trends_of"]


@dataclass(frozen=True, slots=True)
class Trend:
    """Trend of a case: its number in each run, and where it began."""

    points: tuple[SeriesPoint, ...]
    """Oldest first; at least one of them was measured."""
    start: SeriesPoint | None
    """What its newest number is compared with; None: that run has none of this case."""

    @property
    def last(self) -> SeriesPoint:
        """The newest point that was measured."""
        return next(point for point in reversed(self.points) if _is_measured(point))

    @property
    def change_pct(self) -> float | None:
        """Change of the newest number from the start, in percent; None where either is unknown, infinite or 0."""
        if self.start is None or self.start == self.last or not self.start.value or self.last.value is None:
            return None
        return 100 * (self.last.value / self.start.value - 1)


def trends_of(points: Iterable[SeriesPoint], start: Sequence[SeriesPoint] | None = None) -> list[Trend]:
    """The trend of each case that was measured, in the order in which they first came.

    A case on another machine is another case.

    Args:
        points: Oldest first.
        start: Points of the run that numbers are compared with; None: each with its oldest.

    """
    found: dict[tuple[str, ...], list[SeriesPoint]] = {}
    for point in points:
        found.setdefault(_case(point), []).append(point)
    begun = {_case(point): point for point in start or () if _is_measured(point)}
    trends = []
    for case, of_case in found.items():
        oldest = next((point for point in of_case if _is_measured(point)), None)
        if oldest is not None:
            trends.append(Trend(tuple(of_case), oldest if start is None else begun.get(case)))
    return trends


def newest_runs(points: Iterable[SeriesPoint]) -> list[str]:
    """Ids of the runs that points come from, in their order."""
    return list(dict.fromkeys(point.run for point in points))


def _is_measured(point: SeriesPoint) -> bool:
    return point.value is not None or point.infinite


def _case(point: SeriesPoint) -> tuple[str, ...]:
    return point.suite, point.scenario, point.model, point.parameters, point.host
