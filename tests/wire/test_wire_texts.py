"""Text wherever a server puts it, tool calls put together, reasoning in tags taken apart."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_doubles import DONE, SENT, STOP, chunked, event, exchange, sized, text

from pytest_flperf.wire.chunks import Answer
from pytest_flperf.wire.decode import decode
from pytest_flperf.wire.reasoning_tags import split_reasoning
from pytest_flperf.wire.sample import Outcome, Sample
from pytest_flperf.wire.tool_calls import ToolCall

MS = 1_000_000


def of(*deltas: dict[str, Any], finish: str = "stop", **more: Any) -> Sample:
    """The sample of a stream of these deltas."""
    return decode(exchange(chunked(*map(event, deltas), event({}, finish=finish), DONE), **more))


THINKING = {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]}
# delta; answer and reasoning
PLACES: dict[str, tuple[dict[str, Any], tuple[str, str]]] = {
    "content": ({"content": "a"}, ("a", "")),
    "parts": ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, ("ab", "")),
    "parts of the newer interface": ({"content": [{"type": "output_text", "text": "a"}]}, ("a", "")),
    "texts in a list": ({"content": ["a", "b"]}, ("ab", "")),
    "one part, no list": ({"content": {"type": "text", "text": "a"}}, ("a", "")),
    "Mistral's thinking, nested": (THINKING, ("", "hm")),
    "thinking, not nested": ({"content": [{"type": "thinking", "thinking": "hm"}]}, ("", "hm")),
    "thinking and text in one list": (
        {"content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "a"}]},
        ("a", "hm"),
    ),
    "reasoning_content": ({"reasoning_content": "hm"}, ("", "hm")),
    "reasoning_content as parts": ({"reasoning_content": [{"type": "text", "text": "hm"}]}, ("", "hm")),
    "reasoning": ({"reasoning": "hm", "content": ""}, ("", "hm")),
    "reasoning as an object": ({"reasoning": {"content": "hm"}}, ("", "hm")),
    "thinking": ({"thinking": "hm", "content": None}, ("", "hm")),
    "reasoning_details": ({"reasoning_details": [{"type": "reasoning.text", "text": "hm"}]}, ("", "hm")),
    "a summary": (
        {"reasoning_details": [{"type": "reasoning.summary", "summary": "hm"}]},
        ("", "hm"),
    ),
    "said twice": ({"reasoning": "hm", "reasoning_details": [{"type": "reasoning.text", "text": "hm"}]}, ("", "hm")),
    "LiteLLM's thinking_blocks": ({"thinking_blocks": [{"type": "thinking", "thinking": "hm"}]}, ("", "hm")),
    "Gemini's thought": ({"content": "hm", "extra_content": {"google": {"thought": True}}}, ("", "hm")),
    "refusal": ({"refusal": "I can't."}, ("I can't.", "")),
    "refusal as a part": ({"content": [{"type": "refusal", "refusal": "I can't."}]}, ("I can't.", "")),
    "text": ({"text": "a"}, ("a", "")),
    "parts in an object": ({"content": {"parts": [{"text": "a"}]}}, ("a", "")),
    "the transcript of what is spoken": ({"audio": {"id": "x", "transcript": "a"}}, ("a", "")),
    "reasoning_text": ({"reasoning_text": "hm"}, ("", "hm")),
    "thoughts": ({"thoughts": "hm"}, ("", "hm")),
    "a thought by a mark": ({"content": "hm", "thought": True}, ("", "hm")),
    "parts of summaries": ({"content": [{"type": "summary_text", "text": "hm"}]}, ("", "hm")),
    "Bedrock's": (
        {"content": [{"type": "reasoning_content", "reasoning_content": {"reasoningText": {"text": "hm"}}}]},
        ("", "hm"),
    ),
    "reasoning beside content": ({"content": "a", "reasoning_content": "hm"}, ("a", "hm")),
}


@pytest.mark.parametrize("name", PLACES)
def test_text_counts_wherever_it_stands(name: str) -> None:
    """It is text of its kind, and the first token; streamed or in one document."""
    delta, (answer, reasoning) = PLACES[name]
    sample = of({"role": "assistant", "content": ""}, delta)
    assert (sample.outcome, sample.output_text, sample.reasoning_text) == (Outcome.OK, answer, reasoning)
    assert sample.first_token_ns == SENT + 3 * MS
    assert sample.first_answer_token_ns == (SENT + 3 * MS if answer else None)
    assert sample.unknown_fields == ()
    document = json.dumps({"choices": [{"message": delta, "finish_reason": "stop"}]}).encode()
    sample = decode(exchange(sized(document), stream=False))
    assert (sample.outcome, sample.output_text, sample.reasoning_text) == (Outcome.OK, answer, reasoning)


@pytest.mark.parametrize(
    "delta",
    [
        {"reasoning_details": [{"type": "reasoning.encrypted", "data": "gAAA"}]},
        {"content": [{"type": "image_url", "image_url": {"url": "x"}}]},
        {"content": [], "tool_calls": [], "reasoning": {}, "refusal": None},
        {"role": "assistant", "citations": ["http://x"], "search_results": [{"text": "x"}]},
        {"role": "assistant", "name": "x", "id": "y", "signature": "z", "tool_calls": [{"index": 0, "id": "call_1"}]},
    ],
)
def test_what_is_no_text_is_no_token(delta: dict[str, Any]) -> None:
    """Roles, ids, signatures and what is encrypted say nothing."""
    sample = of(delta, {"content": "a"})
    assert len(sample.chunk_ns) == 1
    assert sample.unknown_fields == ()


@pytest.mark.parametrize(
    "choice",
    [
        {"delta": {"role": "assistant"}, "text": "a"},
        {"delta": None, "content": "a"},
        {"message": {"role": "assistant", "content": None}, "content": [{"type": "text", "text": "a"}]},
    ],
)
def test_text_beside_the_delta_counts(choice: dict[str, Any]) -> None:
    """In the choice itself, and where there is one choice in place of a list."""
    for choices_ in ([choice], choice):
        data = b"data: " + json.dumps({"choices": choices_}).encode() + b"\n\n"
        sample = decode(exchange(chunked(data, STOP, DONE)))
        assert (sample.outcome, sample.output_text, len(sample.chunk_ns)) == (Outcome.OK, "a", 1)


def test_tags_beside_reasoning_of_its_own_are_words() -> None:
    """The server has taken the reasoning out: what it left is the answer's."""
    sample = of({"reasoning_content": "hm"}, {"content": "<think> is a tag, and </think> ends it"})
    assert sample.output_text == "<think> is a tag, and </think> ends it"
    assert not sample.tagged


