"""Gates on quality against a stored run: prompt by prompt, or as two samples."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import jsonschema
import pytest
from tiny_runs import Done, Tiny

from pytest_flperf.history import store
from pytest_flperf.reference_server import Fault, FaultKind, ReferenceConfig, ReferenceServer, Schedule
from pytest_flperf.results.records import load_schema
from pytest_flperf.stats.inference import quality as two_runs_quality

assert store  # here once: pytester forgets modules that a run in this process imported
assert two_runs_quality

pytestmark = pytest.mark.usefixtures("stored", "no_ci")

GATE = "--flperf-fail-on=quality.mean < -2%"
SCENARIO = {"max_tokens": 2, "iterations": 60, "expect": {"contains": "yes"}}


class Runs:
    """Runs after each other, each on a server of its own quality."""

    def __init__(self, tiny: Tiny, stack: ExitStack) -> None:
        self._tiny = tiny
        self._stack = stack
        self._seed = 31

    def suite(self, prompts: int = 0, **changes: Any) -> None:
        """One scenario: with one prompt, or with a data set of so many."""
        path = self._tiny.suite({**SCENARIO, **changes, **({"dataset": "rows.jsonl"} if prompts else {})})
        if prompts:
            rows = "".join(json.dumps({"prompt": f"What is {n}?"}) + "\n" for n in range(prompts))
            (self._tiny.folder / "rows.jsonl").write_text(rows, encoding="utf-8")
            path.write_text(path.read_text(encoding="utf-8").replace('"prompt": "Hello", ', ""), encoding="utf-8")

    def run(self, wrong: float, *options: str, fault: Fault | None = None, **schedule: Any) -> Done:
        """A run on a server that is wrong in such a share of its answers."""
        self._seed += 1
        says: dict[str, Any] = {"text": "yes ", "wrong_text": "no  ", "ttft_ms": 0.2, "itl_ms": 0.1, "tokens": 2}
        truth = Schedule(wrong_share=wrong, seed=self._seed, **{**says, **schedule})
        server = self._stack.enter_context(ReferenceServer(ReferenceConfig(truth, fault), in_thread=True))
        at = (f"--flperf-base-url={server.base_url}", "--flperf-model=reference")
        return self._tiny.run("--flperf-suite=tiny.json", *at, *options)

    def gated(self, wrong: float, **schedule: Any) -> tuple[Done, dict[str, Any]]:
        """A run that is compared with the last one, and what came of its rule."""
        done = self.run(wrong, "--flperf-baseline=last", GATE, **schedule)
        (against,) = done.case["against"]
        (found,) = [each for each in against["comparisons"] if each["metric"] == "quality"]
        return done, found


@pytest.fixture
def runs(tiny: Tiny) -> Iterator[Runs]:
    """Runs whose servers end with the test."""
    with ExitStack() as stack:
        yield Runs(tiny, stack)


@pytest.mark.parametrize("temperature", [0, 1])
def test_one_prompt(runs: Runs, temperature: float) -> None:
    """Answers that vary are two samples: 0.98 against 0.50 is a regression, back again none; 0 on a side is judged."""
    runs.suite(temperature=temperature)
    assert runs.run(0.02).ret == 0
    done, found = runs.gated(0.5)
    assert (done.ret, found["verdict"]) == (1, "regressed"), done.text
    assert "quality.mean regressed by -" in done.text
    assert found["change_ci95_pct"][0] < found["change_pct"] < found["change_ci95_pct"][1] < -2
    done, found = runs.gated(0.5)
    assert done.ret in (0, 1)
    assert found["method"] == "exact test of two shares"


def test_a_quality_of_nothing(runs: Runs) -> None:
    """From 0 to 1 and back."""
    runs.suite(temperature=1)
    runs.run(1.0)
    done, found = runs.gated(0.0)
    assert (done.ret, found["verdict"], found["baseline"], found["candidate"]) == (0, "improved", 0, 1)
    done, found = runs.gated(1.0)
    assert (done.ret, found["verdict"]) == (1, "regressed")


def test_prompt_by_prompt(runs: Runs) -> None:
    """Greedy answers to prompts of a data set are matched: the results hold each prompt's score."""
    runs.suite(prompts=60)
    first = runs.run(0.0, wrong_by="prompt")
    jsonschema.validate(first.results, load_schema())
    assert len(first.case["prompt_scores"]) == 60
    assert {each["score"] for each in first.case["prompt_scores"]} == {1.0}
    done, found = runs.gated(0.4, wrong_by="prompt")
    assert (done.ret, found["verdict"], found["method"]) == (1, "regressed", "exact test of matched shares")


@pytest.mark.parametrize("prompts", [0, 3])
def test_greedy_repeats_count_once(runs: Runs, prompts: int) -> None:
    """However often few prompts are repeated, they stay few."""
    runs.suite(prompts=prompts)
    runs.run(0.0)
    done, found = runs.gated(1.0)
    assert (done.ret, found["verdict"]) == (0, "undecided")
    assert f"60 requests a side are evidence of only {prompts or 1} prompt" in found["reason"]


def test_failed_requests_score_nothing(runs: Runs) -> None:
    """Two runs whose answers are all right, of which one answers half of its requests."""
    runs.suite(temperature=1, budgets=["error_rate <= 100%"])
    runs.run(0.0, fault=Fault(FaultKind.HTTP_ERROR, status=500, every=40))
    _, found = runs.gated(0.0, fault=Fault(FaultKind.HTTP_ERROR, status=500, every=2))
    assert (found["verdict"], found["candidate"]) == ("regressed", 0.5)


def test_graded_scores(runs: Runs) -> None:
    """Scores between 0 and 1, of one prompt and of many."""
    for prompts, method in ((0, "t test of two runs' scores"), (30, "studentised bootstrap of matched scores")):
        runs.suite(prompts=prompts, temperature=1, expect={"contains": ["y", "es"]})
        runs.run(0.05, wrong_text="yyy ")
        done, found = runs.gated(0.9, wrong_text="yyy ")
        assert (done.ret, found["verdict"], found["method"]) == (1, "regressed", method), done.text


def test_what_stored_runs_can_not_decide_is_said_before(tiny: Tiny) -> None:
    """With too few of them most changes can't be told; with three nothing is said."""
    tiny.suite({"iterations": 12})
    rules = ("--flperf-fail-on=ttft_ms.p50 > +10%",)
    said: list[list[str]] = []
    for _ in range(3):
        tiny.measure()
        done = tiny.measure("--flperf-baseline=last", *rules, "--flperf-dry-run")
        said.append([line for line in done.lines if line.startswith("--flperf-baseline: ") and "stored run" in line])
    assert [len(each) for each in said] == [1, 1, 0]
    assert "ttft_ms.p50 with 1 stored run is called regressed only if it is about" in said[0][0]
