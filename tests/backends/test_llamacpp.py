"""llama.cpp where things go wrong: on the recorded answers of a real llama-server, replayed over real sockets."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from llama_doubles import BUILD, ReplayedLlama

from pytest_flperf.backend_contract import answer_of
from pytest_flperf.backends.base import BackendConfig, BackendError, ListedModel
from pytest_flperf.backends.llamacpp import admin_api as llama_control
from pytest_flperf.backends.llamacpp.backend import LlamaCppBackend
from pytest_flperf.backends.llamacpp.options import OPTIONS
from pytest_flperf.backends.registry import BUILT_IN
from pytest_flperf.reference_server import ReferenceServer

posix = pytest.mark.skipif(sys.platform == "win32", reason="the double is no program there")


def ignore(what: str, percent: float | None) -> None:
    """Progress is tested elsewhere."""


def attach(llama: ReplayedLlama, **options: Any) -> LlamaCppBackend:
    """A backend on a double."""
    return LlamaCppBackend(BackendConfig(base_url=llama.base_url, options=options))


@pytest.fixture
def llama() -> Iterator[ReplayedLlama]:
    """A router with room for one of two models, and a broken third."""
    with ReplayedLlama(("alpha", "beta", "broken")) as llama:
        yield llama


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """The double as a program, with a folder of models beside it."""
    (tmp_path / "bin").mkdir()
    program = _script(tmp_path / "bin" / "llama-server", _double_command())
    for name in ("alpha", "broken"):
        (tmp_path / f"{name}.gguf").write_bytes(b"GGUF")
    return program


class TestRouter:
    """Attached to a router."""

    def test_what_is_known_of_a_model(self, llama: ReplayedLlama) -> None:
        """Context, size, load time, what is asked of each measured request, and nothing that was not told."""
        backend = attach(llama)
        served = backend.ensure("alpha", ignore)
        assert (served.model_id, served.context_length, served.size_mb) == ("alpha", 4096, 1)
        assert served.load_s is not None
        assert served.load_s > 0
        assert served.request_defaults == {"cache_prompt": False}
        assert (served.device, served.variant) == (None, "(guessed) all F32")
        assert backend.capabilities("alpha").tools is False
        assert backend.capabilities("beta").tools is None
        about = backend.about()
        assert (about.runtime, about.version, about.address) == ("llama.cpp", BUILD, llama.base_url)

    def test_what_loads_is_waited_for(self, llama: ReplayedLlama) -> None:
        """The answer to the request for it is a promise only."""
        llama.looks = 5
        attach(llama).ensure("alpha", ignore)
        assert llama.states["alpha"] == "loaded"

    def test_a_load_that_fails(self, llama: ReplayedLlama) -> None:
        """The request for it had been answered with success."""
        with pytest.raises(BackendError, match=r"broken: llama-server could not load it \(.*exit code 1\)"):
            attach(llama).ensure("broken", ignore)

    def test_a_failure_of_the_past_is_tried_again(self, llama: ReplayedLlama) -> None:
        """That others failed to load it once doesn't say that we do."""
        llama.states["alpha"] = "failed"
        assert attach(llama).ensure("alpha", ignore).load_s is not None

    def test_a_load_that_never_ends(self, llama: ReplayedLlama) -> None:
        """It is given up at the deadline, with the option that moves it."""
        llama.stuck = True
        with pytest.raises(BackendError, match=r"alpha: not ready within 0\.3 s \(option load_s\): it is still lo"):
            attach(llama, load_s=0.3).ensure("alpha", ignore)

    def test_a_deadline_that_passes_while_a_load_is_requested(self, llama: ReplayedLlama) -> None:
        """On a slow machine: the error says what became of the load, not what was before it."""
        llama.stuck = True
        with pytest.raises(BackendError, match=r"it is still loading"):
            attach(llama, load_s=0.001).ensure("alpha", ignore)

    def test_no_room(self, llama: ReplayedLlama) -> None:
        """Other models that work are not given up: that is said, not taken for an error of this one."""
        llama.load("beta")
        llama.busy = True
        with pytest.raises(BackendError, match="no room, its other models are busy"):
            attach(llama, load_s=0.3).ensure("alpha", ignore)

    def test_room_comes(self, llama: ReplayedLlama) -> None:
        """A router that is full is asked again."""
        llama.load("beta")
        llama.busy = True
        told: list[str] = []

        def on_progress(what: str, percent: float | None) -> None:
            told.append(what)
            llama.busy = llama.busy and "waiting" not in what

        assert answer_of(attach(llama).ensure("alpha", on_progress))
        assert told == ["loading alpha", "waiting for room for alpha: other models are busy", "loading alpha"]

    def test_a_dead_process(self, llama: ReplayedLlama) -> None:
        """A router lists a model as loaded for a moment after its process has died."""
        llama.dead.add("alpha")
        with pytest.raises(BackendError, match=r"alpha: not ready within .*: its process does not answer"):
            attach(llama, load_s=0.3).ensure("alpha", ignore)

    def test_an_eviction(self, llama: ReplayedLlama) -> None:
        """It is noticed, loaded again, and told once."""
        backend = attach(llama)
        first = backend.ensure("alpha", ignore)
        llama.evict("alpha")
        again = backend.ensure("alpha", ignore)
        assert (again.reloaded, again.generation) == (True, first.generation + 1)
        assert again.load_s is not None
        assert "unloaded the model" in again.notes[0]
        third = backend.ensure("alpha", ignore)
        assert (third.reloaded, third.notes, third.generation) == (False, (), again.generation)

    def test_an_eviction_that_others_have_mended(self, llama: ReplayedLlama) -> None:
        """The model is there, as before, but it is another load; and it is theirs."""
        backend = attach(llama)
        first = backend.ensure("alpha", ignore)
        llama.evict("alpha")
        llama.load("alpha")
        again = backend.ensure("alpha", ignore)
        assert (again.reloaded, again.load_s) == (True, None)
        assert again.generation > first.generation
        assert "another client's request has loaded it again" in again.notes[0]
        backend.close()
        assert llama.states["alpha"] == "loaded"

    def test_a_model_that_sleeps_is_woken(self, llama: ReplayedLlama) -> None:
        """Else the first request that is measured would wait for its weights."""
        backend = attach(llama)
        first = backend.ensure("alpha", ignore)
        llama.states["alpha"] = "sleeping"
        again = backend.ensure("alpha", ignore)
        assert llama.states["alpha"] == "loaded"
        assert (again.reloaded, again.generation) == (True, first.generation + 1)
        assert "to sleep" in again.notes[0]
        assert again.load_s is not None

    def test_only_what_we_loaded_is_unloaded(self, llama: ReplayedLlama) -> None:
        """What was there stays there; what we asked for goes."""
        llama.models_max = 2
        llama.load("beta")
        backend = attach(llama)
        assert backend.ensure("beta", ignore).load_s is None
        backend.ensure("alpha", ignore)
        backend.close()
        assert (llama.states["alpha"], llama.states["beta"]) == ("unloaded", "loaded")

    def test_no_get_request_loads_a_model(self, llama: ReplayedLlama) -> None:
        """Questions about a model that is gone would load it, and evict another."""
        backend = attach(llama)
        backend.ensure("alpha", ignore)
        llama.evict("alpha")
        llama.load("beta")
        backend.health()
        backend.discover()
        backend.processes("alpha")
        assert (llama.states["alpha"], llama.states["beta"]) == ("unloaded", "loaded")

    def test_others_are_served(self, llama: ReplayedLlama) -> None:
        """Before a case that is a note, after lost requests a reason."""
        llama.load("alpha")
        llama.busy = True
        backend = attach(llama)
        first = backend.ensure("alpha", ignore)
        assert first.notes == ("llama-server was busy before the case began: requests in work: 1, waiting: 0",)
        assert backend.health() == "llama-server is busy with alpha: requests in work: 1, waiting: 0"
        llama.busy = False
        assert backend.ensure("alpha", ignore).notes == ()
        assert backend.health() == ""

    def test_an_unknown_model(self, llama: ReplayedLlama) -> None:
        """The nearest names come first."""
        with pytest.raises(BackendError, match=r"bete: the llama-server at .* has no such model; it has beta, "):
            attach(llama).ensure("bete", ignore)

    def test_the_file_is_a_name(self, llama: ReplayedLlama) -> None:
        """A person may think of the file."""
        assert attach(llama).ensure("alpha.gguf", ignore).model_id == "alpha"

    def test_a_wrong_key(self, llama: ReplayedLlama) -> None:
        """The server's own words, and never the key."""
        llama.key = "right"
        config = BackendConfig(base_url=llama.base_url, api_key="wrong-key")
        with pytest.raises(BackendError, match=r"401: .*Invalid API Key") as caught:
            LlamaCppBackend(config).ensure("alpha", ignore)
        assert "wrong-key" not in str(caught.value)
        config = BackendConfig(base_url=llama.base_url, api_key="right")
        assert answer_of(LlamaCppBackend(config).ensure("alpha", ignore))


