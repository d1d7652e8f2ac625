"""Tables of how often decisions were wrong on real runs: ``python benchmarks/gates/evidence.py FILE…``.

Reads what ``record.py`` wrote and judges it as a run does, look after look.  Each share comes with exact bounds, which
hold with 95 % each.  Beside the method stand the rule that people use today, and runs that follow one another with the
history before them as what they vary by.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import log
from pathlib import Path
from statistics import median
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parents[2]))
from pytest_flperf.stats.inference.between_runs import judge_runs
from pytest_flperf.stats.inference.findings import ErrorRates, Threshold
from pytest_flperf.stats.inference.paired import Pair, judge_pairs
from pytest_flperf.stats.inference.proportions import Counts, clopper_pearson
from pytest_flperf.stats.inference.run_variance import between_runs
from pytest_flperf.stats.inference.schedule import looks

__all__ = ["main"]

METRICS: Final = ("ttft_ms", "tpot_ms")
RULES: Final = (("p50", 0.0), ("p50", 0.02), ("p50", 0.05), ("mean", 0.0), ("mean", 0.05), ("mean", 0.10))
"""Statistic and share."""
SLOWER_RULES: Final = (("p50", 0.0), ("p50", 0.02), ("mean", 0.0), ("mean", 0.10))
CASES: Final = 18
REQUESTS: Final = 12
"""Of a side, of the rule that people use."""
USUAL: Final = 1.10
EARLIER: Final = 5
"""Runs before the two that are compared, at least."""


@dataclass(frozen=True, slots=True)
class Record:
    """Pairs of one case in one run."""

    kind: str
    case: str
    run: int
    share: float
    busy: bool
    first: tuple[bool, ...]
    values: dict[str, list[tuple[float | None, float | None]]]

    @classmethod
    def of(cls, line: dict[str, Any]) -> Record:
        """As ``record.py`` wrote it."""
        return cls(
            line["kind"],
            line["case"],
            line["run"],
            line.get("share", 0.0),
            line["busy"],
            tuple(map(bool, line["first"])),
            {metric: [(a, b) for a, b in line[metric]] for metric in METRICS},
        )

    def pairs(self, metric: str) -> list[Pair]:
        """Of one metric; one that lost a side stays in its place."""
        found = zip(self.values[metric], self.first, strict=True)
        return [Pair(_known(ours), _known(theirs), first) for (ours, theirs), first in found]

    def side(self, metric: str, which: int) -> list[float]:
        """The values of one side."""
        return [pair[which] for pair in self.values[metric] if pair[which] is not None]  # type: ignore[misc]


def _known(value: float | None) -> tuple[float, ...]:
    return () if value is None else (value,)


def decided(pairs: list[Pair], statistic: str, share: float, comparisons: int, most: int) -> tuple[str, int]:
    """The word as a run would say it, and after how many pairs."""
    at = [look for look in looks(60) if look <= most]
    rates, word, look = ErrorRates(comparisons=comparisons), "undecided", 0
    for number, look in enumerate(at, 1):
        if len(pairs) < look:
            break
        word = judge_pairs(pairs[:look], statistic, Threshold(share), rates, look=number, looks=len(looks(60))).word
        if word != "undecided":
            break
    return word, look


def percent(count: int, of: int) -> str:
    """A share with its lower and its upper 95 % bound."""
    low, high = clopper_pearson(Counts(count, of), 0.05)
    return f"{count}/{of}: {100 * count / of:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def row(*cells: object) -> str:
    """Of a Markdown table."""
    return f"| {' | '.join(map(str, cells))} |"


def _rule(statistic: str, share: float) -> str:
    return f"{statistic}, " + (f"more than +{share:.0%}".replace("%", " %") if share else "any change")


def same(records: list[Record]) -> Iterator[str]:
    """How often the same thing was called worse."""
    runs = {record.run for record in records}
    yield row("rule", "comparisons called regressed", "whole runs of 18 cases", "undecided", "pairs, median")
    yield row(*["---"] * 5)
    for statistic, share in RULES:
        words = [
            (record.run, *decided(record.pairs(metric), statistic, share, CASES * len(METRICS), 60))
            for record in records
            for metric in METRICS
            if sum(bool(pair.candidate and pair.baseline) for pair in record.pairs(metric)) >= REQUESTS
        ]
        wrong = [run for run, word, _ in words if word == "regressed"]
        yield row(
            f"pairs, {_rule(statistic, share)}",
            percent(len(wrong), len(words)),
            percent(len(set(wrong)), len(runs)),
            f"{sum(word == 'undecided' for _, word, _ in words) / len(words):.0%}",
            f"{median(pairs for _, _, pairs in words):.0f}",
        )
    yield from _one_after_the_other(records)


def _one_after_the_other(records: list[Record]) -> Iterator[str]:
    """Runs that follow one another, each with one side's requests alone."""
    of_case: dict[str, list[Record]] = defaultdict(list)
    for record in sorted(records, key=lambda each: each.run):
        of_case[record.case].append(record)
    usual: list[tuple[int, bool]] = []
    ours: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for series in of_case.values():
        for metric in METRICS:
            values = [(record.run, record.side(metric, 0)) for record in series]
            values = [(run, found) for run, found in values if len(found) >= REQUESTS]
            for place, ((_, before), (run, after)) in enumerate(pairwise(values), 1):
                usual.append((run, median(after[:REQUESTS]) > USUAL * median(before[:REQUESTS])))
                ours["without history"].append((run, _word(before, after, [])))
                if place >= EARLIER:
                    known = [median(found) for _, found in values[: place - 1]]
                    ours["with history"].append((run, _word(before, after, known)))
    wrong = [run for run, alarm in usual if alarm]
    yield row(
        f"two runs, p50 of {REQUESTS} grew by 10 %",
        percent(len(wrong), len(usual)),
        percent(len(set(wrong)), len({run for run, _ in usual})),
        "",
        "",
    )
    for method, judged in ours.items():
        worse = [run for run, word in judged if word == "regressed"]
        yield row(
            f"two runs {method}, more than +5%",
            percent(len(worse), len(judged)),
            percent(len(set(worse)), len({run for run, _ in judged})),
            f"{sum(word == 'undecided' for _, word in judged) / len(judged):.0%}",
            "",
        )


