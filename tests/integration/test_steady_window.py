"""Rates of cases with ramp-up and cool-down, beside what the server's own log says of the same window."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from tiny_runs import Done, Tiny

from pytest_flperf.reference_server import ReferenceConfig, ReferenceServer, Schedule
from pytest_flperf.reference_server.log import echoed_id
from pytest_flperf.wire.decode import decode
from pytest_flperf.wire.exchange import Exchange

NS = 1e9
WINDOW = {"duration_s": 3, "ramp_up_s": 0.8, "cool_down_s": 0.8}
"""Answers take 0.7 s, so that many lie across its ends."""
BUDGETS = {"budgets": ["e2e_ms.p95 <= 60000"]}


@pytest.fixture(scope="module")
def server() -> Iterator[ReferenceServer]:
    """Answers of 24 tokens, one each 25 ms."""
    slow = Schedule(ttft_ms=100, itl_ms=25, tokens=24)
    with ReferenceServer(ReferenceConfig(slow), in_thread=True) as started:
        yield started


def measure(tiny: Tiny, server: ReferenceServer, scenario: dict[str, Any], *options: str) -> Done:
    """One scenario, on a server that has forgotten what came before."""
    server.clear_log()
    prompt = {} if "turns" in scenario else {"prompt": "Hello"}
    document = {"name": "tiny", "scenarios": [{"name": "one", "max_tokens": 24, **prompt, **scenario}]}
    (tiny.folder / "tiny.json").write_text(json.dumps(document), encoding="utf-8")
    return tiny.run(
        "--flperf-suite=tiny.json", f"--flperf-base-url={server.base_url}", "--flperf-model=reference", *options
    )


def window_ns(done: Done, case: dict[str, Any]) -> tuple[float, float]:
    """When the steady window began and ended, on the clock that the server's log has as well."""
    lines = [
        line
        for line in done.journal()
        if line["phase"] in {"measured", "outside"} and line["nodeid"].startswith(case["nodeid"])
    ]
    start = min(line["started_ns"] if line["due_ns"] is None else line["due_ns"] for line in lines)
    from_s, until_s = case["steady_window_s"]
    return start + from_s * NS, start + until_s * NS


def latest_ns(done: Done, server: ReferenceServer) -> int:
    """How long after the server's stamp the latest piece of text arrived: on a busy machine it may be 100 ms."""
    log = {entry.id: entry for entry in server.log}
    exchanges = [Exchange.from_record(line) for line in done.journal()]
    late = [
        arrived - sent
        for exchange in exchanges
        if (entry := log.get(echoed_id(exchange.raw))) is not None
        for arrived, sent in zip(decode(exchange).chunk_ns, entry.text_ns, strict=False)
    ]
    return max(late)


def within(sent_ns: Iterable[int], from_ns: float, until_ns: float, latest_ns: int) -> tuple[int, int]:
    """Least and most of these sends that can have arrived in a window."""
    stamps = list(sent_ns)
    least = sum(from_ns <= at <= until_ns - latest_ns for at in stamps)
    return least, sum(from_ns - latest_ns <= at <= until_ns for at in stamps)


def check(done: Done, server: ReferenceServer, streams: int) -> None:
    """Tokens and requests per second are what the server sent in the window, but for its ends."""
    case = done.case
    from_ns, until_ns = window_ns(done, case)
    assert case["wall_s"] == pytest.approx((until_ns - from_ns) / NS)
    log = [entry for entry in server.log if entry.text_ns]
    late = latest_ns(done, server)
    least, most = within((at for entry in log for at in entry.text_ns), from_ns, until_ns, late)
    assert most > 50
    assert least - streams - 2 <= case["tps_total"] * case["wall_s"] <= most + streams + 2
    least, most = within((entry.sent_ns[-1] for entry in log), from_ns, until_ns, late)
    assert least - 1.01 <= case["request_rate"] * case["wall_s"] <= most + 1.01
    assert case["goodput"] == pytest.approx(case["request_rate"])


