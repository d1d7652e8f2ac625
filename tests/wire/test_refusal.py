"""Which parameter a server refuses, in the words of many servers."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.wire.decode import decode
from pytest_flperf.wire.exchange import Ending, Exchange, Phase
from pytest_flperf.wire.refused_parameters import (
    is_of_value,
    may_be_bounded,
    names,
    only_streams,
    refused,
    words_of_refusal,
)

LIMITS = ("max_tokens", "max_completion_tokens")
SENT = frozenset({"max_tokens", "temperature", "stream_options"})
NEWER = frozenset({"max_completion_tokens", "temperature", "stream_options"})


def exchange(body: str, status: int = 400) -> Exchange:
    """A refusal as it came."""
    raw = b"HTTP/1.1 %d No\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
    payload = body.encode("utf-8", "surrogatepass")
    raw = raw % (status, len(payload), payload)
    return Exchange(
        index=0,
        phase=Phase.VERIFY,
        target=0,
        stream=True,
        slot=0,
        due_ns=None,
        connect_ns=1,
        started_ns=1,
        sent_ns=2,
        finished_ns=9,
        read_arrival_ns=(5,),
        read_lag_ns=(),
        read_bytes=(len(raw),),
        clock_source="user",
        clock_moved_ns=0,
        ending=Ending.COMPLETE,
        detail="",
        raw=raw,
    )


def found(body: str, sent: frozenset[str] = SENT, status: int = 400) -> set[str]:
    """What a body is read to refuse."""
    return set(refused(words_of_refusal(decode(exchange(body, status))), sent, limits=LIMITS))


def openai(message: str, param: str | None = None, code: str | None = None) -> str:
    """An error as OpenAI writes it."""
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return json.dumps({"error": error}, indent=2)


def fastapi(name: str, kind: str = "extra_forbidden", words: str = "Extra inputs are not permitted") -> str:
    """An error as FastAPI writes it."""
    return json.dumps({"detail": [{"type": kind, "loc": ["body", name], "msg": words, "input": {"a": True}}]})


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (
            openai(
                "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' "
                "instead.",
                "max_tokens",
                "unsupported_parameter",
            ),
            "max_tokens",
        ),
        (
            openai(
                "'max_tokens' is not supported with this model, use 'max_completion_tokens' instead",
            ),
            "max_tokens",
        ),
        (openai("max_tokens is deprecated, use max_completion_tokens instead"), "max_tokens"),
        (
            openai(
                "Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) value is "
                "supported.",
                "temperature",
                "unsupported_value",
            ),
            "temperature",
        ),
        (openai("Unrecognized request argument supplied: stream_options"), "stream_options"),
        (openai("Unknown parameter: 'stream_options'.", "stream_options", "unknown_parameter"), "stream_options"),
        (openai("invalid temperature: only 1 is allowed for this model"), "temperature"),
        (openai("property 'stream_options' is unsupported"), "stream_options"),
        (openai("Additional properties are not allowed ('stream_options' was unexpected)"), "stream_options"),
        (openai("litellm.UnsupportedParamsError: x does not support parameters: {'temperature': 0}"), "temperature"),
        (openai("litellm.UnsupportedParamsError: x does not support parameters: ['stream_options']"), "stream_options"),
        (openai("O-series models don't support temperature=0. Only temperature=1 is supported."), "temperature"),
        (openai("`temperature` is deprecated for this model."), "temperature"),
        (openai("Use of 'temperature' is not supported for this model"), "temperature"),
        (openai("temperature and top_p cannot both be specified for this model. Use only one."), "temperature"),
        (openai("Extra inputs are not permitted, field: 'max_tokens', value: 16"), "max_tokens"),
        (openai("temperature: Extra inputs are not permitted"), "temperature"),
        (openai("The value is out of range", "temperature"), "temperature"),
        (fastapi("stream_options"), "stream_options"),
        (fastapi("max_tokens"), "max_tokens"),
        (fastapi("temperature", "greater_than", "Input should be greater than 0"), "temperature"),
        (fastapi("temperature", "value_error.extra", "extra fields not permitted"), "temperature"),
        (json.dumps({"object": "error", "message": json.loads(fastapi("stream_options"))}), "stream_options"),
        (
            json.dumps(
                {
                    "object": "error",
                    "message": "[{'type': 'extra_forbidden', 'loc': ('body', 'stream_options'), 'msg': 'Extra inputs "
                    "are not permitted', 'input': {'include_usage': True}}]",
                    "code": 400,
                }
            ),
            "stream_options",
        ),
        (
            json.dumps(
                [
                    {
                        "error": {
                            "code": 400,
                            "message": 'Invalid JSON payload. Unknown name "stream_options": Cannot find',
                        }
                    }
                ]
            ),
            "stream_options",
        ),
        (json.dumps({"message": "#: extraneous key [stream_options] is not permitted"}), "stream_options"),
        (json.dumps({"message": 'json: unknown field "stream_options"'}), "stream_options"),
        (
            "Failed to deserialize: unknown field `stream_options`, expected one of `max_tokens`, `model`",
            "stream_options",
        ),
        (
            'Unrecognized field "stream_options" (class A), not marked as ignorable (3 known properties: "model", '
            '"max_tokens", "temperature"])',
            "stream_options",
        ),
        ("1 validation error for ChatRequest\nstream_options\n  Extra inputs are not permitted", "stream_options"),
        (json.dumps({"error": "Input validation error: `temperature` must be strictly positive"}), "temperature"),
        (
            json.dumps({"status": 422, "message": "Invalid params: temperature must be in range (0, +inf)"}),
            "temperature",
        ),
        ('{"error":{"message":"The parameter \\u0027stream_options\\u0027 is not allowed"}}', "stream_options"),
        ('{"error":"Argument not supported on this model: streamOptions"}', "stream_options"),
        ('{"title":"Bad Request","detail":"Validation: Unsupported parameter(s): `max_tokens`"}', "max_tokens"),
        (openai("temperature参数非法。请检查文档。", None, "1214"), "temperature"),
        (openai("不支持stream_options参数"), "stream_options"),
        (openai("参数max_tokens不支持,请使用max_completion_tokens"), "max_tokens"),
        (openai("temperature 必须大于0"), "temperature"),
        (openai("max_tokens is not implemented"), "max_tokens"),
        (openai("max_tokens is disabled for this model"), "max_tokens"),
        (openai("The parameter max_tokens is obsolete."), "max_tokens"),
        (openai("Parameter max_tokens is illegal"), "max_tokens"),
        (openai("`max_tokens` is incompatible with this model"), "max_tokens"),
        (openai("max_tokens is not compatible with reasoning models"), "max_tokens"),
        (openai("max_tokens is not applicable"), "max_tokens"),
        (openai("Please remove max_tokens"), "max_tokens"),
        (openai("property must not be present", "max_tokens"), "max_tokens"),
        (openai("unevaluated property", "max_tokens"), "max_tokens"),
        (openai("max_tokens is not in allowed parameters"), "max_tokens"),
        (openai("Unrecognized key(s) in object: 'foo', 'stream_options'"), "stream_options"),
        (openai("'stream_options', 'foo' are not supported"), "stream_options"),
        (openai("x does not support parameters: {'max_tokens': 16}"), "max_tokens"),
    ],
)
def test_the_subject_of_a_refusal(body: str, name: str) -> None:
    """And nothing else that is named beside it."""
    assert found(body) == {name}


@pytest.mark.parametrize(
    ("message", "several"),
    [
        ("x does not support parameters: ['seed', 'top_k'], for model=m", {"seed", "top_k"}),
        ("x does not support parameters: {'seed': 1, 'top_k': 40}, for model=m", {"seed", "top_k"}),
        ("unsupported: {'stream_options': {'include_usage': True}, 'seed': 1}", {"seed", "stream_options"}),
        ("Unrecognized key(s) in object: 'stream_options', 'foo', 'top_k'", {"stream_options", "top_k"}),
        ("temperature, top_p and seed are not supported", {"temperature", "top_p", "seed"}),
        ("temperature, foo, and seed are not supported. Use top_p.", {"temperature", "seed"}),
        ("`temperature` and `top_p` cannot both be specified for this model.", {"temperature", "top_p"}),
        ("Unsupported: temperature/top_p", {"temperature", "top_p"}),
        ("unknown field `seed`, expected one of `temperature`, `top_p`, `top_k`", {"seed"}),
        ("seed is unsupported. Known: temperature, top_p", {"seed"}),
        ("不支持temperature、top_p参数", {"temperature", "top_p"}),
    ],
)  # fmt: skip
def test_a_list_of_names(message: str, several: set[str]) -> None:
    """One verdict holds for all of a list, and for no other."""
    sent = SENT | {"seed", "top_k", "top_p"}
    assert found(openai(message), sent) == several


@pytest.mark.parametrize(
    ("message", "value", "bounded"),
    [
        ("max_tokens 99999 is not supported. The maximum supported is 4096", True, True),
        ("max_tokens: value 99999 not allowed, must be <= 4096", True, True),
        ("max_tokens is too small; set max_tokens or max_completion_tokens to 32 or more", True, True),
        ("Invalid value for max_tokens: integer above maximum value", True, True),
        ("this model does not support max_tokens=16", True, False),
        ("max_tokens (16) is not supported", True, False),
        ("x does not support parameters: {'max_tokens': 16}", False, False),
        ("Unsupported parameter: 'max_tokens' is not supported with this model.", False, False),
    ],
)
def test_a_value_and_no_name(message: str, *, value: bool, bounded: bool) -> None:
    """A length that is too large or too small is no refusal of the parameter."""
    assert is_of_value(message, "max_tokens") is value
    assert may_be_bounded(message, "max_tokens") is bounded
    assert found(openai(message)) == (set() if value else {"max_tokens"})


@pytest.mark.parametrize(
    ("message", "only"),
    [
        ("This model only support stream mode, please enable the stream parameter to access the model.", True),
        ("stream must be set to true", True),
        ("Non-streaming requests are not supported", True),
        ("Only streaming is supported", True),
        ("该模型仅支持流式输出", True),
        ("Streaming is not supported by this endpoint.", False),
        ("Streaming not implemented", False),
        ("stream must be set to false", False),
        ("Please do not use stream", False),
        ("Set stream to false", False),
        ("Unrecognized request argument supplied: stream", False),
        ("temperature is not supported", False),
    ],
)
def test_a_server_that_only_streams(message: str, *, only: bool) -> None:
    """And no server that doesn't."""
    assert only_streams(message) is only


