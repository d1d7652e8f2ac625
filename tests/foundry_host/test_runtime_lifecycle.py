"""How a host begins and ends: deaths, hangs, orphans, leftovers."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from processes import gone
from runtime_doubles import MakeConfig

from pytest_flperf.foundry_host.client import RuntimeHost
from pytest_flperf.foundry_host.errors import (
    HostDied,
    HostHung,
    LoadFailed,
    RuntimeHostError,
    RuntimeUnavailable,
    ServiceUnreachable,
)
from pytest_flperf.foundry_host.process import HostProcess
from pytest_flperf.foundry_host.workspace import Workspace, remove_stale

FakeSdk = Callable[..., dict[str, str]]
posix = pytest.mark.skipif(os.name != "posix", reason="signals")


def test_stop_is_quick_and_leaves_nothing(make_config: MakeConfig) -> None:
    """Stopping with a loaded model takes under half a second and leaves no process and no temporary file."""
    host = RuntimeHost.start(make_config())
    host.load("flperf-micro:1")
    began = time.monotonic()
    host.stop()
    took_s = time.monotonic() - began
    assert not host.alive
    assert gone(host.pid)
    assert took_s < 10, "the bound is for a busy machine"
    assert host.config.temp_dir is not None
    assert not list(host.config.temp_dir.iterdir())
    assert any("shut down" in line for line in host.log_tail())
    host.stop()
    host.kill()


def test_calls_after_stop(make_config: MakeConfig) -> None:
    """A stopped host says that it was stopped."""
    host = RuntimeHost.start(make_config())
    host.stop()
    with pytest.raises(RuntimeHostError, match="has been stopped"):
        host.status()


def test_stop_while_it_starts(make_config: MakeConfig) -> None:
    """A host can be stopped before it is ready."""
    host = RuntimeHost(make_config())
    host.stop()
    assert not host.alive
    with pytest.raises(RuntimeHostError):
        host.wait_ready()


@posix
def test_killed_host(make_config: MakeConfig) -> None:
    """A host that was killed while idle is HostDied with its log, and a fresh one works."""
    with RuntimeHost.start(make_config()) as host:
        host.load("flperf-nano:1")
        os.kill(host.pid, signal.SIGKILL)
        with pytest.raises(HostDied, match="SIGKILL") as caught:
            host.status()
        assert not host.alive
        assert any("load flperf-nano:1" in line for line in caught.value.log)
        assert "load flperf-nano:1" in str(caught.value)
    with RuntimeHost.start(make_config()) as fresh:
        fresh.load("flperf-nano:1")


@posix
def test_hanging_host(make_config: MakeConfig) -> None:
    """A host that gives no sign of life is HostHung within the deadline, and is ended."""
    with RuntimeHost.start(make_config(silence_s=600)) as host:
        os.kill(host.pid, signal.SIGSTOP)
        began = time.monotonic()
        with pytest.raises(HostHung, match="no sign of life"):
            host.status(deadline_s=0.3)
        assert time.monotonic() - began < 60
        assert not host.alive


@posix
def test_hang_in_a_long_command(make_config: MakeConfig) -> None:
    """A hang is noticed by silence, long before the deadline of a long command."""
    with RuntimeHost.start(make_config(silence_s=0.3)) as host:
        os.kill(host.pid, signal.SIGSTOP)
        with pytest.raises(HostHung):
            host.load("flperf-nano:1", deadline_s=3600)


def test_stop_of_a_hanging_host(make_config: MakeConfig) -> None:
    """Stopping ends a host that does not listen any more."""
    host = RuntimeHost.start(make_config())
    psutil.Process(host.pid).suspend()
    began = time.monotonic()
    host.stop()
    assert not host.alive
    assert time.monotonic() - began < 60


def test_end_of_input_ends_the_host(make_config: MakeConfig) -> None:
    """The host ends when its standard input does."""
    process = HostProcess(make_config())
    assert process._process.stdin is not None
    process._process.stdin.close()
    assert process.wait(120)
    process.end()


def test_nonsense_ends_the_host(make_config: MakeConfig) -> None:
    """A host whose parent talks nonsense ends instead of guessing."""
    process = HostProcess(make_config())
    assert process._process.stdin is not None
    process._process.stdin.write(b'{"type": "command", "id": "x"}\n')
    process._process.stdin.flush()
    assert process.wait(120)
    process.end()


@posix
def test_terminal_signals_do_not_reach_it(shared_host: RuntimeHost) -> None:
    """The host is in a session of its own, so that Ctrl-C in the terminal is the parent's alone."""
    assert os.getsid(shared_host.pid) == shared_host.pid != os.getsid(0)


