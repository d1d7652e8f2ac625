"""Quality and speed decided by one interleaved run, and quality under load: servers of known truth."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from tiny_runs import Done, Tiny

from pytest_flperf.reference_server import ReferenceConfig, ReferenceServer, Schedule

RULES = ("--flperf-fail-on=quality.mean < -10%", "--flperf-fail-on=ttft_ms.p50 > +20%")
RIGHT = {"max_tokens": 2, "expect": {"contains": "yes"}, "dataset": "rows.jsonl", "prompt": None}
ROWS = 80


class Servers:
    """Servers of known quality and speed, and a suite that asks them."""

    def __init__(self, tiny: Tiny, stack: ExitStack) -> None:
        self.tiny = tiny
        self._stack = stack

    def suite(self, **more: Any) -> None:
        """Questions of a data set, each once."""
        rows = "".join(json.dumps({"id": f"q{n}", "prompt": f"What is {n}?"}) + "\n" for n in range(ROWS))
        (self.tiny.folder / "rows.jsonl").write_text(rows, encoding="utf-8")
        path = self.tiny.suite({**RIGHT, **more})
        path.write_text(path.read_text(encoding="utf-8").replace('"prompt": null, ', ""), encoding="utf-8")

    def url(self, **schedule: Any) -> str:
        """The address of a server."""
        says: dict[str, Any] = {"text": "yes ", "wrong_text": "no  ", "tokens": 2, "itl_ms": 0.1, "wrong_by": "prompt"}
        truth = Schedule(seed=5, **{**says, **schedule})
        return self._stack.enter_context(ReferenceServer(ReferenceConfig(truth), in_thread=True)).base_url

    def run(self, url: str, against: str, *options: str) -> Done:
        """Measure a server against another side."""
        at = ("--flperf-suite=tiny.json", f"--flperf-base-url={url}", "--flperf-model=reference")
        return self.tiny.run(*at, f"--flperf-against={against}", *options)


@pytest.fixture
def servers(tiny: Tiny) -> Iterator[Servers]:
    """Servers that end with the test."""
    with ExitStack() as stack:
        yield Servers(tiny, stack)


def found(done: Done) -> dict[str, dict[str, Any]]:
    """The comparisons of the only case, by metric."""
    (against,) = done.case["against"]
    return {each["metric"]: each for each in against["comparisons"]}


@pytest.mark.parametrize("slow", [False, True], ids=["as fast", "slower"])
@pytest.mark.parametrize("wrong", [False, True], ids=["as right", "wrong"])
def test_both_are_decided(servers: Servers, wrong: bool, slow: bool) -> None:
    """A loss of quality and a slowdown are told apart, in all four combinations, within one error rate."""
    servers.suite()
    candidate = servers.url(wrong_share=0.5 * wrong, ttft_ms=50 if slow else 20)
    done = servers.run(candidate, f"base_url={servers.url(ttft_ms=20)}", *RULES)
    by_metric = found(done)
    quality, ttft = by_metric["quality"], by_metric["ttft_ms"]
    assert done.ret == int(wrong or slow), done.text
    assert quality["verdict"] == ("regressed" if wrong else "unchanged")
    assert (ttft["verdict"] == "regressed") == slow
    assert {each["comparisons"] for each in by_metric.values()} == {3}, "the implied rule on failures counts as one"
    for each in (quality, ttft):
        assert each["verdict"] != "regressed" or each["p_value"] <= 0.01 / 3
    answer = done.results["run"]["answer"]["changes"][0]["told"]
    assert answer[0].startswith("quality.mean ")
    assert answer[0].endswith(quality["verdict"])
    assert any(each.startswith("ttft_ms.p50 ") and each.endswith(ttft["verdict"]) for each in answer)
    assert "against base_url=" in done.text


@pytest.mark.parametrize("errs", [True, False])
@pytest.mark.parametrize("busy_side", ["candidate", "baseline"])
def test_quality_under_load(servers: Servers, errs: bool, busy_side: str) -> None:
    """The same prompts on one stream and on eight: what a busy server gets wrong is a regression of the busy side."""
    streams = (8, 1) if busy_side == "candidate" else (1, 8)
    servers.suite(concurrency=streams[0])
    url = servers.url(ttft_ms=15, busy_wrong_share=0.6 if errs else None)
    done = servers.run(url, f"concurrency={streams[1]}", RULES[0], "--flperf-max-iterations=160")
    quality = found(done)["quality"]
    lost = errs and busy_side == "candidate"
    assert done.ret == int(lost), done.text
    if errs:
        assert quality["verdict"] in (("regressed",) if lost else ("improved", "unchanged"))
        low, high = quality["change_ci95_pct"]
        assert low < (-52.5 if lost else 52.5) < high, "of eight requests at once the first finds the server idle"
    else:
        assert (quality["baseline"], quality["candidate"]) == (1, 1)
    (against,) = done.case["against"]
    assert against["requests"]["total"] == done.case["requests"]["total"] == 8 * against["pairs"]
    assert f"load concurrency: {streams[1]} → {streams[0]}" in against["differs"]
    scores = done.case["prompt_scores"]
    assert sum(each["n"] for each in scores) == done.case["requests"]["total"]
    assert {each["id"] for each in scores} == {f"q{n}" for n in range(min(ROWS, done.case["requests"]["total"]))}


def test_how_much_is_measured_is_said(servers: Servers) -> None:
    """In requests per stream of the side that has more of them."""
    servers.suite(concurrency=4)
    done = servers.tiny.run(
        "--flperf-suite=tiny.json", *servers.tiny.at, "--flperf-against=concurrency=1", RULES[0], "--flperf-dry-run"
    )
    assert "from 12 requests per stream of the side with more to 100" in done.text
    assert done.ret == 0
    done = servers.tiny.run("--flperf-suite=tiny.json", *servers.tiny.at, "--flperf-against=concurrency=0")
    assert done.ret == 4
    assert "--flperf-against: concurrency" in done.text


def test_a_suite_names_the_other_side(servers: Servers) -> None:
    """``against`` of a scenario, with its own rule; a scenario without one is measured alone beside it."""
    servers.suite(concurrency=4, against="concurrency=1", fail_on="quality.mean < -10%")
    path = servers.tiny.folder / "tiny.json"
    suite = json.loads(path.read_text(encoding="utf-8"))
    alone = {key: each for key, each in suite["scenarios"][0].items() if key not in ("against", "concurrency")}
    suite["scenarios"].append({**alone, "name": "alone", "iterations": 4})
    path.write_text(json.dumps(suite), encoding="utf-8")
    at = ("--flperf-suite=tiny.json", f"--flperf-base-url={servers.url(ttft_ms=15, busy_wrong_share=0.9)}")
    done = servers.tiny.run(*at, "--flperf-model=reference", "--flperf-max-iterations=80")
    assert done.ret == 1, done.text
    load, other = done.cases
    (against,) = load["against"]
    found = {each["metric"]: each for each in against["comparisons"]}
    assert (against["label"], found["quality"]["verdict"]) == ("concurrency=1", "regressed")
    assert found["quality"]["comparisons"] == 2, "of the one case that is compared, with the implied rule"
    assert other["against"] == []
    assert (other["outcome"], other["requests"]["total"]) == ("passed", 4)
    listed = servers.tiny.run(*at, "--flperf-model=reference", "--flperf-dry-run")
    assert "1 cases that have 'against': from 12 requests per stream of the side with more to 100" in listed.text


@pytest.mark.parametrize(
    ("against", "options", "said"),
    [
        ("other-model", (), "another model or server is named by --flperf-against"),
        ("concurrency=x", (), "scenario 'one': against"),
        ("concurrency=1", ("--flperf-reference",), "can't be combined with --flperf-reference"),
    ],
)
def test_sides_that_are_refused(servers: Servers, against: str, options: tuple[str, ...], said: str) -> None:
    """Before anything is loaded, with the scenario's name."""
    servers.suite(against=against)
    done = servers.tiny.run("--flperf-suite=tiny.json", *servers.tiny.at, *options)
    assert done.ret == 4
    assert said in done.text
    assert "scenario 'one': against" in done.text


