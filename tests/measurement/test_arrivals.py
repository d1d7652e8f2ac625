"""Due times of open loops."""

from __future__ import annotations

import itertools
from statistics import mean, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.measurement.arrivals import due_times_ns
from pytest_flperf.suite.model import LoadShape

S = 1_000_000_000
RATES = st.floats(0.01, 5_000)
OPEN = st.one_of(
    st.builds(LoadShape, st.sampled_from(["constant", "poisson"]), rate=RATES, ramp_up_s=st.floats(0, 5)),
    st.builds(LoadShape, st.just("gamma"), rate=RATES, burstiness=st.floats(0.05, 20)),
    st.builds(LoadShape, st.just("burst"), rate=RATES, burst_size=st.integers(1, 50)),
    st.builds(LoadShape, st.just("ramp"), rate=RATES, rate_to=RATES, duration_s=st.floats(0.1, 100)),
)


def gaps(times: list[int]) -> list[int]:
    """Between each and the next."""
    return [later - earlier for earlier, later in itertools.pairwise(times)]


@given(OPEN, st.integers(1, 300), st.text(max_size=5))
def test_every_plan(load: LoadShape, count: int, seed: str) -> None:
    """Beginning at 0, never going back, no more than asked for, and the same again for the same seed."""
    times = list(due_times_ns(load, count, seed))
    assert times == list(due_times_ns(load, count, seed))
    assert times[0] == 0
    assert times == sorted(times)
    assert len(times) <= count
    if load.duration_s is None:
        assert len(times) == count
    else:
        assert times[-1] < load.duration_s * S


@given(RATES, st.integers(1, 1_000))
def test_constant_does_not_drift(rate: float, number: int) -> None:
    """The n-th request is due at n / rate, to the nanosecond, however many came before it."""
    *_, last = due_times_ns(LoadShape("constant", rate=rate), number + 1, "")
    assert last == round(number / rate * S)


@pytest.mark.parametrize(
    ("load", "spread"),
    [
        (LoadShape("poisson", rate=50), 1.0),
        (LoadShape("gamma", rate=50, burstiness=1), 1.0),
        (LoadShape("gamma", rate=50, burstiness=0.25), 2.0),
        (LoadShape("gamma", rate=50, burstiness=16), 0.25),
    ],
)
def test_gaps_are_distributed_as_asked(load: LoadShape, spread: float) -> None:
    """The mean gap is 1 / rate, and the coefficient of variation 1 / √burstiness."""
    found = gaps(list(due_times_ns(load, 40_000, "seed")))
    assert mean(found) == pytest.approx(S / 50, rel=0.04)
    assert stdev(found) / mean(found) == pytest.approx(spread, rel=0.04)


def test_another_seed_is_another_plan() -> None:
    """Chance comes from the seed alone."""
    load = LoadShape("poisson", rate=5)
    assert list(due_times_ns(load, 5, "a")) != list(due_times_ns(load, 5, "b"))


def test_bursts() -> None:
    """So many at once, and as many per second as the rate says."""
    times = list(due_times_ns(LoadShape("burst", rate=20, burst_size=10, duration_s=1.6), None, ""))
    assert times == sorted([0, S // 2, S, 3 * S // 2] * 10)


@given(RATES, RATES, st.floats(0.5, 50))
def test_ramps_hold_their_rates(rate: float, rate_to: float, duration_s: float) -> None:
    """At every due time t, as many were sent before as a rate that changes evenly has sent by t."""
    load = LoadShape("ramp", rate=rate, rate_to=rate_to, duration_s=duration_s)
    for number, due_ns in enumerate(due_times_ns(load, 500, "")):
        t = due_ns / S
        assert rate * t + (rate_to - rate) * t * t / (2 * duration_s) == pytest.approx(number, rel=1e-6, abs=1e-4)


@given(st.floats(0.5, 500), st.floats(0.1, 10))
def test_a_ramp_up_rises_from_nothing(rate: float, ramp_up_s: float) -> None:
    """Half as many in that time as afterwards, the later the denser, and then the rate itself."""
    times = list(due_times_ns(LoadShape("constant", rate=rate, ramp_up_s=ramp_up_s), 2_000, ""))
    rising = [at for at in times if at < ramp_up_s * S]
    if len(rising) < 2_000:
        assert len(rising) == pytest.approx(rate * ramp_up_s / 2, abs=1.01)
    assert all(later <= earlier + 2 for earlier, later in itertools.pairwise(gaps(rising)))
    steady = gaps([at for at in times if at > ramp_up_s * S])
    assert all(abs(gap - S / rate) <= 2 + S / rate * 1e-6 for gap in steady)
