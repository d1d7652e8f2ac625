"""Outcome classification: how a request ended, with evidence."""

from __future__ import annotations

from typing import Final

from pytest_flperf._text import harmless
from pytest_flperf.results.redaction import Redactor
from pytest_flperf.wire.chunks import Answer
from pytest_flperf.wire.error_kinds import kind_of
from pytest_flperf.wire.error_signs import announces_error
from pytest_flperf.wire.errors import ServerError, clip, error_of_text
from pytest_flperf.wire.exchange import Ending, Exchange
from pytest_flperf.wire.finish import Finish
from pytest_flperf.wire.framing import Body, Head
from pytest_flperf.wire.sample import Evidence, Outcome
from pytest_flperf.wire.surrogates import repair_text
from pytest_flperf.wire.unexpected_bodies import (
    error_in_body,
    error_of_body,
    foreign_answer,
    foreign_bytes,
    redirect_words,
)

__all__ = [
    "AFTER_ERROR",
    "body_excerpt",
    "error_outcome",
    "evidence_of",
    "foreign_outcome",
    "http_outcome",
    "stream_outcome",
    "transport_outcome",
]

BODY_BYTES: Final = 2_048
_HEAD: Final = 640
_GAP: Final = " … "
_WINDOW: Final = 8_192
_DETAIL: Final = 1_000
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
AFTER_ERROR: Final = frozenset(
    {Outcome.FIRST_TOKEN_TIMEOUT, Outcome.STALL_TIMEOUT, Outcome.TOTAL_TIMEOUT, Outcome.ANSWER_TOO_LARGE}
)
"""What may follow from an error that the server sent before: the error is the outcome."""


