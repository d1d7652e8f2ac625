"""What two runs that followed one another say."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_flperf.stats.inference.between_runs import Summary, block_length, judge_runs, judge_summaries
from pytest_flperf.stats.inference.findings import BLOCKS, SUMMARIES, ErrorRates, Threshold
from pytest_flperf.stats.inference.run_variance import UNKNOWN_MACHINE, BetweenRuns, between_runs

STEADY = BetweenRuns(0.01, 20)
TEN = Threshold(0.10)


def run(n: int, ratio: float = 1.0, seed: int = 1, noise: float = 0.08) -> list[float]:
    """Latencies about 100 ms."""
    return [float(v) for v in 100 * ratio * np.exp(np.random.default_rng(seed).normal(0, noise, n))]


@pytest.mark.parametrize("statistic", ["p50", "mean", "p95"])
@pytest.mark.parametrize(("ratio", "word"), [(1.5, "regressed"), (1.0, "unchanged"), (0.6, "improved")])
def test_words_on_a_steady_machine(statistic: str, ratio: float, word: str) -> None:
    """With a history that varies by 1 %."""
    finding = judge_runs(
        run(200), run(200, ratio, 2), statistic, TEN, ErrorRates(), between_runs=STEADY, requests_needed=11
    )
    assert (finding.word, finding.method, finding.pairs) == (word, BLOCKS, None)
    assert finding.interval is not None
    assert finding.interval[0] < ratio - 1 < finding.interval[1]


def test_without_history_little_can_be_said() -> None:
    """A rise of 30 % might be the machine; the reason says so."""
    finding = judge_runs(
        run(200), run(200, 1.3, 2), "p50", TEN, ErrorRates(), between_runs=UNKNOWN_MACHINE, requests_needed=11
    )
    assert finding.word == "undecided"
    assert "between runs" in finding.reason
    assert finding.probability is not None
    assert finding.probability > 0.8


def test_noise_within_the_runs_teaches_nothing_of_the_next() -> None:
    """Two speeds of one machine: without history three times as slow is not blamed, however many requests say so."""
    chance = np.random.default_rng(5)
    slow = [float(v) for v in np.where(chance.random(12) < 0.8, 4.5, 1.7)]
    fast = [float(v) for v in np.where(chance.random(12) < 0.2, 4.5, 1.7)]
    for threshold in (TEN, Threshold(0.0, 0.5), Threshold(0.1, 0.5)):
        finding = judge_runs(
            fast,
            slow,
            "p50",
            threshold,
            ErrorRates(comparisons=3),
            between_runs=UNKNOWN_MACHINE,
            requests_needed=11,
        )
        assert finding.word == "undecided"


def test_a_rate_is_worse_where_it_falls() -> None:
    """And a floor must be exceeded as well."""
    less = Threshold(0.1, higher_is_worse=False)
    for threshold, word in ((less, "regressed"), (Threshold(0.1, 50, higher_is_worse=False), "unchanged")):
        finding = judge_runs(
            run(100), run(100, 0.6, 2), "p50", threshold, ErrorRates(), between_runs=STEADY, requests_needed=11
        )
        assert finding.word == word


@pytest.mark.parametrize(
    ("values", "statistic", "reason"),
    [
        (run(10), "p50", "p50 needs 11 requests a side; there are 10 and 100"),
        (run(100), "max", "max depends on single requests"),
    ],
)
def test_what_two_runs_never_decide(values: list[float], statistic: str, reason: str) -> None:
    """Each with its reason."""
    finding = judge_runs(values, run(100, 5), statistic, TEN, ErrorRates(), between_runs=STEADY, requests_needed=11)
    assert finding.word == "undecided"
    assert reason in finding.reason


LESS = Threshold(0.10, higher_is_worse=False)


@pytest.mark.parametrize("statistic", ["p50", "mean", "p90"])
@pytest.mark.parametrize(
    ("older", "newer", "threshold", "word"),
    [
        (0.0, 3.0, TEN, "regressed"),
        (0.0, 3.0, Threshold(0.0), "regressed"),
        (0.0, 3.0, Threshold(0.0, 2), "regressed"),
        (0.0, 3.0, Threshold(0.1, 2), "regressed"),
        (0.0, 3.0, Threshold(0.0, 4), "unchanged"),
        (3.0, 0.0, TEN, "improved"),
        (3.0, 0.0, LESS, "regressed"),
        (0.0, 3.0, LESS, "improved"),
        (0.0, 0.0, TEN, "unchanged"),
        (0.0, 0.0, LESS, "unchanged"),
    ],
)
def test_zero_on_a_side(statistic: str, older: float, newer: float, threshold: Threshold, word: str) -> None:
    """What earlier runs differ by, in the metric's unit, says whether a rise from nothing is one."""
    finding = judge_runs(
        [older * v for v in run(100)],
        [newer * v for v in run(100, seed=2)],
        statistic,
        threshold if not threshold.floor else Threshold(threshold.share, threshold.floor * 100),
        ErrorRates(comparisons=18),
        between_runs=UNKNOWN_MACHINE,
        requests_needed=11,
        history=[older * 100 + add for add in (0.1, -0.1, 0.2, 0.0, -0.2, 0.1) * 2],
    )
    assert finding.word == word, finding
    if not older:
        assert (finding.change, finding.interval) == (None, None)
        assert ("rose from 0" in finding.reason) == (word == "regressed")


