"""Answers and suites whose scoring takes too long: no hang, no false verdict, no process left."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from fault_doubles import PytestRun, until, write_suite
from plugin_compat import enough_s
from tiny_runs import Tiny

from pytest_flperf.quality.scoring import SCORING_LIMITS
from pytest_flperf.reference_server import ReferenceConfig, ReferenceServer, Schedule
from pytest_flperf.results.records import load_schema

pytestmark = pytest.mark.slow

SCORING = "pytest_flperf.quality.worker"
SLOW = SCORING_LIMITS.too_slow
PATTERN = {"regex": "^(a|aa)+$"}
FOR_YEARS = "a" * 80 + "b"
BUDGET = {"budgets": ["quality.mean >= 0", "e2e_ms.p50 <= 60min"]}
posix = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


def nested(depth: int) -> dict[str, Any]:
    """A schema of references, each of which is looked at three times by the one before it."""
    levels: dict[str, Any] = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 3} for n in range(depth)}
    return {"$defs": {**levels, f"d{depth}": {}}, "$ref": "#/$defs/d0"}


def answering(text: str, **others: Any) -> ReferenceServer:
    """A server that answers with these characters at once."""
    schedule = Schedule(ttft_ms=0, tokens=1, chars_per_token=len(FOR_YEARS), text=text, **others)
    return ReferenceServer(ReferenceConfig(schedule), in_thread=True)


def always() -> ReferenceServer:
    """Every answer takes years to score."""
    return answering(FOR_YEARS)


def sometimes() -> ReferenceServer:
    """The sixth measured request and the one after it are answered that way."""
    return answering("a", wrong_share=0.2, wrong_text=FOR_YEARS, seed=2)


def at(server: ReferenceServer) -> tuple[str, str]:
    """Options to measure a server."""
    return f"--flperf-base-url={server.base_url}", "--flperf-model=reference"


def test_one_answer_that_can_not_be_scored(tiny: Tiny) -> None:
    """The others have their scores; budgets on quality are missed, and say why; others are judged."""
    tiny.suite({"expect": PATTERN, "iterations": 6, **BUDGET})
    with sometimes() as server:
        done = tiny.run("--flperf-suite=tiny.json", *at(server), "--junitxml=junit.xml")
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    jsonschema.validate(done.results, load_schema())
    case = done.case
    assert case["not_scored"] == {SLOW: 1}
    assert (case["metrics"]["quality"]["n"], case["metrics"]["quality"]["mean"]) == (5, 1.0)
    words = f"1 of 6 answers not scored: {SLOW}"
    assert f"missed quality.mean >= 0 (not measured: {words})" in case["message"]
    quality, latency, _ = case["budgets"]
    assert (quality["met"], quality["value"], quality["reason"]) == (False, None, words)
    assert latency["met"]
    assert f"warning: reference, one: {words}" in done.warnings


def test_in_a_test_of_ones_own(tiny: Tiny) -> None:
    """A number of quality is not handed out where an answer has no score."""
    tiny.pytester.makepyfile(
        f"""
        import pytest

        def test_quality(flperf):
            result = flperf.run("Hi", expect={PATTERN!r}, iterations=6, warmup=0, max_tokens=2)
            with pytest.raises(AssertionError, match="1 of 6 answers not scored: {SLOW}"):
                result.quality
            assert result.e2e_ms.n == 6
        """
    )
    with sometimes() as server:
        done = tiny.run(*at(server))
    assert done.ret == 0, done.text


def test_a_comparison(tiny: Tiny) -> None:
    """In turns: an answer of the candidate without a score fails a gate on quality, whatever the other side scores."""
    tiny.suite({"expect": PATTERN, "iterations": 4, "budgets": ["error_rate <= 1"]})
    with sometimes() as server, answering("a") as other:
        gate = ("--flperf-fail-on=quality.mean < -2%", f"--flperf-against=base_url={other.base_url}")
        done = tiny.run("--flperf-suite=tiny.json", *at(server), *gate, "--flperf-max-iterations=12")
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    (against,) = done.case["against"]
    (found,) = [each for each in against["comparisons"] if each["metric"] == "quality"]
    assert (found["verdict"], found["fails"], found["candidate"]) == ("regressed", True, None)
    assert f"answers not scored: {SLOW}" in found["reason"]


def test_the_time_is_over(tiny: Tiny) -> None:
    """Scoring heeds ``--flperf-max-time``: what is left has no score, and the run ends."""
    with always() as server:
        tiny.suite({"iterations": 40})
        limit_s = enough_s(lambda: tiny.run("--flperf-suite=tiny.json", *at(server)))
        tiny.suite({"expect": PATTERN, "iterations": 40, **BUDGET}, {"name": "after"})
        begun = time.monotonic()
        done = tiny.run("--flperf-suite=tiny.json", *at(server), f"--flperf-max-time={limit_s}s")
    assert time.monotonic() - begun < limit_s + 120
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    first, after = done.cases
    assert first["requests"]["ok"] == 40
    assert sum(first["not_scored"].values()) == 40
    assert first["not_scored"]["the run's time was up"] >= 25
    assert "missed quality.mean >= 0 (not measured: " in first["message"]
    assert after["outcome"] == "skipped"


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt(tmp_path: Path, number: signal.Signals) -> None:
    """In the middle of an answer: exit 2, the case in the results, no process left."""
    write_suite(tmp_path, {"name": "long", "expect": PATTERN, "iterations": 30, **BUDGET}, {"name": "after"})
    with always() as server, PytestRun(tmp_path, *at(server)) as run:
        run.wait_measured("long", 30)
        run.child(SCORING)
        run.signal(number)
        begun = time.monotonic()
        assert run.end() == 2
        assert time.monotonic() - begun < 60
        case = run.case("long")
        assert case["message"].startswith("INTERRUPTED after 30 of 30 requests")
        assert case["not_scored"].get("the run was interrupted", 0) >= 20
        assert len(run.records("samples.jsonl")) == len(run.records("journal.jsonl"))


@posix
def test_an_interrupt_through_xdist(tmp_path: Path) -> None:
    """The controller, which sums up what its worker could not tell, takes no longer either."""
    write_suite(
        tmp_path,
        {"name": "before"},
        {"name": "long", "expect": PATTERN, "iterations": 30, **BUDGET},
    )
    with always() as server, PytestRun(tmp_path, *at(server), "-n1") as run:
        run.wait_measured("long", 30)
        run.child(SCORING)
        until(lambda: any("result" in record for record in run.records("run.jsonl")), "the controller at work")
        run.signal_group(signal.SIGINT)
        begun = time.monotonic()
        assert run.end() == 2
        assert time.monotonic() - begun < 60
        case = run.case("long")
        assert case["message"].startswith("INTERRUPTED after 30 of 30 requests")
        assert sum(case["not_scored"].values()) == 30
        assert case["not_scored"].get("the run was interrupted", 0) >= 20


@posix
def test_a_killed_run(tmp_path: Path) -> None:
    """Leaves no process behind, and its recovery is bounded as well."""
    write_suite(tmp_path, {"name": "long", "expect": PATTERN, "iterations": 2, **BUDGET})
    with always() as server, PytestRun(tmp_path, *at(server)) as run:
        run.wait_measured("long", 2)
        run.child(SCORING)
        run.signal(signal.SIGKILL)
        assert run.end_somehow() != 0
        from pytest_flperf.session.recovery import recover

        (case,) = recover(run.report).cases
        assert case.not_scored == {SLOW: 2}
        assert "quality" not in case.metrics


@pytest.mark.parametrize(
    "schema",
    [nested(30), {**nested(30), "$ref": "#/$defs/d30", "not": {"$ref": "#/$defs/d2"}}],
)
def test_a_suite_that_takes_too_long_to_check(tiny: Tiny, schema: dict[str, Any]) -> None:
    """Is refused, with the place and the reason; nothing is measured."""
    expect = {"json_schema": schema}
    tiny.suite({"name": "before", "expect": {"regex": "a"}}, {"expect": expect}, {"name": "after", "expect": expect})
    begun = time.monotonic()
    message = tiny.refused("--flperf-suite=tiny.json", *tiny.at)
    assert time.monotonic() - begun < 60
    assert "tiny.json" in message
    assert "scenarios[1].expect.json_schema: found {" in message
    assert f"which can't be checked: {SLOW}; simplify it" in message


@posix
def test_an_interrupt_of_the_collection(tmp_path: Path) -> None:
    """While a schema is checked: pytest ends, and the process with it."""
    write_suite(tmp_path, {"name": "long", "expect": {"json_schema": nested(30)}})
    with PytestRun(tmp_path, "--flperf-base-url=http://127.0.0.1:9/v1", "--flperf-model=reference") as run:
        child = run.child(SCORING)
        until(lambda: sum(child.cpu_times()[:2]) > 0.5, "the check under way")
        run.signal(signal.SIGINT)
        assert run.end() != 0
        assert not (tmp_path / "reports").exists()


def test_what_is_stored_says_so(tiny: Tiny) -> None:
    """A results file in which more answers have no score than there are is refused."""
    tiny.suite({"expect": {"contains": "a"}})
    with answering("a") as server:
        assert tiny.run("--flperf-suite=tiny.json", *at(server), "--flperf-json=out.json").ret == 0
    path = tiny.folder / "out.json"
    results = json.loads(path.read_text(encoding="utf-8"))
    assert results["cases"][0]["not_scored"] == {}
    results["cases"][0]["not_scored"] = {SLOW: 2}
    path.write_text(json.dumps(results), encoding="utf-8")
    shown = tiny.command("show", os.fspath(path))
    assert shown.ret == 4
    assert "cases[0].not_scored: found 2 answers, expected at most 1" in "\n".join(shown.errlines)
