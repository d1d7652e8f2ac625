"""Earlier runs of a case: its headline number in each, for reports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from pytest_flperf.results.measured import Distribution
from pytest_flperf.results.records import CaseResult

__all__ = ["HEADLINES", "EarlierRun", "EarlierRuns", "headline"]

HEADLINES: Final = ("ttft_ms", "e2e_ms")
"""Metrics whose median is a case's headline; the first that it has."""


@dataclass(frozen=True, slots=True)
class EarlierRun:
    """An earlier run of a case."""

    started_at: str
    """ISO 8601, UTC."""
    outcome: str
    value: float
    """Median of the headline metric, in its unit."""


EarlierRuns: TypeAlias = Mapping[str, tuple[EarlierRun, ...]]
"""By the node id of a case, oldest first."""


def headline(case: CaseResult) -> tuple[str, Distribution] | None:
    """The headline metric of a case; None where it has none."""
    return next(_headlines(case), None)


def _headlines(case: CaseResult) -> Iterator[tuple[str, Distribution]]:
    return ((name, case.metrics[name]) for name in HEADLINES if name in case.metrics)
