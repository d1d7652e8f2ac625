"""Benchmark language models on your own machine with pytest, or from a script."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pytest_flperf.errors import FlperfError
    from pytest_flperf.quality.scorers.answers import AnswerScore, AnswerToScore
    from pytest_flperf.results.comparison import Comparison
    from pytest_flperf.results.metric_access import NotMeasuredError
    from pytest_flperf.results.records import CaseResult, Distribution, ResourceUse, Run
    from pytest_flperf.session.compare import RunComparison, compare, load_run, load_runs
    from pytest_flperf.session.measure import load_suite, measure
    from pytest_flperf.suite.model import Case, Scenario, Suite

__all__ = [
    "AnswerScore",
    "AnswerToScore",
    "Case",
    "CaseResult",
    "Comparison",
    "Distribution",
    "FlperfError",
    "NotMeasuredError",
    "ResourceUse",
    "Run",
    "RunComparison",
    "Scenario",
    "Suite",
    "compare",
    "load_run",
    "load_runs",
    "load_suite",
    "measure",
]

_ROOMS: Final = {
    "AnswerScore": "quality.scorers.answers",
    "AnswerToScore": "quality.scorers.answers",
    "Case": "suite.model",
    "CaseResult": "results.records",
    "Comparison": "results.comparison",
    "Distribution": "results.records",
    "FlperfError": "errors",
    "NotMeasuredError": "results.metric_access",
    "ResourceUse": "results.records",
    "Run": "results.records",
    "RunComparison": "session.compare",
    "Scenario": "suite.model",
    "Suite": "suite.model",
    "compare": "session.compare",
    "load_run": "session.compare",
    "load_runs": "session.compare",
    "load_suite": "session.measure",
    "measure": "session.measure",
}
"""Where each public name is: they are imported at first use (PEP 562), because pytest imports this package always."""


def __getattr__(name: str) -> Any:
    """Import a public name."""
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_ROOMS[name]}"), name)


def __dir__() -> list[str]:
    """Public names, for completion."""
    return [*globals(), *__all__]
