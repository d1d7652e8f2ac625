"""Runs that a script makes: measured, judged, written and stored like those of pytest."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import pytest_flperf
from pytest_flperf import (
    CaseResult,
    FlperfError,
    NotMeasuredError,
    compare,
    load_run,
    load_runs,
    load_suite,
    measure,
)
from pytest_flperf.options import OPTIONS
from pytest_flperf.testing import Fault, ReferenceConfig, ReferenceServer, Schedule

QUICK = Schedule(ttft_ms=1, itl_ms=1, tokens=3)


@pytest.fixture(scope="module")
def server() -> Iterator[ReferenceServer]:
    """A server that answers quickly."""
    with ReferenceServer(ReferenceConfig(QUICK), in_thread=True) as server:
        yield server


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a suite of two scenarios."""
    monkeypatch.chdir(tmp_path)
    scenarios = [{"name": name, "prompt": "Hello", "max_tokens": 3, "iterations": 3} for name in ("one", "two")]
    (tmp_path / "s.json").write_text(json.dumps({"name": "both", "scenarios": scenarios}), encoding="utf-8")
    return tmp_path


def at(server: ReferenceServer) -> dict[str, Any]:
    """Arguments that measure this server."""
    return {"base_url": server.base_url, "model": "reference"}


def test_a_run_is_written_and_stored(here: Path, server: ReferenceServer) -> None:
    """As a run of pytest is: journal, samples, results, page, store; and it is found again by all its names."""
    told: list[str] = []
    run = measure("s.json", **at(server), on_case=lambda case: told.append(case.nodeid))
    assert run.status == "passed"
    assert told == [case.nodeid for case in run.cases] == ["s.json::one[reference]", "s.json::two[reference]"]
    assert all(case.outcome == "passed" and case.requests.ok == 3 and case.e2e_ms.n == 3 for case in run.cases)
    folder = here / "reports" / run.id
    assert (here / "reports" / "latest").resolve() == folder
    files = {path.name for path in folder.iterdir()}
    assert {"results.json", "report.html", "journal.jsonl", "samples.jsonl", "run.jsonl"} <= files
    assert load_run() == load_run(run.id) == load_run(folder) == load_run(folder / "results.json")
    assert [each.id for each in load_runs()] == [run.id]
    assert load_run() == run, "what is returned is what was written"


def test_a_loaded_suite_and_two_models(here: Path, server: ReferenceServer) -> None:
    """Cases of one model are measured together; a suite may be given as it was loaded."""
    del here
    suite = load_suite("s.json")
    assert [scenario.name for scenario in suite.scenarios] == ["one", "two"]
    run = measure(suite, base_url=server.base_url, model=["a", "b"], iterations=1, store="none")
    assert [(case.model, case.scenario) for case in run.cases] == [
        ("a", "one"), ("a", "two"), ("b", "one"), ("b", "two"),
    ]  # fmt: skip
    with pytest.raises(FlperfError, match="no store"):
        load_runs()


def test_pytest_is_not_imported(here: Path) -> None:
    """Neither by measuring, nor by loading and comparing."""
    code = """
        import sys
        from pytest_flperf import compare, load_run, measure
        from pytest_flperf.testing import ReferenceServer
        with ReferenceServer() as server:
            runs = [measure("s.json", base_url=server.base_url, model="reference", iterations=12) for _ in range(2)]
        assert not compare(runs[1], runs[0]).failed and load_run().id == runs[1].id
        print(sorted({"pytest", "_pytest"} & set(sys.modules)))
    """
    script = here / "script.py"
    script.write_text(inspect.cleandoc(code), encoding="utf-8")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "[]", "")


def test_every_argument_is_an_option() -> None:
    """Named as the option is, with the same meaning; a unit may be added."""
    own = {"suite", "on_case"}
    known = {option.dest.removeprefix("flperf_") for option in OPTIONS}
    given = set(inspect.signature(measure).parameters) - own
    assert {name.removesuffix("_s") for name in given} <= known


@pytest.mark.parametrize(
    ("budgets", "status", "outcome"),
    [(["ttft_ms.p50 <= 60s"], "passed", "passed"), (["ttft_ms.p50 <= 1us"], "failed", "failed"),
     (["run.wall_s <= 1ms"], "failed", "passed")],
)  # fmt: skip
def test_budgets_judge(here: Path, server: ReferenceServer, budgets: list[str], status: str, outcome: str) -> None:
    """Those of cases and those of the run; a missed one is no exception."""
    del here
    run = measure("s.json", **at(server), budget=budgets, store="none")
    assert run.status == status
    assert {case.outcome for case in run.cases} == {outcome}
    assert load_run().status == status


def test_a_server_that_fails(here: Path) -> None:
    """Its failures are in the results, and nothing that was not measured reads as a number."""
    del here
    fault = ReferenceConfig(QUICK, fault=Fault("http_error"))
    with ReferenceServer(fault, in_thread=True) as server:
        run = measure("s.json", **at(server), store="none")
    assert run.status in ("error", "failed", "not_measured")
    assert all(case.outcome in ("failed", "error") and case.message for case in run.cases)
    with pytest.raises(NotMeasuredError, match="no value of ttft_ms was measured"):
        _ = run.cases[0].ttft_ms


