"""Tool calls: three outcomes that are never confused, expected calls, and the assignment of one to the other."""

from __future__ import annotations

import json
import random
import time
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tool_answers import (
    ABSTENTIONS,
    BROKEN_ARGUMENTS,
    BROKEN_JSON_AS_TEXT,
    JSON_AS_TEXT,
    OTHER_CALLS_AS_TEXT,
    TOOLS,
)

from pytest_flperf.quality.tools.answered import Answered, SentCall, enclosed, opened, said_in, shown_answer
from pytest_flperf.quality.tools.assignment import assigned, in_order
from pytest_flperf.quality.tools.definitions import choice_problem, tools_problem
from pytest_flperf.quality.tools.expected import CallScore, calls_problem, score_calls
from pytest_flperf.quality.tools.understood import CallOutcome, understood
from pytest_flperf.quality.tools.written import IN_OTHER_WORDS, written_call

CALLED, ABSTAINED, MALFORMED = CallOutcome.CALLED, CallOutcome.ABSTAINED, CallOutcome.MALFORMED
PARIS = {"calls": [{"name": "get_weather", "args": {"city": ["Paris", "Paris, FR"], "unit": ["C", ""]}}]}


def score(expected: dict[str, Any], *calls: tuple[str, Any], text: str = "", left_out: int = 0) -> CallScore:
    """Score of an answer with these calls."""
    sent = [SentCall(name, given if isinstance(given, str) else json.dumps(given)) for name, given in calls]
    return score_calls({"tools": list(TOOLS), **expected})(enclosed(text, sent, left_out))


# ---- the three outcomes


def test_the_corpus_is_large_enough() -> None:
    """Over 200 answers, of each kind some, none twice."""
    malformed = [*JSON_AS_TEXT, *BROKEN_JSON_AS_TEXT, *OTHER_CALLS_AS_TEXT]
    assert len({*malformed, *BROKEN_ARGUMENTS, *ABSTENTIONS}) >= 250
    assert not {*malformed} & {*ABSTENTIONS}


@pytest.mark.parametrize("expected", [PARIS, {"calls": []}], ids=["a call", "none"])
def test_malformed_is_never_abstained(expected: dict[str, Any]) -> None:
    """Whatever wants to be a call is malformed, scores 0, and JSON is said to be JSON."""
    for text in [*JSON_AS_TEXT, *BROKEN_JSON_AS_TEXT]:
        found = score(expected, text=text)
        assert (found.score, found.outcome, found.as_json) == (0.0, MALFORMED, True), text
    for text in OTHER_CALLS_AS_TEXT:
        assert score(expected, text=text)[::3] == (0.0, MALFORMED), text
    for arguments in BROKEN_ARGUMENTS:
        found = score(expected, ("get_weather", arguments))
        assert (found.score, found.outcome, found.as_json) == (0.0, MALFORMED, False), arguments


def test_abstained_is_never_malformed() -> None:
    """Words about tools, code, lists and braces are no calls."""
    for text in ABSTENTIONS:
        assert score({"calls": []}, text=text) == CallScore(1.0, 1.0, None, ABSTAINED), text
        assert score(PARIS, text=text) == CallScore(0.0, 0.0, 0.0, ABSTAINED), text


@given(st.sampled_from([*JSON_AS_TEXT, *BROKEN_JSON_AS_TEXT[:6]]), st.text(max_size=80), st.text(max_size=80))
def test_a_call_in_any_text_is_malformed(call: str, before: str, after: str) -> None:
    """Whatever stands around it."""
    assert written_call(f"{before}\n{call}\n{after}", TOOLS)


@given(st.text())
def test_any_text_is_understood(text: str) -> None:
    """No text makes it raise; text alone is never a call."""
    assert understood(Answered(text), TOOLS).outcome in {ABSTAINED, MALFORMED}
    assert opened(enclosed(text, [])).calls == ()


@given(st.lists(st.tuples(st.text(), st.text(), st.booleans()), max_size=5), st.text(), st.integers(0, 9))
def test_answers_survive_as_one_text(calls: list[tuple[str, str, bool]], text: str, left_out: int) -> None:
    """Calls and text come out as they went in, and nothing that a model writes becomes a call."""
    answer = Answered(text, tuple(SentCall(*each) for each in calls), left_out)
    assert opened(enclosed(answer.text, answer.calls, answer.left_out)) == answer
    assert said_in(enclosed(answer.text, answer.calls, answer.left_out)) == text
    forged = enclosed("", [SentCall("get_weather", "{}")])
    assert opened(enclosed(forged, [])) == Answered(forged)
    understood(answer, TOOLS)
    shown_answer(enclosed(answer.text, answer.calls, answer.left_out))