def test_long_reasoning_takes_no_room_from_the_answer() -> None:
    """Each has its own bound."""
    sample = of(*({"reasoning_content": "x" * 10_000} for _ in range(40)), {"content": "42"})
    assert (sample.output_text, len(sample.reasoning_text)) == ("42", 262_144)
    sample = of({"content": "<think>"}, *({"content": "x" * 10_000} for _ in range(40)), {"content": "</think>42"})
    assert (sample.output_text, len(sample.reasoning_text)) == ("42", 262_144)


def test_text_in_a_field_that_nobody_knows_is_noticed_once() -> None:
    """It is not counted, and its name is kept."""
    sample = of(
        {"content": "", "inner_voice": "hm"}, {"inner_voice": "so"}, {"blocks": [{"text": "x"}]}, {"content": "a"}
    )
    assert sample.unknown_fields == ("inner_voice", "blocks")
    assert len(sample.chunk_ns) == 1
    sample = of(*({f"f{number}" + "x" * 100: "hm"} for number in range(20)))
    assert len(sample.unknown_fields) <= 4
    assert max(map(len, sample.unknown_fields)) <= 64


def call(**more: Any) -> dict[str, Any]:
    """A delta with one piece of a tool call."""
    return {"tool_calls": [more]}


CALLS: dict[str, tuple[list[dict[str, Any]], tuple[ToolCall, ...]]] = {
    "one, in pieces": (
        [
            call(index=0, id="c1", type="function", function={"name": "f", "arguments": ""}),
            call(index=0, function={"arguments": '{"a"'}),
            call(index=0, function={"arguments": ": 1}"}),
        ],
        (ToolCall(0, "c1", "f", '{"a": 1}'),),
    ),
    "two, mixed": (
        [
            call(index=0, id="c1", function={"name": "f", "arguments": "{"}),
            call(index=1, id="c2", function={"name": "g", "arguments": "["}),
            call(index=0, function={"arguments": "}"}),
            call(index=1, function={"arguments": "]"}),
        ],
        (ToolCall(0, "c1", "f", "{}"), ToolCall(1, "c2", "g", "[]")),
    ),
    "without an index: by id, else the last": (
        [
            call(id="c1", function={"name": "f", "arguments": "{"}),
            call(id="c2", function={"name": "g", "arguments": "["}),
            call(function={"arguments": "]"}),
            call(id="c1", function={"arguments": "}"}),
        ],
        (ToolCall(0, "c1", "f", "{}"), ToolCall(1, "c2", "g", "[]")),
    ),
    "whole, arguments as an object": (
        [call(function={"name": "f", "arguments": {"a": 1}})],
        (ToolCall(0, "", "f", '{"a": 1}'),),
    ),
    "the legacy function_call": (
        [{"function_call": {"name": "f", "arguments": ""}}, {"function_call": {"arguments": "{}"}}],
        (ToolCall(0, "", "f", "{}"),),
    ),
    "the same index for all": (
        [
            call(index=0, id="c1", function={"name": "f", "arguments": '{"a": 1}'}),
            call(index=0, id="c2", function={"name": "g", "arguments": "{"}),
            call(index=0, function={"arguments": "}"}),
        ],
        (ToolCall(0, "c1", "f", '{"a": 1}'), ToolCall(1, "c2", "g", "{}")),
    ),
    "a new id with every piece": (
        [
            call(index=0, id="c1", function={"name": "f", "arguments": "{"}),
            call(index=0, id="c2", function={"arguments": "}"}),
        ],
        (ToolCall(0, "c1", "f", "{}"),),
    ),
    "a custom tool": ([call(index=0, id="c1", custom={"name": "f", "input": "x"})], (ToolCall(0, "c1", "f", "x"),)),
    "parameters": ([call(index=0, function={"name": "f", "parameters": {}})], (ToolCall(0, "", "f", ""),)),
    "among the parts of content": (
        [{"content": [{"type": "tool_use", "id": "c1", "name": "f", "input": {"a": 1}}]}],
        (ToolCall(0, "c1", "f", '{"a": 1}'),),
    ),
    "split within a character": (
        [
            call(index=0, function={"name": "f", "arguments": "\ud83d"}),
            call(index=0, function={"arguments": "\ude00"}),
        ],
        (ToolCall(0, "", "f", "😀"),),
    ),
    "no list": (
        [{"tool_calls": {"index": 3, "function": {"name": "f", "arguments": "{}"}}}],
        (ToolCall(3, "", "f", "{}"),),
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_tool_calls_keep_their_structure(name: str) -> None:
    """Name, arguments, index and id; they count as the first token and the first of the answer."""
    deltas, expected = CALLS[name]
    sample = of(*deltas, finish="tool_calls")
    assert (sample.outcome, sample.tool_calls) == (Outcome.OK, expected)
    assert sample.first_token_ns == sample.first_answer_token_ns == SENT + 2 * MS
    assert sample.to_record()["tool_calls"][0]["name"] == "f"


def test_a_whole_message_behind_its_pieces_adds_nothing() -> None:
    """Some servers send it all once more with the end."""
    pieces = {"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": "{}"}}]}
    last = {"choices": [{"index": 0, "delta": {}, "message": pieces, "finish_reason": "tool_calls"}]}
    sample = decode(exchange(chunked(event(pieces), b"data: " + json.dumps(last).encode() + b"\n\n", DONE)))
    assert sample.tool_calls == (ToolCall(0, "", "f", "{}"),)


