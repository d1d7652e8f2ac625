"""Results of runs that nobody finished."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_flperf.backends.openai import OpenAiBackend
from pytest_flperf.measurement.recording import Recorder
from pytest_flperf.measurement.runner import Bench
from pytest_flperf.reference_server import ReferenceConfig, ReferenceServer, Schedule
from pytest_flperf.report.samples import values_beside
from pytest_flperf.results.reader import run_of
from pytest_flperf.results.records import CaseResult, Measured, Run
from pytest_flperf.results.redaction import Redactor
from pytest_flperf.results.run_folder import RunFolder
from pytest_flperf.results.run_log import RunLog
from pytest_flperf.session.recovery import RecoveryError, recover
from pytest_flperf.suite.loader import scenario_of
from pytest_flperf.suite.matrix import expand
from pytest_flperf.suite.model import Case, Suite


@pytest.fixture(scope="module")
def server() -> Iterator[ReferenceServer]:
    """A quick reference server."""
    with ReferenceServer(ReferenceConfig(schedule=Schedule(ttft_ms=2, itl_ms=1, tokens=5)), in_thread=True) as running:
        yield running


def a_case(name: str) -> Case:
    """A case of a few requests."""
    scenario = scenario_of({"name": name, "prompt": "Hello", "iterations": 6, "warmup": 1})
    return expand(Suite("s", "s", Path(), "", "", (scenario,), ("reference",)), ["reference"])[0]


@pytest.fixture
def played(server: ReferenceServer, tmp_path: Path) -> Measured:
    """A case that was measured and never judged, its files in ``tmp_path``."""
    with Bench(OpenAiBackend.at(server.base_url), Recorder(RunFolder(tmp_path), Redactor())) as bench:
        return bench.run(a_case("one")).result


def lines(path: Path) -> list[dict[str, Any]]:
    """The records of a journal."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_numbers_come_out_the_same(played: Measured, tmp_path: Path) -> None:
    """Summed up again from the journal: what the run itself would have said, marked as interrupted."""
    run = recover(tmp_path)
    (case,) = run.cases
    assert run.status == "interrupted"
    assert any("recovered" in note for note in run.notes)
    assert (case.outcome, case.message) == ("error", "INTERRUPTED after 6 of 6 requests")
    assert case.metrics == played.metrics
    assert (case.requests, case.target, case.load) == (played.requests, played.target, played.load)


@pytest.mark.parametrize("kept", [0, 3])
def test_samples_that_were_never_decoded(played: Measured, tmp_path: Path, kept: int) -> None:
    """Those that ``samples.jsonl`` lacks are added to it, and none twice, however often one recovers."""
    assert played.requests.ok == 6
    path = tmp_path / "samples.jsonl"
    whole = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(whole[:kept]) + (whole[kept][:20] if kept else ""), encoding="utf-8")
    for _ in range(2):
        recover(tmp_path)
    found = [line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line in whole]
    assert sorted(found) == sorted(whole)


def test_a_torn_journal(played: Measured, tmp_path: Path) -> None:
    """The last line is half a line, and one is nonsense: the others count."""
    assert played.requests.ok == 6
    path = tmp_path / "journal.jsonl"
    whole = path.read_bytes().splitlines(keepends=True)
    damaged = [*whole[:-2], b'{"nodeid": "%s", "phase": 7}\n' % played.nodeid.encode(), whole[-1][:-20]]
    path.write_bytes(b"".join(damaged))
    (case,) = recover(tmp_path).cases
    assert case.requests.total == 4
    assert case.message == "INTERRUPTED after 4 of 6 requests"


def test_a_run_that_ended_is_left_alone(played: Measured, tmp_path: Path) -> None:
    """``results.json`` with an end is what the run said, and stays."""
    run = Run(
        "id",
        "2026-01-01T00:00:00Z",
        finished_at="2026-01-01T00:01:00Z",
        status="passed",
        cases=(CaseResult.of(played),),
    )
    (tmp_path / "results.json").write_text(json.dumps(run.to_dict()), encoding="utf-8")
    assert recover(tmp_path) == run


def test_judged_cases_stay_as_they_were(played: Measured, tmp_path: Path) -> None:
    """What the log says of a finished case counts more than a results file that was written before."""
    folder = RunFolder(tmp_path)
    log = RunLog(folder)
    log.run(Run("id", "2026-01-01T00:00:00Z", suites=("s",)))
    log.result(CaseResult(played.nodeid, "s", "one", "reference", host=played.host, outcome="passed", message=""))
    log.close()
    run = recover(tmp_path)
    assert (run.id, run.suites) == ("id", ("s",))
    assert [case.outcome for case in run.cases] == ["passed"]


def _empty(folder: Path) -> None:
    folder.mkdir()


def _of_garbage(folder: Path) -> None:
    folder.mkdir()
    (folder / "results.json").write_text("[1, 2", encoding="utf-8")


@pytest.mark.parametrize("make", [lambda _: None, _empty, _of_garbage], ids=["absent", "empty", "garbage"])
def test_no_run(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """A folder that holds no run is named, and what was expected."""
    make(tmp_path / "run")
    with pytest.raises(RecoveryError, match="expected the folder of a run"):
        recover(tmp_path / "run")


_NASTY = (None, True, "x", -5, 10**300, float("nan"), [], {}, [1], {"a": 1}, "\ud800")


def _fields(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Of every value in a record."""
    yield path
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from _fields(item, (*path, key))


@pytest.mark.parametrize("name", ["journal.jsonl", "run.jsonl", "samples.jsonl"])
def test_damaged_lines(played: Measured, tmp_path: Path, name: str) -> None:
    """Whatever stands in a line, what comes back can be read again as any results can."""
    whole = (tmp_path / name).read_bytes()
    *rest, last = whole.splitlines(keepends=True)
    before = {each: (tmp_path / each).read_bytes() for each in ("journal.jsonl", "run.jsonl", "samples.jsonl")}
    for number, path in enumerate(_fields(json.loads(last))):
        record = json.loads(last)
        found = record
        for key in path[:-1]:
            found = found[key]
        value = _NASTY[number % len(_NASTY)]
        if path:
            found[path[-1]] = value
        else:
            record = value
        for each, content in before.items():
            (tmp_path / each).write_bytes(content)
        (tmp_path / name).write_bytes(b"".join(rest) + json.dumps(record).encode() + b"\n")
        run = recover(tmp_path)
        assert run_of(json.dumps(run.to_dict()), "here").status == "interrupted"
        values_beside(tmp_path / "results.json", run)
    assert played.requests.ok == 6


def test_damaged_results_are_made_again(played: Measured, tmp_path: Path) -> None:
    """Results that no run can have written count as none: the journal says what was measured."""
    run = recover(tmp_path)
    document = run.to_dict()
    document["run"] |= {"finished_at": "2026-01-01T00:00:00+00:00", "status": "passed"}
    document["cases"][0]["requests"]["ok"] = -1
    (tmp_path / "results.json").write_text(json.dumps(document), encoding="utf-8")
    (case,) = recover(tmp_path).cases
    assert case.requests == played.requests