def test_answers_are_shown() -> None:
    """A line for each call, what is cut and left out, and the text."""
    sent = [SentCall("f", '{"a": 1}'), SentCall("g", '{"b": "lon', True)]
    assert shown_answer(enclosed("Done.", sent, 3)) == 'f({"a": 1})\ng({"b": "lon…)\nand 3 more calls\nDone.'
    assert shown_answer("Done.") == "Done."


def test_calls_without_arguments_and_names() -> None:
    """Servers write no arguments in several ways; a call without a name is none."""
    for nothing in ("", "  ", "{}", "null"):
        assert score({"calls": [{"name": "search", "args": {}}]}, ("search", nothing)).score == 1
    assert score({"calls": [{"name": "search", "args": {}}]}, ("search", {"q": 1})).score == 0
    assert score({"calls": [{"name": "search"}]}, ("search", {"q": 1})).score == 1  # any will do
    assert score({"calls": [{"name": "search"}]}, ("  ", "{}")).outcome is MALFORMED


def test_one_broken_call_of_two() -> None:
    """The answer is malformed as a whole."""
    expected = {"calls": [{"name": "search"}, {"name": "search"}], "score": "weighted"}
    assert score(expected, ("search", {}), ("search", "{")) == CallScore(0.0, 0.0, 0.0, MALFORMED)


@pytest.mark.parametrize("text", ["get_weather" * 100_000, "[" * 1_000_000, '"name": ' * 150_000, "a(" * 500_000])
def test_long_texts_take_little_time(text: str) -> None:
    """The search for calls is linear."""
    began = time.process_time()
    written_call(text, TOOLS)
    assert time.process_time() - began < 5


def test_deep_arguments() -> None:
    """What can't be read is a call without right arguments, and broken all the same where it is."""
    deep = '{"a": ' * 100_000 + "1" + "}" * 100_000
    found = score(PARIS, ("get_weather", deep))
    assert (found.outcome, found.tool, found.arguments) == (CALLED, 1.0, 0.0)
    assert score(PARIS, ("get_weather", deep[:-1] + "]")).outcome is MALFORMED


# ---- expected calls


@pytest.mark.parametrize(
    ("given_arguments", "share"),
    [
        ({"city": "Paris"}, 1),
        ({"city": "Paris, FR", "unit": "C"}, 1),
        ({"city": "Paris", "unit": "F"}, 0.5),
        ({"city": "Rome"}, 0),
        ({"unit": "C"}, 0.5),
        ({"city": "Paris", "day": 1}, 0.5),
        ({}, 0),
    ],
)
def test_arguments(given_arguments: dict[str, Any], share: float) -> None:
    """Any of the values; an argument may be absent only where that is said; unknown ones count 0."""
    found = score(PARIS, ("get_weather", given_arguments))
    assert (found.score, found.tool, found.arguments) == (float(share == 1), 1.0, share)
    weighted = score({**PARIS, "score": "weighted"}, ("get_weather", given_arguments))
    assert weighted.score == pytest.approx(0.6 + 0.4 * share)


@pytest.mark.parametrize(
    ("spec", "right", "wrong"),
    [
        ("Paris", ["Paris"], ["paris", " Paris", 5, None, ["Paris"]]),
        (5, [5, 5.0], ["5", True, 5.1]),
        (True, [True], [1, "true"]),
        ([[1, 2]], [[1, 2]], [[2, 1], 1, [1, 2, 3]]),
        ([{"a": "x"}], [{"a": "x"}], [{"a": "x", "b": 1}, {}]),
        ({"any": ["New York"], "match": "normalised"}, ["new york", "New-York", "NEW_YORK."],
         ["York", "New\tYork"]),
        ({"any": [20, 0.5], "as_written": True}, [20, 0.5], [20.0, "20", True]),
        ({"any": [[1.0, 2]], "as_written": True}, [[1.0, 2]], [[1, 2], [1.0, 2.0]]),
        ({"contains": ["a", "b"]}, ["cab"], ["a", 5]),
        ({"regex": r"^\d{4}$"}, ["2026"], ["20266", 2026]),
        ({"near": 10, "within": 0.5}, [10, 10.5, 9.5], [10.6, "10", True, 10**400]),
        ({"near": 200, "within": "1%"}, [202], [203]),
        ({"object": {"city": ["Paris"], "zip": ["", 75001]}}, [{"city": "Paris"}, {"city": "Paris", "zip": 75001}],
         [{"city": "Paris", "zip": 1}, {"city": "Paris", "more": 1}, "Paris"]),
        ({"items": ["a", {"regex": "^b"}]}, [["a", "bc"]], [["a"], ["bc", "a"], "a", ["a", "b", "c"]]),
        ({"either": [{"near": 5}, ["five"]]}, [5, "five"], ["Five", 6]),
    ],
)  # fmt: skip
def test_matchers(spec: Any, right: list[Any], wrong: list[Any]) -> None:
    """Each way to compare an argument."""
    expected = {"calls": [{"name": "search", "args": {"x": spec}}]}
    assert calls_problem(expected) == ""
    for value in right:
        assert score(expected, ("search", {"x": value})).score == 1, value
    for value in wrong:
        assert score(expected, ("search", {"x": value})).score == 0, value


