"""Paired quality and failure rates: which test, which word, and why not."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.stats.inference.findings import GRADED, MATCHED, ErrorRates, Finding, Threshold
from pytest_flperf.stats.inference.graded import BootstrapT
from pytest_flperf.stats.inference.matched import judge_matched, judge_prompts
from pytest_flperf.stats.inference.matched_requests import MatchedRequest, counted_once, is_deterministic
from pytest_flperf.stats.inference.paired import Pair
from pytest_flperf.stats.inference.schedule import draw_orders

FALL = Threshold(0.0, 0.02, higher_is_worse=False)
ANY_FALL = Threshold(0.0, higher_is_worse=False)
RATES = ErrorRates(comparisons=18)
Score = Callable[[int], float]


def judged(
    candidate: Score, baseline: Score, n: int = 100, threshold: Threshold = FALL, streams: int = 1, seed: int = 5
) -> Finding:
    """So many pairs of turns, each request scored by its number."""
    pairs = [
        Pair((), (), first, matched=tuple(MatchedRequest(candidate(n), baseline(n)) for n in range(at, at + streams)))
        for at, first in zip(range(0, n, streams), draw_orders(-(-n // streams), seed), strict=True)
    ]
    return judge_matched(pairs, threshold, RATES, look=1, looks=1)


@pytest.mark.parametrize("streams", [1, 4])
@pytest.mark.parametrize("threshold", [FALL, ANY_FALL])
def test_words(streams: int, threshold: Threshold) -> None:
    """A loss of half is a regression, the other way round an improvement; either with its interval in points."""
    half: Score = lambda n: float(n * 7 % 13 < 6)  # noqa: E731
    worse = judged(half, lambda _: 1.0, threshold=threshold, streams=streams)
    better = judged(lambda _: 1.0, half, threshold=threshold, streams=streams)
    assert (worse.word, better.word, worse.reason) == ("regressed", "improved", "")
    assert (worse.baseline, worse.candidate, worse.n_candidate) == (1.0, pytest.approx(0.47, abs=0.05), 100)
    assert worse.change == pytest.approx(-better.change)  # type: ignore[operator]
    assert worse.interval is not None
    assert worse.interval[0] < worse.change < worse.interval[1] < 0  # type: ignore[operator]
    assert worse.method == MATCHED
    assert worse.pairs == 100 // streams


def test_losses_that_ranks_overlook() -> None:
    """Ten points of 200 pairs, which ranks of pairs called unchanged in 30 of 30."""
    chance = random.Random(3)
    right, seldom = (lambda _, p=p: float(chance.random() < p) for p in (0.98, 0.88))
    words = [judged(seldom, right, 200, seed=seed).word for seed in range(30)]
    assert "unchanged" not in words
    assert words.count("regressed") > 3


def test_no_difference_at_all() -> None:
    """It is said to be unchanged from as many pairs as could show a rare loss, and before, how many that takes."""
    assert judged(lambda _: 1.0, lambda _: 1.0, 149).word == "unchanged"
    found = judged(lambda _: 1.0, lambda _: 1.0, 148)
    assert found.word == "undecided"
    assert "worse in 0 of 148 pairs of requests, better in 0" in found.reason
    assert "a fall of more than 2 points is neither shown nor excluded" in found.reason
    assert "takes at least 149 pairs" in found.reason
    nothing = judged(lambda _: 0.0, lambda _: 0.0, 149)
    assert (nothing.word, nothing.baseline) == ("unchanged", 0.0)
    assert judged(lambda _: 0.7, lambda _: 0.7, 149).word == "unchanged"
    assert judged(lambda _: 0.7, lambda _: 0.7, 148).word == "undecided"


def test_likely_but_not_sure_enough() -> None:
    """Where the rest of the run's error rate is too small for the word, the reason says so."""
    found = judged(lambda n: float(n % 12 > 0), lambda _: 1.0, 108)
    assert found.word == "undecided"
    assert "is likely (p " in found.reason
    assert "the run's error rate of 1 %, shared by 18 comparisons, requires p 0.00056" in found.reason
    assert found.reason.endswith("fewer rules or more requests would decide it")


@pytest.mark.parametrize("threshold", [FALL, ANY_FALL])
def test_graded_words(threshold: Threshold) -> None:
    """Scores between 0 and 1: a tenth less on average is found, and the interval holds it."""
    chance = random.Random(8)
    found = judged(
        lambda _: chance.uniform(0.4, 1.0), lambda _: chance.uniform(0.6, 1.0), 200, threshold
    )  # fmt: skip
    assert (found.word, found.method) == ("regressed", GRADED)
    assert found.interval is not None
    assert found.interval[0] < -0.1 < found.interval[1]


def test_failures_are_worse_when_they_are_more() -> None:
    """The same test the other way round: 1 is a failure."""
    rise = Threshold(0.0, 0.01)
    more = judged(lambda n: float(n % 3 == 0), lambda n: float(n % 50 == 1), 150, rise)
    assert (more.word, judged(lambda _: 0.0, lambda n: float(n % 3 == 0), 150, rise).word) == ("regressed", "improved")


