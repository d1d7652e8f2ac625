"""GitLab Code Quality report: failures as findings of a merge request.

Merge requests list the findings that the target branch did not have.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any, Final

from pytest_flperf._text import printable
from pytest_flperf.gates.format import comparisons_of, headline
from pytest_flperf.gates.rules import DEFAULT_SCOPE
from pytest_flperf.gates.severity import excess, failed_cases, missed_budgets
from pytest_flperf.report.sentences import case_name, value_of
from pytest_flperf.report.verdict_words import heading, sentence
from pytest_flperf.results.bounds import bounded_run
from pytest_flperf.results.records import CaseResult, Run

__all__ = ["code_quality"]

_MOST: Final = 500
_PATH: Final = 300
_DESCRIPTION: Final = 500


def code_quality(run: Run) -> str:
    """Code Quality report of a run as a JSON list, worst first.

    Lists failures, and what could not be decided or measured; ``[]`` without any.
    """
    run = bounded_run(run)
    issues = [
        _issue("flperf", "run", f"budget {each.expression}", f"the run missed {each.expression} ({value_of(each)})")
        for each in missed_budgets(run)
    ]
    issues += [_issue("flperf", "run", f"error {fault}", fault) for fault in run.faults]
    issues += [issue for case in failed_cases(run.cases) for issue in _failures(case)]
    if not issues and run.status not in ("passed", "failed"):
        issues.append(_issue("flperf", "run", f"status {run.status}", f"{heading(run)}: {sentence(run)}"))
    issues += [issue for case in run.cases for issue in _undecided(case)]
    if len(issues) > _MOST:
        more = f"{len(issues) - _MOST + 1:,} more findings are left out here; report.html and results.json have all"
        issues = [*issues[: _MOST - 1], _issue("flperf", "run", "left out", more)]
    return json.dumps(issues, ensure_ascii=False, indent=1) + "\n"


def _failures(case: CaseResult) -> Iterator[dict[str, Any]]:
    name, path = case_name(case), case.nodeid.partition("::")[0]
    found = 0
    for budget in sorted((each for each in case.budgets if not each.met), key=excess, reverse=True):
        found += 1
        value = value_of(budget) if budget.value is not None else "not measured"
        text = f"{name}: missed {budget.expression} ({value})"
        yield _issue(path, case.nodeid, f"budget {budget.expression}", text)
    for each in comparisons_of(case):
        if each.fails:
            found += 1
            yield _issue(path, case.nodeid, f"comparison {each.rule}", f"{name}: {headline(each)}")
    # With an error, a missed budget does not say everything.
    if not found or case.outcome == "error":
        yield _issue(path, case.nodeid, "case", case.message.partition("\n")[0] or case.outcome)


def _undecided(case: CaseResult) -> Iterator[dict[str, Any]]:
    name, path = case_name(case), case.nodeid.partition("::")[0]
    for each in comparisons_of(case):
        if each.verdict == "undecided" and not each.fails and each.scope != DEFAULT_SCOPE:
            yield _issue(path, case.nodeid, f"comparison {each.rule}", f"{name}: {headline(each)}", "info")


def _issue(path: str, nodeid: str, check: str, text: str, severity: str = "major") -> dict[str, Any]:
    # A hash of the check and not of its numbers: the same finding is the same issue in every run.
    fingerprint = hashlib.sha256(f"{nodeid}\0{check}".encode("utf-8", "backslashreplace")).hexdigest()[:32]
    return {
        "description": printable(text, _DESCRIPTION),
        "check_name": printable(f"flperf {check}", _DESCRIPTION),
        "fingerprint": fingerprint,
        "severity": severity,
        "location": {"path": printable(path, _PATH) or "flperf", "lines": {"begin": 1}},
    }
