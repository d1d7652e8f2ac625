"""Expectations of rows: scored each by its own, with ids, categories and repeats, and refused where they are wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from tiny_runs import Done, RecordingServer, Tiny

from pytest_flperf.reference_server import Fault, FaultKind, ReferenceConfig, ReferenceServer, Schedule
from pytest_flperf.results.records import load_schema
from pytest_flperf.session.recovery import recover

ROWS = [
    {"id": "a", "prompt": "One?", "expect": "ab", "category": "easy"},
    {"id": "b", "prompt": "Two?", "expect": {"contains": ["a", "z"]}, "category": "hard"},
    {"id": 3, "prompt": "Three?", "expect": ["ab", "AB"], "category": "easy"},
    {"id": "d", "prompt": "Four?", "expect": {"checks": [{"regex": "^a"}, {"equals": "no", "weight": 3}]}},
]
"""The answer is always ``ab``: scores of 1, 0.5, 1 and 0.25."""


def write(tiny: Tiny, rows: list[Any], *scenario: Any, file: str = "rows.jsonl", **settings: Any) -> None:
    """A data set, and a suite that asks it."""
    (tiny.folder / file).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    asked = {"name": "rows", "dataset": file, "warmup": 0, "max_tokens": 2, **settings}
    (tiny.folder / "tiny.json").write_text(json.dumps({"scenarios": [asked, *scenario]}), encoding="utf-8")


def run(tiny: Tiny, *options: str) -> Done:
    """Measure against a server that answers ``ab``."""
    with RecordingServer() as server:
        return tiny.run("--flperf-suite=tiny.json", *server.at, *options)


def test_each_row_once(tiny: Tiny) -> None:
    """Without iterations every row is asked; the numbers are over prompts, by category and by check."""
    write(tiny, ROWS)
    done = run(tiny)
    assert done.ret == 0, done.text
    jsonschema.validate(done.results, load_schema())
    case = done.case
    assert case["requests"]["total"] == 4
    scores = {each["id"]: (each["score"], each["category"]) for each in case["prompt_scores"]}
    assert scores == {"a": (1, "easy"), "b": (0.5, "hard"), "3": (1, "easy"), "d": (0.25, "")}
    quality = case["answer_quality"]
    assert quality["mean"] == case["metrics"]["quality"]["mean"] == pytest.approx(2.75 / 4)
    assert (quality["prompts"], quality["perfect"], quality["repeats"], quality["failed"]) == (4, 2, 1, 0)
    low, high = quality["ci95"]
    assert 0 < low < quality["lower95"] < quality["mean"] < high < 1
    assert {each["category"]: (each["prompts"], each["mean"]) for each in quality["categories"]} == {
        "easy": (2, 1),
        "hard": (1, 0.5),
        "": (1, 0.25),
    }
    assert {each["check"]: each["mean"] for each in quality["checks"]} == {"regex": 1, "equals": 0}
    worst, other = quality["answers"]
    assert (worst["id"], worst["score"], worst["answer"], worst["checks"]) == (
        "d",
        0.25,
        "ab",
        {"regex": 1, "equals": 0},
    )
    assert json.loads(worst["expected"]) == ROWS[3]["expect"]
    assert (other["id"], other["checks"]) == ("b", None)


def test_repeats(tiny: Tiny) -> None:
    """One pass over all rows after the other; pass@k and pass^k are told."""
    write(tiny, ROWS, repeat=3, budgets=["quality.pass@3 >= 50%", "quality.pass^2 >= 51%", "quality.pass@4 >= 1%"])
    with RecordingServer() as server:
        done = tiny.run("--flperf-suite=tiny.json", *server.at)
        asked = [body["messages"][-1]["content"].rpartition(" ")[2] for body in server.bodies[1:]]
    assert asked == ["One?", "Two?", "Three?", "Four?"] * 3
    quality = done.case["answer_quality"]
    assert (quality["repeats"], quality["requests"], quality["prompts"]) == (3, 12, 4)
    assert quality["pass_at"] == quality["pass_all"] == [0.5] * 3
    verdicts = {each["expression"]: (each["met"], each["value"], each["reason"]) for each in done.case["budgets"]}
    assert verdicts["quality.pass@3 >= 50%"] == (True, 0.5, "")
    assert verdicts["quality.pass^2 >= 51%"] == (False, 0.5, "2 of 4 prompts are right each time")
    assert verdicts["quality.pass@4 >= 1%"][:2] == (False, None)
    assert "a prompt was asked 3 times, and it takes 4 answers to each" in verdicts["quality.pass@4 >= 1%"][2]


@pytest.mark.parametrize(("iterations", "asked"), [(4, 2), (6, 3), (8, 4)])
def test_repeats_of_some_rows(tiny: Tiny, iterations: int, asked: int) -> None:
    """With iterations, so many requests in all."""
    write(tiny, ROWS, repeat=2, iterations=iterations, dataset_order="shuffled")
    done = run(tiny)
    assert [each["n"] for each in done.case["prompt_scores"]] == [2] * asked


def test_repeats_of_one_prompt(tiny: Tiny) -> None:
    """Without a data set."""
    tiny.suite({"repeat": 4, "expect": {"equals": "ab"}})
    path = tiny.folder / "tiny.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"iterations": 1, ', ""), encoding="utf-8")
    done = run(tiny)
    assert done.case["requests"]["total"] == 4, done.text
    assert done.case["answer_quality"]["pass_all"] == [1.0] * 4


@pytest.mark.parametrize(
    ("rows", "lower", "needed"),
    [
        (29, 0.05 ** (1 / 29), ""),
        (28, 0.05 ** (1 / 28), "28 of 28 prompts are right; to prove the limit takes 29 prompts"),
    ],
)
def test_the_lower_bound(tiny: Tiny, rows: int, lower: float, needed: str) -> None:
    """29 of 29 prove 90 %; fewer say how many it takes."""
    write(tiny, [{"prompt": f"{n}?", "expect": "ab"} for n in range(rows)], budgets=["quality.lower95 >= 90%"])
    done = run(tiny)
    (verdict, _) = done.case["budgets"]
    assert verdict["value"] == pytest.approx(lower)
    assert (verdict["n"], verdict["met"]) == (rows, not needed)
    assert verdict["reason"].startswith(needed)
    assert (needed[:28] in done.text) or not needed


def test_failed_requests_score_zero(tiny: Tiny) -> None:
    """In every number, and the answered ones are told beside it."""
    write(
        tiny,
        [{"prompt": f"{n}?", "expect": {"contains": "yes"}} for n in range(4)],
        budgets=["quality.mean >= 90%", "error_rate <= 50%"],
    )
    config = ReferenceConfig(Schedule(text="yes ", tokens=2), Fault(FaultKind.HTTP_ERROR, every=4))
    with ReferenceServer(config, in_thread=True) as server:
        done = tiny.run("--flperf-suite=tiny.json", f"--flperf-base-url={server.base_url}", "--flperf-model=reference")
    case = done.case
    assert case["requests"]["failed"] == 1, done.text
    assert case["metrics"]["quality"]["mean"] == case["answer_quality"]["mean"] == 0.75
    assert (case["answer_quality"]["answered"], case["answer_quality"]["failed"]) == (1, 1)
    assert case["outcome"] == "failed"
    assert "3 of 4 prompts are right; 1 of 4 requests failed and score 0" in case["message"]


def test_rows_beside_the_scenario(tiny: Tiny) -> None:
    """Rows without an expectation have the scenario's; another column may hold them; null ignores them."""
    rows = [{"prompt": "One?", "target": "no"}, {"prompt": "Two?"}]
    write(tiny, rows, expect={"contains": "a"}, expect_column="target")
    done = run(tiny)
    assert [each["score"] for each in done.case["prompt_scores"]] == [0, 1], done.text
    write(tiny, ROWS, expect={"contains": "a"}, expect_column=None, iterations=4)
    done = run(tiny)
    assert done.case["answer_quality"]["mean"] == 1
    assert "rows_expect" not in done.case["settings"]


