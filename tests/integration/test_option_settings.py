"""Options for settings: iterations, warm-up, concurrency, timeout, tokens, temperature, whole answers."""

from __future__ import annotations

import pytest
from tiny_runs import RecordingServer, Tiny

from pytest_flperf.reference_server import Fault, FaultKind, ReferenceConfig, ReferenceServer, Schedule


def test_counts(tiny: Tiny) -> None:
    """Iterations, warm-up and streams come from the command line, whatever the suite says."""
    tiny.suite({"iterations": 9, "warmup": 5, "concurrency": 1})
    done = tiny.measure("--flperf-iterations=4", "--flperf-warmup=2", "--flperf-concurrency=2")
    phases = [line["phase"] for line in done.journal()]
    assert phases.count("measured") == 4
    assert phases.count("warmup") == 2
    assert done.case["load"]["concurrency"] == 2
    assert {line["slot"] for line in done.journal() if line["phase"] == "measured"} == {0, 1}


def test_what_is_sent(tiny: Tiny) -> None:
    """Tokens and temperature reach the server."""
    tiny.suite({"temperature": 0.1, "max_tokens": 99})
    with RecordingServer() as server:
        options = ("--flperf-max-tokens=7", "--flperf-temperature=0.25")
        done = tiny.run("--flperf-suite=tiny.json", *server.at, *options)
    assert done.ret == 0, done.text
    body = server.bodies[-1]
    assert (body["max_tokens"], body["temperature"], body["stream"]) == (7, 0.25, True)


def test_null(tiny: Tiny) -> None:
    """Takes a parameter out of every request, whatever the suite and its matrix say."""
    tiny.suite({"temperature": 0.1, "max_tokens": 99}, matrix={"temperature": [0.1, 0.2]})
    with RecordingServer() as server:
        options = ("--flperf-max-tokens=null", "--flperf-temperature=null")
        done = tiny.run("--flperf-suite=tiny.json", *server.at, *options)
    assert done.ret == 0, done.text
    assert len(server.bodies) == 2
    assert not [body for body in server.bodies if {"max_tokens", "temperature"} & body.keys()]


def test_no_stream(tiny: Tiny) -> None:
    """Whole answers: no TTFT, but a time from end to end."""
    done = tiny.measure("--flperf-no-stream")
    assert done.ret == 0, done.text
    assert "e2e_ms" in done.case["metrics"]
    assert "ttft_ms" not in done.case["metrics"]


def test_timeout(tiny: Tiny) -> None:
    """The deadline ends a request that stalls; the case fails with that outcome."""
    tiny.suite()
    stalls = ReferenceConfig(fault=Fault(FaultKind.STALL, after_tokens=1))
    with ReferenceServer(stalls, in_thread=True) as server:
        at = (f"--flperf-base-url={server.base_url}", "--flperf-model=reference")
        done = tiny.run("--flperf-suite=tiny.json", *at, "--flperf-timeout=0.3", "--flperf-max-tokens=8")
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    assert "timeout (not finished within 0.3 s)" in done.case["message"]


def test_max_answer_mb(tiny: Tiny) -> None:
    """The bound of an answer ends it; the case fails with that outcome, and with the times that were seen."""
    tiny.suite({"max_answer_mb": 50, "max_tokens": 400})
    long = ReferenceConfig(schedule=Schedule(ttft_ms=1, itl_ms=0, tokens=400))
    with ReferenceServer(long, in_thread=True) as server:
        at = (f"--flperf-base-url={server.base_url}", "--flperf-model=reference")
        done = tiny.run("--flperf-suite=tiny.json", *at, "--flperf-max-answer-mb=0.01")
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    assert "answer_too_large (the answer is longer than 0.01 MiB (max_answer_mb))" in done.case["message"]
    assert done.case["settings"]["max_answer_mb"] == 0.01
    (sample,) = [line for line in done.journal("samples.jsonl") if line["phase"] == "measured"]
    assert sample["outcome"] == "answer_too_large"
    assert sample["first_token_ns"] is not None


@pytest.mark.parametrize(
    "option",
    [
        "--flperf-iterations=0",
        "--flperf-iterations=-3",
        "--flperf-iterations=1e9",
        "--flperf-iterations=many",
        "--flperf-warmup=-1",
        "--flperf-concurrency=0",
        "--flperf-concurrency=1000000",
        "--flperf-timeout=0",
        "--flperf-timeout=nan",
        "--flperf-timeout=soon",
        "--flperf-max-answer-mb=0",
        "--flperf-max-answer-mb=1025",
        "--flperf-max-answer-mb=inf",
        "--flperf-max-tokens=0",
        "--flperf-max-tokens=nil",
        "--flperf-temperature=none",
        "--flperf-temperature=-1",
        "--flperf-temperature=inf",
    ],
)
def test_absurd(tiny: Tiny, option: str) -> None:
    """Numbers that no suite could have are refused by the option's name."""
    tiny.suite()
    done = tiny.run("--flperf-suite=tiny.json", *tiny.at, option)
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    assert option.partition("=")[0] in done.text
