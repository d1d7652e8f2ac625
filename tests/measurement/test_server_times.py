"""A server that says its own times, right or wrong, measured by the load process."""

from __future__ import annotations

from pathlib import Path

from pytest_flperf.backends.openai import OpenAiBackend
from pytest_flperf.measurement.runner import Bench
from pytest_flperf.reference_server import ReferenceConfig, ReferenceServer, Schedule
from pytest_flperf.results.records import CaseResult
from pytest_flperf.suite.loader import scenario_of
from pytest_flperf.suite.matrix import expand
from pytest_flperf.suite.model import Suite


def measured(factor: float) -> tuple[CaseResult, bool]:
    """Five answers of 20 tokens from a server whose word about its times is wrong by this factor.

    Also whether the server kept its times, but for the factor: a busy machine may let it send later.
    """
    scenario = scenario_of({"name": "one", "prompt": "Go on", "iterations": 5, "warmup": 0})
    case = expand(Suite("times", "times", Path(), "", "", (scenario,), ("reference",)), ["reference"])[0]
    schedule = Schedule(ttft_ms=100, itl_ms=20, tokens=20, timings=True, timings_factor=factor)
    with (
        ReferenceServer(ReferenceConfig(schedule=schedule)) as server,
        Bench(OpenAiBackend.at(server.base_url)) as bench,
    ):
        result = bench.run(case).result
        gaps_ms = [gap_ms for entry in server.log if (gap_ms := entry.mean_gap_ms) is not None]
    assert result.requests.ok == 5
    assert result.metrics["server_tpot_ms"].p50 == 20 * factor
    assert result.metrics["server_prompt_ms"].p50 == 100 * factor
    return result, all(gap_ms < 20.5 for gap_ms in gaps_ms)


def test_a_server_that_is_right() -> None:
    """Its times and ours agree, and nothing is said; a server that is late for its own times may be told."""
    result, in_time = measured(1.0)
    told = [note for note in result.notes if "per token" in note or note.startswith("warning: ")]
    assert not told or not in_time
    assert all("per token" in note for note in told)


def test_a_server_that_makes_itself_faster() -> None:
    """Half of what it takes per token is a disagreement; half of its TTFT might be the network."""
    notes = measured(0.5)[0].notes
    (warning,) = [note for note in notes if note.startswith("warning: ")]
    assert warning.startswith("warning: the server says 10 ms per token (its timings), we say ")
    (plain,) = [note for note in notes if "prompt time" in note]
    assert plain.startswith("TTFT is ")


def test_a_server_that_makes_itself_slower() -> None:
    """It can't have read the prompt for longer than its first token took."""
    warnings = [note for note in measured(10.0)[0].notes if note.startswith("warning: the server says")]
    assert len(warnings) == 2
    assert "the prompt took 1000 ms" in warnings[1]
