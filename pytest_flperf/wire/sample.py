"""Samples: one decoded request with text, outcome and arrival times."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

from pytest_flperf.wire.exchange import Phase
from pytest_flperf.wire.tool_calls import ToolCall

__all__ = ["TIMEOUTS", "TRANSIENT", "Evidence", "Outcome", "Sample"]


class Outcome(StrEnum):
    """Outcome of a request, one word for each."""

    OK = "ok"
    LENGTH_ZERO = "length_zero"
    CONNECT_REFUSED = "connect_refused"
    CONNECT_TIMEOUT = "connect_timeout"
    HEADERS_TIMEOUT = "headers_timeout"
    FIRST_TOKEN_TIMEOUT = "first_token_timeout"
    STALL_TIMEOUT = "stall_timeout"
    TOTAL_TIMEOUT = "total_timeout"
    HTTP_4XX = "http_4xx"
    HTTP_5XX = "http_5xx"
    RATE_LIMITED = "rate_limited"
    CONTEXT_EXCEEDED = "context_exceeded"
    MODEL_NOT_FOUND = "model_not_found"
    TRUNCATED = "truncated"
    MALFORMED_STREAM = "malformed_stream"
    ERROR_IN_STREAM = "error_in_stream"
    CONNECTION_LOST = "connection_lost"
    CANCELLED = "cancelled"
    ANSWER_TOO_LARGE = "answer_too_large"
    """Beyond the bound of one answer; what came before it was read."""
    CLIENT_LIMIT = "client_limit"
    """This machine had no descriptor, port or memory left for the request: no fault of the server's."""


TIMEOUTS: Final = frozenset(
    {
        Outcome.CONNECT_TIMEOUT,
        Outcome.HEADERS_TIMEOUT,
        Outcome.FIRST_TOKEN_TIMEOUT,
        Outcome.STALL_TIMEOUT,
        Outcome.TOTAL_TIMEOUT,
    }
)

# A 5xx is transient only as 502, 503 or 504: ask Sample.transient.
TRANSIENT: Final = TIMEOUTS | {Outcome.CONNECT_REFUSED, Outcome.RATE_LIMITED, Outcome.CONNECTION_LOST}


@dataclass(frozen=True, slots=True)
class Evidence:
    """Evidence why a request was not ``ok``."""

    status: int | None
    """HTTP status; None where no response head came."""
    detail: str
    """What was found, in words (an exception's text, the part of the stream that is missing …)."""
    body_head: str
    """The body, 2 kB at most, secrets removed; of a longer one its first 0.6 and its last 1.4 kB."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One decoded request.

    All ``_ns`` are CLOCK_MONOTONIC; None where that point was never reached.
    """

    index: int
    phase: Phase
    target: int
    stream: bool
    slot: int
    outcome: Outcome
    evidence: Evidence | None
    """None for ``ok``."""
    status: int | None
    due_ns: int | None
    connect_ns: int | None
    """Time that connecting took; None where an open connection was used again."""
    started_ns: int
    sent_ns: int | None
    headers_ns: int | None
    first_token_ns: int | None
    """First chunk with non-empty text of any kind: content, reasoning, a refusal, a tool call."""
    first_answer_token_ns: int | None
    """First chunk with text that is no reasoning: content outside of reasoning tags, a refusal, a tool call."""
    last_token_ns: int | None
    end_ns: int | None
    """Arrival of the last byte of the response body; None if it never ended."""
    finished_ns: int
    chunk_ns: tuple[int, ...]
    """Arrival of every chunk with non-empty text, in order, the first one included."""
    coalesced_chunks: int
    """How many of these chunks shared a read with another."""
    first_read_surplus: float
    """Content chunks in the first token's read beyond the median of this stream's reads with content, and beyond those
    that the server certainly sent together with the first token: in one HTTP chunk; 0 or more."""
    first_arrival_share: float
    """Share of the chunks that arrived together with the first; 0 where that came alone, 1 for a burst out of a buffer,
    which no model writes (over 20,000 chunks/s, four or more to a read)."""
    first_read_window_ns: int | None
    """From the moment the socket was last seen empty to the first token's arrival; None where it can't be known."""
    output_text: str
    """The answer without its reasoning."""
    reasoning_text: str
    """Reasoning in fields of its own or, unless that is switched off, in tags like ``<think>``."""
    tool_calls: tuple[ToolCall, ...]
    finish_reason: str | None
    output_tokens: int | None
    prompt_tokens: int | None
    cached_tokens: int | None
    reasoning_tokens: int | None
    tokens_source: str | None
    """Of ``output_tokens``: ``usage``, ``timings``, ``chunks``; None where nothing was counted."""
    prompt_tokens_source: str | None
    """``usage`` or ``timings``."""
    visible_tokens: int | None
    """Output tokens that the seen arrivals carry: without hidden reasoning, with streamed reasoning that the count
    left out; None where that can't be told, or where there are more words in the text."""
    tagged: bool
    """Whether reasoning stood in tags."""
    unknown_fields: tuple[str, ...]
    """Fields of the answer that hold text and are not known; it was not counted."""
    server_timings: dict[str, float] | None
    """The server's own numbers, if it sent any: llama.cpp's ``timings``, or Ollama's durations by the same names."""
    model_echoed: str | None
    clock_source: str
    clock_step: bool
    """Realtime moved by more than 1 ms during the request: its times are left out."""
    lag_ns: tuple[int, ...]
    """Kernel arrival to Python's read, for every read; empty with user stamps."""
    tool_calls_left_out: int = 0
    """Calls beyond the 128 that are kept."""
    reasoning_tokens_source: str | None = None
    """``usage``, or ``chunks``: estimated from the share of chunks with reasoning; None where nothing was counted."""

    @property
    def ok(self) -> bool:
        """Whether the answer is complete."""
        return self.outcome is Outcome.OK

    @property
    def transient(self) -> bool:
        """Whether a retry could help."""
        return self.outcome in TRANSIENT or self.status in (502, 503, 504)

    def to_record(self) -> dict[str, Any]:
        """Record for ``samples.jsonl``: builtins only."""
        record: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        record["phase"] = self.phase.value
        record["outcome"] = self.outcome.value
        record["chunk_ns"] = list(self.chunk_ns)
        record["lag_ns"] = list(self.lag_ns)
        record["tool_calls"] = [asdict(call) for call in self.tool_calls]
        record["unknown_fields"] = list(self.unknown_fields)
        if self.evidence is not None:
            record["evidence"] = {name: getattr(self.evidence, name) for name in Evidence.__slots__}
        return record
