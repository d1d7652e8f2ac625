"""How results get from a test to whoever sums the run up: on its report, across processes too."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_flperf.gates.text import printable
from pytest_flperf.report.junit import properties
from pytest_flperf.results.records import CaseResult
from pytest_flperf.startup import ITEM_RESULTS, TOLD_PROPERTIES

__all__ = ["add_item_result", "attach_results"]


def add_item_result(item: pytest.Item, result: CaseResult) -> None:
    """Give a result to the item's report, as exact builtins: xdist's channel takes nothing else."""
    item.stash.setdefault(ITEM_RESULTS, []).append(result.to_dict())
    told, found = item.user_properties, properties(result)
    if found[0] in told:  # another plugin runs the test again: what the try before measured is not this one's
        known = item.stash.get(TOLD_PROPERTIES, {}).get(result.nodeid, [])
        told[:] = [each for each in told if each not in known]
    item.stash.setdefault(TOLD_PROPERTIES, {})[result.nodeid] = found
    told.extend(found)


def attach_results(report: pytest.TestReport, results: list[dict[str, Any]]) -> None:
    """Let a report carry results; where the test failed by itself, or was skipped (xfail is), they share its end."""
    for result in results:
        if report.failed and result["outcome"] == "passed":
            result["outcome"] = "failed"
            result["message"] = printable(_failure(report), 500) or "the test failed"
        elif report.skipped:
            result["outcome"] = "skipped"
            result["message"] = result["message"] or "the test was skipped after the measurement"
    vars(report)["flperf"] = results


def _failure(report: pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(crash.message) if crash is not None else report.longreprtext.strip()
