"""What our client adds, measured against the reference server."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_flperf.experiment import calibration
from pytest_flperf.experiment.calibration import CalibrationError, calibrate_once
from pytest_flperf.load.plan import PlanStats
from pytest_flperf.results.calibration import Calibration
from pytest_flperf.suite.cases import expand
from pytest_flperf.suite.loading import scenario_of
from pytest_flperf.suite.model import Case, Suite
from pytest_flperf.suite.shapes import load_of


def case(**settings: object) -> Case:
    """A case with these settings."""
    asked = {} if "turns" in settings else {"prompt": "b"}
    scenario = scenario_of({"name": "a", **asked, **settings})
    return expand(Suite("s", "s", Path(), "", "", (scenario,), ("m",)), ["m"])[0]


@pytest.mark.parametrize(("shape", "load", "processes"), [("closed", 20, 1), ("closed", 8, 2), ("poisson", 40, 1)])
def test_what_is_said_and_what_is_true(shape: str, load: float, processes: int) -> None:
    """True times are those of the schedule; on the same machine the difference is small, whatever else it does."""
    found = calibrate_once(shape, load, processes, short=True)
    assert (found.shape, found.load, found.processes) == (shape, load, processes)
    assert found.requests >= 20
    assert 49 < found.ttft_p50_ms < 500
    assert abs(found.ttft_p50_error_ms) < 20
    assert 0 < found.cpu_us_per_token < 10_000
    assert Calibration.from_dict(found.to_dict()) == found


@pytest.mark.parametrize(
    ("settings", "load"),
    [
        ({}, ("closed", 1.0)),
        ({"concurrency": 7}, ("closed", 7.0)),
        ({"load": "gamma", "rate": 30, "burstiness": 0.5}, ("poisson", 30.0)),
        ({"load": "ramp", "rate": 3, "rate_to": 40, "duration_s": 9}, ("poisson", 40.0)),
        ({"load": "search", "search_to": 32}, ("closed", 32.0)),
        ({"load": "search", "search_to": 32, "search_over": "rate"}, ("poisson", 32.0)),
        ({"load": "session", "turns": ["a"], "concurrency": 3}, ("closed", 3.0)),
    ],
)
def test_the_load_of_a_case(settings: dict[str, object], load: tuple[str, float]) -> None:
    """Closed loops by their streams, open ones by their highest rate."""
    assert load_of(case(**settings)) == load


def test_a_client_that_plays_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing comes of it there is an error in words and no figure."""

    class Nothing:
        def play(self, *_: object, **__: object) -> PlanStats:
            return PlanStats(0, 1, 1, 0, 0)

        def stop(self) -> None:
            pass

    monkeypatch.setattr(calibration, "new_client", lambda processes: Nothing())
    with pytest.raises(CalibrationError, match="can't be calibrated"):
        calibrate_once("closed", 2, short=True)