@pytest.mark.parametrize(
    ("load", "options"),
    [
        ({"concurrency": 6}, ()),
        ({"concurrency": 5}, ("--flperf-load-processes=2",)),
        ({"load": "constant", "rate": 9, "warmup": 0}, ()),
        ({"load": "poisson", "rate": 9, "warmup": 0}, ("--flperf-load-processes=2",)),
        ({"load": "session", "turns": ["Hi", "And?"], "concurrency": 4}, ()),
    ],
    ids=["closed", "closed-2", "constant", "poisson-2", "session"],
)
def test_rates_are_those_of_the_servers_log(
    tiny: Tiny, server: ReferenceServer, load: dict[str, Any], options: tuple[str, ...]
) -> None:
    """Requests of ramp-up and cool-down count with what arrived in the window, and it is as long as planned."""
    done = measure(tiny, server, {**WINDOW, **BUDGETS, **load}, *options)
    assert done.ret == 0, done.text
    assert done.case["steady_window_s"] == pytest.approx([0.8, 2.2], abs=0.1)
    assert done.case["requests"]["outside"] > 2
    check(done, server, 10)


@pytest.mark.parametrize("outside", [{"ramp_up_s": 1.2}, {"cool_down_s": 1.2}], ids=["ramp-up", "cool-down"])
def test_one_end_alone(tiny: Tiny, server: ReferenceServer, outside: dict[str, float]) -> None:
    """A ramp-up without a cool-down ends with the last answer, a cool-down alone begins with the first request."""
    done = measure(tiny, server, {"duration_s": 2.6, "concurrency": 4, **BUDGETS, **outside})
    assert done.ret == 0, done.text
    from_s, until_s = done.case["steady_window_s"]
    if "ramp_up_s" in outside:
        assert from_s == pytest.approx(1.2, abs=0.1)
        assert until_s > 2.6
    else:
        assert (from_s, until_s) == pytest.approx((0.0, 1.4), abs=0.1)
    check(done, server, 4)


def test_each_point_of_a_sweep_has_its_own(tiny: Tiny, server: ReferenceServer) -> None:
    """Two concurrencies, two windows."""
    done = measure(tiny, server, {**WINDOW, "concurrency": [2, 4]})
    assert done.ret == 0, done.text
    for case in done.cases:
        from_ns, until_ns = window_ns(done, case)
        sent = (at for entry in server.log for at in entry.text_ns)
        least, most = within(sent, from_ns, until_ns, latest_ns(done, server))
        assert least - 6 <= case["tps_total"] * case["wall_s"] <= most + 6


def test_resources_are_of_the_window(tiny: Tiny, server: ReferenceServer) -> None:
    """Readings during ramp-up and cool-down are filed as such and in no figure."""
    done = measure(tiny, server, {**WINDOW, "concurrency": 2})
    lines = [line for line in done.journal("resources.jsonl") if "ram_pct" in line]
    phases = [line["phase"] for line in lines]
    assert phases.count("outside") >= 6
    assert done.case["resources"]["ram_pct"]["n"] == phases.count("measured")
    from_ns, until_ns = window_ns(done, done.case)
    measured = [line["at_ns"] for line in lines if line["phase"] == "measured"]
    assert from_ns - 0.2 * NS <= measured[0] <= measured[-1] <= until_ns + 0.2 * NS


def test_in_turns_there_is_no_window(tiny: Tiny, server: ReferenceServer) -> None:
    """Two sides in turn have neither ramp-up nor cool-down: nothing is cut from their rates."""
    done = measure(
        tiny,
        server,
        {"concurrency": 1, "iterations": 12, "duration_s": 60, "ramp_up_s": 20, "cool_down_s": 20, "max_tokens": 2},
        "--flperf-against=same",
        "--flperf-fail-on=e2e_ms.p50 > +900%",
        "--flperf-max-iterations=12",
    )
    assert done.ret == 0, done.text
    case = done.case
    assert case["steady_window_s"] is None
    assert case["load"]["ramp_up_s"] is None
    assert case["request_rate"] * case["wall_s"] == pytest.approx(case["requests"]["ok"])
