"""Which word of the list a request ended with, and the evidence for it."""

from __future__ import annotations

import re
from typing import Final

from pytest_flperf.results.redaction import Redactor
from pytest_flperf.wire.chunks import Answer, error_text, load_json, repair_text
from pytest_flperf.wire.exchange import Ending, Exchange
from pytest_flperf.wire.framing import Body, Head
from pytest_flperf.wire.sample import Evidence, Outcome

__all__ = ["body_head", "http_outcome", "is_context_error", "transport_outcome"]

BODY_HEAD_BYTES: Final = 2_048

_CONTEXT: Final = re.compile(
    r"context[_ -]?(length|size|window)|exceed\w*[ \w']{0,40}context|context_length_exceeded|maximum context"
    r"|prompt is too long|too many (input )?tokens|max(imum)? (sequence|input) length",
    re.IGNORECASE,
)
_MODEL: Final = re.compile(
    # a dot inside a name, as in qwen2.5, doesn't end the sentence
    r"model_not_found|(unknown|no such|invalid|unsupported) model"
    r"|model\b(?:[^.]|\.(?!\s)){0,160}?(?:\b(?:not|never)|n['’]t)\b[^.]{0,20}?"
    r"\b(found|exist|loaded|available|known|supported|registered|served)"
    r"|model\b(?:[^.]|\.(?!\s)){0,160}?\bis unknown",
    re.IGNORECASE,
)
_BY_ENDING: Final = {
    Ending.CONNECT_REFUSED: Outcome.CONNECT_REFUSED,
    Ending.CONNECT_TIMEOUT: Outcome.CONNECT_TIMEOUT,
    Ending.HEADERS_TIMEOUT: Outcome.HEADERS_TIMEOUT,
    Ending.FIRST_TOKEN_TIMEOUT: Outcome.FIRST_TOKEN_TIMEOUT,
    Ending.STALL_TIMEOUT: Outcome.STALL_TIMEOUT,
    Ending.TOTAL_TIMEOUT: Outcome.TOTAL_TIMEOUT,
    Ending.CANCELLED: Outcome.CANCELLED,
    Ending.ANSWER_TOO_LARGE: Outcome.ANSWER_TOO_LARGE,
    Ending.CLIENT_LIMIT: Outcome.CLIENT_LIMIT,
}


def is_context_error(text: str) -> bool:
    """Whether a server's words say that the prompt was too long for the model."""
    return _CONTEXT.search(text[:4_000]) is not None


def body_head(payload: bytes) -> str:
    """The first 2 kB of a body as text that any file can hold, without anything that looks like a key."""
    return Redactor().text(payload[:BODY_HEAD_BYTES].decode("utf-8", "replace"))


def transport_outcome(exchange: Exchange) -> Outcome | None:
    """The outcome where the transport alone decides it; None where the answer has to be read."""
    decided = _BY_ENDING.get(exchange.ending)
    if decided is None and exchange.left_out_bytes:
        return Outcome.ANSWER_TOO_LARGE  # it may have come whole, but what is left of it can't show that
    return decided


def http_outcome(head: Head, payload: bytes) -> tuple[Outcome, str]:
    """The outcome of an answer with a status other than 200, and what it said."""
    words = _words_of(payload)
    status = head.status
    detail = f"HTTP {status}" + (f": {words}" if words else "")
    if status == 429:
        return Outcome.RATE_LIMITED, detail
    if status < 400:
        return Outcome.MALFORMED_STREAM, f"{detail} where 200 was expected; redirects are not followed"
    if is_context_error(words):
        return Outcome.CONTEXT_EXCEEDED, detail
    if _MODEL.search(words[:4_000]):
        return Outcome.MODEL_NOT_FOUND, detail
    return (Outcome.HTTP_5XX if status >= 500 else Outcome.HTTP_4XX), detail


def _words_of(payload: bytes) -> str:
    try:
        document = load_json(payload)
    except ValueError:
        return " ".join(body_head(payload).split())[:500]
    if isinstance(document, dict):
        for name in ("error", "detail", "message"):
            if document.get(name):
                return error_text(document[name])[:500]
    return " ".join(body_head(payload).split())[:500]


def stream_outcome(
    exchange: Exchange, body: Body, answer: Answer, malformed: str, stray: bytes, *, done: bool
) -> tuple[Outcome, str]:
    """The outcome of a 200 answer that was read, and why."""
    if answer.error is not None:
        kind = Outcome.CONTEXT_EXCEEDED if is_context_error(answer.error) else Outcome.ERROR_IN_STREAM
        return kind, f"error inside a 200 answer: {answer.error}"
    if answer.finish_reason == "error":
        return Outcome.ERROR_IN_STREAM, "finish_reason is 'error'"
    if malformed or body.problem or exchange.ending is Ending.MALFORMED:
        return Outcome.MALFORMED_STREAM, malformed or body.problem or exchange.detail
    whole = exchange.ending is Ending.COMPLETE or (done and answer.finish_reason is not None)
    if not whole:
        return Outcome.CONNECTION_LOST, exchange.detail or "the connection ended in the middle of the answer"
    if answer.finish_reason is None and (stray or not answer.successful):
        return _unfinished(body, answer, stray, done=done)
    if not (answer.output or answer.reasoning or answer.called):
        return Outcome.LENGTH_ZERO, f"finish_reason {answer.finish_reason!r} without any text"
    return Outcome.OK, ""


def _unfinished(body: Body, answer: Answer, stray: bytes, *, done: bool) -> tuple[Outcome, str]:
    if stray:
        words = " ".join(repair_text(stray.decode("utf-8", "replace")).split())[:300]
        kind = Outcome.ERROR_IN_STREAM if b"error" in stray.lower() else Outcome.MALFORMED_STREAM
        return kind, f"text that is no event inside a 200 answer: {words}"
    if not body.payload:
        return Outcome.TRUNCATED, "a 200 answer with an empty body"
    if not answer.choices_seen and not done:
        return Outcome.MALFORMED_STREAM, "a 200 answer without a single choice in it"
    end = "[DONE]" if done else "a clean end of the body"
    return Outcome.TRUNCATED, f"no finish_reason before {end}"


def evidence_of(head: Head | None, payload: bytes, detail: str) -> Evidence:
    """Evidence from a head, a payload and words."""
    words = Redactor().text(repair_text(detail)[:1_000])
    return Evidence(head.status if head else None, words, body_head(payload))
