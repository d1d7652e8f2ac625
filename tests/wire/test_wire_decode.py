"""Every way of streaming that real servers have, and the sample it must become."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_doubles import CHUNKED, DONE, MS, SENT, STOP, chunk, chunked, event, exchange, sized, text, until_close

from pytest_flperf.wire.chunks import load_json
from pytest_flperf.wire.decode import decode
from pytest_flperf.wire.exchange import Ending, Exchange
from pytest_flperf.wire.sample import Outcome, Sample
from pytest_flperf.wire.tool_calls import ToolCall

USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 2}}
OLLAMA = {
    "total_duration": 174_560_334, "load_duration": 101_397_084, "prompt_eval_count": 11, "prompt_eval_cached_count": 8,
    "prompt_eval_duration": 13_074_791, "eval_count": 18, "eval_duration": 52_479_709,
}  # fmt: skip
TIMINGS = {"prompt_n": 9, "prompt_ms": 5.5, "predicted_n": 4, "predicted_ms": 8.0, "cache_n": 1}
BOM = b"\xef\xbb\xbf"


def multi_line(content: str) -> bytes:
    """An event whose JSON is spread over several data lines."""
    document = json.dumps({"choices": [{"delta": {"content": content}}]}, indent=1)
    return b"".join(b"data: " + line.encode() + b"\n" for line in document.split("\n")) + b"\n"


def preview(content: str, **more: Any) -> bytes:
    """A chunk as Foundry Local 0.8.101 sent it, by microsoft/foundry-local#299, and ``more``."""
    said = {"role": "assistant", "content": content, "tool_calls": []}
    choice = {"delta": said, "message": said, "index": 0}
    choice |= {name: more.pop(name) for name in ("finish_reason",) if name in more}
    document = {"model": "qwen", "choices": [choice], "created": 1762612476, "id": "chat.id.1", "IsDelta": False}
    document |= {"Successful": True, "HttpStatusCode": 0, "object": "chat.completion.chunk", **more}
    return f"data: {json.dumps(document)}\n\n".encode()


def whole_again(content: str) -> bytes:
    """A last chunk with an empty delta beside the whole answer."""
    choice = {"delta": {}, "message": {"content": content}, "finish_reason": "stop"}
    return f"data: {json.dumps({'choices': [choice]})}\n\n".encode()


