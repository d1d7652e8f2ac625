"""A suite that names a judge: verdicts after the measurement, and every way in which there are none."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import threading
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from judge_double import NONSENSE, JudgeServer
from server_doubles import free_port
from tiny_runs import Done, Tiny

from pytest_flperf import measure
from pytest_flperf.errors import FlperfError
from pytest_flperf.reference_server import JudgeBias, ReferenceConfig, ReferenceServer, Schedule
from pytest_flperf.reference_server.truth import KnownAnswer
from pytest_flperf.session.judge import inline

assert inline  # here once: pytester forgets modules that a run in this process imported

QUICK = Schedule(ttft_ms=0.2, itl_ms=0.1, tokens=20)
CAPITALS = {
    "France": "Paris",
    "Italy": "Rome",
    "Spain": "Madrid",
    "Norway": "Oslo",
    "Malta": "Valletta",
    "Peru": "Lima",
}


def truth(wrong: int) -> tuple[KnownAnswer, ...]:
    """Right answers, but for the first so many."""
    return tuple(
        KnownAnswer(f"Capital of {country}?", f"[{1 if n < wrong else 5}] {city}")
        for n, (country, city) in enumerate(CAPITALS.items())
    )


@pytest.fixture(scope="module")
def models() -> Iterator[tuple[ReferenceServer, ReferenceServer]]:
    """Two models: one is wrong about two of six capitals, the other about none."""
    servers = [ReferenceServer(ReferenceConfig(QUICK, models=("nano",), answers=truth(2)), in_thread=True),
               ReferenceServer(ReferenceConfig(QUICK, models=("pico",), answers=truth(0)), in_thread=True)]  # fmt: skip
    with servers[0], servers[1]:
        yield servers[0], servers[1]


@pytest.fixture(scope="module")
def judge() -> Iterator[ReferenceServer]:
    """A fair judge."""
    with ReferenceServer(ReferenceConfig(QUICK, models=("big",), judge=JudgeBias()), in_thread=True) as server:
        yield server


class Judged:
    """A folder with a suite that names a judge."""

    def __init__(self, tiny: Tiny, models: tuple[ReferenceServer, ReferenceServer]) -> None:
        self.tiny = tiny
        self.folder = tiny.folder
        rows = [
            {"id": country, "category": "north" if country == "Norway" else "south", "prompt": f"Capital of {country}?"}
            for country in CAPITALS
        ]
        (self.folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        self.targets = [
            {"model": name, "base_url": server.base_url, "name": name}
            for name, server in zip(("nano", "pico"), models, strict=True)
        ]

    def suite(self, url: str, scenario: dict[str, Any] | None = None, targets: int = 2, **judge: Any) -> None:
        """Write the suite; ``judge`` has further settings of it."""
        asked = {"name": "qa", "dataset": "rows.jsonl", "iterations": 6, "warmup": 0, "max_tokens": 20}
        value = {
            "name": "tiny",
            "targets": self.targets[:targets],
            "judge": {"target": {"model": "big", "base_url": url}, **judge},
            "scenarios": [{**asked, **(scenario or {})}],
        }
        (self.folder / "tiny.json").write_text(json.dumps(value), encoding="utf-8")

    def run(self, *options: str) -> Done:
        """Run it."""
        return self.tiny.run("--flperf-suite=tiny.json", *options)

    def refused(self) -> str:
        """The message of exit 4."""
        return self.tiny.refused("--flperf-suite=tiny.json")

    def labels(self, good: int, bad: int) -> str:
        """Labels of answers of an earlier run, by row."""
        lines = [
            {"row": "France", "answer": f"[{5 if n < good else 1}] {n}", "verdict": "pass" if n < good else "fail"}
            for n in range(good + bad)
        ]
        (self.folder / "labels.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        return "labels.jsonl"


@pytest.fixture
def judged(tiny: Tiny, models: tuple[ReferenceServer, ReferenceServer], monkeypatch: pytest.MonkeyPatch) -> Judged:
    """A folder to run in."""
    monkeypatch.setenv("COLUMNS", "140")
    return Judged(tiny, models)


def test_after_the_measurement(judged: Judged, models: tuple[ReferenceServer, ReferenceServer],
                               judge: ReferenceServer) -> None:  # fmt: skip
    """The judge is asked once nothing is measured any more, and all surfaces have what it said."""
    for server in (*models, judge):
        server.clear_log()
    judged.suite(judge.base_url)
    files = ("--junitxml=junit.xml", "--flperf-csv=out.csv", "--flperf-markdown=out.md")
    done = judged.run(*files)
    assert done.ret == 0, done.text
    assert "; judged afterwards by big" in done.text
    last = max(entry.last_byte_ns for server in models for entry in server.log)
    assert min(entry.last_byte_ns for entry in judge.log) > last
    found = json.loads((done.report / "judged.json").read_text(encoding="utf-8"))["rubric"]
    assert [(row["model"], row["mean_score"], row["passed"]) for row in found["scores"]] == [
        ("nano", (1 + 1 + 5 * 4) / 6, 4), ("pico", 5, 6),
    ]  # fmt: skip
    lines = done.journal("judgements.jsonl")
    assert {(line["row"], line["model"]) for line in lines} == {(row, m) for row in CAPITALS for m in ("nano", "pico")}
    assert "Judged one by one by big (openai) with the default rubric" in done.text
    assert "No labels: nobody has tried this judge" in done.text
    assert "category south: pico 5.00, nano 3.40 over 5 prompts; undecided, p 1" in done.text
    assert "lowest scores" not in done.text
    assert [case["outcome"] for case in done.cases] == ["passed", "passed"]
    page = (done.report / "report.html").read_text(encoding="utf-8")
    assert "Scores by category" in page
    assert "### Judged" in (judged.folder / "out.md").read_text(encoding="utf-8")
    with (judged.folder / "out.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["model"]: row for row in csv.DictReader(file)}
    assert (float(rows["nano"]["judge.score"]), rows["pico"]["judge.errors"]) == (pytest.approx(22 / 6), "0")
    assert rows["pico"]["judge.pass_rate_lower"] == ""
    junit = ET.parse(judged.folder / "junit.xml")
    scores = {
        each.get("name"): prop.get("value")
        for each in junit.iter("testcase") for prop in each.iter("property") if prop.get("name") == "judge.score"
    }  # fmt: skip
    assert scores == {"qa[nano]": "3.66667", "qa[pico]": "5"}


def test_single_answers_with_v(judged: Judged, judge: ReferenceServer) -> None:
    """-v has the prompts that tell most; -q has nothing of it."""
    judged.suite(judge.base_url)
    assert "lowest scores" in judged.run("-v").text
    assert "Judged one by one" not in judged.run("-q").text


def test_pairwise(judged: Judged, judge: ReferenceServer) -> None:
    """The models of the run against each other, in both orders."""
    judged.suite(judge.base_url, mode="pairwise")
    done = judged.run()
    assert done.ret == 0
    (row,) = json.loads((done.report / "judged.json").read_text(encoding="utf-8"))["pairwise"]["scores"]
    assert (row["wins"], row["ties"], row["losses"], row["same"], row["flips"]) == (0, 4, 2, 4, 0)
    assert "Judged in pairs by big" in done.text


def test_the_gate(judged: Judged, judge: ReferenceServer) -> None:
    """A test of its own: met by whom it should be, missed by others; results and JUnit say so."""
    labels = judged.labels(40, 40)
    judged.suite(judge.base_url, labels=labels, fail_under="40%", targets=2)
    done = judged.run("--junitxml=junit.xml")
    assert done.ret == 1
    verdicts = {each["expression"]: each for each in done.results["run"]["budgets"]}
    nano, pico = verdicts.values()
    assert list(verdicts) == ["@nano:judge.pass_rate_lower >= 40%", "@pico:judge.pass_rate_lower >= 40%"]
    assert (nano["met"], pico["met"], nano["n"], nano["scope"]) == (False, True, 6, "judge")
    assert 0.1 < nano["value"] < 0.4 < pico["value"]
    assert done.results["run"]["status"] == "failed"
    assert "1 failed, 2 passed" in done.counts
    assert "Labels of answers of earlier runs, which the judge was asked, too: 80." in " ".join(done.text.split())
    assert "MISSED" in (judged.folder / "junit.xml").read_text(encoding="utf-8")
    judged.suite(judge.base_url, labels=labels, fail_under="5%")
    done = judged.run()
    assert (done.ret, done.results["run"]["status"]) == (0, "passed")


def test_labels_that_fit_too_few_answers_miss_the_gate(judged: Judged, judge: ReferenceServer) -> None:
    """Whether labels are of this run's questions is known only afterwards; a gate without enough of them is missed."""
    path = judged.folder / judged.labels(40, 40)
    lines = path.read_text(encoding="utf-8").replace("France", "Atlantis").splitlines()
    known = [line.replace("Atlantis", "France") for line in (*lines[:3], *lines[-2:])]
    path.write_text("\n".join([*lines[3:-2], *known]), encoding="utf-8")
    judged.suite(judge.base_url, labels="labels.jsonl", fail_under="5%")
    done = judged.run()
    assert done.ret == 1
    assert {each["met"] for each in done.results["run"]["budgets"]} == {False}
    assert "found labels of 3 good and 2 bad answers with a verdict of the judge, expected 10 of each" in done.text