def _word(before: list[float], after: list[float], earlier: list[float]) -> str:
    """What two runs that follow one another say, given the medians of earlier ones."""
    rates = ErrorRates(comparisons=CASES * len(METRICS))
    history = between_runs([log(value) for value in earlier if value > 0])
    rule = Threshold(0.05)
    return judge_runs(before, after, "p50", rule, rates, between_runs=history, requests_needed=REQUESTS - 1).word


def slower(records: list[Record]) -> Iterator[str]:
    """How often a true slowdown was found."""
    yield row("slowdown", "case", "rule", "cases in the run", "found within 20 pairs", "within 60")
    yield row(*["---"] * 6)
    for effect, case in sorted({(record.share, record.case.split()[0]) for record in records}):
        mine = [record for record in records if record.share == effect and record.case.split()[0] == case]
        metric = next(each for each in METRICS if each in case)
        long = any(len(record.first) >= 60 for record in mine)
        for statistic, share in SLOWER_RULES:
            for cases in (1, CASES):
                found = [
                    [decided(record.pairs(metric), statistic, share, cases * len(METRICS), most)[0] for record in mine]
                    for most in (20, 60)
                ]
                yield row(
                    f"+{effect:.0%}",
                    case.removeprefix("slowed-"),
                    _rule(statistic, share),
                    cases,
                    percent(found[0].count("regressed"), len(mine)),
                    percent(found[1].count("regressed"), len(mine)) if long else "",
                )


def read(paths: Iterable[Path]) -> list[Record]:
    """All records."""
    return [Record.of(json.loads(line)) for path in paths for line in path.read_text(encoding="utf-8").splitlines()]


def main() -> None:
    """Print the tables of what was recorded."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    records = read(parser.parse_args().files)
    for busy in (False, True):
        for kind, table in (("aa", same), ("slower", slower)):
            mine = [record for record in records if record.busy == busy and record.kind == kind]
            if mine:
                what = "The same on both sides" if kind == "aa" else "Slower by a known share"
                print(f"\n{what}, {'busy' if busy else 'idle'}\n")
                print("\n".join(table(mine)))


if __name__ == "__main__":
    main()
