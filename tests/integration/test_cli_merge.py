"""``flperf merge``, and ``flperf import`` of what CI keeps: shards and machines, in folders and zip files."""

from __future__ import annotations

import json
import platform
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import Tiny

from pytest_flperf import cli
from pytest_flperf.history.place import store_place
from pytest_flperf.history.store import Store

SCENARIOS = ({"name": "one", "iterations": 2}, {"name": "two", "iterations": 3})


@pytest.fixture
def shards(tiny: Tiny, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """A folder of artefacts: a run of each scenario, one unpacked and one in a zip file."""
    tiny.suite(*SCENARIOS)
    artefacts = tiny.folder / "artefacts"
    for name in ("one", "two"):
        tiny.measure("-k", f"{name}[", f"--flperf-report-dir=shard-{name}")
    shutil.copytree(tiny.folder / "shard-one", artefacts / "flperf-1" / "reports", symlinks=True)
    with zipfile.ZipFile(artefacts / "flperf-2.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted((tiny.folder / "shard-two").rglob("*")):
            if path.is_file() and "latest" not in path.parts:
                archive.write(path, path.relative_to(tiny.folder / "shard-two"))
    for name in ("one", "two"):
        shutil.rmtree(tiny.folder / f"shard-{name}")
    monkeypatch.chdir(tiny.folder)
    monkeypatch.setenv("COLUMNS", "100")
    capsys.readouterr()
    return artefacts


def merged(*arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit status of the command, and the results that it wrote."""
    status = cli.main(["merge", *arguments])
    return status, json.loads(Path("reports/latest/results.json").read_text("utf-8"))


def test_shards(shards: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One folder with one report: table and verdict, each request, a page."""
    status, results = merged(str(shards))
    out = capsys.readouterr().out
    assert status == 0, out
    assert "flperf: PASSED: 2 passed" in out
    assert [case["scenario"] for case in results["cases"]] == ["one", "two"]
    assert results["run"]["suite_cases"] == [case["nodeid"] for case in results["cases"]]
    assert len(results["run"]["merged"]) == 2
    folder = Path("reports/latest").resolve()
    assert f"joined: 2 runs in {folder}" in out
    assert {path.name for path in folder.iterdir()} == {"results.json", "samples.jsonl", "report.html"}
    page = (folder / "report.html").read_text("utf-8")
    assert "Dotted" not in page  # single requests are drawn
    assert cli.main(["show", "latest"]) == 0
    assert cli.main(["export", "latest", "--format=csv", "--requests", "-o", "requests.csv"]) == 0
    assert len(Path("requests.csv").read_text("utf-8").splitlines()) == 1 + 2 + 3


def test_a_missing_shard(shards: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What it would have measured is missing, and the whole is red until that is accepted."""
    (shards / "flperf-2.zip").unlink()
    status, results = merged(str(shards))
    assert (status, results["run"]["status"]) == (1, "error")
    assert "two[reference] is in none of the runs" in capsys.readouterr().out
    assert cli.main(["merge", str(shards), "--allow-missing", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["status"], len(told["runs"])) == ("passed", 1)


def test_hosts(tiny: Tiny, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The same suite on two machines, one of them red: a row each with its host, and each request with its host."""
    tiny.suite(*SCENARIOS)
    tiny.measure("--flperf-report-dir=a")
    monkeypatch.setattr(platform, "node", lambda: "second")
    tiny.measure("--flperf-report-dir=b", "--flperf-budget=one:ttft_ms.max <= 0.001")
    monkeypatch.undo()
    monkeypatch.chdir(tiny.folder)
    monkeypatch.setenv("COLUMNS", "100")
    capsys.readouterr()
    status, results = merged("a/latest", "b/latest")
    out = capsys.readouterr().out
    assert (status, results["run"]["status"]) == (1, "failed")
    hosts = [case["host"] for case in results["cases"]]
    assert hosts == [platform.node()] * 2 + ["second"] * 2
    assert [each["name"] for each in results["run"]["hosts"]] == [platform.node(), "second"]
    assert results["run"]["host"] is None
    rows = [line for line in out.splitlines() if line.startswith("second ")]
    assert [row.split()[1:4] for row in rows] == [["reference", "one", "FAIL"], ["reference", "two", "passed"]]
    assert "second: one on reference: missed one:ttft_ms.max <= 0.001" in out
    assert cli.main(["export", "latest", "--format=csv", "--requests", "-o", "requests.csv"]) == 0
    lines = Path("requests.csv").read_text("utf-8").splitlines()
    assert (len(lines), sum(",second," in line for line in lines)) == (1 + 2 * 5, 5)
    page = Path("reports/latest/report.html").read_text("utf-8")
    assert "Measured on 2 machines" in page
    assert "The machines that measured" in page
    assert cli.main(["report", "latest", "-o", "merged.md"]) == 0
    text = Path("merged.md").read_text("utf-8")
    assert "**one on reference (second)**: failed" in text
    assert f"| reference | two | {platform.node()} |" in text.replace("\\", "")


def test_what_differs_is_refused(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another suite of the same name, a file that is none, a folder without runs: exit 4, and nothing is written."""
    tiny.suite(*SCENARIOS)
    tiny.measure("--flperf-report-dir=a", "-k", "one[")
    tiny.suite({"name": "one", "iterations": 2}, {"name": "two", "prompt": "Another"})
    tiny.measure("--flperf-report-dir=b", "-k", "two[")
    monkeypatch.chdir(tiny.folder)
    Path("bad.zip").write_bytes(b"hello")
    Path("empty").mkdir()
    capsys.readouterr()
    for names, message in (
        (["a", "b"], "the suite tiny.json differs between a/"),
        (["a", "bad.zip"], "bad.zip can't be read as a zip file"),
        (["a", "empty"], "empty: found no run in it"),
        (["a", "nosuch"], "no run 'nosuch'"),
    ):
        with pytest.raises(SystemExit) as left:
            cli.main(["merge", *names])
        assert left.value.code == pytest.ExitCode.USAGE_ERROR
        assert message in capsys.readouterr().err
    assert not Path("reports").exists()


def test_import_from_ci(shards: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Runs at any depth and in zip files are stored with their requests; a run that joins them is not stored again."""
    assert merged(str(shards))[0] == 0
    capsys.readouterr()
    assert cli.main(["import", "reports/latest", "--store=new.db"]) == pytest.ExitCode.USAGE_ERROR
    assert "joins other runs, and the store takes single ones: import 2" in capsys.readouterr().err
    assert cli.main(["import", str(shards), "reports", "--store=new.db", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (len(told["added"]), told["problems"]) == (2, [])
    place = store_place("new.db", Path())
    assert place is not None
    with Store(place) as store:
        runs = store.runs()
        assert len(runs) == 2
        assert all(store.all_values(run.id) for run in runs)
        assert sum(run.folder is None for run in runs) == 1  # no temporary folder is remembered
    assert cli.main(["import", str(shards / "flperf-2.zip"), "--store=new.db", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["known"]) == 1
    (shards / "cut.zip").write_bytes((shards / "flperf-2.zip").read_bytes()[:-40])
    assert cli.main(["import", str(shards), "--store=other.db"]) == pytest.ExitCode.USAGE_ERROR
    captured = capsys.readouterr()
    assert "cut.zip can't be read as a zip file" in captured.err
    assert ": 2 added, 0 replaced, 0 known before" in captured.out


def test_a_killed_run_is_told(shards: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its results have to be made first: an import says so and goes on, a merge is refused."""
    (results,) = (path for path in shards.rglob("results.json") if "latest" not in path.parts)
    results.unlink()
    assert cli.main(["import", str(shards), "--store=new.db"]) == 0
    assert "that run was killed" in capsys.readouterr().err
    with pytest.raises(SystemExit) as left:
        cli.main(["merge", str(shards)])
    assert left.value.code == pytest.ExitCode.USAGE_ERROR
    assert "'flperf report --recover' makes them; nothing was joined" in capsys.readouterr().err