def test_a_judge_that_is_down(judged: Judged) -> None:
    """Measured cases stay passed; the note says why there is no verdict; a gate is missed."""
    url = f"http://127.0.0.1:{free_port()}/v1"
    judged.suite(url)
    done = judged.run()
    assert (done.ret, done.results["run"]["status"]) == (0, "passed")
    assert any(note.startswith("the judge gave no verdict: ") for note in done.results["run"]["notes"])
    assert not (done.report / "judged.json").exists()
    judged.suite(url, labels=judged.labels(40, 40), fail_under="5%")
    done = judged.run()
    assert (done.ret, done.results["run"]["status"]) == (1, "failed")
    assert [case["outcome"] for case in done.cases] == ["passed", "passed"]
    assert [each["value"] for each in done.results["run"]["budgets"]] == [None, None]


def test_a_judge_that_talks_nonsense(judged: Judged) -> None:
    """Errors of its own, no score, and no gate that is met."""
    config = ReferenceConfig(QUICK, models=("big",), judge=NONSENSE)
    with ReferenceServer(config, in_thread=True) as server:
        judged.suite(server.base_url, labels=judged.labels(40, 40), fail_under="5%")
        done = judged.run()
    assert done.ret == 1
    assert "all of its replies are errors of its own" in " ".join(done.text.split())
    found = json.loads((done.report / "judged.json").read_text(encoding="utf-8"))["rubric"]
    assert [(row["judge_errors"], row["failed"], row["mean_score"]) for row in found["scores"]] == [(6, 0, None)] * 2


