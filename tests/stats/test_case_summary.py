"""From samples to a case's result."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from pytest_flperf.loadgen.turn_durations import LoopTurns
from pytest_flperf.measurement.planned import planned_result
from pytest_flperf.results.records import CaseResult, ClockQuality, LagMs, LoopMs
from pytest_flperf.results.serving import Target
from pytest_flperf.stats.descriptive.case import stalls, summarise
from pytest_flperf.stats.descriptive.clock_quality import clock_quality, merge_clocks, with_turns
from pytest_flperf.suite.model import Case
from pytest_flperf.wire.exchange import Phase
from pytest_flperf.wire.sample import Evidence, Outcome, Sample

MS = 1_000_000
START = 10**15
Make = Callable[..., Sample]


def test_a_case_of_three(make_sample: Make, case: Case) -> None:
    """Two good requests and a failed one: rates, counts and throughput by hand."""
    samples = [
        make_sample(index=0),
        make_sample(index=1, sent_ns=START + 100 * MS),
        make_sample(
            index=2,
            sent_ns=START + 200 * MS,
            outcome=Outcome.STALL_TIMEOUT,
            chunk_ns=(START + 250 * MS,) * 4,
            finished_ns=START + 500 * MS,
            end_ns=None,
        ),
    ]
    result = summarise(
        samples, planned_result(case, host="here", target=Target("url", model_id="m"), load_s=1.5, cold_ttft_ms=70.0)
    )
    assert (result.nodeid, result.host) == ("flperf:s::chat[m-temperature=0.5]", "here")
    assert (result.parameters, result.tags) == ({"temperature": 0.5}, ("t",))
    assert result.expected_output_length == "short"
    assert result.requests.by_outcome == {"ok": 2, "stall_timeout": 1}
    requests = result.requests
    assert (requests.total, requests.ok, requests.failed, requests.timeouts) == (3, 2, 1, 1)
    assert result.error_rate == pytest.approx(1 / 3)
    assert result.wall_s == pytest.approx(0.5)
    assert result.request_rate == pytest.approx(4)
    assert result.tps_total == pytest.approx((10 + 10 + 4) / 0.5)
    assert result.metrics["ttft_ms"].n == 2
    assert result.metrics["itl_ms"].n == 18
    assert result.metrics["itl_ms"].p50 == 5.0
    assert (result.load_s, result.cold_ttft_ms) == (1.5, 70.0)
    assert result.finish_reasons == {"stop": 2}
    assert result.tokens_source == "usage"
    assert result.tokens_per_chunk == 1.0
    assert (result.coalesced_pct, result.stalls) == (0.0, 0)
    assert CaseResult.of(result).outcome == "failed", "what was not judged has not passed"
    assert result.notes == ()


def test_only_measured_requests_count(make_sample: Make, case: Case) -> None:
    """Warm-up, verifying and cold requests are in no statistic, whatever became of them."""
    samples = [make_sample(phase=phase, sent_ns=START - 10**9) for phase in (Phase.WARMUP, Phase.COLD, Phase.VERIFY)]
    samples.append(make_sample(phase=Phase.WARMUP, outcome=Outcome.CONNECTION_LOST))
    result = summarise([*samples, make_sample()], planned_result(case))
    assert (result.requests.total, result.requests.warmup, result.requests.warmup_failed) == (1, 2, 1)
    assert result.error_rate == 0.0
    assert result.wall_s == pytest.approx(0.095)
    assert result.failures == ()


def test_no_measured_request(case: Case) -> None:
    """Nothing measured gives nulls and no division by zero."""
    result = summarise([], planned_result(case))
    for name in ("error_rate", "wall_s", "request_rate", "tps_total", "tokens_per_chunk", "coalesced_pct", "stalls"):
        assert getattr(result, name) is None
    assert result.metrics == {}
    assert result.clock == ClockQuality()


def test_late_reads_and_clock_steps(make_sample: Make, case: Case) -> None:
    """Both are counted, and their times stay out of what they would spoil."""
    samples = [make_sample(), make_sample(first_read_surplus=3.0), make_sample(clock_step=True, lag_ns=(10**12,))]
    result = summarise(samples, planned_result(case))
    assert (result.requests.late_reads, result.requests.clock_steps) == (1, 1)
    assert result.metrics["ttft_ms"].n == 1
    assert result.metrics["tpot_ms"].n == 2
    assert result.metrics["output_tokens"].n == 3
    assert result.clock.lag_ms is None
    assert result.error_rate == 0.0


def test_four_tokens_a_chunk(make_sample: Make, case: Case) -> None:
    """Gaps are real gaps, TPOT is per token, and tokens_per_chunk says why they differ."""
    chunks = tuple(START + (50 + 40 * i) * MS for i in range(16))
    result = summarise([make_sample(chunk_ns=chunks, output_tokens=64)], planned_result(case))
    assert result.metrics["itl_ms"].p50 == 40.0
    assert result.metrics["tpot_ms"].p50 == pytest.approx(600 / 63)
    assert result.tokens_per_chunk == 4.0


def test_tokens_counted_as_chunks_say_nothing_of_chunks(make_sample: Make, case: Case) -> None:
    """Where chunks stand for tokens there is no ratio to report; two sources are mixed."""
    result = summarise([make_sample(tokens_source="chunks")], planned_result(case))
    assert (result.tokens_per_chunk, result.tokens_source) == (None, "chunks")
    result = summarise([make_sample(tokens_source="chunks"), make_sample()], planned_result(case))
    assert (result.tokens_per_chunk, result.tokens_source) == (1.0, "mixed")


def test_unknown_tokens_give_no_throughput(make_sample: Make, case: Case) -> None:
    """A sum with a hole in it is not reported."""
    result = summarise([make_sample(), make_sample(output_tokens=None, tokens_source=None)], planned_result(case))
    assert result.tps_total is None
    assert any("throughput" in note for note in result.notes)


def test_coalesced_share(make_sample: Make, case: Case) -> None:
    """The share of chunks that shared a read, over all streams."""
    result = summarise([make_sample(coalesced_chunks=5), make_sample()], planned_result(case))
    assert result.coalesced_pct == 25.0


@pytest.mark.parametrize(
    ("settings", "target", "counts", "said"),
    [
        ({}, Target("openai"), (53, 26, "usage"), "26 of 53 prompt tokens"),
        ({}, Target("openai"), (27, 26, "timings"), "26 of 53 prompt tokens"),
        ({}, Target("llamacpp"), (53, 26, "usage"), "26 of 53 prompt tokens"),
        ({}, Target("openai"), (53, 5, "usage"), ""),
        ({}, Target("openai"), (53, None, "usage"), ""),
        ({"prompt_cache": "reuse"}, Target("openai"), (53, 26, "usage"), ""),
        ({"turns": 3}, Target("openai"), (53, 26, "usage"), ""),
    ],
)
def test_prompts_out_of_the_cache(
    make_sample: Make, case: Case, settings: dict[str, object], target: Target,
    counts: tuple[int, int | None, str], said: str,
) -> None:  # fmt: skip
    """A warning where they should not be; with the backend to ask, unless that is the one."""
    prompt, cached, source = counts
    planned = planned_result(case, target=target)
    planned = replace(planned, settings={**planned.settings, **settings})
    samples = [make_sample(prompt_tokens=prompt, cached_tokens=cached, prompt_tokens_source=source)] * 3
    notes = [note for note in summarise(samples, planned).notes if "cache" in note]
    assert len(notes) == bool(said)
    for note in notes:
        assert note.startswith(f"warning: {said}")
        assert ("--flperf-backend=llamacpp" in note) is (target.backend != "llamacpp")


def test_stalls_need_both_bounds() -> None:
    """A stall is over 5 × the median gap and over 50 ms."""
    assert stalls([5 * MS] * 10 + [51 * MS]) == 1
    assert stalls([5 * MS] * 10 + [50 * MS]) == 0
    assert stalls([40 * MS] * 10 + [190 * MS]) == 0
    assert stalls([40 * MS] * 10 + [201 * MS]) == 1
    assert stalls([300 * MS]) == 0
    assert stalls([]) == 0


def test_failures_keep_evidence(make_sample: Make, case: Case) -> None:
    """Five kinds at most, the frequent first, every outcome before a second kind of one."""
    samples = [
        make_sample(outcome=Outcome.HTTP_5XX, status=503, evidence=Evidence(503, f"no {i}", "b" * 5000))
        for i in range(6)
        for _ in range(10 - i)
    ]
    samples.append(make_sample(outcome=Outcome.MALFORMED_STREAM, evidence=None))
    failures = summarise(samples, planned_result(case)).failures
    assert [failure.count for failure in failures] == [10, 9, 8, 7, 1]
    assert failures[-1].outcome == "malformed_stream"
    assert (failures[0].detail, failures[0].status) == ("no 0", 503)
    assert len(failures[0].body_head) == 2048


def test_failures_are_bounded(make_sample: Make, case: Case) -> None:
    """A server that words each error anew fills neither memory nor report, and no request is lost count of."""
    samples = [make_sample(outcome=Outcome.HTTP_4XX, evidence=Evidence(400, f"id {i}", "")) for i in range(1000)]
    result = summarise(samples, planned_result(case))
    assert len(result.failures) == 5
    assert result.failures[0].count == 800
    assert result.requests.failed == 1000


def test_echoed_model_is_noted(make_sample: Make, case: Case) -> None:
    """An answer under another model's name is said."""
    result = summarise([make_sample(model_echoed="other")], planned_result(case))
    assert len(result.notes) == 1
    assert "'other'" in result.notes[0]


