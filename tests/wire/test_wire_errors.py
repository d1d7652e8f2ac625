"""Errors of servers in any dress, and healthy answers that only look like one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_doubles import DONE, STOP, chunked, event, exchange, sized, text

from pytest_flperf.wire.decode import decode
from pytest_flperf.wire.errors import clip, find_error, read_error
from pytest_flperf.wire.exchange import Ending
from pytest_flperf.wire.sample import Outcome, Sample


def data(document: Any, name: str = "") -> bytes:
    """An event with that JSON."""
    head = f"event: {name}\n".encode() if name else b""
    return head + b"data: " + json.dumps(document).encode() + b"\n\n"


def detail(sample: Sample) -> str:
    """What the evidence says."""
    assert sample.evidence is not None
    return sample.evidence.detail


# What a server sent, and a piece of its words that must be shown.
ERRORS: dict[str, tuple[Any, str]] = {
    "OpenAI": ({"error": {"message": "boom", "type": "server_error", "code": None}}, "boom"),
    "a string": ({"error": "boom"}, "boom"),
    "a list": ({"error": ["boom", "bang"]}, "bang"),
    "a list of objects": ({"error": [{"message": "boom"}]}, "boom"),
    "true": ({"error": True, "message": "boom"}, "boom"),
    "true, without words": ({"error": True}, "without a message"),
    "a number": ({"error": 500, "message": "boom"}, "boom"),
    "nested": ({"error": {"error": {"message": "boom"}}}, "boom"),
    "unknown keys": ({"error": {"was": "boom"}}, "boom"),
    "vLLM, SGLang": ({"object": "error", "message": "boom", "type": "InternalServerError", "code": 500}, "boom"),
    "TGI": ({"error": "boom", "error_type": "generation"}, "generation"),
    "TGI, flat": ({"error_type": "overloaded", "error_message": "boom"}, "boom"),
    "Anthropic": ({"type": "error", "error": {"type": "overloaded_error", "message": "boom"}}, "boom"),
    "FastAPI": ({"detail": "boom"}, "boom"),
    "FastAPI, a list": ({"detail": [{"loc": ["body", "top_k"], "msg": "boom", "type": "missing"}]}, "body.top_k: boom"),
    "FastAPI, an object": ({"detail": {"error": "boom"}}, "boom"),
    "errors": ({"errors": [{"code": "x", "message": "boom"}]}, "boom"),
    "fault": ({"fault": {"faultstring": "boom", "detail": {"errorcode": "policies.ratelimit"}}}, "boom"),
    "msg and code": ({"code": 1001, "msg": "boom"}, "boom"),
    "a code as text": ({"code": "InvalidParameter", "message": "boom"}, "InvalidParameter"),
    "Baidu": ({"error_code": 336003, "error_msg": "boom", "id": "x"}, "boom"),
    "MiniMax": ({"choices": None, "base_resp": {"status_code": 1004, "status_msg": "boom"}}, "boom"),
    "Nest": ({"statusCode": 500, "message": "boom", "error": "Internal Server Error"}, "boom"),
    "Azure's gateway": ({"statusCode": 401, "message": "boom"}, "boom"),
    "AWS": ({"__type": "ModelErrorException", "message": "boom"}, "boom"),
    "AWS, by its key": ({"modelStreamErrorException": {"message": "boom"}}, "boom"),
    "problem details": ({"type": "about:blank", "title": "boom", "status": 500}, "boom"),
    "a status in words": ({"status": "error", "message": "boom"}, "boom"),
    "no success": ({"success": False, "message": "boom"}, "boom"),
    "a sentence alone": ({"message": "Internal Server Error: boom"}, "boom"),
    "with empty choices": ({"choices": [], "error": {"message": "boom"}}, "boom"),
    "beside a choice": ({"choices": [{"delta": {"content": ""}, "finish_reason": "error"}], "error": "boom"}, "boom"),
    "in a choice": ({"choices": [{"error": {"code": 502, "message": "boom"}, "finish_reason": "error"}]}, "boom"),
    "in a choice with text": ({"choices": [{"delta": {"content": "b"}, "error": {"message": "boom"}}]}, "boom"),
    "wrapped": ({"type": "response.failed", "response": {"id": "x", "error": {"message": "boom"}}}, "boom"),
    "Groq": ({"choices": [], "x_groq": {"id": "x", "error": "boom"}}, "boom"),
    "a status and a reason": ({"status": 503, "reason": "boom"}, "boom"),
    "Gemini's list": ([{"error": {"code": 500, "message": "boom", "status": "INTERNAL"}}], "boom"),
    "Tencent": ({"Response": {"Error": {"Code": "InternalError", "Message": "boom"}, "RequestId": "x"}}, "boom"),
    "Volcengine": ({"ResponseMetadata": {"RequestId": "x", "Error": {"Code": "x", "Message": "boom"}}}, "boom"),
    "Spark": ({"header": {"code": 10013, "message": "boom", "sid": "x"}}, "boom"),
    "Spark, a status": ({"header": {"code": 10013, "message": "boom", "status": 2}, "payload": {}}, "boom"),
    "a meta": ({"meta": {"code": 1001, "message": "boom"}, "data": None}, "boom"),
    "gRPC in a status": ({"status": {"code": 13, "message": "boom", "details": []}}, "boom"),
    "gRPC's words": ({"code": 13, "status": "INTERNAL", "message": "boom"}, "boom"),
    "an event's name inside": ({"event": "error", "message": "boom"}, "boom"),
    "an event's name and data": ({"event": "error", "data": {"message": "boom"}}, "boom"),
    "two wrappers": ({"data": {"response": {"Error": {"Message": "boom"}}}}, "boom"),
    "isSuccess": ({"isSuccess": False, "Message": "boom"}, "boom"),
    "Success": ({"Success": False, "Msg": "boom"}, "boom"),
    "Foundry Local 0.8": ({"Successful": False, "HttpStatusCode": 500, "ErrorMessage": "boom", "choices": []}, "boom"),
    "success as text": ({"success": "false", "result": {"message": "boom"}}, "boom"),
    "success as a number": ({"success": 0, "info": "boom"}, "boom"),
    "a type of error": ({"type": "server_error", "text": "boom"}, "boom"),
    "an object of error": ({"object": "chat.completion.error", "message": "boom"}, "boom"),
    "a level": ({"level": "error", "msg": "boom"}, "boom"),
    "a traceback": ({"traceback": "File x, ValueError: boom"}, "boom"),
    "a code and text": ({"code": 1001, "text": "boom"}, "boom"),
    "retcode": ({"retcode": 5, "retmsg": "boom"}, "boom"),
    "FastChat": ({"text": "NETWORK ERROR DUE TO HIGH TRAFFIC. boom", "error_code": 50001}, "boom"),
    "content": ({"type": "error", "content": "boom"}, "boom"),
    "output": ({"status": "ERROR", "output": "boom"}, "boom"),
    "no known key": ({"type": "error", "cause": {"why": "boom"}}, "boom"),
    "a number, no known key": ({"error": 500, "id": "x", "hint": "boom"}, "boom"),
    "an output": ({"output": {"code": "x", "message": "boom"}}, "boom"),
    "a body": ({"statusCode": 200, "body": {"error": "boom"}}, "boom"),
    "a payload": ({"payload": {"error": {"message": "boom"}}}, "boom"),
    "an HTTP status": ({"httpStatusCode": 500, "msg": "boom"}, "boom"),
    "failed": ({"failed": True, "reason": "boom"}, "boom"),
    "a state": ({"state": "error", "message": "boom"}, "boom"),
    "words in a wrapper": ({"status": "failed", "result": {"output": "boom"}}, "boom"),
    "MCP": ({"isError": True, "content": [{"type": "text", "text": "boom"}]}, "boom"),
    "in a delta": ({"choices": [{"delta": {"error": {"message": "boom"}}, "finish_reason": None}]}, "boom"),
    "in a delta with text": ({"choices": [{"delta": {"content": "b", "error": "boom"}}]}, "boom"),
    "a message beside a choice": ({"choices": [{"finish_reason": "stop"}], "error_message": "boom"}, "boom"),
    "MiniMax, beside a choice": (
        {"choices": [{"finish_reason": "stop"}], "base_resp": {"status_code": 1027, "status_msg": "boom"}},
        "boom",
    ),
    "a gateway's": (
        {"error": {"message": "Provider returned error", "metadata": {"raw": '{"message":"boom"}'}}},
        "boom",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize(
    "where", ["first", "after text", "after finish_reason", "named", "document", "document, stream"]
)
def test_an_error_in_any_dress_is_one(name: str, where: str) -> None:
    """In a stream at any place, under the event's name, or as a document with status 200."""
    document, words = ERRORS[name]
    sends = {
        "first": chunked(data(document), DONE),
        "after text": chunked(text("a"), data(document)),
        "after finish_reason": chunked(text("a"), STOP, data(document), DONE),
        "named": chunked(text("a"), data(document, "error")),
    }.get(where) or sized(json.dumps(document, indent=1).encode(), kind="application/json")
    sample = decode(exchange(sends, stream=where != "document"))
    assert sample.outcome is Outcome.ERROR_IN_STREAM
    assert words in detail(sample)


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (b"event: error\ndata: worker 3 is gone\n\n", "worker 3 is gone"),
        (b"event:error\ndata: {not json\n\n", "{not json"),
        (b"event: error\ndata:\n\n", "without a message"),
        (b"event: error\n\n", "without a message"),
        (b"event: error", "without a message"),
        (b'event: response.failed\ndata: {"response":{"error":{"message":"boom"}}}\n\n', "boom"),
        (b"event: throttlingException\ndata: slow\n\n", "slow"),
        (b"data: [ERROR] out of blocks\n\n", "out of blocks"),
        (b"data: Internal Server Error\n\n", "Internal Server Error"),
        (b"data: {'error': 'printed by Python'}\n\n", "printed by Python"),
        (b'data: "RuntimeError: boom"\n\n', "boom"),
        (b'error: {"code":500,"message":"boom"}\n\n', "boom"),
        (b"upstream connect error or disconnect/reset before headers", "upstream connect error"),
        (b"Traceback (most recent call last):\n  File x\nValueError: boom\n", "ValueError: boom"),
    ],
)
@pytest.mark.parametrize("begun", [False, True])
def test_errors_that_are_no_json_are_errors_with_their_words(sent: bytes, words: str, begun: bool) -> None:
    """By the event's name, or by what the text says, before and after an answer."""
    sample = decode(exchange(chunked(*((text("a"), STOP) if begun else ()), sent)))
    assert sample.outcome is Outcome.ERROR_IN_STREAM
    assert words in detail(sample)


