"""Means with rare slow answers, and null p-values: ``python benchmarks/gates/tails.py``.

Pairs of a quiet machine, on which some of one side's answers take several times as long; the rule is a mean of more
than +10 %.  Where "at the limit" is written, the candidate's mean is just what is allowed, so that ``unchanged`` is
wrong.  Shares come with exact 95 % intervals.  The second table counts how often p-values of twins are as small as the
levels that looks spend; ``--quick`` takes a tenth of all.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.gates.machines import NOISE
from benchmarks.gates.simulate import draws_of, mean_shown, settled
from pytest_flperf.stats.inference.extremes import extreme_tails
from pytest_flperf.stats.inference.findings import MEAN_REQUESTS, ErrorRates
from pytest_flperf.stats.inference.permutation import Bools, Floats
from pytest_flperf.stats.inference.proportions import Counts, clopper_pearson
from pytest_flperf.stats.inference.schedule import looks, spent_at
from pytest_flperf.stats.inference.signed_ranks import normal_signed_rank, signed_rank

__all__ = ["TAILS", "Tail", "main", "mean_words", "sides_of"]

LIMIT: Final = 0.10
SIZES: Final = (60, 100, 300)
ROWS: Final = 2_000
NULLS: Final = 1_000_000
EXTREMES: Final = 100_000
CHUNK: Final = 50_000
LEVELS: Final = (2e-4, 5.6e-5, 1.6e-5)
"""Of the last look and of those between, with 18 and with 66 comparisons."""
SEED: Final = 20261121


@dataclass(frozen=True, slots=True)
class Tail:
    """Rare slow answers of one side."""

    name: str
    share: float
    times: float
    at_limit: bool = False
    """Whether the candidate is scaled so that its mean is just what is allowed."""
    of_baseline: bool = False


TAILS: Final = (
    Tail("5 % take ten times as long (mean +45 %)", 0.05, 10),
    Tail("10 % take three times as long (mean +20 %)", 0.10, 3),
    Tail("30 % twice (mean +30 %)", 0.30, 2),
    Tail("none, at the limit", 0.0, 1, at_limit=True),
    Tail("30 % twice, at the limit", 0.30, 2, at_limit=True),
    Tail("10 % twice, at the limit", 0.10, 2, at_limit=True),
    Tail("5 % three times, at the limit", 0.05, 3, at_limit=True),
    Tail("5 % ten times, at the limit", 0.05, 10, at_limit=True),
    Tail("3 % ten times, at the limit", 0.03, 10, at_limit=True),
    Tail("1 % ten times, at the limit: too rare", 0.01, 11, at_limit=True),
    Tail("5 % ten times of the baseline alone, equal means", 0.05, 10, of_baseline=True),
)


def sides_of(tail: Tail, rows: int, pairs: int, seed: int) -> tuple[Floats, Floats, Bools]:
    """Candidate, baseline and orders of many comparisons, a row each."""
    chance = np.random.default_rng(seed)
    slow = np.where(chance.random((rows, pairs)) < tail.share, tail.times, 1.0)
    tailed, plain = (np.exp(chance.normal(0, NOISE, (rows, pairs))) for _ in range(2))
    mean = 1 + tail.share * (tail.times - 1)
    tailed *= slow
    orders = draws_of(chance, rows, pairs)
    if tail.of_baseline:
        return plain * mean, tailed, orders
    return tailed * ((1 + LIMIT) / mean if tail.at_limit else 1.0), plain, orders


def mean_words(candidate: Floats, baseline: Floats, orders: Bools, rates: ErrorRates) -> list[str]:
    """What judging look after look ends with, for a rule on a mean of more than the limit; one request a turn."""
    rows, most = candidate.shape
    words = np.full(rows, "undecided")
    at = looks(most)
    for look, n in enumerate(at, 1):
        open_rows = np.flatnonzero(words == "undecided")
        ours, theirs, first = (each[open_rows, :n] for each in (candidate, baseline, orders))
        alarm = rates.alarm_level(spent_at(look, len(at)))
        worse = mean_shown(ours - (1 + LIMIT) * theirs, first, alarm, 0)
        within, better = np.zeros_like(worse), np.zeros_like(worse)
        if n >= MEAN_REQUESTS:
            better = mean_shown(ours - (1 - LIMIT) * theirs, first, alarm, 1)
            if look == len(at):
                within = mean_shown(ours - (1 + LIMIT) * theirs, first, rates.false_pass, 1)
        words[open_rows] = np.select([worse, better, within], ["regressed", "improved", "unchanged"], "undecided")
    return words.tolist()


def tails_table(part: float, comparisons: int) -> Iterator[str]:
    """What each tail is called."""
    yield "| slow answers of the candidate | pairs | regressed | unchanged | improved | undecided |"
    yield "|---|--:|--:|--:|--:|--:|"
    for number, tail in enumerate(TAILS):
        for pairs in SIZES:
            rows = round(ROWS * part)
            sides = sides_of(tail, rows, pairs, SEED + number)
            words = mean_words(*sides, ErrorRates(comparisons=comparisons))
            cells = [percent(words.count(word), rows) for word in ("regressed", "unchanged", "improved", "undecided")]
            yield f"| {tail.name} | {pairs} | {' | '.join(cells)} |"


def nulls_table(part: float) -> Iterator[str]:
    """How often twins have as small a p-value: at most as often as the level is all that is promised."""
    yield f"| test | pairs | p-values | {' | '.join(f'p ≤ {level:g}, times the level' for level in LEVELS)} |"
    yield "|---|--:|--:|" + "--:|" * len(LEVELS)
    for pairs in (20, 60):
        counts = {name: np.zeros(len(LEVELS), dtype=np.int64) for name in ("p50: signed ranks", "mean")}
        total = 0
        chance = np.random.default_rng(SEED)
        while total < NULLS * part:
            total += CHUNK
            y, orders = chance.standard_t(3, (CHUNK, pairs)), draws_of(chance, CHUNK, pairs)
            ranks = normal_signed_rank(y, orders)[0]

            def exactly(row: int, y: Floats = y, orders: Bools = orders) -> float:
                return signed_rank(y[row], orders[row])[0]

            for at, level in enumerate(LEVELS):
                counts["p50: signed ranks"][at] += settled(ranks, level, exactly).sum()
                counts["mean"][at] += mean_shown(y, orders, level).sum()
        for name, found in counts.items():
            yield _row(name, pairs, found.tolist(), total)
    total = round(EXTREMES * part)
    chance = np.random.default_rng(SEED)
    values, orders = np.exp(chance.standard_t(3, (total, 2, 20, 1))), draws_of(chance, total, 20)
    p = [extreme_tails(list(v[0]), list(v[1]), "max", o)[0] for v, o in zip(values, orders, strict=True)]
    yield _row("max", 20, [int((np.array(p) <= level).sum()) for level in LEVELS], total)


def _row(name: str, pairs: int, counts: list[int], total: int) -> str:
    cells = [_times(count, total, at) for at, count in enumerate(counts)]
    return f"| {name} | {pairs} | {total:,} | {' | '.join(cells)} |"


def _times(count: int, total: int, at: int) -> str:
    low, high = clopper_pearson(Counts(count, total))
    rate, low, high = (share / LEVELS[at] for share in (count / total, low, high))
    return f"{rate:.2f} ({low:.2f}–{high:.2f})"


def percent(count: int, of: int) -> str:
    """A share with its exact 95 % interval."""
    low, high = clopper_pearson(Counts(count, of))
    digits = 1 if high < 0.2 else 0
    return f"{100 * count / of:.{digits}f} ({100 * low:.{digits}f}–{100 * high:.{digits}f})"


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of all")
    parser.add_argument("--only", choices=("tails", "nulls"), help="one of the two")
    options = parser.parse_args()
    part = 0.1 if options.quick else 1.0
    for comparisons in (2, 18) if options.only != "nulls" else ():
        print(f"\n### A mean of more than +10 %, {comparisons} comparisons in the run\n")
        for line in tails_table(part, comparisons):
            print(line, flush=True)
    if options.only != "tails":
        print("\n### P-values of twins (Student's t with 3 degrees of freedom)\n")
        for line in nulls_table(part):
            print(line, flush=True)


if __name__ == "__main__":
    main()