def test_fuzzy() -> None:
    """A text that is nearly the same, where rapidfuzz is installed."""
    pytest.importorskip("rapidfuzz")
    expected = {"calls": [{"name": "search", "args": {"x": {"fuzzy": "annual report 2025", "at_least": 85}}}]}
    assert score(expected, ("search", {"x": "Anual report 2025"})).score == 1
    assert score(expected, ("search", {"x": "weather"})).score == 0


TWO = [{"name": "search", "args": {"q": ["a", "b"]}}, {"name": "search", "args": {"q": ["a"]}}]


@pytest.mark.parametrize(
    ("order", "given_calls", "right"),
    [
        ("any", "ab", True),
        ("any", "ba", True),
        ("exact", "ba", True),
        ("exact", "ab", False),
        ("exact", "baa", False),
        ("any", "aba", False),
        ("any", "a", False),
        ("subsequence", "xbxax", True),
        ("subsequence", "xab", False),
        ("subsequence", "b", False),
    ],
)
def test_orders(order: str, given_calls: str, right: bool) -> None:
    """Any order finds the assignment that works; needless calls are wrong but in a subsequence."""
    found = score({"calls": TWO, "order": order}, *(("search", {"q": each}) for each in given_calls))
    assert found.score == right


def test_needless_calls_weigh() -> None:
    """A weighted score falls with each call that was not expected."""
    expected = {"calls": [{"name": "search"}], "score": "weighted"}
    assert score(expected, ("search", {}), ("get_weather", {})).score == pytest.approx(0.5)
    assert score(expected, ("get_weather", {})).score == 0


def test_ten_thousand_calls() -> None:
    """A clear outcome, and quickly: called, and wrong."""
    began = time.process_time()
    calls = [("search", {"q": str(number)}) for number in range(1_000)]
    expected = {"calls": [{"name": "search", "args": {"q": [str(number)]}} for number in range(100)]}
    for order in ("any", "exact", "subsequence"):
        found = score({**expected, "order": order, "score": "weighted"}, *calls, left_out=9_000)
        assert found.outcome is CALLED
        assert found.score == (1 if order == "subsequence" else pytest.approx(0.01))
    assert time.process_time() - began < 5
    assert score({"calls": [{"name": "search"}]}, ("search", {}), left_out=9_999).score == 0


# ---- the assignment


@given(st.integers(1, 5), st.integers(1, 5), st.randoms(use_true_random=False))
def test_the_assignment_is_the_best_one(rows: int, columns: int, rng: random.Random) -> None:
    """As trying all of them finds."""
    weights = [[rng.choice([0.0, 0.6, 0.8, 1.0]) for _ in range(columns)] for _ in range(rows)]
    found = assigned(weights)
    taken = [each for each in found if each is not None]
    assert len(taken) == len({*taken}) == min(rows, columns)
    best = max(
        sum(weights[row][column] for row, column in enumerate(order) if column < columns)
        for order in permutations(range(max(rows, columns)), rows)
    )
    assert sum(weights[row][column] for row, column in enumerate(found) if column is not None) == pytest.approx(best)


def test_the_assignment_agrees_with_scipy() -> None:
    """On tables of the largest size, within a second or two."""
    from scipy.optimize import linear_sum_assignment

    rng = random.Random(5)
    weights = [[rng.random() for _ in range(100)] for _ in range(100)]
    found = assigned(weights)
    rows, columns = linear_sum_assignment(weights, maximize=True)
    best = sum(weights[row][column] for row, column in zip(rows, columns, strict=True))
    assert sum(weights[row][column] for row, column in enumerate(found) if column is not None) == pytest.approx(best)


