"""Metrics of one request, as ``measuring.md`` defines them.

They follow the definitions word for word; what is not known is None.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import sub
from typing import Final

from pytest_flperf.results.cost import Price
from pytest_flperf.stats.descriptive.costs import cost_of
from pytest_flperf.wire.sample import Sample

__all__ = ["MOSTLY_AT_ONCE", "arrival_gaps_ns", "is_late_read", "request_metrics", "tpot_ms", "ttft_ms"]

MOSTLY_AT_ONCE: Final = 0.5
"""Share of the chunks that arrived with the first, from which on the time behind it is not that of the tokens."""
_NS_PER_MS = 1e6
_NS_PER_S = 1e9


def ttft_ms(sample: Sample) -> float | None:
    """TTFT in ms: first_token − sent, late read or not.

    None for a request that didn't stream or never got so far.
    """
    return _span(sample.sent_ns, sample.first_token_ns) if sample.stream else None


def tpot_ms(sample: Sample) -> float | None:
    """TPOT in ms: (last_token − first_token) / (visible_tokens − 1).

    None without streaming, for fewer than 2 visible tokens, where it isn't known how many there were, and where half
    of the text or more came at once: tokens and time must be of the same tokens.
    """
    if sample.first_arrival_share >= MOSTLY_AT_ONCE:
        return None
    return _ms_per_token(sample, sample.visible_tokens)


def _ms_per_token(sample: Sample, tokens: int | None) -> float | None:
    """Time per token after the first, in ms."""
    if not sample.stream or tokens is None or tokens < 2:
        return None
    span = _span(sample.first_token_ns, sample.last_token_ns)
    return span / (tokens - 1) if span else None


def is_late_read(sample: Sample) -> bool:
    """Whether the TTFT is an upper bound only.

    The first token's read held more content chunks than this stream's reads usually do: the doubt is that surplus
    × the request's ``tpot_ms``, and it counts where it is over 1 ms and over 1 % of the TTFT.  It is never more than
    the time since the socket was last seen empty: a server that sends several tokens at once is not a late client.
    """
    if sample.first_read_surplus <= 0:  # nearly all of them
        return False
    # As far as the time of a token can be told: a late read is what makes it too uncertain for a metric.
    tokens = sample.output_tokens if sample.visible_tokens is None else sample.visible_tokens
    ttft, per_token = ttft_ms(sample), _ms_per_token(sample, tokens)
    if ttft is None or per_token is None:
        return False
    doubt = sample.first_read_surplus * per_token
    if sample.first_read_window_ns is not None:
        doubt = min(doubt, sample.first_read_window_ns / _NS_PER_MS)
    return doubt > 1.0 and doubt > 0.01 * ttft


def arrival_gaps_ns(sample: Sample) -> list[int]:
    """Gaps between successive content arrivals, in ns.

    n distinct arrivals give n − 1 gaps.

    Chunks that shared a read share one arrival, so there is no gap between them, not a gap of zero; nor are there gaps
    in what came out of a buffer.
    """
    stamps = sample.chunk_ns
    if not sample.stream or sample.first_arrival_share == 1:
        return []
    gaps = list(map(sub, stamps[1:], stamps))
    return gaps if gaps and min(gaps) > 0 else [gap for gap in gaps if gap > 0]


def request_metrics(sample: Sample, price: Price | None = None) -> dict[str, float | None]:
    """Metrics of one request by name; None where not known.

    All per-request metrics but ``itl_ms``, which is pooled.

    The caller decides which requests count: a failed request is in no latency statistic.  Without a ``price`` there is
    no ``request_cost``.

    - ``clock_step``: all times are None, token counts and the server's own figures stay.
    - Late read: ``ttft_ms``, ``ttfat_ms`` and what follows from them (``prompt_tps``) are None.
    - Open loop: times count from when the request was due; those from when it was sent stand beside them.
    - Not streaming: ``ttft_ms``, ``ttfat_ms``, ``tpot_ms`` and what follows from them are None; ``e2e_ms`` and
      ``tps`` end with the body, for its end is when the last token came.
    """
    values: dict[str, float | None] = {
        "ttft_ms": None,
        "ttfat_ms": None,
        "tpot_ms": None,
        "gen_tps": None,
        "tps": None,
        "prompt_tps": None,
        "server_prompt_tps": None,
        "server_prompt_ms": None,
        "server_tpot_ms": None,
        "e2e_ms": None,
        "output_tokens": sample.output_tokens,
        "prompt_tokens": sample.prompt_tokens,
        "cached_tokens": sample.cached_tokens,
        "reasoning_tokens": sample.reasoning_tokens,
        "answer_tokens": _answer_tokens(sample),
        "request_cost": cost_of(sample, price),
        "connect_ms": None,
        "dispatch_delay_ms": None,
        "ttft_sent_ms": None,
        "e2e_sent_ms": None,
    }
    if sample.server_timings is not None:
        values.update(_server_metrics(sample.server_timings))
    if sample.clock_step:
        return values
    is_open, begin_ns = sample.due_ns is not None, sample.sent_ns if sample.due_ns is None else sample.due_ns
    if sample.connect_ns is not None:
        values["connect_ms"] = sample.connect_ns / _NS_PER_MS
    last_ns = sample.last_token_ns if sample.stream else sample.end_ns
    e2e_sent = _span(sample.sent_ns, last_ns)
    values["e2e_ms"] = _span(begin_ns, last_ns) if is_open else e2e_sent
    values["tps"] = _rate(sample.output_tokens, e2e_sent)
    if is_open:
        values["dispatch_delay_ms"] = _span(sample.due_ns, sample.sent_ns)
        values["e2e_sent_ms"] = e2e_sent
    if not sample.stream:
        return values
    if not is_late_read(sample):
        ttft = ttft_ms(sample)
        values["ttft_ms"] = _span(begin_ns, sample.first_token_ns) if is_open else ttft
        values["ttfat_ms"] = _span(begin_ns, sample.first_answer_token_ns)
        values["ttft_sent_ms"] = ttft if is_open else None
        values["prompt_tps"] = _rate(sample.prompt_tokens, ttft)
    tpot = tpot_ms(sample)
    values["tpot_ms"] = tpot
    values["gen_tps"] = None if tpot is None else 1000 / tpot
    return values


def _answer_tokens(sample: Sample) -> int | None:
    """Output tokens without reasoning; None where reasoning came and its tokens are unknown."""
    output, reasoning = sample.output_tokens, sample.reasoning_tokens
    if output is None or (reasoning is None and sample.reasoning_text):
        return None
    return max(output - (reasoning or 0), 0)


def _span(start_ns: int | None, stop_ns: int | None) -> float | None:
    return None if start_ns is None or stop_ns is None else (stop_ns - start_ns) / _NS_PER_MS


def _rate(count: float | None, span_ms: float | None) -> float | None:
    return None if count is None or span_ms is None or span_ms <= 0 else count * 1000 / span_ms


def _server_metrics(timings: Mapping[str, float]) -> dict[str, float | None]:
    """The server's own timings as metrics.

    Its clock for the answer starts with the first token, as ours does.
    """
    prompt_ms, answer_ms = timings.get("prompt_ms", 0.0), timings.get("predicted_ms", 0.0)
    tokens = timings.get("predicted_n", 0.0)
    return {
        "server_prompt_tps": _rate(timings.get("prompt_n"), prompt_ms),
        "server_prompt_ms": prompt_ms if prompt_ms > 0 else None,
        "server_tpot_ms": answer_ms / (tokens - 1) if answer_ms > 0 and tokens >= 2 else None,
    }