# name: the sends of a server, and what the sample must say; arrivals are the sends' numbers.
STREAMS: dict[str, tuple[list[bytes], dict[str, Any]]] = {
    "role chunk empty": (
        chunked(event({"role": "assistant", "content": ""}), text("a"), text("b"), STOP, DONE),
        {"output_text": "ab", "chunks": (2, 3), "finish_reason": "stop"},
    ),
    "role chunk null, before prefill": (
        chunked(event({"role": "assistant", "content": None}), b": wait\n\n", text("a"), STOP, DONE),
        {"output_text": "a", "chunks": (3,)},
    ),
    "role chunk together with the first text": (
        [CHUNKED, chunk(event({"role": "assistant", "content": ""}) + text("a")), chunk(STOP), b"0\r\n\r\n"],
        {"output_text": "a", "chunks": (1,)},
    ),
    "role chunk carries text, role in every chunk": (
        chunked(event({"role": "assistant", "content": "a"}), event({"role": "assistant", "content": "b"}), STOP, DONE),
        {"output_text": "ab", "chunks": (1, 2)},
    ),
    "Foundry Local 0.8: delta and message, no usage, no finish_reason but Successful": (
        chunked(preview("en"), preview("ce"), DONE),
        {"output_text": "ence", "chunks": (1, 2), "finish_reason": None, "output_tokens": 2, "tokens_source": "chunks"},
    ),
    "Foundry Local 0.8: the default limit cuts with stop, usage null": (
        chunked(preview("a", finish_reason="stop", usage=None), DONE),
        {"output_text": "a", "finish_reason": "stop", "output_tokens": 1, "tokens_source": "chunks"},
    ),
    "whole message once more after the deltas": (
        chunked(text("a"), text("b"), whole_again("ab"), DONE),
        {"output_text": "ab", "chunks": (1, 2), "finish_reason": "stop"},
    ),
    "several tokens per chunk, more chunks than tokens": (
        chunked(text("one two three"), text("fo"), text("ur"), event({}, finish="length", usage=USAGE), DONE),
        {"output_text": "one two threefour", "output_tokens": 3, "tokens_source": "usage", "finish_reason": "length"},
    ),
    "partial UTF-8 held back": (
        chunked(text(""), text("\ud83d"), text("\ude00"), STOP, DONE),
        {"output_text": "😀", "chunks": (2, 3)},
    ),
    "usage in an extra chunk without choices": (
        chunked(text("a"), STOP, event(None, usage=USAGE), DONE),
        {"output_tokens": 3, "prompt_tokens": 7, "cached_tokens": 2, "tokens_source": "usage"},
    ),
    "usage in an extra chunk with an empty delta": (
        chunked(text("a"), STOP, event({}, usage=USAGE), DONE),
        {"output_tokens": 3, "finish_reason": "stop"},
    ),
    "usage null elsewhere": (
        chunked(text("a", usage=None), event({}, finish="stop", usage=None), event(None, usage=USAGE), DONE),
        {"output_tokens": 3},
    ),
    "usage absent": (
        chunked(text("a"), text("b"), STOP, DONE),
        {"output_tokens": 2, "prompt_tokens": None, "tokens_source": "chunks"},
    ),
    "usage all zeros": (
        chunked(text("a"), STOP, event(None, usage={"prompt_tokens": 0, "completion_tokens": 0}), DONE),
        {"output_tokens": 1, "tokens_source": "chunks"},
    ),
    "timings on the finish chunk": (
        chunked(text("a"), event({}, finish="stop", timings=TIMINGS), DONE),
        {"output_tokens": 4, "prompt_tokens": 9, "cached_tokens": 1, "tokens_source": "timings"},
    ),
    "timings beside usage": (
        chunked(text("a"), STOP, event(None, usage=USAGE, timings=TIMINGS), DONE),
        {"output_tokens": 3, "tokens_source": "usage", "server_timings": TIMINGS},
    ),
    "Ollama's durations": (
        chunked(text("a"), STOP, event(None, **OLLAMA), DONE),
        {
            "output_tokens": 18,
            "prompt_tokens": 3,
            "cached_tokens": 8,
            "tokens_source": "timings",
            "server_timings": {
                "prompt_n": 3,
                "prompt_ms": 13.074791,
                "predicted_n": 18,
                "predicted_ms": 52.479709,
                "cache_n": 8,
                "load_ms": 101.397084,
                "total_ms": 174.560334,
            },
        },
    ),
    "Ollama's durations where half of them are no numbers": (
        chunked(text("a"), STOP, event(None, eval_duration=5_000_000, eval_count="2", prompt_eval_duration=0), DONE),
        {"server_timings": {"predicted_ms": 5.0}, "output_tokens": 1, "tokens_source": "chunks"},
    ),
    "no [DONE]": (chunked(text("a"), STOP), {"output_text": "a"}),
    "ends by close": (until_close(text("a"), STOP, DONE), {"output_text": "a", "chunks": (1,), "end": 3}),
    "ends by close without [DONE]": (until_close(text("a"), STOP), {"output_text": "a"}),
    "ends by length": (sized(text("a"), STOP, DONE), {"output_text": "a", "end": 3}),
    "keep-alive comments": (
        chunked(b": keepalive 25/26\n\n", text("a"), b":\n\n", text("b"), STOP, DONE),
        {"output_text": "ab", "chunks": (2, 4)},
    ),
    "reasoning_content first": (
        chunked(event({"reasoning_content": "hm"}), text("a"), STOP, DONE),
        {"output_text": "a", "reasoning_text": "hm", "chunks": (1, 2), "first_answer": 2},
    ),
    "reasoning first": (
        chunked(event({"reasoning": "hm", "content": ""}), event({"content": "a"}), STOP, DONE),
        {"reasoning_text": "hm", "chunks": (1, 2), "first_answer": 2},
    ),
    "think inside content": (
        chunked(text("<think>hm"), text("</think>a"), STOP, DONE),
        {"output_text": "a", "reasoning_text": "hm", "chunks": (1, 2), "first_answer": 2, "tagged": True},
    ),
    "tool calls": (
        chunked(
            event({"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": ""}}]}),
            event({"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}),
            event({}, finish="tool_calls"),
            DONE,
        ),
        {
            "output_text": "",
            "chunks": (1, 2),
            "first_answer": 1,
            "finish_reason": "tool_calls",
            "tool_calls": (ToolCall(0, "", "f", "{}"),),
        },
    ),
    "CRLF": (
        chunked(*(e.replace(b"\n", b"\r\n") for e in (text("a"), STOP, DONE))),
        {"output_text": "a", "chunks": (1,)},
    ),
    "CR": (
        chunked(*(e.replace(b"\n", b"\r") for e in (text("a"), STOP, DONE))),
        {"output_text": "a", "chunks": (1,)},
    ),
    "multi-line data": (chunked(multi_line("a"), STOP, DONE), {"output_text": "a", "chunks": (1,)}),
    "event, id and retry lines": (
        chunked(b"event: message\nid: 1\nretry: 5\n" + text("a"), b"event: x\ndata\n\n", STOP, DONE),
        {"output_text": "a", "chunks": (1,)},
    ),
    "BOM": (chunked(BOM + text("a"), STOP, DONE), {"output_text": "a", "chunks": (1,)}),
    "no space after data:": (chunked(text("a").replace(b"data: ", b"data:"), STOP), {"output_text": "a"}),
    "missing last blank line": (chunked(text("a"), STOP.rstrip(b"\n")), {"output_text": "a", "finish_reason": "stop"}),
    "many events in one send": (
        [CHUNKED + chunk(text("a") + text("b") + STOP + DONE) + b"0\r\n\r\n"],
        {"output_text": "ab", "chunks": (0, 0)},
    ),
    "ids differ, model under another name": (
        chunked(text("a", id="1", model="other"), event({}, finish="stop", id="2", model="other"), DONE),
        {"output_text": "a", "model_echoed": "other"},
    ),
    "delta and message hold the same text": (
        chunked(
            b'data: {"choices":[{"delta":{"content":"a"},"message":{"content":"a"},"finish_reason":null}]}\n\n',
            STOP,
            DONE,
        ),
        {"output_text": "a"},
    ),
    "content as a list of parts": (
        chunked(event({"content": [{"type": "text", "text": "a"}]}), STOP, DONE),
        {"output_text": "a", "chunks": (1,)},
    ),
    "interim head": (
        [b"HTTP/1.1 100 Continue\r\n\r\n", *chunked(text("a"), STOP, DONE)],
        {"output_text": "a", "chunks": (2,), "headers": 1},
    ),
    "trailers": (
        [CHUNKED, chunk(text("a") + STOP), b"0\r\nX-Sum: 1\r\n\r\n"],
        {"output_text": "a", "chunks": (1,)},
    ),
}


