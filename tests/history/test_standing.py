"""Which cases may be a baseline, by their own results."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from history_doubles import case

from pytest_flperf.history.standing import compared_with, standing_of
from pytest_flperf.results.comparison import Against, Comparison, Missing, Word
from pytest_flperf.results.records import BudgetVerdict, Requests

MISSED = BudgetVerdict("ttft_ms.p50 <= 1ms", 1.0, 50.0, 11, False, "suite", "ttft_ms", "p50")
MET = case().budgets[0]


def rule(word: Word, scope: str = "--flperf-fail-on", *, fails: bool = False) -> Comparison:
    """A rule of a gate and its word."""
    return Comparison("ttft_ms.p50 > +10%", "ttft_ms", "p50", word, fails=fails, scope=scope)


def side(*rules: Comparison, missing: Missing = "", kind: Any = "run") -> dict[str, Any]:
    """What a case was compared with."""
    return {"against": (Against(kind, "last", comparisons=rules, missing=missing),)}


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, "accepted"),
        (side(rule("unchanged"), rule("improved")), "accepted"),
        (side(rule("undecided")), "undecided"),
        (side(rule("unchanged"), rule("undecided")), "undecided"),
        (side(rule("undecided", "suite")), "undecided"),
        (side(rule("regressed"), rule("undecided")), "regressed"),
        (side(rule("undecided"), kind="pairs"), "undecided"),
        (side(rule("regressed"), kind="pairs"), "regressed"),
        # rules that nobody wrote
        (side(rule("undecided", "default"), rule("regressed", "default")), "accepted"),
        (side(rule("unchanged"), rule("undecided", "implied")), "accepted"),
        (side(rule("unchanged"), rule("regressed", "implied")), "regressed"),
        # nothing to compare with
        (side(rule("undecided"), missing="first"), "accepted"),
        (side(rule("undecided"), missing="not_in_baseline"), "accepted"),
        (side(rule("undecided"), missing="not_accepted"), "undecided"),
        (side(rule("undecided"), missing="unreadable"), "undecided"),
        ({"outcome": "failed", **side(rule("undecided", fails=True), missing="first")}, "accepted"),
        # red
        ({"outcome": "failed", **side(rule("regressed", fails=True))}, "regressed"),
        ({"outcome": "failed", **side(rule("undecided", fails=True))}, "undecided"),
        ({"outcome": "failed", "budgets": (MET, MISSED)}, "failed"),
        ({"outcome": "failed", "budgets": (MISSED,), **side(rule("undecided", fails=True))}, "failed"),
        ({"outcome": "failed", "budgets": ()}, "failed"),
        ({"outcome": "failed"}, "failed"),
        ({"outcome": "failed", **side(rule("unchanged"))}, "failed"),
        ({"outcome": "error"}, "failed"),
        ({"outcome": "error", **side(rule("undecided", fails=True))}, "failed"),
        # nothing measured, or not to the end
        ({"outcome": "skipped"}, "unmeasured"),
        ({"partial": True}, "unmeasured"),
        ({"given_up": True}, "unmeasured"),
        ({"requests": Requests()}, "unmeasured"),
        ({"requests": Requests(total=3, failed=3), "outcome": "failed"}, "unmeasured"),
        ({"partial": True, **side(rule("regressed"))}, "unmeasured"),
    ],
)
def test_standing(changes: dict[str, Any], wanted: str) -> None:
    """Accepted: measured, budgets met, gate passed; whatever else it is, it is no baseline."""
    assert standing_of(case(**changes)) == wanted


STORED = Against("run", "last", run_id="r1", comparisons=(rule("unchanged"),))


@pytest.mark.parametrize(
    ("against", "wanted"),
    [
        ((), (None, False)),
        ((STORED,), ("r1", False)),
        ((replace(STORED, comparisons=(rule("unchanged"), rule("improved"))),), ("r1", True)),
        ((replace(STORED, comparisons=(rule("improved", "implied"),)),), ("r1", True)),
        # rules that nobody wrote, or nothing to compare with
        ((replace(STORED, comparisons=(rule("improved", "default"),)),), (None, False)),
        ((replace(STORED, comparisons=()),), (None, False)),
        ((replace(STORED, missing="not_accepted"),), (None, False)),
        ((replace(STORED, run_id=None),), (None, False)),
        # measured interleaved: that the other side is slower says nothing of earlier runs
        ((replace(STORED, kind="pairs", comparisons=(rule("improved"),)),), (None, False)),
        ((replace(STORED, kind="pairs", comparisons=(rule("improved"),)), STORED), ("r1", False)),
    ],
)
def test_compared_with(against: tuple[Against, ...], wanted: tuple[str | None, bool]) -> None:
    """The stored run that a gate compared the case with, and whether it improved on it."""
    assert compared_with(case(against=against)) == wanted
