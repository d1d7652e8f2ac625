"""Signals that end a session, wherever they come and however often: nothing eats one, nothing is lost to a second."""

from __future__ import annotations

import signal
import sys
import textwrap
from itertools import cycle, product
from pathlib import Path

import pytest
from fault_doubles import PytestRun, write_suite
from tiny_runs import Tiny

from pytest_flperf.integration.signals import Terminated
from pytest_flperf.reference_server import ReferenceServer

pytestmark = [pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX"), pytest.mark.slow]

TERM, INT, HUP = "SIGTERM", "SIGINT", "SIGHUP"
CASES = [{"name": name, "iterations": 3, "max_tokens": 2} for name in ("one", "two")]
STRIKE = """
import atexit
import os
import signal
import pytest

def strike(*names):
    for name in names:
        os.kill(os.getpid(), getattr(signal, name))
        for _ in range(100):
            pass

def raising_before(module, name, *names, number=1):
    calls = []
    real = getattr(module, name)
    def patched(*args, **kwargs):
        calls.append(name)
        if len(calls) == number:
            strike(*names)
        return real(*args, **kwargs)
    setattr(module, name, patched)
"""
WINDOWS = {
    "the search for the owner of the port": """
        import pytest_flperf.telemetry.ports as ports
        raising_before(ports, "_sockets", {signals})
    """,
    "an object that is collected": """
        class Dying:
            def __del__(self):
                strike({signals})
        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_call(item):
            if "one" in item.name:
                Dying()
            return (yield)
    """,
    "a bare except of others": """
        @pytest.fixture(autouse=True)
        def careless(request):
            try:
                "one" in request.node.name and strike({signals})
            except:
                pass
    """,
    "a hook of ours": """
        def pytest_flperf_case_measured(config, result):
            "one" in result.nodeid and strike({signals})
    """,
    "the loading of the model": """
        import pytest_flperf.measurement.runner as bench
        raising_before(bench.Bench, "ready", {signals})
    """,
    "the judgement": """
        from pytest_flperf.session.verdicts import Verdicts
        raising_before(Verdicts, "judged", {signals})
    """,
}
"""Where a signal comes, in the first of two cases."""
LATER = {
    "pytest is told": "def pytest_keyboard_interrupt():\n    strike({signals})",
    "the session ends": "def pytest_sessionfinish():\n    strike({signals})",
    "fixtures end": """
        @pytest.fixture(scope="session", autouse=True)
        def whole():
            yield
            strike({signals})
    """,
    "the results are written": """
        from pytest_flperf.session.run_record import RunRecord
        raising_before(RunRecord, "finish", {signals})
    """,
    "the page is written": """
        from pytest_flperf.session.artifacts import Publisher
        raising_before(Publisher, "publish", {signals})
    """,
    "the table is printed": """
        import pytest_flperf.integration.terminal as terminal
        raising_before(terminal, "summary_lines", {signals})
    """,
    "processes end": """
        from pytest_flperf.session.run import MeasuringRun
        raising_before(MeasuringRun, "close", {signals})
    """,
}
"""Where more of them come, while the session ends."""


def conftest(folder: Path, code: str, *signals: str) -> None:
    """A ``conftest.py`` that strikes its own process."""
    filled = textwrap.dedent(code).replace("{signals}", ", ".join(map(repr, signals)))
    path = folder / "conftest.py"
    written = path.read_text(encoding="utf-8") if path.exists() else STRIKE
    path.write_text(written + filled + "\n", encoding="utf-8")


def at(server: ReferenceServer) -> tuple[str, str]:
    """Options to measure the server."""
    return f"--flperf-base-url={server.base_url}", "--flperf-model=reference"


def check_interrupted(run: PytestRun) -> None:
    """The session ended in order at its first case, with a table and files."""
    assert run.end() == 2, run.output
    assert "Traceback" not in run.output.partition("PytestUnraisableExceptionWarning")[0], run.output
    assert "INTERNALERROR" not in run.output
    assert "(INTERRUPTED)" in run.output, run.output
    assert "results: reports" in run.output
    assert run.results["run"]["status"] == "interrupted"
    assert run.outcomes().keys() <= {"one"}, "no case begins after a signal"
    assert (run.report / "report.html").exists()


@pytest.mark.parametrize(("window", "number"), [*zip(WINDOWS, cycle((TERM, INT))), (next(iter(WINDOWS)), HUP)])
def test_no_signal_is_swallowed(tmp_path: Path, reference: ReferenceServer, window: str, number: str) -> None:
    """A signal ends the session also where it comes in the middle of what allows for errors."""
    write_suite(tmp_path, *CASES)
    conftest(tmp_path, WINDOWS[window], number)
    with PytestRun(tmp_path, *at(reference)) as run:
        check_interrupted(run)


@pytest.mark.parametrize(("moment", "numbers"), [*product(LATER, [f"{TERM} {INT} {TERM}"])])
def test_more_signals_leave_results_and_table(
    tmp_path: Path, reference: ReferenceServer, moment: str, numbers: str
) -> None:
    """A second Ctrl-C, and a SIGTERM after it, cut off nothing of what the first one has begun."""
    write_suite(tmp_path, *CASES)
    conftest(tmp_path, WINDOWS["the judgement"], INT)
    conftest(tmp_path, LATER[moment], *numbers.split())
    with PytestRun(tmp_path, *at(reference)) as run:
        check_interrupted(run)
        assert run.case("one")["requests"]["ok"] == 3


@pytest.mark.parametrize("moment", ["the results are written", "the table is printed"])
def test_a_first_signal_at_the_very_end(tmp_path: Path, reference: ReferenceServer, moment: str) -> None:
    """All was measured: it is written and printed, and nothing is called interrupted."""
    write_suite(tmp_path, *CASES)
    conftest(tmp_path, LATER[moment], TERM)
    with PytestRun(tmp_path, *at(reference)) as run:
        assert run.end() == 0, run.output
        assert "flperf: PASSED: 2 passed" in run.output
        assert run.results["run"]["status"] == "passed"


def test_signals_that_somebody_handles_or_ignores(tmp_path: Path, reference: ReferenceServer) -> None:
    """A handler of the user's stays, as does what ``nohup`` ignores; after the session all is as it was."""
    write_suite(tmp_path, *CASES)
    conftest(
        tmp_path,
        """
        seen = []
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: seen.append("mine"))
        def pytest_flperf_case_measured(config, result):
            strike("SIGHUP", "SIGTERM")
        @atexit.register
        def said_last():
            usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
            print(f"handled {len(seen)}, SIGINT as it was: {usual}")
        """,
    )
    with PytestRun(tmp_path, *at(reference), "-s") as run:
        assert run.end() == 0, run.output
        assert "handled 2, SIGINT as it was: True" in run.output


def test_a_ctrl_c_that_is_part_of_a_test(tiny: Tiny) -> None:
    """What a test that measures nothing does with its own signals is its own, in a session that measures as well."""
    tiny.pytester.makepyfile(
        test_mine="""
        import signal
        import pytest
        def test_measures(flperf):
            flperf.run(prompt="Hi", iterations=1, max_tokens=2)
        def test_handles():
            for _ in range(2):
                with pytest.raises(KeyboardInterrupt):
                    signal.raise_signal(signal.SIGINT)
        def test_measures_again(flperf):
            flperf.run(prompt="Hi", iterations=1, max_tokens=2)
        """
    )
    done = tiny.run(*tiny.at)
    assert done.ret == 0, done.text
    assert "3 passed" in done.counts


def test_a_debugger_is_not_opened_by_a_signal(tmp_path: Path, reference: ReferenceServer) -> None:
    """With ``--pdb`` a SIGTERM ends the session as well, in place of asking for commands."""
    write_suite(tmp_path, *CASES)
    conftest(tmp_path, WINDOWS["the judgement"], TERM)
    with PytestRun(tmp_path, *at(reference), "--pdb") as run:
        check_interrupted(run)
        assert "(Pdb)" not in run.output


def test_no_handler_of_errors_catches_it() -> None:
    """What a signal raises is no ``Exception``, and pytest takes it for an interrupt."""
    assert not issubclass(Terminated, Exception)
    assert issubclass(Terminated, KeyboardInterrupt)
    assert signal.Signals[TERM] == signal.SIGTERM


def test_fixtures_that_hang(tmp_path: Path, reference: ReferenceServer) -> None:
    """Another signal breaks off what fixtures do at the end, once they have had their time, and nothing else."""
    write_suite(tmp_path, *CASES)
    conftest(tmp_path, WINDOWS["the judgement"], INT)
    hanging = """
        import time
        import pytest_flperf.integration.signals as stopping
        stopping._FINALISING_S = 0.0
        @pytest.fixture(scope="session", autouse=True)
        def hanging():
            yield
            strike({signals})
            time.sleep(600)
    """
    conftest(tmp_path, hanging, INT)
    with PytestRun(tmp_path, *at(reference)) as run:
        check_interrupted(run)


def test_an_end_that_hangs(tmp_path: Path, reference: ReferenceServer) -> None:
    """A signal long after the first one ends pytest at once; the next run is clean."""
    write_suite(tmp_path, *CASES)
    conftest(tmp_path, WINDOWS["the judgement"], INT)
    conftest(tmp_path, "import pytest_flperf.integration.signals as stopping\nstopping._ENDING_S = 0.0")
    conftest(tmp_path, LATER["the results are written"], TERM)
    with PytestRun(tmp_path, *at(reference)) as run:
        assert run.end_somehow() == -signal.SIGTERM


def test_a_signal_to_the_controller_of_xdist(tmp_path: Path, reference: ReferenceServer) -> None:
    """Its worker had told nothing yet: what that has measured is in table and files all the same."""
    write_suite(tmp_path, {"name": "one", "iterations": 100_000, "max_tokens": 2}, CASES[1])
    with PytestRun(tmp_path, *at(reference), "-n1") as run:
        run.wait_measured("one", 5)
        run.signal(signal.SIGTERM)
        check_interrupted(run)
        assert run.case("one")["requests"]["ok"] >= 5
