"""Shapes of load, from a suite and from ``--flperf-load``, to the results."""

from __future__ import annotations

import json
import threading
import time

import jsonschema
import pytest
from tiny_runs import RecordingServer, Tiny

from pytest_flperf.reference_server import ReferenceConfig, ReferenceServer, Schedule
from pytest_flperf.results.records import load_schema

TIMED = {"name": "one", "prompt": "Hello", "max_tokens": 2, "warmup": 0}
OPEN = {"load": "poisson", "rate": 12, "iterations": 8}
"""Slow enough that no calibration comes before it, which takes seconds (test_calibrate.py)."""


def write(tiny: Tiny, *scenarios: dict[str, object], **settings: object) -> None:
    """A suite whose scenarios have no count of their own."""
    document = {"name": "tiny", **settings, "scenarios": [{**TIMED, **scenario} for scenario in scenarios]}
    (tiny.folder / "tiny.json").write_text(json.dumps(document), encoding="utf-8")


@pytest.mark.parametrize("way", ["suite", "option"])
def test_an_open_loop(tiny: Tiny, way: str) -> None:
    """Shape, rates and dispatch delay are in the results; times count from when requests were due."""
    if way == "suite":
        tiny.suite(OPEN)
        done = tiny.measure("-vv", "--flperf-csv=out.csv", "--junitxml=junit.xml")
    else:
        tiny.suite({"iterations": 8})
        options = ("--flperf-load=poisson, rate=12", "--flperf-csv=out.csv", "--junitxml=junit.xml")
        done = tiny.measure("-vv", *options)
    assert done.ret == 0, done.text
    jsonschema.validate(done.results, load_schema())
    case = done.case
    assert (case["load"]["shape"], case["load"]["rate"], case["load"]["iterations"]) == ("poisson", 12, 8)
    assert case["requests"]["ok"] == 8
    assert case["offered_rate"] > 0
    assert case["sent_rate"] == pytest.approx(case["offered_rate"], rel=0.9)
    assert set(case["metrics"]) >= {"dispatch_delay_ms", "ttft_sent_ms", "e2e_sent_ms"}
    lines = [line for line in done.journal() if line["phase"] == "measured"]
    assert all(0 <= line["sent_ns"] - line["due_ns"] < 1e10 for line in lines)
    assert "poisson 12 requests/s" in done.text
    assert "dispatch_delay_ms" in done.text
    assert ",poisson,12" in (tiny.folder / "out.csv").read_text(encoding="utf-8")
    assert 'name="load.shape" value="poisson"' in (tiny.folder / "junit.xml").read_text(encoding="utf-8")


def test_requests_that_could_not_be_sent_were_offered(tiny: Tiny) -> None:
    """A server that refuses connections for a while: ten a second were due, and it says so."""
    write(tiny, {"load": "constant", "rate": 10, "duration_s": 4, "budgets": ["error_rate <= 90%"]})
    config = ReferenceConfig(Schedule(ttft_ms=1, itl_ms=1, tokens=2, framing="close"))
    with ReferenceServer(config, in_thread=True) as server:

        def away_for_a_while() -> None:
            while len(server.log) < 8:
                time.sleep(0.02)
            server.refuse()
            time.sleep(1.5)
            server.accept()

        away = threading.Thread(target=away_for_a_while, daemon=True)
        away.start()
        done = tiny.run("--flperf-suite=tiny.json", f"--flperf-base-url={server.base_url}", "--flperf-model=reference")
        away.join(120)
    case = done.case
    refused = case["requests"]["by_outcome"]["connect_refused"]
    assert 0 < refused < 20
    assert case["offered_rate"] == pytest.approx(10)
    assert case["sent_rate"] < 10


