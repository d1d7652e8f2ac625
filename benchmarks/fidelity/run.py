"""Says and true: our load process against the reference server's own log, a bare reader beside it.

``python benchmarks/fidelity/run.py``: 64-token answers, 50 ms to the first token, 5 ms between tokens, client and
server on the same cores; median of the repeats.  ``--check`` exits with 1 where a limit is missed.  Linux only, for
the kernel's stamps.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median

import psutil
from tabulate import tabulate

from pytest_flperf.loadgen.plan import Deadlines, Destination, Entry, PlanStats, RequestPlan
from pytest_flperf.loadgen.worker_client import LoadSession
from pytest_flperf.reference_server import ReferenceConfig, ReferenceServer, Schedule
from pytest_flperf.reference_server.log import echoed_id
from pytest_flperf.results.host import host_info
from pytest_flperf.stats.descriptive.request_metrics import is_late_read
from pytest_flperf.stats.descriptive.summary import quantile
from pytest_flperf.wire.decode import decode
from pytest_flperf.wire.endpoint import Endpoint, resolve
from pytest_flperf.wire.exchange import Exchange, Phase
from pytest_flperf.wire.requests import RequestFactory

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "reference_server"))
import bare_reader  # the tests' own

TOKENS = 64
SCHEDULE = Schedule(ttft_ms=50.0, itl_ms=5.0, tokens=TOKENS)
QUESTION = {"model": "reference", "stream": True, "messages": [{"role": "user", "content": "How fast are you?"}]}
MOST_TRIES = 10
NS_PER_S = 1_000_000_000
DEADLINES = Deadlines(*(seconds * NS_PER_S for seconds in (5, 60, 60, 30, 120)))

LIMITS = {
    # streams: error of TTFT p50 and p99 in ms, error of the mean gap's p99 in ms, ratio of true TTFT p99, µs a token
    1: (0.1, 0.02, 1.02, None),
    64: (0.1, 0.02, 1.1, 15.0),
    256: (0.1, 0.02, 1.2, 12.0),
}


@dataclass(frozen=True, slots=True)
class Figures:
    """One client in one round; times in ms."""

    ttft_p50_says: float
    ttft_p50_true: float
    ttft_p99_says: float
    ttft_p99_true: float
    gap_p99_says: float
    gap_p99_true: float
    cpu_us_per_token: float
    ttft_p99_true_all: float
    """Late reads included, which are no part of what a run says of TTFT: how quick the client lets the server be."""
    late_reads: int = 0
    others_pct: float = 0.0
    """What processes other than client and server used of the machine's processor time meanwhile."""


def requests_for(streams: int) -> int:
    """At least six rounds, and enough requests for a 99th percentile."""
    return max(6 * streams, 60)


def play_ours(
    server: ReferenceServer, session: LoadSession, streams: int, total: int
) -> tuple[PlanStats, list[Exchange]]:
    """Play a closed loop with the load process."""
    endpoint = Endpoint.parse(server.base_url)
    template = RequestFactory(endpoint).template(QUESTION)
    entries = [Entry(i, Phase.MEASURED, 0, True, template.render(QUESTION["messages"])) for i in range(total)]  # type: ignore[arg-type]
    exchanges: list[Exchange] = []
    plan = RequestPlan((Destination(resolve(endpoint)),), DEADLINES, streams, total, entries)
    return session.play(plan, exchanges.append), exchanges


def ours(server: ReferenceServer, session: LoadSession, streams: int) -> Figures:
    """Our load process: warmed up as every case is, then measured."""
    play_ours(server, session, streams, min(streams, 4))
    server.clear_log()
    stats, exchanges = play_ours(server, session, streams, requests_for(streams))
    log = {entry.id: entry for entry in server.log}
    says_ttft: list[float] = []
    true_ttft: list[float] = []
    says_gap: list[float] = []
    true_gap: list[float] = []
    true_ttft_all: list[float] = []
    late_reads = 0
    for exchange in exchanges:
        sample = decode(exchange)
        assert sample.ok, sample.evidence
        assert sample.first_token_ns is not None
        assert sample.last_token_ns is not None
        assert sample.sent_ns is not None
        entry = log[echoed_id(exchange.raw)]
        true_ttft_all.append((entry.text_ns[0] - entry.last_byte_ns) / 1e6)
        if is_late_read(sample):
            late_reads += 1
        else:
            says_ttft.append((sample.first_token_ns - sample.sent_ns) / 1e6)
            true_ttft.append(true_ttft_all[-1])
        says_gap.append((sample.last_token_ns - sample.first_token_ns) / (TOKENS - 1) / 1e6)
        true_gap.append((entry.text_ns[-1] - entry.text_ns[0]) / (TOKENS - 1) / 1e6)
    return Figures(
        quantile(sorted(says_ttft), 0.5),
        quantile(sorted(true_ttft), 0.5),
        quantile(sorted(says_ttft), 0.99),
        quantile(sorted(true_ttft), 0.99),
        quantile(sorted(says_gap), 0.99),
        quantile(sorted(true_gap), 0.99),
        stats.cpu_ns / 1e3 / (len(exchanges) * TOKENS),
        quantile(sorted(true_ttft_all), 0.99),
        late_reads,
    )