class TestOneModel:
    """Attached to a server with one model."""

    def test_another_model(self) -> None:
        """What is served is named."""
        with (
            ReplayedLlama(alone="alpha") as llama,
            pytest.raises(BackendError, match=r"beta: the llama-server at .* serves only alpha: name that"),
        ):
            attach(llama).ensure("beta", ignore)

    @pytest.mark.parametrize("name", ["alpha", "alpha.gguf"])
    def test_its_names(self, name: str) -> None:
        """Its alias, or its file's name."""
        with ReplayedLlama(alone="alpha") as llama:
            served = attach(llama).ensure(name, ignore)
            assert (served.model_id, served.context_length, served.load_s) == ("alpha", 4096, None)

    def test_it_is_still_loading(self) -> None:
        """Attached too early, the load is waited for."""
        told: list[str] = []
        with ReplayedLlama(alone="alpha") as llama:
            llama.starting = 3
            attach(llama).ensure("alpha", lambda what, _percent: told.append(what))
        assert told == ["loading alpha"]

    def test_it_loads_for_ever(self) -> None:
        """Until the deadline."""
        with ReplayedLlama(alone="alpha") as llama:
            llama.starting = 1_000_000
            with pytest.raises(BackendError, match=r"not ready within 0\.3 s \(option load_s\): Loading model"):
                attach(llama, load_s=0.3).ensure("alpha", ignore)

    def test_nobody_answers(self) -> None:
        """At once, with a hint."""
        with ReplayedLlama(alone="alpha") as llama:
            backend = attach(llama)
        for ask in (backend.about, backend.discover, lambda: backend.ensure("alpha", ignore)):
            with pytest.raises(BackendError, match=r"failed: .*Is llama-server running, and is the URL right"):
                ask()
        assert "failed" in backend.health()
        backend.close()


