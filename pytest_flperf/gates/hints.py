"""Hints: what users can do about failed requests."""

from __future__ import annotations

from typing import Final

from pytest_flperf.results.records import Failure, Measured
from pytest_flperf.wire.sample import Outcome

__all__ = ["hint"]

_UNAUTHORISED: Final = frozenset({401, 403})
_HINTS: Final = {
    Outcome.CONNECT_REFUSED: "is the server running at {url}? start it, or correct --flperf-base-url",
    Outcome.CONNECT_TIMEOUT: "does the server accept connections at {url}? raise connect_timeout_s in the suite to "
    "wait longer",
    Outcome.HEADERS_TIMEOUT: "if the server is that slow, raise headers_timeout_s in the suite",
    Outcome.FIRST_TOKEN_TIMEOUT: "if the model is that slow, raise first_token_timeout_s in the suite",
    Outcome.STALL_TIMEOUT: "if the model pauses that long, raise stall_timeout_s in the suite",
    Outcome.TOTAL_TIMEOUT: "if answers take that long, raise timeout_s in the suite or --flperf-timeout",
    Outcome.ANSWER_TOO_LARGE: "if answers are that long, raise max_answer_mb in the suite",
    Outcome.CLIENT_LIMIT: "this machine's limit, not the server's: send less at once, with a lower concurrency or rate",
    Outcome.RATE_LIMITED: "send less at once: a lower concurrency or rate, or a think_time_s",
    Outcome.CONTEXT_EXCEEDED: "a shorter prompt, a lower max_tokens, or a model with more context",
    Outcome.MODEL_NOT_FOUND: "--flperf-list-models lists the models",
    Outcome.HTTP_5XX: "the server's own log says more",
    Outcome.ERROR_IN_STREAM: "the server's own log says more",
    Outcome.CONNECTION_LOST: "did the server crash, or did something in between close the connection? its log says "
    "more",
    Outcome.MALFORMED_STREAM: "is this an OpenAI-compatible API? journal.jsonl holds the answer as it arrived",
    Outcome.TRUNCATED: "the server ended its answer early; journal.jsonl holds it as it arrived",
    Outcome.LENGTH_ZERO: "the model answered without any text: try another prompt or a higher max_tokens",
}
_KEY: Final = "--flperf-api-key-env=NAME names the environment variable that holds the server's key"
_TLS: Final = "does the server speak https? to trust its certificate, set SSL_CERT_FILE=its-authority.pem"


def hint(failure: Failure, case: Measured) -> str:
    """Hint for failures of this kind.

    Empty where only the evidence can tell.
    """
    if failure.status in _UNAUTHORISED:
        return _KEY
    if "TLS handshake" in failure.detail:
        return _TLS
    try:
        words = _HINTS.get(Outcome(failure.outcome), "")
    except ValueError:  # a results file of a later version
        return ""
    url = case.target.base_url if case.target is not None and case.target.base_url else "its address"
    return words.format(url=url)
