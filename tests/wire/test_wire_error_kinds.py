"""What errors of real servers are about, in the servers' own words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.wire.error_kinds import kind_of
from pytest_flperf.wire.errors import ServerError, read_error
from pytest_flperf.wire.sample import Outcome

ROWS = [
    line.split("\t")
    for line in (Path(__file__).parent / "server_words.tsv").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
]
SERVERS = {"OpenAI", "vLLM", "SGLang", "TGI", "llama.cpp", "Ollama", "Gemini", "LM Studio", "Mistral", "Azure"}


@pytest.mark.parametrize(("kind", "server", "source", "words"), ROWS, ids=[f"{row[0]}-{row[1]}" for row in ROWS])
def test_words_of_servers_have_their_kind(kind: str, server: str, source: str, words: str) -> None:
    """Bare, and wrapped as errors are: the words say what it was about."""
    expected = None if kind == "-" else Outcome(kind)
    if server != "Anthropic" or expected is not Outcome.MODEL_NOT_FOUND:  # that one is told by its type
        assert kind_of(ServerError(words, frozenset())) is expected, source
    wrapped = read_error({"message": words, "type": "invalid_request_error", "param": None, "code": 400})
    assert kind_of(wrapped) is expected or server == "Anthropic"


def test_each_server_that_people_use_is_in_the_table() -> None:
    """Their overflow of the context is known, and an unknown model of theirs where they have such an error."""
    assert {row[1] for row in ROWS if row[0] == "context_exceeded"} >= SERVERS
    assert {row[1] for row in ROWS if row[0] == "model_not_found"} >= SERVERS - {"SGLang", "TGI", "llama.cpp"}


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"message": "no", "code": "context_length_exceeded"}, Outcome.CONTEXT_EXCEEDED),
        ({"message": "no", "type": "exceed_context_size_error", "n_ctx": 4096}, Outcome.CONTEXT_EXCEEDED),
        ({"message": "no", "code": "rate_limit_exceeded", "type": "tokens"}, Outcome.RATE_LIMITED),
        ({"message": "no", "type": "insufficient_quota"}, Outcome.RATE_LIMITED),
        ({"message": "Provider returned error", "code": 429}, Outcome.RATE_LIMITED),
        ({"message": "slow", "__type": "ThrottlingException"}, Outcome.RATE_LIMITED),
        ({"message": "No models loaded. Please load one.", "code": "model_not_found"}, Outcome.MODEL_NOT_FOUND),
        ({"message": "no", "code": "DeploymentNotFound"}, Outcome.MODEL_NOT_FOUND),
        ({"message": "no", "type": "invalid_model", "code": "1500"}, Outcome.MODEL_NOT_FOUND),
        ({"message": "model: claude-9", "type": "not_found_error"}, Outcome.MODEL_NOT_FOUND),
        ({"message": "Overloaded", "type": "overloaded_error"}, None),
        ({"message": "Model is overloaded", "type": "overloaded"}, None),
        ({"message": "RESOURCE_EXHAUSTED: Out of memory while trying to allocate", "code": 500}, None),
        (
            {
                "message": "Provider returned error",
                "code": 400,
                "metadata": {"raw": '{"error":{"message":"prompt is too long: 5 tokens > 4 maximum"}}'},
            },
            Outcome.CONTEXT_EXCEEDED,
        ),
        ({"message": "no", "code": "tokens_limit_reached"}, Outcome.CONTEXT_EXCEEDED),
        ({"message": "no", "code": "INPUT_LENGTH_ERROR"}, Outcome.CONTEXT_EXCEEDED),
        ({"message": "no", "code": "rate_limit_reached_error"}, Outcome.RATE_LIMITED),
        ({"message": "no", "status": "RESOURCE_EXHAUSTED"}, Outcome.RATE_LIMITED),
        ({"message": "Out of memory while trying to allocate", "status": "RESOURCE_EXHAUSTED"}, None),
        ({"code": "BadRequest", "innererror": {"code": "context_length_exceeded"}}, Outcome.CONTEXT_EXCEEDED),
        ({"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "no"}, Outcome.RATE_LIMITED),
    ],
)
def test_codes_of_servers_have_their_kind(error: dict[str, Any], kind: Outcome | None) -> None:
    """A code says it where the sentence doesn't."""
    assert kind_of(read_error(error)) is kind


def test_a_model_that_is_not_available_with_503_is_not_missing() -> None:
    """Unavailable for now is what 503 means."""
    error = ServerError("Model tiny is not available", frozenset())
    assert kind_of(error) is Outcome.MODEL_NOT_FOUND
    assert kind_of(error, 503) is None
    for words in ("model not found in cache, downloading", "Model x does not exist on disk", "Unknown model: x"):
        assert kind_of(ServerError(words, frozenset()), 503) is None


@pytest.mark.parametrize(
    "words",
    [
        "model " * 1_000,
        "models is not " * 400,
        "prompt length " * 300,
        "a_length " * 500,
        "exceeds " * 500,
        "user input: '" * 300,
        "模型" * 2_000,
        "only " * 800,
        "repository not found for url: " + "/models" * 500,
        "length>=" * 500,
        "x" * 4_000,
        "limit rp " * 400,
        "no such model " * 300,
    ],
)
def test_no_words_take_long(words: str) -> None:
    """What repeats the beginnings of patterns is read in one go; what took exponential time would never end."""
    assert kind_of(ServerError(words, frozenset())) in (None, *Outcome)


@given(st.text(max_size=300))
def test_no_words_raise(words: str) -> None:
    """Whatever a server says has a kind, or none."""
    assert kind_of(ServerError(words, frozenset({words}))) in (None, *Outcome)
