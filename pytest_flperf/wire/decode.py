"""Decoding: from an exchange's raw bytes to a sample.

Pure, outside the measured part, and it never raises.
"""

from __future__ import annotations

import contextlib
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from itertools import accumulate, islice
from typing import Final, TypeAlias

from pytest_flperf.wire.arrivals import Arrivals, first_read_window_ns, sharing
from pytest_flperf.wire.chunks import ANSWER, CONTENT, REASONING, Answer, load_json
from pytest_flperf.wire.error_signs import announces_error, is_error_name
from pytest_flperf.wire.errors import error_of_text, read_error
from pytest_flperf.wire.exchange import Ending, Exchange
from pytest_flperf.wire.framing import Body, Head, MalformedAnswerError, parse_head, unframe
from pytest_flperf.wire.outcome import (
    AFTER_ERROR,
    error_outcome,
    evidence_of,
    foreign_outcome,
    http_outcome,
    stream_outcome,
    transport_outcome,
)
from pytest_flperf.wire.reasoning_tags import split_reasoning
from pytest_flperf.wire.sample import Evidence, Outcome, Sample
from pytest_flperf.wire.sse import Event, Events, is_end
from pytest_flperf.wire.surrogates import repair_text
from pytest_flperf.wire.tool_calls import ToolCall
from pytest_flperf.wire.usage import TokenCounts

__all__ = ["CLOCK_STEP_NS", "Decoder", "decode"]

Decoder: TypeAlias = Callable[[Exchange], Sample]
"""Makes a sample of an exchange, as :func:`decode` does."""

CLOCK_STEP_NS: Final = 1_000_000
_BLANK: Final = re.compile(rb"(?:\xef\xbb\xbf)?(?:[ \t\r\n]|:[^\r\n]*[\r\n])*")
"""What may come before an answer: some servers keep a connection alive with blanks, or with comments of events."""
_ALIVE: Final = re.compile(rb"(?:ping|pong|keep[-_ ]?alive|heart[-_ ]?beat)s?", re.IGNORECASE)
"""What is no answer where JSON was expected, as an event's name or all of its data."""
_DENSE: Final = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\u0e00-\u0e7f]")
"""Characters of scripts that put no blanks between words."""
_KEPT: Final = 262_144
"""Characters of an answer, and of its reasoning, that are kept."""
_BEHIND: Final = 8
"""Events that are looked at behind the end."""


@dataclass(slots=True)
class _Reading:
    """State of reading an answer."""

    answer: Answer = field(default_factory=Answer)
    chunk_ns: list[int] = field(default_factory=list)
    contents: list[int] = field(default_factory=list)
    """Pieces of content by the end of each of these chunks."""
    first_content_ns: int | None = None
    first_other_ns: int | None = None
    """Of what is an answer and no content: a tool call."""
    thoughts: int = 0
    """Chunks with nothing but reasoning, in a field of its own."""
    first_part: int | None = None
    together: int = 0
    """Chunks with text in the same part of the body as the first."""
    done: bool = False
    malformed: str = ""
    stray: bytes = b""
    streamed: bool = False


def decode(exchange: Exchange) -> Sample:
    """Decode an exchange into a sample with exactly one outcome.

    Whatever the server sent.
    """
    head, problem = _head_of(exchange.raw)
    body = unframe(exchange.raw, head) if head else None
    arrivals = Arrivals(exchange, body)
    payload = body.payload if body else b""
    reading = _Reading()
    if head is not None and body is not None and head.successful:
        reading = _read(exchange, head, body, arrivals)
    outcome, detail = _outcome_of(exchange, head, body, reading, problem)
    evidence = None if outcome is Outcome.OK else evidence_of(head, payload if head else exchange.raw, detail)
    return _sample(exchange, head, arrivals, reading, outcome, evidence)


def _head_of(raw: bytes) -> tuple[Head | None, str]:
    if not raw:
        return None, ""
    try:
        return parse_head(raw), ""
    except MalformedAnswerError as error:
        return None, str(error)


def _read(exchange: Exchange, head: Head, body: Body, arrivals: Arrivals) -> _Reading:
    reading = _Reading()
    coding = head.headers.get("content-encoding", "identity").lower()
    if coding not in ("identity", ""):
        reading.malformed = f"Content-Encoding is {coding[:40]!r} although only identity was accepted"
        return reading
    blank = _BLANK.match(body.payload)
    position = blank.end() if blank is not None else 0
    start = body.payload[position : position + 64]
    if start.startswith((b"{", b"[")) or (start and not exchange.stream and not _looks_like_events(start)):
        _read_document(body.payload[position:], reading, complete=body.complete)
    else:
        reading.streamed = True
        _read_events(Events(body.payload), exchange, reading, arrivals)
    return reading


def _looks_like_events(start: bytes) -> bool:
    return start.startswith((b"data:", b"event:", b"id:", b"retry:", b":"))