@pytest.mark.parametrize("body", [b"Internal Server Error", b"Traceback (most recent call last):\nValueError: boom\n"])
@pytest.mark.parametrize("stream", [True, False])
def test_a_body_of_text_that_tells_of_an_error_is_one(body: bytes, *, stream: bool) -> None:
    """With status 200, asked for as a stream or not."""
    sample = decode(exchange(sized(body, kind="text/plain"), stream=stream))
    assert sample.outcome is Outcome.ERROR_IN_STREAM
    assert body.split()[-1].decode() in detail(sample)


NOTHING = [
    None,
    False,
    "",
    0,
    {},
    [],
    "null",
    {"message": None, "code": None},
    {"code": 0, "message": ""},
    {"code": 200},
]
HEALTHY: dict[str, Any] = {
    "Azure's filters": {
        "choices": [],
        "prompt_filter_results": [{"content_filter_results": {"error": {"code": "filter_error", "message": "x"}}}],
    },
    "Azure's filters of a choice": {
        "choices": [{"delta": {"content": "b"}, "content_filter_results": {"error": {"message": "not filtered"}}}]
    },
    "a tool call about an error": {
        "choices": [{"delta": {"tool_calls": [{"function": {"name": "error", "arguments": '{"error": "boom"}'}}]}}]
    },
    "usage": {"choices": [], "usage": {"completion_tokens": 3, "prompt_tokens": 2}},
    "timings": {"choices": [], "timings": {"predicted_n": 3}},
    "MiniMax": {"choices": [], "base_resp": {"status_code": 0, "status_msg": ""}},
    "a code that means well": {"choices": [], "code": 200, "message": "success"},
    "a ping": {"type": "ping"},
    "progress": {"status": "loading", "message": "loading failed layers anew", "detail": "3 of 4"},
    "processing": {"object": "progress", "message": "prompt processing", "code": 102},
    "a key that ends like fault": {"default": "x"},
    "a count of errors": {"error_count": 3, "choices": []},
    "a message": {"choices": [{"message": {"role": "assistant", "content": "an error: boom", "error": None}}]},
    "a warning": {"type": "warning", "message": "parameter top_k is not supported and was ignored"},
    "a warning with a code": {"type": "warning", "code": 1001, "message": "max_tokens exceeds 4096, cut"},
    "a warning by its level": {"level": "WARNING", "msg": "request failed, trying again"},
    "a warning, wrapped": {"data": {"type": "warning", "code": 1001, "message": "not supported"}},
    "a warning that names itself nothing": {"message": "top_k is not supported and was ignored"},
    "a status": {"object": "status", "message": "model is loading, not found in cache"},
    "a status of its own": {"status": "prefill", "message": "step 3"},
    "a log line": {"type": "log", "message": "slot 3 failed, using slot 4"},
    "no error": {"error_code": "NO_ERROR", "error_msg": "success", "no_error": True},
    "zeros": {"code": "000000", "message": "invalid tokens: 0"},
    "a code of its own for good": {"code": 20000, "message": "OK"},
    "no failures": {"failed": 0, "failures": [], "state": "done"},
    "a small status": {"status": 2, "message": "last"},
    "Foundry Local 0.8": {"Successful": True, "HttpStatusCode": 0, "choices": []},
    "Spark": {"header": {"code": 0, "message": "Success", "sid": "x", "status": 2}, "payload": {}},
    "the Responses API": {
        "type": "response.completed",
        "response": {"object": "response", "status": "completed", "error": None, "incomplete_details": None},
    },
    "a policy": {"error_policy": "retry", "choices": []},
    "MiniMax, beside a choice": {"choices": [{"delta": {"content": "b"}}], "base_resp": {"status_code": 0}},
    "Baidu, beside a choice": {"choices": [{"delta": {"content": "b"}}], "error_code": 0, "error_msg": "success"},
    "a list of numbers": [1, 2],
    "a string": "hello",
}  # fmt: skip


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_documents_are_no_errors(name: str) -> None:
    """Keys deeper down, empty ones, and those of others mean nothing."""
    error = find_error(HEALTHY[name])
    assert error is None or not error.certain
    assert decode(exchange(chunked(text("a"), data(HEALTHY[name]), text("b"), STOP, DONE))).outcome is Outcome.OK


