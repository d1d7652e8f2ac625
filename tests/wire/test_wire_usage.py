"""Token counts of an answer, however a server says them, and which of them the seen text carries."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_doubles import DONE, STOP, chunked, event, exchange, sized, text

from pytest_flperf.wire.decode import decode
from pytest_flperf.wire.sample import Outcome, Sample
from pytest_flperf.wire.usage import Usage, count_of

TEN = [text(f"w{number} ") for number in range(10)]


def told(*usages: Any, texts: list[bytes] | None = None, **more: Any) -> Sample:
    """The sample of ten texts (or others) and these usage objects, each in an event of its own."""
    events = [event(None, usage=usage) for usage in usages]
    return decode(exchange(chunked(*(TEN if texts is None else texts), STOP, *events, DONE), **more))


def counts(sample: Sample) -> tuple[Any, ...]:
    """Output, prompt, cached and reasoning tokens, their sources, and the visible ones."""
    return (
        sample.output_tokens, sample.prompt_tokens, sample.cached_tokens, sample.reasoning_tokens,
        sample.tokens_source, sample.prompt_tokens_source, sample.visible_tokens,
    )  # fmt: skip


def usage(prompt: Any, output: Any, *, total: Any = None, reasoning: Any = None, **more: Any) -> dict[str, Any]:
    """A usage object."""
    found = {"prompt_tokens": prompt, "completion_tokens": output, **more}
    if total is not None:
        found["total_tokens"] = total
    if reasoning is not None:
        found["completion_tokens_details"] = {"reasoning_tokens": reasoning}
    return found


MERGED: dict[str, tuple[list[Any], tuple[Any, ...]]] = {
    "one": ([usage(12, 10)], (12, 10, "usage", "usage")),
    "prompt first, output last": ([usage(12, 0), usage(0, 10)], (12, 10, "usage", "usage")),
    "prompt first, output last, the rest missing": (
        [{"prompt_tokens": 12}, {"completion_tokens": 10}],
        (12, 10, "usage", "usage"),
    ),
    "per chunk, growing": ([usage(12, count) for count in range(1, 11)], (12, 10, "usage", "usage")),
    "zeros at the end": ([usage(12, 10), usage(0, 0)], (12, 10, "usage", "usage")),
    "null parts": ([usage(12, None), usage(None, 10)], (12, 10, "usage", "usage")),
    "floats": ([usage(12.0, 10.0)], (12, 10, "usage", "usage")),
    "strings, as protobuf writes 64 bits": ([usage("12", "10")], (12, 10, "usage", "usage")),
    "no completion, although ten texts came": ([usage(12, 0)], (12, 10, "chunks", "usage")),
    "names of Anthropic": ([{"input_tokens": 12, "output_tokens": 10}], (12, 10, "usage", "usage")),
    "floats as strings": ([usage("12.0", "10.00")], (12, 10, "usage", "usage")),
    "zeros by other names": (
        [{"completion_tokens": 0, "prompt_tokens": 0, "input_tokens": 12, "output_tokens": 10}],
        (12, 10, "usage", "usage"),
    ),
    "half a token": ([usage(12.5, 10.5)], (None, 10, "chunks", None)),
    "negative": ([usage(-1, -3)], (None, 10, "chunks", None)),
    "truth values": ([usage(True, True)], (None, 10, "chunks", None)),
    "no objects": ([[1], "x", 7, True], (None, 10, "chunks", None)),
    "beyond all bounds": ([usage(10**15, 10**15)], (None, 10, "chunks", None)),
}


@pytest.mark.parametrize("name", MERGED)
def test_usage_is_merged_field_by_field(name: str) -> None:
    """The best value that was said of each field counts, with its source."""
    usages, expected = MERGED[name]
    sample = told(*usages)
    assert sample.outcome is Outcome.OK
    found = (sample.prompt_tokens, sample.output_tokens, sample.tokens_source, sample.prompt_tokens_source)
    assert found == expected
    assert sample.visible_tokens == 10


def test_usage_stands_in_many_places() -> None:
    """In the first chunk, beside a text, inside a choice, in Groq's own object."""
    choice = {"index": 0, "delta": {}, "finish_reason": "stop", "usage": usage(12, 11)}
    places: list[list[bytes]] = [
        [event({"role": "assistant"}, usage=usage(12, 11)), *TEN, STOP],
        [*TEN[:-1], text("w9 ", usage=usage(12, 11)), STOP],
        [*TEN, event(None, choices=[choice])],
        [*TEN, event({}, finish="stop", x_groq={"id": "x", "usage": usage(12, 11)})],
    ]
    for events in places:
        sample = decode(exchange(chunked(*events, DONE)))
        assert (sample.output_tokens, sample.prompt_tokens, sample.tokens_source) == (11, 12, "usage")
    document = (
        b'{"choices": [{"message": {"content": "a b"}, "finish_reason": "stop", "usage": {"completion_tokens": 5}}]}'
    )
    assert decode(exchange(sized(document), stream=False)).output_tokens == 5