PARENT = """
    import os, sys, time
    from pathlib import Path
    from pytest_flperf.foundry_host.client import HostConfig, RuntimeHost
    host = RuntimeHost.start(HostConfig(logs_dir=Path(sys.argv[1]), temp_dir=Path(sys.argv[1])))
    if sys.argv[2] == "loading":
        host.load("flperf-micro:1")
    if sys.argv[2] == "forked" and os.fork() == 0:
        time.sleep(30)
        os._exit(0)
    print(host.pid, flush=True)
    time.sleep(60)
"""


@posix
@pytest.mark.parametrize("signal_name", ["SIGKILL", "SIGTERM"])
@pytest.mark.parametrize("state", ["idle", "loading", "forked"])
def test_no_orphan(tmp_path: Path, state: str, signal_name: str) -> None:
    """Whatever ends the parent, the host ends too, also where a fork of the parent keeps the pipe open."""
    if state == "forked" and sys.platform != "linux":
        pytest.skip("only Linux can tie a process to its parent")
    command = [sys.executable, "-c", textwrap.dedent(PARENT), str(tmp_path), state]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
    assert parent.stdout is not None
    try:
        pid = int(parent.stdout.readline())
        parent.send_signal(signal.Signals[signal_name])
        parent.wait(120)
        assert gone(pid)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(parent.pid, signal.SIGKILL)
        parent.wait(120)
        parent.stdout.close()
    leftovers = [path for path in tmp_path.iterdir() if path.is_dir()]
    if state != "forked":
        assert len(leftovers) == 1
        remove_stale(tmp_path)
        assert not leftovers[0].exists()


def test_host_outlives_the_thread_that_started_it(make_config: MakeConfig) -> None:
    """A host that was started on a short-lived thread lives on."""
    hosts: list[RuntimeHost] = []
    thread = threading.Thread(target=lambda: hosts.append(RuntimeHost.start(make_config())))
    thread.start()
    thread.join()
    time.sleep(0.1)
    with hosts[0] as host:
        assert host.status().loaded == ()


def test_forgotten_handle(make_config: MakeConfig) -> None:
    """A handle that nobody holds any more takes its process and its folder with it."""
    config = make_config()
    host = RuntimeHost.start(config)
    pid = host.pid
    del host
    gc.collect()
    assert gone(pid)
    assert config.temp_dir is not None
    assert not list(config.temp_dir.iterdir())