@pytest.mark.parametrize("nothing", NOTHING, ids=str)
def test_an_empty_error_in_every_chunk_is_none(nothing: Any) -> None:
    """Gateways send the key always."""
    sample = decode(exchange(chunked(text("a", error=nothing), event({}, finish="stop", error=nothing), DONE)))
    assert (sample.outcome, sample.output_text) == (Outcome.OK, "a")


REMARK = {"message": "top_k is not supported and was ignored"}


def test_a_sentence_alone_is_an_error_where_the_answer_is_not_whole() -> None:
    """Before and behind a whole answer it is a remark; behind it, one that speaks of an error is none."""
    assert decode(exchange(chunked(data(REMARK), text("a"), STOP, DONE))).outcome is Outcome.OK
    assert decode(exchange(chunked(text("a"), STOP, data(REMARK), DONE))).outcome is Outcome.OK
    cut = decode(exchange(chunked(text("a"), data(REMARK), DONE)))
    assert cut.outcome is Outcome.ERROR_IN_STREAM
    assert "top_k" in detail(cut)
    late = decode(exchange(chunked(text("a"), STOP, data({"message": "Internal Error"}), DONE)))
    assert late.outcome is Outcome.ERROR_IN_STREAM


def test_a_certain_error_counts_behind_a_doubtful_one() -> None:
    """The one that is certain says what happened."""
    sample = decode(exchange(chunked(data(REMARK), text("a"), data({"error": "boom"}), STOP)))
    assert "boom" in detail(sample)


