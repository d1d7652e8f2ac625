"""The same suite on several machines: pytest-xdist over real sshd, two of them on loopback declared as two machines."""

from __future__ import annotations

import getpass
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_runs import Done, Tiny

import pytest_flperf

SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/sbin")
MISSING = None if SSHD and shutil.which("ssh") and shutil.which("ssh-keygen") else "no sshd, ssh or ssh-keygen here"
pytestmark = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
NAMES = ("laptop-a", "laptop-b")
SCENARIOS = tuple({"name": name} for name in ("one", "two", "three"))
DIES = """
import os
def pytest_runtest_setup(item):
    if item.name.startswith("two["):
        os.kill(os.getpid(), 9)
"""


class Machines:
    """Two machines: folders, and how to reach them."""

    def __init__(self, tiny: Tiny, folder: Path, config: Path) -> None:
        self._tiny = tiny
        self._config = config
        self.folders = {name: folder / name / "home" for name in NAMES}
        for home in self.folders.values():
            home.mkdir(parents=True, exist_ok=True)

    def suite(self, *scenarios: dict[str, object]) -> None:
        """Write the same suite here and on both."""
        path = self._tiny.suite(*scenarios)
        for home in self.folders.values():
            shutil.copy(path, home / path.name)

    def tx(self, name: str, python: str = sys.executable) -> str:
        """A worker there."""
        home = self.folders.get(name, self.folders[NAMES[0]])
        return f"--tx=ssh=-F {self._config} {name}//python={python}//chdir={home}"

    def run(self, *arguments: str, tx: tuple[str, ...] | None = None) -> Done:
        """Measure ``tiny.json`` on both."""
        workers = tx if tx is not None else tuple(map(self.tx, NAMES))
        return self._tiny.run_apart("--dist=each", *workers, *self._tiny.at, *arguments)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> bool:
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return True
    return False


@pytest.fixture
def machines(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """Two sshd, each with a host name, a lock folder and a home of its own."""
    folder = tmp_path_factory.mktemp("machines")
    key = folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    source = Path(pytest_flperf.__file__).parents[1]
    config, servers = [], []
    for name in NAMES:
        home, port = folder / name, _free_port()
        (home / "lock").mkdir(parents=True)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(home / "host_key")], check=True)
        settings = (
            f"Port {port}\nListenAddress 127.0.0.1\nHostKey {home}/host_key\nPidFile {home}/pid\n"
            f"AuthorizedKeysFile {key}.pub\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\n"
            f'SetEnv FLPERF_HOST={name} FLPERF_LOCK_DIR={home}/lock PYTHONPATH={source} PYTEST_ADDOPTS="'
            f'{os.environ["PYTEST_ADDOPTS"].replace(chr(34), "")}"\n'
        )
        (home / "sshd_config").write_text(settings, encoding="utf-8")
        assert SSHD is not None
        log = (home / "log").open("wb")
        servers.append(
            (subprocess.Popen([SSHD, "-D", "-e", "-f", str(home / "sshd_config")], stderr=log, stdout=log), port)
        )
        log.close()
        config.append(
            f"Host {name}\n HostName 127.0.0.1\n Port {port}\n User {getpass.getuser()}\n IdentityFile {key}\n"
            " IdentitiesOnly yes\n BatchMode yes\n StrictHostKeyChecking no\n UserKnownHostsFile /dev/null\n"
            " LogLevel ERROR\n"
        )
    config.append(f"Host gone\n HostName 127.0.0.1\n Port {_free_port()}\n BatchMode yes\n")
    (folder / "config").write_text("".join(config), "utf-8")
    try:
        if not all(_wait_for(port, server) for server, port in servers):
            pytest.skip(f"sshd does not start here: {(folder / NAMES[0] / 'log').read_text('utf-8', 'replace')[:500]}")
        yield Machines(tiny, folder, folder / "config")
    finally:
        for server, _ in servers:
            server.terminate()
        for server, _ in servers:
            server.wait(30)