@pytest.mark.parametrize(
    ("suite", "arguments", "says"),
    [
        ("nosuch", {}, "unknown suite"),
        ("broken.json", {}, "broken.json"),
        ("s.json", {"budget": ["ttft <= 3"]}, "unknown metric"),
        ("s.json", {"load": "often"}, "expected"),
        ("s.json", {"max_time": "soon"}, "expected a time"),
        ("s.json", {"base_url": "127.0.0.1"}, "http://"),
        ("s.json", {"baseline": "nosuch"}, "no run"),
        ("s.json", {"fail_on": ["ttft_ms.p50 > +10%"]}, "nothing to compare with"),
        ("s.json", {"store": "mysql://x"}, "expected a file"),
        ("s.json", {"model": " "}, "model: found ' ', expected a string"),
        ("s.json", {"model": ","}, "expected the name of a model"),
        ("s.json", {"iterations": 0}, "iterations"),
        ("s.json", {"temperature": "hot"}, "expected a number from 0 to 2"),
        ("s.json", {"base_url": 8080}, "base_url: found 8080, expected a string"),
        ("s.json", {"budget": [3]}, "budget: found 3, expected a string"),
        ("s.json", {"base_url": ""}, "base_url: found '', expected a string"),
        ("s.json", {"fail_on": [" "]}, "fail_on: found ' ', expected a string"),
        ("s.json", {"max_time": -3}, "expected a time"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_measured(
    here: Path, server: ReferenceServer, suite: str, arguments: dict[str, Any], says: str
) -> None:
    """In the words of the command line, as one kind of error."""
    (here / "broken.json").write_text("{", encoding="utf-8")
    with pytest.raises(FlperfError) as caught:
        measure(suite, **{**at(server), **arguments})
    assert says in str(caught.value)
    assert not (here / "reports").exists()


def test_an_interrupt_leaves_a_readable_run(here: Path, server: ReferenceServer) -> None:
    """What was measured is kept, the rest is not green, and the interrupt goes on."""
    del here

    def stop(case: CaseResult) -> None:
        del case
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure("s.json", **at(server), on_case=stop)
    run = load_run()
    assert (run.status, run.partial) == ("interrupted", True)
    assert [case.scenario for case in run.cases] == ["one"]
    assert measure("s.json", **at(server)).status == "passed"


def test_what_could_not_be_written_is_a_warning(here: Path, server: ReferenceServer) -> None:
    """The run is returned and written all the same."""
    (here / "store").write_text("this is no database, and never was" * 100, encoding="utf-8")
    with pytest.warns(UserWarning, match="the run is not in the store"):
        run = measure("s.json", **at(server), budget="error_rate <= 0", store="store")
    assert (run.status, load_run().id) == ("passed", run.id)


def test_a_fault_of_the_script_loses_nothing(here: Path, server: ReferenceServer) -> None:
    """The exception is the script's, the run is written, and it did not pass."""
    del here
    with pytest.raises(ZeroDivisionError):
        measure("s.json", **at(server), on_case=lambda _: divmod(1, 0) and None)
    assert load_run().status == "interrupted"
    assert load_run().cases[0].requests.ok == 3


def test_another_run_is_waited_for(here: Path, server: ReferenceServer) -> None:
    """No longer than was said; then nothing is measured, and nothing is green."""
    del here
    hold = (
        "import sys; from pytest_flperf.measurement.machine_lock import MachineLock; lock = MachineLock('another run');"
        " print(lock.try_take(), flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        run = measure("s.json", **at(server), lock_timeout="0", store="none")
        other.communicate()
    assert run.status == "not_measured"
    assert all("not measured" in case.message for case in run.cases)


def test_threads_take_turns(here: Path, server: ReferenceServer) -> None:
    """Two runs of one process would share its processors, and each would measure the other."""
    del here
    events: list[str] = []

    def run(name: str) -> None:
        measure("s.json", **at(server), store="none", report_dir=name, on_case=lambda _: events.append(name))

    with ThreadPoolExecutor() as pool:
        assert [each.result() for each in [pool.submit(run, name) for name in ("a", "b")]] == [None, None]
    assert sorted(events) == ["a", "a", "b", "b"]
    assert events[0] == events[1]


def test_compared_with_a_run(here: Path, server: ReferenceServer) -> None:
    """Runs are compared as objects, by id and by path, and with a baseline while they are measured."""
    del here
    first, second = (measure("s.json", **at(server), iterations=12) for _ in range(2))
    by_object = compare(second, first, fail_on=["error_rate > +0%"])
    assert not by_object.failed
    assert {each.verdict for _, each in by_object.comparisons} == {"unchanged"}
    assert len(by_object.comparisons) == 2
    by_name = compare(second.id, Path("reports") / first.id, fail_on=["error_rate > +0%"])
    assert [each for _, each in by_name.comparisons] == [each for _, each in by_object.comparisons]
    third = measure("s.json", **at(server), baseline=first.id, fail_on=["error_rate > +0%"])
    assert {side.run_id for case in third.cases for side in case.against} == {first.id}
    with pytest.raises(FlperfError, match="unknown metric"):
        compare(second, first, fail_on="speed > +1%")
    with pytest.raises(FlperfError, match="matches no scenario of the run, such as one, two"):
        compare(second, first, fail_on="three: ttft_ms.p50 > +1%")


def test_a_password_of_the_store_is_not_shown(here: Path) -> None:
    """Whatever is wrong with the store."""
    del here
    for call in (load_runs, load_run):
        with pytest.raises(FlperfError) as caught:
            call(store="postgresql+psycopg://me:s3cret-word@127.0.0.1:1/nowhere")
        assert "s3cret-word" not in str(caught.value)


def test_public_names() -> None:
    """Each can be imported, and an unknown one is an AttributeError."""
    assert {name for name in pytest_flperf.__all__ if getattr(pytest_flperf, name) is None} == set()
    assert set(pytest_flperf.__all__) <= set(dir(pytest_flperf))
    with pytest.raises(AttributeError, match="nosuch"):
        _ = pytest_flperf.nosuch
