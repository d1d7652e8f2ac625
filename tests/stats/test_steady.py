"""Rates over the steady window, whatever the order in which requests end."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_flperf.measurement.planned import planned_result
from pytest_flperf.results.load import Load
from pytest_flperf.stats.descriptive import steady
from pytest_flperf.stats.descriptive.case import summarise
from pytest_flperf.stats.descriptive.steady import Arrived, SteadyRates
from pytest_flperf.suite.model import Case
from pytest_flperf.wire.exchange import Phase
from pytest_flperf.wire.sample import Outcome, Sample

Make = Callable[..., Sample]
MS = 1_000_000
S = 1_000_000_000
START = 10**15


def load(**changes: Any) -> Load:
    """Two seconds of ramp-up, ten in all, three of cool-down."""
    shape = {"ramp_up_s": 2.0, "cool_down_s": 3.0, "duration_s": 10.0, **changes}
    return Load(shape="closed", concurrency=4, iterations=None, warmup=0, stream=True, **shape)


def arrived(samples: list[Sample], of: Load | None) -> Arrived:
    """What arrived; every request that ended ok is good."""
    rates = SteadyRates(of)
    for sample in samples:
        rates.add(sample, good=True)
    found = rates.arrived()
    assert found is not None
    return found


def request(make: Make, at_s: float, took_s: float, tokens: int = 10, **changes: Any) -> Sample:
    """A request that began then; its tokens came at even distances, the last one at its end."""
    sent = START + round(at_s * S)
    stamps = tuple(sent + round(took_s * S) * (number + 1) // tokens for number in range(tokens))
    phase = Phase.MEASURED if 2 <= at_s < 7 else Phase.OUTSIDE
    return make(**{"sent_ns": sent, "chunk_ns": stamps, "phase": phase, "finished_ns": stamps[-1] + MS, **changes})


REQUESTS = st.lists(
    st.tuples(
        st.floats(0.001, 9.99),
        st.floats(0.01, 9),
        st.integers(1, 30),
        st.sampled_from([Outcome.OK, Outcome.OK, Outcome.CONNECTION_LOST, Outcome.CANCELLED]),
    ),
    max_size=40,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(REQUESTS, st.integers(0, 2**32))
def test_what_arrived_in_the_window(
    make_sample: Make, wishes: list[tuple[float, float, int, Outcome]], seed: int
) -> None:
    """Tokens by their arrivals and requests by their ends, in any order; nothing but the ends of the window is kept."""
    samples = [request(make_sample, 0, 3), request(make_sample, 5, 4), request(make_sample, 8, 3)]
    samples += [request(make_sample, at, took, tokens, outcome=outcome) for at, took, tokens, outcome in wishes]
    shuffled = samples[:]
    random.Random(seed).shuffle(shuffled)
    with patch.object(steady, "_FEWEST_TO_SETTLE", 4):
        found = arrived(shuffled, load())
    assert found.window_s == (2.0, 7.0)
    from_ns, until_ns = START + 2 * S, START + 7 * S
    assert found.tokens == pytest.approx(sum(from_ns <= at <= until_ns for each in samples for at in each.chunk_ns))
    ended = [each for each in samples if each.ok and each.end_ns is not None and from_ns <= each.end_ns <= until_ns]
    assert (found.requests, found.good) == (len(ended), len(ended))


def test_more_tokens_than_chunks(make_sample: Make) -> None:
    """An answer of 40 tokens in 10 chunks, 5 of them in the window: 20."""
    samples = [request(make_sample, 0, 4, output_tokens=40), request(make_sample, 3, 1), request(make_sample, 8, 1)]
    assert arrived(samples, load()).tokens == 20 + 4 + 10  # the fifth arrives right at its begin


@pytest.mark.parametrize("streamed", [True, False])
def test_what_comes_at_once_counts_when_it_ends(make_sample: Make, streamed: bool) -> None:
    """An answer that isn't streamed arrives with its end."""
    changes: dict[str, Any] = {} if streamed else {"chunk_ns": (), "stream": False, "output_tokens": 10}
    samples = [
        request(make_sample, 0, 4, end_ns=START + 4 * S, **changes),
        request(make_sample, 6, 4, end_ns=START + 10 * S, **changes),
        request(make_sample, 8, 4, end_ns=START + 12 * S, **changes),
    ]
    found = arrived(samples, load())
    assert found.requests == 1
    assert found.tokens == (6 + 2 if streamed else 10)


