"""How often decisions are wrong, on simulated machines: ``python benchmarks/gates/simulate.py [--only TEXT]``.

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
from scipy.stats import rankdata

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.gates.machines import BETWEEN_RUNS, MACHINES, ORDER_EFFECT, series
from pytest_flperf.stats.inference.between_runs import judge_runs
from pytest_flperf.stats.inference.findings import ErrorRates, Threshold
from pytest_flperf.stats.inference.mean_test import flip_tails, normal_flip_tails, skew_tails
from pytest_flperf.stats.inference.paired import Pair, judge_pairs
from pytest_flperf.stats.inference.permutation import Bools, Floats, normal_tails, without_slot
from pytest_flperf.stats.inference.proportions import Counts, clopper_pearson
from pytest_flperf.stats.inference.run_variance import between_runs
from pytest_flperf.stats.inference.schedule import ORDER_BLOCK, looks, spent_at
from pytest_flperf.stats.inference.signed_ranks import normal_signed_rank, ranks, signed_rank

SIZES: Final = (12, 20, 40, 60)
MEAN_SIZES: Final = (20, 60, 100)
CASES: Final = 18
EFFECTS: Final = (0.05, 0.10, 0.20)
RATES: Final = ErrorRates(comparisons=CASES)
HISTORY: Final = 20
RUNS: Final = {True: 2_000, False: 30}
"""A/A runs of 18 comparisons, of a cheap method and of one that isn't."""
COMPARISONS: Final = {True: 1_000, False: 100}
"""With each effect."""
QUICKER: Final = 10
_SMOOTH: Final = 7
"""Machines without ties and zeros."""
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
    sizes: tuple[int, ...] = SIZES

    @property
    def machines(self) -> tuple[str, ...]:
        """On which it is tried; usual rules are not made for zeros and ties."""
        return tuple(MACHINES) if self.is_ours and self.is_cheap else tuple(MACHINES)[:_SMOOTH]


def measured(machine: str, rows: int, effect: float, seed: int, most: int = SIZES[-1]) -> Measured:
    """The same machine seen by both kinds of measurement."""
    chance = np.random.default_rng(seed)
    values, second = series(machine, chance, rows, most)
    orders = draws_of(chance, rows, most)
    slots = (values + second * ORDER_EFFECT).reshape(rows, most, 2)
    shift = np.log1p(effect)
    older, newer = chance.normal(0, BETWEEN_RUNS, (2, rows, 1))
    return Measured(
        machine,
        candidate=np.where(orders, slots[:, :, 0], slots[:, :, 1]) + shift,
        baseline=np.where(orders, slots[:, :, 1], slots[:, :, 0]),
        candidate_first=orders,
        fixed_order=np.log(np.exp(slots[:, :, 1]) / np.exp(slots[:, :, 0])) + shift
        if _is_smooth(machine)
        else slots[..., 0],
        newer=values + newer + shift,
        older=values + older,
    )


