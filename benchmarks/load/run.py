"""Is an open loop punctual, and are a thousand streams served: ``python benchmarks/load/run.py``.

Open loops at several rates against the reference server on the same cores: how much later than due each request was
handed to the kernel.  Then a thousand streams of a closed loop at once: requests lost, the error of TTFT against the
server's log, and what the load process took.  ``--check`` exits with 1 where a limit is missed.  Linux only.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import psutil
from tabulate import tabulate

from pytest_flperf.loadgen.plan import Deadlines, Destination, Entry, LoadSchedule, PlanStats, RequestPlan
from pytest_flperf.loadgen.worker_client import LoadSession
from pytest_flperf.measurement.arrivals import due_times_ns
from pytest_flperf.reference_server import ReferenceConfig, ReferenceServer, Schedule
from pytest_flperf.reference_server.log import echoed_id
from pytest_flperf.results.host import host_info
from pytest_flperf.stats.descriptive.summary import quantile
from pytest_flperf.suite.model import LoadShape
from pytest_flperf.wire.decode import decode
from pytest_flperf.wire.endpoint import Endpoint, resolve
from pytest_flperf.wire.exchange import Exchange, Phase
from pytest_flperf.wire.requests import RequestFactory

QUESTION = {"model": "reference", "stream": True, "messages": [{"role": "user", "content": "How fast are you?"}]}
NS_PER_S = 1_000_000_000
DEADLINES = Deadlines(*(seconds * NS_PER_S for seconds in (5, 60, 60, 30, 120)))
OPEN_LIMIT_MS = 1.0
"""Of the dispatch delay's p99 at 500 requests a second."""
STREAMS = 1_000
TTFT_ERROR_LIMIT_MS = 0.2
MEMORY_LIMIT_MB = 400.0


def play(server: ReferenceServer, session: LoadSession, plan: RequestPlan) -> tuple[PlanStats, list[Exchange]]:
    """Play a plan, warmed up."""
    exchanges: list[Exchange] = []
    session.play(plan_of(server, [None] * 8, 4), exchanges.append)
    exchanges.clear()
    server.clear_log()
    return session.play(plan, exchanges.append), exchanges


def plan_of(
    server: ReferenceServer, due_ns: Sequence[int | None], streams: int, schedule: LoadSchedule | None = None
) -> RequestPlan:
    """Requests at these times, or as streams are free."""
    endpoint = Endpoint.parse(server.base_url)
    template = RequestFactory(endpoint).template(QUESTION)
    request = template.render(QUESTION["messages"])  # type: ignore[arg-type]
    entries = [Entry(n, Phase.MEASURED, 0, True, request, due) for n, due in enumerate(due_ns)]
    return RequestPlan(
        (Destination(resolve(endpoint)),),
        DEADLINES,
        streams,
        len(entries),
        entries,
        schedule=schedule or LoadSchedule(),
    )


def open_loop(kind: str, rate: float, seconds: float) -> tuple[float, float, float, int]:
    """p50, p99 and max of the dispatch delay in ms, and the requests that failed."""
    answers = Schedule(ttft_ms=20, itl_ms=5, tokens=8)
    with ReferenceServer(ReferenceConfig(schedule=answers)) as server, LoadSession() as session:
        due_ns = list(due_times_ns(LoadShape(kind, rate=rate, duration_s=seconds), None, "benchmark"))
        _, exchanges = play(server, session, plan_of(server, due_ns, 1_000, LoadSchedule(open_ahead=8)))
    samples = [decode(exchange) for exchange in exchanges]
    late_ms = sorted(((each.sent_ns or 0) - (each.due_ns or 0)) / 1e6 for each in samples if each.ok)
    return quantile(late_ms, 0.5), quantile(late_ms, 0.99), late_ms[-1], sum(not each.ok for each in samples)


def thousand(streams: int) -> tuple[int, float, float, float, float]:
    """Failed requests; TTFT p99 that is said and that is true, ms; MB and µs a token of the load process."""
    answers = Schedule(ttft_ms=200, itl_ms=50, tokens=64)
    with ReferenceServer(ReferenceConfig(schedule=answers)) as server, LoadSession() as session:
        stats, exchanges = play(server, session, plan_of(server, [None] * (3 * streams), streams))
        memory_mb = psutil.Process(session.pid).memory_info().rss / 2**20
        log = {entry.id: entry for entry in server.log}
    says, true, failed = [], [], 0
    for exchange in exchanges:
        sample = decode(exchange)
        if not sample.ok or sample.first_token_ns is None or sample.sent_ns is None:
            failed += 1
            continue
        entry = log[echoed_id(exchange.raw)]
        says.append((sample.first_token_ns - sample.sent_ns) / 1e6)
        true.append((entry.text_ns[0] - entry.last_byte_ns) / 1e6)
    tokens = answers.tokens * len(says)
    return failed, quantile(sorted(says), 0.99), quantile(sorted(true), 0.99), memory_mb, stats.cpu_ns / 1e3 / tokens


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="How long each open loop sends")
    parser.add_argument("--streams", type=int, default=STREAMS, help="Streams of the closed loop")
    parser.add_argument("--check", action="store_true", help="Exit with 1 where a limit is missed")
    asked = parser.parse_args()
    host = host_info()
    print(f"{host.cpu}, {host.cores} cores shared by both sides, {host.os}, Python {sys.version.split()[0]}\n")
    rows, missed = [], False
    for kind in ("constant", "poisson"):
        for rate in (50, 500, 1_000):
            p50, p99, most, failed = open_loop(kind, rate, asked.seconds)
            late = rate == 500 and p99 > OPEN_LIMIT_MS
            missed |= late or bool(failed)
            rows.append((kind, rate, f"{p50:.3f}", f"{p99:.3f}", f"{most:.2f}", failed, "MISSED" if late else ""))
    print(tabulate(rows, ["open loop", "requests/s", "delay p50 ms", "p99 ms", "max ms", "failed", ""]))
    failed, says, true, memory_mb, cpu_us = thousand(asked.streams)
    bad = bool(failed) or abs(says - true) > TTFT_ERROR_LIMIT_MS or memory_mb > MEMORY_LIMIT_MB
    missed |= bad
    head = ["streams", "failed", "TTFT p99 says / true, ms", "load process MB", "CPU µs a token", ""]
    row = (
        asked.streams,
        failed,
        f"{says:.2f} / {true:.2f}",
        f"{memory_mb:.0f}",
        f"{cpu_us:.1f}",
        "MISSED" if bad else "",
    )
    print("\n" + tabulate([row], head))
    return 1 if missed and asked.check else 0


if __name__ == "__main__":
    sys.exit(main())
