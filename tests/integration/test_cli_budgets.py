"""``flperf budgets suggest``."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import pytest
import yaml
from tiny_runs import Done, Tiny

import pytest_flperf.history.store  # noqa: F401 - pytester forgets what is imported later
from pytest_flperf import cli


@pytest.fixture
def done(tiny: Tiny, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Done:
    """A run in the current folder."""
    tiny.suite({"iterations": 20}, {"name": "two words", "iterations": 3})
    found = tiny.measure()
    monkeypatch.chdir(tiny.folder)
    capsys.readouterr()
    return found


def test_a_suite_with_them(done: Done, tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    """What is printed can be a suite's budgets; the same is then measured within them, and judged by them."""
    assert cli.main(["budgets", "suggest"]) == 0
    text = capsys.readouterr().out
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "because so few runs can't show how much runs differ" in text.replace("\n# ", " ")
    assert "# none for ttft_ms.p50 of two words on reference: 3 requests, it needs 11" in text
    budgets = yaml.safe_load(text)["budgets"]
    assert any(each.startswith("one@reference: ttft_ms.p50 <= ") for each in budgets)
    tiny.suite({"iterations": 20}, {"name": "two words", "iterations": 3}, budgets=budgets)
    again = tiny.measure()
    judged = [each["expression"] for case in again.cases for each in case["budgets"]]
    assert sorted(judged) == sorted(budgets)


def test_options(done: Done, capsys: pytest.CaptureFixture[str]) -> None:
    """Lines for a command line, quoted for a shell."""
    assert cli.main(["budgets", "suggest", done.report.name, "--format=option"]) == 0
    lines = capsys.readouterr().out.splitlines()
    words = [shlex.split(line) for line in lines]
    assert all(len(each) == 1 and each[0].startswith("--flperf-budget=") for each in words)
    assert ["--flperf-budget=two words@reference: error_rate <= 0"] in words


def test_json(done: Done, tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    """For programs: budgets with limit and reason, and what there is none for; of several runs."""
    tiny.measure()
    tiny.measure()
    capsys.readouterr()
    names = [path.name for path in Path("reports").glob("2*")]
    assert cli.main(["budgets", "suggest", *names, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["runs"]) == 3
    assert {each["scenario"] for each in found["budgets"]} == {"one", "two words"}
    assert {each["number"] for each in found["left_out"]} >= {"ttft_ms.p95"}
    assert all(each["why"] and each["limit"] >= 0 for each in found["budgets"])
    assert cli.main(["budgets", "suggest", *names]) == 0
    assert "bound that 99 % of further runs keep" in capsys.readouterr().out.replace("\n# ", " ")


@pytest.mark.usefixtures("stored")
def test_from_the_store(done: Done, capsys: pytest.CaptureFixture[str]) -> None:
    """A run whose files are gone is read from the store, with the same budgets."""
    assert cli.main(["budgets", "suggest", done.report.name, "--json"]) == 0
    before = json.loads(capsys.readouterr().out)
    shutil.rmtree(done.report)
    assert cli.main(["budgets", "suggest", done.report.name, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["suggest", "nosuch"], "error: no run 'nosuch'"),
        (["suggest", "latest", "latest"], "twice, expected different runs"),
        (["suggest", "--margin=0.5"], "--margin: found 0.5, expected a factor from 1 to 100"),
        (["suggest", "--margin=nan"], "--margin: found nan"),
        (["sugest"], "'sugest'"),
        ([], "flperf budgets: error: "),
    ],
)
def test_refused(done: Done, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 4 and one line that says what was found and expected."""
    with pytest.raises(SystemExit) as ending:
        cli.main(["budgets", *arguments])
    assert ending.value.code == pytest.ExitCode.USAGE_ERROR
    assert words in capsys.readouterr().err.splitlines()[-1]


def test_a_run_of_nothing(tiny: Tiny, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """No budgets and exit 1, with the reason."""
    tiny.suite()
    tiny.run("--flperf-suite=tiny.json", "--flperf-base-url=http://127.0.0.1:9/v1", "--flperf-model=m")
    monkeypatch.chdir(tiny.folder)
    capsys.readouterr()
    assert cli.main(["budgets", "suggest"]) == 1
    text = capsys.readouterr().out
    assert yaml.safe_load(text) == {"budgets": []}
    assert "none for one on m: not one good request was measured" in text
