"""Runs of pytest whose results are lost, or that are killed, and what is recovered of them."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from fault_doubles import PytestRun, until, write_suite
from plugin_compat import invite
from tiny_runs import Tiny

from pytest_flperf.reference_server import Fault, FaultKind, ReferenceConfig, ReferenceServer, Schedule
from pytest_flperf.results.records import CaseResult, Run
from pytest_flperf.session.recovery import recover

BUDGETS = ["ttft_ms.p95 <= 60000", "error_rate <= 0"]
SCENARIOS: dict[str, dict[str, Any]] = {
    "fixed": {"iterations": 20, "concurrency": 2},
    "sweep": {"iterations": 6, "concurrency": [1, 2]},
    "search": {"load": "search", "search_to": 2, "iterations": 8},
    "chat": {"load": "session", "turns": ["a", "b"], "prompt": None, "iterations": 6},
    "scored": {"iterations": 6, "expect": {"contains": "a"}, "temperature": 0},
    "missed": {"iterations": 4, "budgets": ["ttft_ms.p50 <= 0.001"]},
}


def scenarios(*names: str, **changes: Any) -> list[dict[str, Any]]:
    """Scenarios of these names, as a suite has them."""
    found = []
    for name in names:
        keys = {"name": name, "prompt": "Hello", "max_tokens": 3, "warmup": 1, "budgets": BUDGETS}
        keys |= {**SCENARIOS[name], **changes}
        found.append({key: value for key, value in keys.items() if value is not None})
    return found


OWN_TESTS = """
    def test_twice(flperf):
        flperf.run(prompt='Hi', iterations=3, warmup=0, max_tokens=2)
        flperf.run(prompt='Ho', iterations=3, warmup=0, max_tokens=2)

    def test_once(flperf):
        flperf.run(prompt='Hi', iterations=3, warmup=0, max_tokens=2, budgets=['ttft_ms.p50 <= 0.001'], check=False)
"""


@pytest.mark.parametrize(
    ("names", "options"),
    [
        ((*SCENARIOS,), ()),
        (("fixed", "scored"), ("--flperf-against=same", "--flperf-max-iterations=12")),
        (("fixed",), ("--flperf-reference",)),
        (("fixed", "scored"), ("-n1",)),
        (("missed", "fixed"), ("--reruns=1",)),
        (("fixed", "chat"), ("--flperf-load-processes=2",)),
        ((), ("test_own.py",)),
        ((), ("test_own.py", "-n2")),
    ],
    ids=["shapes", "against", "reference", "worker", "reruns", "processes", "own tests", "own tests on workers"],
)
def test_the_log_of_a_finished_run(
    tiny: Tiny, names: tuple[str, ...], options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its results file it is what the file said, every field of every case: each of them was judged."""
    if names:
        document = {"name": "tiny", "scenarios": scenarios(*names)}
        (tiny.folder / "tiny.json").write_text(json.dumps(document), encoding="utf-8")
        options = ("--flperf-suite=tiny.json", *options)
    else:
        tiny.pytester.makepyfile(test_own=OWN_TESTS)
    if "--reruns=1" in options:
        invite(monkeypatch, "rerunfailures")
    done = tiny.run(*options, *tiny.at)
    said = Run.from_dict(done.results)
    (done.report / "results.json").unlink()
    recovered = recover(done.report)
    assert said.cases
    assert recovered.cases == said.cases
    known = ("id", "started_at", "suites", "command", "host", "versions", "clock")
    assert [getattr(recovered, name) for name in known] == [getattr(said, name) for name in known]
    assert set(said.notes) < set(recovered.notes)
    assert recovered.status == "interrupted"


# ---- killed


@pytest.fixture(scope="module")
def at() -> Iterator[tuple[str, ...]]:
    """Options that measure a server of its own."""
    schedule = Schedule(ttft_ms=5, itl_ms=2, tokens=4)
    with ReferenceServer(ReferenceConfig(schedule=schedule), in_thread=True) as server:
        yield (f"--flperf-base-url={server.base_url}", "--flperf-model=reference")


def readings(run: PytestRun, scenario: str) -> int:
    """Of the machine, while requests of a scenario were measured."""
    lines = run.records("resources.jsonl")
    return sum(line["phase"] == "measured" and f"::{scenario}[" in line["nodeid"] for line in lines)


