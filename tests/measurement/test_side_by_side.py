"""Cases of several providers at the same time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_flperf.backends.openai import OpenAiBackend
from pytest_flperf.measurement.parallel_targets import Asked, SideBySide
from pytest_flperf.measurement.runner import Bench, CaseRun, NotReadyError, Prepared
from pytest_flperf.reference_server import ReferenceConfig, ReferenceServer, Schedule
from pytest_flperf.suite.loader import scenario_of
from pytest_flperf.suite.matrix import expand
from pytest_flperf.suite.model import Suite


@pytest.fixture
def server() -> Iterator[ReferenceServer]:
    """Answers after 50 ms."""
    with ReferenceServer(ReferenceConfig(Schedule(ttft_ms=50, itl_ms=1, tokens=4)), in_thread=True) as running:
        yield running


def asked(model: str, iterations: int) -> Asked:
    """A case of one scenario."""
    scenario = scenario_of({"name": "one", "prompt": "Hello", "iterations": iterations, "warmup": 0})
    (case,) = expand(Suite("s", "s", Path(), "", "", (scenario,), (model,)), [model])
    return Asked(f"s::one[{model}]", case)


def play(bench: Bench, prepared: Prepared) -> CaseRun:
    """As it is."""
    return bench.play(prepared)


def test_what_is_claimed_is_not_told_again(server: ReferenceServer) -> None:
    """Each case once; a rerun would be measured anew."""
    one = asked("reference", 2)
    beside = SideBySide({"here": [one]}, lambda: Bench(OpenAiBackend.at(server.base_url)), play)
    assert one.nodeid in beside
    assert beside.ready(one.nodeid, lambda: None).case == one.case
    assert beside.played(one.nodeid, lambda: None).result.requests.ok == 2
    assert one.nodeid not in beside
    assert beside.close() == []


def test_a_model_that_is_not_there(server: ReferenceServer) -> None:
    """Its error where it is asked for; the next case of the provider is measured."""
    bad, good = asked("no-such-model", 1), asked("reference", 1)
    beside = SideBySide({"here": [bad, good]}, lambda: Bench(OpenAiBackend.at(server.base_url)), play)
    with pytest.raises(NotReadyError, match="no-such-model"):
        beside.ready(bad.nodeid, lambda: None)
    assert beside.played(good.nodeid, lambda: None).result.requests.ok == 1
    beside.close()


def test_an_end_in_the_middle(server: ReferenceServer) -> None:
    """What has been measured by then is summed up and told to be cut off; what has not begun never does."""
    long, never = asked("reference", 1_000), asked("reference", 7)
    never = Asked("s::never", never.case)
    beside = SideBySide({"here": [long, never]}, lambda: Bench(OpenAiBackend.at(server.base_url)), play)
    beside.ready(long.nodeid, lambda: None)
    time.sleep(0.5)
    ((case, run, cut_off),) = beside.close()
    assert case == long.case
    assert cut_off
    assert 0 < run.result.requests.ok < 1_000
