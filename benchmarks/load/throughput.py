"""How much does one load process hold: ``python benchmarks/load/throughput.py``.

Requests per second (streamed, one token, 64 streams) and tokens per second (64 streams, each chunk a write of its own),
against a server in C on the same cores, which ``cc`` builds first.  Beside the rates stands the load process's own
processor time, which says less about the neighbours on a shared machine.  POSIX only.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tabulate import tabulate

from pytest_flperf.loadgen.plan import Deadlines, Destination, Entry, PlanStats, RequestPlan
from pytest_flperf.loadgen.worker_client import LoadSession
from pytest_flperf.results.host import host_info
from pytest_flperf.wire.endpoint import Endpoint, resolve
from pytest_flperf.wire.exchange import Ending, Exchange, Phase
from pytest_flperf.wire.requests import RequestFactory

SOURCE = Path(__file__).with_name("fast_server.c")
NS_PER_S = 1_000_000_000
DEADLINES = Deadlines(*(seconds * NS_PER_S for seconds in (5, 60, 60, 30, 600)))
STREAMS = 64
WORDS = 64
"""The prompt's length in words: a request is half a kilobyte."""
GOAL_REQUESTS, GOAL_TOKENS = 10_000, 250_000


@contextmanager
def fast_server(program: Path, gap_us: int) -> Iterator[str]:
    """Base URL of a server that waits so long between the chunks of a stream."""
    with subprocess.Popen([program, str(gap_us)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdin is not None
        try:
            yield f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
        finally:
            server.stdin.close()


def build(folder: Path) -> Path:
    """Compile the server."""
    compiler = shutil.which("cc")
    if compiler is None:
        sys.exit("found no C compiler (cc), which builds the server of this benchmark")
    program = folder / "fast_server"
    subprocess.run([compiler, "-O2", "-o", program, SOURCE], check=True)
    return program


def play(session: LoadSession, base_url: str, requests: int, tokens: int, streams: int) -> PlanStats:
    """Play so many requests of so many tokens; every one must succeed."""
    endpoint = Endpoint.parse(base_url)
    question = {"role": "user", "content": "word " * WORDS}
    request = RequestFactory(endpoint).build(
        {"model": "fast", "stream": True, "max_tokens": tokens, "messages": [question]}
    )
    entries = (Entry(number, Phase.MEASURED, 0, True, request, None) for number in range(requests))
    failed: list[Exchange] = []

    def count(exchange: Exchange) -> None:
        if exchange.ending is not Ending.COMPLETE:
            failed.append(exchange)

    plan = RequestPlan((Destination(resolve(endpoint)),), DEADLINES, streams, requests, entries)
    stats = session.play(plan, count)
    if failed:
        sys.exit(f"{len(failed)} of {requests} requests failed, the first one: {failed[0].ending}: {failed[0].detail}")
    return stats


def measure(program: Path, *, requests: int, tokens: int, streams: int, gap_us: int) -> tuple[float, float, float]:
    """Units per second, processor time of the load process in µs per unit, and units per read.

    A unit is a request where it has one token, else a token.
    """
    with fast_server(program, gap_us) as base_url, LoadSession() as session:
        play(session, base_url, streams, 1, streams)
        stats = play(session, base_url, requests, tokens, streams)
    units = requests * tokens
    seconds = (stats.finished_ns - stats.started_ns) / NS_PER_S
    return units / seconds, stats.cpu_ns / 1e3 / units, units / stats.reads


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=3, help="Take the median of so many")
    parser.add_argument("--check", action="store_true", help="Exit with 1 where a goal is missed")
    asked = parser.parse_args()
    cases = [
        ("requests/s, 1 token, 64 streams", {"requests": 20_000, "tokens": 1, "streams": STREAMS, "gap_us": 0},
         GOAL_REQUESTS),
        ("tokens/s, 64 streams, as fast as they come",
         {"requests": 2 * STREAMS, "tokens": 5_000, "streams": STREAMS, "gap_us": 0}, GOAL_TOKENS),
        ("tokens/s, 256 streams at 200 tokens/s",
         {"requests": 256, "tokens": 1_000, "streams": 256, "gap_us": 5_000}, None),
    ]  # fmt: skip
    host = host_info()
    print(f"{host.cpu}, {host.cores} cores shared by both sides, {host.os}, Python {sys.version.split()[0]}\n")
    rows, missed = [], False
    with tempfile.TemporaryDirectory() as folder:
        program = build(Path(folder))
        for name, case, goal in cases:
            tries = [measure(program, **case) for _ in range(asked.repeat)]
            rate, cpu_us, per_read = (statistics.median(column) for column in zip(*tries, strict=True))
            below = goal is not None and rate < goal
            missed |= below
            rows.append((name, f"{rate:,.0f}", f"{goal:,}" if goal else "", f"{cpu_us:.1f}", f"{per_read:.2f}",
                         "below" if below else ""))  # fmt: skip
    print(tabulate(rows, ["", "rate", "goal", "CPU µs each", "each per read", ""], disable_numparse=True))
    return 1 if missed and asked.check else 0


if __name__ == "__main__":
    sys.exit(main())
