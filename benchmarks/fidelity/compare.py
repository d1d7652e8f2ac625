"""The comparison in the open: pytest-flperf and other load clients against one reference server, says and true.

``python benchmarks/fidelity/compare.py --client aiperf=PATH --client guidellm=PATH …``: the clients take turns, the
median of the rounds counts.  What each says is read from its own files, what is true from the server's log.  Linux.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from tabulate import tabulate

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.fidelity.compare_clients import Client, Job, clients, environment, find, version
from benchmarks.fidelity.compare_process import Ended, reason, run
from benchmarks.fidelity.compare_truth import Said, Truth, measured, truth
from pytest_flperf.reference_server import ReferenceConfig, ReferenceServer, Schedule
from pytest_flperf.results.host import host_info

FEW_STREAMS = 4
LEAST_SHOWN_PCT = 0.1
DASH = "–"
KINDS = ("plain", "stalls", "chunks", "reasoning")


@dataclass(frozen=True, slots=True)
class Setting:
    """What is played."""

    name: str
    title: str
    schedule: Schedule
    streams: int
    requests: int


@dataclass(frozen=True, slots=True)
class Round:
    """One client's turn: figures, or why there are none."""

    said: Said | None = None
    true: Truth | None = None
    cpu_us_per_token: float | None = None
    """Of the measured part."""
    cpu_s: float = 0.0
    """Of the whole run."""
    others_pct: float = 0.0
    trouble: str = ""


def settings(kinds: Sequence[str], streams: Sequence[int]) -> list[Setting]:
    """Those that were asked for."""
    few = (FEW_STREAMS, 10 * FEW_STREAMS)
    found = [
        Setting(
            f"plain-{many}",
            f"{many} stream{'s' * (many > 1)}: 64 tokens, the first after 50 ms, one each 5 ms",
            Schedule(ttft_ms=50.0, itl_ms=5.0, tokens=64),
            many,
            requests_for(many),
        )
        for many in streams
        if "plain" in kinds
    ]
    others = {
        "stalls": Setting(
            "stalls",
            f"{FEW_STREAMS} streams with stalls: 64 tokens, one each 10 ms, a pause of 200 ms after each 25",
            Schedule(ttft_ms=50.0, itl_ms=10.0, tokens=64, stall_every_tokens=25, stall_ms=200.0),
            *few,
        ),
        "chunks": Setting(
            "chunks",
            f"{FEW_STREAMS} streams, four tokens a chunk: 64 tokens, a chunk each 40 ms",
            Schedule(ttft_ms=50.0, itl_ms=40.0, tokens=64, tokens_per_chunk=4),
            *few,
        ),
        "reasoning": Setting(
            "reasoning",
            f"{FEW_STREAMS} streams, reasoning first: 24 tokens of reasoning, 40 of the answer, one each 10 ms",
            Schedule(ttft_ms=50.0, itl_ms=10.0, tokens=40, reasoning_tokens=24),
            *few,
        ),
    }
    return found + [others[kind] for kind in KINDS if kind in others and kind in kinds]


def requests_for(streams: int) -> int:
    """Measured requests of a plain setting: seconds for each client, and enough for a 99th percentile of many."""
    return streams * (20 if streams < 16 else 10 if streams < 128 else 6)


def play(client: Client, executable: str, server: ReferenceServer, setting: Setting, limit_s: float) -> Round:
    """One client's turn."""
    tokens = setting.schedule.tokens + setting.schedule.reasoning_tokens
    with tempfile.TemporaryDirectory(prefix="flperf-compare-", ignore_cleanup_errors=True) as name:
        job = Job(server.base_url, setting.streams, setting.requests, tokens, Path(name))
        command = [executable, *client.arguments(job)]
        server.clear_log()
        try:
            ended = run(command, job.folder, environment(client, job.folder), limit_s, server.pid)
        except OSError as error:
            return Round(trouble=f"can't be started: {error.strerror}")
        if ended.status is None:
            return Round(trouble=reason(job.folder, None, limit_s), cpu_s=ended.cpu_s, others_pct=ended.others_pct)
        try:
            said = client.read(job)
        except (OSError, LookupError, TypeError, ValueError, StopIteration):
            return Round(trouble=reason(job.folder, ended.status, limit_s), cpu_s=ended.cpu_s)
    return judged(said, server, setting, ended)


def judged(said: Said, server: ReferenceServer, setting: Setting, ended: Ended) -> Round:
    """What was said, beside what is true."""
    true = truth(measured(server.log, said), setting.schedule.tokens_per_chunk)
    if true is None:
        return Round(said, trouble="the server has none of the requests that it measured")
    used_s = ended.cpu_between_s(true.start_ns, true.end_ns)
    per_token = None if used_s is None else used_s * 1e6 / true.tokens
    return Round(said, true, per_token, ended.cpu_s, ended.others_pct)


