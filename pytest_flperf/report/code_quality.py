"""What failed, as GitLab's Code Quality reads it: merge requests list what the target branch did not have."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any, Final

from pytest_flperf.gates.changes import comparisons_of, headline
from pytest_flperf.gates.rules import DEFAULT_SCOPE
from pytest_flperf.gates.text import amount, printable
from pytest_flperf.report.words import case_name
from pytest_flperf.results.metrics import unit_of
from pytest_flperf.results.records import CaseResult, Run

__all__ = ["code_quality"]

_MOST: Final = 500
_PATH: Final = 300
_DESCRIPTION: Final = 500


def code_quality(run: Run) -> str:
    """A JSON list: an issue for each missed budget and each comparison that fails, ``[]`` where all is well."""
    issues = [issue for case in run.cases for issue in _issues(case)]
    issues += [
        _issue("flperf", "run", f"budget {each.expression}", f"the run missed {each.expression}", "major")
        for each in run.budgets
        if not each.met
    ]
    return json.dumps(issues[:_MOST], ensure_ascii=False, indent=1) + "\n"


def _issues(case: CaseResult) -> Iterator[dict[str, Any]]:
    name, before = case_name(case), 0
    path = case.nodeid.partition("::")[0]
    if case.outcome in ("failed", "error"):
        for budget in case.budgets:
            if not budget.met:
                before += 1
                value = (
                    amount(budget.value, unit_of(budget.metric, budget.statistic))
                    if budget.value is not None
                    else "not measured"
                )
                text = f"{name}: missed {budget.expression} ({value})"
                yield _issue(path, case.nodeid, f"budget {budget.expression}", text, "major")
        for each in comparisons_of(case):
            if each.fails:
                before += 1
                yield _issue(path, case.nodeid, f"comparison {each.rule}", f"{name}: {headline(each)}", "major")
        if not before:
            yield _issue(path, case.nodeid, "case", case.message.partition("\n")[0] or case.outcome, "major")
    for each in comparisons_of(case):
        if each.verdict == "undecided" and not each.fails and each.scope != DEFAULT_SCOPE:
            yield _issue(path, case.nodeid, f"comparison {each.rule}", f"{name}: {headline(each)}", "info")


def _issue(path: str, nodeid: str, check: str, text: str, severity: str) -> dict[str, Any]:
    # Of what is compared and not of its numbers: the same finding is the same issue in every run.
    fingerprint = hashlib.sha256(f"{nodeid}\0{check}".encode("utf-8", "backslashreplace")).hexdigest()[:32]
    return {
        "description": printable(text, _DESCRIPTION),
        "check_name": printable(f"flperf {check}", _DESCRIPTION),
        "fingerprint": fingerprint,
        "severity": severity,
        "location": {"path": printable(path, _PATH) or "flperf", "lines": {"begin": 1}},
    }
