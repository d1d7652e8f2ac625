"""What is true of the requests that a client measured: from the reference server's log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from pytest_flperf.reference_server import LogEntry
from pytest_flperf.stats.descriptive.summary import quantile


@dataclass(frozen=True, slots=True)
class Said:
    """What a client says of one run; times in ms, None where it says nothing."""

    n: int
    """Requests that ended well and are in its figures."""
    failed: int
    ttft_p50: float | None
    ttft_p99: float | None
    itl_p99: float | None
    """Of what the client itself calls inter-token latency."""
    tpot_p50: float | None
    """Of the client's figure per token."""
    ttfat_p50: float | None = None
    """To the first token of the answer, where the client tells it from that of the reasoning."""
    gap_p99: float | None = None
    """Of the gaps between chunks, where the client has them beside what it calls inter-token latency."""
    late_reads: int = 0
    """Requests that the client left out of its TTFT because it read them late."""
    coalesced_pct: float = 0.0
    """Chunks that came in one read with others: one arrival, and no gap between them."""
    ids: frozenset[str] = frozenset()
    """Of the measured requests or of their answers; empty: the client doesn't tell."""


@dataclass(frozen=True, slots=True)
class Truth:
    """The same figures from the server's log; times in ms."""

    n: int
    ttft_p50: float
    ttft_p99: float
    ttfat_p50: float
    """To the first token of the answer, after the reasoning."""
    itl_p99: float
    """Of the gaps between successive chunks with text, those of all requests together."""
    tpot_p50: float
    """Of (last chunk − first chunk) / (tokens − 1) of each request."""
    tokens: int
    start_ns: int
    """Arrival of the first request."""
    end_ns: int
    """Send of the last chunk with text."""


def measured(log: Sequence[LogEntry], said: Said) -> list[LogEntry]:
    """The log's entries of what a client measured: by their ids, or else the last ones, as warm-ups come first."""
    whole = [entry for entry in log if entry.stream and entry.ended == "complete" and entry.text_ns]
    if said.ids:
        return [entry for entry in whole if entry.id in said.ids or entry.request_id in said.ids]
    return whole[max(len(whole) - said.n, 0) :]


def truth(entries: Sequence[LogEntry], tokens_per_chunk: int) -> Truth | None:
    """The figures; None: there is no request."""
    if not entries:
        return None
    ttft = sorted((entry.text_ns[0] - entry.last_byte_ns) / 1e6 for entry in entries)
    gaps = sorted((late - early) / 1e6 for entry in entries for early, late in pairwise(entry.text_ns))
    tokens = [len(entry.text_ns) * tokens_per_chunk for entry in entries]
    tpot = sorted(
        (entry.text_ns[-1] - entry.text_ns[0]) / (many - 1) / 1e6
        for entry, many in zip(entries, tokens, strict=True)
        if many > 1
    )
    return Truth(
        len(entries),
        quantile(ttft, 0.5),
        quantile(ttft, 0.99),
        quantile(sorted(_first_answer_ms(entry) for entry in entries), 0.5),
        quantile(gaps, 0.99),
        quantile(tpot, 0.5),
        sum(tokens),
        min(entry.last_byte_ns for entry in entries),
        max(entry.text_ns[-1] for entry in entries),
    )


def _first_answer_ms(entry: LogEntry) -> float:
    """Of an answer that is all reasoning: its first token."""
    sends = zip(entry.sent_ns, entry.kinds, strict=True)
    first_ns = next((sent_ns for sent_ns, kinds in sends if "text" in kinds.split("+")), entry.text_ns[0])
    return (first_ns - entry.last_byte_ns) / 1e6