def body_excerpt(payload: bytes) -> str:
    """Excerpt of a body in at most 2 kB.

    Of a longer body the first 0.6 and the last 1.4 kB: its last words are at the end.

    Text that any file can hold, without anything that looks like a key.
    """
    if len(payload) <= BODY_BYTES:
        return Redactor().text(payload.decode("utf-8", "replace"))
    first = Redactor().text(payload[:BODY_BYTES].decode("utf-8", "replace"))
    # More than is kept is looked through, so that no key stands half in it.
    last = Redactor().text(payload[-_WINDOW:].decode("utf-8", "replace"))
    room = BODY_BYTES - _HEAD - len(_GAP)
    tail = clip(last, room * 5 // 2).rpartition(_GAP)[2] if len(last) > room else last
    head = clip(first, _HEAD * 5 // 3).partition(_GAP)[0]
    return f"{head[:_HEAD]}{_GAP}{tail[-room:]}"


def transport_outcome(exchange: Exchange) -> Outcome | None:
    """Outcome decided by the transport alone.

    None where the answer has to be read.
    """
    decided = _BY_ENDING.get(exchange.ending)
    if decided is None and exchange.left_out_bytes:
        return Outcome.ANSWER_TOO_LARGE  # it may have come whole, but what is left of it can't show that
    return decided


def http_outcome(head: Head, payload: bytes) -> tuple[Outcome, str]:
    """Outcome and error of an answer without a success status."""
    error = error_of_body(payload)
    status = head.status
    words = clip(error.words, 500)
    detail = f"HTTP {status}" + (f": {words}" if words else "")
    if status == 429:
        return Outcome.RATE_LIMITED, detail
    if status < 400:
        advice = f"; {redirect_words(head)}" if status >= 300 else ""
        return Outcome.MALFORMED_STREAM, f"HTTP {status} where 200 was expected{advice}"
    kind = kind_of(error, status)
    return kind or (Outcome.HTTP_5XX if status >= 500 else Outcome.HTTP_4XX), detail


def error_outcome(error: ServerError, *, status: int | None, hint: str = "") -> tuple[Outcome, str]:
    """Outcome of an error inside an answer with a success status."""
    return kind_of(error) or Outcome.ERROR_IN_STREAM, f"error inside a {status} answer: {error.words}{hint}"


def foreign_outcome(raw: bytes, problem: str) -> tuple[Outcome, str]:
    """Outcome of bytes without an HTTP/1.x response head."""
    named = foreign_bytes(raw)
    return Outcome.MALFORMED_STREAM, f"{named} ({problem})" if named else problem


def stream_outcome(
    exchange: Exchange, head: Head, body: Body, answer: Answer, malformed: str, stray: bytes, *, done: bool
) -> tuple[Outcome, str]:
    """Outcome of a decoded 2xx answer, and the reason."""
    error = answer.error or _stray_error(stray) or (None if answer.finish.is_whole else answer.doubt)
    if error is not None:
        return error_outcome(error, status=head.status)
    if malformed or body.problem or exchange.ending is Ending.MALFORMED:
        if malformed and not answer.choices_seen and not body.problem:
            return _foreign(head, body.payload, malformed)
        return Outcome.MALFORMED_STREAM, malformed or body.problem or exchange.detail
    finish = answer.finish
    if exchange.ending is not Ending.COMPLETE and not (done and finish.is_whole):
        return Outcome.CONNECTION_LOST, exchange.detail or "the connection ended in the middle of the answer"
    if finish.is_open and (stray or not answer.successful):
        return _unfinished(head, body, answer, stray, done=done)
    if not finish.is_open and not finish.is_whole:
        return _not_whole(finish)
    return _whole(answer)


def evidence_of(head: Head | None, payload: bytes, detail: str) -> Evidence:
    """Evidence from a head, a payload and words."""
    words = Redactor().text(repair_text(detail))
    return Evidence(head.status if head else None, clip(words, _DETAIL), body_excerpt(payload))


def _stray_error(stray: bytes) -> ServerError | None:
    """Error in lines that are no SSE fields.

    Of a proxy (``proxy error: …``), or of older llama.cpp.
    """
    text = stray.decode("utf-8", "replace")
    return error_of_text(text) if stray and announces_error(text) else None


def _whole(answer: Answer) -> tuple[Outcome, str]:
    finish = answer.finish
    if not (answer.output or answer.reasoning or answer.called):
        empty = f"finish_reason '{_shown(finish.reason)}' without any text"
        return (Outcome.CONTEXT_EXCEEDED if finish.is_context_full else Outcome.LENGTH_ZERO), empty
    return Outcome.OK, ""


def _not_whole(finish: Finish) -> tuple[Outcome, str]:
    reason = _shown(finish.reason)
    if finish.followed:
        return Outcome.TRUNCATED, f"text came after finish_reason '{reason}', and no finish_reason after it"
    kind = kind_of(error_of_text(finish.words)) if finish.words else None
    words = f": {finish.words}" if finish.words else ""
    return kind or Outcome.TRUNCATED, f"finish_reason '{reason}' doesn't say that the answer is whole{words}"


def _unfinished(head: Head, body: Body, answer: Answer, stray: bytes, *, done: bool) -> tuple[Outcome, str]:
    if not body.payload:
        if head.status in (204, 205):
            return Outcome.MALFORMED_STREAM, f"HTTP {head.status}, which has no body"
        return Outcome.TRUNCATED, f"a {head.status} answer with an empty body"
    if stray:
        found = f"text that is not an event inside a {head.status} answer: {_flat(stray)}"
        return (Outcome.MALFORMED_STREAM, found) if answer.choices_seen else _foreign(head, body.payload, found)
    if not answer.choices_seen and not done:
        return _foreign(head, body.payload, f"a {head.status} answer without any choice in it")
    end = "[DONE]" if done else "a clean end of the body"
    if answer.finish.reason is not None:
        return (
            Outcome.TRUNCATED,
            f"finish_reason '{_shown(answer.finish.reason)}', which means that the answer goes on, before {end}",
        )
    return Outcome.TRUNCATED, f"no finish_reason before {end}"


def _foreign(head: Head, payload: bytes, found: str) -> tuple[Outcome, str]:
    """Outcome of a body without a choice.

    An error that it tells of is the server's own word.
    """
    named = foreign_answer(head, payload)
    error = error_in_body(payload)
    if error is not None:
        return error_outcome(error, status=head.status, hint=f" ({named})" if named else "")
    return Outcome.MALFORMED_STREAM, f"{named} ({found})" if named else found


def _shown(reason: str | None) -> str:
    return harmless(reason or "")


def _flat(stray: bytes) -> str:
    return " ".join(repair_text(stray.decode("utf-8", "replace")).split())[:300]