def test_a_seed_repeats_the_plan(tiny: Tiny) -> None:
    """The same text, the same due times and prompts; without it others each time."""
    tiny.suite(OPEN)

    def plan(*options: str) -> tuple[list[int], list[str]]:
        with RecordingServer() as server:
            done = tiny.run("--flperf-suite=tiny.json", *server.at, *options)
        assert done.ret == 0, done.text
        lines = sorted((line for line in done.journal() if line["phase"] == "measured"), key=lambda line: line["index"])
        due = [line["due_ns"] - lines[0]["due_ns"] for line in lines]
        return due, sorted(json.dumps(body["messages"]) for body in server.bodies)

    assert plan("--flperf-seed=a") == plan("--flperf-seed=a")
    assert plan("--flperf-seed=a") != plan("--flperf-seed=b")
    assert plan() != plan()


def test_a_duration_and_its_window(tiny: Tiny) -> None:
    """A closed loop for a time: no count was promised, ramp-up and cool-down are counted apart."""
    write(tiny, {"duration_s": 1.8, "ramp_up_s": 0.6, "cool_down_s": 0.6, "concurrency": 2})
    done = tiny.measure("-vv")
    assert done.ret == 0, done.text
    jsonschema.validate(done.results, load_schema())
    case = done.case
    assert case["load"]["iterations"] is None
    assert (case["load"]["duration_s"], case["load"]["ramp_up_s"]) == (1.8, 0.6)
    assert case["requests"]["total"] > 2
    assert case["requests"]["outside"] > 2
    begin_s, end_s = case["steady_window_s"]
    assert 0.5 <= begin_s < end_s < 60
    assert case["wall_s"] == pytest.approx(end_s - begin_s, abs=1e-6)
    phases = [line["phase"] for line in done.journal()]
    assert phases.count("measured") == case["requests"]["total"]
    assert phases.count("outside") == case["requests"]["outside"]


@pytest.mark.parametrize(
    ("defaults", "scenario", "options", "count", "seconds"),
    [
        ({"iterations": 50}, {"duration_s": 0.1}, (), None, 0.1),
        ({"duration_s": 99}, {"iterations": 2}, (), 2, None),
        ({}, {"duration_s": 99}, ("--flperf-iterations=2",), 2, None),
        ({}, {"duration_s": 99, "iterations": 2}, (), 2, 99),
        ({}, {"iterations": 1000}, ("--flperf-load=closed,duration_s=0.1",), None, 0.1),
    ],
)
def test_count_or_duration(
    tiny: Tiny,
    defaults: dict[str, object],
    scenario: dict[str, object],
    options: tuple[str, ...],
    count: int | None,
    seconds: float | None,
) -> None:
    """What stands nearer to the case says how it ends; both at one place: whichever comes first."""
    write(tiny, scenario, defaults=defaults)
    done = tiny.measure(*options)
    assert done.ret == 0, done.text
    load = done.case["load"]
    assert (load["iterations"], load["duration_s"]) == (count, seconds)


def test_goodput(tiny: Tiny) -> None:
    """Requests that keep every latency budget, per second; with no such budget there is none."""
    tiny.suite(
        {"iterations": 6, "budgets": ["ttft_ms.p95 <= 60000", "tps.p50 >= 0.001", "ttft_ms.n >= 1"]},
        {"name": "slow", "iterations": 6, "budgets": ["ttft_ms.p50 <= 60000", "e2e_ms.max <= 0.001", "goodput <= 0"]},
        {"name": "none", "budgets": ["itl_ms.p99 <= 60000", "output_tokens.p50 >= 1"]},
    )
    done = tiny.measure("-v")
    all_good, slow, none = done.cases
    assert all_good["goodput"] == pytest.approx(all_good["request_rate"])
    assert slow["goodput"] == 0
    assert {each["expression"]: each["met"] for each in slow["budgets"]}["goodput <= 0"]
    assert none["goodput"] is None
    assert done.text.count("goodput ") >= 2


