"""Budgets and rules on one category of quality, and rules on tool calls: read, judged, refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pytest_flperf.gates.budgets import BudgetError, parse_budget, same_number
from pytest_flperf.gates.default_budget import evaluate
from pytest_flperf.gates.rules import RuleError, is_mean, is_score, parse_rule
from pytest_flperf.results.answer_quality import AnswerQuality, CategoryQuality
from pytest_flperf.results.records import Measured, PlannedCase, Requests


def case(quality: AnswerQuality | None = None, **fields: Any) -> Measured:
    """A case with this quality."""
    planned = PlannedCase("s::c[m]", "s", "c", "m", settings={"expect": {"contains": "x"}})
    return Measured.of(planned, requests=Requests(total=40, ok=40), error_rate=0.0, answer_quality=quality, **fields)


QUALITY = AnswerQuality(
    40, 0, 0.9, 0.9, prompts=40,
    categories=(
        CategoryQuality("geography", 29, 1.0, (0.88, 1.0), 0.05 ** (1 / 29)),
        CategoryQuality("maths: hard", 11, 0.5, (0.2, 0.8), 0.25),
    ),
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "value", "n", "met", "reason"),
    [
        ("quality.mean[geography] >= 90%", 1.0, 29, True, ""),
        ("quality.mean [ geography ]>=90%", 1.0, 29, True, ""),
        ("quality.lower95[geography] >= 90%", 0.05 ** (1 / 29), 29, True, ""),
        ("c: quality.mean[maths: hard] >= 60%", 0.5, 11, False, ""),
        (
            "quality.lower95[maths: hard] >= 90%",
            0.25,
            11,
            False,
            "to prove the limit takes 29 prompts of which all are",
        ),
        ("quality.mean[music] >= 1%", None, 0, False, "no prompt of the case has the category 'music'"),
    ],
)
def test_a_budget(text: str, value: float | None, n: int, met: bool, reason: str) -> None:
    """It is about the prompts of that category."""
    verdict = evaluate(case(QUALITY), [parse_budget(text)])[0]
    assert (verdict.value, verdict.n, verdict.met, verdict.reason) == (pytest.approx(value), n, met, reason)
    assert verdict.metric == "quality"
    assert verdict.category == text.partition("[")[2].partition("]")[0].strip()


@pytest.mark.parametrize(
    ("quality", "reason"),
    [
        (None, "the scenario expects nothing of its answers (expect)"),
        (AnswerQuality(5, 0, 1, 1), "prompts can't be told apart in chats"),
        (AnswerQuality(5, 0, 1, 1, prompts=5), "no prompt of the case has the category 'geography'"),
        (
            AnswerQuality(5, 0, 1, 1, prompts=5, categories=(CategoryQuality("x", 5, 1),), categories_left_out=3),
            "only the 1 largest categories are told",
        ),
        (
            AnswerQuality(5, 0, 1, 1, prompts=5, categories=(CategoryQuality("geography", 5, 1),)),
            "results of an older version don't have it",
        ),
    ],
)
def test_a_category_that_is_not_known(quality: AnswerQuality | None, reason: str) -> None:
    """Missed, with the reason."""
    measured = case(quality)
    if quality is None:
        measured = Measured.of(PlannedCase("s::c[m]", "s", "c", "m"), requests=Requests(total=4, ok=4), error_rate=0.0)
    verdict = evaluate(measured, [parse_budget("quality.lower95[geography] >= 1%")])[0]
    assert not verdict.met
    assert verdict.reason.startswith(reason)


def test_answers_without_a_score() -> None:
    """They may be of any category."""
    verdict = evaluate(case(QUALITY, not_scored={"too slow": 1}), [parse_budget("quality.mean[geography] >= 1%")])[0]
    assert (verdict.met, verdict.value) == (False, None)
    assert "too slow" in verdict.reason


def test_each_category_is_a_number_of_its_own() -> None:
    """A budget for a model replaces those of the same category alone."""
    one, other = parse_budget("quality.mean[a] >= 1%"), parse_budget("quality.mean[b] >= 1%")
    assert not same_number(one, other)
    assert not same_number(one, parse_budget("quality.mean >= 1%"))
    assert same_number(one, parse_budget("quality.mean[a] >= 5%"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("ttft_ms.p50[a] <= 5", "only quality has categories, ttft_ms has none (at character 12)"),
        ("malformed[a] <= 5%", "only quality has categories, malformed has none"),
        ("quality.pass@3[a] >= 5%", "of a category quality.mean and quality.lower95 can be limited"),
        ("quality[a] >= 5%", "quality needs a statistic"),
        ("quality.mean[] >= 5%", "no category in the brackets"),
        ("quality.mean[a] >= 5", "quality is a fraction"),
        ("max_concurrency(quality.mean[a] >= 5%) >= 8", "unknown statistic"),
    ],
)
def test_budgets_that_are_none(text: str, problem: str) -> None:
    """Each says what is wrong."""
    with pytest.raises(BudgetError) as raised:
        parse_budget(text)
    assert problem in str(raised.value)


def test_a_rule() -> None:
    """Of points, as that of all prompts."""
    rule = parse_rule("q*: quality.mean[maths: hard] < -2%")
    assert (rule.scenarios, rule.metric, rule.statistic, rule.category) == ("q*", "quality", "mean", "maths: hard")
    assert (rule.threshold.floor, rule.threshold.share, rule.threshold.higher_is_worse) == (0.02, 0, False)
    assert (rule.subject, rule.measure) == ("quality.mean[maths: hard]", "quality[maths: hard]")
    assert is_score(rule)
    pattern = parse_rule("short-[ab]: ttft_ms.p50 > +5%")
    assert (pattern.scenarios, pattern.category) == ("short-[ab]", None)


@pytest.mark.parametrize(
    ("text", "worse_if_higher"),
    [("malformed > +1%", True), ("tool_right < -2%", False), ("argument_right < -2%", False),
     ("abstained > +5%", True), ("abstained < -5%", False)],
)  # fmt: skip
def test_rules_on_tool_calls(text: str, worse_if_higher: bool) -> None:
    """Shares of answers change by points; abstaining has no worse side."""
    rule = parse_rule(text)
    assert (rule.threshold.share, rule.threshold.higher_is_worse) == (0, worse_if_higher)
    assert rule.threshold.floor == float(text.strip("%").split()[-1].strip("+-")) / 100
    assert is_score(rule)
    assert is_mean(rule)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("quality.lower95[a] < -2%", "lower95 is for budgets"),
        ("quality.p50[a] < -2%", "of a category quality.mean can be limited"),
        ("tool_right[a] < -2%", "only quality has categories, tool_right has none (at character 11)"),
        ("tool_right.mean < -2%", "tool_right is one number per case and has no statistic"),
        ("malformed < -1%", "malformed gets worse when it grows"),
        ("quality.mean[a] < 2%", "a change needs its sign; write 'quality.mean[a] < -2%'"),
        ("tool_right > +1%", "tool_right gets worse when it falls"),
    ],
)
def test_rules_that_are_none(text: str, problem: str) -> None:
    """Each says what is wrong."""
    with pytest.raises(RuleError) as raised:
        parse_rule(text)
    assert problem in str(raised.value)


@given(st.text(st.characters(exclude_characters="[]", exclude_categories=("Cs",)), min_size=1, max_size=60))
@example("a: b <= 5")
@example("(x) and >= 3%")
def test_any_category(name: str) -> None:
    """Whatever is between the brackets is the category, white space joined."""
    category = " ".join(name.split())
    if not category:
        return
    assert parse_budget(f"s: quality.mean[{name}] >= 90%").category == category
    assert parse_rule(f"s: quality.mean[{name}] < -2%").category == category
