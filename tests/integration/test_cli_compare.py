"""``flperf compare``."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_flperf import cli
from pytest_flperf.history.place import StorePlace
from pytest_flperf.history.store import Store
from pytest_flperf.results.load import Load
from pytest_flperf.results.records import CaseResult, HostInfo, Requests, Run
from pytest_flperf.results.serving import Target
from pytest_flperf.stats.descriptive.summary import distribution

_HOST = HostInfo("box", "Debian 12", "a processor", 8, 32_000)
_N = 40


def values(name: str, factor: float) -> list[float]:
    """Times of requests, with a spread that no two neighbours share."""
    base = {"ttft_ms": 50.0, "tpot_ms": 5.0}[name]
    return [factor * base * (1 + 0.01 * ((7 * number) % 11 - 5) / 5) for number in range(_N)]


def case(name: str, factor: float = 1.0, **changes: Any) -> CaseResult:
    """A passed case, its times multiplied."""
    found = {metric: distribution(values(metric, factor)) for metric in ("ttft_ms", "tpot_ms")}
    whole = CaseResult(
        nodeid=f"flperf:default::{name}[m]", suite="default", scenario=name, model="m", host="box", outcome="passed",
        message="", target=Target("openai", "http://127.0.0.1:1/v1", "m:1", device="CPU"), load=Load(iterations=_N),
        requests=Requests(total=_N, ok=_N), error_rate=0.0,
        metrics={metric: each for metric, each in found.items() if each is not None},
    )  # fmt: skip
    return replace(whole, **changes)


def run(number: int, *cases: CaseResult, **changes: Any) -> Run:
    """A run of this minute."""
    whole = Run(
        id=f"20261121T10{number:02d}00Z-default-{number:04x}", started_at=f"2026-11-21T10:{number:02d}:00.000+00:00",
        finished_at=f"2026-11-21T10:{number:02d}:27.000+00:00", status="passed", suites=("flperf:default",),
        host=_HOST, versions={}, cases=cases,
    )  # fmt: skip
    return replace(whole, **changes)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StorePlace:
    """Twelve runs that hardly differ, and the current folder beside them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    path = tmp_path / "reports" / "history.db"
    place = StorePlace("sqlite", str(path), path)
    for number in range(12):
        add(place, run(number, *(case(name, 1 + 0.001 * (number % 3)) for name in ("short", "long"))))
    return place


def add(place: StorePlace, stored: Run, factors: dict[str, float] | None = None) -> str:
    """Store a run with the values of its requests; its id."""
    found = {
        (each.nodeid, each.host): {
            name: values(name, (factors or {}).get(each.scenario, 1.0)) for name in ("ttft_ms", "tpot_ms")
        }
        for each in stored.cases
    }
    with Store(place) as store:
        store.add(stored, values=found)
    return stored.id


