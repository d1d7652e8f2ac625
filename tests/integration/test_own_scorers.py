"""Scorers of one's own in runs: named in a suite, and by hook."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from tiny_runs import Done, RecordingServer, Tiny

from pytest_flperf import measure
from pytest_flperf.results.records import CaseResult, load_schema
from pytest_flperf.session.recovery import recover

SCORERS = """
    import pathlib

    from pytest_flperf import AnswerScore, AnswerToScore

    def begins(answer: AnswerToScore) -> bool:
        with pathlib.Path("called.txt").open("a") as file:
            file.write(answer.id + "\\n")
        return answer.text.startswith(answer.expected)

    def detailed(answer):
        return AnswerScore(0.75, {"tone": 1, "facts": 0.5}, f"asked {answer.prompt!r} of {answer.model}")

    def raises(answer):
        raise RuntimeError("not today")

    def spins(answer):
        while True:
            pass
"""
ROWS = [
    {"id": "a", "prompt": "One?", "expect": "a", "category": "easy"},
    {"id": "b", "prompt": "Two?", "expect": "b", "category": "hard"},
    {"id": "c", "prompt": "Three?", "category": "hard"},
]
"""The answer is always ``ab``."""


def write(tiny: Tiny, rows: list[dict[str, Any]] | None = None, **scenario: Any) -> None:
    """A suite, its data set and its scorers, in a folder that is not the current one."""
    folder = tiny.folder / "checks"
    folder.mkdir(exist_ok=True)
    (folder / "my_scorers.py").write_text("\n".join(line[4:] for line in SCORERS.splitlines()), encoding="utf-8")
    data = {"dataset": "rows.jsonl"} if rows is not None else {"prompt": "Hello?", "iterations": 2}
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows or []), encoding="utf-8")
    asked = {"name": "rows", "warmup": 0, "max_tokens": 2, **data, **scenario}
    (folder / "tiny.json").write_text(json.dumps({"scenarios": [asked]}), encoding="utf-8")


def run(tiny: Tiny, *options: str) -> Done:
    """Measure against a server that answers ``ab``."""
    with RecordingServer() as server:
        return tiny.run("--flperf-suite=checks/tiny.json", *server.at, *options)


def recovered(done: Done) -> CaseResult:
    """The case as its journal tells, without the log's results."""
    for name in ("results.json", "samples.jsonl"):
        (done.report / name).unlink()
    log = done.report / "run.jsonl"
    lines = [line for line in log.read_text(encoding="utf-8").splitlines() if '"result":' not in line[:12]]
    log.write_text("\n".join(lines) + "\n", encoding="utf-8")
    (case,) = recover(done.report.resolve()).cases
    return case


def test_rows_say_what_the_scorer_expects(tiny: Tiny) -> None:
    """Whatever it is; rows without it have the scenario's."""
    write(tiny, ROWS, expect={"scorer": "my_scorers:begins", "expected": "ab"})
    done = run(tiny)
    assert done.ret == 0, done.text
    jsonschema.validate(done.results, load_schema())
    assert [each["score"] for each in done.case["prompt_scores"]] == [1, 0, 1]
    assert (tiny.folder / "called.txt").read_text(encoding="utf-8").split() == ["a", "b", "c"]
    (worst,) = done.case["answer_quality"]["answers"]
    assert json.loads(worst["expected"]) == {"scorer": "my_scorers:begins", "expected": "b"}
    assert {each["category"]: each["mean"] for each in done.case["answer_quality"]["categories"]} == {
        "easy": 1,
        "hard": 0.5,
    }


