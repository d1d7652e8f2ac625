"""Stored numbers: those that have a column, and how infinite ones are told."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Double, Table

from pytest_flperf.history.tables import CASES, METRICS, RESOURCES

__all__ = ["INFINITE", "OF_CASES", "RESOURCE_STATISTICS", "STATISTICS"]

INFINITE: Final = 1e300
"""A stored number from here on is infinite: failed requests count as that.  Databases compare with it, because not each
has a word for infinity."""


def _numbers(table: Table) -> tuple[str, ...]:
    return tuple(column.name for column in table.columns if isinstance(column.type, Double))


STATISTICS: Final = _numbers(METRICS)
"""Statistics of a metric of requests."""
RESOURCE_STATISTICS: Final = _numbers(RESOURCES)
OF_CASES: Final = _numbers(CASES)
"""Metrics that are one number for a case."""