def test_many_calls_are_bounded() -> None:
    """A hostile server: what is kept doesn't grow without end."""
    deltas = [call(index=number, function={"name": "f" * 1_000, "arguments": "x" * 10_000}) for number in range(500)]
    sample = of(*deltas, finish="tool_calls")
    assert len(sample.tool_calls) <= 128
    assert sum(len(each.name) + len(each.arguments) for each in sample.tool_calls) < 400_000


def choices(*contents: tuple[int | None, str]) -> bytes:
    """One event with several choices."""
    found = [
        {"delta": {"content": content}, "finish_reason": None} | ({} if index is None else {"index": index})
        for index, content in contents
    ]
    return b"data: " + json.dumps({"choices": found}).encode() + b"\n\n"


def stop(index: int) -> bytes:
    """The end of one choice."""
    choice = {"index": index, "delta": {}, "finish_reason": "stop"}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


@pytest.mark.parametrize(
    "events",
    [
        [choices((0, "a")), choices((1, "x")), choices((0, "b")), stop(0), stop(1)],
        [choices((0, "a"), (1, "x")), stop(0), stop(1)],
        [choices((None, "a"), (None, "x")), stop(0)],
        [choices((1, "x")), choices((0, "a")), stop(0), stop(1)],
        [choices((0, "a")), stop(0), choices((1, "x")), stop(1)],
    ],
)
def test_several_choices_are_refused(events: list[bytes]) -> None:
    """Mixed, together or one after the other: no time is made of both."""
    sample = decode(exchange(chunked(*events, DONE)))
    assert sample.outcome is Outcome.MALFORMED_STREAM
    assert sample.evidence is not None
    assert "several choices (n)" in sample.evidence.detail


