"""Gates of quality: how often they are wrong, what they find.

``python benchmarks/gates/shares.py`` takes some minutes.  Shares are counted exactly, outcome by outcome; whole runs
and graded scores are simulated.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from functools import cache

import numpy as np
from scipy.special import bdtrc, gammaln, xlogy
from scipy.stats import binomtest

from pytest_flperf.stats.inference.findings import ErrorRates, Threshold
from pytest_flperf.stats.inference.matched import judge_matched
from pytest_flperf.stats.inference.matched_requests import MatchedRequest
from pytest_flperf.stats.inference.matched_shares import MatchedCounts, exact_tails
from pytest_flperf.stats.inference.paired import Pair
from pytest_flperf.stats.inference.schedule import draw_orders, looks, spent_at

PROMPTS = (60, 100, 200, 300)
COMPARISONS = 18
RUNS = 2_000
SIMULATED = 1_000
GRADED_RUNS = 200
SEED = 20261129


@cache
def region(n: int, points: float, level: float, *, worse: bool) -> tuple[int, ...]:
    """For each number of pairs in which the candidate is better: the least of worse ones that are ``regressed``.

    For ``unchanged`` the most; n + 1 and −1 where there are none.
    """
    found = []
    for better in range(n + 1):
        low, high = 0, n - better + 1
        while low < high:
            middle = (low + high) // 2
            more, less = exact_tails(MatchedCounts(n, better, middle), -points)
            inside = less <= level if worse else more > level
            low, high = (low, middle) if inside else (middle + 1, high)
        found.append(low if worse else low - 1)
        if worse and low > n - better:
            found += [n + 1] * (n - better)
            break
    return tuple(found)


@cache
def enough(better: int, level: float) -> int:
    """How many worse ones show any fall, by the binomial law, which is close to that of the drawn orders."""
    return next(k for k in range(1, 10**6) if bdtrc(k - 1, k + better, 0.5) <= level) if level < 1 else 0


def chance(n: int, p_better: float, p_worse: float, points: float, level: float, *, worse: bool) -> float:
    """Of this word, by the multinomial law."""
    ends = region(n, points, level, worse=worse)
    whole = 0.0
    for better, at in enumerate(ends):
        end = max(at, enough(better, level)) if worse else at
        of_worse = np.arange(end, n - better + 1) if worse else np.arange(0, min(end, n - better) + 1)
        if len(of_worse):
            alike = n - better - of_worse
            logs = gammaln(n + 1) - gammaln(better + 1) - gammaln(of_worse + 1) - gammaln(alike + 1)
            logs = logs + xlogy(better, p_better) + xlogy(of_worse, p_worse)
            whole += float(np.exp(logs + xlogy(alike, max(1 - p_better - p_worse, 0.0))).sum())
    return whole


def levels(n: int, comparisons: int) -> tuple[float, float]:
    """Of the last look alone: of ``regressed`` and ``unchanged``."""
    last = len(looks(n))
    rates, spent = ErrorRates(comparisons=comparisons), spent_at(last, last)
    return rates.alarm_level(spent), rates.false_pass * spent


def sizes() -> Iterable[Sequence[str]]:
    """The highest chance of the wrong word where the change is exactly the limit, over all shares that differ."""
    yield "limit", "pairs", "`regressed`, level", "highest chance", "`unchanged`, level", "highest chance"
    for points in (0.02, 0.05):
        for n in PROMPTS:
            alarm, passing = levels(n, COMPARISONS)
            shares = np.concatenate([[0.0], np.geomspace(1e-4, (1 - points) / 2, 40)])
            at = [chance(n, s, s + points, points, alarm, worse=True) for s in shares]
            by = [chance(n, s, s + points, points, passing, worse=False) for s in shares]
            yield (f"−{100 * points:.0f} points", f"{n}", f"{alarm:.2g}", f"{max(at):.2g}", f"{passing:.2g}",
                   f"{max(by):.2g}")  # fmt: skip


def powers(comparisons: int) -> Iterable[Sequence[str]]:
    """Of the last look alone, both sides right independently of each other."""
    yield ("right", "pairs", "`regressed`, any fall", "−2 points", "−5 points", "`unchanged`, −2 points", "−5 points")
    for right, candidate in ((0.98, 0.93), (0.98, 0.88), (0.98, 0.5), (0.98, 0.98), (1.0, 1.0), (0.8, 0.8)):
        worse, better = right * (1 - candidate), (1 - right) * candidate
        for n in PROMPTS:
            alarm, passing = levels(n, comparisons)
            found = [any_fall(n, better, worse, alarm)]
            found += [chance(n, better, worse, points, alarm, worse=True) for points in (0.02, 0.05)]
            found += [chance(n, better, worse, points, passing, worse=False) for points in (0.02, 0.05)]
            yield f"{100 * right:.0f} % → {100 * candidate:.0f} %", f"{n}", *(percent(each) for each in found)


def any_fall(n: int, better: float, worse: float, alarm: float) -> float:
    """By drawn orders, simulated."""
    draw = np.random.default_rng(SEED)
    found = 0
    for seed in range(SIMULATED // 2):
        kinds = draw.choice(3, size=n, p=[better, worse, 1 - better - worse])
        found += law_p(kinds, draw_orders(n, seed)) <= alarm
    return found / (SIMULATED // 2)


def law_p(kinds: np.ndarray, orders: Sequence[bool]) -> float:
    """P-value of any fall: 0 is better, 1 worse, 2 alike."""
    from pytest_flperf.stats.inference.permutation import Law

    net = np.select([kinds == 0, kinds == 1], [1, -1], 0)
    return Law(np.abs(net), (net > 0) == np.array(orders)).tails(int((net > 0).sum()))[1]


def whole_runs() -> Iterable[Sequence[str]]:
    """Runs of 18 comparisons without any change, looked at five times, up to 60 pairs; both rules."""
    yield "right", "runs", "false `regressed`, any fall", "−2 points"
    draw, places = np.random.default_rng(SEED), looks(60)
    rates = ErrorRates(comparisons=COMPARISONS)
    for right in (0.5, 0.8, 0.95):
        differ, wrong = right * (1 - right), [0, 0]
        for _ in range(RUNS):
            kinds = draw.choice(3, size=(COMPARISONS, 60), p=[differ, differ, 1 - 2 * differ])
            found = [False, False]
            for case in kinds:
                orders: Sequence[bool] | None = None
                for look, n in enumerate(places, 1):
                    better, worse = int((case[:n] == 0).sum()), int((case[:n] == 1).sum())
                    alarm = rates.alarm_level(spent_at(look, len(places)))
                    if worse <= better or binomtest(worse, worse + better, alternative="greater").pvalue > 4 * alarm:
                        continue  # the law of drawn orders is never so far from the binomial one
                    orders = orders or draw_orders(60, int(draw.integers(1 << 40)))
                    if law_p(case[:n], orders[:n]) <= alarm:
                        found[0] = True
                        found[1] |= worse >= region(n, 0.02, alarm, worse=True)[better]
            wrong = [count + one for count, one in zip(wrong, found, strict=True)]
        yield f"{100 * right:.0f} %", f"{RUNS}", *(bounded(count, RUNS) for count in wrong)


Draw = Callable[[np.random.Generator, int, float], np.ndarray]
GRADED: dict[str, Draw] = {
    "noise of ±0.2": lambda draw, n, fall: draw.uniform(-0.2, 0.2, n) - fall,
    "one in ten differs": lambda draw, n, fall: draw.uniform(-0.6, 0.6, n) * (draw.random(n) < 0.1) - fall,
    "steps of a third": lambda draw, n, fall: (
        draw.integers(0, 4, n) / 3 - draw.binomial(1, 0.5, n) * draw.integers(0, 4, n) / 3 - 0.25
    ) / 2 - fall,
    "the fall is rare": lambda draw, n, fall: draw.uniform(-0.05, 0.05, n) - (draw.random(n) < fall),
}  # fmt: skip


def graded() -> Iterable[Sequence[str]]:
    """How often each p-value is below a level where the fall is exactly the limit of 5 points."""
    yield "scores", "prompts", "`regressed` at 5 %", "at 0.5 %", "`unchanged` at 5 %", "at 1 %"
    rule = Threshold(0.0, 0.05, higher_is_worse=False)
    asked = (ErrorRates(0.05, 0.05), ErrorRates(0.005, 0.01))
    for name, differences in GRADED.items():
        for n in (60, 200):
            draw = np.random.default_rng(SEED)
            words: list[list[str]] = [[], []]
            for seed in range(GRADED_RUNS):
                wanted = np.clip(differences(draw, n, 0.05), -1, 1)
                turns = [Pair((), (), first, matched=(MatchedRequest(0.5 + float(each), 0.5),))
                         for each, first in zip(wanted, draw_orders(n, seed), strict=True)]  # fmt: skip
                for said, rates in zip(words, asked, strict=True):
                    said.append(judge_matched(turns, rule, rates, look=1, looks=1).word)
            found = (said.count(word) for word in ("regressed", "unchanged") for said in words)
            yield name, f"{n}", *(bounded(count, GRADED_RUNS) for count in found)


def graded_power() -> Iterable[Sequence[str]]:
    """Words of one comparison among 18 at the last look, limit −2 points, scores from 0 to 1."""
    yield "fall", "prompts", "`regressed`", "`unchanged`"
    rule, rates = Threshold(0.0, 0.02, higher_is_worse=False), ErrorRates(comparisons=COMPARISONS)
    for fall in (0.0, 0.1, 0.2):
        for n in (60, 200):
            draw, words = np.random.default_rng(SEED), []
            for seed in range(SIMULATED // 5):
                theirs = draw.uniform(0.6, 1.0, n)
                mine = np.clip(theirs + draw.uniform(-0.2, 0.2, n) - fall, 0, 1)
                turns = [Pair((), (), first, matched=(MatchedRequest(float(a), float(b)),))
                         for a, b, first in zip(mine, theirs, draw_orders(n, seed), strict=True)]  # fmt: skip
                last = len(looks(n))
                words.append(judge_matched(turns, rule, rates, look=last, looks=last).word)
            yield (f"{100 * fall:.0f} points", f"{n}",
                   *(percent(words.count(word) / len(words)) for word in ("regressed", "unchanged")))  # fmt: skip


def percent(share: float) -> str:
    """Short."""
    if 0 < share < 1e-4:
        return "< 0.01 %"
    if 0.995 < share < 1:
        return "> 99 %"
    return f"{100 * share:.0f} %" if share >= 0.005 or not share else f"{100 * share:.2f} %"


def bounded(count: int, total: int) -> str:
    """A share with its exact 95 % interval, in percent."""
    interval = binomtest(count, total).proportion_ci(method="exact")
    return f"{100 * count / total:.2f} ({100 * interval.low:.2f}–{100 * interval.high:.2f})"


def table(title: str, rows: Iterable[Sequence[str]]) -> None:
    """As Markdown."""
    print(f"\n### {title}\n")
    for number, row in enumerate(rows):
        print(f"| {' | '.join(row)} |", flush=True)
        if not number:
            print(f"|{'---|' * len(row)}")


def main() -> None:
    """Print all of them, or those whose names begin with what the command line says."""
    wanted = sys.argv[1:]
    tables: dict[str, Callable[[], Iterable[Sequence[str]]]] = {
        "sizes": sizes,
        "whole runs": whole_runs,
        "power, one comparison": lambda: powers(1),
        "power, 18 comparisons": lambda: powers(COMPARISONS),
        "graded sizes": graded,
        "graded power": graded_power,
    }
    for title, rows in tables.items():
        if not wanted or any(title.startswith(each) for each in wanted):
            table(title, rows())


if __name__ == "__main__":
    main()
