"""``results.json``, the journal and the samples of a run."""

from __future__ import annotations

import json

import jsonschema
import pytest
from tiny_runs import Tiny

from pytest_flperf import cli


def test_schema(tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    """``results.json`` of passed, failed and unready cases is valid by the packaged schema."""
    tiny.suite({"iterations": 2}, {"name": "missed", "budgets": ["ttft_ms.max <= 0.001"]}, {"name": "b"})
    done = tiny.run("--flperf-suite=tiny.json", tiny.at[0], "--flperf-model=reference,nope")
    capsys.readouterr()
    assert cli.main(["schema", "results"]) == 0
    jsonschema.validate(done.results, json.loads(capsys.readouterr().out))
    assert done.results["schema"] == "flperf.results/1"
    assert sorted(case["outcome"] for case in done.cases) == ["error"] * 3 + ["failed", "passed", "passed"]
    assert done.results["run"]["status"] == "error"
    assert done.results["run"]["suites"] == ["tiny.json"]
    assert done.results["run"]["finished_at"] > done.results["run"]["started_at"]


def test_a_line_per_request(tiny: Tiny) -> None:
    """Journal and samples have one line for each request, in phases."""
    tiny.suite({"iterations": 3, "warmup": 2}, {"name": "two", "iterations": 4})
    done = tiny.measure()
    for name in ("journal.jsonl", "samples.jsonl"):
        lines = done.journal(name)
        assert sum(line["phase"] == "measured" for line in lines) == 7, name
        assert {line["nodeid"] for line in lines} == {"tiny.json::one[reference]", "tiny.json::two[reference]"}
    assert len(done.journal()) == 7 + 2 + 1


def test_nothing_selected(tiny: Tiny) -> None:
    """A suite of which nothing is selected exits 5, and no file of an earlier run can be taken for its own."""
    assert tiny.measure("--flperf-json=out.json").ret == 0
    done = tiny.measure("--flperf-json=out.json", "-k", "nothing")
    assert done.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    assert "flperf: NOT MEASURED: no case was run" in done.lines
    for path in (tiny.folder / "out.json", done.report / "results.json"):
        assert json.loads(path.read_text(encoding="utf-8"))["run"]["status"] == "not_measured"


def test_nothing_to_measure(tiny: Tiny) -> None:
    """What only lists tests writes nothing."""
    for option in ("--co", "--setup-plan"):
        assert tiny.measure(option).ret == 0
        assert not (tiny.folder / "reports").exists()


def test_versions_and_command(tiny: Tiny) -> None:
    """The run says what it was: command, host, versions, clock."""
    run = tiny.measure().results["run"]
    assert run["command"][:2] == ["pytest", "--flperf-suite=tiny.json"]
    assert run["host"]["cores"]
    assert run["versions"]["pytest"] == pytest.__version__
    assert run["clock"]["source"] in ("kernel", "user")


def test_interrupted_before_the_report(tiny: Tiny) -> None:
    """An interrupt between the end of a case and pytest's report of it loses nothing: the journal has the case."""
    tiny.suite({"iterations": 3}, {"name": "two"})
    tiny.pytester.makeconftest(
        """
        import pytest
        @pytest.hookimpl(wrapper=True, tryfirst=True)
        def pytest_runtest_call(item):
            yield
            raise KeyboardInterrupt
        """
    )
    done = tiny.run_apart("--flperf-suite=tiny.json", *tiny.at)
    assert done.ret == pytest.ExitCode.INTERRUPTED
    assert done.results["run"]["status"] == "interrupted"
    assert (done.case["outcome"], done.case["partial"]) == ("error", True)
    assert done.case["requests"]["ok"] == 3
    assert done.case["message"].startswith("INTERRUPTED after 3")
    assert "(INTERRUPTED)" in done.text
