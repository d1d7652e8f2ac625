"""Expectations: what is refused, and how answers are scored."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.bounded.limits import Limits
from pytest_flperf.quality.expectations import problem_of, score_by
from pytest_flperf.quality.rows import ScoredRow
from pytest_flperf.quality.scoring import SCORING_LIMITS, AnswerScorer, NoResult, PartedScore, Scoring, problems_of
from pytest_flperf.suite.errors import SuiteError
from pytest_flperf.suite.loader import load_suite

LIMITS = SCORING_LIMITS
OBJECT = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string", "pattern": "^[A-Z]"}}}


def scorer(scoring: Scoring, expected: dict[str, Any]) -> AnswerScorer:
    """One that there is."""
    found = scoring.of(expected)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def scoring() -> Any:
    """One process for all."""
    with Scoring(LIMITS) as made:
        yield made


SCORES: list[tuple[dict[str, Any], str, float]] = [
    ({"contains": ["Paris"]}, "It is Paris.", 1),
    ({"contains": ["Paris"]}, "It is paris.", 0),
    ({"contains": ["a", "b", "c", "d"]}, "a c", 0.5),
    ({"contains": "Paris"}, "Paris", 1),
    ({"regex": r"^\d+$"}, "42", 1),
    ({"regex": r"\d"}, "no number", 0),
    ({"regex": "(?i)PARIS"}, "paris", 1),
    ({"equals": "yes"}, " yes\n", 1),
    ({"equals": "yes"}, "yes.", 0),
    ({"equals": "Yes", "ignore_case": True}, "YES", 1),
    ({"equals": "yes", "strip": False}, "yes ", 0),
    ({"equals": "yes", "strip": False}, "yes", 1),
    ({"equals": 42}, " 42.0\n", 1),
    ({"equals": 42}, "42 km", 0),
    ({"equals": 42}, "forty-two", 0),
    ({"equals": 3.14, "tolerance": 0.01}, "3.149", 1),
    ({"equals": 3.14, "tolerance": 0.01}, "3.16", 0),
    ({"contains": ["PARIS", "x"], "ignore_case": True}, "It is Paris.", 0.5),
    ({"contains": "STRASSE", "ignore_case": True}, "Straße", 1),
    ({"not_contains": ["London", "Rome"]}, "Paris", 1),
    ({"not_contains": ["London", "Rome"]}, "Paris, Rome", 0),
    ({"not_contains": "rome", "ignore_case": True}, "Rome", 0),
    ({"contains_any": ["London", "Paris"]}, "Paris", 1),
    ({"contains_any": ["London", "Paris"]}, "Rome", 0),
    ({"one_of": ["Paris", "Paris, France"]}, "Paris, France ", 1),
    ({"one_of": ["Paris", "Paris, France"]}, "Paris.", 0),
    ({"one_of": ["paris"], "ignore_case": True}, "PARIS", 1),
    ({"number": 1234.5}, "First 3, then it is $1,234.50!", 1),
    ({"number": 7}, "5 + 2 = 7, I think", 1),
    ({"number": 7}, "7 or 8", 0),
    ({"number": -4}, "x = -4", 1),
    ({"number": -4}, "x = −4", 1),
    ({"number": 4}, "3-4", 1),
    ({"number": 0.5}, "it is .5", 1),
    ({"number": 3}, "1,2,3", 1),
    ({"number": 1e6}, "1e6", 1),
    ({"number": 100, "tolerance": "1%"}, "about 99.2", 1),
    ({"number": 100, "tolerance": "1%"}, "about 98.9", 0),
    ({"number": 1}, "none", 0),
    ({"number": 1}, "1" * 5_000, 0),
    ({"length": {"max": 3}}, " abc\n", 1),
    ({"length": {"max": 3}}, "abcd", 0),
    ({"length": {"min": 2, "max": 3, "unit": "words"}}, "one two", 1),
    ({"length": {"min": 2, "unit": "lines"}}, "one\n", 0),
    ({"regex": "paris", "ignore_case": True}, "PARIS", 1),
    ({"json_path": {"$.name": "Ada", "items[1].n": 2}}, '{"name": "Ada", "items": [{}, {"n": 2}]}', 1),
    ({"json_path": {"name": "Ada", "age": 36}}, '{"name": "Ada"}', 0.5),
    ({"json_path": {"['a key']": True}}, '{"a key": true}', 1),
    ({"json_path": {"a": 1}}, '{"a": true}', 0),
    ({"json_path": {"a": None}}, '{"a": null}', 1),
    ({"json_path": {"a": None}}, "{}", 0),
    ({"json_path": {"$": [1]}}, "[1]", 1),
    ({"json_path": {"a": "ADA"}, "ignore_case": True}, '{"a": " Ada"}', 1),
    ({"json_path": {"a": 10}, "tolerance": 1}, '{"a": 10.5}', 1),
    ({"json_path": {"a": 1}}, "no JSON", 0),
    ({"contains": "a", "not_contains": "b"}, "ab", 0.5),
    ({"checks": [{"contains": "a", "weight": 3}, {"contains": "z"}]}, "a", 0.75),
    ({"checks": [{"equals": "A", "ignore_case": True}, {"equals": "A"}]}, "a", 0.5),
    ({"json": True}, '{"a": [1, 2]}', 1),
    ({"json": True}, "[]", 1),
    ({"json": True}, '```json\n{"a": 1}\n```', 0),
    ({"json": True}, '{"a": NaN}', 0),
    ({"json": True}, "", 0),
    ({"json": True}, "[" * 100_000, 0),
    ({"json": True}, '["' * 100_000, 0),
    ({"json": True}, "1" * 5_000, 1),
    ({"json": True}, '"\ud800"', 1),
    ({"json_schema": OBJECT}, '{"name": "Ada"}', 1),
    ({"json_schema": OBJECT}, '{"name": "ada"}', 0),
    ({"json_schema": OBJECT}, '{"nom": "Ada"}', 0),
    ({"json_schema": OBJECT}, "Ada", 0),
    ({"json_schema": {"type": "integer"}}, "1" * 5_000, 1),
    ({"json_schema": {"enum": [datetime.date(2026, 1, 2)]}}, '"2026-01-02"', 1),
    ({"json_schema": {"patternProperties": {"^n": {"type": "string"}}}}, '{"name": 1}', 0),
    ({"json_schema": {"patternProperties": {"^n": {"type": "string"}}}}, '{"name": "x", "other": 1}', 1),
]


@pytest.mark.parametrize(("expected", "answer", "score"), SCORES)
def test_scores(scoring: Scoring, expected: dict[str, Any], answer: str, score: float) -> None:
    """1 where the answer is as expected, 0 where not, and the share of several texts."""
    assert problems_of([expected]) == ("",)
    assert scorer(scoring, expected).scores([answer]) == [score]


@pytest.mark.parametrize(
    ("expected", "words"),
    [
        ({"regex": "("}, "is not a regular expression: "),
        ({"regex": "[z-a]"}, "is not a regular expression: "),
        ({"regex": "(" * 3_000 + ")" * 3_000}, "is nested too deep"),
        ({"json_schema": {"type": "objct"}}, "is not a JSON Schema: "),
        ({"json_schema": {"properties": {"a": {"pattern": "("}}}}, "is not a JSON Schema: "),
        ({"json_schema": {"$ref": "http://127.0.0.1:9/schema"}}, "has an unresolvable reference"),
        ({"json_schema": {"$ref": "#/$defs/none"}}, "has an unresolvable reference"),
        ({"json_schema": {"$ref": "#"}}, "refers to itself without end"),
        (
            {"json_schema": {"properties": {"a": {"$ref": "https://x.invalid/y"}}}},
            "no reference to another document is",
        ),
        ({"json_schema": {"$defs": {"a": {"$dynamicRef": "//x.invalid/y"}}}}, "no reference to another document is"),
        ({"json_path": {"a[*]": 1}}, "has a path that can't be read at character 2; expected such as"),
        ({"checks": [{"contains": "a"}, {"regex": "("}]}, "is not a regular expression: "),
    ],
)
def test_what_can_not_be_used(expected: dict[str, Any], words: str) -> None:
    """Patterns and schemas that are none, or lead out of the file."""
    assert words in problem_of(expected)
    assert words in problems_of([{"regex": "a"}, expected])[1]


@pytest.mark.parametrize(
    ("expected", "answer", "reason"),
    [
        ({"json": True}, "[" * 100_000 + "]" * 100_000, "it is nested too deep"),
        ({"json_schema": {"items": {"$ref": "#"}}}, "[" * 900 + "]" * 900, "it is nested too deep"),
        ({"json_schema": {"multipleOf": 0.5}}, "1e400", "OverflowError: "),
        ({"json_schema": {"properties": {"a": {"$ref": "#/x"}}}}, '{"a": 1}', "an unresolvable reference: "),
    ],
)
def test_answers_that_can_not_be_scored(scoring: Scoring, expected: dict[str, Any], answer: str, reason: str) -> None:
    """Have no score, and a reason; those around them have theirs."""
    one = scorer(scoring, expected)
    before, found, after = one.scores(["8", answer, "8"])
    assert isinstance(found, NoResult)
    assert found.reason.startswith(reason)
    assert before == after == 1
    assert dict(one.not_scored) == {found.reason: 1}


def test_parts_are_kept(scoring: Scoring) -> None:
    """Each check's own score, in order, whichever process scores."""
    for kind in ("contains", "regex"):
        expected = {
            "checks": [{kind: "a"}, {kind: "b", "weight": 2}],
        }
        (found,) = scorer(scoring, expected).scores(["b"])
        assert isinstance(found, PartedScore)
        assert found == pytest.approx(2 / 3)
        assert found.parts == ((kind, 0.0), (f"{kind} 2", 1.0))


