"""Run metrics: numbers of a whole run that budgets limit."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from pytest_flperf.results.metrics import Metric

__all__ = ["JUDGE_METRIC", "RUN_METRICS"]


def _run(name: str, unit: str, title: str, definition: str) -> Metric:
    return Metric(f"run.{name}", unit, title, "lower", definition, "run")


RUN_METRICS: Final[Mapping[str, Metric]] = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            _run("error_rate", "fraction", "errors", "measured requests that did not end ok / all of them"),
            _run("timeout_rate", "fraction", "timeouts", "measured requests that ran into a deadline / all of them"),
            _run("failed", "count", "failed requests", "measured requests that did not end ok"),
            _run(
                "cost",
                "currency",
                "cost",
                "what all requests of all cases cost, as far as the server said what they used: warm-up, ramp-up, "
                "cool-down and retries included",
            ),
            _run("late_reads", "count", "late reads", "late reads of all cases"),
            _run(
                "cases_failed",
                "count",
                "failed cases",
                "cases that failed or ended with an error, of set-up and teardown as well",
            ),
            _run("wall_s", "s", "wall time", "from the start of pytest's session to the end of its last test"),
        )
    }
)
"""Metrics that a budget of the whole run can limit."""

JUDGE_METRIC: Final = "judge.pass_rate_lower"
"""Metric of a judge's gate: the lower end of a model's corrected pass rate, a fraction."""