def middle(values: Sequence[float | None]) -> float | None:
    """The median of what there is."""
    known = [value for value in values if value is not None]
    return median(known) if known else None


def pair(rounds: Sequence[Round], says: str, true: str | None = None, digits: int = 2) -> str:
    """``says / true``."""
    said = middle([getattr(each.said, says) for each in rounds])
    fact = middle([getattr(each.true, true or says) for each in rounds])
    return " / ".join(DASH if value is None else f"{value:.{digits}f}" for value in (said, fact))


def error(rounds: Sequence[Round], name: str) -> float | None:
    """How far off a figure is, within each round; the machine's mood differs between rounds."""
    return middle(
        [
            None if getattr(each.said, name) is None else abs(getattr(each.said, name) - getattr(each.true, name))
            for each in rounds
        ]
    )


def counted(rounds: Sequence[Round]) -> str:
    """Which token a client's TTFT is the time of."""
    says = middle([each.said.ttft_p50 for each in rounds if each.said])
    first = middle([each.true.ttft_p50 for each in rounds if each.true])
    answer = middle([each.true.ttfat_p50 for each in rounds if each.true])
    if says is None or first is None or answer is None:
        return DASH
    return "of the answer" if abs(says - answer) < abs(says - first) else "of the reasoning"


def row(name: str, rounds: Sequence[Round], setting: Setting) -> list[str]:
    """A client's row of the table."""
    good = [each for each in rounds if each.said and each.true]
    troubles = sorted({each.trouble for each in rounds if each.trouble})
    columns = 9 + 2 * bool(setting.schedule.reasoning_tokens)
    if not good:
        return [name, *[DASH] * columns, "; ".join(troubles)]
    errors = [error(good, figure) for figure in ("ttft_p50", "ttft_p99", "itl_p99")]
    cpu_us = middle([each.cpu_us_per_token for each in good])
    failures = [f"{len(rounds) - len(good)} of {len(rounds)} rounds: {'; '.join(troubles)}"] if troubles else []
    cells = [
        name,
        pair(good, "ttft_p50"),
        pair(good, "ttft_p99"),
        pair(good, "itl_p99"),
        pair(good, "tpot_p50"),
        ", ".join(DASH if each is None else f"{each:.2f}" for each in errors),
        f"{sum(each.said.failed for each in good if each.said)} of {sum(each.said.n for each in good if each.said)}",
        DASH if cpu_us is None else f"{cpu_us:.0f}",
        f"{middle([each.cpu_s for each in good]):.1f}",
        f"{max(each.others_pct for each in good):.0f} %",
    ]
    if setting.schedule.reasoning_tokens:
        cells += [counted(good), pair(good, "ttfat_p50")]
    return [*cells, "; ".join([*failures, *remarks(good)])]


def remarks(good: Sequence[Round]) -> list[str]:
    """What a reader should know of a client's figures."""
    said = [each.said for each in good if each.said]
    found = []
    if (gap := middle([each.gap_p99 for each in said])) is not None:
        found.append(f"its gaps between chunks: p99 {gap:.2f} ms")
    if any(each.late_reads for each in said):
        found.append(f"late reads left out of its TTFT: {', '.join(str(each.late_reads) for each in said)}")
    if (most := max(each.coalesced_pct for each in said)) >= LEAST_SHOWN_PCT:
        found.append(f"chunks that shared a read, and so an arrival: {most:.1f} % at most")
    apart = [(each.said.n, each.true.n) for each in good if each.said and each.true and each.said.n != each.true.n]
    if apart:
        found.append(f"says of {apart[-1][0]} requests, true of {apart[-1][1]}")
    return found


def table(setting: Setting, played: Mapping[str, Sequence[Round]]) -> str:
    """A setting's table, with its headline."""
    reasons = setting.schedule.reasoning_tokens
    heads = [
        "client",
        "TTFT p50 ms says / true",
        "TTFT p99 ms says / true",
        "ITL p99 ms says / true",
        "TPOT p50 ms says / true",
        "off by, ms (TTFT p50, p99, ITL p99)",
        "failed",
        "CPU µs a token",
        "CPU s, whole run",
        "others at most",
        *(["its TTFT is the first token", "first of the answer, p50 ms says / true"] if reasons else []),
        "remarks",
    ]
    rows = [row(name, rounds, setting) for name, rounds in played.items()]
    lines = [f"### {setting.title}", "", f"{setting.requests} requests a round."]
    return "\n".join([*lines, "", tabulate(rows, headers=heads, tablefmt="github", disable_numparse=True), ""])


