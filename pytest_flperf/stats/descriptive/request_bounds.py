"""Bounds of a request's metrics that have no value."""

from __future__ import annotations

from typing import Final

from pytest_flperf.wire.sample import Sample

__all__ = ["OF_GAPS", "lacks_by_nature", "worst_of"]

_NS_PER_MS: Final = 1e6
_OF_STREAMS: Final = frozenset({"ttft_ms", "ttfat_ms", "ttft_sent_ms", "prompt_tps", "tpot_ms", "gen_tps"})
OF_GAPS: Final = frozenset({"tpot_ms", "gen_tps"})
"""Counted from the first token on."""
_OF_OPEN_LOOPS: Final = frozenset({"ttft_sent_ms", "e2e_sent_ms"})


def lacks_by_nature(sample: Sample, metric: str) -> bool:
    """Whether a request that ended ok lacks a metric by nature.

    It has none, however well it is measured.

    A used connection has no time to connect, a single token no time per token, an answer that was not streamed no first
    token, a closed loop no due times, and a server that doesn't tell its own times has none.
    """
    if metric == "connect_ms":
        return sample.connect_ns is None
    if metric.startswith("server_"):
        return True  # null says that it told none
    if metric in _OF_OPEN_LOOPS and sample.due_ns is None:
        return True
    if metric in _OF_STREAMS and not sample.stream:
        return True
    if metric in OF_GAPS:
        tokens = sample.visible_tokens
        return tokens is not None and tokens < 2
    if metric == "ttfat_ms":  # thinking that never came to an answer is none to wait for
        return sample.first_answer_token_ns is None and not sample.reasoning_text
    return False


def worst_of(sample: Sample, metric: str) -> float | None:
    """Upper bound of a time, or lower bound of a speed.

    For a request whose time could not be told; None where there is no bound either.

    - Late read: the first token came when it was read, at the latest.
    - ``clock_step``: all of the answer had come when the load process was done with it, by its own clock.
    """
    if metric == "connect_ms":
        return None if sample.connect_ns is None else sample.connect_ns / _NS_PER_MS
    sent_ns = sample.sent_ns
    if sent_ns is None:
        return None
    since_ns = sent_ns if sample.due_ns is None or metric in _OF_OPEN_LOOPS else sample.due_ns
    first_ns, answer_ns, last_ns = sample.first_token_ns, sample.first_answer_token_ns, sample.last_token_ns
    if sample.clock_step:
        last_ns = sample.finished_ns
        first_ns, answer_ns = (None if at is None else last_ns for at in (first_ns, answer_ns))
    ends = {
        "ttft_ms": first_ns,
        "ttft_sent_ms": first_ns,
        "ttfat_ms": answer_ns,
        "e2e_ms": last_ns,
        "e2e_sent_ms": last_ns,
    }
    if metric in ends:
        return _ms(since_ns, ends[metric])
    return _worst_of_tokens(sample, metric, _ms(sent_ns, first_ns), _ms(sent_ns, last_ns))


def _worst_of_tokens(sample: Sample, metric: str, first_ms: float | None, last_ms: float | None) -> float | None:
    """The same for time per token and tokens per second."""
    if metric == "prompt_tps":
        return _per_second(sample.prompt_tokens, first_ms)
    if metric == "tps":
        return _per_second(sample.output_tokens, last_ms)
    tokens = sample.visible_tokens
    if metric not in OF_GAPS or tokens is None or tokens < 2 or last_ms is None:
        return None
    return last_ms / (tokens - 1) if metric == "tpot_ms" else _per_second(tokens - 1, last_ms)


def _ms(since_ns: int, until_ns: int | None) -> float | None:
    return None if until_ns is None else (until_ns - since_ns) / _NS_PER_MS


def _per_second(count: int | None, span_ms: float | None) -> float | None:
    return None if count is None or span_ms is None or span_ms <= 0 else count * 1000 / span_ms