def test_tables(tiny: Tiny) -> None:
    """A cell is a text, or JSON."""
    table = 'prompt,expect,category\nOne?,ab,x\nTwo?,"{""contains"": ""a""}",y\nThree?,"[""no"", ""ab""]",x\n'
    write(tiny, [], dataset="rows.csv")
    (tiny.folder / "rows.csv").write_text(table, encoding="utf-8")
    done = run(tiny)
    assert [each["score"] for each in done.case["prompt_scores"]] == [1, 1, 1], done.text


@pytest.mark.parametrize(
    ("rows", "settings", "problem"),
    [
        ([{**ROWS[0]}, {**ROWS[1], "id": "a"}], {}, "rows.jsonl:2: found the id 'a' again, as in 1, expected each"),
        ([{**ROWS[0], "id": [1]}], {}, "rows.jsonl:1: found [1] in 'id', expected a string or a number"),
        ([{**ROWS[0], "category": 5}], {}, "rows.jsonl:1: found 5 in 'category', expected a string"),
        ([ROWS[0], {"prompt": "x"}], {}, "rows.jsonl:2: found no 'expect', expected one in each row"),
        ([{**ROWS[0], "expect": True}], {}, "rows.jsonl:1: expect: found true, expected a string, a number"),
        ([{**ROWS[0], "expect": {"contain": "x"}}], {}, "expect: contain: unknown key; did you mean 'contains'?"),
        ([{**ROWS[0], "expect": {}}], {}, "rows.jsonl:1: expect: found nothing, expected one or more of contains"),
        (
            [{**ROWS[0], "expect": {"regex": "("}}],
            {},
            "rows.jsonl:1: regex: found '(', which is not a regular expression",
        ),
        (
            [{**ROWS[0], "expect": {"json_schema": {"properties": {"a": {"$ref": "https://x.invalid/s"}}}}}],
            {},
            "which has an unresolvable reference: https://x.invalid/s",
        ),
        ([{"prompt": "x"}], {"expect_column": "target"}, "found no column 'target' with an expectation in any row"),
        (ROWS, {"repeat": 3, "iterations": 4}, "iterations: found 4 with repeat: 3, expected a multiple of it"),
        (ROWS, {"repeat": 0}, "repeat: found 0, expected a whole number from 1 to 1,000"),
        (ROWS, {"load": "session"}, "expect_column: found expectations in rows with load: session"),
        (ROWS, {"fail_on": ["quality.lower95 < -2%"]}, "lower95 is for budgets; of quality its mean is compared"),
        (ROWS, {"fail_on": ["quality.pass@2 < -2%"]}, "pass@2 is for budgets; of quality its mean is compared"),
        (ROWS, {"budgets": ["quality.pass@0 >= 1%"]}, "unknown statistic 'pass@0' of quality"),
        (ROWS, {"budgets": ["quality.pass@K >= 1%"]}, "unknown statistic 'pass@K' of quality"),
        (ROWS, {"budgets": ["quality.lower95 >= 100%"]}, "no number of prompts proves a quality of 100 %"),
    ],
)  # fmt: skip
def test_refused(tiny: Tiny, rows: list[Any], settings: dict[str, Any], problem: str) -> None:
    """With the row, before anything is loaded."""
    write(tiny, rows, **settings)
    assert problem in tiny.refused("--flperf-suite=tiny.json", *tiny.at)


