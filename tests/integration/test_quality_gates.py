"""Gates on quality and on shares of requests, in turns: a server that is right as often as it is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from tiny_runs import Done, Tiny

from pytest_flperf.reference_server import Fault, FaultKind, ReferenceConfig, ReferenceServer, Schedule
from pytest_flperf.reference_server.truth import KnownAnswer

RIGHT = {"max_tokens": 2, "expect": {"contains": "yes"}}
GATE = "--flperf-fail-on=quality.mean < -2%"


class Sides:
    """Runs two servers of known quality against each other."""

    def __init__(self, tiny: Tiny, stack: ExitStack) -> None:
        self._tiny = tiny
        self._stack = stack
        self.servers: list[ReferenceServer] = []

    def url(self, wrong: float, fault: Fault | None = None, lost: tuple[str, ...] = (), **schedule: Any) -> str:
        """The URL of a server that is wrong in such a share of its answers, and always of the ``lost`` prompts."""
        says: dict[str, Any] = {"text": "yes ", "wrong_text": "no  ", "ttft_ms": 0.2, "itl_ms": 0.1, "tokens": 2}
        answers = tuple(KnownAnswer(prompt, text="no") for prompt in lost)
        truth = Schedule(wrong_share=wrong, seed=len(self.servers) + 11, **{**says, **schedule})
        server = self._stack.enter_context(
            ReferenceServer(ReferenceConfig(truth, fault, answers=answers), in_thread=True)
        )
        self.servers.append(server)
        return server.base_url

    def run(self, candidate: str, baseline: str, *options: str) -> Done:
        """Measure the one against the other by the suite ``tiny.json``."""
        at = ("--flperf-suite=tiny.json", f"--flperf-base-url={candidate}", "--flperf-model=reference")
        return self._tiny.run(*at, f"--flperf-against=base_url={baseline}", *options)


@pytest.fixture
def sides(tiny: Tiny) -> Iterator[Sides]:
    """Servers that end with the test."""
    with ExitStack() as stack:
        yield Sides(tiny, stack)


def found(done: Done, metric: str = "quality") -> dict[str, Any]:
    """What came of the rule on a metric."""
    (against,) = done.case["against"]
    (comparison,) = [each for each in against["comparisons"] if each["metric"] == metric]
    return dict(comparison)


@pytest.mark.parametrize("streams", [1, 4])
def test_a_side_that_is_wrong_more_often(tiny: Tiny, sides: Sides, streams: int) -> None:
    """Right in 98 of 100 against 50 of 100 is a regression, and the text says by how many points."""
    tiny.suite({**RIGHT, "concurrency": streams})
    done = sides.run(sides.url(0.5), sides.url(0.02), GATE)
    assert done.ret == 1, done.text
    comparison = found(done)
    assert (comparison["verdict"], comparison["fails"]) == ("regressed", True)
    assert comparison["threshold_floor"] == 0.02
    low, high = comparison["change_ci95_pct"]
    assert low < comparison["change_pct"] < high < 0
    assert comparison["candidate"] - comparison["baseline"] == pytest.approx(comparison["change_pct"] / 100)
    assert "quality.mean regressed by -" in done.text
    assert "points [" in done.text


def test_two_that_are_right_alike(tiny: Tiny, sides: Sides) -> None:
    """Right in 90 of 100 on both sides is no regression."""
    tiny.suite(RIGHT)
    done = sides.run(sides.url(0.1), sides.url(0.1), GATE)
    assert done.ret == 0, done.text
    assert found(done)["verdict"] in ("unchanged", "undecided")


def test_a_side_that_is_right_more_often(tiny: Tiny, sides: Sides) -> None:
    """The other way round it is no worse, at the least; a quality of 0 on a side is judged like any."""
    tiny.suite({**RIGHT, "temperature": 0.5})
    done = sides.run(sides.url(0), sides.url(1), GATE)
    assert done.ret == 0, done.text
    assert found(done)["verdict"] in ("unchanged", "improved")
    assert (found(done)["baseline"], found(done)["candidate"]) == (0, 1)


@pytest.mark.parametrize("strict", [False, True])
def test_greedy_repeats_count_once(tiny: Tiny, sides: Sides, strict: bool) -> None:
    """One prompt with the same answer each time is one piece of evidence: undecided, with what to do."""
    tiny.suite(RIGHT)
    options = ("--flperf-max-iterations=20", *["--flperf-fail-undecided"] * strict)
    done = sides.run(sides.url(1), sides.url(0), GATE, *options)
    assert done.ret == int(strict), done.text
    assert found(done)["verdict"] == "undecided"
    assert "20 requests a side are evidence of only 1 prompt" in found(done)["reason"]
    assert "add prompts" in found(done)["reason"]


def test_many_prompts_are_evidence(tiny: Tiny, sides: Sides) -> None:
    """Prompts that are answered alike each time count once each, and are enough when they are many."""
    rows = "".join(json.dumps({"prompt": f"What is {n}?"}) + "\n" for n in range(40))
    (tiny.folder / "rows.jsonl").write_text(rows, encoding="utf-8")
    path = tiny.suite({**RIGHT, "dataset": "rows.jsonl"})
    path.write_text(path.read_text(encoding="utf-8").replace('"prompt": "Hello", ', ""), encoding="utf-8")
    truth = {"wrong_by": "prompt"}
    done = sides.run(sides.url(0.6, **truth), sides.url(0.0, **truth), GATE)
    assert done.ret == 1, done.text
    assert found(done)["verdict"] == "regressed"


def questions(tiny: Tiny, count: int, **scenario: Any) -> list[str]:
    """A suite of so many prompts of a file; the prompts."""
    prompts = [f"What is {n}?" for n in range(count)]
    rows = "".join(json.dumps({"prompt": prompt}) + "\n" for prompt in prompts)
    (tiny.folder / "rows.jsonl").write_text(rows, encoding="utf-8")
    path = tiny.suite({**RIGHT, "dataset": "rows.jsonl", **scenario})
    path.write_text(path.read_text(encoding="utf-8").replace('"prompt": "Hello", ', ""), encoding="utf-8")
    return prompts


def test_a_sorted_file(tiny: Tiny, sides: Sides) -> None:
    """Its first rows are lost and as many of its last ones won: all are asked before anything is said."""
    prompts = questions(tiny, 110)
    candidate, baseline = sides.url(0, lost=tuple(prompts[:20])), sides.url(0, lost=tuple(prompts[-20:]))
    done = sides.run(candidate, baseline, GATE)
    assert done.ret == 0, done.text
    comparison = found(done)
    assert (comparison["verdict"], comparison["pairs"], comparison["change_pct"]) == ("undecided", 110, 0)
    done = sides.run(candidate, baseline, GATE, "--flperf-max-iterations=90")
    assert found(done)["verdict"] == "regressed"  # of the ninety prompts that are asked


def test_a_file_is_asked_whole(tiny: Tiny, sides: Sides) -> None:
    """Twelve in a hundred and twenty turn from right to wrong: the last ones are needed to see it, and are asked."""
    prompts = questions(tiny, 120)
    done = sides.run(sides.url(0, lost=tuple(prompts[5::8])), sides.url(0), GATE)
    assert (done.ret, found(done)["verdict"], found(done)["pairs"]) == (1, "regressed", 120), done.text


@pytest.mark.parametrize("way", ["--flperf-dry-run", "--co"])
def test_what_is_found_is_said_before(tiny: Tiny, way: str) -> None:
    """How large a fall must be: in the header and by a dry run, where quality is compared."""
    questions(tiny, 100)
    against = ("--flperf-against=same", GATE)
    done = tiny.run("--flperf-suite=tiny.json", *tiny.at, *against, way)
    (power,) = [line.removeprefix("flperf: ") for line in done.lines if "finds a fall" in line]
    assert power.startswith("--flperf-against: quality.mean finds a fall from 90 % right to 80 % in ")
    assert " of 100 runs, to 6" in power
    assert "finds a fall" not in tiny.run("--flperf-suite=tiny.json", *tiny.at, way).text


def test_failed_requests_score_nothing(tiny: Tiny, sides: Sides) -> None:
    """A side that fails on a third of its requests doesn't look as good as the answers that it gave."""
    tiny.suite({**RIGHT, "temperature": 1, "budgets": ["error_rate <= 100%"]})
    candidate = sides.url(0, Fault(FaultKind.HTTP_ERROR, status=500, every=3))
    done = sides.run(candidate, sides.url(0, Fault(FaultKind.HTTP_ERROR, status=500, every=50)), GATE)
    assert found(done)["candidate"] == pytest.approx(2 / 3, abs=0.1)
    assert found(done)["baseline"] > 0.9
    assert found(done, "error_rate")["verdict"] == "regressed"


