"""Tests of a run as they were reported, phase by phase."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

from pytest_flperf.gates.run_status import reported_cases
from pytest_flperf.results.records import CaseResult, PlannedCase
from pytest_flperf.results.reported import Phase, ReportedTest

__all__ = ["ReportedTests"]

_CALL_NUMBER: Final = re.compile(r" #[0-9]+\Z")
_Key: TypeAlias = tuple[str, str]
"""Node id and host."""


class ReportedTests:
    """Measuring tests of a run, in order of their first report."""

    def __init__(self) -> None:
        self._tests: dict[_Key, ReportedTest] = {}
        self._cases: dict[_Key, tuple[CaseResult, ...]] = {}
        self._loose: dict[_Key, CaseResult] = {}

    def hear(self, planned: PlannedCase, phase: Phase, cases: Iterable[CaseResult] = (), *, of_suite: bool) -> bool:
        """Add a report; returns whether it is the test's last.

        As far as that can be known.
        """
        key = (planned.nodeid, planned.host)
        test = self._tests.get(key) or ReportedTest(planned, of_suite)
        test = test.heard(phase, tuple(cases))
        for case in self._take_loose(key):
            test = test.measured(case)
        self._set(key, test)
        return test.attempts[-1].over

    def crashed(self, nodeid: str, phase: Phase, host: str | None = None) -> bool:
        """Record that a worker crashed during a test.

        ``host``: its machine; None: any.  Returns whether the test is known to measure.
        """
        for (known, where), test in reversed(self._tests.items()):
            if known == nodeid and host in (None, where):
                self.hear(test.planned, phase, of_suite=test.of_suite)
                return True
        return False

    def keep(self, case: CaseResult) -> None:
        """Keep a result that came without a report.

        An interrupt, or the end of a worker, prevented the report.
        """
        key = (_CALL_NUMBER.sub("", case.nodeid), case.host)
        test = self._tests.get(key)
        if test is not None and test.attempts[-1].phases[-1].name != "teardown":
            self._set(key, test.measured(case))
        else:
            self._loose[case.nodeid, case.host] = case

    def knows(self, nodeid: str, host: str) -> bool:
        """Whether a case was measured, and not only planned."""
        test = self._tests.get((_CALL_NUMBER.sub("", nodeid), host))
        measured = test is not None and any(
            case.nodeid == nodeid for attempt in test.attempts for case in attempt.cases
        )
        return measured or (nodeid, host) in self._loose

    def cases_of(self, nodeid: str, host: str) -> tuple[CaseResult, ...]:
        """Cases of a test, as judged so far."""
        return self._cases.get((nodeid, host), ())

    @property
    def cases(self) -> tuple[CaseResult, ...]:
        """All cases, as judged so far."""
        found = {(case.nodeid, case.host): case for cases in self._cases.values() for case in cases}
        return tuple({**found, **self._loose}.values())

    @property
    def unmeasured(self) -> int:
        """Number of fixture tests that passed without a measurement."""
        return sum(test.attempts[-1].over and not self._cases[key] for key, test in self._tests.items())

    def left_out(self, nodeids: Iterable[str]) -> int:
        """Number of these tests that pytest has not reported."""
        known = {nodeid for nodeid, _ in (*self._tests, *self._loose)}
        return sum(nodeid not in known for nodeid in nodeids)

    def _set(self, key: _Key, test: ReportedTest) -> None:
        self._tests[key] = test
        self._cases[key] = reported_cases(test)

    def _take_loose(self, key: _Key) -> Iterator[CaseResult]:
        nodeid, host = key
        for known in [each for each in self._loose if each[1] == host and _CALL_NUMBER.sub("", each[0]) == nodeid]:
            yield self._loose.pop(known)