def bare(server: ReferenceServer, streams: int) -> Figures:
    """The least that a client can do."""
    body = json.dumps(QUESTION).encode()
    bare_reader.play(server.port, streams, 1, body)
    server.clear_log()
    exchanges, used_s = bare_reader.play(server.port, streams, max(requests_for(streams) // streams, 1), body)
    found = bare_reader.compare(exchanges, server.log)
    return Figures(
        found["ttft_p50_says_ms"],
        found["ttft_p50_true_ms"],
        found["ttft_p99_says_ms"],
        found["ttft_p99_true_ms"],
        found["gap_p99_says_ms"],
        found["gap_p99_true_ms"],
        used_s * 1e6 / (len(exchanges) * TOKENS),
        found["ttft_p99_true_ms"],
    )


def beside(measure: Callable[[], Figures]) -> Figures:
    """Measure, and note how busy the machine was with something else: where it was, the figures say little."""
    started_s, busy_s, own_s = time.monotonic(), machine_busy_s(), own_busy_s()
    figures = measure()
    others_s = machine_busy_s() - busy_s - (own_busy_s() - own_s)
    capacity_s = (time.monotonic() - started_s) * (psutil.cpu_count() or 1)
    return replace(figures, others_pct=max(0.0, 100 * others_s / capacity_s))


def machine_busy_s() -> float:
    """Processor time used by all processes, and taken from a virtual machine by its host."""
    times = psutil.cpu_times()
    return float(times.user + times.system + getattr(times, "nice", 0.0) + getattr(times, "steal", 0.0))


def own_busy_s() -> float:
    """Processor time of this process, the load process and the server."""
    process = psutil.Process()
    used = [each.cpu_times() for each in (process, *process.children())]
    return float(sum(each.user + each.system for each in used))


def middle(rounds: Sequence[Figures]) -> Figures:
    """The median of each figure."""
    columns = [asdict(each) for each in rounds]
    return Figures(**{name: median(column[name] for column in columns) for name in columns[0]})


def misses(streams: int, ours_: Figures, errors: dict[str, float], ratio: float) -> list[str]:
    """What is over its limit, in words."""
    if streams not in LIMITS:
        return []
    ttft, gap, most_ratio, cpu = LIMITS[streams]
    found = [
        ("TTFT p50 error", errors["ttft_p50"], ttft),
        ("TTFT p99 error", errors["ttft_p99"], ttft),
        ("mean gap p99 error", errors["gap_p99"], gap),
        ("true TTFT p99 against the bare reader's", ratio, most_ratio),
    ]
    if cpu is not None:
        found.append(("CPU µs per token", ours_.cpu_us_per_token, cpu))
    return [
        f"{streams} streams: {name} is {value:.3f}, limit {limit:g}" for name, value, limit in found if value > limit
    ]


def play_rounds(streams: int, repeat: int, quiet_pct: float) -> list[tuple[Figures, Figures]]:
    """Both clients in turn, each round on a server of its own: the first ``repeat`` quiet rounds, or the quietest."""
    rounds: list[tuple[Figures, Figures]] = []
    quiet = 0
    with LoadSession() as session:
        while quiet < repeat and len(rounds) < MOST_TRIES * repeat:
            with ReferenceServer(ReferenceConfig(schedule=SCHEDULE)) as server:
                clients = [lambda: ours(server, session, streams), lambda: bare(server, streams)]
                first = len(rounds) % 2
                found = {first: beside(clients[first])}
                found[1 - first] = beside(clients[1 - first])
            rounds.append((found[0], found[1]))
            quiet += others_of(rounds[-1]) <= quiet_pct
            show_round(streams, len(rounds), found[0], found[1])
    return sorted(rounds, key=others_of)[:repeat]


def show_round(streams: int, number: int, mine: Figures, theirs: Figures) -> None:
    """A line on standard error: a round takes seconds, and which rounds were disturbed is worth knowing."""
    ours_, bare_ = (
        f"others {each.others_pct:.0f} % "
        f"p50 {each.ttft_p50_says:.2f}/{each.ttft_p50_true:.2f} p99 {each.ttft_p99_says:.2f}/{each.ttft_p99_true:.2f} "
        f"gap {each.gap_p99_says:.3f}/{each.gap_p99_true:.3f} {each.cpu_us_per_token:.1f} µs"
        for each in (mine, theirs)
    )
    print(f"{streams} streams, round {number}: ours {ours_} · bare {bare_}", file=sys.stderr, flush=True)


def others_of(played: tuple[Figures, Figures]) -> float:
    """How busy others were in a round."""
    return max(each.others_pct for each in played)


def compare(streams: int, rounds: Sequence[tuple[Figures, Figures]]) -> tuple[list[str], dict[str, object], list[str]]:
    """A row of the table, its data, its misses."""
    # Errors and ratios within one round, then their median: the machine's mood differs between rounds.
    errors = {
        name: median(abs(getattr(mine, f"{name}_says") - getattr(mine, f"{name}_true")) for mine, _ in rounds)
        for name in ("ttft_p50", "ttft_p99", "gap_p99")
    }
    ratio = median(mine.ttft_p99_true_all / theirs.ttft_p99_true_all for mine, theirs in rounds)
    mine, theirs = middle([each[0] for each in rounds]), middle([each[1] for each in rounds])
    row = [
        str(streams),
        f"{mine.ttft_p50_says:.2f} / {mine.ttft_p50_true:.2f}",
        f"{mine.ttft_p99_says:.2f} / {mine.ttft_p99_true:.2f}",
        f"{mine.gap_p99_says:.3f} / {mine.gap_p99_true:.3f}",
        f"{errors['ttft_p50']:.3f}, {errors['ttft_p99']:.3f}, {errors['gap_p99']:.4f}",
        f"{ratio:.3f}",
        f"{mine.cpu_us_per_token:.1f}",
        f"{theirs.cpu_us_per_token:.1f}",
        f"{mine.late_reads:g}",
        f"{max(others_of(each) for each in rounds):.0f} %",
    ]
    data = {"streams": streams, "ours": asdict(mine), "bare": asdict(theirs), "errors": errors, "ratio": ratio}
    return row, data, misses(streams, mine, errors, ratio)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print; 1 with ``--check`` where a limit is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 64, 256], help="Concurrent streams")
    parser.add_argument("--repeat", type=int, default=3, help="Rounds; the median counts")
    parser.add_argument(
        "--quiet",
        type=float,
        default=100.0,
        metavar="PERCENT",
        help=f"Play rounds again in which other processes used more of the machine, at most {MOST_TRIES} times as many",
    )
    parser.add_argument("--check", action="store_true", help="Exit with 1 where a limit is missed")
    parser.add_argument("--json", type=Path, help="Write the figures to this file as well")
    chosen = parser.parse_args(arguments)
    host = host_info()
    print(f"{host.cpu}, {host.cores} cores shared by both sides, {host.os}, Python {platform.python_version()}")
    rows, data, missed = [], [], []
    for streams in chosen.streams:
        row, found, over = compare(streams, play_rounds(streams, chosen.repeat, chosen.quiet))
        rows.append(row)
        data.append(found)
        missed += over
    heads = [
        "streams",
        "TTFT p50 ms says / true",
        "TTFT p99 ms says / true",
        "mean gap p99 ms says / true",
        "errors ms (TTFT p50, p99, gap)",
        "true TTFT p99 ours / bare",
        "CPU µs a token",
        "bare",
        "late reads",
        "others at most",
    ]
    print(tabulate(rows, headers=heads, tablefmt="github", disable_numparse=True))
    print("\n".join(missed) or "Every limit is kept")
    if chosen.json:
        chosen.json.write_text(json.dumps({"host": host.to_dict(), "rows": data}, indent=1), encoding="utf-8")
    return 1 if chosen.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
