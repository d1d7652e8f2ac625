"""How often decisions are wrong, on simulated machines: ``python benchmarks/gates/simulate.py``.

For each method and number of pairs (or of requests a side, where runs are compared that follow one another): false
alarms per comparison and per whole run of 18 comparisons, and how often +5 %, +10 % and +20 % are found; each with its
exact 95 % interval, as Markdown tables.  The methods of this package are called as a run calls them, but for this:
where the normal law leaves no doubt the exact law isn't counted.  A comparison of each kind is judged in full, to see
that the words are the same.  ``--check`` exits with 1 where a limit is missed; ``--quick`` takes half a minute.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from scipy.special import ndtr, stdtrit

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.gates.machines import BETWEEN_RUNS, MACHINES, ORDER_EFFECT, series
from pytest_flperf.stats.counts import Counts, clopper_pearson
from pytest_flperf.stats.findings import ErrorRates, Threshold
from pytest_flperf.stats.orders import Bools, Floats
from pytest_flperf.stats.pairs import Pair, judge_pairs
from pytest_flperf.stats.runs import between_runs, judge_runs
from pytest_flperf.stats.schedule import draw_orders, looks, spent_at
from pytest_flperf.stats.signed_ranks import normal_signed_rank, ranks, signed_rank

SIZES: Final = (12, 20, 40, 60)
PAIRS: Final = SIZES[-1]
CASES: Final = 18
EFFECTS: Final = (0.05, 0.10, 0.20)
RATES: Final = ErrorRates(comparisons=CASES)
HISTORY: Final = 20
RUNS: Final = {True: 2_000, False: 30}
"""A/A runs of 18 comparisons, of a cheap method and of one that isn't."""
COMPARISONS: Final = {True: 1_000, False: 100}
"""With each effect."""
QUICKER: Final = 10
DOUBTFUL: Final = 20
"""Times the level: what the normal law puts above isn't significant by the exact one either."""
SEED: Final = 20261121


@dataclass(frozen=True, slots=True)
class Measured:
    """Both sides of many comparisons, a row each, as logarithms: in turn, and one run after the other."""

    machine: str
    candidate: Floats
    baseline: Floats
    candidate_first: Bools
    fixed_order: Floats
    """Candidate − baseline of pairs in which the candidate always comes second."""
    newer: Floats
    older: Floats


@dataclass(frozen=True, slots=True)
class Method:
    """A rule: for each row and size, whether it says regressed by then."""

    name: str
    alarms: Callable[[Measured], Bools]
    is_cheap: bool = True
    is_ours: bool = True


def measured(machine: str, rows: int, effect: float, seed: int) -> Measured:
    """The same machine seen by both kinds of measurement."""
    chance = np.random.default_rng(seed)
    values, second = series(machine, chance, rows, PAIRS)
    orders = np.array([draw_orders(PAIRS, int(chance.integers(2**60))) for _ in range(rows)])
    slots = (values + second * ORDER_EFFECT).reshape(rows, PAIRS, 2)
    shift = np.log1p(effect)
    older, newer = chance.normal(0, BETWEEN_RUNS, (2, rows, 1))
    return Measured(
        machine,
        candidate=np.where(orders, slots[:, :, 0], slots[:, :, 1]) + shift,
        baseline=np.where(orders, slots[:, :, 1], slots[:, :, 0]),
        candidate_first=orders,
        fixed_order=slots[:, :, 1] - slots[:, :, 0] + shift,
        newer=values + newer + shift,
        older=values + older,
    )


