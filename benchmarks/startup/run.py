"""What pytest-flperf costs around the measuring: pytest's start, the first request, each case, the end.

``python benchmarks/startup/run.py``, in an environment where pytest-flperf is installed.  ``--check`` exits with 1
where a median misses its limit.  Plugins that we don't bring along stay out of it (hypothesis's alone adds half a
second to the end of a session), and bytecode is written as usual.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from tabulate import tabulate

from pytest_flperf.results.host import host_info

NS_PER_MS = 1_000_000
RUN_S = 300
OURS = ("flperf", "benchmark", "anyio")
"""The plugins in an environment with pytest-flperf and what it depends on."""
IDLE_MS, FIRST_MS, CASE_MS, END_MS = 5.0, 3000.0, 50.0, 500.0


@dataclass(slots=True)
class Costs:
    """Every figure that was taken, in ms."""

    idle: list[float] = field(default_factory=list)
    """Pytest's start with the plugin installed and unused, less its start without; one per pair."""
    idle_cpu: list[float] = field(default_factory=list)
    """The same in processor time, which a busy machine disturbs less; no limit."""
    first: list[float] = field(default_factory=list)
    """From the command to the first measured request; one per run."""
    case: list[float] = field(default_factory=list)
    """From a case's first request to the next case's, less the time in which requests ran; one per case."""
    load: list[float] = field(default_factory=list)
    """The same where the model changes between the two, so with unloading and loading; no limit."""
    end: list[float] = field(default_factory=list)
    """From the last request's end to the end of the process; one per run."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 with ``--check`` and a missed limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=30, help="Starts of pytest with and without the plugin")
    parser.add_argument("--runs", type=int, default=5, help="Runs of the suite")
    parser.add_argument("--suite", default="quick", help="The suite that is run")
    parser.add_argument("--check", action="store_true", help="Exit with 1 where a median misses its limit")
    asked = parser.parse_args(arguments)
    costs = Costs()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _time_start(folder)  # the first start and the first run write bytecode and fill caches
        for index in range(asked.pairs):
            wall_ms, cpu_ms = _extra_start(folder, plugin_first=index % 2 == 0)
            costs.idle.append(wall_ms)
            costs.idle_cpu.append(cpu_ms)
        _time_run(folder, asked.suite, "unused", Costs())
        for index in range(asked.runs):
            _time_run(folder, asked.suite, f"run-{index}", costs)
    rows = [
        ("pytest's start, plugin unused", costs.idle, IDLE_MS),
        ("the same, processor time", costs.idle_cpu, None),
        ("command to first measured request", costs.first, FIRST_MS),
        ("a case, beside its requests", costs.case, CASE_MS),
        ("a change of model, beside requests", costs.load, None),
        ("last request to the end", costs.end, END_MS),
    ]
    host = host_info()
    print(f"{host.cpu}, {host.cores} cores, {host.os}, Python {sys.version.split()[0]}")
    print(f"{asked.pairs} pairs of starts, {asked.runs} runs of the suite {asked.suite}\n")
    print(tabulate([_row(*row) for row in rows if row[1]], headers=["ms", "n", "median", "min", "max", "limit", ""]))
    missed = any(figures and limit is not None and median(figures) > limit for _, figures, limit in rows)
    return 1 if missed and asked.check else 0


def _row(name: str, figures: list[float], limit: float | None) -> list[object]:
    middle = median(figures)
    verdict = "" if limit is None else "ok" if middle <= limit else "MISSED"
    shown = [f"{value:.1f}" for value in (middle, min(figures), max(figures))]
    return [name, len(figures), *shown, "" if limit is None else f"{limit:g}", verdict]


def _environment() -> dict[str, str]:
    unwanted = ("PYTEST_ADDOPTS", "PYTEST_PLUGINS", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
    return {name: value for name, value in os.environ.items() if name not in unwanted}


def _pytest(*arguments: str) -> list[str]:
    others = sorted({point.name for point in entry_points(group="pytest11")} - set(OURS))
    return [sys.executable, "-m", "pytest", *(word for name in others for word in ("-p", f"no:{name}")), *arguments]


def _extra_start(folder: Path, *, plugin_first: bool) -> tuple[float, float]:
    """Wall and processor time of one pair; who comes first alternates, so that a drifting machine favours neither."""
    without_plugin = ("-p", "no:flperf")
    first, second = ((), without_plugin) if plugin_first else (without_plugin, ())
    taken = [_time_start(folder, *first), _time_start(folder, *second)]
    with_plugin, without = taken if plugin_first else reversed(taken)
    return with_plugin[0] - without[0], with_plugin[1] - without[1]


def _time_start(folder: Path, *arguments: str) -> tuple[float, float]:
    cpu_before, began = _children_cpu_s(), time.monotonic_ns()
    done = subprocess.run(
        _pytest("-q", "-p", "no:cacheprovider", *arguments),
        cwd=folder,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=RUN_S,
        check=False,
    )
    took_ms = (time.monotonic_ns() - began) / NS_PER_MS
    if done.returncode != 5:  # no tests
        raise SystemExit(done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace"))
    return took_ms, (_children_cpu_s() - cpu_before) * 1000


def _children_cpu_s() -> float:
    if sys.platform == "win32":
        return 0.0
    import resource

    usage = resource.getrusage(resource.RUSAGE_CHILDREN)  # finer than os.times, whose ticks are 10 ms
    return usage.ru_utime + usage.ru_stime


def _time_run(folder: Path, suite: str, name: str, costs: Costs) -> None:
    reports = folder / name
    began = time.monotonic_ns()  # the same clock as every stamp in the journal
    done = subprocess.run(
        _pytest(f"--flperf-suite={suite}", f"--flperf-report-dir={reports}"),
        cwd=folder,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=RUN_S,
        check=False,
    )
    ended = time.monotonic_ns()
    if done.returncode:
        raise SystemExit(done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace"))
    (journal,) = reports.glob("*-*/journal.jsonl")
    lines = [json.loads(line) for line in journal.read_text(encoding="ascii").splitlines()]
    records = [line for line in lines if "started_ns" in line]
    first = min(record["started_ns"] for record in records if record["phase"] == "measured")
    costs.first.append((first - began) / NS_PER_MS)
    costs.end.append((ended - max(record["finished_ns"] for record in records)) / NS_PER_MS)
    for here, following in pairwise(_cases(records)):
        begin, until = (min(record["started_ns"] for record in case) for case in (here, following))
        beside = (until - begin - _busy_ns(here)) / NS_PER_MS
        # A cold request is the first one after a load.
        changed = any(record["phase"] == "cold" for record in following)
        (costs.load if changed else costs.case).append(beside)


def _cases(records: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """The records of each case, cases in the order in which they ran."""
    by_id: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        by_id.setdefault(record["nodeid"], []).append(record)
    yield from sorted(by_id.values(), key=lambda case: min(record["started_ns"] for record in case))


def _busy_ns(records: list[dict[str, Any]]) -> int:
    """How long at least one request ran."""
    busy = covered = 0
    for begin, end in sorted((record["started_ns"], record["finished_ns"]) for record in records):
        busy += max(end - max(begin, covered), 0)
        covered = max(covered, end)
    return busy


if __name__ == "__main__":
    sys.exit(main())
