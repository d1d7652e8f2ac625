"""How often quality gates are wrong on known truth: ``python benchmarks/quality/run.py``.

Known answers go through the decisions that a run takes, thousands of times; ``--whole N`` adds N runs of pytest of each
kind against the reference server.  ``README.md`` says what each table shows.  ``--check`` exits with 1 where a rate is
out of its bound.  The same seed and the same number of runs give the same figures on any machine.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from scipy.special import gammaln, xlog1py, xlogy

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.quality.decisions import RULE, in_turns, is_met, judge_is_met, stored
from benchmarks.quality.worlds import AT_LIMIT, FOUND, NOTHING_LOST, SORTED, Floats, World
from pytest_flperf.gates.feasibility import Size
from pytest_flperf.gates.quality_power import power_of
from pytest_flperf.gates.rules import parse_rule
from pytest_flperf.results.comparison import Comparison
from pytest_flperf.stats.descriptive.score_intervals import mean_interval, mean_lower_bound
from pytest_flperf.stats.inference.agreement import LabelCounts
from pytest_flperf.stats.inference.findings import ErrorRates
from pytest_flperf.stats.inference.proportions import Counts, clopper_pearson

__all__ = ["SECTIONS", "Asked", "Rate", "main"]

SEED: Final = 20261130
FALSE_ALARM: Final = ErrorRates().false_alarm
FALSE_PASS: Final = ErrorRates().false_pass
TURNED_FOUND: Final = 0.95
POINTS: Final = 0.02
TRUE_QUALITY: Final = 0.9
BUDGET: Final = "quality.lower95 >= 90%"
LEAST_LABELS: Final = 10
"""Of either kind; with fewer ``--fail-under`` is refused, so such labels are drawn again."""


@dataclass(frozen=True, slots=True)
class Asked:
    """How much to simulate."""

    runs: int
    tries: int
    named: str = ""
    """Only truths and scores whose name, with the number of prompts behind it, holds this."""

    def has(self, name: str, prompts: int) -> bool:
        """Whether it is asked for."""
        return self.named in f"{name}, {prompts}"


@dataclass(frozen=True, slots=True)
class Rate:
    """Rate that was found, and its bound."""

    where: str
    what: str
    found: Counts
    least: float = 0.0
    most: float = 1.0
    exactly: float | None = None
    """Rate where it was added up, not simulated."""

    @property
    def is_kept(self) -> bool:
        """Whether its exact 95 % interval does not lie beyond a bound."""
        if self.exactly is not None:
            return self.least <= self.exactly <= self.most + 1e-9
        low, high = clopper_pearson(self.found)
        return low <= self.most and high >= self.least

    def __str__(self) -> str:
        if self.exactly is not None:
            return f"{100 * self.exactly:.2f}"
        low, high = (100 * each for each in clopper_pearson(self.found))
        return f"{100 * (self.found.rate or 0):.2f} ({low:.2f}–{high:.2f})"


Row = tuple[str, ...]
Section = Callable[[Asked], Iterator[tuple[Row, Sequence[Rate]]]]


def power(asked: Asked) -> Iterator[tuple[Row, Sequence[Rate]]]:
    """What is found, and what was said of it before."""
    yield ("truth", "prompts", "said before measuring", "`regressed` in % of runs"), ()
    for number, world in enumerate(FOUND):
        if not asked.has(world.name, world.prompts):
            continue
        verdicts = [each.verdict for each in _words(world, asked.runs, number)]
        counts = Counts(verdicts.count("regressed"), len(verdicts))
        said = _said(world)
        if said is None:
            rate = Rate(world.name, "found", counts, least=TURNED_FOUND)
        else:
            rate = Rate(world.name, "found, as was said", counts, least=said, most=said)
        yield (world.name, str(world.prompts), "" if said is None else f"{100 * said:.1f} %", str(rate)), [rate]


def _said(world: World) -> float | None:
    """As a run says it before measuring so many prompts in turns."""
    if world.rights is None:
        return None
    power = power_of(parse_rule(RULE), Size(True, world.prompts, world.prompts, world.cases))
    assert power is not None
    return power.of(*world.rights)


def _words(world: World, runs: int, number: int) -> Iterator[Comparison]:
    chance = np.random.default_rng([SEED, number, world.prompts])
    for _ in range(runs):
        yield from in_turns(world, chance)


def no_loss(asked: Asked) -> Iterator[tuple[Row, Sequence[Rate]]]:
    """Runs in turns in which nothing was lost."""
    return _alarms(asked, (*NOTHING_LOST, SORTED), 0.0, 100)


def at_limit(asked: Asked) -> Iterator[tuple[Row, Sequence[Rate]]]:
    """Runs in turns in which just what is allowed was lost."""
    return _alarms(asked, AT_LIMIT, POINTS, 150)


def _alarms(asked: Asked, worlds: Sequence[World], loss: float, first: int) -> Iterator[tuple[Row, Sequence[Rate]]]:
    yield ("truth", "prompts", "pairs", "runs with `regressed`", "comparisons `unchanged` or `improved`",
           "interval holds the truth"), ()  # fmt: skip
    for number, world in enumerate(worlds, first):
        if not asked.has(world.name, world.prompts):
            continue
        compared = list(_words(world, asked.runs, number))
        whole = [compared[at : at + world.cases] for at in range(0, len(compared), world.cases)]
        red = Counts(sum(any(each.verdict == "regressed" for each in run) for run in whole), len(whole))
        alarm = Rate(world.name, "false alarms", red, most=FALSE_ALARM)
        passed = Counts(sum(each.verdict in ("unchanged", "improved") for each in compared), len(compared))
        passing = Rate(world.name, "false passes" if loss else "passes", passed, most=FALSE_PASS if loss else 1.0)
        told = [each.change_ci95_pct for each in compared if each.change_ci95_pct is not None]
        held = Counts(sum(low <= -100 * loss <= high for low, high in told), len(told))
        holds = Rate(world.name, "interval of the change", held, least=0.95)
        pairs = world.prompts * world.repeats
        yield (
            (world.name, str(world.prompts), str(pairs), str(alarm), str(passing), str(holds)),
            (alarm, passing, holds),
        )


def stored_runs(asked: Asked) -> Iterator[tuple[Row, Sequence[Rate]]]:
    """Runs against a stored one, of the same prompts and of others."""
    yield ("truth", "prompts", "compared", "runs with `regressed`", "comparisons `unchanged` or `improved`"), ()
    worlds = [(each, 0.0) for each in NOTHING_LOST if not each.greedy]
    worlds += [(each, POINTS) for each in AT_LIMIT if not each.greedy]
    for number, (world, loss) in enumerate(worlds, 200):
        if not asked.has(world.name, world.prompts):
            continue
        for same in (True, False) if world.repeats == 1 else (True,):
            chance = np.random.default_rng([SEED, number, int(same)])
            whole = [stored(world, chance, same_prompts=same) for _ in range(asked.runs)]
            red = Counts(sum(any(each.verdict == "regressed" for each in run) for run in whole), len(whole))
            compared = [each for run in whole for each in run]
            passed = Counts(sum(each.verdict in ("unchanged", "improved") for each in compared), len(compared))
            alarm = Rate(world.name, "false alarms, stored run", red, most=FALSE_ALARM)
            passing = Rate(world.name, "passes, stored run", passed, most=FALSE_PASS if loss else 1.0)
            name = f"{world.name}{', at the limit' * bool(loss)}"
            how = "prompt by prompt" if same else "as two samples"
            yield (name, str(world.prompts), how, str(alarm), str(passing)), (alarm, passing)


Kind = Callable[[np.random.Generator, int], Floats]
KINDS: Final[dict[str, Kind]] = {
    "4 checks, 90 % passed": lambda chance, n: chance.binomial(4, 0.9, n) / 4,
    "asked 3 times, easy and hard prompts": lambda chance, n: (
        chance.binomial(3, np.where(chance.random(n) < 0.5, 1.0, 0.8), n) / 3
    ),
    "1, or half of it": lambda chance, n: np.where(chance.random(n) < 0.8, 1.0, 0.5),
    "any score, 0.9 on average": lambda chance, n: chance.beta(4.5, 0.5, n),
}
"""Scores between 0 and 1, one of each prompt; 0.9 on average."""


def budgets(asked: Asked) -> Iterator[tuple[Row, Sequence[Rate]]]:
    """How often a budget is met by luck, where the truth is just its limit."""
    yield ("scores", "prompts", f"`{BUDGET}` met in %"), ()
    for prompts in (20, 29, 50, 100, 200, 500) if asked.has("right or wrong", 0) else ():
        met = np.array([is_met(_zeros_and_ones(right, prompts), BUDGET, prompts) for right in range(prompts + 1)])
        exact = float(_binomial(prompts, TRUE_QUALITY)[met].sum())
        rate = Rate("right or wrong", "met by luck", Counts(0, 1), most=FALSE_PASS, exactly=exact)
        yield ("right or wrong, 90 % right", str(prompts), str(rate)), [rate]
    for number, (name, draw) in enumerate(KINDS.items(), 300):
        for prompts in (20, 50):
            if not asked.has(name, prompts):
                continue
            chance = np.random.default_rng([SEED, number, prompts])
            met_by_luck = sum(is_met(draw(chance, prompts), BUDGET, prompts) for _ in range(asked.tries))
            rate = Rate(name, "met by luck", Counts(met_by_luck, asked.tries), most=FALSE_PASS)
            yield (name, str(prompts), str(rate)), [rate]


def coverage(asked: Asked) -> Iterator[tuple[Row, Sequence[Rate]]]:
    """How often the intervals of a mean score hold the truth."""
    yield ("scores", "prompts", "95 % interval holds the truth", "`lower95` is below it"), ()
    for right in (0.5, 0.9, 0.98) if asked.has("right or wrong", 0) else ():
        for prompts in (10, 30, 100, 500):
            chances, held, below = _binomial(prompts, right), [], []
            for count in range(prompts + 1):
                scores = _zeros_and_ones(count, prompts).tolist()
                low, high = mean_interval(scores)
                held.append(low <= right <= high)
                below.append(mean_lower_bound(scores) <= right)
            name = f"right or wrong, {100 * right:.0f} % right"
            rates = [Rate(name, what, Counts(0, 1), least=0.95, exactly=float(chances[np.array(which)].sum()))
                     for what, which in (("interval", held), ("lower95", below))]  # fmt: skip
            yield (name, str(prompts), *map(str, rates)), rates
    for number, (name, draw) in enumerate(KINDS.items(), 400):
        for prompts, tries in ((10, asked.tries), (30, asked.tries), (100, max(asked.tries // 4, 1))):
            if not asked.has(name, prompts):
                continue
            chance, held_in, below_in = np.random.default_rng([SEED, number, prompts]), 0, 0
            for _ in range(tries):
                scores = draw(chance, prompts).tolist()
                low, high = mean_interval(scores)
                held_in += low <= TRUE_QUALITY <= high
                below_in += mean_lower_bound(scores) <= TRUE_QUALITY
            rates = [Rate(name, what, Counts(count, tries), least=0.95)
                     for what, count in (("interval", held_in), ("lower95", below_in))]  # fmt: skip
            yield (name, str(prompts), *map(str, rates)), rates


def judges(asked: Asked) -> Iterator[tuple[Row, Sequence[Rate]]]:
    """How often ``flperf judge --fail-under`` is met by luck, where the truth is just its limit."""
    yield ("true rate = limit", "judge passes good, fails bad", "prompts", "labels", "met in %"), ()
    number = 500
    for theta in (0.5, 0.8, 0.9):
        for q1, q0 in ((0.95, 0.95), (0.9, 0.7), (0.99, 0.6)):
            for prompts, labels in ((100, 60), (300, 150)):
                number += 1
                chance, tries = np.random.default_rng([SEED, number]), 4 * asked.tries
                met = sum(_judged_by_luck(chance, theta, (q1, q0), prompts, labels) for _ in range(tries))
                counts = Counts(met, tries)
                rate = Rate(f"judge {q1}, {q0}, {theta}, {labels} labels", "met by luck", counts, most=FALSE_PASS)
                yield (f"{100 * theta:.0f} %", f"{100 * q1:.0f} %, {100 * q0:.0f} %", str(prompts), str(labels),
                       str(rate)), [rate]  # fmt: skip


def _judged_by_luck(
    chance: np.random.Generator, theta: float, judge: tuple[float, float], prompts: int, labels: int
) -> bool:
    good = 0
    while min(good, labels - good) < LEAST_LABELS:
        good = int(chance.binomial(labels, theta))
    agreed, refused = int(chance.binomial(good, judge[0])), int(chance.binomial(labels - good, judge[1]))
    true = int(chance.binomial(prompts, theta))
    passed = int(chance.binomial(true, judge[0])) + int(chance.binomial(prompts - true, 1 - judge[1]))
    return judge_is_met(passed / prompts, prompts, LabelCounts(good, agreed, labels - good, refused), theta)


def _zeros_and_ones(right: int, prompts: int) -> Floats:
    return np.concatenate([np.ones(right), np.zeros(prompts - right)])


def _binomial(n: int, p: float) -> Floats:
    k = np.arange(n + 1)
    return np.asarray(np.exp(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1) + xlogy(k, p) + xlog1py(n - k, -p)))


SECTIONS: Final[dict[str, tuple[str, Section]]] = {
    "power": ("What is found", power),
    "no-loss": ("In turns, nothing lost", no_loss),
    "limit": ("In turns, two points lost, as is allowed", at_limit),
    "stored": ("Against a stored run", stored_runs),
    "budgets": ("Budgets met by luck", budgets),
    "coverage": ("Intervals of a mean score", coverage),
    "judges": ("A judge's corrected rate, met by luck", judges),
}


def table(title: str, rows: Iterator[tuple[Row, Sequence[Rate]]]) -> list[Rate]:
    """Print a section as Markdown; its rates."""
    print(f"\n### {title}\n")
    found: list[Rate] = []
    for number, (row, rates) in enumerate(rows):
        print(f"| {' | '.join(row)} |", flush=True)
        if not number:
            print(f"|{'---|' * len(row)}")
        found += rates
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate and print; 1 where a rate is out of its bound and ``--check`` asks."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=1_000, help="simulated runs of each truth")
    parser.add_argument("--tries", type=int, default=2_000, help="tries of each interval and budget")
    parser.add_argument("--whole", type=int, default=0, metavar="N", help="runs of pytest of each kind as well")
    parser.add_argument("--only", choices=[*SECTIONS, "whole"], help="one table")
    parser.add_argument("--named", default="", metavar="TEXT", help="truths whose name holds this (NAME, PROMPTS)")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a rate is out of its bound")
    options = parser.parse_args(arguments)
    asked, rates = Asked(options.runs, options.tries, options.named), []
    begun = time.monotonic()
    for name, (title, section) in SECTIONS.items():
        if options.only in (None, name):
            rates += table(title, section(asked))
    if options.whole and options.only in (None, "whole"):
        from benchmarks.quality.whole import whole_runs

        rates += table("Whole runs of pytest", whole_runs(options.whole, options.named))
    print(f"\nSeed {SEED}, {asked.runs:,} runs, {asked.tries:,} tries, {time.monotonic() - begun:.0f} s")
    missed = [each for each in rates if not each.is_kept]
    for each in missed:
        print(f"OUT OF BOUND: {each.where}: {each.what} {each} %, "
              f"bound {100 * each.least:.4g} to {100 * each.most:.4g} %", file=sys.stderr)  # fmt: skip
    return int(bool(missed) and options.check)


if __name__ == "__main__":
    sys.exit(main())