def test_its_time_is_limited(judged: Judged) -> None:
    """What it was not asked in time is an error of its own."""
    slow = Schedule(ttft_ms=400, itl_ms=0, tokens=20)
    with ReferenceServer(ReferenceConfig(slow, models=("big",), judge=JudgeBias()), in_thread=True) as server:
        judged.suite(server.base_url, max_time_s=2.0)
        done = judged.run()
    assert done.ret == 0
    found = json.loads((done.report / "judged.json").read_text(encoding="utf-8"))["rubric"]
    assert any("the time was over" in reason for reason in found["errors"])
    assert sum(row["prompts"] + row["judge_errors"] for row in found["scores"]) == 12


def test_a_scenario_that_is_not_judged(judged: Judged, judge: ReferenceServer) -> None:
    """Null leaves a scenario out."""
    judged.suite(judge.base_url, scenario={"judge": None})
    done = judged.run()
    assert done.ret == 0
    assert not (done.report / "judged.json").exists()
    assert "judged afterwards" not in done.text


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"fail_under": "90%"}, "judge: found fail_under without labels"),
        ({"fail_under": "0.9", "labels": "labels.jsonl"}, "judge.fail_under: found '0.9', expected a share above 0 %"),
        ({"labels": "nosuch.jsonl"}, "nosuch.jsonl: no such file, expected a file of labels"),
        ({"labels": "../labels.jsonl"}, "judge.labels: found '../labels.jsonl', expected a file in the suite's folder"),
        ({"rubric": "nosuch.txt"}, "nosuch.txt: no such file, expected a rubric"),
        ({"mode": "pairwise", "answers": 3}, "found answers with mode: pairwise"),
        ({"mode": "best"}, "judge.mode: found 'best', expected 'rubric' or 'pairwise'"),
        ({"max_time_s": 0}, "judge.max_time_s: found 0"),
        ({"rubrik": "x"}, "judge.rubrik: unknown key; did you mean 'rubric'"),
        ({"target": {"model": "x", "backend": "nosuch"}}, "nosuch"),
        ({"target": {"model": "x", "api_key_env": "NO_SUCH_KEY", "base_url": "http://127.0.0.1:1/v1"}}, "NO_SUCH_KEY"),
    ],
)
def test_bad_usage(judged: Judged, settings: dict[str, Any], problem: str) -> None:
    """Exit 4 before anything is measured or loaded."""
    judged.suite("http://127.0.0.1:1/v1", **settings)
    assert problem in judged.refused()


