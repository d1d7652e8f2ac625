"""llama.cpp's real llama-server, where there is one, with models of a megabyte: what no double can show."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from llama_doubles import ANSWERS
from record_llama import record
from tiny_gguf import write_tiny_gguf

from pytest_flperf.backend_contract import answer_of
from pytest_flperf.backends.base import BackendConfig, BackendError, Served
from pytest_flperf.backends.llamacpp import server as llama_server
from pytest_flperf.backends.llamacpp.backend import LlamaCppBackend
from pytest_flperf.backends.server_process import free_port

SERVER = os.environ.get("FLPERF_LLAMA_SERVER") or shutil.which("llama-server") or ""
pytestmark = pytest.mark.skipif(
    not SERVER, reason="no llama-server: name one in FLPERF_LLAMA_SERVER, or put it on PATH"
)


@pytest.fixture(autouse=True)
def _mark(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is started is known by its environment."""
    monkeypatch.setenv(_MARK, str(os.getpid()))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models of a megabyte, and a broken file."""
    folder = tmp_path_factory.mktemp("models")
    for seed, name in enumerate(("alpha", "beta")):
        write_tiny_gguf(folder / f"{name}.gguf", seed)
    (folder / "broken.gguf").write_bytes((folder / "alpha.gguf").read_bytes()[:3000])
    return folder


@pytest.fixture
def router(folder: Path) -> Iterator[LlamaCppBackend]:
    """A router of our own with room for one model."""
    backend = LlamaCppBackend(
        BackendConfig(options={"server": SERVER, "models_dir": str(folder), "args": ["--threads", 1]})
    )
    yield backend
    backend.close()


@pytest.fixture
def guest(router: LlamaCppBackend) -> Iterator[LlamaCppBackend]:
    """Somebody else who uses the same router."""
    router.discover()
    backend = LlamaCppBackend(BackendConfig(base_url=router.about().address))
    yield backend
    backend.close()


def test_each_is_let_go_for_the_other(router: LlamaCppBackend) -> None:
    """With room for one, every change is a load, and is told."""
    assert router.ensure("alpha", ignore).notes == ()
    assert router.ensure("beta", ignore).notes == ()
    again = router.ensure("alpha", ignore)
    assert (again.reloaded, again.generation) == (True, 3)
    assert "let go" in again.notes[0]
    assert answer_of(again)


def test_an_eviction_by_somebody_else(router: LlamaCppBackend, guest: LlamaCppBackend) -> None:
    """A mere request for another model is enough; and for ours, to have it back as theirs."""
    mine = router.ensure("alpha", ignore)
    theirs = guest.ensure("beta", ignore)
    again = router.ensure("alpha", ignore)
    assert (again.reloaded, again.load_s is None) == (True, False)
    answer_of(theirs)
    answer_of(mine)
    third = router.ensure("alpha", ignore)
    assert (third.reloaded, third.load_s) == (True, None)
    assert "another client's request" in third.notes[0]


def test_a_broken_file(router: LlamaCppBackend) -> None:
    """The router promised it; what its log says of it is told; and the router goes on."""
    with pytest.raises(BackendError, match=r"broken: llama-server could not load it \(.*exit code 1\)") as caught:
        router.ensure("broken", ignore)
    assert "failed to load model" in str(caught.value)
    assert answer_of(router.ensure("alpha", ignore))


def test_a_broken_file_of_its_own(folder: Path) -> None:
    """Its server ends."""
    backend = LlamaCppBackend(BackendConfig(options={"server": SERVER}))
    with pytest.raises(BackendError, match=r"broken\.gguf: llama-server ended with exit code 1") as caught:
        backend.ensure(str(folder / "broken.gguf"), ignore)
    assert "exiting due to model loading error" in str(caught.value)
    backend.close()


def test_a_wrong_argument(folder: Path) -> None:
    """llama-server's own words say which."""
    options = {"server": SERVER, "models_dir": str(folder), "args": ["--no-such-argument"]}
    backend = LlamaCppBackend(BackendConfig(options=options))
    with pytest.raises(BackendError, match=r"ended with exit code 1(.|\n)*--no-such-argument"):
        backend.discover()
    backend.close()


