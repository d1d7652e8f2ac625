"""Planned tests and cases: what is known before measuring."""

from __future__ import annotations

from typing import NamedTuple

from pytest_flperf.results.host import host_name
from pytest_flperf.results.records import PlannedCase
from pytest_flperf.suite.model import Case

__all__ = ["UNKNOWN_MODEL", "PlannedTest", "planned_case"]

UNKNOWN_MODEL = "unknown"


class PlannedTest(NamedTuple):
    """Test of a run that measures."""

    name: str
    case: Case | None
    """None for a test with the fixture: its cases are known when it runs."""


def planned_case(case: Case, nodeid: str) -> PlannedCase:
    """Result of a case before anything is measured."""
    return PlannedCase(
        nodeid=nodeid,
        suite=case.suite,
        scenario=case.scenario.name,
        model=case.model,
        parameters=dict(case.parameters),
        host=host_name(),
        description=case.scenario.description,
        expected_output_length=case.scenario.expected_output_length,
        tags=case.scenario.tags,
    )
