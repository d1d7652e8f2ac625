"""Files that earlier versions wrote: results, logs, stores and suites are still read."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from pytest_flperf import cli
from pytest_flperf.results.reader import read_run, run_ids
from pytest_flperf.results.run_folder import RESULTS
from pytest_flperf.session.recovery import recover
from pytest_flperf.suite.loader import load_suite

WRITTEN = sorted((Path(__file__).parents[1] / "corpus" / "written_before").glob("*.tar.xz"))


@pytest.fixture(params=WRITTEN, ids=[path.name.removesuffix(".tar.xz") for path in WRITTEN])
def before(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a suite, and three runs of it with their store."""
    with tarfile.open(request.param) as archive:
        archive.extractall(tmp_path, filter="data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_there_are_some() -> None:
    """A glob that finds nothing would test nothing."""
    assert WRITTEN


def test_results_and_logs(before: Path) -> None:
    """Every results file is read; without it, the log gives every case again."""
    reports = before / "reports"
    ids = run_ids(reports)
    assert len(ids) == 3
    for each in ids:
        said = read_run(reports / each / RESULTS)
        assert len(said.cases) == 6
        (reports / each / RESULTS).unlink()
        recovered = recover(reports / each)
        assert recovered.cases == said.cases


def test_the_store(before: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The commands on stored runs know all of them, and compare two."""
    oldest, _, newest = run_ids(before / "reports")
    for path in (before / "reports").glob(f"*/{RESULTS}"):
        path.unlink()  # the store alone
    assert cli.main(["history"]) == 0
    shown = capsys.readouterr().out
    assert oldest.partition("-")[0] in shown
    assert newest.partition("-")[0] in shown
    assert cli.main(["show", newest]) == 0
    assert "missed" in capsys.readouterr().out
    assert cli.main(["compare", oldest, newest]) == 0
    assert "plain" in capsys.readouterr().out
    assert cli.main(["report", newest, "-o", "page.html"]) == 0
    assert (before / "page.html").stat().st_size > 10_000


def test_the_suite(before: Path) -> None:
    """Its scenarios are what they were."""
    suite = load_suite(before / "suite.yaml", "suite.yaml")
    assert [scenario.name for scenario in suite.scenarios] == ["plain", "scored", "chat", "sweep", "missed"]
