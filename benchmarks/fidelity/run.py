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
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from tabulate import tabulate

from pytest_flperf.load.plan import Deadlines, Entry, Plan, PlanStats, Target
from pytest_flperf.load.session import LoadSession
from pytest_flperf.reference import LogEntry, ReferenceConfig, ReferenceServer, Schedule
from pytest_flperf.results.host import host_info
from pytest_flperf.stats.summary import quantile
from pytest_flperf.wire.decode import decode
from pytest_flperf.wire.endpoint import Endpoint, resolve
from pytest_flperf.wire.exchange import Exchange, Phase
from pytest_flperf.wire.requests import RequestFactory

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "reference"))
import bare_reader  # the tests' own

TOKENS = 64
SCHEDULE = Schedule(ttft_ms=50.0, itl_ms=5.0, tokens=TOKENS)
QUESTION = {"model": "reference", "stream": True, "messages": [{"role": "user", "content": "How fast are you?"}]}
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
    late_reads: int = 0


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
    plan = Plan((Target(resolve(endpoint)),), DEADLINES, streams, total, entries)
    return session.play(plan, exchanges.append), exchanges


def ours(server: ReferenceServer, session: LoadSession, streams: int) -> Figures:
    """Our load process: warmed up as every case is, then measured."""
    play_ours(server, session, streams, min(streams, 4))
    server.clear_log()
    stats, exchanges = play_ours(server, session, streams, requests_for(streams))
    log = {entry.id: entry for entry in server.log}
    says_ttft, true_ttft, says_gap, true_gap = [], [], [], []
    late_reads = 0
    for exchange in exchanges:
        sample = decode(exchange)
        assert sample.ok, sample.evidence
        assert sample.first_token_ns is not None
        assert sample.last_token_ns is not None
        assert sample.sent_ns is not None
        entry = log[echoed_id(exchange)]
        says_ttft.append((sample.first_token_ns - sample.sent_ns) / 1e6)
        says_gap.append((sample.last_token_ns - sample.first_token_ns) / (TOKENS - 1) / 1e6)
        add_true(entry, true_ttft, true_gap)
        late_reads += sample.first_read_surplus > 0
    return Figures(
        quantile(sorted(says_ttft), 0.5),
        quantile(sorted(true_ttft), 0.5),
        quantile(sorted(says_ttft), 0.99),
        quantile(sorted(true_ttft), 0.99),
        quantile(sorted(says_gap), 0.99),
        quantile(sorted(true_gap), 0.99),
        stats.cpu_ns / 1e3 / (len(exchanges) * TOKENS),
        late_reads,
    )


def echoed_id(exchange: Exchange) -> str:
    """The ``id`` of the answer's chunks, by which the server's log names the request."""
    start = exchange.raw.index(b'"id":"') + 6
    return exchange.raw[start : exchange.raw.index(b'"', start)].decode()


def add_true(entry: LogEntry, ttft: list[float], gap: list[float]) -> None:
    """What the server knows of a request."""
    text_ns = entry.text_ns
    ttft.append((text_ns[0] - entry.last_byte_ns) / 1e6)
    gap.append((text_ns[-1] - text_ns[0]) / (TOKENS - 1) / 1e6)


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
    )


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


def compare(streams: int, repeat: int) -> tuple[list[str], dict[str, object], list[str]]:
    """Both clients in turn, ``repeat`` times, each time on a server of its own; a row, its data, its misses."""
    rounds: list[tuple[Figures, Figures]] = []
    with LoadSession() as session:
        for number in range(repeat):
            with ReferenceServer(ReferenceConfig(schedule=SCHEDULE)) as server:
                if number % 2:
                    theirs, mine = bare(server, streams), ours(server, session, streams)
                else:
                    mine, theirs = ours(server, session, streams), bare(server, streams)
            rounds.append((mine, theirs))
    # Errors and ratios within one round, then their median: the machine's mood differs between rounds.
    errors = {
        name: median(abs(getattr(mine, f"{name}_says") - getattr(mine, f"{name}_true")) for mine, _ in rounds)
        for name in ("ttft_p50", "ttft_p99", "gap_p99")
    }
    ratio = median(mine.ttft_p99_true / theirs.ttft_p99_true for mine, theirs in rounds)
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
    ]
    data = {"streams": streams, "ours": asdict(mine), "bare": asdict(theirs), "errors": errors, "ratio": ratio}
    return row, data, misses(streams, mine, errors, ratio)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print; 1 with ``--check`` where a limit is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 64, 256], help="Concurrent streams")
    parser.add_argument("--repeat", type=int, default=3, help="Rounds; the median counts")
    parser.add_argument("--check", action="store_true", help="Exit with 1 where a limit is missed")
    parser.add_argument("--json", type=Path, help="Write the figures to this file as well")
    chosen = parser.parse_args(arguments)
    host = host_info()
    print(f"{host.cpu}, {host.cores} cores shared by both sides, {host.os}, Python {platform.python_version()}")
    rows, data, missed = [], [], []
    for streams in chosen.streams:
        row, found, over = compare(streams, chosen.repeat)
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
    ]
    print(tabulate(rows, headers=heads, tablefmt="github", disable_numparse=True))
    print("\n".join(missed) or "every limit is kept")
    if chosen.json:
        chosen.json.write_text(json.dumps({"host": host.to_dict(), "rows": data}, indent=1), encoding="utf-8")
    return 1 if chosen.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
