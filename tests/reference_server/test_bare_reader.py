"""The bare reader that other clients are compared with."""

from __future__ import annotations

import json
import sys

import pytest
from raw_client import QUESTION

from pytest_flperf.reference_server import ReferenceConfig, ReferenceServer, Schedule

if sys.platform != "linux":
    pytest.skip("epoll and kernel stamps are Linux's", allow_module_level=True)

from bare_reader import compare, main, percentile, play


def test_it_reads_all_and_says_the_truth() -> None:
    """Every token of every stream is seen, and stamps agree with the server's log (generously)."""
    with ReferenceServer(ReferenceConfig(schedule=Schedule(ttft_ms=20, itl_ms=2, tokens=10))) as server:
        exchanges, used_s = play(server.port, 4, 3, json.dumps(QUESTION).encode())
        figures = compare(exchanges, server.log)
    assert len(exchanges) == 12
    assert {len(exchange.text_ns) for exchange in exchanges} == {10}
    assert used_s < 5
    assert figures["ttft_p50_true_ms"] >= 20
    assert figures["ttft_p50_says_ms"] == pytest.approx(figures["ttft_p50_true_ms"], abs=20)


def test_it_runs_as_a_script(capsys: pytest.CaptureFixture[str]) -> None:
    """It prints what it says beside what is true."""
    assert main(["--streams", "2", "--rounds", "1", "--tokens", "3", "--ttft-ms", "1", "--itl-ms", "1"]) == 0
    said = dict(line.split() for line in capsys.readouterr().out.splitlines())
    assert float(said["ttft_p50_says_ms"]) > 0
    assert float(said["server_cpu_per_token_us"]) > 0


def test_percentiles() -> None:
    """Linear interpolation between order statistics."""
    assert percentile([4, 1, 3, 2], 0.5) == 2.5
    assert percentile([5], 0.99) == 5