def draws_of(chance: np.random.Generator, rows: int, pairs: int) -> Bools:
    """Orders for many comparisons, a row each, by the law of ``draw_orders``."""
    blocks = -(-pairs // ORDER_BLOCK)
    place = chance.random((rows, blocks, ORDER_BLOCK), dtype=np.float32).argsort(axis=-1)
    return (place < ORDER_BLOCK // 2).reshape(rows, -1)[:, :pairs]


def _is_smooth(machine: str) -> bool:
    return list(MACHINES).index(machine) < _SMOOTH


def by_pairs(share: float) -> Callable[[Measured], Bools]:
    """Our decision on the median of pairs, looked at up to the last size."""

    def found(seen: Measured, pairs: int, level: float) -> Bools:
        orders = seen.candidate_first[:, :pairs]
        candidate, baseline = np.exp(seen.candidate[:, :pairs]), np.exp(seen.baseline[:, :pairs])
        if seen.machine == "zeros":  # no logarithms: as the judge does
            y = candidate / (1 + share) - baseline
        else:
            y = seen.candidate[:, :pairs] - seen.baseline[:, :pairs] - np.log1p(share)
        roughly = normal_signed_rank(y, orders)[0] if _is_smooth(seen.machine) else _tied_signed_rank(y, orders)
        said = settled(roughly, level, lambda row: signed_rank(y[row], orders[row])[0])
        return said & (np.median(candidate, axis=1) > (1 + share) * np.median(baseline, axis=1))

    return _looked_at(found, "p50", share, SIZES)


def by_means(share: float) -> Callable[[Measured], Bools]:
    """Our decision on the mean of pairs."""

    def found(seen: Measured, pairs: int, level: float) -> Bools:
        orders = seen.candidate_first[:, :pairs]
        d = np.exp(seen.candidate[:, :pairs]) - (1 + share) * np.exp(seen.baseline[:, :pairs])
        return mean_shown(d, orders, level)

    return _looked_at(found, "mean", share, MEAN_SIZES)


def mean_shown(d: Floats, orders: Bools, level: float, side: int = 0) -> Bools:
    """Where the test of a mean says that these differences are greater than 0, or (side 1) less.

    Both of its parts must say so.  Sign flips are counted exactly where the other part does: with a few large values
    the normal law is far above the exact one, and never less than a third of it.
    """
    slots = without_slot(np.where(orders, d, -d))
    said = np.asarray(skew_tails(np.where(orders, slots, -slots))[side] <= level)
    surely = normal_flip_tails(slots, orders)[side] <= level / 4
    for row in np.flatnonzero(said & ~surely):
        said[row] = flip_tails(d[row], orders[row])[side] <= level
    return said


def settled(roughly: Floats, level: float, exactly: Callable[[int], float]) -> Bools:
    """Which p-values of ranks are small enough: counted exactly where the normal law leaves doubt."""
    said = roughly <= level / DOUBTFUL
    for row in np.flatnonzero((roughly <= DOUBTFUL * level) & ~said):
        said[row] = exactly(int(row)) <= level
    return np.asarray(said)


def _tied_signed_rank(y: Floats, orders: Bools) -> Floats:
    """As ``normal_signed_rank``, for values of which some are equal."""
    slots = without_slot(np.where(orders, y, -y))
    scores = rankdata(np.abs(slots), axis=-1) * (slots != 0)
    return normal_tails(scores, slots > 0, (scores * ((slots > 0) == orders)).sum(axis=-1))[0]


def _looked_at(
    found: Callable[[Measured, int, float], Bools], statistic: str, share: float, sizes: tuple[int, ...]
) -> Callable[[Measured], Bools]:
    """Look after look, for each size whether it was said by then."""

    def alarms(seen: Measured) -> Bools:
        said = np.zeros((len(seen.candidate), len(sizes)), dtype=np.bool_)
        at = looks(sizes[-1])
        for look, pairs in enumerate(at, 1):
            level = RATES.false_alarm / CASES * spent_at(look, len(at))
            said[:, [size >= pairs for size in sizes]] |= found(seen, pairs, level)[:, None]
        same_words(seen, said[:, -1], statistic, share, at)
        return said

    return alarms


def same_words(seen: Measured, said: Bools, statistic: str, share: float, at: tuple[int, ...]) -> None:
    """Judge comparisons as a run does, look by look: the first, and one that was said to be worse."""
    for row in {0, *np.flatnonzero(said)[:1].tolist()}:
        pairs = pairs_of(seen, row)
        words = [
            judge_pairs(pairs[:n], statistic, Threshold(share), RATES, look=look, looks=len(at)).word
            for look, n in enumerate(at, 1)
        ]
        assert ("regressed" in words) == said[row], (row, words)


def pairs_of(seen: Measured, row: int) -> list[Pair]:
    """A comparison as a run has it."""
    both = np.exp(seen.candidate[row]), np.exp(seen.baseline[row])
    return [
        Pair((float(c),), (float(b),), bool(first))
        for c, b, first in zip(*both, seen.candidate_first[row], strict=True)
    ]


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
    Method("Pairs, mean, any change", by_means(0.0), sizes=MEAN_SIZES),
    Method("Pairs, mean, more than +10 %", by_means(0.10), sizes=MEAN_SIZES),
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
    most = method.sizes[-1]
    alone = method.alarms(measured(machine, runs * CASES, 0.0, seed, most))
    several = max(round(COMPARISONS[method.is_cheap] * part), 10)
    found = [method.alarms(measured(machine, several, effect, seed + 1 + i, most)) for i, effect in enumerate(EFFECTS)]
    return [
        Rates(
            Counts(int(alone[:, at].sum()), len(alone)),
            Counts(int(alone[:, at].reshape(runs, CASES).any(axis=1).sum()), runs),
            tuple(Counts(int(each[:, at].sum()), several) for each in found),
        )
        for at in range(len(method.sizes))
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
        for size, each in zip(method.sizes, of_sizes, strict=True):
            cells = (_percent(counts) for counts in (each.per_comparison, each.per_run, *each.found))
            lines.append(f"| {machine} | {size} | {' | '.join(cells)} |")
    if method.is_ours:
        runs = [of_sizes[-1].per_run for of_sizes in rates.values()]
        pooled = Counts(sum(each.failed for each in runs), sum(each.total for each in runs))
        lines += ["", f"Runs of {CASES} with a false alarm, over all machines: {_percent(pooled)} %."]
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
        for machine, of_sizes in rates.get(method.name, {}).items():
            runs = of_sizes[-1].per_run
            if method.is_ours and clopper_pearson(runs)[0] > RATES.false_alarm:
                found.append(f"{method.name}, {machine}: {runs.failed} of {runs.total} runs had a false alarm")
    for name, size, effect, what in _PROMISED:
        if name in rates:
            counts = rates[name]["quiet"][size].found[effect]
            if clopper_pearson(counts)[1] < 0.95:
                found.append(f"{what} found in {counts.failed} of {counts.total} on a quiet machine")
    return found


_PROMISED: Final = (
    (METHODS[0].name, 3, 0, "+5 % within 60 pairs"),
    (METHODS[1].name, 1, 1, "+10 % within 20 pairs"),
    (METHODS[3].name, 1, 2, "a mean of +20 % within 60 pairs"),
)
"""Method, place of its size, place of the effect, and what that is."""


def main() -> int:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="exit with 1 where a limit is missed")
    parser.add_argument("--quick", action="store_true", help=f"1/{QUICKER} of the comparisons")
    parser.add_argument("--only", default="", metavar="TEXT", help="methods whose name holds this")
    options = parser.parse_args()
    begun = time.perf_counter()
    rates: dict[str, dict[str, list[Rates]]] = {}
    for method in (each for each in METHODS if options.only in each.name):
        part = 1 / QUICKER if options.quick else 1.0
        rates[method.name] = {machine: rates_of(method, machine, part) for machine in method.machines}
        print(table(method, rates[method.name]), flush=True)
        print(method.name, round(time.perf_counter() - begun), "s", file=sys.stderr)
    misses = missed(rates)
    for miss in misses:
        print(f"MISSED: {miss}", file=sys.stderr)
    return 1 if misses and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