def _read_document(payload: bytes, reading: _Reading, *, complete: bool) -> None:
    try:
        document = load_json(payload)
    except ValueError as error:
        if complete:
            reading.malformed = f"the body is not JSON: {error}"
        return
    reading.answer.take(document)


def _read_events(events: Events, exchange: Exchange, reading: _Reading, arrivals: Arrivals) -> None:
    remaining = iter(events)
    for event in remaining:
        _read_event(event, reading, arrivals)
        if reading.done:
            break
    reading.stray = events.stray
    if reading.done:
        _read_usage(remaining, reading)
    elif events.unfinished is not None:
        # Some servers forget the last blank line; a cut connection leaves half an event, which is no fault of form.
        before = reading.malformed
        _read_event(events.unfinished, reading, arrivals)
        if exchange.ending.value != "complete":
            reading.malformed = before


def _read_usage(events: Iterable[Event], reading: _Reading) -> None:
    """Read late usage counts after the end of an answer.

    Nothing else belongs to an answer there; some servers send the counts late.
    """
    for event in islice(events, _BEHIND):
        if b'"usage"' in event.data:
            with contextlib.suppress(ValueError):
                document = load_json(event.data)
                if isinstance(document, dict):
                    reading.answer.usage.take(document.get("usage"))


def _read_event(event: Event, reading: _Reading, arrivals: Arrivals) -> None:
    failed = bool(event.name) and is_error_name(event.name.decode("utf-8", "replace"))
    if event.data[:1] != b"{":
        bare = event.data.strip()
        reading.done |= is_end(bare)
        alive = _ALIVE.fullmatch(bare) is not None or _ALIVE.fullmatch(event.name) is not None
        if (not bare or reading.done or alive) and not failed:
            return
    try:
        document = load_json(event.data)
    except ValueError as error:
        said = event.data.decode("utf-8", "replace")
        if failed or announces_error(said):
            reading.answer.fail(error_of_text(said))
        elif not reading.malformed:
            shown = event.data[:80].decode("utf-8", "replace")
            reading.malformed = f"an event is not JSON ({error}): {shown!r}"
        return
    if failed:
        reading.answer.fail(read_error(document))
        return
    held = reading.answer.take(document)
    arrival = arrivals.of_payload(event.end) if held else None
    if arrival is None:
        return
    reading.chunk_ns.append(arrival)
    reading.contents.append(len(reading.answer.output))
    if reading.first_part is None:
        reading.first_part = arrivals.part
    reading.together += arrivals.part == reading.first_part
    reading.thoughts += held == REASONING
    if reading.first_content_ns is None and held & CONTENT:
        reading.first_content_ns = arrival
    if reading.first_other_ns is None and held & ANSWER:
        reading.first_other_ns = arrival


@dataclass(frozen=True, slots=True)
class _Said:
    """Text of an answer, with its token counts."""

    output: str
    reasoning: str
    reasoning_bytes: int
    """Of the reasoning that came, in tags as well."""
    tagged: bool
    """Whether reasoning in tags was taken out."""
    calls: tuple[ToolCall, ...]
    words: int
    first_answer_ns: int | None
    reasoning_chunks: int | None
    """Chunks with reasoning; None where they can't be told from the others."""


def _said(reading: _Reading, *, tags: bool) -> _Said:
    answer = reading.answer
    output, reasoning, first_ns = "".join(answer.output), "".join(answer.reasoning), reading.first_content_ns
    tagged = split_reasoning(output) if "<" in output or "[" in output or "◁" in output else None
    if reasoning:
        tagged = None  # the server has taken it out: what is left are words of the answer
    thoughts: int | None = reading.thoughts
    tagged_bytes = len(tagged.reasoning.encode("utf-8", "replace")) if tagged is not None else 0
    if tagged is not None and tags:
        first_ns = None if tagged.answer_at is None else _content_ns(reading, tagged.answer_at)
        output, reasoning = tagged.answer, tagged.reasoning
        thoughts = _chunks_before(reading, tagged.answer_at)
    calls = answer.tool_calls.result()
    words = sum(map(_words, (output, reasoning, *(call.arguments for call in calls))))
    firsts = [at for at in (first_ns, reading.first_other_ns) if at is not None]
    return _Said(
        output=repair_text(output[:_KEPT]),
        reasoning=repair_text(reasoning[:_KEPT]),
        reasoning_bytes=tagged_bytes or len(reasoning.encode("utf-8", "replace")),
        tagged=tagged is not None and tags,
        calls=calls,
        words=words,
        first_answer_ns=min(firsts, default=None),
        reasoning_chunks=thoughts or None,
    )