ROWS = (
    ScoredRow({"contains": "a"}),
    ScoredRow({"regex": "^b$"}),
    ScoredRow(None),
    ScoredRow({"json": True}, refused="it is secret"),
    ScoredRow({"sounds_like": "x"}),
    ScoredRow({"json": True, "length": {"max": 3}}),
    ScoredRow({"regex": "^(a|aa)+$"}),
)


def test_each_row_has_its_own(scoring: Scoring) -> None:
    """By the index of the request; without one, that of the scenario."""
    found = scoring.of({"equals": "c"}, rows=lambda index: ROWS[index])
    assert found is not None
    hang = "a" * 80 + "b"
    scores = found.scores(["b", "b", "c", "{}", "x", "[1,2,3]", hang, "b"], [1, 0, 2, 3, 4, 5, 6, 1])
    assert [each for each in scores if not isinstance(each, NoResult)] == [1, 0, 1, 0.5, 1]
    assert [each.reason for each in scores if isinstance(each, NoResult)] == [
        "it is secret",
        "this version does not know this expectation",
        f"took longer than {LIMITS.time_s:g} s",
    ]
    assert sum(found.not_scored.values()) == 3


def test_a_row_without_anything(scoring: Scoring) -> None:
    """Is not scored: never silently left out."""
    found = scoring.of(None, rows=lambda _: ScoredRow())
    assert found is not None
    (score,) = found.scores(["x"], [0])
    assert isinstance(score, NoResult)