def by_pairs(share: float) -> Callable[[Measured], Bools]:
    """Our decision on pairs, looked at up to the last size."""

    def alarms(seen: Measured) -> Bools:
        said = np.zeros((len(seen.candidate), len(SIZES)), dtype=np.bool_)
        y = seen.candidate - seen.baseline - np.log1p(share)
        at = looks(PAIRS)
        for look, pairs in enumerate(at, 1):
            level = RATES.false_alarm / CASES * spent_at(look, len(at))
            roughly = normal_signed_rank(y[:, :pairs], seen.candidate_first[:, :pairs])[0]
            found = roughly <= level
            for row in np.flatnonzero((roughly <= DOUBTFUL * level) & ~found & ~said[:, -1]):
                found[row] = signed_rank(y[row, :pairs], seen.candidate_first[row, :pairs])[0] <= level
            said[:, [size >= pairs for size in SIZES]] |= found[:, None]
        same_words(seen, said[:, -1], share)
        return said

    return alarms


def same_words(seen: Measured, said: Bools, share: float) -> None:
    """Judge a comparison as a run does, look by look, and compare."""
    at = looks(PAIRS)
    for row in range(1):
        pairs = [
            Pair((float(np.exp(c)),), (float(np.exp(b)),), bool(first))
            for c, b, first in zip(seen.candidate[row], seen.baseline[row], seen.candidate_first[row], strict=True)
        ]
        words = [
            judge_pairs(pairs[:n], "p50", Threshold(share), RATES, look=look, looks=len(at)).word
            for look, n in enumerate(at, 1)
        ]
        assert ("regressed" in words) == said[row], (row, words)


def plain_interval(seen: Measured) -> Bools:
    """99 % t interval of the mean logarithm of the ratio, candidate always second: excludes zero."""
    return _by_size(lambda n: _t_alarms(seen.fixed_order[:, :n]))