def test_an_event_that_says_no_error_is_none() -> None:
    """By its name."""
    for name in ("no_error", "no-error", "response.no_error", "warning"):
        assert decode(exchange(chunked(data({"id": 1}, name), text("a"), STOP, DONE))).outcome is Outcome.OK


@pytest.mark.parametrize(
    "document",
    [
        {"choices": [{"delta": {}, "finish_reason": "error", "message": "boom"}]},
        {"choices": [{"delta": {}, "finish_reason": "error", "error_message": "boom"}]},
        {"choices": [{"delta": {}, "finish_reason": "abort"}], "message": "boom"},
        {"choices": [{"delta": {}, "finish_reason": "content_filter"}], "detail": "boom"},
        {"choices": [{"delta": {}, "finish_reason": {"type": "abort"}}], "reason": "boom"},
    ],
)
def test_words_beside_a_failed_finish_reason_are_kept(document: Any) -> None:
    """In the choice, or in the document around it."""
    sample = decode(exchange(chunked(text("a"), data(document), DONE)))
    assert sample.outcome is Outcome.TRUNCATED
    assert "boom" in detail(sample)
    whole = decode(exchange(sized(json.dumps(document).encode()), stream=False))
    assert (whole.outcome, "boom" in detail(whole)) == (Outcome.TRUNCATED, True)