KINDS = (
    {"contains": ["a", "b"]},
    {"regex": "a+"},
    {"equals": "a"},
    {"json": True},
    {"json_schema": OBJECT},
    {"number": 4, "tolerance": "1%"},
    {"one_of": ["a"]},
    {"json_path": {"a[0]": 1}},
    {"length": {"max": 9}},
    {"checks": [{"equals": 4}, {"not_contains": "a", "ignore_case": True}]},
)


@given(st.sampled_from(KINDS), st.text(max_size=200))
def test_any_answer_has_a_score(expected: dict[str, Any], answer: str) -> None:
    """Whatever a model writes: a number from 0 to 1, and nothing raises."""
    assert 0 <= score_by(expected)(answer) <= 1


def test_the_process_scores_alike(scoring: Scoring) -> None:
    """As this process does, in order."""
    expected = {"json": True}
    one = scorer(scoring, expected)

    @given(st.lists(st.text(st.sampled_from('[]{}"\\1,: ')), max_size=30))
    def check(answers: list[str]) -> None:
        assert one.scores(answers) == list(map(score_by(expected), answers))

    check()


@pytest.mark.parametrize(
    "expected",
    [None, {}, [], "json", ["json"], {"sounds_like": "x"}, {"json": True, "other": "x"}, {"checks": 5}, {"weight": 2}],
)
def test_an_unknown_kind(scoring: Scoring, expected: Any) -> None:
    """A results file of another version, or one that somebody has changed."""
    assert scoring.of(expected) is None