def play_setting(
    setting: Setting,
    chosen: Sequence[Client],
    paths: Mapping[str, str | None],
    rounds: int,
    limit_s: float,
    say: Callable[[str], None],
) -> dict[str, list[Round]]:
    """All rounds of a setting; another client begins each round."""
    played: dict[str, list[Round]] = {client.name: [] for client in chosen}
    present = [client for client in chosen if paths[client.name]]
    for client in chosen:
        if client not in present:
            played[client.name].append(Round(trouble="not installed"))
    with ReferenceServer(ReferenceConfig(schedule=setting.schedule)) as server:
        for number in range(rounds):
            first = number % max(len(present), 1)
            for client in [*present[first:], *present[:first]]:
                found = play(client, paths[client.name] or "", server, setting, limit_s)
                played[client.name].append(found)
                say(f"{setting.name}, round {number + 1} of {rounds}, {client.name}: {shown(found)}")
    return played


def shown(found: Round) -> str:
    """A round in short."""
    if found.trouble or not found.said or not found.true:
        return found.trouble
    cpu = DASH if found.cpu_us_per_token is None else f"{found.cpu_us_per_token:.0f}"
    return (
        f"p50 {pair([found], 'ttft_p50')} p99 {pair([found], 'ttft_p99')} ITL {pair([found], 'itl_p99')} "
        f"{cpu} µs, others {found.others_pct:.0f} %"
    )


def as_data(setting: Setting, played: Mapping[str, Sequence[Round]]) -> dict[str, object]:
    """For ``--json``."""
    rows = {name: [asdict(each) | {"said": said_data(each.said)} for each in rounds] for name, rounds in played.items()}
    return {"setting": setting.name, "title": setting.title, "requests": setting.requests, "clients": rows}


def said_data(said: Said | None) -> dict[str, object] | None:
    """Without the requests' ids, which nobody needs afterwards."""
    return None if said is None else {name: value for name, value in asdict(said).items() if name != "ids"}


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    names = [client.name for client in clients()]
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--clients", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument(
        "--client",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="A client's executable, where it is not on PATH; pytest for pytest-flperf",
    )
    parser.add_argument("--settings", nargs="+", choices=KINDS, default=list(KINDS), help="What is played")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 64, 256], help="Of the plain setting")
    parser.add_argument("--rounds", type=int, default=3, help="The median counts")
    parser.add_argument("--limit", type=float, default=180.0, metavar="SECONDS", help="Of one client's turn")
    parser.add_argument("--json", type=Path, metavar="FILE", help="Write every round to this file as well")
    return parser


def given_paths(parser: argparse.ArgumentParser, given: Sequence[str]) -> dict[str, str]:
    """The paths of ``--client``."""
    names = [client.name for client in clients()]
    found = dict(each.split("=", 1) for each in given if "=" in each)
    if wrong := [each for each in given if each.partition("=")[0] not in names or "=" not in each]:
        parser.error(f"--client: expected NAME=PATH with a NAME of {', '.join(names)}, found {wrong[0]}")
    return found


def main(given: Sequence[str] | None = None) -> int:
    """Play and print."""
    parser = arguments()
    options = parser.parse_args(given)
    if min(options.streams) < 1 or options.rounds < 1:
        parser.error("--streams and --rounds: expected at least 1")
    paths_given = given_paths(parser, options.client)
    chosen = [client for client in clients() if client.name in options.clients]
    paths = {client.name: find(client, paths_given) for client in chosen}
    if lost := [name for name in paths_given if name in paths and not paths[name]]:
        parser.error(f"--client: {paths_given[lost[0]]} is no executable file")
    started_s = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - started_s:6.0f} s  {line}", file=sys.stderr, flush=True)

    host = host_info()
    versions = {client.name: version(client, path) for client in chosen if (path := paths[client.name])}
    print(f"{host.cpu}, {host.cores} cores shared by client and server, {host.os}, Python {platform.python_version()}")
    print(", ".join(f"{name} {number}".strip() for name, number in versions.items()))
    data = []
    for setting in settings(options.settings, options.streams):
        played = play_setting(setting, chosen, paths, options.rounds, options.limit, say)
        print(f"\n{table(setting, played)}", flush=True)
        data.append(as_data(setting, played))
        if options.json:
            found = {"host": host.to_dict(), "versions": versions, "rounds": options.rounds, "settings": data}
            options.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
    say("done")
    return 0


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
    sys.exit(130)