def two_runs(seen: Measured) -> Bools:
    """Our decision on two runs that followed one another, any change, with earlier runs of that machine."""
    chance = np.random.default_rng(SEED)
    rows = len(seen.newer)
    said = np.zeros((rows, len(SIZES)), dtype=np.bool_)
    for place, n in enumerate(SIZES):
        earlier, _ = series(seen.machine, chance, rows * HISTORY, n // 2)
        medians = np.median(earlier, axis=1).reshape(rows, HISTORY) + chance.normal(0, BETWEEN_RUNS, (rows, HISTORY))
        for row in range(rows):
            finding = judge_runs(
                np.exp(seen.older[row, :n]).tolist(),
                np.exp(seen.newer[row, n : 2 * n]).tolist(),
                "p50",
                Threshold(0.0),
                RATES,
                between_runs=between_runs(medians[row].tolist()),
                requests_needed=11,
            )
            said[row, place] = finding.word == "regressed"
    return said


def ratio_of_means(seen: Measured) -> Bools:
    """Usual: the newer run's mean is more than 10 % over the older one's."""

    def alarms(n: int) -> Bools:
        return np.exp(seen.newer[:, n : 2 * n]).mean(axis=1) > 1.1 * np.exp(seen.older[:, :n]).mean(axis=1)

    return _by_size(alarms)


def mann_whitney(seen: Measured) -> Bools:
    """Usual: the two-sided Mann-Whitney test at 5 % finds the newer run slower."""

    def alarms(n: int) -> Bools:
        both = np.concatenate([seen.newer[:, n : 2 * n], seen.older[:, :n]], axis=1)
        z = (ranks(both)[:, :n].sum(axis=1) - n * (2 * n + 1) / 2 - 0.5) / np.sqrt(n * n * (2 * n + 1) / 12)
        return np.asarray(2 * (1 - ndtr(z)) < 0.05)

    return _by_size(alarms)


def _by_size(alarms: Callable[[int], Bools]) -> Bools:
    return np.stack([alarms(n) for n in SIZES], axis=1)


def _t_alarms(y: Floats) -> Bools:
    n = y.shape[1]
    return np.asarray(y.mean(axis=1) > stdtrit(n - 1, 0.995) * y.std(axis=1, ddof=1) / np.sqrt(n))


METHODS: Final = (
    Method("Pairs in random order, any change", by_pairs(0.0)),
    Method("Pairs in random order, more than +2 %", by_pairs(0.02)),
    Method("Two runs, any change, 20 earlier runs known", two_runs, is_cheap=False),
    Method("Usual: mean of the newer run over +10 %", ratio_of_means, is_ours=False),
    Method("Usual: Mann-Whitney test of two runs, 5 %", mann_whitney, is_ours=False),
    Method("Usual: 99 % t interval of pairs in fixed order", plain_interval, is_ours=False),
)


@dataclass(frozen=True, slots=True)
class Rates:
    """What came out for one method, machine and size."""

    per_comparison: Counts
    per_run: Counts
    found: tuple[Counts, ...]
    """For each effect."""


def rates_of(method: Method, machine: str, part: float) -> list[Rates]:
    """For each size."""
    runs = max(round(RUNS[method.is_cheap] * part), 3)
    seed = SEED + 100 * list(MACHINES).index(machine)
    alone = method.alarms(measured(machine, runs * CASES, 0.0, seed))
    several = max(round(COMPARISONS[method.is_cheap] * part), 10)
    found = [method.alarms(measured(machine, several, effect, seed + 1 + i)) for i, effect in enumerate(EFFECTS)]
    return [
        Rates(
            Counts(int(alone[:, at].sum()), len(alone)),
            Counts(int(alone[:, at].reshape(runs, CASES).any(axis=1).sum()), runs),
            tuple(Counts(int(each[:, at].sum()), several) for each in found),
        )
        for at in range(len(SIZES))
    ]


def table(method: Method, rates: dict[str, list[Rates]]) -> str:
    """One method's, in Markdown: percentages with their 95 % intervals."""
    effects = " | ".join(f"+{effect:.0%}".replace("%", " %") + " found" for effect in EFFECTS)
    lines = [
        f"### {method.name}",
        "",
        f"| machine | {'pairs' if 'airs' in method.name else 'requests a side'} | false alarms, comparisons "
        f"| false alarms, runs of {CASES} | {effects} |",
        "|---|--:|--:|--:|" + "--:|" * len(EFFECTS),
    ]
    for machine, of_sizes in rates.items():
        for size, each in zip(SIZES, of_sizes, strict=True):
            cells = (_percent(counts) for counts in (each.per_comparison, each.per_run, *each.found))
            lines.append(f"| {machine} | {size} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _percent(counts: Counts) -> str:
    low, high = clopper_pearson(counts)
    digits = 2 if high < 0.02 else 0
    rate, low, high = (f"{100 * (share or 0):.{digits}f}" for share in (counts.rate, low, high))
    return f"{rate} ({low}–{high})"


def missed(rates: dict[str, dict[str, list[Rates]]]) -> list[str]:
    """Limits that were missed."""
    found = []
    for method in METHODS:
        if not method.is_ours:
            continue
        for machine, of_sizes in rates[method.name].items():
            runs = of_sizes[-1].per_run
            if clopper_pearson(runs)[0] > RATES.false_alarm:
                found.append(f"{method.name}, {machine}: {runs.failed} of {runs.total} runs had a false alarm")
    any_change, more = (rates[METHODS[at].name]["quiet"] for at in (0, 1))
    for counts, what in ((more[1].found[1], "+10 % within 20 pairs"), (any_change[3].found[0], "+5 % within 60 pairs")):
        if clopper_pearson(counts)[1] < 0.95:
            found.append(f"{what} found in {counts.failed} of {counts.total} on a quiet machine")
    return found


def main() -> int:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="exit with 1 where a limit is missed")
    parser.add_argument("--quick", action="store_true", help=f"1/{QUICKER} of the comparisons")
    options = parser.parse_args()
    begun = time.perf_counter()
    rates: dict[str, dict[str, list[Rates]]] = {}
    for method in METHODS:
        part = 1 / QUICKER if options.quick else 1.0
        rates[method.name] = {machine: rates_of(method, machine, part) for machine in MACHINES}
        print(table(method, rates[method.name]), flush=True)
        print(method.name, round(time.perf_counter() - begun), "s", file=sys.stderr)
    misses = missed(rates)
    for miss in misses:
        print(f"MISSED: {miss}", file=sys.stderr)
    return 1 if misses and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