class TestStart:
    """Servers of our own."""

    def test_no_program(self) -> None:
        """What to do: install, name it, or attach."""
        for server in ("no-such-llama-server", "/nowhere/llama-server"):
            backend = LlamaCppBackend(BackendConfig(options={"server": server}))
            backend.prepare(("alpha",))
            for ask in (backend.about, lambda backend=backend: backend.ensure("alpha", ignore)):
                with pytest.raises(BackendError, match=f"no (llama-server at )?{server}.*Install.*server.*base_url"):
                    ask()

    @posix
    def test_no_place_for_its_log(self, program: Path, tmp_path: Path) -> None:
        """The system's words, as an error of the backend."""
        backend = LlamaCppBackend(BackendConfig(logs_dir=tmp_path / "alpha.gguf", options={"server": str(program)}))
        with pytest.raises(BackendError, match=f"could not be started: .*{os.strerror(errno.EEXIST)}"):
            backend.discover()

    @posix
    def test_a_program_that_is_none(self, tmp_path: Path) -> None:
        """It can't be executed: the system's words."""
        (tmp_path / "llama-server").write_text("no program", encoding="utf-8")  # not executable
        backend = LlamaCppBackend(BackendConfig(options={"server": str(tmp_path / "llama-server")}))
        with pytest.raises(BackendError, match=f"llama-server could not be started: {os.strerror(errno.EACCES)}"):
            backend.discover()
        backend.close()

    @posix
    def test_the_router_and_what_it_is_given(self, program: Path, tmp_path: Path) -> None:
        """Loopback, a folder, the limit, metrics and the arguments of one's own; its log in the folder for logs."""
        options = {"server": str(program), "models_dir": str(tmp_path), "context": 512, "args": ["-ngl", 99]}
        backend = LlamaCppBackend(BackendConfig(logs_dir=tmp_path / "logs", options=options))
        assert backend.discover()[0] == ListedModel("alpha", "alpha", "server", cached=True, loaded=False)
        served = backend.ensure("alpha", ignore)
        assert (served.endpoint.host, served.size_mb, served.device) == ("127.0.0.1", 1, "cpu")
        (pid,) = backend.processes("alpha").pids
        line = " ".join(psutil.Process(pid).cmdline())
        assert f"--models-dir {tmp_path} --models-max 1 --metrics --ctx-size 512 -ngl 99 --host 127.0.0.1" in line
        backend.close()
        assert not psutil.pid_exists(pid)
        (log,) = (tmp_path / "logs").iterdir()
        assert log.name.startswith("llama-server-router-")

    @posix
    def test_a_model_that_does_not_load(self, program: Path, tmp_path: Path) -> None:
        """The server ends; its last words are told."""
        backend = LlamaCppBackend(BackendConfig(options={"server": str(program)}))
        with pytest.raises(BackendError, match=r"broken\.gguf: llama-server ended with exit code 1") as caught:
            backend.ensure(str(tmp_path / "broken.gguf"), ignore)
        assert "exiting due to model loading error" in str(caught.value)
        backend.close()

    @posix
    def test_a_server_that_never_answers(self, tmp_path: Path) -> None:
        """It is ended at the deadline."""
        program = _script(tmp_path / "llama-server", "echo I sleep; exec sleep 1000")
        backend = LlamaCppBackend(BackendConfig(options={"server": str(program), "start_s": 1}))
        before = set(_children())
        with pytest.raises(BackendError, match=r"not ready within 1 s \(option start_s\).*(.|\n)*I sleep"):
            backend.discover()
        assert set(_children()) == before
        backend.close()

    @posix
    def test_a_server_that_dies(self, program: Path, tmp_path: Path) -> None:
        """Health says how; the next case starts another."""
        backend = LlamaCppBackend(BackendConfig(options={"server": str(program)}))
        model = str(tmp_path / "alpha.gguf")
        first = backend.ensure(model, ignore)
        (pid,) = backend.processes(model).pids
        psutil.Process(pid).kill()
        assert "was ended by SIGKILL" in backend.health()
        again = backend.ensure(model, ignore)
        assert (again.reloaded, again.generation) == (True, first.generation + 1)
        assert "was restarted" in again.notes[0]
        assert answer_of(again)
        backend.close()

    @posix
    def test_a_server_that_hangs(self, program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is ended; the next case starts another."""
        monkeypatch.setattr(llama_control, "_HEALTH_S", 0.2)
        backend = LlamaCppBackend(BackendConfig(options={"server": str(program)}))
        model = str(tmp_path / "alpha.gguf")
        backend.ensure(model, ignore)
        (pid,) = backend.processes(model).pids
        psutil.Process(pid).suspend()
        assert "it was ended" in backend.health()
        assert not psutil.pid_exists(pid)
        assert backend.ensure(model, ignore).reloaded
        backend.close()

    @posix
    def test_a_router_that_dies(self, program: Path, tmp_path: Path) -> None:
        """All its models are gone with it."""
        options = {"server": str(program), "models_dir": str(tmp_path)}
        backend = LlamaCppBackend(BackendConfig(options=options))
        backend.ensure("alpha", ignore)
        psutil.Process(backend.processes("alpha").pids[0]).kill()
        assert "was ended by SIGKILL" in backend.health()
        assert backend.processes("alpha").absent == "llama-server has ended"
        again = backend.ensure("alpha", ignore)
        assert again.reloaded
        assert "was restarted" in again.notes[0]
        backend.close()

    @posix
    def test_the_environment_does_not_speak(
        self, program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """llama-server takes arguments from variables, too: ours is as the suite says."""
        monkeypatch.setenv("LLAMA_ARG_MODEL", "other.gguf")
        monkeypatch.setenv("LLAMA_API_KEY", "secret")
        monkeypatch.setenv("LLAMA_CACHE", str(tmp_path))
        backend = LlamaCppBackend(BackendConfig(options={"server": str(program)}))
        backend.ensure(str(tmp_path / "alpha.gguf"), ignore)
        (pid,) = backend.processes(str(tmp_path / "alpha.gguf")).pids
        environment = psutil.Process(pid).environ()
        backend.close()
        assert "LLAMA_CACHE" in environment
        assert not environment.keys() & {"LLAMA_ARG_MODEL", "LLAMA_API_KEY"}

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        """Nothing is started for it."""
        with pytest.raises(BackendError, match=r"none\.gguf: there is no such file"):
            LlamaCppBackend(BackendConfig()).ensure(str(tmp_path / "none.gguf"), ignore)

    @posix
    def test_where_the_layers_are(self, tmp_path: Path) -> None:
        """As llama.cpp's log says it (src/llama-model.cpp of the recorded build; no GPU has been at hand)."""
        program = _script(
            tmp_path / "llama-server",
            f'echo "load_tensors: offloaded 13/33 layers to GPU" >&2; {_double_command()}',
        )
        (tmp_path / "alpha.gguf").write_bytes(b"GGUF")
        backend = LlamaCppBackend(BackendConfig(options={"server": str(program)}))
        assert backend.ensure(str(tmp_path / "alpha.gguf"), ignore).device == "gpu (13 of 33 layers)"
        backend.close()

    @posix
    @pytest.mark.parametrize(
        ("listed", "device"),
        [("Available devices:\n  (none)", "cpu"), ("Available devices:\n  CUDA0: some GPU (80 MiB)", None), ("", None)],
    )
    def test_the_device(self, tmp_path: Path, listed: str, device: str | None) -> None:
        """Where the program knows of no other, it is the processor; where it does, it isn't known."""
        program = _script(
            tmp_path / "llama-server",
            f'if [ "$1" = --list-devices ]; then echo "{listed}"; exit; fi; {_double_command()}',
        )
        (tmp_path / "alpha.gguf").write_bytes(b"GGUF")
        backend = LlamaCppBackend(BackendConfig(options={"server": str(program)}))
        assert backend.ensure(str(tmp_path / "alpha.gguf"), ignore).device == device
        backend.close()


class TestOptions:
    """What a configuration may say."""

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"models_max": 0}, "models_max: found 0, expected a whole number"),
            ({"models_max": True}, "models_max: found True, expected a whole number"),
            ({"context": "4k"}, "context: found '4k', expected a whole number"),
            ({"start_s": 0}, "start_s: found 0, expected seconds"),
            ({"load_s": "long"}, "load_s: found 'long', expected seconds"),
            ({"server": ""}, "server: found '', expected a path or a name"),
            ({"models_dir": "/nowhere/at/all"}, "models_dir: found '/nowhere/at/all', expected an existing folder"),
            ({"args": 99}, "args: found 99, expected a list"),
            ({"args": "-ngl '99"}, "args: .* expected matching quotes"),
            ({"args": [["-ngl"]]}, "args: .* expected only strings and numbers"),
            ({"args": ["--port", 8080]}, "args: remove --port: a free port is chosen"),
            ({"args": ["--api-key", "x"]}, "args: remove --api-key: a key"),
            ({"modles_dir": "."}, "unknown option 'modles_dir', expected one of server, models_dir"),
        ],
    )
    def test_what_can_not_be(self, options: dict[str, Any], message: str) -> None:
        """Found and expected."""
        with pytest.raises(BackendError, match=message):
            LlamaCppBackend(BackendConfig(options=options))

    def test_a_key_among_the_arguments_is_not_shown(self) -> None:
        """Wherever it stands."""
        with pytest.raises(BackendError) as caught:
            LlamaCppBackend(BackendConfig(options={"args": ["--api-key", "secret-key"]}))
        assert "secret-key" not in str(caught.value)

    @pytest.mark.parametrize("name", ["server", "models_dir", "models_max", "args", "context", "start_s"])
    def test_attached_there_is_nothing_to_start(self, name: str) -> None:
        """An option that would do nothing is refused."""
        with pytest.raises(
            BackendError, match=f"option {name} is for a server that the run starts, but base_url names one"
        ):
            LlamaCppBackend(BackendConfig(base_url="http://127.0.0.1:8080/v1", options={name: 1}))

    def test_the_registry_knows_them(self) -> None:
        """All of them, with words."""
        assert BUILT_IN["llamacpp"].options == OPTIONS
        assert all(OPTIONS.values())


