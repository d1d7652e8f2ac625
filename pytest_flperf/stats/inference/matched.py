"""Paired quality and failure rates: which test, and its verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pytest_flperf.stats.inference.decision import (
    Evidence,
    Tails,
    better_points,
    decide,
    not_improved,
    of_change,
    of_floor,
    points_of,
    shared_rate,
    side_of_interval,
)
from pytest_flperf.stats.inference.findings import GRADED, MATCHED, ErrorRates, Finding, Threshold, Word
from pytest_flperf.stats.inference.graded import BootstrapT
from pytest_flperf.stats.inference.matched_requests import MatchedRequest, averaged_by_prompt, counted_once
from pytest_flperf.stats.inference.matched_shares import MatchedCounts, exact_tails, score_interval
from pytest_flperf.stats.inference.paired import Pair
from pytest_flperf.stats.inference.permutation import Bools, Floats, Law, is_drawn
from pytest_flperf.stats.inference.sample_sizes import LEAST_EVIDENCE, fewest_to_exclude
from pytest_flperf.stats.inference.schedule import spent_at

__all__ = ["judge_matched", "judge_prompts", "law_of_signs", "repeats_words"]

_LEAST_PROMPTS: Final = 12
"""From so many different prompts on, the repeats of each are averaged."""
_CONFIDENCE_LEFT: Final = 0.05
_WIDEST_LAW: Final = 20_000
_FINEST_SCORE: Final = 100


def judge_matched(pairs: Sequence[Pair], threshold: Threshold, rates: ErrorRates, *, look: int, looks: int) -> Finding:
    """Judge the matched requests of all pairs, at one look.

    It judges the mean of their scores; where all scores are 0 or 1, that is a share.

    Any change is tested by the law of the orders as drawn, in which whole turns are swapped.  A change of more points
    than allowed is tested at that limit, and must be a change at all by the law of the orders, too.

    Args:
        pairs: All since the first, in the order in which they were measured.
        threshold: What is allowed; its floor is a difference of the means.
        rates: How often the answer may be wrong.
        look: Which look this is, 1 for the first.
        looks: How many there may be in all.

    Raises:
        ValueError: A relative threshold, no such look, or orders that ``draw_orders`` can't have drawn.

    """
    order = np.array([pair.candidate_first for pair in pairs], dtype=np.bool_)
    if not is_drawn(order):
        raise ValueError("the orders of the pairs did not come from draw_orders")
    turns = [pair.matched for pair in pairs]
    kept = counted_once(turns)
    decision = _Decision(threshold, rates, spent_at(look, looks), last=look == looks)
    requests = sum(map(len, turns))
    averaged = averaged_by_prompt(turns, kept)
    weights = _even_weights(turns) if averaged else {}
    counted = turns if averaged else kept

    def law(difference: float) -> Tails:
        sums = (
            sum(weights.get(each.prompt, 1.0) * (each.difference - difference) for each in turn) for turn in counted
        )
        return _law_of_orders(np.fromiter(sums, dtype=np.float64, count=len(counted)), order)

    finding = _judged(requests, averaged or [each for turn in kept for each in turn], decision, law)
    return replace(finding, pairs=sum(bool(turn) for turn in turns))


def _even_weights(turns: Sequence[Sequence[MatchedRequest]]) -> dict[str, float]:
    """Weight of a request by its prompt, so that all prompts weigh the same; 1 where all were asked as often."""
    asked = Counter(each.prompt for turn in turns for each in turn)
    usual = asked.total() / len(asked)
    return {prompt: usual / count for prompt, count in asked.items()}


def judge_prompts(requests: Sequence[MatchedRequest], threshold: Threshold, rates: ErrorRates) -> Finding:
    """Judge two runs with the same prompts, each prompt once.

    No order was drawn, so signs are.  One look only.

    Args:
        requests: A prompt each.
        threshold: As of :func:`judge_matched`.
        rates: As of :func:`judge_matched`.

    """
    differences = np.array([each.difference for each in requests], dtype=np.float64)

    def law(difference: float) -> Tails:
        return law_of_signs(differences - difference)

    finding = _judged(len(requests), requests, _Decision(threshold, rates, 1.0, last=True), law)
    return replace(finding, pairs=None)


@dataclass(frozen=True, slots=True)
class _Decision:
    """The rule, and what an answer may cost."""

    threshold: Threshold
    rates: ErrorRates
    spent: float
    last: bool

    def __post_init__(self) -> None:
        if self.threshold.share:
            raise ValueError(f"a share changes by points, not by {self.threshold.share:.0%} of itself")

    @property
    def level(self) -> float:
        """Level of one side of the interval, valid under the looks."""
        return _CONFIDENCE_LEFT * self.spent / 2


_Law: TypeAlias = Callable[[float], Tails]
"""P-values of "the difference is this" that follow from swapping labels."""


class _Method(Protocol):
    """Tests and interval of a difference of means."""

    name: str

    @property
    def change(self) -> float: ...

    def tails(self, difference: float) -> Tails: ...

    def interval(self, level: float) -> tuple[float, float]: ...

    def hidden(self, points: float) -> float:
        """Probability that a loss of this size stays unseen.

        All of it lies in rare prompts then, and shows in none of these.
        """
        ...

    @property
    def counted(self) -> tuple[int, str]:
        """Number of independent pieces of evidence, and their name."""
        ...


class _Share:
    """Scores that are all 0 or 1."""

    name = MATCHED

    def __init__(self, evidence: Sequence[MatchedRequest]) -> None:
        more = sum(each.difference > 0 for each in evidence)
        less = sum(each.difference < 0 for each in evidence)
        self._counts = MatchedCounts(len(evidence), more, less)
        self.change = self._counts.difference

    def tails(self, difference: float) -> Tails:
        return exact_tails(self._counts, difference)

    def interval(self, level: float) -> tuple[float, float]:
        return score_interval(self._counts, level)

    def hidden(self, points: float) -> float:
        del points  # the exact test knows
        return 0.0

    @property
    def counted(self) -> tuple[int, str]:
        return self._counts.pairs, "pairs"


class _Graded:
    """Scores between 0 and 1."""

    name = GRADED

    def __init__(self, evidence: Sequence[MatchedRequest], level: float, law: _Law) -> None:
        self._differences = _by_prompt(evidence)
        self._by_prompt = len(self._differences) < len(evidence)
        self._law = law
        self._bootstrap = BootstrapT(self._differences, level)
        self.change = self._bootstrap.mean

    def tails(self, difference: float) -> Tails:
        """P-values of the bootstrap and of the law; the larger.

        Where few differ, the bootstrap alone errs too often.
        """
        (more, less), (more_by_law, less_by_law) = self._bootstrap.tails(difference), self._law(difference)
        return max(more, more_by_law), max(less, less_by_law)

    def interval(self, level: float) -> tuple[float, float]:
        return self._bootstrap.interval(level)

    def hidden(self, points: float) -> float:
        return float(max(1 - points, 0.0) ** len(self._differences))

    @property
    def counted(self) -> tuple[int, str]:
        return len(self._differences), "prompts" if self._by_prompt else "pairs"


def _judged(count: int, evidence: Sequence[MatchedRequest], decision: _Decision, law: _Law) -> Finding:
    """Judge the evidence that so many requests of a side are."""
    binary = all(value in (0.0, 1.0) for each in evidence for value in (each.candidate, each.baseline))
    baseline, candidate = _mean([each.baseline for each in evidence]), _mean([each.candidate for each in evidence])

    def finding(word: Word, reason: str, method: _Method | None = None, found: Evidence | None = None) -> Finding:
        return Finding(
            word,
            baseline,
            candidate,
            change=None if method is None else method.change,
            interval=None if method is None else method.interval(decision.level),
            probability=None if found is None else found.probability,
            p_value=None if found is None else found.worse,
            n_baseline=count,
            n_candidate=count,
            pairs=count,
            method=MATCHED if binary else GRADED,
            reason=reason,
        )

    if len(evidence) < LEAST_EVIDENCE:
        return finding("undecided", _too_few(count, len(evidence)))
    method: _Method = _Share(evidence) if binary else _Graded(evidence, decision.rates.alarm_level(decision.spent), law)
    found = _evidence(method, law(0.0), decision.threshold)
    word = decide(found, decision.rates, decision.spent)
    if word == "undecided":
        return finding(word, _why(evidence, count, method, found, decision), method, found)
    better, advice = better_points(decision.threshold), _advice(method, len(evidence), count)
    why = not_improved(word, better, found.better, decision.rates, decision.spent, advice)
    return finding(word, why, method, found)


def _advice(method: _Method, evidence: int, requests: int) -> str:
    by_prompt = method.counted[1] == "prompts" or evidence < requests
    return f"fewer rules or more {'prompts' if by_prompt else 'requests'}"


def _evidence(method: _Method, any_change: Tails, threshold: Threshold) -> Evidence:
    at_none = of_change(any_change, any_change, threshold)
    if not threshold.floor:
        return at_none
    worst, best = of_floor(threshold)
    at_limit = of_change(method.tails(worst), method.tails(best), threshold)
    return replace(
        at_limit,
        worse=max(at_limit.worse, at_none.worse),
        within=max(at_limit.within, method.hidden(threshold.floor)),
        better=max(at_limit.better, at_none.better),
    )


def _law_of_orders(net: Floats, candidate_first: Bools) -> Tails:
    """P-values of swapped labels, by the sum of the differences.

    The null hypothesis: "swapping the labels of a pair of turns changes nothing".
    """
    scores = _whole(net)
    return Law(scores, (net > 0) == candidate_first).tails(int(scores[net > 0].sum()))


def law_of_signs(net: Floats) -> Tails:
    """P-values of random signs, by the sum of the differences.

    The null hypothesis: "each difference could as well have the other sign".  For shares it is the binomial law.
    """
    scores = _whole(net)
    chance = np.ones(1)
    for score in scores[scores > 0].tolist():
        wider = np.zeros(len(chance) + score)
        wider[: len(chance)] += chance / 2
        wider[score:] += chance / 2
        chance = wider
    seen = int(scores[net > 0].sum())
    return min(float(chance[seen:].sum()), 1.0), min(float(chance[: seen + 1].sum()), 1.0)


def _whole(net: Floats) -> NDArray[np.int64]:
    """Sizes of differences as whole numbers.

    They are small enough for the table of a law.
    """
    sizes = np.abs(net)
    if np.array_equal(np.rint(sizes), sizes):
        return sizes.astype(np.int64)
    finest = min(_FINEST_SCORE, _WIDEST_LAW / max(float(sizes.sum()), 1.0))
    return np.rint(sizes * finest).astype(np.int64)


def _by_prompt(evidence: Sequence[MatchedRequest]) -> Floats:
    """The differences, those of a prompt averaged where prompts are many."""
    found: dict[str, list[float]] = {}
    for each in evidence:
        found.setdefault(each.prompt, []).append(each.difference)
    if len(found) < _LEAST_PROMPTS:
        return np.array([each.difference for each in evidence])
    return np.array([sum(each) / len(each) for each in found.values()])


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _too_few(requests: int, evidence: int) -> str:
    if requests >= LEAST_EVIDENCE:
        return repeats_words(requests, evidence) + ": add prompts"
    return f"{evidence} matched requests are too few to tell; {LEAST_EVIDENCE} are needed"


def repeats_words(requests: int, evidence: int) -> str:
    """Why so many requests are so little evidence."""
    prompts = f"{evidence} prompt{'s' * (evidence != 1)}"
    return f"{requests} requests a side are evidence of only {prompts}, since a prompt counts once"


def _why(
    evidence: Sequence[MatchedRequest], requests: int, method: _Method, found: Evidence, decision: _Decision
) -> str:
    sign = 1 if decision.threshold.higher_is_worse else -1
    worse, better = (sum(way * sign * each.difference > 0 for each in evidence) for way in (1, -1))
    points, limit = decision.threshold.floor, points_of(decision.threshold)
    by_prompt = len(evidence) < requests
    told = [
        f"worse in {worse} of {len(evidence)} {'prompts' if by_prompt else 'pairs of requests'}, better in {better}"
    ]
    fewest, (there, what) = fewest_to_exclude(points, decision.rates.false_pass * decision.spent), method.counted
    what = "prompts" if by_prompt else what
    said = side_of_interval(method.interval(decision.level), decision.threshold)
    advice = _advice(method, len(evidence), requests)
    if shared := shared_rate(limit, found.worse, decision.rates, decision.spent, advice):
        told.append(shared)
    elif said == "shows":
        told.append(f"the interval shows {limit}, but the tests that decide don't yet (p {found.worse:.2g})")
    elif fewest is not None and fewest > there:
        told.append(f"{limit} is neither shown nor excluded{'' if decision.last else ' yet'}")
        told.append(f"excluding it takes at least {fewest} {what}" + (f", and there are {there}" * (what != "pairs")))
    elif said:
        told.append(f"the interval excludes {limit}, but the tests that decide don't yet")
    else:
        told.append(f"{limit} is neither shown nor excluded{'' if decision.last else ' yet'}")
    if by_prompt:
        told.append(repeats_words(requests, len(evidence)))
    return "; ".join(told)