def test_a_pattern_that_is_none(scoring: Scoring) -> None:
    """In a results file that somebody has changed: no answer has a score."""
    (found,) = scorer(scoring, {"regex": "("}).scores(["("])
    assert isinstance(found, NoResult)
    assert "missing )" in found.reason


@pytest.mark.parametrize("expected", [{"contains": []}, {"contains": 5}, {"contains": [5]}, {"json_schema": 5}])
def test_an_expectation_that_is_none(scoring: Scoring, expected: dict[str, Any]) -> None:
    """In such a file, too."""
    (found,) = scorer(scoring, expected).scores(["5"])
    assert isinstance(found, NoResult)


def test_reasons_are_few(scoring: Scoring) -> None:
    """However many there are."""
    names = "abcdefghi"
    one = scorer(scoring, {"json_schema": {"properties": {name: {"$ref": f"#/{name}"} for name in names}}})
    one.scores([json.dumps({name: 1}) for name in names])
    assert len(one.not_scored) == 6
    assert one.not_scored["other reasons"] == 4


def test_a_case_whose_answers_all_take_too_long() -> None:
    """Ends: after ten of them the rest is not tried, however many there are; the next case begins anew."""
    with Scoring(Limits(time_s=0.1, memory_mb=256)) as scoring:
        one = scorer(scoring, {"regex": "^(a|aa)+$"})
        found = one.scores(["a" * 80 + "b"] * 500)
        other = scorer(scoring, {"regex": "^(a|aa)+$"})
        assert other.scores(["a"]) == [1]
        (slow,) = scorer(scoring, {"regex": "^(a|aa)+$"}).scores(["a" * 80 + "b"])
        after = other.scores(["a"])
    assert one.not_scored == {
        "took longer than 0.1 s": 10,
        "10 earlier answers took more time or memory than one may take": 490,
    }
    assert all(isinstance(each, NoResult) for each in found)
    assert slow == NoResult("took longer than 0.1 s")
    assert after == [1], "what the scorers of other cases met is nothing to it"


def test_many_texts_in_a_long_answer() -> None:
    """Looking for texts takes its time as well, where there are many and the answer is long."""
    with Scoring(Limits(time_s=0.1, memory_mb=256)) as scoring:
        one = scorer(scoring, {"contains": [f"z{number}" for number in range(5_000)]})
        (found,) = one.scores(["zzy" * 2_000_000])
    assert found == NoResult("took longer than 0.1 s")


@pytest.mark.parametrize("expected", [{"equals": "{{ capital }}"}, {"contains": ["in", "{{city|upper}}"]}])
def test_what_is_expected_is_no_template(tmp_path: Path, expected: dict[str, Any]) -> None:
    """It would be compared as it is written, and never fit; beside a plain prompt it is a text like any other."""
    asks = {"template": "What is the capital of {{ country }}?", "variables": {"country": ["France", "Spain"]}}
    path = tmp_path / "s.json"
    path.write_text(json.dumps({"scenarios": [{"name": "a", **asks, "expect": expected}]}), encoding="utf-8")
    with pytest.raises(SuiteError, match="compared as it is written, because only prompts are filled in") as caught:
        load_suite(path, "s.json")
    assert "scenarios[0].expect" in str(caught.value)
    plain = {"name": "a", "prompt": "Write a template", "expect": expected}
    path.write_text(json.dumps({"scenarios": [plain]}), encoding="utf-8")
    assert load_suite(path, "s.json").scenarios[0].expect is not None
