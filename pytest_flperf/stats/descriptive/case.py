"""Case results: all statistics of a case, from its samples."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from statistics import median
from typing import TypeAlias

from pytest_flperf.quality.rows import ExpectedOf
from pytest_flperf.quality.scoring import AnswerScorer, Scoring
from pytest_flperf.results.answer_quality import AnswerQuality
from pytest_flperf.results.cost import Cost
from pytest_flperf.results.metrics import REQUEST_METRICS
from pytest_flperf.results.notes import warning
from pytest_flperf.results.records import Distribution, Measured, PlannedCase, Requests
from pytest_flperf.stats.descriptive.answer_texts import AnswerTexts
from pytest_flperf.stats.descriptive.bottleneck import bottleneck
from pytest_flperf.stats.descriptive.cached_prompts import cached_prompts
from pytest_flperf.stats.descriptive.clock_quality import clock_quality
from pytest_flperf.stats.descriptive.costs import CostTally
from pytest_flperf.stats.descriptive.failed_requests import INFINITE, ZERO, with_failures, with_zeros
from pytest_flperf.stats.descriptive.failures import Failures
from pytest_flperf.stats.descriptive.offered_rate import OfferedLoad
from pytest_flperf.stats.descriptive.overlap import Overlap
from pytest_flperf.stats.descriptive.quantiles import Column
from pytest_flperf.stats.descriptive.request_metrics import arrival_gaps_ns, is_late_read, request_metrics
from pytest_flperf.stats.descriptive.request_values import RequestValues
from pytest_flperf.stats.descriptive.score_tally import ScoreTally
from pytest_flperf.stats.descriptive.server_timings import cross_check
from pytest_flperf.stats.descriptive.steady import SteadyRates
from pytest_flperf.stats.descriptive.summary import distribution
from pytest_flperf.wire.exchange import Phase
from pytest_flperf.wire.sample import TIMEOUTS, Outcome, Sample

__all__ = ["STALL_FLOOR_MS", "STALL_TIMES_MEDIAN", "IsGood", "stalls", "summarise"]


STALL_TIMES_MEDIAN = 5
STALL_FLOOR_MS = 50
IsGood: TypeAlias = Callable[[Sample, Mapping[str, float | None]], bool]
"""Whether a request that ended ok, and has these metrics, counts for goodput."""
_NS_PER_MS = 1e6
_NS_PER_S = 1e9
_STALL_FLOOR_NS = STALL_FLOOR_MS * _NS_PER_MS
# Requests that are summed up at a time: what they need is in the processor's cache then, and memory holds no more.
_BATCH = 64
# Members of an enum, looked up for every request, are worth a name on Python 3.11.
_MEASURED, _OUTSIDE, _WARMUP, _RETRY = Phase.MEASURED, Phase.OUTSIDE, Phase.WARMUP, Phase.RETRY
_OK, _CANCELLED = Outcome.OK, Outcome.CANCELLED


def stalls(gaps_ns: Sequence[int]) -> int:
    """Number of stalls among the gaps of one stream.

    A stall is over 5 × the stream's median gap and over 50 ms.
    """
    if not gaps_ns or max(gaps_ns) <= _STALL_FLOOR_NS:
        return 0
    limit = max(STALL_TIMES_MEDIAN * median(gaps_ns), _STALL_FLOOR_NS)
    return sum(gap > limit for gap in gaps_ns)


def summarise(
    samples: Iterable[Sample],
    planned: PlannedCase,
    good: IsGood | None = None,
    prompt_of: Callable[[int], str] | None = None,
    scorer: AnswerScorer | None = None,
    values: RequestValues | None = None,
    rows: ExpectedOf | None = None,
) -> Measured:
    """The result of a case, not judged yet (``gates.judge`` does that).

    Only requests of the measured phase count; the warm-up is counted and in no statistic.  Latencies and token
    counts are of requests that ended ``ok``; the error rate is of all.  Rates are of what arrived in the measured
    part, or in the steady window, whenever it was asked for.

    Args:
        samples: All decoded requests of the case, any phase, any order; read once.
        planned: From :func:`planned_result`.
        good: Whether a request counts for goodput, by its metrics; None: there is no goodput.
        prompt_of: Names the prompt of a measured request by its index; None: prompts can't be told apart.
        scorer: Scores the answers; None: one of its own, where the case expects something of them.
        values: Takes the values of single requests; None: nobody needs them.
        rows: Tells the row of a measured request; None: there are none.

    """
    as_inf = planned.settings.get("failures") == "as_inf"
    remaining = iter(samples)
    with contextlib.ExitStack() as stack:
        if scorer is None:
            scorer = stack.enter_context(Scoring()).of(planned.settings.get("expect"))
        tally = _Tally(planned, scorer, good, prompt_of, values, rows)
        while batch := list(islice(remaining, _BATCH)):
            tally.add(batch)
        tally.scores.take()
    tally.quality = tally.scores.prompts.quality()
    arrived = tally.rates.arrived()
    asked_for = planned.target.model_id if planned.target is not None else None
    metrics = tally.metrics(tally.total - tally.ok if as_inf else 0)
    prompt_source = _agreed(tally.prompt_token_sources)
    requests, clock = tally.requests(), clock_quality(tally.clock_sources, tally.lags_ns)
    processes = planned.load.processes if planned.load is not None else 1
    return Measured.of(
        planned,
        requests=requests,
        error_rate=(tally.total - tally.ok) / tally.total if tally.total else None,
        wall_s=arrived.span_s if arrived is not None else None,
        request_rate=arrived.rate(arrived.requests) if arrived is not None else None,
        goodput=arrived.rate(arrived.good) if arrived is not None and good is not None else None,
        offered_rate=tally.offered.offered_rate,
        sent_rate=tally.offered.sent_rate,
        steady_window_s=arrived.window_s if arrived is not None else None,
        tps_total=arrived.rate(arrived.tokens) if arrived is not None else None,
        finish_reasons=dict(tally.finish_reasons.most_common()),
        tokens_source=_agreed(tally.token_sources),
        prompt_tokens_source=prompt_source,
        reasoning_tokens_source=_agreed(tally.reasoning_token_sources),
        tokens_per_chunk=tally.chunked_tokens / tally.token_chunks if tally.token_chunks else None,
        coalesced_pct=100 * tally.coalesced / tally.chunks if tally.chunks else None,
        stalls=tally.stalls if tally.gap_streams else None,
        serialised=tally.overlap.serialised,
        metrics=metrics,
        prompt_scores=tally.scores.prompts.result(),
        answer_quality=tally.quality,
        tool_calls=tally.scores.calls.result(),
        cost=tally.cost(),
        not_scored=dict(scorer.not_scored.most_common()) if scorer is not None else {},
        clock=clock,
        failures=tally.failures.top(),
        notes=(
            *planned.notes,
            *tally.notes(asked_for or planned.model),
            *(arrived.notes if arrived is not None and tally.ok else ()),
            *bottleneck(requests, clock, processes),
            *cross_check(metrics),
            *cached_prompts(metrics, planned.settings, planned.target, prompt_source),
        ),
    )


class _Tally:
    """Counts of one case, fed a few samples at a time.

    So the samples themselves need not stay in memory.
    """

    def __init__(
        self,
        planned: PlannedCase,
        scorer: AnswerScorer | None,
        good: IsGood | None,
        prompt_of: Callable[[int], str] | None,
        request_values: RequestValues | None,
        rows: ExpectedOf | None,
    ) -> None:
        self.scorer = scorer
        self.request_values = request_values
        self.scores = ScoreTally(scorer, planned.settings, prompt_of, rows)
        self.rates = SteadyRates(planned.load)
        self.quality: AnswerQuality | None = None
        self.is_good = good
        self.total = self.ok = self.timeouts = self.late_reads = self.clock_steps = 0
        self.warmup = self.warmup_failed = self.outside = self.retries = self.recovered = 0
        self.offered = OfferedLoad()
        self.by_outcome: Counter[Outcome] = Counter()
        self.finish_reasons: Counter[str] = Counter()
        self.token_sources: set[str | None] = set()
        self.prompt_token_sources: set[str | None] = set()
        self.reasoning_token_sources: set[str | None] = set()
        self.price = planned.price
        self.costs = CostTally(planned.price)
        self.texts = AnswerTexts()
        self.clock_sources: set[str | None] = set()
        self.echoes: Counter[str] = Counter()
        self.failures = Failures()
        self.rows: list[dict[str, float | None]] = []
        self.values = {name: Column() for name in REQUEST_METRICS} | {"quality": self.scores.values}
        self.gaps_ns = Column()
        self.lags_ns = Column()
        self.gap_streams = self.stalls = 0
        self.chunks = self.coalesced = 0
        self.chunked_tokens = self.token_chunks = 0
        self.overlap = Overlap()

    def add(self, samples: Sequence[Sample]) -> None:
        for sample in samples:
            self._add(sample)
        if not self.overlap.full:
            self.overlap.add(samples)
        self._take_rows()
        if self.scores.full:
            self.scores.take()

    def _add(self, sample: Sample) -> None:
        phase = sample.phase
        self.costs.add(sample)
        if phase is _WARMUP:
            self.warmup += 1
            self.warmup_failed += not sample.ok
        elif phase is _RETRY:
            self.retries += 1
            self.recovered += sample.ok
        self.outside += phase is _OUTSIDE
        metrics = self._metrics_of(sample)
        is_good = self.is_good
        self.rates.add(sample, good=metrics is not None and is_good is not None and is_good(sample, metrics))
        if phase is _MEASURED:
            self._add_measured(sample, metrics)

    def _metrics_of(self, sample: Sample) -> dict[str, float | None] | None:
        """The metrics of a request that ended ok, where something needs them."""
        needed = sample.phase is _MEASURED or (sample.phase is _OUTSIDE and self.is_good is not None)
        return request_metrics(sample, self.price) if needed and sample.outcome is _OK else None

    def _add_measured(self, sample: Sample, metrics: dict[str, float | None] | None) -> None:
        outcome = sample.outcome
        self.offered.add(sample)
        self.by_outcome[outcome] += 1
        if outcome is _CANCELLED:
            return  # we did that: it says nothing of the server
        self.total += 1
        if sample.headers_ns is not None:
            self.clock_sources.add(sample.clock_source)
        if not sample.clock_step:
            self.lags_ns.extend(sample.lag_ns)
        if metrics is not None:
            self._add_ok(sample, metrics)
        else:
            self.timeouts += outcome in TIMEOUTS
            self.failures.add(sample)
            self.scores.add(sample)

    def _add_ok(self, sample: Sample, metrics: dict[str, float | None]) -> None:
        self.ok += 1
        if sample.finish_reason is not None:
            self.finish_reasons[sample.finish_reason] += 1
        if sample.model_echoed is not None:
            self.echoes[sample.model_echoed] += 1
        if sample.tokens_source is not None:
            self.token_sources.add(sample.tokens_source)
        if sample.prompt_tokens_source is not None:
            self.prompt_token_sources.add(sample.prompt_tokens_source)
        if sample.reasoning_tokens_source is not None:
            self.reasoning_token_sources.add(sample.reasoning_tokens_source)
        self.texts.add(sample)
        self.rows.append(metrics)
        if self.request_values is not None:
            self.request_values.add(sample, metrics)
        self.scores.add(sample)
        if sample.stream:
            self._add_stream(sample)
        if sample.clock_step:
            self.clock_steps += 1
        elif sample.first_read_surplus and is_late_read(sample):
            self.late_reads += 1

    def _take_rows(self) -> None:
        """Turn rows into columns, many at once: half the work."""
        if not self.rows:
            return
        columns = zip(*(row.values() for row in self.rows), strict=True)
        for name, column in zip(self.rows[0], columns, strict=True):
            self.values[name].extend([value for value in column if value is not None])
        self.rows.clear()

    def _add_stream(self, sample: Sample) -> None:
        chunks = len(sample.chunk_ns)
        self.chunks += chunks
        self.coalesced += sample.coalesced_chunks
        # Where tokens were counted as chunks, the ratio is one by construction: that is no measurement.
        if sample.visible_tokens is not None and sample.tokens_source != "chunks":
            self.chunked_tokens += sample.visible_tokens
            self.token_chunks += chunks
        gaps = [] if sample.clock_step else arrival_gaps_ns(sample)
        if gaps:
            self.gaps_ns.extend(gaps)
            self.gap_streams += 1
            if max(gaps) > _STALL_FLOOR_NS:
                self.stalls += stalls(gaps)

    def requests(self) -> Requests:
        return Requests(
            total=self.total,
            ok=self.ok,
            failed=self.total - self.ok,
            timeouts=self.timeouts,
            by_outcome={outcome.value: count for outcome, count in self.by_outcome.most_common()},
            late_reads=self.late_reads,
            clock_steps=self.clock_steps,
            outside=self.outside,
            warmup=self.warmup,
            warmup_failed=self.warmup_failed,
            retries=self.retries,
            recovered=self.recovered,
        )

    def metrics(self, failed: int) -> dict[str, Distribution]:
        """Distributions by name; ``failed``: requests that count as infinitely slow."""
        found: dict[str, Distribution] = {}
        for name in REQUEST_METRICS:
            if name == "itl_ms":
                # Gaps of one stream are no independent draws: they give no order-statistic interval, and how far a
                # percentile of theirs can be trusted goes by requests.
                summary = distribution(self.gaps_ns, scale=_NS_PER_MS, requests=self.gap_streams, independent=False)
            elif name in INFINITE:
                summary = with_failures(self.values[name], failed)
            elif name in ZERO:
                summary = with_zeros(self.values[name], failed)
            else:
                summary = distribution(self.values[name])
            if name == "quality" and summary is not None:
                summary = self._of_prompts(summary)
            if summary is not None:
                found[name] = summary
        return found

    def cost(self) -> Cost | None:
        """Cost of the case; right answers are known where each answer has a score."""
        scored = self.quality is not None and self.scorer is not None and not self.scorer.not_scored
        return self.costs.result(self.quality.right if self.quality is not None and scored else None)

    def _of_prompts(self, summary: Distribution) -> Distribution | None:
        """Quality with the mean over prompts; None where no answer has a score."""
        return None if self.quality is None else replace(summary, mean=self.quality.mean)

    def notes(self, model_id: str) -> list[str]:
        lines = [
            warning(f"model echoed as {echo!r} in {count} of {self.ok} answers, asked for {model_id!r}")
            for echo, count in self.echoes.most_common(3)
            if not _is_echo(echo, model_id)
        ]
        lines += self.texts.notes()
        called = self.scores.calls.result()
        lines += [f"tool calls: {called.words}"] if called is not None else []
        if self.warmup_failed:
            lines.append(warning(f"{self.warmup_failed} of {self.warmup} warm-up requests failed"))
        if self.scorer is not None:
            lines += [
                warning(f"{count} of {self.ok} answers not scored: {reason}")
                for reason, count in self.scorer.not_scored.most_common()
            ]
        if self.overlap.serialised:
            lines.append("serialised: the server answered overlapping requests one after the other")
        return lines


def _agreed(names: set[str | None]) -> str | None:
    return None if not names else next(iter(names)) if len(names) == 1 else "mixed"


def _is_echo(echo: str, model_id: str) -> bool:
    """Whether the echoed model name is the requested one.

    A masked character of the answer (``*``) matches any.
    """
    return len(echo) == len(model_id) and all(one in (other, "*") for one, other in zip(echo, model_id, strict=True))