REASONED = [event({"reasoning_content": f"r{number} "}) for number in range(4)]
ANSWERED = [text("a "), text("b ")]
SIX = [*REASONED, *ANSWERED]

# texts, usage; output, reasoning and visible tokens
VISIBLE: dict[str, tuple[list[bytes], dict[str, Any], tuple[Any, ...]]] = {
    "hidden, and counted": (TEN, usage(12, 74, total=86, reasoning=64), (74, 64, 10)),
    "hidden, counted beside the answer": (TEN, usage(12, 10, total=86, reasoning=64), (74, 64, 10)),
    "hidden, in the total alone": (TEN, usage(12, 10, total=86), (10, None, 10)),
    "streamed and counted": (SIX, usage(12, 6, total=18, reasoning=4), (6, 4, 6)),
    "streamed and counted, no details": (SIX, usage(12, 6, total=18), (6, 4, 6)),
    "streamed, in the total alone": (SIX, usage(12, 2, total=18), (6, 4, 6)),
    "streamed, in the details alone": (SIX, usage(12, 2, reasoning=4), (6, 4, 6)),
    "streamed, zero in the details": (SIX, usage(12, 6, total=18, reasoning=0), (6, 4, 6)),
    "streamed, left out, nothing says so": (SIX, usage(12, 2), (2, None, None)),
    "a summary is not what was counted": (SIX, usage(12, 966, reasoning=960), (966, 960, None)),
    "a summary of a quarter of it": (
        [event({"reasoning_content": "s" * 46}) for _ in range(10)] + TEN,
        usage(5, 410, reasoning=400),
        (410, 400, None),
    ),
    "a summary, counted in the total alone": (
        [event({"content": "s" * 46, "extra_content": {"google": {"thought": True}}}) for _ in range(10)] + TEN,
        usage(5, 10, total=415),
        (410, 400, None),
    ),
    "by another name": (TEN, {**usage(12, 74), "completion_tokens_details": {"thinking_tokens": 64}}, (74, 64, 10)),
    "beside a zero by another name": (TEN, {**usage(12, 74, reasoning=0), "reasoning_tokens": 64}, (74, 64, 10)),
    "predictions that were rejected": (
        TEN,
        {**usage(12, 60), "completion_tokens_details": {"rejected_prediction_tokens": 50}},
        (60, None, 10),
    ),
    "audio": (TEN, {**usage(12, 60), "completion_tokens_details": {"audio_tokens": 50}}, (60, None, 10)),
    "Chinese has no blanks": ([text("你好世界")] * 10, usage(12, 1), (1, None, None)),
    "cached tokens are left out of the prompt": (SIX, usage(2, 6, total=18, cached_tokens=10), (6, 4, 6)),
    "fewer tokens than words": (TEN, usage(12, 7), (7, None, None)),
    "more chunks than tokens": ([text("a"), text("b"), text("c d")], usage(12, 2), (2, None, 2)),
    "no text at all": ([], usage(12, 64, reasoning=64), (64, 64, 0)),
}


