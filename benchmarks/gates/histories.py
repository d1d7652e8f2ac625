"""What a gate says over many runs, on simulated histories: ``python benchmarks/gates/histories.py``.

Each run is gated by ``ttft_ms.p50 > +10%`` against ``last``, or against a run that was pinned, and becomes part of the
history that the next runs are judged by.  What selects a baseline, judges and gives a case its standing are the
functions of the package; only measuring and storing are simulated.  The tables are Markdown; ``--check`` exits with 1
where a limit is missed; ``--histories 50`` takes a minute.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
from pytest_flperf.gates.baseline_gate import BaselineGate
from pytest_flperf.gates.budgets import parse_budgets
from pytest_flperf.gates.counterparts import Query
from pytest_flperf.gates.rules import parse_rules
from pytest_flperf.gates.verdict import judge
from pytest_flperf.history.baseline import FoundBaseline
from pytest_flperf.history.selection import Measurement
from pytest_flperf.history.standing import compared_with, standing_of
from pytest_flperf.results.comparison import Word
from pytest_flperf.results.measured import Distribution, Requests
from pytest_flperf.results.records import CaseResult, Run
from pytest_flperf.stats.inference.findings import ErrorRates
from pytest_flperf.stats.inference.proportions import Counts, clopper_pearson

__all__ = ["BETWEEN_RUNS", "History", "Said", "gated", "main"]

HISTORIES: Final = 1_000
RUNS: Final = 200
BETWEEN_RUNS: Final = 0.02
"""Standard deviation of the logarithm of each run's own level."""
QUIET: Final = 0.005
"""… on a machine that hardly varies."""
WITHIN_RUN: Final = 0.01
"""Standard error of its median, from its requests: about what 20 of ±3.5 % have."""
REQUESTS: Final = 20
STEP: Final = 0.60
CREEP: Final = 0.01
CHANGED_AT: Final = (6, 100)
PINNED_AT: Final = 40
SEED: Final = 20261129
RULES: Final = parse_rules(["ttft_ms.p50 > +10%"], "--flperf-fail-on")
BUDGETS: Final = parse_budgets(["error_rate <= 0"], "default")
RATES: Final = ErrorRates(comparisons=2)
"""The rule, and the one that stands beside it for failed requests."""
_BEGIN: Final = datetime(2026, 1, 1, tzinfo=UTC)
_LATEST: Final = "2999"
_NORMAL_95: Final = 1.96

Said = tuple[Word, str]
"""The word of a run's rule, and the standing of its case."""


@dataclass(slots=True)
class History:
    """The runs of one case so far."""

    cases: list[CaseResult] = field(default_factory=list)
    rows: list[Measurement] = field(default_factory=list)
    shown: str = "a simulated history"

    def measurements(self, case: CaseResult, machine: str | None, conditions: str | None) -> Iterator[Measurement]:
        """See ``CaseHistory``."""
        del case, machine, conditions
        return reversed(self.rows)

    def numbers(self, measurements: Sequence[Measurement], metric: str, statistic: str | None) -> list[float | None]:
        """See ``CaseHistory``."""
        assert statistic is not None
        return [self.cases[each.key[1]].metrics[metric].statistic(statistic) for each in measurements]

    def run(self, run_id: str) -> FoundBaseline:
        """See ``CaseHistory``."""
        number = int(run_id)
        return FoundBaseline(_run(number, self.cases[number]), "last", run_id)

    def add(self, case: CaseResult) -> None:
        """Take a run in, as storing does."""
        number = len(self.cases)
        self.cases.append(case)
        baseline, improved = compared_with(case)
        self.rows.append(
            Measurement(
                str(number),
                "",
                _time(number),
                standing_of(case),
                compared_with=baseline,
                improved=improved,
                key=(0, number),
            )
        )

    def accept(self, number: int) -> None:
        """Accept a run, as ``flperf baseline accept`` does."""
        self.rows[number] = replace(self.rows[number], accepted=True)


def gated(
    history: History,
    level: float,
    chance: np.random.Generator,
    pinned: int | None = None,
    between: float = BETWEEN_RUNS,
) -> Said:
    """Measure one more run, gate it, and store it.

    Args:
        history: The runs before.
        level: Logarithm of what the median truly is.
        chance: Of the noise.
        pinned: The run that it is compared with; None: ``last``.
        between: How much runs differ.

    """
    case = _measured(level + chance.normal(0, between), chance)
    found = None if pinned is None else history.run(str(pinned))
    gate = BaselineGate("last" if found is None else "pinned", found, history, Query(_LATEST))
    this = _run(len(history.cases), case)
    other = gate.counterpart(case, this)
    case = replace(case, against=(gate.against(case, this, other, {}, RULES, RATES),))
    case = judge(case, BUDGETS)
    history.add(case)
    return case.against[0].comparisons[0].verdict, history.rows[-1].standing


def _measured(level: float, chance: np.random.Generator) -> CaseResult:
    """A case whose median has noise of its own within the run."""
    p50 = 100 * float(np.exp(level + chance.normal(0, WITHIN_RUN)))
    reach = _NORMAL_95 * WITHIN_RUN * p50
    ttft = Distribution(REQUESTS, p50, 3.5, p50, p50, p50, p50, p50, p50, p50, p50_ci95=(p50 - reach, p50 + reach))
    return CaseResult(
        "simulated", "simulated", "simulated", "m", requests=Requests(total=REQUESTS, ok=REQUESTS), error_rate=0.0,
        metrics={"ttft_ms": ttft},
    )  # fmt: skip


def _run(number: int, case: CaseResult) -> Run:
    return Run(str(number), _time(number), cases=(case,))


def _time(number: int) -> str:
    return (_BEGIN + timedelta(hours=number)).isoformat(timespec="milliseconds")