def _words(text: str) -> int:
    """Word count of a text: a lower bound of its tokens.

    Words stand between blanks; in scripts without blanks, four characters count as one.
    """
    return len(text.split()) + (0 if text.isascii() else len(_DENSE.findall(text)) // 4)


def _content_ns(reading: _Reading, offset: int) -> int | None:
    """Arrival of the content's character ``offset``."""
    chunk = _chunk_of(reading, offset)
    return reading.chunk_ns[chunk] if chunk < len(reading.chunk_ns) else None


def _chunk_of(reading: _Reading, offset: int) -> int:
    """Index of the chunk that holds the content's character ``offset``."""
    piece = bisect_right(list(accumulate(map(len, reading.answer.output))), offset)
    return bisect_right(reading.contents, piece)


def _chunks_before(reading: _Reading, answer_at: int | None) -> int:
    """Chunks of tagged reasoning: those before the answer's first; 0 where the answer begins first."""
    return len(reading.contents) if answer_at is None else _chunk_of(reading, answer_at)


def _counts(reading: _Reading, said: _Said) -> TokenCounts:
    return reading.answer.usage.counts(
        chunks=len(reading.chunk_ns),
        words=said.words,
        answer_text=bool(said.calls or said.output.strip()),
        reasoning_bytes=said.reasoning_bytes,
        reasoning_chunks=said.reasoning_chunks,
    )


def _outcome_of(
    exchange: Exchange, head: Head | None, body: Body | None, reading: _Reading, problem: str
) -> tuple[Outcome, str]:
    decided = transport_outcome(exchange)
    if decided is not None:
        # A server that has said its error and leaves the body open is no slow one.
        if reading.answer.error is not None and decided in AFTER_ERROR:
            return error_outcome(reading.answer.error, status=head.status if head else None)
        return decided, exchange.detail
    if problem:
        return foreign_outcome(exchange.raw, problem)
    if head is None or body is None:
        return Outcome.CONNECTION_LOST, exchange.detail or "the connection ended without an answer"
    if not head.successful:
        return http_outcome(head, body.payload)
    if reading.answer.several and reading.answer.error is None:
        return Outcome.MALFORMED_STREAM, "the answer has several choices (n); only answers with one can be measured"
    if reading.done:  # what is wrong with what came behind it is nothing of the answer
        body = replace(body, problem="")
        if exchange.ending is Ending.MALFORMED:
            exchange = replace(exchange, ending=Ending.COMPLETE)
    return stream_outcome(exchange, head, body, reading.answer, reading.malformed, reading.stray, done=reading.done)


def _sample(
    exchange: Exchange,
    head: Head | None,
    arrivals: Arrivals,
    reading: _Reading,
    outcome: Outcome,
    evidence: Evidence | None,
) -> Sample:
    chunks = tuple(reading.chunk_ns) if exchange.stream else ()
    # An HTTP chunk says its length first: what is in one was known to the server when the first token left it.
    coalesced, surplus, share = sharing(chunks, reading.together if head is not None and head.chunked else 1)
    answer, said = reading.answer, _said(reading, tags=exchange.reasoning_tags)
    counts = _counts(reading, said)
    last = exchange.read_arrival_ns[-1] if exchange.read_arrival_ns else None
    return Sample(
        index=exchange.index,
        phase=exchange.phase,
        target=exchange.target,
        stream=exchange.stream and (reading.streamed or outcome is not Outcome.OK),
        slot=exchange.slot,
        outcome=outcome,
        evidence=evidence,
        status=head.status if head else None,
        due_ns=exchange.due_ns,
        connect_ns=exchange.connect_ns,
        started_ns=exchange.started_ns,
        sent_ns=exchange.sent_ns,
        headers_ns=arrivals.of_raw(head.size - 1) if head else None,
        first_token_ns=chunks[0] if chunks else None,
        first_answer_token_ns=said.first_answer_ns if chunks else None,
        last_token_ns=chunks[-1] if chunks else None,
        end_ns=last if exchange.ending.value == "complete" else None,
        finished_ns=exchange.finished_ns,
        chunk_ns=chunks,
        coalesced_chunks=coalesced,
        first_read_surplus=surplus,
        first_arrival_share=share,
        first_read_window_ns=first_read_window_ns(exchange, chunks[0]) if chunks else None,
        output_text=said.output,
        reasoning_text=said.reasoning,
        tool_calls=said.calls,
        finish_reason=answer.finish.reason,
        output_tokens=counts.output_tokens,
        prompt_tokens=counts.prompt_tokens,
        cached_tokens=counts.cached_tokens,
        reasoning_tokens=counts.reasoning_tokens,
        tokens_source=counts.tokens_source,
        prompt_tokens_source=counts.prompt_tokens_source,
        visible_tokens=counts.visible_tokens,
        tagged=said.tagged,
        unknown_fields=tuple(answer.unknown_fields),
        server_timings=answer.usage.timings,
        model_echoed=answer.model,
        clock_source=exchange.clock_source,
        clock_step=abs(exchange.clock_moved_ns) > CLOCK_STEP_NS,
        lag_ns=exchange.read_lag_ns,
        tool_calls_left_out=answer.tool_calls.left_out,
        reasoning_tokens_source=counts.reasoning_tokens_source,
    )