def test_parts_and_reason(tiny: Tiny) -> None:
    """They are told as checks are, beside the answer; the page escapes them."""
    write(tiny, expect={"checks": [{"scorer": "my_scorers:detailed"}, {"contains": "z"}]})
    done = run(tiny)
    quality = done.case["answer_quality"]
    assert quality["mean"] == pytest.approx(0.375)
    assert {each["check"]: each["mean"] for each in quality["checks"]} == {
        "scorer": 0.75,
        "contains": 0,
        "scorer: tone": 1,
        "scorer: facts": 0.5,
    }
    assert quality["answers"][0]["reason"] == "asked 'Hello?' of m"
    assert "asked &#39;Hello?&#39; of m" in (done.report / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("scorer", "reason"), [("raises", "RuntimeError: not today"), ("spins", "took longer than 2 s")]
)
def test_what_fails_is_not_scored(tiny: Tiny, scorer: str, reason: str) -> None:
    """Every budget on quality is missed with the reason, and all else is measured."""
    write(tiny, iterations=1, expect={"scorer": f"my_scorers:{scorer}"}, budgets=["quality.mean >= 0", "error_rate<=0"])
    done = run(tiny)
    assert done.ret == 1
    case = done.case
    assert case["not_scored"] == {reason: 1}
    assert {each["expression"]: each["met"] for each in case["budgets"]} == {
        "quality.mean >= 0": False, "error_rate<=0": True,
    }  # fmt: skip
    assert case["metrics"]["ttft_ms"]["n"] == case["requests"]["ok"] == 1
    assert "quality" not in case["metrics"]
    assert reason in done.text


@pytest.mark.parametrize(
    ("expect", "problem"),
    [
        (
            {"scorer": "nowhere_at_all:f"},
            "checks/tiny.json: scenarios[0].expect.scorer: found 'nowhere_at_all:f', which can't be imported: "
            "ModuleNotFoundError: No module named 'nowhere_at_all'",
        ),
        (
            {"checks": [{"contains": "a"}, {"scorer": "my_scorers:nothing"}]},
            "scenarios[0].expect.checks[1].scorer: found 'my_scorers:nothing', which can't be found: module "
            "'my_scorers' has no attribute 'nothing'",
        ),
        ({"scorer": "my_scorers"}, "scorer: found 'my_scorers', expected module:function, such as my_scorers:polite"),
        ({"scorer": "../x:f"}, "scorer: found '../x:f', expected module:function"),
        ({"scorer": 5}, "scorer: found 5, expected module:function"),
        ({"contains": "a", "expected": 5}, "found expected without a check that it is for, expected one of scorer"),
    ],
)
def test_refused(tiny: Tiny, expect: dict[str, Any], problem: str) -> None:
    """One message, before anything is loaded."""
    write(tiny, expect=expect)
    assert problem in tiny.refused("--flperf-suite=checks/tiny.json", *tiny.at)


@pytest.mark.parametrize(
    ("expect", "problem"),
    [
        (
            "{'scorer': 'nowhere_at_all:f'}",
            "flperf.run: expect.scorer: found 'nowhere_at_all:f', which can't be imported: ModuleNotFoundError: No "
            "module named 'nowhere_at_all'",
        ),
        (
            "{'checks': [{'contains': 'a'}, {'scorer': 'my_scorers:nothing'}]}",
            "flperf.run: expect.checks[1].scorer: found 'my_scorers:nothing', which can't be found",
        ),
    ],
)
def test_refused_in_a_test(tiny: Tiny, expect: str, problem: str) -> None:
    """The test fails with the same words, and nothing is asked; a good scorer is imported once more for no call."""
    (tiny.folder / "my_scorers.py").write_text("def one(answer):\n    return answer.text == 'ab'\n", encoding="utf-8")
    tiny.pytester.makepyfile(
        f"""
        def test_wrong(flperf):
            flperf.run("Hello", expect={expect})

        def test_right(flperf):
            for _ in range(2):
                found = flperf.run("Hello", iterations=1, warmup=0, expect={{"scorer": "my_scorers:one"}})
                assert found.distribution("quality").mean == 1
        """
    )
    with RecordingServer() as server:
        done = tiny.run(*server.at)
    assert done.ret == 1
    assert problem in done.text
    assert "1 failed, 1 passed" in done.counts
    assert [case["outcome"] for case in done.cases if "test_right" in case["nodeid"]] == ["passed", "passed"]


