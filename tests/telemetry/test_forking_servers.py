"""What servers of several processes use, beside what the system says of each process."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import NamedTuple

import psutil
import pytest
from child_processes import Child
from forking_servers import Forked, forked

from pytest_flperf.results.records import ResourceUse
from pytest_flperf.telemetry.attribution import unattributed
from pytest_flperf.telemetry.host import HostSource
from pytest_flperf.telemetry.ports import listeners
from pytest_flperf.telemetry.readings import Reading, ServerProcesses
from pytest_flperf.telemetry.sampler import Sampler

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="servers fork on POSIX only")
MB = 1 << 20


class Times(NamedTuple):
    """What psutil tells of all processors, in seconds."""

    user: float
    idle: float
    iowait: float
    steal: float


FORMS = {
    "pre-fork": 2,
    "idle-child": 1,
    "idle-grandchild": 1,
    "shared-port": 2,
    "daemon": 1,
    "passed-on": 1,
}
"""And how many processes of each work."""


def used_s(pids: list[int]) -> float:
    """Processor time as the system tells it."""
    return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids)


def worked(pids: list[int]) -> float:
    """Wait until these processes have worked for 0.3 s; what they used meanwhile, in percent of a core.

    On a busy machine that takes many times as long.
    """
    began, before = time.monotonic(), used_s(pids)
    while used_s(pids) - before < 0.3:
        assert time.monotonic() - began < 120, "the workers don't work"
        time.sleep(0.1)
    return 100 * (used_s(pids) - before) / (time.monotonic() - began)


def second_look(server: ServerProcesses, told: Forked) -> tuple[Reading, float]:
    """What is read after some work, and what the workers used meanwhile, in percent of a core."""
    source = HostSource()
    source.open()
    source.read(server)
    told_pct = worked(told.workers)
    return source.read(server), told_pct


@pytest.mark.parametrize(("form", "workers"), FORMS.items())
def test_all_that_serve_are_found(form: str, workers: int) -> None:
    """Processor time and memory are those of all workers, whoever of them psutil names for the socket."""
    with forked(form, workers) as server:
        found = listeners(["127.0.0.1"], server.port)
        assert not found.absent
        reading, told_pct = second_look(found, server)
        memory_mb = sum(psutil.Process(pid).memory_info().rss for pid in server.workers) / MB
    assert reading.values["server_cpu_pct"] == pytest.approx(told_pct, rel=0.25)
    assert reading.values["server_rss_mb"] >= memory_mb - 1
    assert reading.values["server_rss_mb"] < memory_mb + 60


def test_a_worker_over_a_pipe() -> None:
    """It can't be told from what has nothing to do with the server: its load is of others, and a note says so."""
    with forked("pipe") as server:
        found = listeners(["127.0.0.1"], server.port)
        assert server.workers[0] not in found.pids
        reading, told_pct = second_look(found, server)
        assert reading.values["server_cpu_pct"] < 10
        assert reading.values["other_cpu_pct"] > told_pct - 15
        sampler = Sampler()
        watch = sampler.watch("a", found)
        watch.measured()
        time.sleep(1.2)
        resources = watch.result()
        sampler.close()
    (note,) = resources.notes
    assert "% of the machine's processor load" in note
    assert "server_cpu_pct and server_rss_mb lack them" in note


def machine_of(monkeypatch: pytest.MonkeyPatch, pids: list[int]) -> None:
    """A machine on which nothing but these processes runs."""

    def times() -> Times:
        return Times(user=used_s(pids), idle=1e6 + time.monotonic(), iowait=0.0, steal=time.monotonic())

    monkeypatch.setattr(psutil, "cpu_times", times)


def others_pct(server: ServerProcesses, told: list[int]) -> tuple[float, float]:
    """What is of others after a while, and what these processes used meanwhile, in percent of a core."""
    source = HostSource()
    source.read(server)
    told_pct = worked(told)
    return source.read(server).values["other_cpu_pct"], told_pct


@pytest.mark.parametrize("serves", [True, False])
def test_what_the_server_and_this_run_use_is_no_others(monkeypatch: pytest.MonkeyPatch, serves: bool) -> None:
    """Whether the process that works serves or is ours; what a third one uses is."""
    with forked("daemon") as away, Child() as child:
        child.tell("burn")
        server = ServerProcesses((child.pid,)) if serves else ServerProcesses()
        machine_of(monkeypatch, [os.getpid(), child.pid])
        found, told = others_pct(server, away.workers)
        assert found < told / 3
        machine_of(monkeypatch, [os.getpid(), child.pid, *away.workers])
        found, told = others_pct(server, away.workers)
        assert found == pytest.approx(told, rel=0.25, abs=2)


def test_the_other_side_is_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is measured in turn with this one is neither this one's worker nor unknown."""
    with forked("daemon") as away, Child() as child:
        machine_of(monkeypatch, [os.getpid(), child.pid, *away.workers])
        found, told = others_pct(ServerProcesses((child.pid,), beside=tuple(away.workers)), away.workers)
        assert found < told / 3


USE = {"cpu_pct": ResourceUse(9, 50.0, 50.0, 50.0)}


@pytest.mark.parametrize(
    ("server", "others_pct", "said"),
    [
        (
            ServerProcesses((7,)),
            80.0,
            "80 % of the machine's processor load (0.80 cores) came from other processes; if some",
        ),
        (ServerProcesses((7,)), 24.0, ""),
        (ServerProcesses((7,)), 19.0, ""),
        (ServerProcesses((), "port 80 belongs to docker-proxy"), 90.0, "is unknown: port 80 belongs to docker-proxy"),
        (ServerProcesses((), "the server is on another machine", elsewhere=True), 90.0, ""),
        (ServerProcesses((7,), hidden="port 80 has others"), 1.0, "port 80 has others"),
    ],
)
def test_when_it_is_said(server: ServerProcesses, others_pct: float, said: str) -> None:
    """From a quarter of the load of two cores and a fifth of a core on; never of a server on another machine."""
    use = {**USE, "other_cpu_pct": ResourceUse(9, others_pct, others_pct, others_pct)}
    notes = unattributed(replace(server, cores=2), use)
    assert said in "".join(notes)
    assert bool(notes) is bool(said)


def test_what_was_not_read_says_nothing() -> None:
    """Without one of the figures there is no share."""
    assert unattributed(ServerProcesses((7,)), USE) == ()
    assert unattributed(ServerProcesses((7,)), {}) == ()
