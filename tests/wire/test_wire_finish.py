"""Finish reasons: which of them say that an answer is whole."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_doubles import DONE, STOP, chunked, event, exchange, sized, text

from pytest_flperf.wire.decode import decode
from pytest_flperf.wire.finish import Finish, reason_of
from pytest_flperf.wire.sample import Outcome, Sample

WHOLE: list[Any] = [
    *("stop", "length", "tool_calls", "function_call", "eos"),
    *("eos_token", "stop_sequence", "max_tokens", "token_limit"),  # TGI, watsonx
    *("end_turn", "tool_use"),  # Anthropic
    *("STOP", "MAX_TOKENS", "FinishReason.STOP", "FINISH_REASON_STOP", "FINISH_REASON_MAX_TOKENS"),  # Gemini
    *("COMPLETE", "TOOL_CALL", "endoftext", "model_length", "normal", "FINISH"),  # Cohere, AI21, Mistral, Baidu, Titan
    *("tool-calls", "stopSequence", "eosFound", "maxPredictedTokensReached", "REASON_STOP", "completed", "max_output"),
    *("END", "end", "end_id", "stop_words", "max_new_tokens", "max_completion_tokens"),  # TensorRT-LLM, Triton
    *("maximum_tokens", "stop_sequence_reached", "eos_reached", "end_of_sequence", "stop_str", "stop_id"),
    *("length_limit", "max_tokens_reached", "STOP_STRINGS", "MaxTokensReached", "context_limit_reached"),
    {"type": "stop", "matched": 2},  # SGLang
    {"type": "length", "length": 8},
    ["stop"],
    "model_context_window_exceeded",
]
OTHERS: list[tuple[Any, str]] = [
    *((word, word) for word in ("content_filter", "abort", "network_error", "error", "insufficient_system_resource")),
    *((word, word) for word in ("null", "None", "NULL", "SAFETY", "cancelled", "unknown", "time_limit", "sensitive")),
    *((word, word) for word in ("refusal", "guardrail_intervened", "pause_turn", "REASON_UNSPECIFIED", "stopped!")),
    (1, "1"),
    (2.5, "2.5"),
    (True, "true"),
    ({"type": "abort", "message": "worker gone"}, "abort"),
    ({"code": 3}, "3"),
    ({"odd": []}, "an object"),
    (["abort"], "abort"),
]  # fmt: skip


def finished(*reasons: Any) -> Sample:
    """An answer with such reasons, one in each chunk behind the text."""
    return decode(exchange(chunked(text("a"), *(event({}, finish=reason) for reason in reasons), DONE)))


def detail(sample: Sample) -> str:
    """What the evidence says."""
    assert sample.evidence is not None
    return sample.evidence.detail


@pytest.mark.parametrize("reason", WHOLE, ids=str)
@pytest.mark.parametrize("stream", [True, False])
def test_words_for_a_whole_answer_are_ok(reason: Any, *, stream: bool) -> None:
    """In every spelling, and in the forms that are no text."""
    choice = {"message": {"content": "a"}, "finish_reason": reason}
    document = json.dumps({"choices": [choice]}).encode()
    assert (finished(reason) if stream else decode(exchange(sized(document), stream=False))).outcome is Outcome.OK


@pytest.mark.parametrize(("reason", "shown"), OTHERS, ids=str)
def test_every_other_word_is_truncated_and_shown(reason: Any, shown: str) -> None:
    """The word stands in the detail and in the sample as it came."""
    sample = finished(reason)
    assert (sample.outcome, sample.finish_reason) == (Outcome.TRUNCATED, shown)
    assert f"finish_reason '{shown}'" in detail(sample)


def test_a_hostile_word_is_bounded_and_escaped() -> None:
    """Nothing of it is a command to a terminal or a CI system."""
    sample = finished("\x1b[31m\n::error::" + "x" * 10_000)
    assert "\x1b" not in detail(sample)
    assert "\n" not in detail(sample)
    assert len(detail(sample)) < 250


@pytest.mark.parametrize("reason", [None, "", False, [], {}])
def test_what_is_no_reason_is_none(reason: Any) -> None:
    """Servers send these in each chunk while an answer goes on."""
    sample = finished(reason)
    assert (sample.outcome, sample.finish_reason) == (Outcome.TRUNCATED, None)
    assert finished(reason, "stop", reason).outcome is Outcome.OK


@pytest.mark.parametrize(
    ("reasons", "kept", "outcome"),
    [
        (("null", "null", "stop"), "stop", Outcome.OK),
        (("stop", "null"), "stop", Outcome.OK),
        (("stop", "None", ""), "stop", Outcome.OK),
        (("not_finished", "eos_token"), "eos_token", Outcome.OK),
        (("length", "stop"), "stop", Outcome.OK),
        (("odd", "stop"), "stop", Outcome.OK),
        (("stop", "abort"), "abort", Outcome.TRUNCATED),
        (("content_filter", "stop"), "content_filter", Outcome.TRUNCATED),
        (("abort", "stop", "null"), "abort", Outcome.TRUNCATED),
    ],
)
def test_a_later_reason_counts_and_no_failure_is_undone(reasons: tuple[str, ...], kept: str, outcome: Outcome) -> None:
    """``stop`` is what gateways append to whatever ended."""
    sample = finished(*reasons)
    assert (sample.finish_reason, sample.outcome) == (kept, outcome)


def test_text_behind_a_reason_needs_another() -> None:
    """A reason in the middle says nothing of the end."""
    early = [text("a"), STOP, text("b")]
    sample = decode(exchange(chunked(*early, DONE)))
    assert sample.outcome is Outcome.TRUNCATED
    assert "text came after finish_reason 'stop'" in detail(sample)
    assert decode(exchange(chunked(*early, STOP, DONE))).outcome is Outcome.OK
    with_text = [event({"content": word}, finish="stop") for word in "ab"]
    assert decode(exchange(chunked(*with_text, DONE))).outcome is Outcome.OK
    word_for_none = [STOP, event({"content": "b"}, finish="null")]
    assert decode(exchange(chunked(text("a"), *word_for_none, DONE))).outcome is Outcome.TRUNCATED


@pytest.mark.parametrize(
    "said",
    [
        {"choices": [{"delta": {}, "stop_reason": "end_turn"}]},
        {"choices": [{"delta": {}, "finish_reason": None, "stop_reason": "end_turn"}]},
        {"choices": [{"delta": {"content": "b"}, "finish_reason": None, "stop_reason": "end_turn"}]},
        {"choices": [{"delta": {}, "finish_reason": "null", "stop_reason": "max_tokens"}]},
        {"choices": [{"delta": {}, "finish_details": {"type": "stop", "stop": "<|fim_suffix|>"}}]},
        {"choices": [{"delta": {}, "finish_details": {"type": "max_tokens"}, "finish_reason": None}]},
        {"choices": [{"delta": {}, "finishReason": "STOP"}]},
        {"choices": [{"delta": {"finish_reason": "stop"}}]},
        {"choices": [{"delta": {"content": "b", "finish_reason": "stop"}, "finish_reason": None}]},
        {"choices": [{"delta": {}, "finish_reason": None}], "finish_reason": "stop"},
        {"choices": [{"delta": {"content": "b"}}], "finish_reason": "stop"},
        {"choices": [], "finish_reason": "stop"},
    ],
    ids=str,
)
def test_a_reason_in_another_place_counts_where_there_is_no_other(said: Any) -> None:
    """In the choice under another name, in the delta, or beside the choices."""
    last = f"data: {json.dumps(said)}\n\n".encode()
    assert decode(exchange(chunked(text("a"), last, DONE))).outcome is Outcome.OK
    assert decode(exchange(chunked(text("a"), last, text("c"), DONE))).outcome is Outcome.TRUNCATED


@pytest.mark.parametrize("elsewhere", ["abort", "stop", "content_filter", "END OF LIST", 128009, "", None])
@pytest.mark.parametrize(("finish", "outcome"), [("stop", Outcome.OK), ("abort", Outcome.TRUNCATED)])
def test_a_stop_reason_beside_a_finish_reason_changes_nothing(elsewhere: Any, finish: str, outcome: Outcome) -> None:
    """There vLLM says which token or which stop sequence it was, which may be any word."""
    choice = {"delta": {}, "finish_reason": finish, "stop_reason": elsewhere}
    sends = chunked(text("a"), f"data: {json.dumps({'choices': [choice]})}\n\n".encode(), DONE)
    sample = decode(exchange(sends))
    assert (sample.outcome, sample.finish_reason) == (outcome, finish)


def test_a_stop_reason_that_is_no_known_word_says_nothing() -> None:
    """A number, or a stop sequence; and one that says that it failed is no whole answer."""
    for reason, shown in ((128009, None), ("\n\nHuman:", None), ("refusal", "refusal")):
        choice = {"delta": {}, "stop_reason": reason}
        sends = chunked(text("a"), f"data: {json.dumps({'choices': [choice]})}\n\n".encode(), DONE)
        sample = decode(exchange(sends))
        assert (sample.outcome, sample.finish_reason) == (Outcome.TRUNCATED, shown)


def test_a_finish_reason_counts_more_than_a_word_elsewhere() -> None:
    """Also where it comes later."""
    finish = Finish()
    finish.say_elsewhere("abort")
    finish.say_elsewhere("stop")
    assert finish.reason == "abort"
    finish.say("stop")
    assert (finish.reason, finish.is_whole) == ("stop", True)
    finish.say_elsewhere("abort")
    assert finish.reason == "stop"


def test_a_word_for_not_yet_says_that_the_answer_goes_on() -> None:
    """In the words of the outcome."""
    assert "finish_reason 'null', which means that the answer goes on, before [DONE]" in detail(finished("null"))


def test_blank_text_behind_a_reason_is_no_more_of_the_answer() -> None:
    """A line end, as the last text of some templates is; in a delta alone, or beside a role."""
    for blank in ({"content": "\n"}, {"role": "assistant", "content": " \n"}):
        assert decode(exchange(chunked(text("a"), STOP, event(blank), DONE))).outcome is Outcome.OK
    assert decode(exchange(chunked(text("a"), STOP, text(" b"), DONE))).outcome is Outcome.TRUNCATED


def test_empty_chunks_behind_a_reason_change_nothing() -> None:
    """Usage, a role, an empty text: none of them is more of the answer."""
    after = [
        event({"content": ""}),
        event({"role": "assistant", "content": None}),
        event(usage={"completion_tokens": 1}),
    ]
    assert decode(exchange(chunked(text("a"), STOP, *after, DONE))).outcome is Outcome.OK


def test_a_context_that_is_full_before_any_text_is_exceeded() -> None:
    """With text it is ``length`` by another name."""
    end = event({}, finish="model_context_window_exceeded")
    assert decode(exchange(chunked(end, DONE))).outcome is Outcome.CONTEXT_EXCEEDED


def test_the_words_of_an_abort_have_their_kind() -> None:
    """SGLang says what it was in the reason itself."""
    message = "The input (9 tokens) is longer than the model's context length (8 tokens)."
    sample = finished({"type": "abort", "message": message, "status_code": 400})
    assert sample.outcome is Outcome.CONTEXT_EXCEEDED
    assert message in detail(sample)


REASONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=80),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["type", "message", "x"]), inner),
    max_leaves=4,
)


@given(st.lists(REASONS, max_size=5))
def test_no_reason_raises(reasons: list[Any]) -> None:
    """Whatever came, there is at most one word, which any file can hold."""
    finish = Finish()
    for reason in reasons:
        finish.say(reason)
        finish.text_came()
        Finish().say_elsewhere(reason)
        word, _ = reason_of(reason)
        assert word is None or 0 < len(word.encode()) <= 256
    assert not (finish.is_open and finish.is_whole)
    assert (finish.reason is None) is all(reason_of(reason)[0] is None for reason in reasons)