def test_ids_matter_only_where_answers_are_scored(tiny: Tiny) -> None:
    """A data set for speed may have any."""
    write(tiny, [{"id": 1, "prompt": "x", "category": 5}, {"id": 1, "prompt": "y"}])
    assert run(tiny).ret == 0


def test_a_pattern_that_explodes(tiny: Tiny) -> None:
    """That request has no score, and a reason; the others keep theirs, and the budget is missed."""
    rows = [*ROWS, {"prompt": "x", "expect": {"regex": "^(a|aa)+$"}}]
    write(tiny, rows, budgets=["quality.mean >= 1%"])
    config = ReferenceConfig(Schedule(text="a" * 80 + "b", tokens=1, chars_per_token=81))
    with ReferenceServer(config, in_thread=True) as server:
        done = tiny.run("--flperf-suite=tiny.json", f"--flperf-base-url={server.base_url}", "--flperf-model=reference")
    assert done.case["not_scored"] == {"took longer than 2 s": 1}, done.text
    assert len(done.case["prompt_scores"]) == 4
    assert done.ret == 1
    assert "1 of 5 answers not scored: took longer than 2 s" in done.text


def _recovered(done: Done) -> dict[str, Any]:
    """The case as its journal tells, without the log's results."""
    for name in ("results.json", "samples.jsonl"):
        (done.report / name).unlink()
    log = done.report / "run.jsonl"
    lines = [line for line in log.read_text(encoding="utf-8").splitlines() if '"result":' not in line[:12]]
    log.write_text("\n".join(lines) + "\n", encoding="utf-8")
    (case,) = recover(done.report.resolve()).cases
    found: dict[str, Any] = case.to_dict()
    return found


