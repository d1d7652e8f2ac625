"""Plan progress: what is counted, and the speed beside the results of the same case."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_flperf.backends.openai import OpenAiBackend
from pytest_flperf.loadgen.plan import OPEN_END, Deadlines, RequestPlan
from pytest_flperf.measurement.plan_progress import Counter, Speed
from pytest_flperf.measurement.runner import Bench
from pytest_flperf.reference_server import ReferenceConfig, ReferenceServer, Schedule
from pytest_flperf.suite.loader import scenario_of
from pytest_flperf.suite.matrix import expand
from pytest_flperf.suite.model import Case, Suite
from pytest_flperf.wire.exchange import Ending, Exchange, Phase

MS = 1_000_000
NOTHING = Speed(None, None, of_all=False)


@pytest.fixture(scope="module")
def server() -> Iterator[ReferenceServer]:
    """A server with known times."""
    with ReferenceServer(
        ReferenceConfig(schedule=Schedule(ttft_ms=40, itl_ms=2, tokens=10)), in_thread=True
    ) as running:
        yield running


def a_case(**settings: object) -> Case:
    """A case of some requests."""
    scenario = scenario_of({"name": "one", "prompt": "Hello", "max_tokens": 10, "iterations": 12, **settings})
    return expand(Suite("s", "s", Path(), "", "", (scenario,), ("reference",)), ["reference"])[0]


def plan(total: int, concurrency: int = 1) -> RequestPlan:
    """A plan, as far as it is counted."""
    return RequestPlan((), Deadlines(0, 0, 0, 0, 0), concurrency, total, ())


def answered(index: int, *, tokens: int = 10, phase: Phase = Phase.MEASURED, status: int = 200) -> Exchange:
    """A request of a second whose first token comes after 100 ms and ``index`` ms."""
    body = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\ndata: {"usage":{"completion_tokens":%d}}\n\n' % tokens
    raw = b"HTTP/1.1 %d X\r\n\r\n" % status + body
    begun = 1_000 * MS * index + 1
    return Exchange(
        index=index, phase=phase, target=0, stream=True, slot=0, due_ns=None, connect_ns=None, started_ns=begun,
        sent_ns=begun, finished_ns=begun + 1_000 * MS, read_arrival_ns=(begun + (100 + index) * MS,), read_lag_ns=(),
        read_bytes=(len(raw),), clock_source="user", clock_moved_ns=0, ending=Ending.COMPLETE, detail="", raw=raw,
    )  # fmt: skip


def ignore(exchange: Exchange) -> None:
    """Keep nothing."""
    del exchange


def listened() -> Counter:
    """A counter that somebody listens to."""
    return Counter(lambda count: None)


def test_counts() -> None:
    """A warm-up and the measured requests each by themselves; a retry is no request more; the lost ones."""
    count = listened()
    keep = count.wrap(ignore)
    count.warming(plan(2))
    keep(replace(answered(0, phase=Phase.WARMUP), ending=Ending.CONNECTION_LOST))
    assert (count.phase, count.done, count.total, count.lost) == (Phase.WARMUP, 1, 2, 0)
    assert count.speed() == NOTHING
    count.measuring(plan(3))
    keep(answered(0))
    keep(answered(1, phase=Phase.RETRY))
    keep(replace(answered(2), ending=Ending.STALL_TIMEOUT))
    assert (count.phase, count.done, count.total, count.lost) == (Phase.MEASURED, 2, 3, 1)
    count.measuring(plan(OPEN_END))
    assert (count.done, count.total) == (0, 0)


def test_speed() -> None:
    """Medians of one stream; of several all tokens over the time; of a case in turns its own side."""
    count = listened()
    count.measuring(plan(9))
    for index in range(3):
        count.wrap(ignore)(answered(index))
    count.wrap(ignore, other_side=True)(answered(900))
    assert count.speed() == Speed(101.0, 10.0, of_all=False)
    count.wrap(ignore)(answered(50))
    assert count.speed().ttft_ms == 101.5
    count.measuring(plan(9, concurrency=2))
    assert count.speed() == Speed(None, None, of_all=True)
    count.wrap(ignore)(answered(9, status=500))
    assert count.speed() == Speed(None, None, of_all=True)
    count.measuring(plan(9, concurrency=2))
    for index in range(3):
        count.wrap(ignore)(answered(index, status=200 if index else 500))
    assert count.speed() == Speed(101.5, pytest.approx(20 / 3), of_all=True)


def test_nothing_grows() -> None:
    """Of many requests the newest are looked at, when somebody asks; where nobody listens, none is kept."""
    count, deaf = listened(), Counter(None)
    for each in (count, deaf):
        each.measuring(plan(10_000, concurrency=4))
    for index in range(10_000):
        for each in (count, deaf):
            each.wrap(ignore)(answered(index))
    assert count.speed().ttft_ms == 100 + 9_995.5
    assert count.speed().tps == pytest.approx(10, rel=0.01), "ten tokens a second, also of those that none looked at"
    assert (deaf.done, deaf.speed().tps) == (10_000, None)
    begun = time.perf_counter()
    for _ in range(100):
        count.speed()
    assert time.perf_counter() - begun < 1, "what was looked at is not looked at again"


@pytest.mark.parametrize("streams", [1, 3])
def test_beside_the_results(server: ReferenceServer, streams: int) -> None:
    """About what the results say."""
    seen: list[Counter] = []
    with Bench(OpenAiBackend.at(server.base_url)) as bench:
        case = a_case(concurrency=streams, warmup=8)
        result = bench.play(bench.ready(case), on_request=seen.append).result
    assert seen, "the case takes several ticks"
    speed, ttft, tps = seen[-1].speed(), result.metric("ttft_ms"), result.metric("tps")
    assert ttft is not None
    assert tps is not None
    assert speed.ttft_ms == pytest.approx(ttft.p50, rel=0.5)
    assert speed.of_all is (streams > 1)
    assert speed.tps == pytest.approx(result.tps_total if streams > 1 else tps.p50, rel=0.5)
