"""What a type checker says of the public names: checked by mypy, run by nobody."""

from __future__ import annotations

from typing import assert_type

from pytest_flperf import CaseResult, Distribution, ResourceUse, Run, RunComparison, compare, load_run, measure
from pytest_flperf.integration.fixture import Flperf


def of_a_test(flperf: Flperf) -> None:
    """Metrics are typed, and a misspelt setting or metric is an error."""
    result = flperf.run(prompt="Hello", iterations=3, extra={"top_k": 3}, max_tokens=None)
    assert_type(result.ttft_ms, Distribution)
    assert_type(result.ttft_ms.p50, float)
    assert_type(result.server_cpu_pct, ResourceUse)
    assert_type(result.error_rate, float | None)
    assert_type(result.case, CaseResult)
    flperf.run(prompt="Hello", iteratons=3)  # type: ignore[call-arg]
    flperf.run(prompt="Hello", iterations="3")  # type: ignore[arg-type]
    result.ttft_m  # type: ignore[attr-defined]  # noqa: B018


def of_a_script() -> None:
    """Likewise from a script."""
    run = measure("quick", model="flperf-nano", iterations=3)
    assert_type(run, Run)
    assert_type(run.cases[0].ttft_ms, Distribution)
    assert_type(compare(run, load_run()), RunComparison)
    measure("quick", modle="flperf-nano")  # type: ignore[call-arg]