def at(send: int | None) -> int | None:
    """When the send of that number arrived."""
    return None if send is None else SENT + (send + 1) * MS


@pytest.mark.parametrize("name", STREAMS)
def test_each_way_of_streaming_becomes_its_sample(name: str) -> None:
    """What real servers send comes out as text, counts and arrivals, outcome ok."""
    sends, expected = STREAMS[name]
    sample = decode(exchange(sends))
    assert (sample.outcome, sample.evidence) == (Outcome.OK, None)
    for field, value in expected.items():
        if field == "chunks":
            assert sample.chunk_ns == tuple(at(send) for send in value)
            assert sample.first_token_ns == at(value[0])
            assert sample.last_token_ns == at(value[-1])
        elif field in ("first_answer", "end", "headers"):
            stamps = {
                "first_answer": sample.first_answer_token_ns, "end": sample.end_ns, "headers": sample.headers_ns
            }  # fmt: skip
            assert stamps[field] == at(value)
        else:
            assert getattr(sample, field) == value


@pytest.mark.parametrize("name", STREAMS)
def test_split_at_every_byte_the_sample_is_the_same(name: str) -> None:
    """Reads may end anywhere inside a send: nothing of the sample changes."""
    sends, _ = STREAMS[name]
    stamps = [at(number) or 0 for number in range(len(sends))]
    expected = decode(exchange(sends))
    raw = b"".join(sends)
    byte_stamps = [stamp for send, stamp in zip(sends, stamps, strict=True) for _ in send]
    assert decode(exchange([raw[i : i + 1] for i in range(len(raw))], stamps=byte_stamps)) == expected
    for cut in range(1, len(raw)):
        edges, start = [], 0
        for send in sends:
            end = start + len(send)
            edges += [(start, cut), (cut, end)] if start < cut < end else [(start, end)]
            start = end
        reads = [raw[begin:end] for begin, end in edges]
        assert decode(exchange(reads, stamps=[byte_stamps[begin] for begin, _ in edges])) == expected