def test_clock_of_a_case(make_sample: Make, case: Case) -> None:
    """Source and lag percentiles over all reads; two sources are mixed; no answer, no source."""
    samples = [
        make_sample(lag_ns=tuple(range(1000, 51_000, 1000))),
        make_sample(lag_ns=tuple(range(51_000, 102_000, 1000))),
    ]
    clock = summarise(samples, planned_result(case)).clock
    assert clock.source == "kernel"
    assert clock.lag_ms == LagMs(p50=0.051, p99=pytest.approx(0.1), max=0.101)  # type: ignore[arg-type]
    assert sum(clock.lag_histogram.values()) == 101
    assert summarise([*samples, make_sample(clock_source="user")], planned_result(case)).clock.source == "mixed"
    assert (
        summarise([make_sample(sent_ns=None, outcome=Outcome.CONNECT_REFUSED)], planned_result(case)).clock.source
        is None
    )


def test_clocks_merge() -> None:
    """The run's lag is that of all reads together, to within a bucket; the maximum is exact."""
    first = [1000 + 7 * i for i in range(5000)]
    second = [int(20_000 * math.exp(i / 1000)) for i in range(3000)]
    merged = merge_clocks([clock_quality(["kernel"], first), clock_quality(["kernel"], second), ClockQuality()])
    whole = clock_quality(["kernel"], [*first, *second])
    assert merged.source == "kernel"
    assert merged.lag_ms is not None
    assert whole.lag_ms is not None
    assert merged.lag_ms.p50 == pytest.approx(whole.lag_ms.p50, rel=0.025)
    assert merged.lag_ms.p99 == pytest.approx(whole.lag_ms.p99, rel=0.025)
    assert merged.lag_ms.max == whole.lag_ms.max
    assert merged.lag_histogram == whole.lag_histogram
    assert merge_clocks([merged, clock_quality(["user"], [])]).source == "mixed"
    assert merge_clocks([merged]) == merged
    assert merge_clocks([]) == ClockQuality()