@pytest.mark.parametrize("numbers", [(0, 0, 1, 1), (0, 1, 2, 3), ("0", 0, "0", 0), (0, 0.0, 0, None)])
def test_numbers_that_count_up_are_one_choice(numbers: tuple[Any, ...]) -> None:
    """Blocks of an answer's content, or its chunks, or a number in another form."""
    events = [
        b"data: " + json.dumps({"choices": [{"index": number, "delta": {"content": "a"}}]}).encode() + b"\n\n"
        for number in numbers
    ]
    last = {"choices": [{"index": numbers[-1], "delta": {}, "finish_reason": "stop"}]}
    sample = decode(exchange(chunked(*events, b"data: " + json.dumps(last).encode() + b"\n\n", DONE)))
    assert (sample.outcome, sample.output_text) == (Outcome.OK, "aaaa")


def test_one_choice_may_have_any_number() -> None:
    """As long as it is one."""
    stop = b'data: {"choices": [{"index": 1, "delta": {}, "finish_reason": "stop"}]}\n\n'
    sample = decode(exchange(chunked(choices((1, "a")), choices((1, "b")), stop, DONE)))
    assert (sample.outcome, sample.output_text) == (Outcome.OK, "ab")


# text; answer, reasoning and where the answer begins; None: no tags
TAGGED: dict[str, tuple[str, tuple[str, str, int | None] | None]] = {
    "think": ("<think>\nhm\n</think>\n\nParis", ("Paris", "\nhm\n", 21)),
    "blanks before": ("\n <think>hm</think>Paris", ("Paris", "hm", 19)),
    "thinking": ("<thinking>hm</thinking>a", ("a", "hm", 23)),
    "Gemini's thought": ("<thought>hm</thought>a", ("a", "hm", 21)),
    "Mistral's": ("[THINK]hm[/THINK]a", ("a", "hm", 17)),
    "Kimi's": ("◁think▷hm◁/think▷a", ("a", "hm", 17)),
    "the beginning stood in the prompt": ("hm\n</think>\n\na", ("a", "hm\n", 13)),
    "the end at the end": ("hm\n</think>", ("", "hm\n", None)),
    "cut while it thinks": ("<think>hm", ("", "hm", None)),
    "thinks twice": ("<think>a</think>b<think>c</think>d", ("bd", "ac", 16)),
    "empty": ("<think>\n\n</think>\n\na", ("a", "\n\n", 19)),
    "no tag": ("a < b, and so on", None),
    "speaks of the end": ("Close it with `</think>` and go on", None),
    "another's end": ("<thinking>hm</think>a", ("a", "hm", 20)),
    "in capitals, with blanks and attributes": (
        '<THINK >hm</think >a <think time="3">so</think>b',
        ("a b", "hmso", 19),
    ),
    "with a prefix": ("<seed:think>hm</seed:think>a", ("a", "hm", 27)),
    "OpenThinker": ("<|begin_of_thought|>hm<|end_of_thought|>\n\na", ("a", "hm", 42)),
    "Cohere": ("<|START_THINKING|>hm<|END_THINKING|>a", ("a", "hm", 36)),
    "MedGemma": ("<unused94>thought\nhm<unused95>a", ("a", "\nhm", 30)),
    "gpt-oss": (
        "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>a",
        ("a", "hm", 84),
    ),
    "one in the other": ("<think>a<think>b</think>c</think>d", ("d", "a<think>b</think>c", 33)),
    "thinks of a tag": ("<think>I write <think> here</think>a", ("a", "I write <think> here", 35)),
    "the end within a line": ("So 4.</think>The answer is 4.", ("The answer is 4.", "So 4.", 13)),
    "speaks of the beginning": ("Use the <think> tag.\nThen more.", None),
    "a tag in JSON": ('{"a": "<think>"}', None),
    "a tag in quotes, closed": ('It writes "<think>" and "</think>" around it', None),
    "a tag in code": ("So:\n```\n<think>\n</think>\n```\nok", None),
    "never closed, later": ("<think>a</think>b<think>c", ("b<think>c", "a", 16)),
    "an answer before": ("a <think>hm</think> b", ("a b", "hm", 0)),
}


