"""What our client adds, measured against the reference server."""

from __future__ import annotations

import contextlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.loadgen.plan import PlanStats
from pytest_flperf.measurement import calibration
from pytest_flperf.measurement.calibration import CalibrationError, calibrate_once
from pytest_flperf.measurement.calibration_loads import Probe, closed_probe, probe_of
from pytest_flperf.report.figures import calibrated_words
from pytest_flperf.results.calibration import Calibration
from pytest_flperf.suite.loader import scenario_of
from pytest_flperf.suite.matrix import expand
from pytest_flperf.suite.model import Case, LoadShape, Suite
from pytest_flperf.suite.prompts.sources import PromptSource, TracedRequest


def case(**settings: object) -> Case:
    """A case with these settings."""
    asked = {} if "turns" in settings else {"prompt": "b"}
    scenario = scenario_of({"name": "a", **asked, **settings})
    return expand(Suite("s", "s", Path(), "", "", (scenario,), ("m",)), ["m"])[0]


def patiently_calibrated(probe: Probe) -> Calibration:
    """What calibrating says; on a busy machine it may say that it can't, and is tried again."""
    for _ in range(9):
        with contextlib.suppress(CalibrationError):
            return calibrate_once(probe)
    return calibrate_once(probe)


@pytest.mark.parametrize(
    ("settings", "processes"),
    [
        ({"concurrency": 20}, 1),
        ({"concurrency": 8}, 2),
        ({"load": "poisson", "rate": 40}, 1),
        ({"load": "burst", "rate": 20, "burst_size": 20}, 1),
        ({"concurrency": 4, "think_time_s": 0.1}, 1),
    ],
)
def test_what_is_said_and_what_is_true(settings: dict[str, object], processes: int) -> None:
    """True times are those of the schedule; on the same machine the difference is small, whatever else it does."""
    probe = probe_of(case(**settings), processes, short=True)
    found = patiently_calibrated(probe)
    assert found.load == probe.load
    assert found.load.processes == processes
    assert 8 <= found.requests <= (probe.load.iterations or 0)
    assert 49 < found.ttft_p50_ms < 5_000
    assert abs(found.ttft_p50_error_ms) < 500
    assert 0 < found.cpu_us_per_token < 10_000
    assert Calibration.from_dict(found.to_dict()) == found


def played(probe: Probe) -> str:
    """The load of a probe in words, how many are due at once at most, and within a second."""
    at_once = max(Counter(probe.due_ns).values(), default=0)
    return f"{calibrated_words(probe.load)}: {at_once}, {probe.peak:g}"


@pytest.mark.parametrize(
    ("settings", "shape"),
    [
        ({}, "1 stream: 0, 1"),
        ({"concurrency": 7, "think_time_s": 2}, "7 streams, 2 s think time: 0, 7"),
        ({"load": "constant", "rate": 30}, "constant 30 requests/s: 1, 30"),
        ({"load": "burst", "rate": 30, "burst_size": 60}, "burst 30 requests/s, 60 at once: 60, 60"),
        ({"load": "ramp", "rate": 3, "rate_to": 40, "duration_s": 90}, "ramp 39 requests/s: 1, 40"),
        ({"load": "ramp", "rate": 40, "rate_to": 3, "duration_s": 90}, "ramp 39 requests/s: 1, 40"),
        ({"load": "search", "search_to": 32}, "32 streams: 0, 32"),
        ({"load": "search", "search_to": 32, "search_over": "rate"}, "poisson 32 requests/s: 1, 45"),
        ({"load": "session", "turns": ["a"], "concurrency": 3}, "3 streams: 0, 3"),
    ],
)
def test_the_load_of_a_case(settings: dict[str, object], shape: str) -> None:
    """Its own shape: streams with their pauses, bursts as bursts, of a ramp the busiest seconds."""
    assert played(probe_of(case(**settings), 1, short=False)) == shape


def test_gaps_of_a_gamma_distribution() -> None:
    """Uneven gaps stay uneven: the same mean, a higher peak than independent arrivals."""
    even, uneven = (
        probe_of(case(load="gamma", rate=30, burstiness=burstiness), 1, short=False).peak for burstiness in (4, 0.1)
    )
    assert uneven > 1.3 * even


def test_a_slow_rate_and_a_long_pause() -> None:
    """Longer than a fast one, so that there is something to compare, and never for more than a minute."""
    assert probe_of(case(load="constant", rate=0.5), 1, short=True).load.duration_s == 20
    assert probe_of(case(load="constant", rate=0.01), 1, short=True).load.duration_s == 60
    assert probe_of(case(think_time_s=3), 1, short=True).load.duration_s == 7
    assert probe_of(case(think_time_s=3_000), 1, short=True).load.duration_s == 60


@given(
    st.lists(st.floats(0, 100, allow_nan=False), min_size=1, max_size=60).map(sorted),
    st.booleans(),
)
def test_the_busiest_seconds_of_a_trace(due_s: list[float], short: bool) -> None:
    """No window of the same length holds more; it begins with a request, and is part of the trace."""
    trace = tuple(TracedRequest(each) for each in due_s)
    traced = case(load="poisson", rate=1)
    settings = replace(traced.scenario.settings, load=LoadShape("trace"), iterations=None)
    scenario = replace(traced.scenario, settings=settings, source=PromptSource(trace=trace))
    probe = probe_of(replace(traced, scenario=scenario), 1, short=short)
    span_s = probe.load.duration_s or 0.0
    times = [round(each * 1e9) for each in due_s]
    most = max(sum(first <= at < first + round(span_s * 1e9) for at in times) for first in times)
    assert len(probe.due_ns) == most == probe.load.iterations
    assert probe.due_ns[0] == 0
    assert any(not Counter(each + first for each in probe.due_ns) - Counter(times) for first in times)


def test_a_client_that_plays_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing comes of it there is an error in words and no figure."""

    class Nothing:
        def play(self, *_: object, **__: object) -> PlanStats:
            return PlanStats(0, 1, 1, 0, 0)

        def stop(self) -> None:
            pass

    monkeypatch.setattr(calibration, "new_client", lambda processes: Nothing())
    with pytest.raises(CalibrationError, match="can't be calibrated"):
        calibrate_once(closed_probe(2, 1, short=True))
