"""Records pairs of requests on the real Foundry Local runtime, to judge methods of comparison on them afterwards.

    python benchmarks/gates/record.py aa --runs 30 --out aa-idle.jsonl
    python benchmarks/gates/record.py slower --share 0.10 --tries 60 --pairs 20 --out 10-idle.jsonl
    python benchmarks/gates/record.py slower --share 0.10 --tries 60 --pairs 60 --busy --out 10-busy.jsonl

``aa`` measures the same model on both sides, all eighteen cases of ``cases.yaml``, again and again.  ``slower`` lets
the candidate's answers take longer by a known share (``slow_path.py``); both sides go through such a path.  With
``--busy`` another process takes a core now and then (``busy.py``).  ``evidence.py`` makes tables of it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_flperf.backends.registry import installed, registry
from pytest_flperf.backends.resolver import Defaults, Placing
from pytest_flperf.backends.router import SeveralBackends
from pytest_flperf.measurement.paired import Until
from pytest_flperf.measurement.runner import Bench
from pytest_flperf.measurement.standings import Standings
from pytest_flperf.suite.loader import load_suite
from pytest_flperf.suite.matrix import expand
from pytest_flperf.suite.model import Case
from pytest_flperf.suite.targets import TargetSpec

__all__ = ["main"]

HERE = Path(__file__).resolve().parent
METRICS = ("ttft_ms", "tpot_ms", "e2e_ms")
SLOWED_MODEL = "flperf-micro"
SLOWED = "slowed-"
"""Begins the names of what is slowed down, with the metric: about 30 ms to the first token, or 40 for 64 tokens and 110
for 192, so that a share of that is much more than the clock's noise."""


@contextlib.contextmanager
def beside(script: str, *arguments: str) -> Iterator[str]:
    """A script of this folder in a process of its own, and the first line that it says."""
    process = subprocess.Popen(
        [sys.executable, str(HERE / script), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline() if arguments else ""
    finally:
        process.kill()
        process.wait()


def cases() -> tuple[Case, ...]:
    """All cases."""
    return expand(load_suite(HERE / "cases.yaml", "cases.yaml"), ())


class Rig:
    """A bench on the Foundry Local runtime, and one on paths to it."""

    def __init__(self) -> None:
        self.placing = Placing(Defaults(), registry(installed()))
        self.backends = SeveralBackends(keep_loaded=True)
        self.bench = Bench(self.backends)

    def place(self, target: TargetSpec) -> None:
        """Say where a model lives."""
        self.backends.add(target.label, self.placing.place(target))

    def pairs(self, case: Case, other: Case, count: int) -> dict[str, Any]:
        """Measure so many pairs."""
        seen: list[Standings] = []
        prepared = self.bench.ready(case, beside=other)
        begun = time.monotonic()
        run = self.bench.play(prepared, until=Until((count,), lambda standings: bool(seen.append(standings))))
        assert run.other is not None
        standings = run.other.standings
        return {
            "case": f"{case.scenario.name} {case.model}",
            "took_s": round(time.monotonic() - begun, 2),
            "trouble": run.trouble,
            "first": [int(each.candidate_first) for each in standings.turns],
            **{
                metric: [[_rounded(pair.candidate), _rounded(pair.baseline)] for pair in standings.pairs(metric)]
                for metric in METRICS
            },
        }


def _rounded(values: tuple[float, ...]) -> float | None:
    return round(values[0], 5) if values else None


def record_aa(runs: int, pairs: int) -> Iterator[dict[str, Any]]:
    """Whole runs of all cases, the same model on both sides."""
    rig, all_cases = Rig(), tuple(each for each in cases() if not each.scenario.name.startswith(SLOWED))
    for case in all_cases:
        assert case.target is not None
        rig.place(case.target)
    with rig.bench:
        for run in range(runs):
            for case in all_cases:
                yield {"kind": "aa", "run": run, **rig.pairs(case, case, pairs)}


def record_slower(share: float, tries: int, pairs: int, only: str) -> Iterator[dict[str, Any]]:
    """Pairs in which the candidate takes longer by a share."""
    model = SLOWED_MODEL
    rig = Rig()
    rig.place(TargetSpec(model))
    with rig.bench:
        served = rig.backends.ensure(model, lambda _what, _percent: None)
        with beside("slow_path.py", f"{served.endpoint.host}:{served.endpoint.port}", str(share), "0") as said:
            targets = [
                TargetSpec(served.model_id, "openai", name, f"http://127.0.0.1:{port}/v1")
                for name, port in zip(("slower", "as it is"), said.split(), strict=True)
            ]
            for target in targets:
                rig.place(target)
            slowed = [each for each in cases() if each.model == model and each.scenario.name.startswith(only)]
            for number in range(tries):
                for case in slowed:
                    sides = [replace(case, model=target.label, target=target) for target in targets]
                    yield {"kind": "slower", "share": share, "run": number, **rig.pairs(sides[0], sides[1], pairs)}


def main() -> None:
    """Record what is asked for, a line per case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["aa", "slower"])
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--tries", type=int, default=60)
    parser.add_argument("--pairs", type=int, default=60)
    parser.add_argument("--share", type=float, default=0.10)
    parser.add_argument("--only", default=SLOWED, help="begin of the names of the scenarios to slow down")
    parser.add_argument("--busy", action="store_true")
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    lines = (
        record_aa(asked.runs, asked.pairs)
        if asked.kind == "aa"
        else record_slower(asked.share, asked.tries, asked.pairs, asked.only)
    )
    with asked.out.open("a", encoding="utf-8") as out, contextlib.ExitStack() as stack:
        if asked.busy:
            stack.enter_context(beside("busy.py"))
        for line in lines:
            print(json.dumps({"busy": asked.busy, **line}), file=out, flush=True)


if __name__ == "__main__":
    main()
