"""Trees of processes: what they use, who belongs to them, and what can't be told."""

from __future__ import annotations

import subprocess
import sys
import time

import psutil
import pytest
from child_processes import Child, until

from pytest_flperf.telemetry import processes
from pytest_flperf.telemetry.host import HostSource
from pytest_flperf.telemetry.processes import ProcessTree
from pytest_flperf.telemetry.readings import ServerProcesses

MB = 1 << 20
NS_PER_S = 1e9


@pytest.fixture(params=["as here", "as elsewhere"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The ways of this system, and those of systems without them."""
    way: str = request.param
    if way == "as elsewhere":
        monkeypatch.setattr(processes, "_children_on_linux", lambda pid: None)
        monkeypatch.setattr(processes, "_clock_of", lambda pid: None)
    return way


def _told_s(*pids: int) -> float:
    """Processor time as the system tells it."""
    times = [psutil.Process(pid).cpu_times() for pid in pids]
    return sum(each.user + each.system for each in times)


def test_processor_time_is_what_the_system_tells(system: str) -> None:
    """A process that burns for half a second is charged what it used, and nothing of what it used before."""
    del system
    with Child() as child:
        child.tell("burn")
        time.sleep(0.2)
        tree = ProcessTree([child.pid])
        first, told_before = tree.read().cpu_ns, _told_s(child.pid)
        assert first is not None
        assert first < 0.1 * NS_PER_S
        until(lambda: _told_s(child.pid) - told_before > 0.5)
        last, told_after = tree.read().cpu_ns, _told_s(child.pid)
        assert last is not None
        assert (last - first) / NS_PER_S == pytest.approx(told_after - told_before, abs=0.1)


def test_memory_is_counted(system: str) -> None:
    """100 MB more in a process are 100 MB more in its tree."""
    del system
    with Child() as child:
        tree = ProcessTree([child.pid])
        before = tree.read().rss_bytes
        child.tell("take 100")
        after = tree.read().rss_bytes
        assert before is not None
        assert after is not None
        assert 98 * MB < after - before < 120 * MB


def test_children_come_and_go(system: str) -> None:
    """A child's memory and processor time count from its start, and its memory no more after its end."""
    del system
    with Child() as child:
        tree = ProcessTree([child.pid])
        alone = tree.read().rss_bytes
        assert alone is not None
        child.tell("start take 60")

        def grown() -> bool:
            use = tree.read()
            return use.rss_bytes is not None and use.rss_bytes > alone + 60 * MB

        until(grown)
        (grandchild,) = psutil.Process(child.pid).children()
        used = tree.read().cpu_ns
        assert used is not None
        assert used / NS_PER_S >= _told_s(grandchild.pid) - 0.03, "all of it was after the first look"
        child.tell("stop")
        until(lambda: (tree.read().rss_bytes or 0) < alone + 20 * MB)
        after = tree.read()
        assert after.absent == ""
        assert after.cpu_ns is not None
        assert after.cpu_ns >= used, "what an ended child used stays used"


@pytest.mark.parametrize("reap", [True, False])
def test_an_ended_process_is_absent(system: str, reap: bool) -> None:
    """Ended, as a zombie too: no figure and a reason, never a zero, whoever gets its number next."""
    del system
    with Child() as child:
        tree = ProcessTree([child.pid])
        assert tree.read().rss_bytes
        child.kill(reap=reap)
        until(lambda: tree.read().absent == "the server's process has ended")
        assert (tree.read().cpu_ns, tree.read().rss_bytes) == (None, None)
        assert tree.ended


def test_a_number_used_again_is_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process whose id is another's by now leaves the tree."""
    with Child() as child:
        tree = ProcessTree([child.pid])
        assert tree.read().rss_bytes
        with monkeypatch.context() as patch:
            patch.setattr(psutil.Process, "is_running", lambda process: False)  # how psutil tells of a reused id
            until(lambda: tree.read().rss_bytes is None)
            assert tree.ended


def test_no_permission(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that may not be looked at: absent with the reason."""

    def refuse(process: psutil.Process) -> None:
        raise psutil.AccessDenied(process.pid)

    monkeypatch.setattr(psutil.Process, "memory_info", refuse)
    with Child() as child:
        use = ProcessTree([child.pid]).read()
    assert (use.cpu_ns, use.rss_bytes) == (None, None)
    assert use.absent == "no permission to look at the server's processes"


@pytest.mark.parametrize("elsewhere", [False, True])
def test_the_measuring_is_no_part_of_the_server(elsewhere: bool) -> None:
    """Where the server itself started the process that measures, neither it nor its children count."""
    code = f"""if True:
        import os, psutil, subprocess, sys
        from pytest_flperf.telemetry import processes
        if {elsewhere}:
            processes._children_on_linux = lambda pid: None
        mine = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        use = processes.ProcessTree([os.getppid()]).read()
        print(use.rss_bytes / psutil.Process(os.getppid()).memory_info().rss)
        mine.communicate(b"x")
    """
    server = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}], check=True)"
    done = subprocess.run([sys.executable, "-c", server], capture_output=True, text=True, check=True)
    assert float(done.stdout) == pytest.approx(1, abs=0.05)


def test_a_process_that_was_never_there() -> None:
    """No such process: absent."""
    with Child() as child:
        child.kill()
        assert ProcessTree([child.pid]).read().absent == "the server's process has ended"


def test_the_machine_and_a_server() -> None:
    """Two looks give all figures; one core burnt shows in both processor figures."""
    source = HostSource()
    source.open()
    with Child() as child:
        child.tell("burn")
        server = ServerProcesses((child.pid,))
        source.read(server)
        began, told = time.monotonic(), _told_s(child.pid)
        until(lambda: _told_s(child.pid) - told > 0.3 and time.monotonic() - began > 0.6)
        reading = source.read(server)
        burnt_pct = 100 * (_told_s(child.pid) - told) / (time.monotonic() - began)
    assert not reading.absent
    assert set(reading.values) == set(source.metrics)
    assert 0 < reading.values["ram_pct"] <= 100
    assert 0 < reading.values["cpu_pct"] <= 100
    # one thread of Python, which may have to share its core
    assert reading.values["server_cpu_pct"] == pytest.approx(burnt_pct, rel=0.3)
    assert 3 < reading.values["server_rss_mb"] < 100


def test_the_first_look_gives_no_rate() -> None:
    """Without an earlier look there is no processor figure: absent, no zero."""
    source = HostSource()
    with Child() as child:
        values = source.read(ServerProcesses((child.pid,))).values
    assert set(values) == {"ram_pct", "server_rss_mb"}


def test_no_server_is_known() -> None:
    """The machine's figures come all the same; the server's have the backend's reason."""
    source = HostSource()
    source.open()
    time.sleep(0.06)
    reading = source.read(ServerProcesses((), "the server is on another machine"))
    assert set(reading.values) == {"cpu_pct", "ram_pct"}
    assert reading.absent == dict.fromkeys(("server_cpu_pct", "server_rss_mb"), "the server is on another machine")


def test_a_look_is_quick() -> None:
    """A look at the machine and a server takes well under 5 ms."""
    source = HostSource()
    source.open()
    with Child() as child:
        server = ServerProcesses((child.pid,))
        source.read(server)
        took_s = []
        for _ in range(20):
            began = time.thread_time()
            source.read(server)
            took_s.append(time.thread_time() - began)
    assert sorted(took_s)[10] < 0.005