def test_a_recovered_run(tiny: Tiny) -> None:
    """Scores by the rows, which the journal holds, without the suite."""
    write(tiny, ROWS, repeat=2)
    done = run(tiny)
    said = done.case
    (tiny.folder / "rows.jsonl").unlink()
    found = _recovered(done)
    assert found["outcome"] == "error"
    for name in ("answer_quality", "prompt_scores", "not_scored"):
        assert found[name] == said[name]


def test_a_key_in_a_row(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is used, and reaches no file; what is recovered says so."""
    key = "sk-proj-abcdefghijklmnopqrstuvwx0123456789"
    monkeypatch.setenv("FLPERF_TEST_KEY", key)
    write(tiny, [{"prompt": "x", "expect": key, "category": key, "id": key}, *ROWS])
    done = run(
        tiny, "--flperf-api-key-env=FLPERF_TEST_KEY", "--junitxml=j.xml", "--flperf-csv=c.csv", "--flperf-markdown=m.md"
    )
    assert [each["score"] for each in done.case["prompt_scores"]] == [0, 1, 0.5, 1, 0.25], done.text
    shutil.copytree(done.report.resolve(), tiny.folder / "copied")
    files = [
        each
        for each in [*(tiny.folder / "copied").rglob("*"), *map(tiny.folder.joinpath, ("j.xml", "c.csv", "m.md"))]
        if each.is_file()
    ]
    assert len(files) > 5
    assert [each.name for each in files if key.encode() in each.read_bytes()] == []
    assert key not in done.text
    found = _recovered(done)
    assert list(found["not_scored"].values()) == [1]


@pytest.fixture
def sides() -> Iterator[tuple[str, str]]:
    """A server that is always right and one that never is."""
    right, wrong = (Schedule(text=text, ttft_ms=0.2, itl_ms=0.1, tokens=2) for text in ("yes ", "no  "))
    with (
        ReferenceServer(ReferenceConfig(right), in_thread=True) as one,
        ReferenceServer(ReferenceConfig(wrong), in_thread=True) as other,
    ):
        yield one.base_url, other.base_url


def test_both_sides_by_rows(tiny: Tiny, sides: tuple[str, str]) -> None:
    """In turns each answer is scored by its row, on both sides."""
    right, wrong = sides
    rows = [{"prompt": f"{n}?", "expect": {"contains": "yes"}} for n in range(40)]
    write(tiny, rows)
    at = ("--flperf-suite=tiny.json", f"--flperf-base-url={wrong}", "--flperf-model=reference")
    done = tiny.run(*at, f"--flperf-against=base_url={right}", "--flperf-fail-on=quality.mean < -2%")
    assert done.ret == 1, done.text
    (against,) = done.case["against"]
    (comparison,) = [each for each in against["comparisons"] if each["metric"] == "quality"]
    assert (comparison["verdict"], comparison["baseline"], comparison["candidate"]) == ("regressed", 1, 0)
