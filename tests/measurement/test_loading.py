"""What making a model ready takes of memory; the server is a child process that takes 50 MB for it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from pytest_flperf.backends.base import BackendConfig, BackendError, OnProgress, Served
from pytest_flperf.backends.openai import OpenAiBackend
from pytest_flperf.measurement.load_cost import LoadCost, ensure_with_cost
from pytest_flperf.telemetry.readings import ServerProcesses
from pytest_flperf.wire.endpoint import Endpoint

_SERVER = """
import sys
kept = []
print("ready", flush=True)
for line in sys.stdin:
    kept.append(bytearray(b"x") * (int(line) << 20))
    print("done", flush=True)
"""


class Loading(OpenAiBackend):
    """Takes memory in a process of its own for each load."""

    def __init__(self, server: subprocess.Popen[str], *, announced: bool = True, load_s: float | None = 0.5) -> None:
        super().__init__(BackendConfig(base_url="http://127.0.0.1:1/v1"))
        self.server = server
        self.announced = announced
        self.load_s = load_s
        self.fails = False
        self.pids: tuple[int, ...] = (server.pid,)

    def ensure(self, model: str, on_progress: OnProgress) -> Served:
        """Download 30 MB, load 50."""
        on_progress(f"downloading {model}", 50.0)
        self._take(30)
        if self.announced:
            on_progress(f"loading {model}", None)
        self._take(50)
        if self.fails:
            raise BackendError("no")
        endpoint = Endpoint.parse("http://127.0.0.1:1/v1")
        return Served("double", model, model, endpoint, load_s=self.load_s)

    def processes(self, model: str) -> ServerProcesses:
        """As told."""
        del model
        return ServerProcesses(self.pids, "" if self.pids else "elsewhere")

    def _take(self, megabytes: int) -> None:
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.write(f"{megabytes}\n")
        self.server.stdin.flush()
        assert self.server.stdout.readline() == "done\n"


@pytest.fixture
def server() -> Iterator[subprocess.Popen[str]]:
    """A process that takes memory."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", _SERVER], stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def ignore(what: str, percent: float | None) -> None:
    """For where progress is not what the test is about."""
    del what, percent


def test_what_a_load_adds(server: subprocess.Popen[str]) -> None:
    """From right before the load on: what came with the download was there before.  Progress goes on."""
    told: list[Any] = []
    served, cost = ensure_with_cost(Loading(server), "m", lambda *each: told.append(each))
    assert served.model == "m"
    assert cost.rss_before_mb is not None
    assert cost.rss_after_mb is not None
    assert cost.rss_before_mb > 30
    assert cost.model_rss_mb == cost.rss_after_mb - cost.rss_before_mb
    assert 48 <= cost.model_rss_mb <= 60
    assert told == [("downloading m", 50.0), ("loading m", None)]


@pytest.mark.parametrize("values", [{"announced": False}, {"load_s": None}])
def test_no_load_of_ours(server: subprocess.Popen[str], values: dict[str, Any]) -> None:
    """Nothing is known where a model was loaded already, or nobody said when a load began."""
    _, cost = ensure_with_cost(Loading(server, **values), "m", ignore)
    assert cost == LoadCost()
    assert cost.model_rss_mb is None


def test_processes_that_cannot_be_told(server: subprocess.Popen[str]) -> None:
    """A server on another machine: no figures, and no error."""
    backend = Loading(server)
    backend.pids = ()
    assert ensure_with_cost(backend, "m", ignore)[1] == LoadCost()


def test_a_load_that_fails(server: subprocess.Popen[str]) -> None:
    """Its error is the caller's."""
    backend = Loading(server)
    backend.fails = True
    with pytest.raises(BackendError, match="no"):
        ensure_with_cost(backend, "m", ignore)
