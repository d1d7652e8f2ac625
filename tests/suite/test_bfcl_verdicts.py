"""Scores of answers to BFCL's questions, against the recorded verdicts of its own checker."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.bfcl.answer_set import Answer, Question, answers_to
from benchmarks.bfcl.run import Judged, judged, recorded

RECORD = Path(__file__).parents[1] / "corpus" / "bfcl" / "verdicts.jsonl.gz"


@pytest.fixture(scope="module")
def found() -> list[Judged]:
    """The recorded answers, scored by this version."""
    return recorded(RECORD)


def test_scores_equal_the_checkers_verdicts(found: list[Judged]) -> None:
    """But for calls that can't be decoded, where none is right: it credits them, and they are malformed here."""
    assert len(found) > 2_000
    assert {each.answer.id.rsplit("_", 1)[0] for each in found} == {
        "simple_python", "live_simple", "irrelevance", "live_irrelevance",
    }  # fmt: skip
    assert [each for each in found if not each.agrees and not each.is_declared] == []


def test_both_verdicts_are_often_right_and_often_wrong(found: list[Judged]) -> None:
    """So that agreement says something; and the declared difference is there."""
    verdicts = Counter((each.theirs, each.ours.score == 1, each.ours.arguments is None) for each in found)
    assert verdicts[True, True, False] > 150
    assert verdicts[False, False, False] > 500
    assert verdicts[True, True, True] > 150
    assert verdicts[False, False, True] > 150
    assert verdicts[True, False, True] > 500


def test_a_difference_is_told() -> None:
    """A verdict that is turned round is neither agreement nor declared."""
    function = {
        "name": "f",
        "parameters": {"type": "dict", "properties": {"x": {"type": "integer"}}, "required": ["x"]},
    }
    line = {"id": "simple_python_0", "question": [[{"role": "user", "content": "?"}]], "function": [function]}
    question = Question("simple_python_0", line, {"id": "simple_python_0", "ground_truth": [{"f": {"x": [5]}}]})
    (right, *_) = answers_to(question)
    assert right == Answer("simple_python_0", "right", (("f", '{"x": 5}'),))
    (agreed,) = judged([question], [right], [True])
    assert agreed.agrees
    (differs,) = judged([question], [right], [False])
    assert not differs.agrees
    assert not differs.is_declared