def test_too_few_labels(judged: Judged) -> None:
    """A gate on five labels is none."""
    judged.suite("http://127.0.0.1:1/v1", labels=judged.labels(3, 2), fail_under="50%")
    assert "found labels of 3 good and 2 bad answers, expected 10 of each at least" in judged.refused()


@pytest.mark.parametrize(
    ("scenario", "words"),
    [
        ({"turns": ["Hello", "And?"], "load": "session"}, "other (chats)"),
        ({"input_tokens": 20}, "other (prompts of filler)"),
        (
            {"prompt": "Book it.", "tools": [{"type": "function", "function": {"name": "book"}}],
             "tool_results": [{"name": "book", "result": "done"}]},
            "other (conversations with tool_results)",
        ),
    ],
    ids=["chats", "filler", "tools"],
)  # fmt: skip
def test_answers_that_no_judge_is_shown(
    judged: Judged, judge: ReferenceServer, scenario: dict[str, Any], words: str
) -> None:
    """A gate on them is refused, for it would be met without them; else it is a note that they are not judged."""

    def write(**of_judge: Any) -> None:
        judged.suite(judge.base_url, targets=1, **of_judge)
        suite = json.loads((judged.folder / "tiny.json").read_text(encoding="utf-8"))
        suite["scenarios"].append({"name": "other", "iterations": 2, "warmup": 0, "max_tokens": 4, **scenario})
        (judged.folder / "tiny.json").write_text(json.dumps(suite), encoding="utf-8")

    write(labels=judged.labels(40, 40), fail_under="5%")
    assert f"judge.fail_under: found scenarios whose answers no judge can be shown: {words}" in judged.refused()
    write()
    done = judged.run()
    assert done.ret == 0, done.text
    assert f"the judge was not shown the answers of {words}" in done.results["run"]["notes"]
    found = json.loads((done.report / "judged.json").read_text(encoding="utf-8"))["rubric"]
    assert [row["prompts"] for row in found["scores"]] == [6]


def test_pairwise_needs_two_models(judged: Judged) -> None:
    """Nothing to compare is known beforehand."""
    judged.suite("http://127.0.0.1:1/v1", targets=1, mode="pairwise")
    assert "found pairwise in a run of one model" in judged.refused()


def test_two_judges(judged: Judged) -> None:
    """A run has one."""
    judged.suite("http://127.0.0.1:1/v1")
    suite = json.loads((judged.folder / "tiny.json").read_text(encoding="utf-8"))
    other = {**suite["scenarios"][0], "name": "other", "judge": {"target": {"model": "x", "base_url": "http://h/v1"}}}
    suite["scenarios"].append(other)
    (judged.folder / "tiny.json").write_text(json.dumps(suite), encoding="utf-8")
    assert "expected one judge in a run" in judged.refused()


