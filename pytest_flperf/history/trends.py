"""Trends: one number of each case over the stored runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pytest_flperf.history.series import SeriesPoint, is_like

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
    def unlike(self) -> int:
        """Points that can't be compared with the newest: of another machine, or under other conditions."""
        return sum(not is_like(point, self.last) for point in self.points)

    @property
    def is_comparable(self) -> bool:
        """Whether the newest number can be compared with an earlier start."""
        return self.start is not None and self.start != self.last and is_like(self.start, self.last)

    @property
    def change_pct(self) -> float | None:
        """Change of the newest number from the start, in percent.

        None where either is unknown, infinite or 0, and where they can't be compared.
        """
        if self.start is None or not self.is_comparable or not self.start.value or self.last.value is None:
            return None
        return 100 * (self.last.value / self.start.value - 1)


def trends_of(points: Iterable[SeriesPoint], start: Sequence[SeriesPoint] | None = None) -> list[Trend]:
    """The trend of each case that was measured, in the order in which they first came.

    A case on another machine is another case.

    Args:
        points: Oldest first.
        start: Points of the run that numbers are compared with; None: each with the oldest that is
            like its newest.

    """
    found: dict[tuple[str, ...], list[SeriesPoint]] = {}
    for point in points:
        found.setdefault(_case(point), []).append(point)
    begun = {_case(point): point for point in start or () if _is_measured(point)}
    trends = []
    for case, of_case in found.items():
        known = [point for point in of_case if _is_measured(point)]
        if known:
            oldest = next(point for point in known if is_like(point, known[-1]))
            trends.append(Trend(tuple(of_case), oldest if start is None else begun.get(case)))
    return trends


def newest_runs(points: Iterable[SeriesPoint]) -> list[str]:
    """Ids of the runs that points come from, in their order."""
    return list(dict.fromkeys(point.run for point in points))


def _is_measured(point: SeriesPoint) -> bool:
    return point.value is not None or point.infinite


def _case(point: SeriesPoint) -> tuple[str, ...]:
    return point.suite, point.scenario, point.model, point.parameters, point.host
