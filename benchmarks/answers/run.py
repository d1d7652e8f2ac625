"""How often a run names a winner that is none: ``python benchmarks/answers/run.py [--runs N] [--busy] [--order HOW]``.

One embedded model of the real Foundry Local runtime under two names, in a suite of eight short scenarios.  Prints how
many runs named a winner for any goal, with the exact 95 % interval.  ``--check`` fails where more than 5 in 100 did.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from pytest_flperf.stats.inference.proportions import Counts, clopper_pearson

__all__ = ["main"]

_BUSY = Path(__file__).parents[1] / "gates" / "busy.py"
_MODEL = "flperf-nano"
_TOKENS = (1, 4, 8, 16, 24, 32, 48, 64)
_MOST_SHARE = 0.05


def main() -> int:
    """Run, print and perhaps check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--busy", action="store_true", help="another process takes a core now and then")
    parser.add_argument("--order", default="scenario", choices=("scenario", "model"))
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    winners: Counter[str] = Counter()
    named = 0
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, _neighbour() if options.busy else contextlib.nullcontext():
        _write_suite(Path(folder))
        for _ in range(options.runs):
            goals = _winners(Path(folder), options.order)
            named += bool(goals)
            winners.update(goals)
    low, high = clopper_pearson(Counts(named, options.runs))
    print(f"{platform.platform()}, {os.cpu_count()} cores, {'busy' if options.busy else 'idle'}, {options.order}")
    print(f"{options.runs} runs in {time.monotonic() - begin:.0f} s: a winner in {named} ({low:.2%} to {high:.2%})")
    for goal, count in winners.items():
        print(f"  {goal}: {count}")
    return int(options.check and named > _MOST_SHARE * options.runs)


def _write_suite(folder: Path) -> None:
    scenarios = [
        {"name": f"tokens-{count}", "prompt": "Tell me a story.", "max_tokens": count, "iterations": 11, "warmup": 1}
        for count in _TOKENS
    ]
    (folder / "alike.json").write_text(json.dumps({"name": "alike", "scenarios": scenarios}), encoding="utf-8")


def _winners(folder: Path, order: str) -> dict[str, int]:
    """Goals for which one run named a winner."""
    command = [
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--flperf-suite=alike.json",
        f"--flperf-target=model={_MODEL},name=one", f"--flperf-target=model={_MODEL},name=other",
        f"--flperf-order={order}", "--flperf-store=none",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    results = json.loads((folder / "reports" / "latest" / "results.json").read_text(encoding="utf-8"))
    rankings = results["run"]["answer"]["rankings"]
    if not rankings:
        raise SystemExit("nothing was ranked")
    return {each["goal"]: 1 for each in rankings if each["winner"]}


@contextlib.contextmanager
def _neighbour() -> Iterator[None]:
    with subprocess.Popen([sys.executable, str(_BUSY)], stdin=subprocess.PIPE) as other:
        try:
            yield
        finally:
            other.kill()


if __name__ == "__main__":
    sys.exit(main())