def test_text_about_errors_is_an_answer() -> None:
    """What a model writes is never looked at."""
    said = "event: error\ndata: boom\n\nTraceback: model not found, rate limit exceeded"
    assert decode(exchange(chunked(text(said), STOP, DONE))).output_text == said


def test_broken_json_of_an_answer_about_errors_is_malformed() -> None:
    """It is the server's form that is wrong."""
    sample = decode(exchange(chunked(b'data: {"choices":[{"delta":{"content":"an error occ\n\n')))
    assert sample.outcome is Outcome.MALFORMED_STREAM


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        ({"message": "This model's maximum context length is 8 tokens"}, Outcome.CONTEXT_EXCEEDED),
        ({"message": "no", "code": "rate_limit_exceeded"}, Outcome.RATE_LIMITED),
        ({"message": "The model `x` does not exist"}, Outcome.MODEL_NOT_FOUND),
        ({"message": "temperature is not supported for this model"}, Outcome.ERROR_IN_STREAM),
    ],
)
def test_an_error_inside_a_200_has_its_kind(error: dict[str, Any], outcome: Outcome) -> None:
    """In a stream and as a document."""
    assert decode(exchange(chunked(text("a"), data({"object": "error", **error})))).outcome is outcome
    assert decode(exchange(sized(json.dumps({"error": error}).encode()), stream=False)).outcome is outcome


@pytest.mark.parametrize(
    ("status", "error", "outcome"),
    [
        (400, {"message": "no", "code": "insufficient_quota"}, Outcome.RATE_LIMITED),
        (403, {"message": "Too many requests"}, Outcome.RATE_LIMITED),
        (400, {"message": "temperature is not supported for this model"}, Outcome.HTTP_4XX),
        (503, {"message": "model is not loaded yet"}, Outcome.HTTP_5XX),
        (400, {"message": "'x' is not a valid model ID"}, Outcome.MODEL_NOT_FOUND),
    ],
)
def test_a_refused_request_has_its_kind(status: int, error: dict[str, Any], outcome: Outcome) -> None:
    """Whatever the status, the words and codes decide; as JSON, and as an event."""
    document = {"error": error}
    assert decode(exchange(sized(json.dumps(document).encode(), status=status))).outcome is outcome
    assert decode(exchange(sized(data(document), status=status))).outcome is outcome


def test_the_first_error_is_kept() -> None:
    """What follows it mostly follows from it."""
    sample = decode(exchange(chunked(data({"error": "boom"}), data({"error": "stream closed"}))))
    assert "boom" in detail(sample)


@pytest.mark.parametrize("ending", [Ending.STALL_TIMEOUT, Ending.TOTAL_TIMEOUT, Ending.FIRST_TOKEN_TIMEOUT])
def test_an_error_is_the_outcome_where_the_body_stays_open_behind_it(ending: Ending) -> None:
    """The time-out only followed from it."""
    sample = decode(exchange(chunked(text("a"), data({"error": "boom"}))[:-1], ending=ending, detail="late"))
    assert sample.outcome is Outcome.ERROR_IN_STREAM
    assert "boom" in detail(sample)


def test_the_words_at_the_end_of_a_long_stream_are_kept() -> None:
    """In the detail, and in what is kept of the body: its first bytes and its last."""
    sample = decode(exchange(chunked(*[text("word ")] * 500, data({"object": "error", "message": "KV cache gave up"}))))
    assert sample.evidence is not None
    assert "KV cache gave up" in sample.evidence.detail
    assert sample.evidence.body_head.startswith("data: ")
    assert "KV cache gave up" in sample.evidence.body_head
    assert len(sample.evidence.body_head) <= 2_048


def test_the_last_line_of_a_long_traceback_is_kept() -> None:
    """It says what went wrong."""
    trace = b"Traceback (most recent call last):\n" + b"  File somewhere\n" * 2_000 + b"ValueError: boom\n"
    sample = decode(exchange(sized(trace, status=500, kind="text/plain")))
    assert sample.outcome is Outcome.HTTP_5XX
    assert "ValueError: boom" in detail(sample)