def test_too_little_and_what_can_not_be() -> None:
    """Five requests, a relative limit, orders that nobody drew."""
    assert judged(lambda _: 0.0, lambda _: 1.0, 5).reason == "5 matched requests are too few to tell; 6 are needed"
    with pytest.raises(ValueError, match="changes by points"):
        judged(lambda _: 0.0, lambda _: 1.0, threshold=Threshold(0.1))
    pairs = [Pair((), (), True, matched=(MatchedRequest(1.0, 0.0),))] * 15
    with pytest.raises(ValueError, match="draw_orders"):
        judge_matched(pairs, FALL, RATES, look=1, looks=1)


def request(prompt: str, mine: str, theirs: str, score: float = 0.0) -> MatchedRequest:
    """A greedy one."""
    return MatchedRequest(score, 1.0, prompt, frozenset({mine, theirs}))


def test_repeats_count_once() -> None:
    """Only those of a prompt that is always answered alike on both sides; failures have no answer and all count."""
    alike, varied = [request("p", "a", "b")] * 3, [request("q", "a", "b"), request("q", "c", "b")]
    failed = MatchedRequest(0.0, 1.0, "p")
    assert counted_once([alike, varied, [failed, failed]]) == ((alike[0],), tuple(varied), (failed, failed))


def test_one_greedy_prompt_is_one_piece_of_evidence() -> None:
    """However often it is repeated."""
    pairs = [Pair((), (), first, matched=(request("p", "a", "b"),)) for first in draw_orders(60, 1)]
    found = judge_matched(pairs, FALL, RATES, look=1, looks=1)
    assert (found.word, found.candidate, found.n_candidate) == ("undecided", 0.0, 60)
    assert found.reason == ("60 requests a side are evidence of only 1 prompt, since a prompt counts once: add prompts")


def erring_at_times(prompts: int, repeats: int, share: float, seed: int) -> list[Pair]:
    """Greedy sides, of which the candidate now and then answers wrongly; each prompt is asked in passes."""
    chance, orders = random.Random(seed), draw_orders(prompts * repeats, seed)
    wrong = [chance.random() < share for _ in range(prompts * repeats)]
    return [
        Pair((), (), first, matched=(request(f"p{n % prompts}", f"wrong {n}" if bad else "right", "right", 1.0 - bad),))
        for n, (bad, first) in enumerate(zip(wrong, orders, strict=True))
    ]


def test_a_prompt_weighs_as_much_as_another() -> None:
    """Nine wrong answers of 600 are a loss of 1.5 points, though the other 591 are mostly the same again."""
    wrong = {n: f"wrong {n}" for n in range(3, 540, 60)}
    pairs = [
        Pair((), (), first, matched=(request(f"p{n % 100}", wrong.get(n, "right"), "right", float(n not in wrong)),))
        for n, first in enumerate(draw_orders(600, 1))
    ]
    found = judge_matched(pairs, FALL, ErrorRates(), look=1, looks=1)
    assert found.word != "regressed"
    assert (found.baseline, found.candidate) == (1.0, pytest.approx(0.985))
    assert found.change == pytest.approx(-0.015)
    assert found.interval is not None
    assert found.interval[0] < -0.015 < found.interval[1] <= 0
    assert "of 100 prompts" in found.reason


def test_a_loss_that_is_allowed_is_no_regression() -> None:
    """A server that errs in nearly two answers of a hundred loses that, not as much as it has repeats."""
    words, rates = [], ErrorRates()
    for seed in range(30):
        found = judge_matched(erring_at_times(60, 5, 0.019, seed), FALL, rates, look=1, looks=1)
        words.append(found.word)
        assert found.interval is None or found.interval[0] <= found.change <= found.interval[1]  # type: ignore[operator]
    assert words.count("regressed") <= 1


def test_a_large_loss_is_found() -> None:
    """One answer in five turned wrong, at random: with prompts as the evidence it still is a regression."""
    found = judge_matched(erring_at_times(60, 3, 0.2, 1), FALL, RATES, look=1, looks=1)
    assert (found.word, found.method) == ("regressed", GRADED)
    other = [replace(pair, matched=tuple(replace(each, candidate=each.baseline, baseline=each.candidate)
             for each in pair.matched)) for pair in erring_at_times(60, 3, 0.2, 1)]  # fmt: skip
    assert judge_matched(other, FALL, RATES, look=1, looks=1).word == "improved"


def test_failures_weigh_as_much_as_answers() -> None:
    """One failed request of ten, where the prompt is else answered alike: a tenth, not half."""
    failed = MatchedRequest(0.0, 1.0, "p0")
    rows = [failed if n == 0 else request(f"p{n % 20}", "right", "right", 1.0) for n in range(200)]
    pairs = [Pair((), (), first, matched=(each,)) for each, first in zip(rows, draw_orders(200, 2), strict=True)]
    found = judge_matched(pairs, FALL, RATES, look=1, looks=1)
    assert found.change == pytest.approx(-0.1 / 20)