def _chance(scenario: int, number: int) -> np.random.Generator:
    return np.random.default_rng((SEED, scenario, number))


# ---- scenarios


def no_change(histories: int) -> bool:
    """How many runs are red although nothing changed."""
    words: Counter[str] = Counter()
    for number in range(histories):
        history, chance = History(), _chance(0, number)
        words.update(gated(history, 0.0, chance)[0] for _ in range(RUNS))
    total = histories * RUNS
    print("\n### Nothing changes\n\n| runs | regressed | unchanged | improved | undecided |\n|--:|--:|--:|--:|--:|")
    print(f"| {total:,} | {_share(words['regressed'], total)} |", end="")
    print("".join(f" {100 * words[word] / total:.1f} % |" for word in ("unchanged", "improved", "undecided")))
    return _upper(words["regressed"], total) <= 0.01


def a_step(histories: int) -> bool:
    """What the runs after a step say: none may pass for unchanged, until the change is accepted or mended.

    Nor may those after the same step once an accepted one was mended.
    """
    print(f"\n### A step of {STEP:+.0%}\n")
    print(
        "| after | runs after it | regressed | undecided | unchanged or improved | accepted, red | mended, red |",
        end="",
    )
    print(" accepted, mended, slow again: regressed | undecided | unchanged or improved |")
    print(f"|{'--:|' * 10}")
    kept, each = True, max(histories // len(CHANGED_AT), 1)
    for begins in CHANGED_AT:
        words: Counter[str] = Counter()
        accepted: Counter[str] = Counter()
        mended: Counter[str] = Counter()
        again: Counter[str] = Counter()
        for number in range(each):
            history, chance = History(), _chance(begins, number)
            for _ in range(begins):
                gated(history, 0.0, chance)
            slow = float(np.log1p(STEP))
            words.update(gated(history, slow, chance)[0] for _ in range(RUNS - begins - 10))
            twin = History(list(history.cases), list(history.rows))
            mended.update(gated(twin, 0.0, chance)[0] for _ in range(10))
            history.accept(len(history.rows) - 1)
            accepted.update(gated(history, slow, chance)[0] for _ in range(10))
            for _ in range(1 + number % 10):
                gated(history, 0.0, chance)
            again.update(gated(history, slow, chance)[0] for _ in range(10))
        later = (_share(found["regressed"], found.total()) for found in (accepted, mended))
        cells = (f"{begins} runs", f"{words.total():,}", *_caught(words), *later, *_caught(again))
        print(f"| {' | '.join(cells)} |", flush=True)
        kept &= not any(found["unchanged"] + found["improved"] for found in (words, again))
    return kept


def a_creep(histories: int) -> bool:
    """At which size a creep is seen: by ``last``, which need not see it, and by a run that was pinned."""
    print(f"\n### A creep of {CREEP:.0%} a run\n")
    print("| against | runs differ by | red within so many runs | first red at, in half | in 95 of 100 |")
    print("|---|--:|--:|--:|--:|")
    seen = False
    for scenario, (name, between, pinned, count) in enumerate(
        (
            ("`last`", BETWEEN_RUNS, None, histories),
            ("`last`", QUIET, None, max(histories // 4, 1)),
            ("a pinned run", BETWEEN_RUNS, PINNED_AT - 1, histories),
        )
    ):
        found = [_first_red(_chance(1 + scenario, number), between, pinned) for number in range(count)]
        sizes = [size for size in found if size is not None]
        half, most = (f"+{100 * float(np.quantile(sizes, part)):.0f} %" if sizes else "" for part in (0.5, 0.95))
        within = RUNS - PINNED_AT
        print(f"| {name} | {100 * between:.1f} % | {len(sizes)} of {count} in {within} | {half} | {most} |", flush=True)
        seen = len(sizes) == count
    return seen


def _first_red(chance: np.random.Generator, between: float, pinned: int | None) -> float | None:
    """By how much the level had grown when a run was first red; None: it never was."""
    history = History()
    for _ in range(PINNED_AT):
        gated(history, 0.0, chance, None, between)
    for at in range(1, RUNS - PINNED_AT + 1):
        if gated(history, CREEP * at, chance, pinned, between)[0] == "regressed":
            return float(np.expm1(CREEP * at))
    return None


def _caught(words: Counter[str]) -> tuple[str, str, str]:
    """The share that regressed, the share undecided, and how many passed."""
    regressed, undecided = (f"{100 * words[word] / words.total():.2f} %" for word in ("regressed", "undecided"))
    return regressed, undecided, str(words["unchanged"] + words["improved"])


def _upper(count: int, total: int) -> float:
    return clopper_pearson(Counts(count, total), 0.025)[1]


def _share(count: int, total: int) -> str:
    low, high = clopper_pearson(Counts(count, total), 0.025)
    return f"{100 * count / total:.2f} % ({100 * low:.2f}–{100 * high:.2f})"


SCENARIOS: Final[dict[str, Callable[[int], bool]]] = {"none": no_change, "step": a_step, "creep": a_creep}


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate; 1 where a limit is missed and ``--check`` asks."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--histories", type=int, default=HISTORIES)
    parser.add_argument("--scenario", choices=[*SCENARIOS, "all"], default="all")
    parser.add_argument("--check", action="store_true")
    asked = parser.parse_args(arguments)
    begun, kept = time.monotonic(), True
    for name, scenario in SCENARIOS.items():
        if asked.scenario in (name, "all"):
            kept &= scenario(asked.histories)
    print(f"\n{asked.histories:,} histories of {RUNS} runs, {time.monotonic() - begun:.0f} s")
    return int(asked.check and not kept)


if __name__ == "__main__":
    sys.exit(main())
