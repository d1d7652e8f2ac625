"""Scores of conversations with tools, and the table of played results."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.quality.expectations import parts_by
from pytest_flperf.quality.tools.answered import Answered, SentCall, enclosed, opened, said_in, shown_answer
from pytest_flperf.quality.tools.conversations import Conversation, goes_on
from pytest_flperf.quality.tools.expected import CallScore, score_calls, with_results, with_tools, without_tools
from pytest_flperf.quality.tools.matchers import FormError
from pytest_flperf.quality.tools.played import PlayedResults
from pytest_flperf.quality.tools.understood import Call, CallOutcome

RESULTS = [{"name": "find", "args": {"to": ["NY"]}, "result": {"flights": 1}}, {"name": "book", "result": "done"}]
EXPECT: dict[str, Any] = {
    "calls": [{"name": "find", "args": {"to": "NY"}}, {"name": "book", "args": {"flight": 1}}],
    "contains": ["booked"],
}
FIND, BOOK = SentCall("find", '{"to": "NY"}'), SentCall("book", '{"flight": 1}')
ELSEWHERE, UNKNOWN, BROKEN = SentCall("find", '{"to": "LA"}'), SentCall("fly", "{}"), SentCall("find", '{"to": ')


def known(expected: dict[str, Any]) -> dict[str, Any]:
    """An expectation as a scenario has it that offers both tools."""
    return with_results(with_tools(expected, ["find", "book"]), RESULTS)


def score(*turns: list[SentCall], text: str = "It is booked.", **changed: Any) -> tuple[float, CallScore]:
    """Score of a conversation, and of its calls."""
    conversation = Conversation()
    for calls in turns:
        conversation.add(Answered(text, tuple(calls)))
    found = parts_by(known({**EXPECT, **changed}))(conversation.enclosed(text))
    assert isinstance(found, list)
    return found[0], CallScore.of_numbers(found[1], found[3:])


@pytest.mark.parametrize(
    ("turns", "expected"),
    [
        ([[FIND], [BOOK], []], 1),
        ([[FIND, BOOK], []], 1),  # fewer turns are no more than right
        ([[FIND], [ELSEWHERE], [BOOK], []], 3 / 4 - 0.1),
        ([[FIND], [FIND], [BOOK], []], 3 / 4 - 0.1),
        ([[FIND, FIND, UNKNOWN], [BOOK], []], 1 - 0.2),
        ([[FIND], []], 0.5),  # the text alone is right
        ([[]], 0.5),
        ([[FIND], [BOOK]], 0),  # still calling
        ([[FIND], [BROKEN]], 0),
        ([[FIND], [UNKNOWN] * 20, [BOOK], []], 0),
    ],
)
def test_scores(turns: list[list[SentCall]], expected: float) -> None:
    """Completion × min(1, fewest / turns), less 0.1 per repeated or needless call, not below 0."""
    assert score(*turns)[0] == pytest.approx(expected)


def test_counts() -> None:
    """Repeated, needless, unknown and without a result are told apart."""
    _, found = score([FIND, FIND], [ELSEWHERE], [ELSEWHERE, UNKNOWN], [BOOK], [])
    assert found.turns is not None
    assert found.turns._asdict() == {
        "turns": 5, "fewest": 3, "calls": 6, "repeated": 2, "needless": 2, "unknown": 1, "without_result": 2,
        "is_answered": True,
    }  # fmt: skip
    assert (found.score, found.tool, found.arguments, found.outcome) == (1, 1, 1, CallOutcome.CALLED)


def test_the_fewest_turns_may_be_said() -> None:
    """Two turns do where calls can stand side by side; a call in each is then one too many."""
    assert score([FIND], [BOOK], [], turns=2)[0] == pytest.approx(2 / 3)
    assert score([FIND, BOOK], [], turns=2)[0] == 1


def test_calls_that_are_expected_twice_are_not_repeated() -> None:
    """A status may be asked for twice."""
    calls = [{"name": "find"}, {"name": "find"}]
    assert score([FIND], [FIND], [], calls=calls)[0] == 1
    assert score([FIND], [FIND], [FIND], [], calls=calls)[0] == pytest.approx(3 / 4 - 0.1)


def test_no_call_is_right() -> None:
    """Then one call is wrong, as in a single answer."""
    assert score([], calls=[])[0] == 1
    assert score([FIND], [], calls=[])[0] == pytest.approx(0.5 * 1 / 2 - 0.1)


def test_a_call_as_text_at_the_end_is_malformed() -> None:
    """Also behind calls that could be read."""
    mean, found = score([FIND], [], text='{"name": "book", "arguments": {"flight": 1}} is booked')
    assert (mean, found.outcome) == (0, CallOutcome.MALFORMED)


SENT = st.builds(
    SentCall,
    st.sampled_from(["find", "book", "fly", ""]),
    st.sampled_from(['{"to": "NY"}', '{"flight": 1}', "{}", "", "null", "[]", '{"to"']) | st.text(max_size=5),
    st.booleans(),
)


@given(st.lists(st.lists(SENT, max_size=4), min_size=1, max_size=6), st.text(max_size=20))
def test_any_conversation_has_a_score(turns: list[list[SentCall]], text: str) -> None:
    """From 0 to 1, with counts that add up; what is enclosed comes out again."""
    mean, found = score(*turns, text=text)
    assert 0 <= mean <= 1
    counts = found.turns
    assert counts is not None
    assert counts.repeated + counts.needless <= counts.calls == sum(map(len, turns))
    assert counts.turns == len(turns)
    assert not (counts.is_answered and (turns[-1] or found.outcome is CallOutcome.MALFORMED))
    calls = tuple(call for each in turns for call in each)
    whole = enclosed(text, calls, 0, tuple(map(len, turns)))
    assert opened(whole) == Answered(text, calls, 0, tuple(map(len, turns)))
    assert said_in(whole) == text
    assert text in shown_answer(whole)


@given(st.lists(SENT, max_size=4), st.integers(0, 2), st.integers(1, 5))
def test_a_conversation_goes_on_while_calls_can_be_answered(calls: list[SentCall], left_out: int, turns: int) -> None:
    """Never after the last turn, never without calls, never with a call that can't be read or sent back."""
    found = goes_on(Answered("", tuple(calls), left_out), turns, 5)
    if found is not None:
        assert turns < 5
        assert len(found.calls) == len(calls) > 0
        assert not left_out
        assert not any(call.cut for call in calls)
    elif turns < 5 and not left_out and calls and not any(call.cut for call in calls):
        broken = score_calls(known({"calls": [{"name": "find"}]}))(enclosed("", calls))
        assert broken.outcome is CallOutcome.MALFORMED


