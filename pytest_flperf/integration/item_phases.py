"""Additions to pytest's report of an item: planned case, results."""

from __future__ import annotations

from typing import Any, Final

import pytest

from pytest_flperf.integration.current_run import measuring_run
from pytest_flperf.integration.item_state import case_of
from pytest_flperf.options import ITEM_RESULTS
from pytest_flperf.results.host import host_name
from pytest_flperf.results.records import PlannedCase
from pytest_flperf.session.errors import OptionsError
from pytest_flperf.session.planned_cases import UNKNOWN_MODEL, planned_case

__all__ = ["tell"]

_SUITE: Final = "tests"
"""Suite name, in results, of tests with the fixture."""


def tell(item: pytest.Item, report: pytest.TestReport) -> None:
    """Attach planned case and results to a report.

    They are exact builtins, because xdist's channel takes nothing else.
    """
    cases: list[dict[str, Any]] = item.stash.get(ITEM_RESULTS, [])
    item.stash[ITEM_RESULTS] = []
    of_suite = case_of(item) is not None
    vars(report)["flperf"] = {"planned": _planned(item).to_dict(), "of_suite": of_suite, "cases": cases}


def _planned(item: pytest.Item) -> PlannedCase:
    case = case_of(item)
    if case is not None:
        return planned_case(case, item.nodeid)
    return PlannedCase(item.nodeid, _SUITE, item.name, _model_of(item), host=host_name())


def _model_of(item: pytest.Item) -> str:
    for marker in item.iter_markers("flperf"):
        model = marker.kwargs.get("model")
        if isinstance(model, str) and model:
            return model
    try:
        return measuring_run(item.config).default_model
    except (OptionsError, pytest.UsageError):  # wrong options fail the test
        return UNKNOWN_MODEL