def test_further_tries_count_as_what_arrived(make_sample: Make) -> None:
    """Their tokens and their answers were the server's work in that time; they are never good, somebody waited."""
    failed = request(make_sample, 3, 1, outcome=Outcome.CONNECTION_LOST, chunk_ns=(), output_tokens=None)
    again = request(make_sample, 4, 1, phase=Phase.RETRY)
    later = request(make_sample, 6.5, 1, phase=Phase.RETRY)
    found = arrived([request(make_sample, 0, 1), failed, again, request(make_sample, 5, 1), later], load())
    assert (found.tokens, found.requests, found.good) == (10 + 10 + 5, 2, 1)


def test_unknown_tokens_in_the_window(make_sample: Make) -> None:
    """An answer whose tokens nobody knows makes the sum unknown, unless it lies outside."""
    unknown = {"output_tokens": None, "tokens_source": None}
    within = [request(make_sample, 0, 1), request(make_sample, 3, 1), request(make_sample, 1, 2, **unknown)]
    assert arrived(within, load()).tokens is None
    outside = [request(make_sample, 0, 1, **unknown), request(make_sample, 3, 1), request(make_sample, 8, 1, **unknown)]
    assert arrived(outside, load()).tokens == 10


def test_a_clock_that_stepped(make_sample: Make) -> None:
    """Stamps that can't be trusted aren't: the answer counts by the part of its time that lies in the window."""
    stepped = request(make_sample, 6, 2, clock_step=True, chunk_ns=(START,) * 10, finished_ns=START + 8 * S)
    found = arrived([request(make_sample, 0, 1), stepped, request(make_sample, 8, 1)], load())
    assert found.tokens == pytest.approx(5)


@pytest.mark.parametrize(
    ("changes", "times", "window_s"),
    [
        ({"ramp_up_s": None}, [(0, 1), (6, 2), (8, 3)], (0, 7)),
        ({"cool_down_s": None}, [(0, 1), (6, 2.5)], (2, 8.5)),
        ({"cool_down_s": None, "duration_s": None}, [(0, 1), (6, 2.5)], (2, 8.5)),
        ({}, [(0, 1), (3, 1)], (2, 4)),  # stopped, or out of requests, before the cool-down
        ({}, [(0, 1), (3, 9)], (2, 7)),  # no request began in the cool-down
        ({"ramp_up_s": None}, [(0, 9)], (0, 7)),
    ],
)
def test_where_the_window_is(
    make_sample: Make, changes: dict[str, Any], times: list[tuple[float, float]], window_s: tuple[float, float]
) -> None:
    """As planned, and no longer than there were requests."""
    samples = [
        request(
            make_sample,
            at,
            took,
            phase=Phase.MEASURED if (changes.get("ramp_up_s", 2) is None or at >= 2) and at < 7 else Phase.OUTSIDE,
        )
        for at, took in times
    ]
    assert arrived(samples, load(**changes)).window_s == pytest.approx(window_s)


def test_an_open_loop_by_count(make_sample: Make) -> None:
    """Its cool-down begins so long before its last request is due."""
    samples = [
        request(make_sample, at, 4, due_ns=START + at * S, phase=Phase.MEASURED if at < 6 else Phase.OUTSIDE)
        for at in range(10)
    ]
    found = arrived(samples, load(ramp_up_s=None, duration_s=None))
    assert found.window_s == pytest.approx((0, 6))


def test_without_ramp_up_and_cool_down(make_sample: Make) -> None:
    """The whole measured part, and no window is named."""
    found = arrived([request(make_sample, 3, 2, phase=Phase.MEASURED)], load(ramp_up_s=None, cool_down_s=None))
    assert (found.window_s, found.span_s, found.tokens, found.requests) == (None, 2.0, 10, 1)


def test_no_answer_ends_in_the_window(make_sample: Make, case: Case) -> None:
    """Requests per second are 0, and a note says why."""
    planned = planned_result(case)
    samples = [request(make_sample, 0, 1), request(make_sample, 3, 9), request(make_sample, 8, 9)]
    with_window = type(planned).from_dict({**planned.to_dict(), "load": load().to_dict()})
    result = summarise(samples, with_window)
    assert result.request_rate == 0
    assert result.tps_total == pytest.approx(4 / 5)
    assert "no answer ended in the steady window of 5 s: make duration_s longer" in result.notes
