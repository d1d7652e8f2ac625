"""The scripted client: exact times, errors and deadlines of a script, in whole runs without a server."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import pytest_flperf
from pytest_flperf import Run
from pytest_flperf.backends import BackendError
from pytest_flperf.testing import ScriptedAnswer, ScriptedClient


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to measure in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    return tmp_path


def _measured(client: ScriptedClient, here: Path, *, budget: str = "", **scenario: Any) -> Run:
    suite = {
        "name": "scripted",
        "scenarios": [{"name": "one", "prompt": "Hello", "iterations": 12, "warmup": 0, **scenario}],
    }
    (here / "scripted.json").write_text(json.dumps(suite), encoding="utf-8")
    budgets = [budget] if budget else []
    return pytest_flperf.measure(
        "scripted.json", backend=client.backend_type, model="scripted", budget=budgets, store="none"
    )


def test_times_are_the_scripts(here: Path) -> None:
    """Each request has the script's TTFT and gaps, to the nanosecond."""
    client = ScriptedClient(
        lambda request: ScriptedAnswer(["a", " b", " c"], ttft_ms=2.5, itl_ms=0.75, prompt_tokens=9)
    )
    run = _measured(client, here)
    assert run.status == "passed"
    (case,) = run.cases
    assert (case.ttft_ms.min, case.ttft_ms.max) == pytest.approx((2.5, 2.5), abs=1e-9)
    assert (case.itl_ms.min, case.itl_ms.max) == pytest.approx((0.75, 0.75), abs=1e-9)
    assert case.tpot_ms.p50 == pytest.approx(0.75, abs=1e-9)
    assert (case.output_tokens.p50, case.prompt_tokens.p50) == (3, 9)
    assert case.tokens_source == "usage"
    assert len(client.requests) >= 12
    assert client.requests[-1]["messages"][-1]["content"].endswith("Hello")


@pytest.mark.parametrize(("limit_ms", "status"), [(4.9, "failed"), (5.1, "passed")])
def test_a_budget(here: Path, limit_ms: float, status: str) -> None:
    """A budget is met or missed by a tenth of a millisecond, whatever the machine does."""
    client = ScriptedClient(lambda request: ScriptedAnswer(["a", "b"], ttft_ms=5))
    assert _measured(client, here, budget=f"ttft_ms.p50 <= {limit_ms}ms").status == status


def test_errors(here: Path) -> None:
    """An error of the script, behind tokens or raised, is the request's."""
    count = iter(range(1000))

    def script(request: Mapping[str, Any]) -> ScriptedAnswer:
        number = next(count)
        if number == 3:
            return ScriptedAnswer(["a"], error="out of memory")
        if number == 4:
            raise RuntimeError("the script broke")
        return ScriptedAnswer(["a", "b"])

    (case,) = _measured(ScriptedClient(script), here).cases
    assert (case.requests.ok, case.requests.failed) == (10, 2)
    assert {each.detail for each in case.failures} == {
        "error inside a 200 answer: out of memory",
        "RuntimeError: the script broke",
    }


def test_a_deadline(here: Path) -> None:
    """An answer that takes too long is cut off at its deadline."""
    slow = iter([False, False, True])
    client = ScriptedClient(lambda request: ScriptedAnswer(["a"] * 4, itl_ms=200 if next(slow, False) else 0.1))
    (case,) = _measured(client, here, timeout_s=0.3).cases
    assert case.requests.timeouts == 1


def test_models() -> None:
    """It has the models that it was made with, and says so."""
    client = ScriptedClient(lambda request: ScriptedAnswer(["a"]), models=("small", "large"))
    assert [each.alias for each in client.discover()] == ["small", "large"]
    assert client.ensure("large", lambda what, percent: None).model_id == "large"
    with pytest.raises(BackendError, match="medium: the scripted client has small, large"):
        client.ensure("medium", lambda what, percent: None)


def test_bad_scripts() -> None:
    """Times below 0, and one text in place of tokens, are refused."""
    with pytest.raises(ValueError, match="expected 0 or more"):
        ScriptedAnswer(["a"], ttft_ms=-1)
    with pytest.raises(ValueError, match="expected 0 or more"):
        ScriptedAnswer(["a"], itl_ms=float("nan"))
    with pytest.raises(TypeError, match="one for each token"):
        ScriptedAnswer("Hello")
