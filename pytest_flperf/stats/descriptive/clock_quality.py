"""Clock quality: source and lag, by case and by run.

By case from all reads, by run from merged cases.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate

from pytest_flperf.loadgen.turn_durations import LoopTurns
from pytest_flperf.results.records import ClockQuality, LagMs, LoopMs
from pytest_flperf.stats.descriptive.quantiles import Column
from pytest_flperf.stats.descriptive.summary import quantile

__all__ = ["clock_quality", "merge_clocks", "merge_sources", "with_turns"]

_STEPS_PER_OCTAVE = 16  # a bucket is 4.4 % wide: its middle is within 2.2 % of all it holds
_NS_PER_MS = 1e6


def merge_sources(sources: Iterable[str | None]) -> str | None:
    """Common clock source: ``kernel``, ``user`` or ``mixed``.

    ``mixed`` where they don't agree, None where there is none.
    """
    known = {source for source in sources if source is not None}
    return known.pop() if len(known) == 1 else ("mixed" if known else None)


def clock_quality(sources: Iterable[str | None], lags_ns: Iterable[float]) -> ClockQuality:
    """Clock source and lag over all reads of the measured requests.

    Args:
        sources: ``clock_source`` of each request.
        lags_ns: Kernel arrival to Python's read of every read; empty with user stamps.

    """
    source = merge_sources(sources)
    ordered = lags_ns if isinstance(lags_ns, Column) else Column(lags_ns)
    if not len(ordered):
        return ClockQuality(source=source)
    lag = LagMs(
        p50=quantile(ordered, 0.5) / _NS_PER_MS, p99=quantile(ordered, 0.99) / _NS_PER_MS, max=ordered[-1] / _NS_PER_MS
    )
    return ClockQuality(source=source, lag_ms=lag, lag_histogram=_histogram(ordered.runs()))


def with_turns(clock: ClockQuality, turns: LoopTurns) -> ClockQuality:
    """Clock of a case, with the turns of the client's loop.

    The load process's loop made these turns while the case's requests were sent.
    """
    if not turns.counts:
        return clock
    counts: Counter[int] = Counter()
    for turn_ns, count in turns.values_ns():
        counts[_bucket_of(turn_ns)] += count
    loop = LoopMs(
        turns.quantile_ns(0.5) / _NS_PER_MS, turns.quantile_ns(0.99) / _NS_PER_MS, turns.longest_ns / _NS_PER_MS
    )
    return replace(clock, loop_ms=loop, loop_histogram={str(bucket): count for bucket, count in sorted(counts.items())})


def merge_clocks(clocks: Iterable[ClockQuality]) -> ClockQuality:
    """The clock of a run from those of its cases.

    Maxima are exact; p50 and p99 come from the merged histograms and are true to 2.2 %, except that one case's own
    figures are kept as they are.  Lag and turns are None unless at least one case knows its own.
    """
    every = [clock for clock in clocks if clock.source is not None]
    lag, lag_counts = _merged([(clock.lag_ms, clock.lag_histogram) for clock in every])
    loop, loop_counts = _merged([(clock.loop_ms, clock.loop_histogram) for clock in every])
    return ClockQuality(
        source=merge_sources(clock.source for clock in every),
        lag_ms=None if lag is None else LagMs(*lag),
        lag_histogram=lag_counts,
        loop_ms=None if loop is None else LoopMs(*loop),
        loop_histogram=loop_counts,
    )


def _merged(
    each: Sequence[tuple[LagMs | LoopMs | None, Mapping[str, int]]],
) -> tuple[tuple[float, float, float] | None, Mapping[str, int]]:
    """p50, p99 and max, and the histogram, of all together."""
    known = [(figures, counts) for figures, counts in each if figures is not None]
    if len(known) == 1:
        figures, histogram = known[0]
        return (figures.p50, figures.p99, figures.max), histogram
    counts: Counter[int] = Counter()
    for _, histogram in known:
        for bucket, count in histogram.items():
            counts[int(bucket)] += count
    if not counts:
        return None, {}
    longest = max(figures.max for figures, _ in known)
    buckets = sorted(counts.items())
    p50, p99 = (min(_bucket_quantile_ms(buckets, p), longest) for p in (0.5, 0.99))
    return (p50, p99, longest), {str(bucket): count for bucket, count in buckets}


def _bucket_of(value_ns: float) -> int:
    return round(_STEPS_PER_OCTAVE * math.log2(max(value_ns, 1)))


def _histogram(runs: Iterable[Sequence[float]]) -> dict[str, int]:
    """Counts by round(16 × log2(ns)), of runs of ascending values.

    What is under 1 ns counts as 1 ns.
    """
    counts: Counter[int] = Counter()
    for ordered in runs:
        start = 0
        while start < len(ordered):
            bucket = _bucket_of(ordered[start])
            edge = 2 ** ((bucket + 0.5) / _STEPS_PER_OCTAVE)
            stop = max(bisect_left(ordered, edge, lo=start), start + 1)
            counts[bucket] += stop - start
            start = stop
    return {str(bucket): count for bucket, count in sorted(counts.items())}


def _bucket_quantile_ms(buckets: Sequence[tuple[int, int]], p: float) -> float:
    rank = math.ceil(p * sum(count for _, count in buckets))
    reached = accumulate(count for _, count in buckets)
    bucket = next(bucket for (bucket, _), seen in zip(buckets, reached, strict=True) if seen >= rank)
    return float(2 ** (bucket / _STEPS_PER_OCTAVE)) / _NS_PER_MS
