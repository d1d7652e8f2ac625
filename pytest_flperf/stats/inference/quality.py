"""Quality of two runs: matched by prompt, or as independent samples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import sqrt
from typing import Final

from scipy.special import stdtr, stdtrit

from pytest_flperf.results.measured import PromptScore
from pytest_flperf.results.records import Measured
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
from pytest_flperf.stats.inference.findings import SCORES, TWO_SHARES, ErrorRates, Finding, Threshold
from pytest_flperf.stats.inference.independent_shares import Share, independent_interval, independent_tails
from pytest_flperf.stats.inference.matched import judge_prompts, repeats_words
from pytest_flperf.stats.inference.matched_requests import MatchedRequest, is_deterministic
from pytest_flperf.stats.inference.sample_sizes import LEAST_EVIDENCE, fewest_to_exclude

__all__ = ["judge_quality"]

_TAIL: Final = 0.025
_ENOUGH_PROMPTS: Final = 12
"""Common to both runs: then the mean score of each is compared, however often it was asked."""
_ROUNDING: Final = 1e-6
_FEWEST: Final = 2
_ADVICE: Final = "fewer rules, more requests or both sides in turn (--flperf-against)"
_UNKNOWN: Final = (
    "at temperature 0 repeats of a prompt count once, and one side's results don't say which those are; "
    "store a new run, or measure both sides in turn"
)


def judge_quality(baseline: Measured, candidate: Measured, threshold: Threshold, rates: ErrorRates) -> Finding:
    """Judge whether the mean quality differs between two runs.

    Failed requests score 0.

    Prompt by prompt where both runs asked the same ones, each once or many of them; else by all requests of both.  How
    good an answer is doesn't depend on how fast the machine was, so nothing is added for what differs between runs.
    """
    theirs, mine = _Side.of(baseline, candidate), _Side.of(candidate, baseline)
    common = tuple(each for each in theirs.prompts if each in mine.prompts)
    if common and (len(common) >= _ENOUGH_PROMPTS or (theirs.asks_once(common) and mine.asks_once(common))):
        matched = [MatchedRequest(mine.prompts[each].score, theirs.prompts[each].score, each) for each in common]
        finding = judge_prompts(matched, threshold, rates)
        if len(common) < LEAST_EVIDENCE:
            finding = replace(finding, reason=repeats_words(candidate.requests.total, len(common)) + ": add prompts")
    elif not (theirs.known and mine.known):
        finding = _undecided(_UNKNOWN)
    elif min(theirs.n, mine.n) < LEAST_EVIDENCE:
        finding = _undecided(f"{min(theirs.n, mine.n)} requests are too few to tell; {LEAST_EVIDENCE} are needed")
    else:
        finding = _independent(theirs, mine, threshold, rates)
    return replace(
        finding,
        baseline=_mean(baseline),
        candidate=_mean(candidate),
        n_baseline=baseline.requests.total,
        n_candidate=candidate.requests.total,
    )


@dataclass(frozen=True, slots=True)
class _Side:
    """The evidence of one run."""

    n: int
    """Requests, repeats that can only be alike counted once."""
    mean: float
    variance: float
    """Of single scores."""
    binary: bool
    """Whether all of them are 0 or 1."""
    prompts: Mapping[str, PromptScore]
    once: frozenset[str]
    """Prompts that are one piece of evidence each, however often they were asked."""
    known: bool
    """Whether repeats are told apart, where they matter."""

    @classmethod
    def of(cls, case: Measured, other: Measured) -> _Side:
        prompts = {each.prompt: each for each in case.prompt_scores}
        varied = {each.prompt for each in other.prompt_scores if not each.alike}
        greedy = is_deterministic(case.settings)
        variance, binary = _variance(case), _is_binary(case)
        once = frozenset(
            each.prompt
            for each in prompts.values()
            if each.n == 1 or (greedy and each.alike and each.prompt not in varied)
        )
        if all(each.n == 1 for each in prompts.values()) or not once:
            known = bool(prompts) or not greedy
            return cls(case.requests.total, _mean(case) or 0.0, variance, binary, prompts, once, known)
        often = any(each.n > 1 for each in prompts.values() if each.prompt not in once)
        by_prompt = often and any(each.n > 1 for each in prompts.values() if each.prompt in once)
        # Where some count once and others each time, these would weigh more: then each prompt is one, with its mean.
        counted = [(each.score, 1 if by_prompt or each.prompt in once else each.n) for each in prompts.values()]
        binary = all(score in (0.0, 1.0) for score, _ in counted) if by_prompt else binary
        n = sum(times for _, times in counted)
        mean = sum(score * times for score, times in counted) / n
        between = sum(times * (score - mean) ** 2 for score, times in counted) / max(n - 1, 1)
        return cls(n, mean, max(between, variance), binary, prompts, once, known=True)

    def asks_once(self, common: Iterable[str]) -> bool:
        """Whether each of these prompts is one piece of evidence."""
        return self.once.issuperset(common)

    @property
    def share(self) -> Share | None:
        """Scores as a share; None unless all are 0 or 1."""
        return Share(round(self.mean * self.n), self.n) if self.binary else None


def _mean(case: Measured) -> float | None:
    """Mean score of all requests; those that failed score 0."""
    found = case.metrics.get("quality")
    if found is None or not case.requests.total:
        return None
    return found.mean * min(found.n, case.requests.total) / case.requests.total


def _variance(case: Measured) -> float:
    """Variance of the scores of all requests."""
    found, total, mean = case.metrics.get("quality"), case.requests.total, _mean(case)
    if found is None or mean is None or total < _FEWEST:
        return 0.0
    within = (found.stdev or 0.0) ** 2 * (found.n - 1)
    failed = max(total - found.n, 0)
    return (within + found.n * (found.mean - mean) ** 2 + failed * mean**2) / (total - 1)


def _is_binary(case: Measured) -> bool:
    """Whether all scores are 0 or 1.

    No other scores of that mean vary as much.
    """
    mean, total = _mean(case), case.requests.total
    if mean is None or total < _FEWEST:
        return False
    return _variance(case) >= mean * (1 - mean) * total / (total - 1) - _ROUNDING


def _independent(baseline: _Side, candidate: _Side, threshold: Threshold, rates: ErrorRates) -> Finding:
    ours, theirs = candidate.share, baseline.share
    if ours is not None and theirs is not None:
        method, interval = TWO_SHARES, independent_interval(theirs, ours, _TAIL)
        worst, best = (independent_tails(theirs, ours, at) for at in of_floor(threshold))
    else:
        method, interval = SCORES, _welch_interval(baseline, candidate)
        worst, best = (_welch(baseline, candidate, at) for at in of_floor(threshold))
    found = of_change(worst, best, threshold)
    if method == SCORES:
        hidden = (1 - threshold.floor) ** min(baseline.n, candidate.n)  # a rare loss that nothing shows
        found = replace(found, within=max(found.within, hidden))
    word = decide(found, rates)
    return Finding(
        word, None, None, candidate.mean - baseline.mean, interval, found.probability, found.worse, 0, 0, None, method,
        _why(found, threshold, rates, min(baseline.n, candidate.n), interval)
        if word == "undecided"
        else not_improved(word, better_points(threshold), found.better, rates, 1.0, _ADVICE),
    )  # fmt: skip


def _welch(baseline: _Side, candidate: _Side, difference: float) -> Tails:
    """P-values of Welch's test: for more, for less.

    Of "the means differ by this" (Welch 1947).
    """
    gap, (error, freedom) = candidate.mean - baseline.mean - difference, _error(baseline, candidate)
    if not error:
        return float(gap <= 0), float(gap >= 0)
    return float(stdtr(freedom, -gap / error)), float(stdtr(freedom, gap / error))


def _welch_interval(baseline: _Side, candidate: _Side) -> tuple[float, float]:
    gap, (error, freedom) = candidate.mean - baseline.mean, _error(baseline, candidate)
    reach = error * float(stdtrit(freedom, 1 - _TAIL))
    return gap - reach, gap + reach


def _error(baseline: _Side, candidate: _Side) -> tuple[float, float]:
    """Standard error of the difference and its degrees of freedom."""
    parts = [(side.variance / side.n, side.n - 1) for side in (baseline, candidate)]
    whole = sum(part for part, _ in parts)
    spread = sum(part**2 / freedom for part, freedom in parts)
    return sqrt(whole), whole**2 / spread if spread else 1.0


def _why(found: Evidence, threshold: Threshold, rates: ErrorRates, n: int, interval: tuple[float, float]) -> str:
    points, limit = threshold.floor, points_of(threshold)
    if shared := shared_rate(limit, found.worse, rates, 1.0, _ADVICE):
        return shared
    if side_of_interval(interval, threshold) == "shows":
        return f"the interval shows {limit}, but the test that decides doesn't yet (p {found.worse:.2g})"
    fewest = fewest_to_exclude(points, rates.false_pass)
    more = f"; excluding it takes at least {fewest} requests" if fewest is not None and fewest > n else ""
    return f"{limit} is neither shown nor excluded{more}"


def _undecided(reason: str) -> Finding:
    return Finding("undecided", None, None, None, None, None, None, 0, 0, None, TWO_SHARES, reason)