@pytest.mark.parametrize(
    "piece", ["'temperature', ", "temperature ", "'a', ", "temperature: 1, ", "((((", "max_tokens 1 "]
)
def test_long_answers(piece: str) -> None:
    """As long as an answer may be: no pattern runs away."""
    assert found(piece * 2_000) <= SENT


def test_the_newer_name_is_refused_as_well() -> None:
    """A server that lists what it knows instead has not refused that."""
    body = "unknown field `max_completion_tokens`, expected one of `model`, `messages`, `max_tokens`, `temperature`"
    assert found(body, NEWER) == {"max_completion_tokens"}
    assert found(fastapi("max_completion_tokens"), NEWER, 422) == {"max_completion_tokens"}


@pytest.mark.parametrize(
    "body",
    [
        openai(
            "Could not finish the message because max_tokens or model output limit was reached. Try higher max_tokens."
        ),
        openai("max_tokens is too large: 150. This model supports at most 128 completion tokens", "max_tokens"),
        openai("max_tokens must be at least 16", "max_tokens", "integer_below_min_value"),
        openai("The model `gpt-9` does not exist or you do not have access to it.", None, "model_not_found"),
        openai("Unknown parameter: 'top_k'.", "top_k", "unknown_parameter"),
        "unknown field `top_k`, expected one of `max_tokens`, `temperature`, `stream_options`",
        "<html><body><h1>400 Bad Request</h1></body></html>",
        "",
        "{",
    ],
)
def test_no_refusal_of_these(body: str) -> None:
    """What is too large or too small, what the answer ran into, and other names."""
    assert found(body) == set()


