"""How long ``flperf history`` takes with a long history: ``python benchmarks/history/run.py``.

Stores 10,000 runs of 20 cases, a metric of eight and a resource of three for each, one after the other as runs do, in
a SQLite file (``--store=URL``: elsewhere, such as in an empty PostgreSQL).  Then times what people wait for, each as a
process of its own: ``flperf history`` (limit 1 s), of a suite, ``flperf compare`` of two runs with their single values
(limit 1 s), ``flperf show`` and ``flperf export`` of one run; and in this process the storing of one more run, and of a
run's 20 cases the medians of 20 earlier runs (limit 1 s).
``--check`` exits with 1 where a limit is missed.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from tabulate import tabulate

from pytest_flperf.history.environment import Commit, Surroundings, fingerprint
from pytest_flperf.history.place import StorePlace, store_place
from pytest_flperf.history.store import Store
from pytest_flperf.results.host import host_info, versions
from pytest_flperf.results.load import Load
from pytest_flperf.results.records import CaseResult, HostInfo, Requests, ResourceUse, Run
from pytest_flperf.results.serving import Target
from pytest_flperf.stats.descriptive.summary import distribution

LIMIT_S: Final = 1.0
METRICS: Final = ("ttft_ms", "itl_ms", "tpot_ms", "gen_tps", "tps", "prompt_tps", "e2e_ms", "output_tokens")
KEPT: Final = ("ttft_ms", "tpot_ms", "e2e_ms")
RESOURCES: Final = ("server_rss_mb", "server_cpu_pct", "host_cpu_pct")
FIRST: Final = datetime(2025, 1, 1, tzinfo=UTC)


def made_case(number: int, suite: str, source: random.Random) -> CaseResult:
    """A case of eleven requests."""
    metrics = {name: distribution([source.gauss(50, 5) for _ in range(11)]) for name in METRICS}
    return CaseResult(
        nodeid=f"flperf:{suite}::scenario-{number}[model]", suite=suite, scenario=f"scenario-{number}", model="model",
        host="box", outcome="passed", message="", target=Target("openai", "http://127.0.0.1:1/v1", "model:1"),
        load=Load(iterations=11), requests=Requests(total=11, ok=11, by_outcome={"ok": 11}), error_rate=0.0, wall_s=1.5,
        metrics={name: found for name, found in metrics.items() if found is not None},
        resources={name: ResourceUse(5, 100.0, 90.0, 110.0) for name in RESOURCES}, notes=("a note",),
    )  # fmt: skip


def made_run(number: int, cases: tuple[CaseResult, ...], host: HostInfo) -> Run:
    """The run with this number, a quarter of an hour after the one before."""
    began = FIRST + timedelta(minutes=15 * number)
    suite = cases[0].suite
    return Run(
        id=f"{began:%Y%m%dT%H%M%SZ}-{suite}-{number % 65536:04x}", started_at=began.isoformat(timespec="milliseconds"),
        finished_at=(began + timedelta(seconds=27)).isoformat(timespec="milliseconds"), status="passed",
        suites=(f"flperf:{suite}",), command=("pytest", f"--flperf-suite={suite}"), host=host, versions=versions(()),
        cases=cases,
    )  # fmt: skip


def fill(store: Store, runs: int, cases: int) -> None:
    """Store the runs, one in twenty of them of another suite."""
    source = random.Random(20261121)
    host = host_info()
    for number in range(runs):
        suite = "quick" if number % 20 == 7 else "default"
        about = Surroundings(Commit(f"{number:040x}", "main" if number % 3 else f"topic/{number}"))
        measured = tuple(made_case(each, suite, source) for each in range(cases))
        store.add(made_run(number, measured, host), about)
        if number % 1000 == 999:
            print(f"{number + 1} runs", file=sys.stderr)


def seconds(do: Callable[[], object], times: int) -> tuple[float, float]:
    """Median and longest."""
    found = []
    for _ in range(times):
        begun = time.perf_counter()
        do()
        found.append(time.perf_counter() - begun)
    return statistics.median(found), max(found)


def flperf(*words: str) -> Callable[[], object]:
    """A command as a process of its own."""
    command = [sys.executable, "-m", "pytest_flperf", *words]
    return lambda: subprocess.run(command, check=True, capture_output=True)


def main() -> int:
    """Fill, time, print; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--cases", type=int, default=20)
    parser.add_argument("--times", type=int, default=7, help="How often each is timed")
    parser.add_argument("--store", help="An empty store; default: a SQLite file that is removed afterwards")
    parser.add_argument("--check", action="store_true", help="Exit with 1 where a limit is missed")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = store_place(asked.store or str(Path(folder) / "history.db"), Path())
        assert place is not None
        return timed(place, asked, Path(folder))


def timed(place: StorePlace, asked: argparse.Namespace, folder: Path) -> int:
    """Fill the store, time what people do; the exit status."""
    begun = time.perf_counter()
    with Store(place) as store:
        fill(store, asked.runs, asked.cases)
        newest = store.runs(1)[0].id
    filled_s = time.perf_counter() - begun
    at = (f"--store={place.url or place.path}", f"--report-dir={folder / 'none'}")
    numbers = iter(range(asked.runs, asked.runs + 1000))
    source = random.Random(1)
    cases = tuple(made_case(each, "default", source) for each in range(asked.cases))
    values = {
        (case.nodeid, case.host): {name: [source.gauss(50, 5) for _ in range(11)] for name in KEPT} for case in cases
    }
    host = host_info()

    def store_one() -> None:
        with Store(place) as store:
            store.add(made_run(next(numbers), cases, host), values=values)

    def look_back() -> None:
        with Store(place) as store:
            for case in cases:
                assert len(store.earlier(case.nodeid, fingerprint(host), "ttft_ms", 20)) == min(20, asked.runs)

    store_one()
    store_one()
    with Store(place) as store:
        pair = [run.id for run in store.runs(2)][::-1]
    rows: list[tuple[str, float, float, float | None]] = []
    for name, do, limit in (
        ("flperf history", flperf("history", *at), LIMIT_S),
        ("flperf history --limit 0 --json", flperf("history", "--limit=0", "--json", *at), None),
        ("flperf history --suite quick", flperf("history", "--suite=quick", *at), LIMIT_S),
        ("flperf compare A B", flperf("compare", *pair, *at), LIMIT_S),
        ("flperf show RUN", flperf("show", newest, *at), None),
        ("flperf export RUN", flperf("export", newest, *at), None),
        ("open, store one more run, close", store_one, None),
        ("20 earlier medians of each case", look_back, LIMIT_S),
    ):
        median, longest = seconds(do, asked.times)
        rows.append((name, median, longest, limit))
    print(f"{asked.runs} runs of {asked.cases} cases, {host.cpu}, {host.cores} cores, {place.kind}")
    size = f", {place.path.stat().st_size / 2**20:.0f} MB" if place.path is not None else ""
    print(f"stored in {filled_s:.0f} s ({1000 * filled_s / asked.runs:.1f} ms each, made up included){size}")
    print(tabulate(rows, headers=("what", "median s", "longest s", "limit s"), floatfmt=".3f"))
    return 1 if asked.check and any(limit is not None and median > limit for _, median, _, limit in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
