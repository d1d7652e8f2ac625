"""``flperf history``, ``export``, ``import``, ``prune``, and ``show`` of what is only in the store."""

from __future__ import annotations

import csv
import json
import re
import shutil
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import Done, Tiny

from pytest_flperf import cli
from pytest_flperf.history.place import StorePlace
from pytest_flperf.history.store import Store, StoredRun
from pytest_flperf.report.request_rows import REQUEST_COLUMNS
from pytest_flperf.report.terminal.stored_runs import history_table


@pytest.fixture
def runs(stored: None, tiny: Tiny, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[Done]:
    """Three runs in the current folder, of two suites."""
    del stored
    tiny.suite({}, {"name": "missed", "budgets": ["ttft_ms.max <= 0.001"]})
    tiny.suite(file="other.json")
    found = [tiny.measure(), tiny.measure(), tiny.run("--flperf-suite=other.json", *tiny.at)]
    reports = sorted(path for path in (tiny.folder / "reports").iterdir() if path.is_dir() and not path.is_symlink())
    assert len(reports) == len(found)
    monkeypatch.chdir(tiny.folder)
    monkeypatch.setenv("COLUMNS", "80")
    capsys.readouterr()
    return found


def ids() -> list[str]:
    """The runs' ids as ``flperf history --json`` lists them."""
    return [run["id"] for run in _json("history")]


def _json(*arguments: str) -> Any:
    """What a command prints with --json."""
    import contextlib
    import io

    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert cli.main([*arguments, "--json"]) == 0
    return json.loads(out.getvalue())


@pytest.mark.usefixtures("runs")
def test_history(capsys: pytest.CaptureFixture[str]) -> None:
    """Newest first, in 80 columns; by suite and so many at most."""
    assert cli.main(["history"]) == 0
    head, rule, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["run", "age", "suite", "verdict", "passed", "host", "branch", "commit"]
    assert max(map(len, (head, rule, *rows))) <= 80
    assert [row.split()[3:5] for row in rows] == [["passed", "1/1"], ["failed", "1/2"], ["failed", "1/2"]]
    assert [row.split()[2] for row in rows] == ["other", "tiny", "tiny"]
    for row, run_id in zip(rows, ids(), strict=True):
        assert [each for each in ids() if each.startswith(row.split()[0])] == [run_id]
    assert len(_json("history", "--limit=2")) == 2
    assert len(_json("history", "--suite=other.json")) == 1
    assert _json("history", "--branch=nosuch") == []
    assert cli.main(["history", "--suite=nosuch"]) == 0
    assert capsys.readouterr().out == "no stored run matches\n"


def test_narrow_history() -> None:
    """The longest names fit into 80 columns, ids stay such that only one run begins so, and ages are rounded."""
    now = datetime(2026, 11, 21, 12, tzinfo=UTC)

    def stored(run_id: str, age: timedelta, suites: tuple[str, ...] = ("flperf:" + "suite" * 20,)) -> StoredRun:
        return StoredRun(
            run_id, (now - age).isoformat(), None, "interrupted", True, suites, 120, 100,
            "0123456789abcdef", "a" * 40, "feature/" + "long" * 20, None, None, None, None,
        )  # fmt: skip

    names = ["20261121T120000Z-a-1234", "20261121T120000Z-a-1934", "20261120T120000Z-x-0000"]
    ages = [timedelta(seconds=5), timedelta(minutes=119), timedelta(days=400)]
    lines = history_table([stored(*each) for each in zip(names, ages, strict=True)], now, 80)
    assert max(map(len, lines)) <= 80
    shown = [line.split()[0] for line in lines[2:]]
    assert shown == [names[0][:-2], names[1][:-2], "20261120T120000Z"]
    wide = history_table([stored(*each) for each in zip(names, ages, strict=True)], now, 300)
    assert [line.split()[0] for line in wide[2:]] == names
    assert [age for age in ("now", "119 min", "400 d") if any(age in w for w in wide)] == ["now", "119 min", "400 d"]
    suites = [(), ("sub/questions.yaml",), ("flperf:quick", "tiny.JSON")]
    named = history_table([stored(names[0], ages[0], each) for each in suites], now, 300)
    assert [line.split("  ")[2] for line in named[2:]] == ["tests", "questions", "quick, tiny"]


def test_export(runs: list[Done], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same bytes as results.json, or a row per case."""
    newest = ids()[0]
    assert cli.main(["export", newest]) == 0
    assert capsys.readouterr().out.encode() == (runs[0].report / "results.json").read_bytes()
    out = tmp_path / "out.csv"
    written = _json("export", "latest", "--format=csv", "-o", str(out))
    assert written == {"written": str(out), "run": newest}
    with out.open(encoding="utf-8", newline="") as file:
        assert [row["run_id"] for row in csv.DictReader(file)] == [newest]
    assert cli.main(["export", newest, "-o", str(tmp_path)]) == 1
    assert "was not written" in capsys.readouterr().err
    for arguments in (["nosuch"], ["2"], [newest, "--format=csv", "--json"], [newest, "--format=parquet"]):
        with pytest.raises(SystemExit) as ending:
            cli.main(["export", *arguments])
        assert ending.value.code == pytest.ExitCode.USAGE_ERROR
    errors = capsys.readouterr().err
    assert "no run 'nosuch': expected a run's id or a unique start of one, latest, a baseline's name, or" in errors
    assert f"nearest: {newest}" in errors
    assert "found '2', which matches several runs: run 2" in errors


@pytest.mark.usefixtures("runs")
def test_export_of_many_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A row per case of each, in their order and once; JSON is of one run."""
    out, (newest, second, third) = tmp_path / "out.csv", ids()
    written = _json("export", second, newest, "latest", "--format=csv", "-o", str(out))
    assert written == {"written": str(out), "runs": [second, newest]}
    with out.open(encoding="utf-8", newline="") as file:
        assert [row["run_id"] for row in csv.DictReader(file)] == [second, second, newest]
    for arguments, said in (([second, third], "2 runs with --format json"), ([third, "--requests"], "--requests with")):
        with pytest.raises(SystemExit) as ending:
            cli.main(["export", *arguments])
        assert ending.value.code == pytest.ExitCode.USAGE_ERROR
        assert said in capsys.readouterr().err


def test_export_of_requests(runs: list[Done], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same values as in the results, whatever the form; of a run without its folder none."""
    arrow = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    newest, second, _ = ids()
    texts, typed = tmp_path / "out.csv", tmp_path / "out.parquet"
    assert cli.main(["export", newest, second, "--requests", "--format=csv", "-o", str(texts)]) == 0
    assert cli.main(["export", newest, second, "--requests", "--format=parquet", "-o", str(typed)]) == 0
    with texts.open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    assert [(row["run_id"], row["scenario"]) for row in found] == [(newest, "one"), (second, "one"), (second, "missed")]
    assert {(row["model"], row["suite"], row["outcome"], row["sent_s"]) for row in found} == {
        ("reference", "tiny", "ok", "0.0")
    }
    rows = arrow.read_table(typed).to_pylist()
    assert [row["ttft_ms"] for row in rows] == [float(row["ttft_ms"]) for row in found]
    assert [row["index"] for row in rows] == [0, 0, 0]
    assert found[0]["ttft_ms"] == repr(runs[0].case["metrics"]["ttft_ms"]["p50"])
    shutil.rmtree(runs[0].report)
    with pytest.raises(SystemExit) as ending:
        cli.main(["export", newest, "--requests", "--format=csv"])
    assert ending.value.code == pytest.ExitCode.USAGE_ERROR
    assert "has no samples.jsonl any more; the store keeps no requests" in capsys.readouterr().err


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.usefixtures("runs")
def test_documented_lines(library: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The lines of the docs run as they are, where the library is installed."""
    pytest.importorskip(library, reason=f"{library} is not installed: the lines were tried by hand")
    page = (Path(__file__).parents[2] / "docs" / "reports.md").read_text(encoding="utf-8")
    (code,) = [text for text in re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE) if library in text]
    for command in re.findall(r"^flperf (export .*)$", page, re.MULTILINE):
        assert cli.main(command.split()) == 0
    capsys.readouterr()
    exec(code, {})  # noqa: S102 - our own page
    said = capsys.readouterr().out
    assert said.count("reference") >= 3


def test_the_documented_lines_name_what_is_there() -> None:
    """Each column that they use is one, also where no library is installed."""
    page = (Path(__file__).parents[2] / "docs" / "reports.md").read_text(encoding="utf-8")
    blocks = [
        text for text in re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE) if "requests" in text
    ]
    assert len(blocks) == 2
    for text in blocks:
        used = set(re.findall(r"(?:\)\.|col\(\")([a-z_0-9]+)(?=\.|\")", text)) | set(
            re.findall(r'"(scenario|model)"', text)
        )
        assert used == {"ttft_ms", "e2e_ms", "scenario", "model"} <= set(REQUEST_COLUMNS)


def test_show_from_the_store(runs: list[Done], capsys: pytest.CaptureFixture[str]) -> None:
    """A run whose folder is gone is shown, by how its id begins, too."""
    before = json.loads((runs[0].report / "results.json").read_text(encoding="utf-8"))
    newest = runs[0].report.name
    shutil.rmtree(runs[0].report)
    assert _json("show", newest) == before
    assert _json("show", newest[:-1]) == before
    assert cli.main(["show", newest]) == 0
    assert "results: only in reports/history.db" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ending:
        cli.main(["show", "nosuch"])
    assert ending.value.code == pytest.ExitCode.USAGE_ERROR
    assert "no run 'nosuch': expected a run's id or a unique start of one, " in capsys.readouterr().err
    for folder in [path for path in Path("reports").glob("2*") if path.is_dir()]:
        shutil.rmtree(folder)
    assert _json("show")["run"]["id"] == newest
    with pytest.raises(SystemExit) as ending:
        cli.main(["show", "2"])
    assert "found '2', which matches several runs: run 2" in capsys.readouterr().err


@pytest.mark.usefixtures("runs")
def test_import(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder of runs, a run's folder, a file; a second time changes nothing; what is none is named."""
    known = ids()
    new = f"--store={tmp_path / 'new.db'}"
    report = Path("reports") / known[0]
    assert sorted(_json("import", "reports", new)["added"]) == sorted(known)
    again = _json("import", str(report), str(report / "results.json"), new)
    assert again == {"added": [], "replaced": [], "known": [known[0], known[0]], "problems": []}
    assert [run["id"] for run in _json("history", new)] == known
    assert _json("history", new)[0]["folder"] == str(report.absolute())
    bad = tmp_path / "bad.json"
    bad.write_text('{"schema": "flperf.results/2"}', encoding="utf-8")
    (tmp_path / "empty").mkdir()
    paths = [str(bad), "nosuch.json", str(tmp_path / "empty"), str(report)]
    assert cli.main(["import", *paths, new]) == pytest.ExitCode.USAGE_ERROR
    said = capsys.readouterr()
    assert said.out == f"stored in {tmp_path / 'new.db'}: 0 added, 0 replaced, 1 known before\n"
    assert "bad.json is not a results file of flperf" in said.err
    assert "there is no file 'nosuch.json'" in said.err
    assert "empty: found no results.json in it" in said.err


@pytest.mark.usefixtures("runs")
def test_export_as_parquet(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A row per case; it needs a file to write to."""
    arrow = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    out = tmp_path / "out.parquet"
    assert cli.main(["export", ids()[1], "--format=parquet", "-o", str(out)]) == 0
    assert [row["scenario"] for row in arrow.read_table(out).to_pylist()] == ["one", "missed"]
    with pytest.raises(SystemExit) as ending:
        cli.main(["export", "latest", "--format=parquet"])
    assert ending.value.code == pytest.ExitCode.USAGE_ERROR
    assert "--format parquet needs -o FILE" in capsys.readouterr().err


@pytest.mark.usefixtures("runs")
def test_export_without_pyarrow(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What to install, exit 4, and nothing is written."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(SystemExit) as ending:
        cli.main(["export", "latest", "--format=parquet", "-o", str(tmp_path / "out")])
    assert ending.value.code == pytest.ExitCode.USAGE_ERROR
    said = capsys.readouterr().err
    assert "needs pyarrow, which can't be imported: pip install 'pytest-flperf[parquet]'" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("runs")
def test_import_brings_values(tmp_path: Path) -> None:
    """Those of single requests that lie beside the results, the same that the run itself stored."""
    new = tmp_path / "new.db"
    newest = ids()[0]
    _json("import", str(Path("reports") / newest), f"--store={new}")
    found = []
    for path in (Path("reports") / "history.db", new):
        with Store(StorePlace("sqlite", str(path), path)) as store:
            found.append(store.all_values(newest))
    assert found[0] == found[1]
    (values,) = found[0].values()
    assert values.keys() - {"tpot_ms"} == {"ttft_ms", "e2e_ms"}, "both tokens may come in one read, without a TPOT"
    assert all(len(each) == 1 for each in values.values())
    assert min(*values["ttft_ms"], *values["e2e_ms"]) > 0


@pytest.mark.usefixtures("runs")
def test_baselines(capsys: pytest.CaptureFixture[str]) -> None:
    """Set, moved, listed, taken away; what has a name is not pruned, and it is said."""
    newest, second, third = ids()
    assert cli.main(["baseline", "list"]) == 0
    assert "no run has a name" in capsys.readouterr().out
    assert _json("baseline", "set", "release", "latest")["before"] is None
    moved = _json("baseline", "set", "release", third)
    assert (moved["name"], moved["run_id"], moved["before"]) == ("release", third, newest)
    (listed,) = _json("baseline", "list")
    assert (listed["name"], listed["run_id"], listed["stored"]) == ("release", third, True)
    assert cli.main(["baseline", "set", "release", second]) == 0
    assert capsys.readouterr().out == f"baseline release: {second} (before: {third})\n"
    assert cli.main(["baseline", "list"]) == 0
    head, _, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["name", "run", "set", "at"]
    assert row.split()[:2] == ["release", second]
    assert cli.main(["prune", "--keep=1"]) == 0
    said = capsys.readouterr().out
    assert said == "removed: 1 run; kept: 2, 1 of them as baselines\n"
    assert ids() == [newest, second]
    assert _json("baseline", "remove", "release") == {"removed": "release"}
    assert _json("prune", "--keep=1")["removed"] == [second]


NO_BASELINES: tuple[tuple[tuple[str, ...], str], ...] = (
    (("set", "last", "latest"), "NAME: 'last' means something else; expected a name that means nothing else"),
    (("set", "branch:main", "latest"), "NAME: found 'branch:main', expected"),
    (("set", "a/b", "latest"), "NAME: found 'a/b', expected"),
    (("set", "x" * 65, "latest"), "expected up to 64 letters"),
    (("set", "release", "nosuch"), "no run 'nosuch': expected a run's id"),
    (("remove", "relaese"), "no baseline 'relaese': nearest: release"),
)


@pytest.mark.usefixtures("runs")
def test_baselines_that_are_none(capsys: pytest.CaptureFixture[str]) -> None:
    """What was found and expected, exit 4."""
    _json("baseline", "set", "release", "latest")
    for words, said in NO_BASELINES:
        with pytest.raises(SystemExit) as ending:
            cli.main(["baseline", *words])
        assert ending.value.code == pytest.ExitCode.USAGE_ERROR
        assert said in capsys.readouterr().err
    assert [each["name"] for each in _json("baseline", "list")] == ["release"]


def test_prune(runs: list[Done], capsys: pytest.CaptureFixture[str]) -> None:
    """The newest stay; folders go only when asked for, and only those of runs that went."""
    newest, second, third = ids()
    assert _json("prune", "--keep=2") == {"removed": [third], "kept": 2, "baselines": [], "folders": [], "problems": []}
    assert (Path("reports") / third).is_dir()
    assert cli.main(["prune", "--keep=1", "--files"]) == 0
    assert capsys.readouterr().out == "removed: 1 run, with 1 folder; kept: 1\n"
    assert not (Path("reports") / second).exists()
    assert (Path("reports") / third).is_dir()
    assert ids() == [newest]
    assert cli.main(["prune", "--keep=0", "--files"]) == 0
    assert not (Path("reports") / "latest").is_symlink()
    assert not runs[0].report.exists()
    for keep in ("-1", "x", "1.5"):
        with pytest.raises(SystemExit) as ending:
            cli.main(["prune", f"--keep={keep}"])
        assert ending.value.code == pytest.ExitCode.USAGE_ERROR


@pytest.mark.usefixtures("runs")
def test_prune_removes_only_runs() -> None:
    """A store may say anything: what lies elsewhere, or is no run, is left alone."""
    from pytest_flperf.results.run_folder import remove_run_folders

    precious = Path("precious")
    precious.mkdir()
    (precious / "results.json").write_text("{}", encoding="utf-8")
    (Path("reports") / "notes").mkdir()
    (Path("reports") / "link").symlink_to(precious.absolute(), target_is_directory=True)
    names = ["../precious", str(precious.absolute()), "notes", "link", "latest", "", ".", "..", "a\0b", "x" * 5000]
    assert remove_run_folders(Path("reports"), names) == ([], [])
    assert (precious / "results.json").is_file()


@pytest.mark.parametrize("command", [["history"], ["prune", "--keep=1"], ["baseline", "list"]])
def test_no_store(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where there is none: what makes one, exit 4, and none is made by looking; a broken one likewise."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ending:
        cli.main(command)
    assert ending.value.code == pytest.ExitCode.USAGE_ERROR
    assert "there is no store reports/history.db: runs are stored when they end" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    Path("broken.db").write_text("no database at all " * 100, encoding="utf-8")
    with pytest.raises(SystemExit) as ending:
        cli.main([*command, "--store=broken.db"])
    assert ending.value.code == pytest.ExitCode.USAGE_ERROR
    assert "it is not a SQLite file, or is damaged" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ending:
        cli.main([*command, "--store=none"])
    assert ending.value.code == pytest.ExitCode.USAGE_ERROR


@pytest.mark.usefixtures("runs")
def test_a_number_over_the_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """Oldest first, with bars, the best alone, as JSON; 80 columns hold it."""
    assert cli.main(["history", "--scenario=one", "--metric=ttft_ms.p50", "--plot"]) == 0
    head, _, *rows = capsys.readouterr().out.splitlines()
    assert [each for each in head.split() if each not in ("branch", "commit")] == [
        "run",
        "age",
        "n",
        "ttft_ms.p50,",
        "ms",
        "bar,",
        "from",
        "0",
    ]
    assert [row.split()[0] for row in rows] == ids()[::-1]
    assert len(rows) == 3
    assert any("█" in row for row in rows), "the longest; on a busy machine another may be too short for a block"
    points = _json("history", "--scenario=one", "--metric=ttft_ms.p50")
    assert [point["run"] for point in points] == ids()[::-1]
    assert all(point["n"] == 1 and point["value"] > 0 and point["model"] == "reference" for point in points)
    best = _json("history", "--scenario=one", "--metric=ttft_ms.p50", "--best", "--suite=tiny")
    assert [point["value"] for point in best] == [min(point["value"] for point in points if point["suite"] == "tiny")]
    assert _json("history", "--scenario=missed", "--metric=ttft_ms.p50", "--best") == [], "none of them passed"
    assert {point["outcome"] for point in _json("history", "--scenario=missed", "--metric=tps_total")} == {"failed"}
    newest = _json("history", "--scenario=one", "--metric=error_rate", "--limit=1")
    assert [(point["run"], point["value"]) for point in newest] == [(ids()[0], 0.0)]
    assert _json("history", "--scenario=one", "--metric=ttft_ms.p50", "--model=other") == []
    assert cli.main(["history", "--scenario=nothing", "--metric=ttft_ms.p50"]) == 0
    assert "no stored run matches" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--scenario=one",), "expected both"),
        (("--metric=ttft_ms.p50",), "expected both"),
        (("--plot",), "--plot: expected --scenario and --metric with it"),
        (("--best",), "--best: expected --scenario and --metric with it"),
        (("--model=m",), "--model: expected --scenario and --metric with it"),
        (("--scenario=one", "--metric=ttft_ms"), "expected one of ttft_ms.mean, ttft_ms.p50"),
        (("--scenario=one", "--metric=ttft_ms.p42"), "expected one of ttft_ms.mean, ttft_ms.p50"),
        (("--scenario=one", "--metric=tps_total.p50"), "tps_total alone: it is one number per case"),
        (("--scenario=one", "--metric=latency.p50"), "did you mean 'e2e_ms'?"),
        (("--scenario=one", "--metric=nonsense"), "such as ttft_ms.p50"),
        (("--scenario=one", "--metric=load_s"), "the store has no column for load_s"),
        (
            ("--scenario=one", "--metric=output_tokens.p50", "--best"),
            "neither a high nor a low output_tokens is better",
        ),
    ],
)
@pytest.mark.usefixtures("runs")
def test_numbers_that_are_not_there(arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Refused with what there is."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["history", *arguments])
    assert ended.value.code == 4
    assert said in capsys.readouterr().err
