"""``flperf show`` and ``flperf report``."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
from tiny_runs import Done, Tiny

from pytest_flperf import cli


@pytest.fixture
def done(tiny: Tiny, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Done:
    """A run in the current folder."""
    tiny.suite({"iterations": 3}, {"name": "missed", "budgets": ["ttft_ms.max <= 0.001"]})
    found = tiny.measure()
    monkeypatch.chdir(tiny.folder)
    capsys.readouterr()
    return found


def test_show(done: Done, capsys: pytest.CaptureFixture[str]) -> None:
    """The table that pytest printed, of the newest run or of any other."""
    for arguments in ([], ["latest"], [done.report.name], [str(done.report)], [str(done.report / "results.json")]):
        assert cli.main(["show", *arguments]) == 0
        shown = capsys.readouterr().out.splitlines()
        assert "flperf: FAILED: 1 passed, 1 failed" in shown
        assert [line for line in done.lines if line.startswith("reference ")] == [
            line for line in shown if line.startswith("reference ")
        ]
        assert any(line.startswith("missed on reference: missed ttft_ms.max <= 0.001") for line in shown)
    assert cli.main(["show", "-vv"]) == 0
    assert "budget ttft_ms.max <= 0.001: MISSED" in capsys.readouterr().out


def test_show_json(done: Done, capsys: pytest.CaptureFixture[str]) -> None:
    """With --json the whole of results.json."""
    assert cli.main(["show", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == done.results


@pytest.mark.parametrize(
    ("command", "instead"),
    [
        (["show", "nosuch"], "{known}"),
        (["report", "latest", "nosuch"], "{known}"),
        (["show", "--report-dir=x"], "there is none in x; --report-dir says where they are"),
    ],
)
def test_no_such_run(done: Done, command: list[str], instead: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A run that isn't there: exit 4 and the nearest ids, in one line after the usage."""
    with pytest.raises(SystemExit) as ending:
        cli.main(command)
    assert ending.value.code == pytest.ExitCode.USAGE_ERROR
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"flperf {command[0]}: error: no run ")
    assert instead.format(known=done.report.name) in error


def test_recover(done: Done, capsys: pytest.CaptureFixture[str]) -> None:
    """What a kill leaves: ``show`` names the way out, and ``report --recover`` makes results and the page."""
    before = done.results["cases"]
    (done.report / "results.json").unlink()
    (done.report / "report.html").unlink()
    (done.report.parent / "history.db").unlink(missing_ok=True)
    with pytest.raises(SystemExit):
        cli.main(["show", done.report.name])
    assert f"flperf report --recover {Path('reports') / done.report.name}' makes it" in capsys.readouterr().err
    assert cli.main(["report", "--recover", done.report.name]) == 0
    assert done.results["cases"] == before
    assert done.results["run"]["status"] == "interrupted"
    assert "recovered from the journal" in (done.report / "report.html").read_text(encoding="utf-8")
    with pytest.raises(SystemExit) as ending:
        cli.main(["report", "--recover", "nosuch"])
    assert ending.value.code == pytest.ExitCode.USAGE_ERROR


def test_report_again(done: Done, capsys: pytest.CaptureFixture[str]) -> None:
    """The same page as at the end of the run; without samples the distributions come from the summary."""
    before = (done.report / "report.html").read_bytes()
    (done.report / "report.html").unlink()
    assert cli.main(["report", done.report.name]) == 0
    assert (done.report / "report.html").read_bytes() == before
    assert capsys.readouterr().out.startswith("written: ")
    (done.report / "samples.jsonl").unlink()
    assert cli.main(["report", "latest", "-o", "again.html"]) == 0
    assert "single requests (samples.jsonl) were missing" in Path("again.html").read_text(encoding="utf-8")


def test_side_by_side(done: Done, capsys: pytest.CaptureFixture[str]) -> None:
    """Several runs: a row per case with the numbers of each; a case that a run lacks has a dash."""
    other = done.report.with_name("other")
    shutil.copytree(done.report, other)
    record = done.results
    record["run"]["id"] = "other<run>"
    del record["cases"][1]
    record["cases"][0]["metrics"]["ttft_ms"] |= dict.fromkeys(("p50", "p90", "p95", "p99", "max"), 4711.0)
    (other / "results.json").write_text(json.dumps(record), encoding="utf-8")
    assert cli.main(["report", "latest", "other", "-o", "out/two.html", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said == {"written": str(Path("out/two.html")), "runs": [done.report.name, "other<run>"]}
    html = Path("out/two.html").read_text(encoding="utf-8")
    assert "B: other&lt;run&gt;" in html
    assert "2 cases, 1 of them in every run" in html
    assert "<td>4711*</td></tr>" in html
    assert '<th scope="row">missed on reference</th><td>failed</td><td>–</td>' in html


def test_other_forms(done: Done) -> None:
    """By the ending of the file: Markdown, CSV; any other is refused."""
    assert cli.main(["report", "latest", "-o", "a.md"]) == 0
    assert Path("a.md").read_text(encoding="utf-8").startswith("## ❌ flperf: FAILED")
    assert cli.main(["report", "latest", str(done.report), "-o", "a.csv"]) == 0
    with Path("a.csv").open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == 4
    with pytest.raises(SystemExit) as ending:
        cli.main(["report", "latest", "-o", "a.pdf"])
    assert ending.value.code == pytest.ExitCode.USAGE_ERROR


def test_report_that_can_not_be_written(done: Done, capsys: pytest.CaptureFixture[str]) -> None:
    """Said in one line, exit 1."""
    (done.report / "folder.html").mkdir()
    assert cli.main(["report", "latest", "-o", str(done.report / "folder.html")]) == 1
    assert capsys.readouterr().err.startswith("flperf report: error: ")


def test_results_of_somebody_else(done: Done, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is no results file: exit 4, and where the fault lies."""
    record = done.results
    record["cases"][0]["requests"]["ok"] = "many"
    Path("odd.json").write_text(json.dumps(record), encoding="utf-8")
    for command in ("show", "report"):
        with pytest.raises(SystemExit) as ending:
            cli.main([command, "odd.json"])
        assert ending.value.code == pytest.ExitCode.USAGE_ERROR
        assert "cases[0].requests.ok: found" in capsys.readouterr().err