@given(st.integers(0, 1_600), st.sampled_from(["sk-", "hf_"]))
def test_no_half_of_a_key_is_left_where_a_body_is_cut(behind: int, kind: str) -> None:
    """Whatever place in the body the cut falls on."""
    secret = kind + "Ab1" * 16
    body = b'{"error":{"message":"' + b"x" * 3_000 + b' key "' + secret.encode() + b'" ' + b"y" * behind + b'"}}'
    evidence = decode(exchange(sized(body, status=400))).evidence
    assert evidence is not None
    assert "Ab1Ab1" not in evidence.detail + evidence.body_head


@given(st.text(max_size=200), st.integers(20, 60))
def test_clipped_text_has_its_beginning_and_its_end(words: str, limit: int) -> None:
    """Never longer than asked for."""
    clipped = clip(words, limit)
    assert len(clipped) <= limit
    if len(words) <= limit:
        assert clipped == words


KEYS = [
    *("error", "errors", "message", "msg", "code", "type", "status", "detail", "object", "choices", "delta", "content"),
    *("finish_reason", "base_resp", "success", "loc", "metadata", "raw", "fault", "error_msg", "err", "title"),
    *("Response", "Error", "header", "stop_reason", "finish_details", "event", "text", "level", "retcode", "Success"),
]
NAMES = st.sampled_from(KEYS)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.sampled_from(["error", "null"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(st.lists(VALUES, max_size=4), st.sampled_from(["", "error", "x"]), st.sampled_from([200, 201, 400, 503]))
def test_exactly_one_outcome_comes_out_of_any_documents(documents: list[Any], name: str, status: int) -> None:
    """As a stream, as lines, and as a document; and what comes out can be written down."""
    events = b"".join(data(document, name) for document in documents)
    lines = b"\n".join(json.dumps(document).encode() for document in documents)
    for body in (events, lines, json.dumps(documents[0] if documents else None).encode()):
        for stream in (False, True):
            sample = decode(exchange(sized(body, status=status), stream=stream))
            assert (sample.evidence is None) is sample.ok
            json.dumps(sample.to_record(), ensure_ascii=False, allow_nan=False).encode()


@given(VALUES)
def test_an_error_always_has_words(value: Any) -> None:
    """Whatever it looks like, and never more than 2,000 characters of them."""
    assert 0 < len(read_error(value).words) <= 2_000


WORDS = st.sampled_from(["a", "error", "boom", "model not found", "event: error", "null", ""])
FILTERS = st.fixed_dictionaries({"error": st.fixed_dictionaries({"code": WORDS, "message": WORDS})})
EXTRAS = st.fixed_dictionaries(
    {},
    optional={
        "error": st.sampled_from(NOTHING),
        "id": WORDS,
        "object": st.just("chat.completion.chunk"),
        "code": st.sampled_from([0, 200, "ok", ""]),
        "error_code": st.sampled_from([0, "0", "", None]),
        "error_message": st.sampled_from(["", None, "success"]),
        "Successful": st.just(True),
        "status": st.sampled_from(["ok", "in_progress", None]),
        "message": st.sampled_from(["", "success", None]),
        "usage": st.sampled_from([None, {"completion_tokens": 1, "prompt_tokens": 1}]),
        "prompt_filter_results": st.lists(FILTERS, max_size=1),
        "base_resp": st.just({"status_code": 0, "status_msg": ""}),
    },
)
DELTAS = st.fixed_dictionaries(
    {"content": WORDS},
    optional={
        "role": st.just("assistant"),
        "reasoning": WORDS,
        "error": st.sampled_from(NOTHING),
        "tool_calls": st.just(
            [{"index": 0, "function": {"name": "error", "arguments": '{"error": {"message": "x"}}'}}]
        ),
    },
)
CHOICES = st.fixed_dictionaries(
    {"delta": DELTAS}, optional={"finish_reason": st.sampled_from([None, ""]), "content_filter_results": FILTERS}
)
CHUNKS = st.builds(lambda choice, extra: {**extra, "choices": [choice]}, CHOICES, EXTRAS)
LASTS = st.builds(lambda extra: {**extra, "choices": []}, EXTRAS)


@given(st.lists(CHUNKS, min_size=1, max_size=6), st.lists(LASTS, max_size=2), st.sampled_from(["", "message", "delta"]))
def test_no_healthy_stream_is_an_error(chunks: list[Any], lasts: list[Any], name: str) -> None:
    """Whatever a model says and a server adds."""
    whole = chunked(text("a"), *(data(chunk, name) for chunk in chunks), STOP, *(data(last) for last in lasts), DONE)
    assert decode(exchange(whole)).outcome is Outcome.OK