def test_two_machines(machines: Machines, tiny: Tiny) -> None:
    """Every case on both, in one report that names the hosts; requests stay on the machine that sent them."""
    machines.suite(*SCENARIOS)
    done = machines.run("--flperf-suite=tiny.json", "--junitxml=junit.xml")
    assert done.ret == 0, done.text
    cases = {(case["scenario"], case["host"]): case["outcome"] for case in done.cases}
    assert cases == {(each["name"], host): "passed" for each in SCENARIOS for host in NAMES}
    run = done.results["run"]
    assert (run["host"], sorted(host["name"] for host in run["hosts"])) == (None, sorted(NAMES))
    assert not any("alongside" in note for case in done.cases for note in case["notes"])
    names = [test.get("name") for test in ET.parse(tiny.folder / "junit.xml").iter("testcase")]
    assert sorted(map(str, names)) == sorted(
        f"{each['name']}[reference] ({host})" for each in SCENARIOS for host in NAMES
    )
    for home in machines.folders.values():
        (journal,) = home.glob("reports/*/journal.jsonl")
        lines = [json.loads(line) for line in journal.read_text("utf-8").splitlines()]
        assert sum(line["phase"] == "measured" for line in lines) == len(SCENARIOS)


def test_a_machine_that_is_lost(machines: Machines) -> None:
    """Its cases are errors with that reason, the others go on, and the run is red."""
    machines.suite(*SCENARIOS)
    (machines.folders["laptop-b"] / "conftest.py").write_text(DIES, encoding="utf-8")
    done = machines.run("--flperf-suite=tiny.json")
    assert done.ret == pytest.ExitCode.TESTS_FAILED, done.text
    cases = {(case["scenario"], case["host"]): case for case in done.cases}
    assert {case["outcome"] for (_, host), case in cases.items() if host == "laptop-a"} == {"passed"}
    assert [cases[name, "laptop-b"]["outcome"] for name in ("one", "two", "three")] == ["passed", "failed", "error"]
    assert "crashed while running" in cases["two", "laptop-b"]["message"]
    assert "laptop-b was lost: its worker ended while it ran" in cases["three", "laptop-b"]["message"]
    assert len(cases) == 6
    assert done.results["run"]["status"] == "error"


def test_a_machine_that_is_lost_before_it_has_tests(machines: Machines) -> None:
    """The run ends, and is not green."""
    machines.suite(*SCENARIOS)
    home = machines.folders["laptop-b"]
    (home / "conftest.py").write_text("import os\nos.kill(os.getpid(), 9)\n", encoding="utf-8")
    done = machines.run("--flperf-suite=tiny.json")
    assert done.ret == pytest.ExitCode.TESTS_FAILED, done.text
    assert {case["outcome"] for case in done.cases if case["host"] == "laptop-b"} == {"error"}
    assert "laptop-b was lost: its worker ended before it had listed its tests" in done.cases[-1]["message"]


def test_what_is_refused(machines: Machines) -> None:
    """One message that says which machine and what to do, exit status 4, and nothing is measured."""
    machines.suite(*SCENARIOS)
    a, b = map(machines.tx, NAMES)
    twice = machines.run("--flperf-suite=tiny.json", tx=(a, a))
    assert "is the machine of worker gw0 as well: found two workers on it, expected one for each machine" in twice.text
    path = machines.run("tiny.json")
    assert "found the path tiny.json, which other machines don't get; expected --flperf-suite=PATH" in path.text
    spread = machines.run("--flperf-suite=tiny.json", "--dist=load")
    assert "found --dist load with 2 workers, expected --dist each" in spread.text
    gone = machines.run("--flperf-suite=tiny.json", tx=(machines.tx("gone"),))
    assert "can't be reached, or has no such Python" in gone.text
    (machines.folders["laptop-b"] / "tiny.json").unlink()
    without = machines.run("--flperf-suite=tiny.json", tx=(a, b))
    assert "laptop-b (ssh=" in without.text
    machines.suite({"name": "another"})
    machines.folders["laptop-a"].joinpath("tiny.json").write_text(
        '{"name": "tiny", "scenarios": [{"name": "x", "prompt": "x"}]}', "utf-8"
    )
    other = machines.run("--flperf-suite=tiny.json", tx=(a, b))
    assert "laptop-a (ssh=" in other.text
    assert "the suites differ from those here (tiny.json)" in other.text
    for done in (twice, path, spread, gone, without, other):
        assert done.ret == pytest.ExitCode.USAGE_ERROR, done.text
    journals = [path for home in machines.folders.values() for path in home.glob("reports/*/journal.jsonl")]
    assert [line for path in journals for line in path.read_text("utf-8").splitlines() if '"measured"' in line] == []