def test_goodput_of_requests_without_the_metric(tiny: Tiny) -> None:
    """Used connections, answers of one token, and that we sent late: no request is bad for it."""
    one_token = {"max_tokens": 1, "iterations": 6}
    tiny.suite(
        {**one_token, "budgets": ["connect_ms.p95 <= 60000", "tpot_ms.p95 <= 60000", "e2e_ms.p95 <= 60000"]},
        {
            **one_token,
            "name": "open",
            "load": "constant",
            "rate": 12,
            "budgets": ["ttft_ms.p95 <= 60000", "dispatch_delay_ms.max <= 0.000001"],
        },
        {"name": "late", "iterations": 2, "budgets": ["dispatch_delay_ms.p95 <= 60000"]},
    )
    closed, open_loop, late = tiny.measure().cases
    assert closed["requests"]["ok"] == open_loop["requests"]["ok"] == 6
    for case in (closed, open_loop):
        assert case["goodput"] == pytest.approx(case["request_rate"])
    assert late["goodput"] is None


def test_a_sweep_is_a_matrix(tiny: Tiny) -> None:
    """Rates in a matrix make a case each."""
    tiny.suite({"load": "constant", "iterations": 3}, matrix={"rate": [8, 16]})
    done = tiny.measure()
    assert done.ret == 0, done.text
    assert [case["nodeid"] for case in done.cases] == [f"tiny.json::one[reference-rate={rate}]" for rate in (8.0, 16.0)]
    assert [case["offered_rate"] for case in done.cases] == pytest.approx([8, 16])


@pytest.mark.parametrize(
    ("scenario", "problem"),
    [
        ({"load": "poisson"}, "rate: missing, expected a number from 0.001 to 100,000 for load: poisson"),
        ({"load": "gamma", "rate": 1}, "burstiness: missing"),
        ({"load": "burst", "rate": 1}, "burst_size: missing"),
        ({"load": "ramp", "rate": 1, "rate_to": 2}, "duration_s: missing"),
        ({"load": "constant", "rate": 1, "burstiness": 2}, "burstiness: found 2 with load: constant"),
        ({"rate": 4}, "rate: found 4 with load: closed"),
        ({"load": "constant", "rate": 1, "think_time_s": 2}, "think_time_s: found 2 with load: constant"),
        ({"cool_down_s": 1}, "cool_down_s: found 1 without duration_s"),
        ({"duration_s": 2, "ramp_up_s": 1, "cool_down_s": 1}, "duration_s: found 2 with 2 s of ramp-up and cool-down"),
        ({"load": "ramp", "rate": 1, "rate_to": 2, "duration_s": 9, "ramp_up_s": 1}, "ramp_up_s: found 1 with load"),
        ({"load": "constant", "rate": 90000, "duration_s": 3600}, "found about 324,000,000 requests"),
    ],
)
def test_shapes_that_make_no_sense(tiny: Tiny, scenario: dict[str, object], problem: str) -> None:
    """One message with suite, scenario, key, what was found and expected; nothing is sent."""
    write(tiny, scenario)
    message = tiny.refused("--flperf-suite=tiny.json", *tiny.at)
    assert message.startswith("ERROR: tiny.json: scenario 'one': ")
    assert problem in message


@pytest.mark.parametrize(
    ("option", "problem"),
    [
        ("poison,rate=3", "found 'poison', expected 'closed', 'session', 'constant'"),
        ("poisson,rate=0", "rate: found 0.0, expected a number from 0.001"),
        ("poisson,rate=-1", "rate: found -1.0, expected"),
        ("poisson,rate=x", "rate: found 'x', expected a number"),
        ("poisson,rate=nan", "rate: found nan, expected a number"),
        ("poisson,speed=3", "found 'speed=3', expected one of rate,"),
        ("poisson,rate=3,rate=4", "found 'rate=4', expected one of rate_to,"),
        ("burst,rate=1,burst_size=1.5", "burst_size: found '1.5', expected a whole number"),
        (",", "found '', expected 'closed'"),
        ("poisson", "rate: missing"),
    ],
)
def test_options_that_make_no_sense(tiny: Tiny, option: str, problem: str) -> None:
    """Refused with the option's name and the place in it."""
    tiny.suite()
    message = tiny.refused("--flperf-suite=tiny.json", *tiny.at, f"--flperf-load={option}")
    assert problem in message