@pytest.mark.parametrize(
    ("scenario", "said"),
    [
        ({"load": "poisson", "rate": 5}, "found it with load: poisson, expected load: closed"),
        (
            {
                "tools": [{"type": "function", "function": {"name": "find"}}],
                "tool_results": [{"name": "find", "result": "x"}],
                "expect": {"calls": [{"name": "find"}]},
            },
            "found it with tool_results, expected load: closed",
        ),
    ],
    ids=["open", "tools"],
)
def test_own_sides_that_take_no_turns(servers: Servers, scenario: dict[str, Any], said: str) -> None:
    """A suite that wants a comparison and can't have it is wrong: a skipped case would be green."""
    servers.suite(against="temperature=0.7", **scenario)
    done = servers.tiny.run("--flperf-suite=tiny.json", *servers.tiny.at)
    assert done.ret == 4, done.text
    assert f"scenario 'one': against: {said}" in done.text


def test_nothing_to_compare_with(servers: Servers) -> None:
    """Options of comparisons are refused where neither the command line nor a suite names another side."""
    servers.suite()
    done = servers.tiny.run("--flperf-suite=tiny.json", *servers.tiny.at, "--flperf-max-iterations=20")
    assert done.ret == 4
    assert "--flperf-max-iterations: there is nothing to compare with" in done.text