@pytest.mark.parametrize("name", TAGGED)
def test_reasoning_in_tags_is_no_answer(name: str) -> None:
    """Tags belong to neither, nor do blanks behind the end."""
    written, expected = TAGGED[name]
    found = split_reasoning(written)
    assert (None if found is None else (found.answer, found.reasoning, found.answer_at)) == expected


@pytest.mark.parametrize("name", [name for name, (_, expected) in TAGGED.items() if expected is not None])
def test_tags_are_found_over_chunks(name: str) -> None:
    """Split at every character; the first answer token is the one that brings the answer's first character."""
    written, expected = TAGGED[name]
    assert expected is not None
    answer, reasoning, answer_at = expected
    sample = of(*({"content": character} for character in written))
    assert (sample.output_text, sample.reasoning_text, sample.tagged) == (answer, reasoning, True)
    assert sample.first_token_ns == SENT + 2 * MS
    assert sample.first_answer_token_ns == (None if answer_at is None else SENT + (2 + answer_at) * MS)


def test_tags_can_be_left_alone() -> None:
    """With reasoning_tags: false they are text like any other."""
    events = chunked(text("<think>hm</think>"), text("a"), STOP, DONE)
    sample = decode(replace(exchange(events), reasoning_tags=False))
    assert (sample.output_text, sample.reasoning_text, sample.tagged) == ("<think>hm</think>a", "", False)
    assert sample.first_answer_token_ns == SENT + 2 * MS


@given(
    st.lists(
        st.sampled_from(["<think>", "</think>", "[THINK]", "[/THINK]", "a", " ", "\n", "<", "</", ">"]), max_size=12
    )
)
def test_nothing_of_a_text_is_lost(pieces: list[str]) -> None:
    """Answer and reasoning are the text without tags and blanks, each in its order."""
    written = "".join(pieces)
    found = split_reasoning(written)
    if found is None:
        return
    assert found.answer.count("a") + found.reasoning.count("a") == written.count("a")
    if found.answer_at is None:
        assert found.answer == ""
    else:
        assert found.answer.lstrip()[0] == written[found.answer_at]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=4),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["content", "text", "thinking", "type", "reasoning", "refusal", "tool_calls", "function"]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=20,
    )
)
def test_no_delta_raises(delta: Any) -> None:
    """Whatever stands in the place of one."""
    answer = Answer()
    answer.take({"choices": [{"index": 0, "delta": delta}]})
    answer.take({"choices": [{"index": 0, "message": delta, "finish_reason": "stop"}]})
    assert all(isinstance(each, str) for each in (*answer.output, *answer.reasoning))
    assert all(isinstance(each.arguments, str) for each in answer.tool_calls.result())