@posix
def test_a_port_that_is_taken_is_left(program: Path, tmp_path: Path) -> None:
    """Between finding it free and binding it another program may have taken it: then another is tried."""
    words = "E srv start: couldn't bind HTTP server socket, hostname: 127.0.0.1, port: 1"
    refuses = _script(
        tmp_path / "bin" / "refuses",
        f'if mkdir "{tmp_path}/once"; then echo "{words}"; exit 1; fi; {_double_command()}',
    )
    backend = LlamaCppBackend(BackendConfig(options={"server": str(refuses), "models_dir": str(tmp_path)}))
    assert answer_of(backend.ensure("alpha", ignore))
    backend.close()


def test_another_kind_of_server() -> None:
    """One that isn't llama.cpp is told apart before anything is measured."""
    with ReferenceServer() as server:
        backend = LlamaCppBackend(BackendConfig(base_url=server.base_url))
        with pytest.raises(BackendError, match="Is this a llama-server"):
            backend.ensure("reference", ignore)


def _double_command() -> str:
    double = Path(__file__).with_name("llama_doubles.py")
    return f'exec "{sys.executable}" "{double}" "$@"'


def _script(path: Path, line: str) -> Path:
    """A program of one line."""
    path.write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def _children() -> list[int]:
    return [child.pid for child in psutil.Process().children(recursive=True)]