def test_refused_in_a_row(tiny: Tiny) -> None:
    """Rows may name scorers of their own."""
    write(tiny, [{"prompt": "x", "expect": {"scorer": "nowhere_at_all:f"}}])
    problem = "scenarios[0].dataset: found 'nowhere_at_all:f', which can't be imported: ModuleNotFoundError"
    assert problem in tiny.refused("--flperf-suite=checks/tiny.json", *tiny.at)


def test_no_scorer_runs_while_tests_are_collected(tiny: Tiny) -> None:
    """Its module is imported, to see that it can be."""
    write(tiny, ROWS, expect={"scorer": "my_scorers:begins", "expected": "ab"})
    done = run(tiny, "--collect-only", "-q")
    assert done.ret == 0, done.text
    assert not (tiny.folder / "called.txt").exists()


def test_a_recovery_runs_nobodys_code(tiny: Tiny) -> None:
    """A run's folder may come from anywhere: what was not scored is said."""
    write(tiny, ROWS, expect={"scorer": "my_scorers:begins", "expected": "ab"})
    done = run(tiny)
    (tiny.folder / "called.txt").unlink()
    case = recovered(done)
    assert not (tiny.folder / "called.txt").exists()
    assert dict(case.not_scored) == {"a scorer of one's own runs only while its suite is measured": 3}


CONFTEST = """
    from pathlib import Path

    from pytest_flperf import AnswerScore

    def pytest_flperf_score(config, answer):
        with Path("called.txt").open("a") as file:
            file.write(f"{answer.scenario} {answer.id} {answer.text} {answer.prompt} {answer.expected}\\n")
        if answer.id == "c":
            return None
        return AnswerScore(0.5 if answer.category == "easy" else 1, {"tone": 1}, "heard")
"""


def test_the_hook(tiny: Tiny) -> None:
    """It scores in place of what is expected; what it leaves is scored by that."""
    tiny.pytester.makeconftest(CONFTEST)
    write(tiny, [{**row, "expect": "no"} for row in ROWS], budgets=["quality.mean >= 90%"])
    done = run(tiny)
    assert done.ret == 1, done.text
    assert [each["score"] for each in done.case["prompt_scores"]] == [0.5, 1, 0]
    lines = (tiny.folder / "called.txt").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "rows a ab One? {'equals': 'no'}"
    assert len(lines) == 3
    assert {each["reason"] for each in done.case["answer_quality"]["answers"]} == {"heard", ""}


def test_the_hook_before_a_function(tiny: Tiny) -> None:
    """A suite's function scores what the hook leaves, as any other check does."""
    tiny.pytester.makeconftest(CONFTEST)
    write(tiny, ROWS, expect={"scorer": "my_scorers:begins", "expected": "ab"})
    done = run(tiny)
    assert done.ret == 0, done.text
    assert [each["score"] for each in done.case["prompt_scores"]] == [0.5, 1, 1]
    assert done.case["not_scored"] == {}


def test_the_hook_of_a_case_that_expects_nothing(tiny: Tiny) -> None:
    """Scores of some answers are no quality of the case; of all they are."""
    tiny.pytester.makeconftest(CONFTEST)
    rows = [{key: row[key] for key in ("id", "prompt", "category") if key in row} for row in ROWS]
    write(tiny, rows, budgets=["quality.mean >= 0"])
    done = run(tiny)
    assert done.ret == 1
    assert done.case["not_scored"] == {"pytest_flperf_score took other answers of the case, but not this one": 1}
    write(tiny, rows[:2], budgets=["quality.mean >= 75%"])
    done = run(tiny)
    assert done.ret == 0, done.text
    assert done.case["answer_quality"]["mean"] == 0.75
    assert [each["category"] for each in done.case["answer_quality"]["categories"]] == ["easy", "hard"]


def test_a_hook_that_is_not_interested(tiny: Tiny) -> None:
    """A case of which it takes no answer has no quality, and nothing is missed."""
    tiny.pytester.makeconftest("def pytest_flperf_score(answer):\n    return None\n")
    write(tiny)
    done = run(tiny)
    assert done.ret == 0, done.text
    assert done.case["not_scored"] == {}
    assert done.case["answer_quality"] is None


