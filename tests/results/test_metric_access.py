"""Typed names of metrics and settings: as many as there are, and no other."""

from __future__ import annotations

import pytest

from pytest_flperf.integration.fixture import Measurement
from pytest_flperf.results.metric_access import (
    CaseMetric,
    MetricAccess,
    NotMeasuredError,
    RequestMetric,
    ResourceMetric,
)
from pytest_flperf.results.metrics import CASE_METRICS, REQUEST_METRICS, RESOURCE_METRICS
from pytest_flperf.results.records import CaseResult
from pytest_flperf.suite.scenario_settings import ScenarioSettings
from pytest_flperf.suite.schema.scenario import ScenarioForm


@pytest.mark.parametrize(
    ("owner", "kind", "names"),
    [
        (MetricAccess, RequestMetric, REQUEST_METRICS),
        (MetricAccess, ResourceMetric, RESOURCE_METRICS),
        (Measurement, CaseMetric, CASE_METRICS),
    ],
)
def test_every_metric_is_an_attribute(owner: type, kind: type, names: tuple[str, ...]) -> None:
    """A metric that is added is missed here, and not by a user."""
    assert {name for name, value in vars(owner).items() if isinstance(value, kind)} == set(names)


def test_every_setting_of_a_scenario_is_typed() -> None:
    """``flperf.run`` takes what a scenario can have; the name is the test's, the prompt an argument of its own."""
    assert set(ScenarioSettings.__annotations__) == ScenarioForm.model_fields.keys() - {"name", "prompt"}


def test_without_a_value() -> None:
    """A comparison fails, whichever side reads it; a metric of the case is none."""
    case = CaseResult("n", "s", "a", "m", message="the server was away")
    for one in (case, Measurement(case)):
        for name in (*REQUEST_METRICS, *RESOURCE_METRICS):
            with pytest.raises(NotMeasuredError, match=name):
                getattr(one, name)
    assert Measurement(case).goodput is None
    with pytest.raises(NotMeasuredError, match="the server was away"):
        _ = Measurement(case).ttft_ms
    unscored = CaseResult("n", "s", "a", "m", not_scored={"too deep": 2})
    for other in (unscored, Measurement(unscored)):
        with pytest.raises(NotMeasuredError, match="answers not scored: too deep"):
            _ = other.quality