def test_graded_scores(tiny: Tiny, sides: Sides) -> None:
    """A score between 0 and 1: half of what is expected is there in most answers of the candidate."""
    tiny.suite({**RIGHT, "expect": {"contains": ["y", "es"]}, "temperature": 1})
    done = sides.run(sides.url(0.8, wrong_text="yyy "), sides.url(0.1, wrong_text="yyy "), GATE)
    assert done.ret == 1, done.text
    assert found(done)["verdict"] == "regressed"
    assert "bootstrap" in found(done)["method"]


def test_both_sides_are_asked_the_same(tiny: Tiny, sides: Sides) -> None:
    """Byte for byte where caches are apart; on one server with prefixes of its own for each, and it is said."""
    tiny.suite(RIGHT)
    ours, theirs = sides.url(0), sides.url(0)
    done = sides.run(ours, theirs, GATE, "--flperf-max-iterations=12")
    asked = [[entry.prompt_hash for entry in server.log][-12:] for server in sides.servers]
    assert asked[0] == asked[1]
    assert len(set(asked[0])) == 12
    (against,) = done.case["against"]
    assert not any("prompt cache" in note for note in against["notes"])
    done = sides.run(ours, ours, GATE, "--flperf-max-iterations=12")
    assert len({entry.prompt_hash for entry in sides.servers[0].log[-24:]}) == 24
    (against,) = done.case["against"]
    assert any("share the server's prompt cache" in note for note in against["notes"])