def test_what_means_something_else() -> None:
    """Too many requests, a wrong key, a broken gateway, a context that is too small: not a word of it is read."""
    body = openai("Unknown parameter: 'temperature'.")
    assert [bool(found(body, status=status)) for status in (401, 403, 429, 503)] == [False] * 4
    assert [bool(found(body, status=status)) for status in (400, 404, 422, 500)] == [True] * 4
    context = openai("'max_tokens' or 'max_completion_tokens' is too large. This model's maximum context length is 9.")
    assert words_of_refusal(decode(exchange(context))) == ""
    assert words_of_refusal(decode(replace(exchange(""), ending=Ending.CONNECT_REFUSED, raw=b"", read_bytes=()))) == ""


def test_an_error_inside_a_200_answer() -> None:
    """Some proxies say what they refuse with a status that says that all is well."""
    assert found(openai("Unknown parameter: 'temperature'."), status=200) == {"temperature"}


def test_names_are_whole_words() -> None:
    """``stream`` is not named by ``stream_options``."""
    assert names("unknown stream_options", "stream_options")
    assert not names("unknown stream_options", "stream")
    assert not names("max_tokens_to_sample", "max_tokens")


@given(st.text(max_size=300), st.sampled_from(sorted(SENT)), st.text(max_size=300), st.sampled_from((200, 400, 422)))
def test_any_words(before: str, name: str, behind: str, status: int) -> None:
    """Whatever stands around a name: an answer, no exception, and only names that were sent."""
    for body in (before + name + behind, json.dumps({before: {"param": name, "loc": [behind, name]}})):
        assert found(body, status=status) <= SENT