def test_zero_on_a_side_of_an_unknown_machine() -> None:
    """A small rise that earlier runs had as well is none; without any it is undecided, and says why."""
    asked = {"between_runs": UNKNOWN_MACHINE, "requests_needed": 11}
    for history, said in (((0.0, 0.4, 0.1, 0.3), "4 earlier runs"), ((), "a guess")):
        finding = judge_runs(
            [0.0] * 100, run(100, 0.004), "mean", TEN, ErrorRates(comparisons=100), **asked, history=history
        )  # type: ignore[arg-type]
        assert finding.word == "undecided"
        assert said in finding.reason or "shared by 100 comparisons" in finding.reason


@pytest.mark.parametrize("share", [0.03, 0.05, 0.1])
def test_a_tail_is_rarely_called_unchanged(share: float) -> None:
    """A mean that is just at its limit because of rare slow answers, on a machine whose runs hardly differ."""
    exact = BetweenRuns(0.001, 1_000)
    chance = np.random.default_rng(3)
    said = 0
    for seed in range(100):
        slow = chance.random(100) < share
        newer = np.array(run(100, seed=2 * seed, noise=0.03)) * np.where(slow, 1 + 0.1 / share, 1.0)
        finding = judge_runs(
            run(100, seed=2 * seed + 1, noise=0.03), newer.tolist(), "mean", TEN, ErrorRates(),
            between_runs=exact, requests_needed=0,
        )  # fmt: skip
        said += finding.word == "unchanged"
    assert said <= 11


def test_a_mean_of_few_requests_is_never_unchanged() -> None:
    """A rare slow answer may not have come."""
    few, many = (
        judge_runs(run(n), run(n, seed=2), "mean", Threshold(0.5), ErrorRates(), between_runs=STEADY, requests_needed=0)
        for n in (60, 90)
    )
    assert (few.word, many.word) == ("undecided", "unchanged")
    assert "only with 90 requests a side or more" in few.reason


def test_what_the_runs_error_rate_forbids() -> None:
    """An interval beyond the limit and yet undecided: the reason says why, and what would decide it."""
    finding = judge_runs(
        run(200), run(200, 1.375, 2), "p50", TEN, ErrorRates(comparisons=5_000),
        between_runs=BetweenRuns(0.04, 6), requests_needed=11,
    )  # fmt: skip
    assert finding.interval is not None
    assert (finding.word, finding.interval[0] > 0.1) == ("undecided", True)
    assert "the run's error rate of 1 %, shared by 5000 comparisons, requires p 2e-06" in finding.reason
    assert "fewer rules, more stored runs or both sides in turn" in finding.reason


def test_runs_without_any_noise() -> None:
    """Nothing varied, neither within nor between runs: what is seen is so."""
    none = BetweenRuns(0.0, 20)
    for ratio, word in ((1.2, "regressed"), (1.0, "unchanged")):
        finding = judge_runs(
            [5.0] * 20, [5.0 * ratio] * 20, "p50", TEN, ErrorRates(), between_runs=none, requests_needed=11
        )
        assert finding.word == word