def test_time_outs(tiny: Tiny, sides: Sides) -> None:
    """They are counted at every look, and compared request by request."""
    tiny.suite({**RIGHT, "timeout_s": 0.3, "budgets": ["error_rate <= 100%"]})
    hangs = Fault(FaultKind.HANG_BEFORE_HEADERS, every=3)
    done = sides.run(sides.url(0, hangs), sides.url(0), "--flperf-fail-on=timeout_rate > +1%")
    assert (done.ret, found(done, "timeout_rate")["verdict"]) == (1, "regressed"), done.text
    (against,) = done.case["against"]
    assert against["pairs"] <= 20


def test_what_can_not_be_decided_is_said_before(tiny: Tiny) -> None:
    """In full by a dry run, in a line of the header; nothing where nothing is compared, or all can be decided."""
    tiny.suite({**RIGHT, "iterations": 60}, {**RIGHT, "name": "two"})
    against = ("--flperf-against=same", GATE, "--flperf-fail-on=ttft_ms.p95 > +10%")
    done = tiny.run("--flperf-suite=tiny.json", *tiny.at, *against, "--flperf-dry-run")
    (quality,) = [line for line in done.lines if "quality.mean" in line]
    assert quality.startswith(
        "--flperf-against: quality.mean can't be decided from 1 prompt if repeats are answered alike"
    )
    assert quality.endswith("add prompts (2 cases)")
    done = tiny.run("--flperf-suite=tiny.json", *tiny.at, *against, "--co")
    assert f"flperf: {quality}" in done.lines
    for way in ("--flperf-dry-run", "--co"):
        assert "add prompts" not in tiny.run("--flperf-suite=tiny.json", *tiny.at, way).text