def test_results() -> None:
    """The first that fits; JSON as its text; and what is wrong with a call."""
    played = PlayedResults(RESULTS, ["find", "book"])
    assert played.answer(Call("find", {"to": "NY"})) == '{"flights": 1}'
    assert played.answer(Call("book", {"flight": 7})) == "done"
    assert json.loads(played.answer(Call("find", {"to": "LA"}))) == {"error": "no result for these arguments"}
    assert json.loads(played.answer(Call("find", None))) == {"error": "no result for these arguments"}
    assert json.loads(played.answer(Call("fly", {}))) == {"error": "there is no such tool"}


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({}, ": expected a list of at most 1,000 results"),
        ([1], "[0]: expected a mapping"),
        ([{"name": "", "result": 1}], "[0].name: expected the name"),
        ([{"name": "f"}], "[0].result: missing"),
        ([{"name": "f", "result": {1, 2}}], ""),
        ([{"name": "f", "result": float("nan")}], "[0].result: expected a text"),
        ([{"name": "f", "result": "x" * (1 << 21)}], "[0].result: found 2,097,152 characters"),
        ([{"name": "f", "args": [], "result": 1}], "[0].args: expected a mapping"),
        ([{"name": "f", "args": {"x": {"any": []}}, "result": 1}], "[0].args.x.any: expected one allowed value"),
        ([{"name": "f", "args": {"x": {"object": {"y": {"regex": "a"}}}}, "result": 1}], "[0].args: found regex"),
        ([{"name": "f", "args": {"x": {"items": [{"fuzzy": "a"}]}}, "result": 1}], "[0].args: found fuzzy"),
    ],
)
def test_tables_that_are_none(entries: Any, words: str) -> None:
    """Refused with the place; what YAML can hold and JSON can't is its text."""
    if not words:
        assert PlayedResults(entries, ["f"]).answer(Call("f", {})) in {'"{1, 2}"', '"{2, 1}"'}
        return
    with pytest.raises(FormError) as caught:
        PlayedResults(entries, ["f"])
    assert str(caught.value).startswith(words)


def test_the_expectation_is_shown_as_it_was_written() -> None:
    """Without the tools and results of its scenario."""
    assert without_tools(known(EXPECT)) == EXPECT
    several = {"checks": [EXPECT, {"contains": ["x"]}]}
    assert without_tools(known(several)) == several
