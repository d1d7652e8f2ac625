"""Tool calls out of their pieces: however they are cut, they are the same calls."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.wire.tool_calls import ToolCall, ToolCalls

ROOM = 262_144
ARGUMENTS = st.dictionaries(st.text(max_size=5), st.text(max_size=20) | st.integers() | st.none(), max_size=4)
NAMED = st.lists(st.tuples(st.sampled_from(["f", "g", "h"]), ARGUMENTS), min_size=1, max_size=4)


def joined(pieces: list[Any]) -> tuple[ToolCall, ...]:
    """The calls of these pieces, one in each chunk."""
    calls = ToolCalls(ROOM)
    for piece in pieces:
        calls.take([piece], None)
    return calls.result()


def cut(text: str, data: st.DataObject) -> list[str]:
    """A text in pieces of any length."""
    places = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    return [text[start:end] for start, end in zip([0, *places], [*places, len(text)], strict=True)]


def streamed(named: list[tuple[str, Any]], data: st.DataObject, form: str) -> list[list[dict[str, Any]]]:
    """The pieces of each call, as a kind of server sends them."""
    found = []
    for index, (name, arguments) in enumerate(named):
        first, *rest = cut(json.dumps(arguments, ensure_ascii=False), data)
        told = {"index": index} if form in {"index", "index and id"} else {"index": 0} if form == "one index" else {}
        known = told if "index" in form else {"id": f"c{index}"}
        begun = {**told, "id": f"c{index}", "function": {"name": name, "arguments": first}}
        if form == "index":
            del begun["id"]
        found.append([begun, *({**known, "function": {"arguments": each}} for each in rest)])
    return found


@given(NAMED, st.data(), st.sampled_from(["index", "index and id", "one index", "id"]))
def test_any_split_gives_the_same_calls(named: list[tuple[str, Any]], data: st.DataObject, form: str) -> None:
    """By index, by id, by both, or with the same index for all."""
    found = joined([piece for pieces in streamed(named, data, form) for piece in pieces])
    assert [(each.index, each.name) for each in found] == [(place, name) for place, (name, _) in enumerate(named)]
    assert [json.loads(each.arguments) for each in found] == [arguments for _, arguments in named]
    assert not any(each.cut for each in found)


@given(NAMED, st.data(), st.sampled_from(["index", "id"]), st.randoms(use_true_random=False))
def test_mixed_pieces_are_told_apart(named: list[tuple[str, Any]], data: st.DataObject, form: str, rng: Any) -> None:
    """Pieces of several calls in any order, each call's own in theirs."""
    pieces = streamed(named, data, form)
    mixed = [part.pop(0) for part in pieces]
    while any(pieces):
        mixed.append(rng.choice([part for part in pieces if part]).pop(0))
    assert [json.loads(each.arguments) for each in joined(mixed)] == [arguments for _, arguments in named]


@given(st.dictionaries(st.text(), st.text()), st.data())
def test_the_older_form(arguments: dict[str, str], data: st.DataObject) -> None:
    """One call, in pieces."""
    calls = ToolCalls(ROOM)
    calls.take(None, {"name": "f"})
    for part in cut(json.dumps(arguments), data):
        calls.take(None, {"arguments": part})
    (found,) = calls.result()
    assert (found.name, json.loads(found.arguments)) == ("f", arguments)


def test_both_forms_at_once() -> None:
    """Some servers send a call in both: it is one."""
    calls = ToolCalls(ROOM)
    calls.take([{"index": 0, "function": {"name": "f", "arguments": "{}"}}], {"name": "f", "arguments": "{}"})
    assert calls.result() == (ToolCall(0, "", "f", "{}"),)


def test_the_same_index_and_no_id() -> None:
    """A function that is called twice: the second call begins where the first is whole."""
    pieces = [{"index": 0, "function": {"name": "f", "arguments": json.dumps({"a": each})}} for each in (1, {}, "}")]
    assert [json.loads(each.arguments)["a"] for each in joined(pieces)] == [1, {}, "}"]
    again = {"index": 0, "function": {"name": "f", "arguments": '{"b": 1}}'}}
    assert len(joined([{"index": 0, "function": {"name": "f", "arguments": '{"a": '}}, again])) == 1


@pytest.mark.parametrize("value", [5, True, "text", [1]])
def test_arguments_of_another_kind(value: Any) -> None:
    """They are kept as JSON, so that nobody takes them for none."""
    (found,) = joined([{"index": 0, "function": {"name": "f", "arguments": value}}])
    assert found.arguments == (value if isinstance(value, str) else json.dumps(value))


PIECE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.dictionaries(
        st.sampled_from(["index", "id", "function", "custom", "name", "arguments", "input"]), inner, max_size=4
    ),
    max_leaves=8,
)


@given(st.lists(st.tuples(st.lists(PIECE, max_size=3) | PIECE, PIECE), max_size=6))
def test_no_piece_raises(chunks: list[tuple[Any, Any]]) -> None:
    """Whatever stands in the place of one."""
    calls = ToolCalls(20)
    for piece, legacy in chunks:
        calls.take(piece, legacy)
    assert sum(len(each.arguments) for each in calls.result()) <= 20
    assert calls.left_out == 0


@pytest.mark.parametrize("form", ["index", "one index", "id", "nothing"])
def test_ten_thousand_calls(form: str) -> None:
    """The first 128 are kept, the others counted, in little time."""
    told: dict[str, Any]
    calls = ToolCalls(ROOM)
    began = time.process_time()
    for number in range(10_000):
        told = {"id": f"c{number}"} if form in {"one index", "id"} else {}
        told |= {"index": number if form == "index" else 0} if "index" in form else {}
        calls.take([{**told, "function": {"name": "f", "arguments": '{"a": 1}'}}], None)
    assert (len(calls.result()), calls.left_out) == (128, 9_872)
    assert time.process_time() - began < 2


def test_time_is_linear_in_pieces() -> None:
    """Also where each piece looks like a new call."""
    calls = ToolCalls(ROOM)
    began = time.process_time()
    calls.take([{"index": 0, "function": {"name": "f", "arguments": '{"a": "'}}], None)
    for _ in range(100_000):
        calls.take([{"index": 0, "function": {"name": "f", "arguments": "{}"}}], None)
    (found,) = calls.result()
    assert len(found.arguments) == 7 + 200_000
    assert time.process_time() - began < 5


def test_more_arguments_than_are_kept() -> None:
    """The call says so, and broken JSON is not the model's fault."""
    calls = ToolCalls(10)
    calls.take([{"index": 0, "function": {"name": "f", "arguments": '{"a": "longer"}'}}], None)
    (found,) = calls.result()
    assert (found.arguments, found.cut) == ('{"a": "lon', True)