def test_stale_folders(tmp_path: Path) -> None:
    """Folders of ended runs are removed, those of living runs, of strangers, and links are not."""
    alive = Workspace(tmp_path)
    dead = Workspace(tmp_path)
    (dead.path / "models").mkdir()
    assert dead._lock is not None
    os.close(dead._lock)
    dead._lock = None
    young = tmp_path / "flperf-host-young"
    young.mkdir()
    old = tmp_path / "flperf-host-old"
    old.mkdir()
    os.utime(old, (1, 1))
    other = tmp_path / "precious"
    other.mkdir()
    (other / "lock").touch()
    link = tmp_path / "flperf-host-link"
    link.symlink_to(other, target_is_directory=True)
    remove_stale(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([alive.path, young, other, link])
    alive.remove()
    assert not alive.path.exists()


def test_sdk_missing(make_config: MakeConfig, fake_sdk: FakeSdk) -> None:
    """Where the SDK can't be imported, the error says what is missing, for which machines it exists, and what to do."""
    environment = fake_sdk(on_import="raise ModuleNotFoundError(\"No module named 'foundry_local_sdk'\")")
    with pytest.raises(RuntimeUnavailable) as caught:
        RuntimeHost.start(make_config(environment=environment))
    text = str(caught.value)
    assert "No module named 'foundry_local_sdk'" in text
    assert "--flperf-base-url" in text
    assert "Intel Macs" in text


def test_sdk_too_old(make_config: MakeConfig, fake_sdk: FakeSdk) -> None:
    """A version that can't do what is asked of it is named before it crashes in the middle of a suite."""
    with pytest.raises(RuntimeUnavailable, match=r"foundry-local-sdk 2\.1\.0 is installed, expected 2\.2 or") as caught:
        RuntimeHost.start(make_config(environment=fake_sdk(version="2.1.0")))
    assert "pip install --upgrade 'foundry-local-sdk>=2.2'" in str(caught.value)


def test_sdk_broken(make_config: MakeConfig, fake_sdk: FakeSdk) -> None:
    """A native library that does not load is the same kind of trouble."""
    environment = fake_sdk(on_import="raise OSError('libfoundry_local.so: cannot open shared object file')")
    with pytest.raises(RuntimeUnavailable, match="cannot open shared object file"):
        RuntimeHost.start(make_config(environment=environment))


def test_runtime_refuses_to_start(make_config: MakeConfig, fake_sdk: FakeSdk) -> None:
    """What the runtime says when it does not start is passed on."""
    with pytest.raises(RuntimeUnavailable, match="did not start: ValueError: bad weather"):
        RuntimeHost.start(make_config(environment=fake_sdk("raise ValueError('bad weather')")))


def test_runtime_that_lies(make_config: MakeConfig, fake_sdk: FakeSdk) -> None:
    """A runtime that names an address where nothing listens is not believed."""
    environment = fake_sdk(url="http://127.0.0.1:9")
    for start_s in (1, 10, 100):  # a busy machine may take long to start the host, before which no address is tried
        with pytest.raises(RuntimeHostError) as caught:
            RuntimeHost.start(make_config(environment=environment, start_s=start_s))
        if not caught.errisinstance(HostHung):
            break
    assert caught.errisinstance(ServiceUnreachable)
    assert "up at http://127.0.0.1:9 but accepted no connection" in str(caught.value)


def test_runtime_that_hangs_at_start(make_config: MakeConfig, fake_sdk: FakeSdk) -> None:
    """A start that never ends is given up in time."""
    with pytest.raises(HostHung, match=r"did not report ready within 0\.8 s"):
        RuntimeHost.start(make_config(environment=fake_sdk("time.sleep(60)"), start_s=0.8))


@posix
def test_runtime_that_crashes_at_start(make_config: MakeConfig, fake_sdk: FakeSdk) -> None:
    """A crash in native code is HostDied, with the place in its log."""
    with pytest.raises(HostDied, match="SIGABRT while it started") as caught:
        RuntimeHost.start(make_config(environment=fake_sdk("os.abort()")))
    assert "Fatal Python error: Aborted" in str(caught.value)


def test_hostile_log(make_config: MakeConfig, fake_sdk: FakeSdk) -> None:
    """What native code prints does not disturb the conversation, and is shown bounded and harmless."""
    code = r"""
        os.write(1, b"{\"type\": \"ready\"}\n" + b"\x1b[2J\x07\x00\xff\xfe evil\n" + b"x" * 1_000_000 + b"\n")
        os.write(1, b"\n" * 5000 + b"\xe2\x80\xaelast words\r\x9b31m\n")
        raise ValueError("\x1b[31mred\n" * 1000)
    """
    with pytest.raises(RuntimeUnavailable) as caught:
        RuntimeHost.start(make_config(environment=fake_sdk(code)))
    text = str(caught.value)
    assert "last words" in text
    assert text.replace("\n", "").isprintable()
    assert len(text) < 8_000


def test_load_that_fails(make_config: MakeConfig, fake_sdk: FakeSdk) -> None:
    """What the runtime says when a model does not load is passed on, and the host lives on."""
    with service() as url:
        environment = fake_sdk(url=url, load="raise RuntimeError('no room')")
        with RuntimeHost.start(make_config(environment=environment)) as host:
            with pytest.raises(LoadFailed, match="fake:1: RuntimeError: no room"):
                host.load("fake:1")
            assert host.status().loaded == ()


def test_load_that_takes_too_long(make_config: MakeConfig, fake_sdk: FakeSdk) -> None:
    """A load that is not done by its deadline, though the host is alive, is LoadFailed."""
    with service() as url:
        environment = fake_sdk(url=url, load="time.sleep(60)")
        with RuntimeHost.start(make_config(environment=environment)) as host:
            with pytest.raises(LoadFailed, match=r"did not load fake:1 within 1\.\d s; it was still busy"):
                host.load("fake:1", deadline_s=1.5)
            assert not host.alive


def test_interrupted_call(make_config: MakeConfig, fake_sdk: FakeSdk, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a call that was interrupted by Ctrl-C, its late answer is not taken for the next one's."""
    with service() as url:
        environment = fake_sdk(url=url, load="time.sleep(0.5)")
        with RuntimeHost.start(make_config(environment=environment)) as host:
            heard = host._process.heard
            with monkeypatch.context() as patch:
                patch.setattr(host._process, "heard", Interrupting())
                with pytest.raises(KeyboardInterrupt):
                    host.load("fake:1")
            assert host._process.heard is heard
            assert len(host.list_models()) == 1


class Interrupting:
    """A queue in whose ``get`` Ctrl-C is pressed."""

    def get(self, timeout: float) -> None:
        """Press it."""
        raise KeyboardInterrupt


class service:  # noqa: N801 - reads as a function
    """An HTTP server that answers anything, for a runtime that has none."""

    def __enter__(self) -> str:
        from pytest_flperf.foundry_host.catalog import CatalogServer

        self._server = CatalogServer([])
        return self._server.url.partition("/asset")[0]

    def __exit__(self, *_: object) -> None:
        self._server.close()


def test_stopped_by_another_thread(make_config: MakeConfig, fake_sdk: FakeSdk) -> None:
    """A call that waits while another thread stops the host ends with that reason, and soon."""
    with service() as url:
        environment = fake_sdk(url=url, load="time.sleep(60)")
        with RuntimeHost.start(make_config(environment=environment)) as host:
            timer = threading.Timer(0.3, host.stop)
            timer.start()
            with pytest.raises(RuntimeHostError, match="was stopped while it was told to load fake:1"):
                host.load("fake:1")
            timer.join()


_CI_VARIABLES = frozenset({"CI", "TF_BUILD", "GITHUB_ACTIONS", "GITLAB_CI", "JENKINS_URL", "BUILD_ID", "TRAVIS"})


@pytest.mark.skipif(sys.platform != "linux", reason="where the libraries keep their telemetry")
def test_telemetry_is_off(make_config: MakeConfig, tmp_path: Path) -> None:
    """The libraries under the runtime, which have switches of their own, collect nothing either."""
    # Where CI is set the runtime collects nothing by itself, and doesn't say so.
    ours = {name: value for name, value in os.environ.items() if name not in _CI_VARIABLES}
    environment = {**ours, "HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": str(tmp_path / "home" / ".cache")}
    with RuntimeHost.start(make_config(environment=environment)) as host:
        host.load("flperf-nano:1")
        assert "[Telemetry] Disabled via" in host.log_path.read_text()
    assert not list((tmp_path / "home").rglob("onnxruntime*.db"))