def test_a_port_that_is_taken_is_left(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where somebody has had the port since it was found free, another is tried."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        ports = [taken.getsockname()[1]]
        monkeypatch.setattr(llama_server, "free_port", lambda: ports.pop() if ports else free_port())
        backend = LlamaCppBackend(BackendConfig(options={"server": SERVER, "models_dir": str(folder)}))
        assert answer_of(backend.ensure("alpha", ignore))
        assert not ports
        backend.close()


def test_the_context_is_as_asked(folder: Path) -> None:
    """And what the file says without."""
    model = str(folder / "alpha.gguf")
    for options, expected in (({"context": 512}, 512), ({}, 4096)):
        backend = LlamaCppBackend(BackendConfig(options={"server": SERVER, **options}))
        assert backend.ensure(model, ignore).context_length == expected
        backend.close()


def test_the_child_serves(router: LlamaCppBackend) -> None:
    """The process that has the model, not the router that passes requests on."""
    router.ensure("alpha", ignore)
    (pid,) = router.processes("alpha").pids
    line = psutil.Process(pid).cmdline()
    assert line[line.index("--alias") + 1] == "alpha"


def test_a_child_that_dies(router: LlamaCppBackend) -> None:
    """It is loaded again by the next case."""
    router.ensure("alpha", ignore)
    psutil.Process(router.processes("alpha").pids[0]).kill()
    again = router.ensure("alpha", ignore) if _gone(router, "alpha") else None
    assert again is not None
    assert again.reloaded
    assert answer_of(again)


def test_a_model_that_sleeps(folder: Path) -> None:
    """It is woken, and that is a load."""
    options = {"server": SERVER, "models_dir": str(folder), "args": ["--sleep-idle-seconds", 1]}
    backend = LlamaCppBackend(BackendConfig(options=options))
    first = backend.ensure("alpha", ignore)
    told: list[str] = []
    again = first
    give_up = time.monotonic() + 60
    while again.generation == first.generation and time.monotonic() < give_up:
        time.sleep(0.1)
        again = backend.ensure("alpha", lambda what, _percent: told.append(what))
    assert told == ["waking alpha"]
    assert "to sleep" in again.notes[0]
    assert again.load_s is not None
    backend.close()


def test_the_prompt_cache_is_left_alone(router: LlamaCppBackend) -> None:
    """With what measured requests carry, a repeated prompt is read as a whole; without it is not."""
    served = router.ensure("alpha", ignore)
    whole = _prompt_tokens(served, {})
    assert _prompt_tokens(served, {}) < whole
    assert _prompt_tokens(served, served.request_defaults) == whole


def test_a_busy_server(router: LlamaCppBackend, guest: LlamaCppBackend) -> None:
    """While others are served, a note before the case says so."""
    served = router.ensure("alpha", ignore)
    connections = [_ask(served, {"max_tokens": 4000}) for _ in range(8)]  # twice as many as it has slots
    assert connections[0].getresponse().read(1)
    (note,) = guest.ensure("alpha", ignore).notes
    assert note.startswith("llama-server was busy before the case began: requests in work: ")
    for connection in connections:
        connection.close()


def test_what_was_recorded_is_still_true(tmp_path: Path) -> None:
    """For each of the answers that the double gives; where not, read what is new and record again."""
    now = record(Path(SERVER), tmp_path)["answers"]
    assert {name: _shape(answer) for name, answer in now.items()} == {
        name: _shape(answer) for name, answer in ANSWERS.items()
    }


@pytest.mark.parametrize("kind", ["router", "file"])
def test_nothing_is_left_after_close(folder: Path, kind: str) -> None:
    """Neither servers nor children nor keepers; their memory is free."""
    before = _llamas()
    options: dict[str, Any] = {"server": SERVER}
    model = str(folder / "alpha.gguf")
    if kind == "router":
        options["models_dir"], model = str(folder), "alpha"
    backend = LlamaCppBackend(BackendConfig(options=options))
    backend.ensure(model, ignore)
    assert _llamas() > before
    backend.close()
    assert _llamas() == before


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals there")
@pytest.mark.parametrize("number", ["SIGKILL", "SIGTERM"])
@pytest.mark.parametrize("victim", ["parent", "keeper", "router"])
def test_nothing_is_left_when_one_is_killed(folder: Path, victim: str, number: str) -> None:
    """Whoever it is: all others follow, and the router's children."""
    if victim == "keeper" and number == "SIGKILL" and sys.platform != "linux":
        pytest.skip("only Linux ends a process with its parent")
    before = _llamas()
    parent = subprocess.Popen([sys.executable, "-c", _PROGRAM, SERVER, str(folder)], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"ready\n"
    (keeper,) = psutil.Process(parent.pid).children()
    (router,) = keeper.children()
    assert len(router.children()) == 1
    {"parent": psutil.Process(parent.pid), "keeper": keeper, "router": router}[victim].send_signal(
        getattr(signal, number)
    )
    _wait_for(lambda: not router.is_running() or router.status() == psutil.STATUS_ZOMBIE)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    _wait_for(lambda: _llamas() == before)


@pytest.mark.skipif(sys.platform == "win32", reason="no forks there")
@pytest.mark.parametrize("end", ["backend.close()", "os.kill(os.getpid(), 9)"])
def test_a_fork_of_ours_holds_nothing_open(folder: Path, end: str) -> None:
    """Not the server, by the pipe that its keeper waits at."""
    before = _llamas()
    forks = f"pid = os.fork()\nif not pid: time.sleep(100)\nprint(pid, flush=True)\n{end}"
    program = _PROGRAM.replace("time.sleep(100)", forks)
    parent = subprocess.Popen([sys.executable, "-c", program, SERVER, str(folder)], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"ready\n"
    fork = psutil.Process(int(parent.stdout.readline()))
    parent.wait()
    _wait_for(lambda: _llamas() == before)
    assert fork.is_running()
    fork.kill()
    parent.stdout.close()


_PROGRAM = """
import os, sys, time
from pytest_flperf.backends.base import BackendConfig
from pytest_flperf.backends.llamacpp.backend import LlamaCppBackend
backend = LlamaCppBackend(BackendConfig(options={'server': sys.argv[1], 'models_dir': sys.argv[2]}))
backend.ensure('alpha', lambda what, percent: None)
print('ready', flush=True)
time.sleep(100)
"""


_MARK = "FLPERF_TEST_OF"


def ignore(what: str, percent: float | None) -> None:
    """Progress is tested elsewhere."""


def _llamas() -> set[int]:
    """Servers and keepers of these tests that run: others may use the same program."""
    found = set()
    for process in psutil.process_iter(["cmdline", "environ", "status"]):
        line, environment = process.info["cmdline"] or [], process.info["environ"] or {}
        ours = line[:1] == [str(Path(SERVER).absolute())] or "pytest_flperf.backends.server_keeper" in line
        marked = environment.get(_MARK) == str(os.getpid())
        if ours and marked and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.add(process.pid)
    return found


def _wait_for(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.02)


def _gone(router: LlamaCppBackend, model: str) -> bool:
    """Whether the router has noticed."""
    _wait_for(lambda: not any(each.loaded for each in router.discover() if each.model_id == model))
    return True


def _ask(served: Served, more: Any) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection(served.endpoint.host, served.endpoint.port, timeout=120)
    messages = [{"role": "user", "content": "one and two and three and four and five and six"}]
    body = {"model": served.model_id, "messages": messages, "max_tokens": 2, "stream": True, "temperature": 0, **more}
    connection.request("POST", "/v1/chat/completions", json.dumps(body))
    return connection


def _prompt_tokens(served: Served, more: Any) -> int:
    """How many tokens of the prompt were read, as the server's timings have it."""
    connection = _ask(served, more)
    events = connection.getresponse().read().decode().split("\n\n")
    connection.close()
    found = next(json.loads(event[5:]) for event in events if '"timings"' in event)
    return int(found["timings"]["prompt_n"])


def _shape(answer: Any) -> Any:
    """What the backend goes by: states, statuses, the words of errors."""
    if "body" not in answer:
        return answer["status"]["value"], answer["status"].get("failed"), "--port" in answer["status"]["args"]
    try:
        return answer["status"], json.loads(answer["body"]).get("error")
    except ValueError:
        return answer["status"], None