@given(st.lists(st.tuples(st.sampled_from("pq"), st.sampled_from("ab"), st.sampled_from("ab")), max_size=8))
def test_labels_do_not_change_what_counts(drawn: Sequence[tuple[str, str, str]]) -> None:
    """Swapping the sides of any turn leaves the same requests, so the law of the orders holds for them."""
    turns = [[request(*each)] for each in drawn]
    swapped = [[request(prompt, theirs, mine)] for prompt, mine, theirs in drawn]
    assert [len(each) for each in counted_once(turns)] == [len(each) for each in counted_once(swapped)]


@pytest.mark.parametrize(
    ("settings", "is_so"),
    [
        ({"temperature": 0}, True), ({"temperature": 0.0}, True), ({"temperature": 0.7}, False), ({}, False),
        ({"temperature": 1, "top_k": 1}, True), ({"temperature": 1, "seed": 0}, True),
        ({"temperature": 1, "extra": {"temperature": 0}}, True),
        ({"temperature": 0, "extra": {"temperature": 1}}, False),
        ({"temperature": None, "seed": None, "extra": None}, False),
    ],
)  # fmt: skip
def test_what_is_answered_alike(settings: dict[str, object], is_so: bool) -> None:
    """Greedy decoding, or a seed."""
    assert is_deterministic(settings) is is_so


def test_the_orders_alone_decide_of_equal_sides() -> None:
    """All orders that might have been drawn of 12 pairs: as small as a level at most as often."""
    requests = [MatchedRequest(float(n % 3 > 0), float(n % 2)) for n in range(12)]
    p_values = []
    for seed in range(600):
        orders = draw_orders(12, seed)
        # labels follow the order, what the first slot answered stays
        turns = [each if first else MatchedRequest(each.baseline, each.candidate)
                 for each, first in zip(requests, orders, strict=True)]  # fmt: skip
        pairs = [Pair((), (), first, matched=(each,)) for each, first in zip(turns, orders, strict=True)]
        p_values.append(judge_matched(pairs, ANY_FALL, RATES, look=1, looks=1).p_value)
    for level in (0.05, 0.2, 0.5):
        assert np.mean([p is not None and p <= level for p in p_values]) <= level + 3 * (level / 600) ** 0.5


def test_two_runs_prompt_by_prompt() -> None:
    """Without drawn orders signs are what is drawn; there are no pairs of turns."""
    worse = judge_prompts([MatchedRequest(0.0, 1.0)] * 30 + [MatchedRequest(1.0, 1.0)] * 30, FALL, ErrorRates())
    assert (worse.word, worse.pairs, worse.n_baseline) == ("regressed", None, 60)
    graded = judge_prompts([MatchedRequest(0.3, 0.8)] * 15 + [MatchedRequest(0.5, 0.6)] * 15, FALL, ErrorRates())
    assert graded.word == "regressed"
    assert judge_prompts([MatchedRequest(1.0, 1.0)] * 30, FALL, ErrorRates()).word == "undecided"


def test_bootstrap_limits() -> None:
    """The interval holds the mean; its tails agree with it; all alike gives what chance could hide."""
    chance = np.random.default_rng(4)
    found = BootstrapT(chance.normal(-0.1, 0.2, 80), 1e-3)
    low, high = found.interval(0.025)
    assert low < found.mean < high
    assert found.tails(high)[1] == pytest.approx(0.025, abs=0.004)
    assert found.tails(low)[0] == pytest.approx(0.025, abs=0.004)
    same = BootstrapT(np.zeros(50), 1e-3)
    assert same.interval(0.025) == pytest.approx((-0.0711, 0.0711), abs=1e-3)
    assert same.tails(-0.1) == (0.0, 1.0)


def test_how_many_prompts_exclude_a_fall() -> None:
    """Of graded scores prompts count, not requests: 180 of 18 prompts are too few for what takes 59."""
    chance = random.Random(4)
    pairs = [
        Pair((), (), first, matched=(MatchedRequest(chance.random(), chance.random(), f"p{at % 18}"),))
        for at, first in enumerate(draw_orders(180, 3))
    ]
    finding = judge_matched(pairs, Threshold(0.0, 0.05, higher_is_worse=False), RATES, look=1, looks=1)
    assert finding.word == "undecided"
    assert finding.reason.endswith("excluding it takes at least 59 prompts, and there are 18")


@pytest.mark.parametrize(("floor", "limit"), [(0.0, "any rise"), (0.01, "a rise of more than 1 point")])
def test_an_interval_beyond_the_limit_is_explained(floor: float, limit: str) -> None:
    """Tango's interval shows a rise that the orders of nine pairs can't show: the reason says that, too."""
    fails: Score = lambda at: float(at in (1, 4, 6, 7))  # noqa: E731
    finding = judged(fails, lambda _: 0.0, 9, Threshold(0.0, floor))
    assert finding.interval is not None
    assert finding.word == "undecided"
    assert finding.interval[0] > 0
    assert f"the interval shows {limit}, but the tests that decide don't yet (p 0.07)" in finding.reason