def killed(run: PytestRun, scenario: str, count: int) -> Path:
    """Kill pytest, its workers as well, when so many measured requests of a scenario have ended; its folder."""
    run.wait_measured(scenario, count)
    until(lambda: readings(run, scenario) >= 3, "readings of the machine")
    workers = [each for each in psutil.Process(run.process.pid).children() if "-c" in each.cmdline()]
    run.signal(signal.SIGKILL)
    for worker in workers:
        with contextlib.suppress(psutil.Error):
            worker.kill()
    run.process.wait()
    until(lambda: not run.left(), "the end of every child process")
    (folder,) = (path for path in (run.folder / "reports").iterdir() if path.is_dir() and not path.is_symlink())
    (folder / "results.json").unlink(missing_ok=True)
    return folder


def check(run: PytestRun, case: CaseResult) -> None:
    """What is in the files is in the case."""
    ended = [
        line
        for line in run.records("journal.jsonl")
        if line["phase"] == "measured" and line["nodeid"].startswith(case.nodeid) and "[against]" not in line["nodeid"]
    ]
    steps = case.search.steps if case.search is not None else ()
    assert len(ended) == (sum(step.requests for step in steps) or case.requests.total)
    assert case.outcome == "error"
    assert case.message.startswith(f"INTERRUPTED after {len(ended)} ")
    assert case.goodput is not None
    assert {"cpu_pct", "ram_pct"} <= case.resources.keys()
    samples = {(line["nodeid"], line["started_ns"]) for line in run.records("samples.jsonl")}
    assert {(line["nodeid"], line["started_ns"]) for line in ended} <= samples


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize(
    ("name", "changes", "options", "count"),
    [
        ("search", {"iterations": 60, "search_to": 8}, (), 132),
        ("sweep", {"iterations": 60}, (), 80),
        ("fixed", {"iterations": 2000}, ("--flperf-against=same", "--flperf-max-iterations=2000"), 60),
        ("fixed", {"iterations": 2000}, ("--flperf-reference",), 40),
        ("fixed", {"iterations": 2000}, ("-n1",), 20),
        ("missed", {"iterations": 30}, ("--reruns=2",), 40),
    ],
    ids=["search", "sweep", "against", "reference", "worker", "rerun"],
)
def test_killed(
    tmp_path: Path,
    at: tuple[str, ...],
    name: str,
    changes: dict[str, Any],
    options: tuple[str, ...],
    count: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The case under way has all its requests, its goodput, its resources, and what its shape adds."""
    if "--reruns=2" in options:
        invite(monkeypatch, "rerunfailures")
    write_suite(tmp_path, *scenarios(name, **changes))
    with PytestRun(tmp_path, *at, *options) as run:
        cases = recover(killed(run, name, count)).cases
        case = cases[-1]
        if "--reruns=2" in options:
            assert case.reruns == 1
            assert any(note.startswith("an earlier try: failed") for note in case.notes)
            assert case.requests.total < 30
            return
        check(run, case)
        assert len(cases) == (2 if name == "sweep" else 1)
        assert (case.search is not None) is (name == "search")
        if "--flperf-against=same" in options:
            (against,) = case.against
            assert against.pairs in (12, 20, 28, 40)
            assert against.requests.total >= 2 * against.pairs
            assert against.comparisons
        if "--flperf-reference" in options:
            assert case.reference is not None
            assert case.reference.pairs >= 10
            assert {"ttft_ratio", "e2e_ratio"} & case.metrics.keys()


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_killed_with_an_embedded_model(tmp_path: Path) -> None:
    """The same on the runtime itself; of the judged case nothing changes."""
    write_suite(tmp_path, *scenarios("scored"), *scenarios("fixed", iterations=2000))
    with PytestRun(tmp_path, "--flperf-model=flperf-nano") as run:
        folder = killed(run, "fixed", 10)
        judged, case = recover(folder).cases
        assert (judged.scenario, judged.partial) == ("scored", False)
        check(run, case)
        shutil.rmtree(folder)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_killed_while_a_model_is_made_ready(tmp_path: Path) -> None:
    """The case is listed, as it is after Ctrl-C."""
    write_suite(tmp_path, *scenarios("fixed"))
    silent = ReferenceConfig(fault=Fault(FaultKind.HANG_BEFORE_HEADERS))
    with (
        ReferenceServer(silent, in_thread=True) as server,
        PytestRun(tmp_path, f"--flperf-base-url={server.base_url}", "--flperf-model=reference") as run,
    ):
        until(lambda: server.log, "the verifying request")
        run.signal(signal.SIGKILL)
        run.process.wait()
        (case,) = recover(run.report).cases
    assert (case.scenario, case.outcome, case.partial) == ("fixed", "error", True)
    assert case.message == "INTERRUPTED while its model was made ready"
