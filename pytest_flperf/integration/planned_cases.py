"""Planned cases: metadata of a case before it is measured."""

from __future__ import annotations

import platform

import pytest

from pytest_flperf.integration.collection import SELECTION
from pytest_flperf.results.records import CaseResult
from pytest_flperf.suite.model import Case

__all__ = ["UNKNOWN_MODEL", "planned_case", "planned_of_id"]

UNKNOWN_MODEL = "unknown"


def planned_case(case: Case, nodeid: str) -> CaseResult:
    """Result of a case before anything is measured."""
    return CaseResult(
        nodeid=nodeid,
        suite=case.suite,
        scenario=case.scenario.name,
        model=case.model,
        parameters=dict(case.parameters),
        host=platform.node(),
        description=case.scenario.description,
        expected_output_length=case.scenario.expected_output_length,
        tags=case.scenario.tags,
    )


def planned_of_id(config: pytest.Config, nodeid: str) -> CaseResult | None:
    """Planned case of a suite's item, by node id.

    None if no suite of this run has it.
    """
    selection = config.stash.get(SELECTION, None)
    ref, _, name = nodeid.partition("::")
    for loaded in selection.loaded.values() if selection is not None else ():
        if loaded.suite.ref == ref:
            for case in loaded.cases:
                if case.nodeid == nodeid:
                    return planned_case(case, nodeid)
            return CaseResult(nodeid, loaded.suite.name, name, UNKNOWN_MODEL, host=platform.node())
    return None