def told(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> Any:
    """What the command prints with --json."""
    capsys.readouterr()
    assert cli.main(["compare", *arguments, "--json"]) == status
    return json.loads(capsys.readouterr().out)


def words(found: Any) -> dict[tuple[str, str], str]:
    """Verdicts by scenario and rule."""
    return {
        (each["scenario"], comparison["rule"]): comparison["verdict"]
        for each in found["cases"]
        for against in each["against"]
        for comparison in against["comparisons"]
    }


def test_what_regressed_fails(place: StorePlace, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The case that takes twice as long, and not the other one; table, JSON and Markdown say so."""
    slow = add(place, run(20, case("short"), case("long", 2.0)), {"long": 2.0})
    asked = ("last", slow, "--fail-on=ttft_ms.p50 > +10%")
    found = told(capsys, *asked, "--markdown=compared.md", status=1)
    assert words(found)["long", "ttft_ms.p50 > +10%"] == "regressed"
    assert words(found)["short", "ttft_ms.p50 > +10%"] == "unchanged"
    assert found["failed"] is True
    assert found["baseline"]["id"] == run(11).id
    (against,) = found["cases"][1]["against"]
    (ttft,) = [each for each in against["comparisons"] if each["metric"] == "ttft_ms"]
    assert (ttft["method"], ttft["comparisons"], ttft["scope"]) == ("block bootstrap of two runs", 4, "--fail-on")
    assert "REGRESSED" in (tmp_path / "compared.md").read_text(encoding="utf-8")
    assert cli.main(["compare", *asked]) == 1
    out = capsys.readouterr().out
    assert f"candidate: run {slow}" in out
    assert "REGRESSED" in out
    assert "+100.0 %" in out
    assert cli.main(["compare", "last", slow]) == 0
    assert "nothing fails on it" in capsys.readouterr().out


def test_the_same_does_not_fail(place: StorePlace, capsys: pytest.CaptureFixture[str]) -> None:
    """Neighbours are unchanged; ``last`` is none but the candidate."""
    found = told(capsys, "last", "latest", "--fail-on=ttft_ms.p50 > +10%", "--fail-undecided")
    assert set(words(found).values()) == {"unchanged"}
    assert (found["baseline"]["id"], found["candidate"]["id"]) == (run(10).id, run(11).id)
    with Store(place) as store:
        store.set_baseline("release", run(3).id)
    found = told(capsys, "release", "latest")
    assert found["baseline"]["id"] == run(3).id
    assert found["cases"][0]["against"][0]["label"] == f"release ({run(3).id})"


def test_undecided_by_choice(place: StorePlace, capsys: pytest.CaptureFixture[str]) -> None:
    """A percentile from too few requests fails only where that is asked for."""
    del place
    assert cli.main(["compare", "last", "latest", "--fail-on=ttft_ms.p99 > +10%"]) == 0
    assert cli.main(["compare", "last", "latest", "--fail-on=ttft_ms.p99 > +10%", "--fail-undecided"]) == 1
    assert "needs 662 requests" in capsys.readouterr().out


def test_it_fails_closed(place: StorePlace, capsys: pytest.CaptureFixture[str]) -> None:
    """A case whose model did not load answered nothing; one that was skipped is not compared, and that is said."""
    nothing = case("short", outcome="error", requests=Requests(), metrics={}, error_rate=None)
    bad = add(place, run(20, nothing, case("long", outcome="skipped", requests=Requests(), metrics={})))
    found = told(capsys, "last", bad, "--fail-on=ttft_ms.p50 > +10%", status=1)
    assert words(found) == {
        ("short", "ttft_ms.p50 > +10%"): "regressed",
        ("short", "error_rate > +0%"): "regressed",
        ("long", "ttft_ms.p50 > +10%"): "undecided",
    }
    assert "not compared: flperf:default::long[m]: it was skipped" in found["notes"]


def on_gpu(name: str) -> CaseResult:
    """A case that another device served."""
    return replace(case(name), target=Target("openai", "http://127.0.0.1:1/v1", "m:1", device="GPU"))


def test_new_and_vanished(place: StorePlace, capsys: pytest.CaptureFixture[str]) -> None:
    """Cases of one side only are named; what differs stands beside the numbers; what A lacks is undecided."""
    newest = add(place, run(20, on_gpu("short"), case("fresh")))
    found = told(capsys, run(11).id, newest)
    assert found["notes"][0] == "new, not in the baseline: flperf:default::fresh[m]"
    assert found["notes"][1].endswith("only in the baseline, removed or not selected: flperf:default::long[m]")
    assert found["notes"][2] == "not compared: flperf:default::fresh[m]: the baseline has no such case"
    assert found["cases"][0]["against"][0]["differs"] == ["device: CPU → GPU"]
    (against,) = found["cases"][1]["against"]
    assert (against["missing"], against["run_id"]) == ("not_in_baseline", run(11).id)
    assert {each["verdict"] for each in against["comparisons"]} == {"undecided"}


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ((), 0),
        (("--require-baseline",), 1),
        (("--fail-on=ttft_ms.p50 > +10%",), 0),
        (("--fail-on=ttft_ms.p50 > +10%", "--fail-undecided"), 1),
    ],
)
def test_a_case_that_the_baseline_lacks(place: StorePlace, asked: tuple[str, ...], status: int) -> None:
    """It fails where a baseline is required, and where a gate fails what it can't decide."""
    newest = add(place, run(20, case("short"), case("fresh")))
    assert cli.main(["compare", run(11).id, newest, *asked]) == status
    assert cli.main(["compare", "last", newest, *asked]) == status


@pytest.mark.parametrize("baseline", ["last", run(11).id])
@pytest.mark.parametrize(
    "cases",
    [
        (),
        (case("fresh"),),
        (case("short", outcome="skipped", requests=Requests(), metrics={}),),
        (case("short", partial=True), case("fresh")),
    ],
    ids=["no case", "another case", "skipped", "cut short"],
)
def test_nothing_in_common(
    place: StorePlace, capsys: pytest.CaptureFixture[str], baseline: str, cases: tuple[CaseResult, ...]
) -> None:
    """What compares nothing is not green: status 4 with the reason."""
    newest = add(place, run(20, *cases))
    with pytest.raises(SystemExit) as ended:
        cli.main(["compare", baseline, newest])
    assert ended.value.code == 4
    assert f"nothing was compared with {baseline}" in capsys.readouterr().err


def test_last_is_of_each_case(place: StorePlace, capsys: pytest.CaptureFixture[str]) -> None:
    """A run of one case hides no other; each says which run it was compared with; red ones are passed over."""
    only = add(place, run(20, case("short")))
    red = add(place, run(21, case("short", outcome="failed"), on_gpu("long")))
    newest = add(place, run(22, case("short"), case("long")))
    found = told(capsys, "last", newest)
    assert [each["against"][0]["run_id"] for each in found["cases"]] == [only, run(11).id]
    assert [each["id"] for each in found["baselines"]] == [only, run(11).id]
    assert found["cases"][0]["against"][0]["notes"] == [f"newer runs that can't be the baseline: {red} failed"]
    assert cli.main(["compare", "last", newest]) == 0
    out = capsys.readouterr().out
    assert f"compared with last ({only}): " in out
    assert f"compared with last ({run(11).id}): " in out


def exit_status(*arguments: str) -> int | str | None:
    """What a command ends with, whether it returns or ends the process."""
    try:
        return cli.main(list(arguments))
    except SystemExit as ended:
        return ended.code


def test_a_damaged_store(place: StorePlace, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No store, half a store, a table that is gone: 4, never what a regression has."""
    assert place.path is not None
    damaged = {"text.db": b"no database" * 200, "half.db": place.path.read_bytes()[:5_000]}
    for name, content in damaged.items():
        (tmp_path / name).write_bytes(content)
    shutil.copy(place.path, tmp_path / "less.db")
    with contextlib.closing(sqlite3.connect(tmp_path / "less.db")) as connection:
        connection.execute("DROP TABLE flperf_cases")
        connection.commit()
    for name in (*damaged, "less.db"):
        for baseline in ("last", run(0).id):
            assert exit_status("compare", baseline, run(11).id, f"--store={name}") == 4, (name, baseline)
            assert name in capsys.readouterr().err


def test_files_without_a_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two results files, by their summaries."""
    monkeypatch.chdir(tmp_path)
    for number in range(2):
        text = json.dumps(run(number, case("short")).to_dict())
        (tmp_path / f"{number}.json").write_text(text, encoding="utf-8")
    found = told(capsys, "0.json", "1.json")
    methods = {each["method"] for each in found["cases"][0]["against"][0]["comparisons"]}
    assert methods == {"summaries of two runs", "exact test of counts"}


@pytest.mark.parametrize(
    ("arguments", "status", "wanted"),
    [
        (("nosuch", "latest"), 4, "no run 'nosuch'"),
        (("last", "nosuch"), 4, "no run 'nosuch'"),
        (("branch:nosuch", "latest"), 4, "no run of branch 'nosuch'"),
        (("last", "latest", "--fail-on=ttft > 10%"), 4, "--fail-on: rule"),
        (("last", "latest", "--fail-on=shrt: ttft_ms.p50 > +10%"), 4, "matches no scenario"),
        (("last", "latest", "--store=nosuch.db"), 4, "there is no store"),
        (("other.json", "latest"), 4, "expected a results file of schema"),
        (("last",), 4, "flperf compare: error: "),
    ],
)
def test_refused(
    place: StorePlace,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    status: int,
    wanted: str,
) -> None:
    """One message that names the fix."""
    del place
    (tmp_path / "other.json").write_text('{"schema": "flperf.results/9", "run": {}, "cases": []}', encoding="utf-8")
    with pytest.raises(SystemExit) as ended:
        cli.main(["compare", *arguments])
    assert ended.value.code == status
    assert wanted in capsys.readouterr().err
