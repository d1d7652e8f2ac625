"""Comparisons in words, and the text of a case that failed by one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.gates.budgets import parse_budgets
from pytest_flperf.gates.format import (
    against_lines,
    arrow,
    change,
    counted_words,
    headline,
    interval,
    limit,
    of_medians,
)
from pytest_flperf.gates.verdict import judge, verdict_text
from pytest_flperf.results.comparison import Against, Comparison
from pytest_flperf.results.records import CaseResult, Requests
from pytest_flperf.stats.inference.findings import RANKS, SUMMARIES

SLOW = Comparison(
    rule="ttft_ms.p50 > +10%", metric="ttft_ms", statistic="p50", verdict="regressed", fails=True, baseline=50.124,
    candidate=56.289, change_pct=12.3, change_ci95_pct=(8.1, 16.9), probability=0.983, threshold_pct=10.0,
    n_baseline=20, n_candidate=20, pairs=20, scope="--flperf-fail-on",
)  # fmt: skip
SAME = replace(
    SLOW, rule="tpot_ms.p50 > +10% and +2ms", metric="tpot_ms", verdict="unchanged", fails=False, baseline=5.02,
    candidate=5.01, change_pct=-0.2, change_ci95_pct=(-1.4, 1.1), probability=0.0, threshold_floor=2.0,
)  # fmt: skip
ERRORS = Comparison(
    rule="error_rate > +0%", metric="error_rate", statistic=None, verdict="regressed", fails=True, baseline=0.0,
    candidate=0.1, threshold_pct=0.0, n_baseline=20, n_candidate=20, reason="2 of 20 failed", scope="implied",
)  # fmt: skip
CASE = CaseResult("n", "s", "short-chat", "flperf-nano", requests=Requests(20, 20, 0, 0, {"ok": 20}), error_rate=0.0)


def judged(*comparisons: Comparison, budgets: tuple[str, ...] = (), **changes: object) -> CaseResult:
    """A case that was compared like this, judged."""
    against = Against("pairs", "main", pairs=20, comparisons=comparisons, **changes)  # type: ignore[arg-type]
    return judge(replace(CASE, against=(against,)), parse_budgets(budgets))


def test_a_regression_fails_the_case() -> None:
    """The first line says it all; below a line for each comparison, aligned, and what else is different."""
    case = judged(SLOW, SAME, differs=("device: CPU → GPU",))
    assert case.outcome == "failed"
    assert case.message.splitlines() == [
        "short-chat on flperf-nano: ttft_ms.p50 regressed by +12.3 % [+8.1, +16.9] (limit +10 %)",
        "  met     error_rate <= 0  limit 0 %  value 0 %  n 20  (default)",
        "  compared with main (20 pairs of turns, interleaved)",
        "  REGRESSED  ttft_ms.p50 > +10%           50.12 ms → 56.29 ms  +12.3 % [+8.1, +16.9]  "
        "98 % beyond the limit  20 pairs  (--flperf-fail-on)",
        "  unchanged  tpot_ms.p50 > +10% and +2ms  5.02 ms → 5.01 ms    -0.2 % [-1.4, +1.1]    "
        "<1 % beyond the limit  20 pairs  (--flperf-fail-on)",
        "  differs: device: CPU → GPU",
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"method": RANKS, "candidate": 68.2, "change_pct": 47.1}, "the medians +36.1 %, a typical pair +47.1 %"),
        ({"method": RANKS}, ""),
        ({"method": SUMMARIES, "candidate": 68.2, "change_pct": 47.1}, ""),
        ({"method": RANKS, "baseline": 0.0, "change_pct": None}, ""),
        ({"method": RANKS, "candidate": 68.2, "change_pct": 47.1, "raw_change_pct": 50.0}, ""),
    ],
)
def test_a_typical_pair_and_the_medians(changes: dict[str, object], said: str) -> None:
    """Where their changes differ by more than a little, both are told: the two numbers stand beside the change."""
    found = replace(SLOW, **changes)  # type: ignore[arg-type]
    assert of_medians(found) == said
    assert said in judged(found).message


def test_what_does_not_fail() -> None:
    """A regression that no gate asked about leaves a case passed, as do the other words."""
    words = ("regressed", "improved", "unchanged", "undecided")
    case = judged(*(replace(SLOW, verdict=word, fails=False) for word in words))  # type: ignore[arg-type]
    assert (case.outcome, case.message) == ("passed", "")


def test_undecided_by_choice() -> None:
    """Where it fails the reason is in the first line."""
    doubt = replace(SLOW, verdict="undecided", reason="p50 needs 11 requests a side")
    first = judged(doubt).message.partition("\n")[0]
    assert first == "short-chat on flperf-nano: ttft_ms.p50 is undecided: p50 needs 11 requests a side"


def test_several_faults() -> None:
    """A missed budget stands first; the number of the others beside it."""
    first = judged(SLOW, ERRORS, budgets=("ttft_ms.p50 <= 1",)).message.partition("\n")[0]
    assert (
        first == "short-chat on flperf-nano: missed ttft_ms.p50 <= 1 (not measured: no answer had any text) and 2 more"
    )
    first = judged(ERRORS, SLOW).message.partition("\n")[0]
    assert first == "short-chat on flperf-nano: error_rate regressed: 2 of 20 failed and 1 more"


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({}, ("▲", "+12.3 %", "[+8.1, +16.9]", "+10 %")),
        ({"verdict": "improved", "change_pct": -20.0}, ("▼", "-20.0 %", "[+8.1, +16.9]", "+10 %")),
        ({"metric": "gen_tps", "threshold_pct": -2.5, "change_pct": -4.0}, ("▼", "-4.0 %", "[+8.1, +16.9]", "-2.5 %")),
        ({"metric": "gen_tps", "threshold_pct": -5.0, "verdict": "improved"}, ("▲", "+12.3 %", "[+8.1, +16.9]", "-5 %")),  # noqa: E501
        ({"verdict": "undecided"}, ("?", "+12.3 %", "[+8.1, +16.9]", "+10 %")),
        ({"verdict": "unchanged", "change_pct": -0.04}, ("=", "+0.0 %", "[+8.1, +16.9]", "+10 %")),
        ({"verdict": "unchanged", "change_pct": -73.6, "change_ci95_pct": (-88.5, -13.8)},
         ("▼", "-73.6 %", "[-88.5, -13.8]", "+10 %")),
        ({"verdict": "unchanged", "change_pct": -73.6, "change_ci95_pct": (-88.5, -9.9)},
         ("=", "-73.6 %", "[-88.5, -9.9]", "+10 %")),
        ({"verdict": "unchanged", "change_ci95_pct": (-88.5, -20.0), "threshold_floor": 20.0},
         ("=", "+12.3 %", "[-88.5, -20.0]", "+10 % and +20 ms")),
        ({"metric": "gen_tps", "threshold_pct": -5.0, "verdict": "unchanged"},
         ("▲", "+12.3 %", "[+8.1, +16.9]", "-5 %")),
        ({"change_pct": None, "change_ci95_pct": None}, ("▲", "", "", "+10 %")),
        ({"change_pct": 12345.6, "change_ci95_pct": (900.0, float("inf"))}, ("▲", "+12346 %", "[+900.0, +∞]", "+10 %")),
        ({"change_pct": float("inf")}, ("▲", "", "[+8.1, +16.9]", "+10 %")),
        ({"threshold_pct": None, "threshold_floor": 20.0}, ("▲", "+12.3 %", "[+8.1, +16.9]", "+20 ms")),
        ({"threshold_pct": 10.0, "threshold_floor": 20.0}, ("▲", "+12.3 %", "[+8.1, +16.9]", "+10 % and +20 ms")),
        ({"threshold_pct": 0.0}, ("▲", "+12.3 %", "[+8.1, +16.9]", "any rise")),
        ({"metric": "tps", "threshold_pct": 0.0}, ("▼", "+12.3 %", "[+8.1, +16.9]", "any fall")),
        ({"metric": "error_rate", "baseline": 0.05, "candidate": 0.025, "threshold_floor": 0.01, "threshold_pct": None},
         ("▲", "-2.5 points", "", "+1 points")),
        ({"metric": "of a later version"}, ("▲", "+12.3 %", "[+8.1, +16.9]", "+10 %")),
    ],
)  # fmt: skip
def test_words(changes: dict[str, object], shown: tuple[str, str, str, str]) -> None:
    """Arrow, change, interval and limit."""
    found = replace(SLOW, **changes)  # type: ignore[arg-type]
    assert (arrow(found), change(found), interval(found), limit(found)) == shown


@pytest.mark.parametrize(
    ("rule", "shown"),
    [
        ("output_tokens.p50 < -20tokens", ("▼", "-20")),
        ("output_tokens.p50 > +20tokens", ("▲", "+20")),
        ("a<b-*: output_tokens.p50 > +20tokens", ("▲", "+20")),
        ("output_tokens.p50 < -0%", ("▼", "any fall")),
    ],
)
def test_what_is_worse_of_tokens(rule: str, shown: tuple[str, str]) -> None:
    """The rule says which way, also where it has no percentage."""
    floor = None if "%" in rule else 20.0
    each = replace(
        SLOW, rule=rule, metric="output_tokens", threshold_pct=None if floor else -0.0, threshold_floor=floor
    )
    assert (arrow(each), limit(each)) == shown


def test_what_was_judged_relative_to_a_reference() -> None:
    """The change as measured stands beside the one that was judged."""
    found = replace(SLOW, raw_change_pct=15.2, raw_change_ci95_pct=(9.0, 22.0))
    (_, line) = against_lines(Against("pairs", "main", comparisons=(found,)))
    assert "as measured +15.2 % [+9.0, +22.0]" in line


def test_a_stored_run() -> None:
    """When it was, and how many requests there were on both sides."""
    stored = Against("run", "main@3f9a", started_at="2026-11-20", comparisons=(replace(SLOW, pairs=None),))
    head, line = against_lines(stored)
    assert head == "  compared with main@3f9a (2026-11-20)"
    assert "n 20 and 20" in line


def test_counting() -> None:
    """All four words, also those of which there are none."""
    assert counted_words([SLOW, ERRORS, SAME]) == "2 regressed, 0 improved, 1 unchanged, 0 undecided"


@given(st.text(max_size=2000), st.floats(), st.none() | st.floats())
def test_hostile_text_is_harmless_and_bounded(text: str, number: float, probability: float | None) -> None:
    """Whatever a rule, a label or a reason says, and whatever number a file holds."""
    bad = replace(
        SLOW, rule=text, metric=text, statistic=text, reason=text, scope=text, baseline=number, change_pct=number,
        change_ci95_pct=(number, number), probability=probability, threshold_pct=number, threshold_floor=number,
    )  # fmt: skip
    against = Against("run", text, started_at=text, differs=(text,) * 50, notes=(text,) * 50, comparisons=(bad,) * 100)
    found = verdict_text(replace(CASE, scenario=text, model=text, against=(against,) * 20))
    assert all(line.isprintable() for line in found.split("\n"))
    assert len(found.split("\n")) < 400
    assert len(found) < 400_000
    assert headline(bad).isprintable()
