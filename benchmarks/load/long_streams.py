"""Are the gaps of long streams the server's own: ``python benchmarks/load/long_streams.py``.

Streams at 50 tokens a second against the reference server on the same cores, for so long that every deadline is looked
at, and short requests beside them.  For each stream the largest gap that is said and the one of the server's log; of
the short ones the error of TTFT; and how long the turns of the load process's loop took.  ``--check`` exits with 1
where a limit is missed, ``--short`` looks at deadlines every 2 s and is done in half a minute.  Linux only.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from tabulate import tabulate

from pytest_flperf.loadgen.plan import Deadlines, Destination, Entry, RequestPlan
from pytest_flperf.loadgen.worker_client import LoadSession
from pytest_flperf.reference_server import ReferenceConfig, ReferenceServer, Schedule
from pytest_flperf.reference_server.log import LogEntry, echoed_id
from pytest_flperf.results.host import host_info
from pytest_flperf.stats.descriptive.summary import quantile
from pytest_flperf.wire.decode import decode
from pytest_flperf.wire.endpoint import Endpoint, resolve
from pytest_flperf.wire.exchange import Exchange, Phase
from pytest_flperf.wire.requests import RequestFactory
from pytest_flperf.wire.sample import Sample

NS_PER_S = 1_000_000_000
TOKENS_PER_S = 50
FULL = ((64, 36), (256, 120), (8, 600))
SHORT = ((64, 8), (256, 6), (8, 12))
STALL_S = 30.0
SHORT_STALL_S = 2.0
PROBE_TOKENS = 8
GAP_LIMIT_MS = 5.0
TTFT_LIMIT_MS = 0.2


@dataclass(frozen=True, slots=True)
class Found:
    """What one case has shown, in ms."""

    failed: int
    largest_said: float
    largest_true: float
    gap_error: float
    """Largest, over the streams, of what is said of its largest gap less the log's."""
    probes: int
    ttft_error_p99: float
    turn_p99: float
    turn_max: float


def measure(streams: int, seconds: float, stall_s: float) -> Found:
    """Play one case."""
    with ReferenceServer(ReferenceConfig(schedule=Schedule(ttft_ms=50))) as server, LoadSession() as session:
        exchanges: list[Exchange] = []
        stats = session.play(plan_of(server, streams, seconds, stall_s), exchanges.append)
        log = {entry.id: entry for entry in server.log}
    gaps, ttft_errors, failed = [], [], 0
    for exchange in exchanges:
        sample, entry = decode(exchange), log.get(echoed_id(exchange.raw))
        if not sample.ok or entry is None:
            failed += 1
        elif exchange.index < streams:
            gaps.append((largest_gap_ms(sample.chunk_ns), largest_gap_ms(entry.text_ns)))
        else:
            ttft_errors.append(ttft_error_ms(sample, entry))
    return Found(
        failed,
        max((said for said, _ in gaps), default=0.0),
        max((true for _, true in gaps), default=0.0),
        max((abs(said - true) for said, true in gaps), default=0.0),
        len(ttft_errors),
        quantile(sorted(ttft_errors), 0.99) if ttft_errors else 0.0,
        stats.turns.quantile_ns(0.99) / 1e6,
        stats.turns.longest_ns / 1e6,
    )


def plan_of(server: ReferenceServer, streams: int, seconds: float, stall_s: float) -> RequestPlan:
    """Long requests on all streams but one, and short ones on that, as many as fit beside them."""
    endpoint = Endpoint.parse(server.base_url)
    target = Destination(resolve(endpoint))
    long = request(endpoint, {"ttft_ms": 50, "itl_ms": 1_000 / TOKENS_PER_S, "tokens": round(seconds * TOKENS_PER_S)})
    probe = request(endpoint, {"ttft_ms": 50, "itl_ms": 1_000 / TOKENS_PER_S, "tokens": PROBE_TOKENS})
    probe_s = 0.05 + PROBE_TOKENS / TOKENS_PER_S
    requests = [long] * streams + [probe] * round(0.9 * seconds / probe_s)
    entries = [Entry(number, Phase.MEASURED, 0, True, each) for number, each in enumerate(requests)]
    limits = (5.0, 60.0, 60.0, stall_s, 2 * seconds + 60)
    deadlines = Deadlines(*(round(limit_s * NS_PER_S) for limit_s in limits))
    return RequestPlan((target,), deadlines, streams + 1, len(entries), entries)


def request(endpoint: Endpoint, schedule: Mapping[str, Any]) -> bytes:
    """A request that says how it wants to be answered."""
    messages = [{"role": "user", "content": "How fast are you?"}]
    question = {"model": "reference", "stream": True, "messages": messages}
    body = json.dumps({**question, "flperf_reference": {"schedule": schedule}}).encode()
    head = RequestFactory(endpoint).template(question).render(messages).partition(b"\r\n\r\n")[0]  # type: ignore[arg-type]
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length")]
    return b"\r\n".join([*lines, b"Content-Length: %d" % len(body), b"", body])


def largest_gap_ms(arrivals_ns: Sequence[int]) -> float:
    """Of a stream."""
    return max((later - earlier for earlier, later in pairwise(arrivals_ns)), default=0) / 1e6


def ttft_error_ms(sample: Sample, entry: LogEntry) -> float:
    """What is said less what is true, without its sign."""
    assert sample.first_token_ns is not None
    assert sample.sent_ns is not None
    return abs((sample.first_token_ns - sample.sent_ns) - (entry.text_ns[0] - entry.last_byte_ns)) / 1e6


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="Seconds instead of minutes, with quick deadlines")
    parser.add_argument("--check", action="store_true", help="Exit with 1 where a limit is missed")
    asked = parser.parse_args()
    host = host_info()
    print(
        f"{host.cpu}, {host.cores} cores shared by both sides, {host.os}, Python {sys.version.split()[0]}\n", flush=True
    )
    rows, missed = [], False
    for streams, seconds in SHORT if asked.short else FULL:
        found = measure(streams, seconds, SHORT_STALL_S if asked.short else STALL_S)
        bad = found.failed > 0 or found.gap_error > GAP_LIMIT_MS or found.ttft_error_p99 > TTFT_LIMIT_MS
        missed |= bad
        largest = f"{found.largest_said:.1f} / {found.largest_true:.1f}"
        figures = (f"{each:.2f}" for each in (found.gap_error, found.ttft_error_p99, found.turn_p99, found.turn_max))
        rows.append((streams, seconds, found.failed, largest, *figures, "MISSED" if bad else ""))
        error = f"gap error {found.gap_error:.2f} ms, TTFT error p99 {found.ttft_error_p99:.2f} ms"
        print(f"{streams} streams of {seconds} s: {error}", flush=True)  # the last case takes ten minutes
    head = [
        "streams",
        "s",
        "failed",
        "largest gap says / true, ms",
        "error, ms",
        "TTFT error p99, ms",
        "turn p99, ms",
        "max",
    ]
    print()
    print(tabulate(rows, [*head, ""], disable_numparse=True))
    return 1 if missed and asked.check else 0


if __name__ == "__main__":
    sys.exit(main())