def test_lag_may_be_zero_or_below() -> None:
    """Clock conversion can give a lag of nothing or just under it: counted, not refused."""
    clock = clock_quality(["kernel"], [-50, 0, 1, 2])
    assert clock.lag_ms is not None
    assert sum(clock.lag_histogram.values()) == 4


def test_many_samples_take_seconds(make_sample: Make, case: Case) -> None:
    """Ten thousand requests of ten tokens are summarised in a moment, and read once."""
    sample = make_sample(lag_ns=tuple(range(20_000, 30_000, 1000)))
    began = time.process_time()
    result = summarise((sample for _ in range(10_000)), planned_result(case))
    assert time.process_time() - began < 30
    assert result.requests.ok == 10_000


def test_turns_of_the_loop_stand_beside_the_lag() -> None:
    """As the load process counted them; those of a run are merged as its lags are."""
    turns = LoopTurns({3: 500, 900: 1}, 930_000)
    clock = with_turns(clock_quality(["user"], []), turns)
    assert clock.loop_ms == LoopMs(p50=3.5 * 1024 / 1e6, p99=3.5 * 1024 / 1e6, max=0.93)
    assert sum(clock.loop_histogram.values()) == 501
    assert with_turns(clock_quality(["user"], []), LoopTurns()).loop_ms is None
    merged = merge_clocks([clock, clock, clock_quality(["kernel"], [5.0])])
    assert merged.loop_ms is not None
    assert merged.loop_ms.p50 == pytest.approx(clock.loop_ms.p50, rel=0.025)
    assert merged.loop_ms.max == 0.93
    assert sum(merged.loop_histogram.values()) == 1_002