def test_an_interrupt_keeps_all(judged: Judged) -> None:
    """Ctrl-C while the judge thinks: measurements and the verdicts that came are there, and no gate is met."""
    waiting = threading.Event()

    def hangs(text: str) -> bool:
        found = "Spain" in text
        if found:
            waiting.set()
        return found

    with JudgeServer(hangs_on=hangs) as server:
        target = {"model": "judge", "base_url": server.base_url}
        judged.suite("", target=target, labels=judged.labels(40, 40), fail_under="5%")
        command = [sys.executable, "-m", "pytest", "--flperf-suite=tiny.json"]
        running = subprocess.Popen(
            command, cwd=judged.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        asked = waiting.wait(120)
        running.send_signal(signal.SIGINT)
        said, _ = running.communicate(timeout=60)
    assert asked, said
    assert running.returncode == 2, said
    report = (judged.folder / "reports" / "latest").resolve()
    results = json.loads((report / "results.json").read_text(encoding="utf-8"))
    assert results["run"]["status"] == "interrupted"
    assert [(case["outcome"], case["requests"]["ok"]) for case in results["cases"]] == [("passed", 6)] * 2
    assert results["run"]["budgets"] == []
    found = json.loads((report / "judged.json").read_text(encoding="utf-8"))["rubric"]
    assert any("it was interrupted" in reason for reason in found["errors"])
    assert sum(row["prompts"] for row in found["scores"]) >= 2
    assert "INTERNALERROR" not in said


def test_stopped_at_the_first_failure(judged: Judged, judge: ReferenceServer) -> None:
    """With -x the judge is not asked, and that is said."""
    judge.clear_log()
    judged.suite(judge.base_url, scenario={"budgets": ["e2e_ms.p50 <= 0.001"]})
    done = judged.run("-x")
    assert done.ret == 1
    note = "the judge gave no verdict: it was not asked, as the run stopped early"
    assert note in done.results["run"]["notes"]
    assert done.results["run"]["budgets"] == []
    judged.suite(judge.base_url, {"budgets": ["e2e_ms.p50 <= 0.001"]}, labels=judged.labels(40, 40), fail_under="5%")
    (gate,) = judged.run("-x").results["run"]["budgets"]
    assert (gate["met"], gate["reason"]) == (False, "it was not asked, as the run stopped early")
    assert judge.log == ()


def test_a_folder_that_cannot_be_written(judged: Judged, judge: ReferenceServer) -> None:
    """Answers that are nowhere can't be judged: the gate is missed, and without one that is a note."""
    (judged.folder / "reports").write_text("a file", encoding="utf-8")
    judged.suite(judge.base_url, labels=judged.labels(40, 40), fail_under="5%", targets=1)
    done = judged.run()
    assert done.ret == 1
    assert "the judge gave no verdict: the answers could not be written" in " ".join(done.text.split())
    assert "1 failed, 1 passed" in done.counts


def test_from_a_script(judged: Judged, judge: ReferenceServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """measure() asks the judge as pytest does."""
    monkeypatch.chdir(judged.folder)
    judged.suite(judge.base_url, labels=judged.labels(40, 40), fail_under="99%")
    run = measure("tiny.json", store="none", lock_timeout="none")
    assert run.status == "failed"
    assert [each.met for each in run.budgets] == [False, False]
    assert (Path("reports") / "latest" / "judged.json").exists()
    judged.suite(judge.base_url, mode="pairwise", targets=1)
    with pytest.raises(FlperfError, match="a run of one model"):
        measure("tiny.json", store="none")


def test_with_workers(judged: Judged, judge: ReferenceServer) -> None:
    """With pytest-xdist the process that gathers asks the judge, once."""
    judge.clear_log()
    judged.suite(judge.base_url)
    done = judged.tiny.run_apart("--flperf-suite=tiny.json", "-p", "xdist", "-n", "1")
    assert done.ret == 0, done.text
    found = json.loads((done.report / "judged.json").read_text(encoding="utf-8"))["rubric"]
    assert [row["prompts"] for row in found["scores"]] == [6, 6]


def test_stopped_early_with_workers(judged: Judged, judge: ReferenceServer) -> None:
    """With pytest-xdist -x ends the session in another way; the gate is missed all the same."""
    judge.clear_log()
    judged.suite(judge.base_url, {"budgets": ["e2e_ms.p50 <= 0.001"]}, labels=judged.labels(40, 40), fail_under="5%")
    done = judged.tiny.run_apart("--flperf-suite=tiny.json", "-p", "xdist", "-n", "1", "-x")
    assert done.ret == 2, done.text
    gates = done.results["run"]["budgets"]
    assert {(gate["met"], gate["reason"]) for gate in gates} == {(False, "it was not asked, as the run stopped early")}
    assert judge.log == ()


def test_a_joined_run(judged: Judged, judge: ReferenceServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps the gates and has no questions: flperf judge names the runs that have them."""
    judged.suite(judge.base_url, labels=judged.labels(40, 40), fail_under="5%", targets=1)
    one = judged.run()
    monkeypatch.chdir(judged.folder)
    told = judged.tiny.command("merge", str(one.report), "--report-dir=joined")
    assert told.ret == 0, told.outlines
    found = json.loads((judged.folder / "joined" / "latest" / "results.json").read_text(encoding="utf-8"))["run"]
    assert [each["met"] for each in found["budgets"]] == [True]
    told = judged.tiny.command("judge", "joined/latest", "--judge", f"model=big,base_url={judge.base_url}")
    assert told.ret == 4
    said = "\n".join(told.errlines)
    assert "found a run that joins others, which has no questions; expected one of these: " in said
    assert one.results["run"]["id"] in said