def test_a_users_own_test(tiny: Tiny) -> None:
    """``flperf.run`` takes the same settings, and says what is wrong with them."""
    tiny.pytester.makepyfile(
        """
        def test_open(flperf):
            result = flperf.run("Hi", load="constant", rate=16, iterations=4, warmup=0, max_tokens=2)
            assert result.dispatch_delay_ms.n == 4
            assert abs(result.offered_rate - 16) < 0.1
            assert flperf.run("Hi", duration_s=0.1, warmup=0, max_tokens=2).passed

        def test_wrong(flperf):
            flperf.run("Hi", load="constant")
        """
    )
    done = tiny.run(*tiny.at)
    assert "1 failed, 1 passed" in done.counts or "1 passed, 1 error" in done.counts, done.text
    assert "rate: missing, expected a number" in done.text


def test_dry_run(tiny: Tiny) -> None:
    """Requests that are due in the time are counted; where nobody can know, it says so."""
    write(tiny, {"load": "constant", "rate": 10, "duration_s": 30}, {"name": "closed", "duration_s": 20})
    done = tiny.run("--flperf-suite=tiny.json", *tiny.at, "--flperf-dry-run")
    assert done.ret == 0, done.text
    (constant,) = [line for line in done.lines if line.startswith("tiny.json::one[")]
    (closed,) = [line for line in done.lines if line.startswith("tiny.json::closed[")]
    assert constant.split()[1:] == ["300", "0", "constant", "10/s", "30", "s"]
    assert closed.split()[1:] == ["?", "0", "1", "20", "s"]
    assert "300 requests and what the time has room for" in done.text


def test_a_sweep_on_the_command_line(tiny: Tiny) -> None:
    """Several rates are a case each, and the table tells them apart."""
    tiny.suite({"iterations": 4})
    done = tiny.measure("--flperf-load=constant,rate=8,16,max_in_flight=9")
    assert done.ret == 0, done.text
    cases = done.results["cases"]
    assert [case["load"]["rate"] for case in cases] == [8, 16]
    assert {case["load"]["max_in_flight"] for case in cases} == {9}
    assert [case["nodeid"].rpartition("-")[2] for case in cases] == ["rate=8.0]", "rate=16.0]"]


@pytest.mark.parametrize(
    ("option", "problem"),
    [
        ("poisson,rate=1,1", "found '1,1', expected one number, or several different ones"),
        ("gamma,rate=1,burstiness=1,2", "burstiness: found '1,2', expected one number; several can have concurrency"),
        ("poisson,rate=1,2,x", "found 'x', expected one of"),
        ("poisson,rate=1,0", "--flperf-load: rate: found 0.0, expected a number from 0.001"),
        ("closed,concurrency=1,2.5", "concurrency: found '2.5', expected a whole number"),
    ],
)
def test_sweeps_that_are_none(tiny: Tiny, option: str, problem: str) -> None:
    """One message and exit 4."""
    tiny.suite({})
    done = tiny.run("--flperf-suite=tiny.json", "--flperf-dry-run", f"--flperf-load={option}")
    assert done.ret == 4
    assert problem in done.text


def test_several_load_processes(tiny: Tiny) -> None:
    """One case over two processes: each request once, streams told apart, and the results say how many there were."""
    tiny.suite({"iterations": 20, "concurrency": 4})
    done = tiny.measure("--flperf-load-processes=2", "-v")
    assert done.ret == 0, done.text
    jsonschema.validate(done.results, load_schema())
    assert done.case["load"]["processes"] == 2
    assert done.case["requests"]["ok"] == 20
    lines = [line for line in done.journal() if line["phase"] == "measured"]
    assert sorted(line["index"] for line in lines) == list(range(20))
    assert {line["slot"] for line in lines} == {0, 1, 2, 3}
    assert "2 load processes" in done.text


def test_load_processes_that_are_none(tiny: Tiny) -> None:
    """One message and exit 4."""
    tiny.suite({})
    done = tiny.run("--flperf-suite=tiny.json", "--flperf-load-processes=0")
    assert done.ret == 4
    assert "--flperf-load-processes: found 0, expected a whole number from 1 to 64" in done.text
