"""Absent metrics: what was not measured in a run, and why."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from pytest_flperf.results.metrics import METRICS
from pytest_flperf.results.records import CaseResult

__all__ = ["absent_lines"]

_MOST: Final = 20


def absent_lines(cases: Iterable[CaseResult]) -> tuple[str, ...]:
    """Absent metrics with their reason, each reason once.

    Such as ``not measured: gpu_util_pct, gpu_mem_mb: no NVIDIA driver on this machine``.  A metric that one case has is
    named all the same where another case lacks it.
    """
    by_reason: dict[str, set[str]] = {}
    for case in cases:
        for metric, reason in case.resources_absent.items():
            by_reason.setdefault(reason, set()).add(metric)
    order = list(METRICS)

    def place(metric: str) -> int:
        return order.index(metric) if metric in METRICS else len(order)  # a later version's

    lines = [
        f"not measured: {', '.join(sorted(metrics, key=place))}: {reason}" for reason, metrics in by_reason.items()
    ]
    return tuple(lines[:_MOST])
