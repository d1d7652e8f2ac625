"""A case's figures are what the plainest computation gives, whatever the requests."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any
from unittest.mock import patch

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_flperf.measurement.planned import planned_result
from pytest_flperf.results.metrics import REQUEST_METRICS
from pytest_flperf.results.records import CaseResult
from pytest_flperf.stats.descriptive import case as case_module
from pytest_flperf.stats.descriptive import quantiles as column
from pytest_flperf.stats.descriptive.case import stalls, summarise
from pytest_flperf.stats.descriptive.clock_quality import clock_quality
from pytest_flperf.stats.descriptive.request_metrics import is_late_read, request_metrics
from pytest_flperf.stats.descriptive.summary import distribution
from pytest_flperf.suite.model import Case
from pytest_flperf.wire.exchange import Phase
from pytest_flperf.wire.sample import TIMEOUTS, Outcome, Sample

Make = Callable[..., Sample]
MS = 1_000_000
START = 10**15
WISHES = st.fixed_dictionaries(
    {
        "phase": st.sampled_from([Phase.MEASURED, Phase.MEASURED, Phase.MEASURED, *Phase]),
        "outcome": st.sampled_from([Outcome.OK, Outcome.OK, Outcome.OK, *Outcome]),
        "sent_ns": st.integers(START, START + 10**10),
        "gaps_ns": st.lists(st.integers(0, 400 * MS), max_size=9),
        "late_by_ns": st.none() | st.integers(0, 100 * MS),
        "stream": st.booleans(),
        "clock_step": st.sampled_from([False, False, True]),
        "first_read_surplus": st.sampled_from([0.0, 0.0, 1.0, 5.0]),
        "first_read_window_ns": st.none() | st.integers(0, 50 * MS),
        "output_tokens": st.none() | st.integers(0, 40),
        "server_timings": st.none()
        | st.just({"prompt_n": 5.0, "prompt_ms": 7.0, "predicted_n": 6.0, "predicted_ms": 11.0}),
        "lag_ns": st.lists(st.integers(0, 10**9), max_size=5).map(tuple),
    }
)


def sample_of(make: Make, wish: dict[str, Any]) -> Sample:
    """A sample whose chunks come after these gaps."""
    wish = dict(wish)
    gaps, late_by_ns = wish.pop("gaps_ns"), wish.pop("late_by_ns")
    stamps = [wish["sent_ns"] + 50 * MS]
    for gap in gaps:
        stamps.append(stamps[-1] + gap)
    due_ns = None if late_by_ns is None else wish["sent_ns"] - late_by_ns
    return make(**wish, chunk_ns=tuple(stamps), due_ns=due_ns)


def plain_gaps(sample: Sample) -> list[int]:
    """Gaps between distinct arrivals."""
    if not sample.stream or sample.clock_step:
        return []
    return [later - earlier for earlier, later in pairwise(sample.chunk_ns) if later > earlier]


def check(result: CaseResult, samples: list[Sample]) -> None:
    """Compare with lists of everything."""
    measured = [each for each in samples if each.phase is Phase.MEASURED and each.outcome is not Outcome.CANCELLED]
    good = [each for each in measured if each.ok]
    rows = [request_metrics(each) for each in good]
    expected = {
        name: distribution([value for row in rows if (value := row.get(name)) is not None]) for name in REQUEST_METRICS
    }
    gaps = [found for each in good if (found := plain_gaps(each))]
    pooled = [gap for found in gaps for gap in found]
    expected["itl_ms"] = distribution(pooled, scale=1e6, requests=len(gaps), independent=False)
    assert result.metrics == {name: found for name, found in expected.items() if found is not None}
    assert list(result.metrics) == [name for name in REQUEST_METRICS if name in result.metrics]
    assert result.stalls == (sum(map(stalls, gaps)) if gaps else None)
    requests = result.requests
    assert (requests.total, requests.ok) == (len(measured), len(good))
    assert requests.timeouts == sum(each.outcome in TIMEOUTS for each in measured)
    assert requests.late_reads == sum(is_late_read(each) and not each.clock_step for each in good)
    assert requests.clock_steps == sum(each.clock_step for each in good)
    assert requests.outside == sum(each.phase is Phase.OUTSIDE for each in samples)
    assert requests.warmup == sum(each.phase is Phase.WARMUP for each in samples)
    outcomes = [each.outcome.value for each in samples if each.phase is Phase.MEASURED]
    assert requests.by_outcome == {name: outcomes.count(name) for name in outcomes}
    ends = [each.finished_ns if each.end_ns is None or each.clock_step else each.end_ns for each in measured]
    if measured:
        assert result.wall_s == (max(ends) - min(each.started_ns for each in measured)) / 1e9
    lags = [lag for each in measured if not each.clock_step for lag in each.lag_ns]
    assert result.clock == clock_quality({"kernel"} if measured else set(), lags)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wishes=st.lists(WISHES, max_size=25))
def test_figures_are_those_of_the_plainest_computation(
    make_sample: Make, case: Case, wishes: list[dict[str, Any]]
) -> None:
    """To the last bit, in pieces so small that every case takes several."""
    samples = [sample_of(make_sample, wish) for wish in wishes]
    with patch.object(column, "_RUN", 6), patch.object(column, "_FEW", 2), patch.object(case_module, "_BATCH", 4):
        check(summarise(iter(samples), planned_result(case)), samples)


def test_requests_are_not_kept(make_sample: Make, case: Case) -> None:
    """What is left of a request are its numbers, whatever it answered."""

    def many() -> Iterator[Sample]:
        for index in range(3_000):
            yield make_sample(index=index, output_text=f"{index:06}" * 5_000)

    tracemalloc.start()
    try:
        result = summarise(many(), planned_result(case))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert result.requests.ok == 3_000
    assert peak < 10 * 2**20