@given(st.sampled_from(sorted(STREAMS)), st.data())
def test_joined_at_random_only_the_arrivals_move(name: str, data: st.DataObject) -> None:
    """However a stream falls into reads, its words stay; each chunk has the stamp of the read that completed it."""
    raw = b"".join(STREAMS[name][0])
    cuts = data.draw(st.lists(st.integers(1, len(raw) - 1), max_size=10, unique=True).map(sorted))
    reads = [raw[start:end] for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    whole = decode(exchange([raw], stamps=[SENT + MS]))
    same_stamps = decode(exchange(reads, stamps=[SENT + MS] * len(reads)))
    assert same_stamps == whole
    moved = decode(exchange(reads))
    assert len(moved.chunk_ns) == len(whole.chunk_ns)
    assert list(moved.chunk_ns) == sorted(moved.chunk_ns)
    assert without_times(moved) == without_times(whole)


def without_times(sample: Sample) -> Sample:
    """The sample but for what follows from the grouping of arrivals."""
    return dataclasses.replace(
        sample, headers_ns=0, first_token_ns=0, first_answer_token_ns=0, last_token_ns=0, end_ns=0, chunk_ns=(),
        coalesced_chunks=0, first_read_surplus=0.0, first_arrival_share=0.0,
    )  # fmt: skip


KEYS = [
    *("choices", "delta", "message", "content", "text", "finish_reason", "usage", "timings", "error", "model"),
    *("tool_calls", "function", "name", "arguments", "completion_tokens", "prompt_tokens", "prompt_tokens_details"),
    *("cached_tokens", "predicted_n", "prompt_n", "cache_n"),
    *("eval_duration", "eval_count", "prompt_eval_duration", "prompt_eval_count", "prompt_eval_cached_count"),
]
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(KEYS),
            inner,
            max_size=5,
        )
    ),
    max_leaves=15,
)
ENDINGS = st.sampled_from(list(Ending))


@given(st.binary(max_size=300), st.booleans(), ENDINGS, st.integers(1, 50))
def test_no_bytes_raise_out_of_decode(data: bytes, stream: bool, ending: Ending, step: int) -> None:
    """Arbitrary bytes, bare or behind a sound head, become a sample with one outcome."""
    for begin in (
        b"",
        CHUNKED,
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\ndata: ",
        b"HTTP/1.1 400 X\r\n\r\n",
    ):
        raw = begin + data
        reads = [raw[start : start + step] for start in range(0, len(raw), step)]
        assert isinstance(decode(exchange(reads, stream=stream, ending=ending)).outcome, Outcome)


@given(st.lists(JSON_VALUES, max_size=4), st.booleans(), st.sampled_from([200, 400, 500]))
def test_no_json_raises_out_of_decode(documents: list[Any], stream: bool, status: int) -> None:
    """JSON of every shape in every place becomes a sample that can be written down as JSON in UTF-8."""
    if stream:
        sends = sized(*(b"data: " + json.dumps(document).encode() + b"\n\n" for document in documents), status=status)
    else:
        sends = sized(json.dumps(documents[0] if documents else None).encode(), status=status)
    sample = decode(exchange(sends, stream=stream))
    json.dumps(sample.to_record(), ensure_ascii=False, allow_nan=False).encode()