def test_blocks_grow_with_the_dependence() -> None:
    """Independent requests are drawn nearly alone, dependent ones in blocks."""
    noise = np.random.default_rng(2).normal(0, 1, 400)
    dependent = noise.copy()
    for at in range(1, 400):
        dependent[at] += 0.8 * dependent[at - 1]
    assert block_length(noise) <= 4
    assert 10 <= block_length(dependent) <= 100
    assert block_length(np.ones(40)) == 1


def test_dependence_widens_the_interval() -> None:
    """Slow waves in a run count as few requests, whatever their number."""
    wave = [100 * math.exp(0.1 * math.sin(i / 15)) for i in range(200)]
    mixed = [wave[at] for at in np.random.default_rng(1).permutation(200)]
    exact = BetweenRuns(0.001, 50)
    found = [
        judge_runs(each, each, "p50", TEN, ErrorRates(), between_runs=exact, requests_needed=11).interval
        for each in (wave, mixed)
    ]
    assert found[0] is not None
    assert found[1] is not None
    assert found[0][1] > 1.5 * found[1][1]


@given(st.lists(st.floats(-3, 3), max_size=40))
def test_history_outweighs_the_guess(history: list[float]) -> None:
    """The variance is never much more than that of the runs, or the guess; each run adds to what is known."""
    found = between_runs(history)
    own = float(np.std(history, ddof=1)) if len(history) > 1 else UNKNOWN_MACHINE.sd_log
    assert UNKNOWN_MACHINE.runs <= found.runs <= UNKNOWN_MACHINE.runs + max(len(history) - 1, 0)
    assert found.sd_log <= 1.05 * max(own, UNKNOWN_MACHINE.sd_log)


