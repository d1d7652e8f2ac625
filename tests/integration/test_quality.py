"""``expect``: a score for each answer, in table, results, budgets and report."""

from __future__ import annotations

import jsonschema
import pytest
from tiny_runs import RecordingServer, Tiny

from pytest_flperf.results.records import load_schema


def test_scores_reach_everything(tiny: Tiny) -> None:
    """The answer is ``ab``: one scenario expects it, one half of it, one something else, one nothing."""
    tiny.suite(
        {"expect": {"contains": ["a", "b"]}, "iterations": 3},
        {"name": "half", "expect": {"contains": ["a", "z"]}, "budgets": ["quality.mean >= 90%"]},
        {"name": "wrong", "expect": {"json": True}},
        {"name": "nothing"},
    )
    with RecordingServer() as server:
        options = ("--junitxml=junit.xml", "--flperf-csv=out.csv")
        done = tiny.run("--flperf-suite=tiny.json", *server.at, *options)
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    jsonschema.validate(done.results, load_schema())
    one, half, wrong, nothing = done.cases
    assert [case["metrics"]["quality"]["mean"] for case in (one, half, wrong)] == [1.0, 0.5, 0.0]
    assert one["metrics"]["quality"]["n"] == 3
    assert one["settings"]["expect"] == {"contains": ["a", "b"]}
    assert "quality" not in nothing["metrics"]
    assert [case["outcome"] for case in done.cases] == ["passed", "failed", "passed", "passed"]
    assert "missed quality.mean >= 90% (50 %)" in half["message"]
    shown = {line.split()[1]: line.split()[-2:] for line in done.lines if line.startswith("m ")}
    assert "quality" in done.text
    assert "100 %" in " ".join(next(line for line in done.lines if line.startswith("m      one")).split())
    assert "–" in shown["nothing"]
    assert 'name="quality.mean" value="0.5"' in (tiny.folder / "junit.xml").read_text(encoding="utf-8")
    assert "quality.mean" in (tiny.folder / "out.csv").read_text(encoding="utf-8")
    assert "quality" in (done.report / "report.html").read_text(encoding="utf-8")


def test_in_a_test_of_ones_own(tiny: Tiny) -> None:
    """``flperf.run(expect=…)``."""
    tiny.pytester.makepyfile(
        """
        def test_quality(flperf):
            result = flperf.run("Hi", expect={"regex": "^ab$"}, iterations=2, warmup=0, max_tokens=2)
            assert result.quality.mean == 1

        def test_wrong(flperf):
            flperf.run("Hi", expect={"regex": "("})
        """
    )
    with RecordingServer() as server:
        done = tiny.run(*server.at)
    assert "not a regular expression: " in done.text
    assert done.results["cases"][0]["metrics"]["quality"]["mean"] == 1


@pytest.mark.parametrize(
    ("expect", "problem"),
    [
        ({}, "found nothing, expected one or more of contains, not_contains"),
        ({"ignore_case": True}, "found ignore_case, expected one or more of contains, not_contains"),
        ({"json": True, "ignore_case": True}, "found ignore_case without a check that it is for, expected one of"),
        ({"checks": []}, "scenarios[0].expect.checks: found [], expected a list of one or more mappings"),
        ({"checks": [{"contains": "a"}], "json": True}, "found json beside checks, expected them as one of the checks"),
        ({"checks": [{"contain": "a"}]}, "scenarios[0].expect.checks[0].contain: unknown key; did you mean 'contains'"),
        (
            {"checks": [{"regex": "("}]},
            "scenarios[0].expect.checks[0].regex: found '(', which is not a regular expression",
        ),
        ({"contains": "a", "weight": 0}, "scenarios[0].expect.weight: found 0, expected a number over 0"),
        ({"number": "7"}, "scenarios[0].expect.number: found '7', expected a number"),
        ({"number": True}, "scenarios[0].expect.number: found true, expected a number"),
        ({"equals": []}, "scenarios[0].expect.equals: found [], expected a non-empty string or a number"),
        ({"equals": 1, "tolerance": "-1%"}, "found '-1%', expected a number from 0 on, or a percentage such as '1%'"),
        ({"length": {}}, "scenarios[0].expect.length: found neither min nor max, expected one of them"),
        ({"length": {"min": 3, "max": 2}}, "scenarios[0].expect.length: found max 2 below min 3"),
        ({"length": {"max": 2, "unit": "miles"}}, "length.unit: found 'miles', expected 'characters', 'words' or"),
        ({"json_path": {"a[*]": 1}}, "which has a path that can't be read at character 2; expected such as $.items[0]"),
        ({"contain": "a"}, "scenarios[0].expect.contain: unknown key; did you mean 'contains'?"),
        ({"contains": []}, "scenarios[0].expect.contains: found [], expected a non-empty string or a list"),
        ({"contains": [""]}, "scenarios[0].expect.contains[0]"),
        ({"json": False}, "scenarios[0].expect.json: found false, expected true"),
        ({"regex": "("}, "scenarios[0].expect.regex: found '(', which is not a regular expression"),
        ({"json_schema": {"type": "x"}}, "which is not a JSON Schema"),
        ("yes", "scenarios[0].expect: found 'yes', expected a mapping with checks, such as"),
    ],
)
def test_bad_expectations(tiny: Tiny, expect: object, problem: str) -> None:
    """Refused with file and key path before anything is measured."""
    tiny.suite({"expect": expect})
    assert problem in tiny.refused("--flperf-suite=tiny.json", *tiny.at)
