"""Expectations: what is refused, and how answers are scored."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.suite.expect import PATTERN_TIMEOUT_S, Scorer, problem_of

OBJECT = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string", "pattern": "^[A-Z]"}}}


@pytest.mark.parametrize(
    ("expected", "answer", "score"),
    [
        ({"contains": ["Paris"]}, "It is Paris.", 1),
        ({"contains": ["Paris"]}, "It is paris.", 0),
        ({"contains": ["a", "b", "c", "d"]}, "a c", 0.5),
        ({"contains": "Paris"}, "Paris", 1),
        ({"regex": r"^\d+$"}, "42", 1),
        ({"regex": r"\d"}, "no number", 0),
        ({"regex": "(?i)PARIS"}, "paris", 1),
        ({"equals": "yes"}, " yes\n", 1),
        ({"equals": "yes"}, "yes.", 0),
        ({"json": True}, '{"a": [1, 2]}', 1),
        ({"json": True}, "[]", 1),
        ({"json": True}, '```json\n{"a": 1}\n```', 0),
        ({"json": True}, '{"a": NaN}', 0),
        ({"json": True}, "", 0),
        ({"json": True}, "[" * 100_000, 0),
        ({"json_schema": OBJECT}, '{"name": "Ada"}', 1),
        ({"json_schema": OBJECT}, '{"name": "ada"}', 0),
        ({"json_schema": OBJECT}, '{"nom": "Ada"}', 0),
        ({"json_schema": OBJECT}, "Ada", 0),
        ({"json_schema": {"patternProperties": {"^n": {"type": "string"}}}}, '{"name": 1}', 0),
        ({"json_schema": {"patternProperties": {"^n": {"type": "string"}}}}, '{"name": "x", "other": 1}', 1),
    ],
)
def test_scores(expected: dict[str, Any], answer: str, score: float) -> None:
    """1 where the answer is as expected, 0 where not, and the share of several texts."""
    assert problem_of(expected) == ""
    assert Scorer(expected).score(answer) == score


@pytest.mark.parametrize(
    ("expected", "words"),
    [
        ({"regex": "("}, "no regular expression: "),
        ({"regex": "[z-a]"}, "no regular expression: "),
        ({"json_schema": {"type": "objct"}}, "no JSON Schema: "),
        ({"json_schema": {"$ref": "http://127.0.0.1:9/schema"}}, "a reference that leads nowhere"),
        ({"json_schema": {"$ref": "#/$defs/none"}}, "a reference that leads nowhere"),
    ],
)
def test_what_can_not_be_used(expected: dict[str, Any], words: str) -> None:
    """Patterns and schemas that are none, or lead out of the file."""
    assert words in problem_of(expected)


@pytest.mark.parametrize(
    ("expected", "answer"),
    [
        ({"regex": r"^(a|aa)+$"}, "a" * 80 + "b"),
        ({"json_schema": {"pattern": r"^(a|aa)+$"}}, json.dumps("a" * 80 + "b")),
        ({"json_schema": {"patternProperties": {r"^(a|aa)+$": True}}}, json.dumps({"a" * 80 + "b": 1})),
    ],
)
def test_patterns_have_a_time_limit(expected: dict[str, Any], answer: str) -> None:
    """An expression that would search for years scores 0 after a moment, and is counted."""
    scorer = Scorer(expected)
    begun = time.monotonic()
    assert scorer.score(answer) == 0
    assert time.monotonic() - begun < PATTERN_TIMEOUT_S + 5
    assert scorer.too_slow == 1


KINDS = ({"contains": ["a", "b"]}, {"regex": "a+"}, {"equals": "a"}, {"json": True}, {"json_schema": OBJECT})


@given(st.sampled_from(KINDS), st.text(max_size=200))
def test_any_answer_has_a_score(expected: dict[str, Any], answer: str) -> None:
    """Whatever a model writes: a number from 0 to 1, and nothing raises."""
    assert 0 <= Scorer(expected).score(answer) <= 1


def test_an_unknown_kind() -> None:
    """A results file of another version."""
    with pytest.raises(ValueError, match="unknown expectation 'sounds_like'"):
        Scorer({"sounds_like": "x"})