@pytest.mark.parametrize(("runs", "known"), [(1, 2), (2, 3), (3, 4), (6, 7), (20, 21), (40, 41)])
def test_how_much_a_history_is_worth(runs: int, known: int) -> None:
    """A degree of freedom for each run but one, beside the two of the guess; two thirds of one where they creep."""
    assert between_runs([0.0, 0.1] * (runs // 2) + [0.0] * (runs % 2)).runs == known
    assert between_runs([0.1 * at for at in range(20)]).runs == 13


def normal_history(seed: int, runs: int = 40) -> list[float]:
    """Runs that differ by 2 %."""
    return list(np.random.default_rng(seed).normal(0, 0.02, runs))


def test_what_runs_differ_by_is_found() -> None:
    """On average over 300 histories of 40 runs, with the guess of 4 % in it."""
    found = [between_runs(normal_history(seed)).sd_log for seed in range(300)]
    assert float(np.mean(found)) == pytest.approx(0.0213, abs=0.0005)


@pytest.mark.parametrize(
    "change",
    [
        lambda at: 0.01 * at,
        lambda at: 0.47 * (at >= 20),
        lambda at: 0.47 * (20 <= at < 24),
        lambda at: 0.3 * (at >= 10) + 0.3 * (at >= 30),
    ],
    ids=["creep of 1 % a run", "step of +60 %", "four runs", "two steps"],
)
def test_a_change_is_hardly_noise(change: Callable[[int], float]) -> None:
    """A creep, a step and a few disturbed runs leave the spread of runs as it is; a plain one grows tenfold."""
    for seed in range(20):
        quiet = normal_history(seed)
        changed = [value + change(at) for at, value in enumerate(quiet)]
        assert between_runs(changed).sd_log <= 1.5 * between_runs(quiet).sd_log


def test_a_machine_of_two_speeds_stays_noisy() -> None:
    """One run in four, or in ten, takes 30 % longer: that is no change, and counts in full."""
    for often, at_least in ((4, 0.1), (10, 0.07)):
        history = [value + 0.26 * (at % often == 1) for at, value in enumerate(normal_history(1))]
        assert between_runs(history).sd_log > at_least


def test_history_is_the_same_backwards() -> None:
    """Newest or oldest first."""
    history = normal_history(3)
    there, back = between_runs(history), between_runs(history[::-1])
    assert (back.sd_log, back.runs) == (pytest.approx(there.sd_log), there.runs)


def test_no_difference_across_a_level_that_ended() -> None:
    """What is no number parts two levels; alone or at an end it says nothing."""
    assert between_runs([math.nan, -math.inf, 1.0]) == UNKNOWN_MACHINE
    assert between_runs([0.0, math.nan, 5.0, math.nan, -5.0]) == UNKNOWN_MACHINE
    parted = between_runs([0.0, 0.02, math.nan, 0.5, 0.52])
    assert parted.sd_log < UNKNOWN_MACHINE.sd_log
    assert parted.runs == 4


@given(st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_summaries_say_about_what_samples_say(seed: int) -> None:
    """With the interval of the median that independent requests give."""
    older, newer = run(100, seed=seed), run(100, 1.2, seed + 1)
    sides = []
    for values in (older, newer):
        error = 1.2533 * float(np.std(values)) / 10
        middle = float(np.median(values))
        sides.append(Summary(middle, middle - 1.96 * error, middle + 1.96 * error, 100))
    asked = {"between_runs": STEADY, "requests_needed": 11}
    full = judge_runs(older, newer, "p50", TEN, ErrorRates(), **asked)  # type: ignore[arg-type]
    short = judge_summaries(*sides, TEN, ErrorRates(), **asked)  # type: ignore[arg-type]
    assert short.method == SUMMARIES
    assert short.change == pytest.approx(full.change)
    assert full.interval is not None
    assert short.interval == pytest.approx(full.interval, abs=0.04)


def test_summaries_of_too_few() -> None:
    """Undecided, like samples."""
    few, many = Summary(100, 99, 101, 5), Summary(200, 199, 201, 50)
    finding = judge_summaries(few, many, TEN, ErrorRates(), between_runs=STEADY, requests_needed=11)
    assert (finding.word, finding.reason) == ("undecided", "needs 11 requests a side; there are 5 and 50")


def test_a_machine_that_varies_is_rarely_blamed() -> None:
    """Runs whose own level varies by 5 %, with ten earlier runs known: few false alarms in 200 (fixed seeds)."""
    chance = np.random.default_rng(6)
    rates = ErrorRates(false_alarm=0.02)
    alarms = 0
    for seed in range(200):
        levels = np.exp(chance.normal(0, 0.05, 12))
        known = between_runs(np.log(levels[:10]).tolist())
        older, newer = (run(20, float(level), seed * 2 + at) for at, level in enumerate(levels[10:]))
        asked = {"between_runs": known, "requests_needed": 11}
        alarms += judge_runs(older, newer, "p50", Threshold(0.0), rates, **asked).word == "regressed"  # type: ignore[arg-type]
    assert alarms <= 8


@pytest.mark.parametrize(
    ("spread", "said"),
    [(0.01, "1.4 % between runs"), (0.3, "53 % between runs"), (5.0, "more than 1,000 % between runs")],
)
def test_the_reason_can_be_read(spread: float, said: str) -> None:
    """However much runs differ, nobody has to read 2e+04 %."""
    values = [1.0, 1.1, 0.9, 1.05, 0.95, 1.0] * 4
    finding = judge_runs(
        values, values, "p50", Threshold(0.0), ErrorRates(), between_runs=BetweenRuns(spread, 3), requests_needed=11
    )
    assert finding.word == "undecided"
    assert said in finding.reason
    assert "e+" not in finding.reason


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("statistic", ["p50", "mean", "p95", "stdev"])
@pytest.mark.parametrize("factor", [1e-306, 1.0, 1e300])
@pytest.mark.parametrize("threshold", [TEN, Threshold(0.0, 1e300), Threshold(1e306)])
def test_numbers_of_any_size(statistic: str, factor: float, threshold: Threshold) -> None:
    """Neither errors nor numbers that are none, whatever a rule allows and whatever was measured."""
    values = [value * factor for value in run(40)]
    for other in (values[::-1], [0.0] * 40):
        for baseline, candidate in ((values, other), (other, values)):
            finding = judge_runs(
                baseline, candidate, statistic, threshold, ErrorRates(), between_runs=STEADY, requests_needed=0
            )
            numbers = [finding.p_value, finding.probability, finding.change, *(finding.interval or ())]
            assert not any(math.isnan(number) for number in numbers if number is not None)


@pytest.mark.filterwarnings("error")
def test_infinite_values_are_undecided() -> None:
    """A percentile that the infinite ones reach in part of the draws has no error."""
    values = [math.inf if at % 13 == 0 else value for at, value in enumerate(run(100))]
    finding = judge_runs(run(100), values, "p90", TEN, ErrorRates(), between_runs=STEADY, requests_needed=0)
    assert finding.word == "undecided"
    assert "infinite" in finding.reason