@given(st.text("ab", max_size=6), st.text("abc", max_size=8))
def test_in_order_is_the_longest_subsequence(wanted: str, given_text: str) -> None:
    """Rising columns, and a whole match exactly where the text is a subsequence."""
    found = in_order(len(wanted), len(given_text), lambda row, column: float(wanted[row] == given_text[column]))
    columns = [each for each in found if each is not None]
    assert columns == sorted({*columns})
    rest = iter(given_text)
    whole = sum(wanted[row] == given_text[each] for row, each in enumerate(found) if each is not None)
    assert (whole == len(wanted)) == all(each in rest for each in wanted)


# ---- forms


@pytest.mark.parametrize(
    ("expected", "words"),
    [
        ({"calls": "search"}, "calls: expected a list"),
        ({"calls": [{}] * 101}, "calls: expected a list of at most 100"),
        ({"calls": ["search"]}, "calls[0]: expected a mapping"),
        ({"calls": [{"name": "search", "arguments": {}}]}, "calls[0]: unknown key 'arguments'"),
        ({"calls": [{"name": " "}]}, "calls[0].name: expected"),
        ({"calls": [{"name": "f", "args": []}]}, "calls[0].args: expected a mapping"),
        ({"calls": [{"name": "f", "args": {"x": []}}]}, "calls[0].args.x: expected one allowed value"),
        ({"calls": [{"name": "f", "args": {"x": {"a": 1}}}]}, "calls[0].args.x: found a, expected exactly one of any"),
        (
            {"calls": [{"name": "f", "args": {"x": {"regex": ""}}}]},
            "calls[0].args.x.regex: expected a non-empty string",
        ),
        ({"calls": [{"name": "f", "args": {"x": {"near": "5"}}}]}, "calls[0].args.x.near: expected a number"),
        ({"calls": [{"name": "f", "args": {"x": {"near": 5, "within": "much"}}}]}, "calls[0].args.x.within"),
        ({"calls": [{"name": "f", "args": {"x": {"any": [1], "within": 1}}}]}, "unknown key 'within' beside any"),
        ({"calls": [{"name": "f", "args": {"x": {"object": {"y": []}}}}]}, "calls[0].args.x.object.y: expected one"),
        ({"calls": [{"name": "f", "args": {"x": {"items": []}}}]}, "calls[0].args.x.items: expected a list of 1"),
        ({"calls": [{"name": "f", "args": {"x": {"either": [[]]}}}]}, "calls[0].args.x.either[0]: expected one"),
        ({"calls": [{"name": "f", "args": None}]}, "calls[0].args: expected a mapping"),
        ({"calls": [], "order": "some"}, "order: expected 'any' or 'exact' or 'subsequence'"),
        ({"calls": [], "score": 1}, "score: expected 'strict' or 'weighted'"),
    ],
)  # fmt: skip
def test_what_is_no_expected_call(expected: dict[str, Any], words: str) -> None:
    """The place and what was expected there."""
    assert words in calls_problem(expected)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "args", "any", "regex", "near", "object", "items", "either", "x"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_form_is_taken_or_refused(value: Any) -> None:
    """No value makes the checks raise."""
    calls_problem({"calls": value})
    calls_problem({"calls": [{"name": "f", "args": {"x": value}}]})
    tools_problem(value)
    tools_problem([{"type": "function", "function": value}])
    choice_problem(value, [{"type": "function", "function": {"name": "f"}}])


def test_tools_and_choices() -> None:
    """OpenAI's form, each name once, and a choice among them."""
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    assert tools_problem(tools) == ""
    assert tools_problem([]).startswith("expected a list")
    assert tools_problem([{"name": "f"}]).startswith("[0]: expected a mapping with type: function")
    assert "found 'f' again" in tools_problem(tools * 2)
    assert "[0].function.name" in tools_problem([{"type": "function", "function": {"name": "a b"}}])
    assert "[0].function.parameters" in tools_problem(
        [{"type": "function", "function": {"name": "f", "parameters": 1}}]
    )
    chosen = {"type": "function", "function": {"name": "f"}}
    assert [choice_problem(each, tools) for each in ("auto", "required", "none", chosen)] == [""] * 4
    assert "expected the name of one of the tools" in choice_problem(
        {"type": "function", "function": {"name": "g"}}, tools
    )
    assert choice_problem("sometimes", tools).startswith("found 'sometimes', expected 'auto'")
    assert choice_problem("auto", []).startswith("found without tools")


def test_in_other_words() -> None:
    """A call in code is malformed, but no JSON."""
    assert written_call("get_weather(city='Paris')", TOOLS) == IN_OTHER_WORDS