def test_a_hook_that_fails(tiny: Tiny) -> None:
    """``pytest.fail`` as well as any exception: not scored, and the run goes on."""
    tiny.pytester.makeconftest("import pytest\n\ndef pytest_flperf_score(answer):\n    pytest.fail('no idea')\n")
    write(tiny, budgets=["quality.mean >= 0"])
    done = run(tiny)
    assert done.ret == 1
    assert done.case["not_scored"] == {"pytest_flperf_score: AssertionError: no idea": 2}
    assert done.case["requests"]["ok"] == 2


def test_the_hook_of_a_worker(tiny: Tiny) -> None:
    """Through xdist the process that measures calls it."""
    tiny.pytester.makeconftest(CONFTEST)
    write(tiny, [{**row, "expect": "no"} for row in ROWS])
    done = run(tiny, "-n1")
    assert done.ret == 0, done.text
    assert [each["score"] for each in done.case["prompt_scores"]] == [0.5, 1, 0]


def test_a_hook_that_ends_the_session(tiny: Tiny) -> None:
    """``pytest.exit`` does what it does anywhere; what was measured is kept."""
    tiny.pytester.makeconftest("import pytest\n\ndef pytest_flperf_score(answer):\n    pytest.exit('enough', 7)\n")
    write(tiny)
    done = run(tiny)
    assert done.ret == 7, done.text
    assert "enough" in done.text


def test_a_recovery_does_not_call_the_hook(tiny: Tiny) -> None:
    """What it would have said is not known, and the expectation's score is not the run's."""
    tiny.pytester.makeconftest(CONFTEST)
    write(tiny, [{**row, "expect": "ab"} for row in ROWS], budgets=["quality.mean >= 0"])
    done = run(tiny)
    case = recovered(done)
    assert dict(case.not_scored) == {
        "pytest_flperf_score may have scored it, which is called only while a case is measured": 3
    }


def test_a_key_that_a_scorer_says(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """It reaches no file: neither as a reason nor in an exception."""
    key = "sk-proj-abcdefghijklmnopqrstuvwx0123456789"
    monkeypatch.setenv("FLPERF_TEST_KEY", key)
    tiny.pytester.makeconftest(
        f"""
        from pytest_flperf import AnswerScore

        def pytest_flperf_score(answer):
            if answer.prompt == "One?":
                raise RuntimeError({key!r})
            return AnswerScore(0.5, {{"key {key}": 1}}, "said {key}")
        """
    )
    write(tiny, ROWS[:2])
    done = run(tiny, "--flperf-api-key-env=FLPERF_TEST_KEY")
    assert list(done.case["not_scored"].values()) == [1]
    assert done.case["answer_quality"]["answers"][0]["reason"].startswith("said ")
    written = [each for each in done.report.rglob("*") if each.is_file()]
    assert [each.name for each in written if key.encode() in each.read_bytes()] == []
    assert key not in done.text


def test_in_turns(tiny: Tiny) -> None:
    """Both sides are scored, each answer once."""
    write(tiny, expect={"scorer": "my_scorers:begins", "expected": "a"}, fail_on=["quality.mean < -20%"])
    done = run(tiny, "--flperf-against=temperature=0.7", "--flperf-max-iterations=12")
    (against,) = done.case["against"]
    quality = next(each for each in against["comparisons"] if each["metric"] == "quality")
    assert (quality["baseline"], quality["candidate"]) == (1, 1), done.text
    asked = done.case["requests"]["total"] + against["requests"]["total"]
    assert len((tiny.folder / "called.txt").read_text(encoding="utf-8").splitlines()) == asked


def test_from_a_script(tiny: Tiny) -> None:
    """``measure`` knows the scorers of a suite, too."""
    write(tiny, expect={"scorer": "my_scorers:begins", "expected": "a"})
    with RecordingServer() as server:
        url = server.at[0].partition("=")[2]
        done = measure("checks/tiny.json", base_url=url, model="m", store="none")
    assert done.cases[0].answer_quality is not None
    assert done.cases[0].answer_quality.mean == 1