@pytest.mark.parametrize("name", VISIBLE)
def test_visible_tokens_are_those_that_the_arrivals_carry(name: str) -> None:
    """Hidden reasoning is none of them, streamed reasoning is; where that can't be told, there is no number."""
    texts, said, expected = VISIBLE[name]
    sample = told(said, texts=texts)
    assert (sample.output_tokens, sample.reasoning_tokens, sample.visible_tokens) == expected


def test_cached_tokens_by_their_largest_number() -> None:
    """A zero in the details hides none."""
    said = {**usage(40, 10), "prompt_tokens_details": {"cached_tokens": 0}, "prompt_cache_hit_tokens": 32}
    assert told(said).cached_tokens == 32


@pytest.mark.parametrize("tags", [True, False])
def test_reasoning_in_tags_is_streamed_reasoning(tags: bool) -> None:
    """It is text, so nothing of it is hidden, also where it is left in the answer."""
    texts = [text("<think>"), text("hm "), text("so "), text("</think>"), text("Paris")]
    events = chunked(*texts, STOP, event(None, usage=usage(12, 5, reasoning=3)), DONE)
    sample = decode(replace(exchange(events), reasoning_tags=tags))
    assert sample.visible_tokens == 5
    said = ("hm so ", "Paris") if tags else ("", "<think>hm so </think>Paris")
    assert (sample.reasoning_text, sample.output_text) == said


TIMINGS = {"prompt_n": 9, "prompt_ms": 5.5, "predicted_n": 11, "predicted_ms": 8.0, "cache_n": 1}


def test_timings_fill_what_usage_lacks() -> None:
    """A count of zero beside text is none; the prompt keeps its own source."""
    sample = decode(exchange(chunked(*TEN, STOP, event(None, usage=usage(12, 0), timings=TIMINGS), DONE)))
    assert counts(sample) == (11, 12, 1, None, "timings", "usage", 11)
    sample = decode(exchange(chunked(*TEN, event({}, finish="stop", timings=TIMINGS), DONE)))
    assert counts(sample) == (11, 9, 1, None, "timings", "timings", 11)


COUNTS = st.none() | st.integers(-5, 10**10) | st.floats() | st.text("0123456789.- ", max_size=12) | st.booleans()
OBJECTS = st.dictionaries(
    st.sampled_from(
        ["prompt_tokens", "completion_tokens", "total_tokens", "input_tokens", "cached_tokens", "reasoning_tokens"]
    ),
    COUNTS,
) | st.builds(
    lambda details, more: {"completion_tokens_details": details, "prompt_tokens_details": details, **more},
    st.dictionaries(st.sampled_from(["reasoning_tokens", "cached_tokens"]), COUNTS) | COUNTS,
    st.dictionaries(st.sampled_from(["prompt_tokens", "completion_tokens", "total_tokens"]), COUNTS),
)


@given(st.lists(OBJECTS | COUNTS, max_size=5), st.integers(0, 50), st.integers(0, 50), st.integers(0, 200))
def test_counts_are_whole_and_agree(usages: list[Any], chunks: int, words: int, reasoning_bytes: int) -> None:
    """Whatever a server says: no negative number, no more visible tokens than there are, no fewer than words."""
    found = Usage()
    for each in usages:
        found.take(each)
    result = found.counts(chunks=chunks, words=words, answer_text=chunks > 0, reasoning_bytes=reasoning_bytes)
    numbers = (result.output_tokens, result.prompt_tokens, result.cached_tokens, result.reasoning_tokens)
    assert all(number is None or (type(number) is int and number >= 0) for number in numbers)
    assert (result.output_tokens is None) == (result.tokens_source is None)
    assert (result.prompt_tokens is None) == (result.prompt_tokens_source is None)
    if result.visible_tokens is not None:
        assert result.output_tokens is not None
        assert words <= result.visible_tokens <= result.output_tokens
    if chunks:
        assert result.output_tokens


@given(COUNTS)
def test_a_count_is_a_whole_number(value: Any) -> None:
    """Written as 30, 30.0 or "30"."""
    found = count_of(value)
    if found is None:
        return
    assert type(value) is not bool
    assert found == float(value)
    assert found == int(found) >= 0