@pytest.mark.parametrize(
    "shape",
    [
        '{{"usage":{{"prompt_tokens":{}}}}}',
        '{{"choices":[{{"index":{},"delta":{{}}}}]}}',
        '{{"error":{}}}',
        '{{"choices":[{{"delta":{{"content":{}}}}}]}}',
        '{{"detail":{}}}',
        "{}",
    ],
)
@pytest.mark.parametrize("status", [200, 500])
def test_json_nested_as_deep_as_the_parser_allows_does_no_harm(shape: str, status: int) -> None:
    """Whatever the parser just accepted must not be too deep for what shows it."""
    for depth in [*range(900, 1_000, 3), 5_000, 100_000]:
        document = shape.format("[" * depth + "]" * depth).encode()
        assert decode(exchange(sized(document, status=status), stream=False)).outcome is not Outcome.OK
        assert decode(exchange(sized(b"data: " + document + b"\n\n", status=status))).outcome is not Outcome.OK


DOCUMENTS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats()
    | st.text(st.characters(min_codepoint=0), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
JSON_TEXTS = st.builds(
    lambda document, escaped, indent: json.dumps(document, ensure_ascii=escaped, indent=indent),
    DOCUMENTS,
    st.booleans(),
    st.sampled_from([None, 1]),
)
BITS = st.sampled_from(
    [*' \t\n\x00\x01\x7f{}[]",:\\-+.0eE1', "\\u", "\\ud83d", "NaN", "Infinity", "-", "01", "\ufeff", "\xa0"]
)


@given(JSON_TEXTS, st.lists(st.tuples(st.integers(0, 60), BITS), max_size=2), st.integers(0, 3))
def test_json_is_what_pythons_own_parser_takes_it_for(
    document: str, slips: list[tuple[int, str]], dropped: int
) -> None:
    """Two parsers, one language: the same values, and the same texts refused, with anything put in or left out."""
    for where, bit in slips:
        document = document[:where] + bit + document[where + dropped :]
    data = document.encode("utf-8", "surrogatepass")
    try:
        expected = json.loads(data)
    except ValueError:
        with pytest.raises(ValueError, match=r"."):
            load_json(data)
    else:
        assert repr(load_json(data)) == repr(expected)


@pytest.mark.parametrize("data", [b'{"a":' + b"9" * 5_000 + b"}", b'"\xff"', b"\xef\xbb\xbf{", b'["\\ud83d", ', b""])
def test_what_is_no_json_has_words(data: bytes) -> None:
    """A short reason for people, whichever parser refused it."""
    with pytest.raises(ValueError, match=r"^.{5,200}$"):
        load_json(data)


def test_an_answer_that_does_not_stream_has_no_token_times() -> None:
    """Asked for in one piece, or streamed by request but sent as a document: times of tokens are not guessed."""
    document = b'{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}],"usage":{"completion_tokens":2}}'
    for stream in (False, True):
        sample = decode(exchange(sized(document), stream=stream))
        assert (sample.outcome, sample.output_text, sample.output_tokens) == (Outcome.OK, "hi", 2)
        assert (sample.stream, sample.first_token_ns, sample.chunk_ns) == (False, None, ())
        assert sample.end_ns == SENT + 2 * MS


def test_events_although_no_stream_was_asked_for_are_read_all_the_same() -> None:
    """A server that always streams is understood, without times of tokens."""
    sample = decode(exchange(chunked(text("a"), STOP, DONE), stream=False))
    assert (sample.outcome, sample.output_text, sample.chunk_ns) == (Outcome.OK, "a", ())


def test_chunks_of_one_read_share_its_arrival_and_are_counted() -> None:
    """Coalesced chunks are said to be so, and a first read with more chunks than usual has a surplus."""
    first = chunk(text("a")) + chunk(text("b")) + chunk(text("c"))
    sample = decode(exchange([CHUNKED, first, chunk(text("d")), chunk(STOP)]))
    assert (len(sample.chunk_ns), sample.coalesced_chunks, sample.first_read_surplus) == (4, 3, 1.0)


@pytest.mark.parametrize(
    ("first", "surplus"),
    [
        (chunk(text("a") + text("b") + text("c")), 0.0),
        (chunk(text("a") + text("b")) + chunk(text("c")), 1.0),
        (chunk(text("a")) + chunk(text("b") + text("c")), 2.0),
        (chunk(text("a")[:9]) + chunk(text("a")[9:] + text("b") + text("c")), 0.0),
    ],
)
def test_what_one_http_chunk_holds_was_sent_together(first: bytes, surplus: float) -> None:
    """Its length stands before it: the server had all of it when the first token left, so no read was late for it."""
    sends = [CHUNKED, first, *(chunk(text(str(number))) for number in range(4)), chunk(STOP)]
    assert decode(exchange(sends)).first_read_surplus == surplus


def test_without_http_chunks_nothing_is_known_to_be_sent_together() -> None:
    """A body that ends with the connection says nothing of the server's writes."""
    sample = decode(exchange(until_close(text("a") + text("b") + text("c"), text("d"), text("e"), STOP)))
    assert sample.first_read_surplus == 2.0


def test_a_clock_that_stepped_is_marked() -> None:
    """Realtime moving by more than 1 ms during a request puts its times in doubt."""
    moved = dataclasses.replace(exchange(chunked(text("a"), STOP)), clock_moved_ns=-1_000_001)
    assert decode(moved).clock_step
    assert not decode(dataclasses.replace(moved, clock_moved_ns=1_000_000)).clock_step


@given(st.sampled_from(sorted(STREAMS)), ENDINGS)
def test_an_exchange_survives_the_journal(name: str, ending: Ending) -> None:
    """The journal's line gives the exchange back, byte for byte."""
    sent = exchange(STREAMS[name][0], ending=ending)
    assert Exchange.from_record(json.loads(json.dumps(sent.to_record()))) == sent


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("read_lag_ns", [1]),
        ("read_arrival_ns", [SENT]),
        ("read_bytes", [3, 4, 5]),
        ("read_bytes", [1 << 41, 1]),
        ("read_lag_ns", [1.5, 2]),
        ("sent_ns", 1 << 63),
        ("stream", "yes"),
    ],
)
def test_a_record_that_nobody_wrote_is_none(field: str, value: Any) -> None:
    """A damaged journal gives no exchange whose parts contradict each other."""
    record = exchange([CHUNKED, text("a")]).to_record()
    assert Exchange.from_record(record).to_record() == record
    assert Exchange.from_record(record | {"read_lag_ns": [1, 2]}).read_lag_ns == (1, 2)
    with pytest.raises((ValueError, TypeError)):
        Exchange.from_record(record | {field: value})


def test_an_answer_out_of_a_buffer_is_one_burst() -> None:
    """A proxy sends all of it at once, and it takes several reads: no model writes 20,000 chunks a second."""
    many = [text(f"w{number} ") for number in range(400)]
    raw = b"".join([*many, STOP, DONE])
    reads = [CHUNKED, *(chunk(raw[start : start + 4_096]) for start in range(0, len(raw), 4_096))]
    stamps = [SENT + MS, *(SENT + 300 * MS + 30_000 * number for number in range(len(reads) - 1))]
    sample = decode(exchange(reads, stamps=stamps))
    assert sample.first_arrival_share == 1.0
    slowly = [SENT + MS, *(SENT + 300 * MS + 30 * MS * number for number in range(len(reads) - 1))]
    assert decode(exchange(reads, stamps=slowly)).first_arrival_share < 0.1
    quick_model = [SENT + MS * 300 + 200_000 * number for number in range(402)]
    assert decode(exchange([CHUNKED, *map(chunk, [*many, STOP])], stamps=quick_model)).first_arrival_share == 0.0
