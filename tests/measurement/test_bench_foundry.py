"""``Bench`` on the real Foundry Local runtime when that does what nobody asked it to."""

from __future__ import annotations

import os
import signal
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_flperf.backends.base import BackendConfig
from pytest_flperf.backends.foundry.backend import FoundryBackend
from pytest_flperf.foundry_host.client import RuntimeHost
from pytest_flperf.measurement.runner import Bench
from pytest_flperf.suite.loader import scenario_of
from pytest_flperf.suite.matrix import expand
from pytest_flperf.suite.model import Case, Suite

MODEL = "flperf-nano"


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A bench on a runtime of its own, whose logs go with it."""
    with Bench(FoundryBackend(BackendConfig())) as running:
        yield running


def a_case() -> Case:
    """A case of two short answers."""
    scenario = scenario_of({"name": "one", "prompt": "Hello", "iterations": 2, "warmup": 0, "max_tokens": 2})
    return expand(Suite("s", "s", Path(), "", "", (scenario,), (MODEL,)), [MODEL])[0]


def test_a_model_that_the_runtime_let_go_of(bench: Bench) -> None:
    """Unloaded behind our back: loaded again, and the case that met it says so, and no other."""
    first = bench.run(a_case()).result
    assert first.target is not None
    root = str(first.target.base_url).removesuffix("/v1")
    with urllib.request.urlopen(f"{root}/models/unload/{MODEL}", timeout=120):  # noqa: S310 - loopback
        pass
    second, third = bench.run(a_case()).result, bench.run(a_case()).result
    assert first.requests.ok == second.requests.ok == third.requests.ok == 2
    assert second.cold_ttft_ms != first.cold_ttft_ms
    assert [note for note in second.notes if "unloaded the model" in note]
    assert not [note for note in (*first.notes, *third.notes) if "unloaded the model" in note]


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_runtime_that_died_between_cases(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new one is started for the next case, which says so."""
    hosts: list[RuntimeHost] = []
    start = RuntimeHost.wait_ready

    def remember(host: RuntimeHost) -> None:
        hosts.append(host)
        start(host)

    monkeypatch.setattr(RuntimeHost, "wait_ready", remember)
    bench.run(a_case())
    os.kill(hosts[0].pid, signal.SIGKILL)
    result = bench.run(a_case()).result
    assert result.requests.ok == 2
    assert [note for note in result.notes if "was restarted" in note]
