"""Failure rates of two sides: exact tests, which fail closed.

scipy.special has all that is needed (``bdtr``, ``btdtri``, ``gammaln``); ``import scipy.stats`` takes over a second.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import bdtr, bdtrc, betaincinv, gammaln

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
)
from pytest_flperf.stats.inference.findings import COUNTS, ErrorRates, Finding, Threshold, Word
from pytest_flperf.stats.inference.independent_shares import Share, independent_interval, independent_tails

__all__ = ["Counts", "clopper_pearson", "fisher", "judge_counts", "without_a_test"]

_TAIL = 0.025
_ADVICE = "fewer rules or more requests"


@dataclass(frozen=True, slots=True)
class Counts:
    """Failed requests and all requests of one side."""

    failed: int
    total: int

    def __post_init__(self) -> None:
        if not 0 <= self.failed <= self.total:
            raise ValueError(f"{self.failed} failed of {self.total}")

    @property
    def rate(self) -> float | None:
        """Failure rate; None without requests."""
        return self.failed / self.total if self.total else None


def judge_counts(
    baseline: Counts, candidate: Counts, threshold: Threshold, rates: ErrorRates, spent: float = 1.0
) -> Finding:
    """Whether the failure rate has risen, by the totals of both sides.

    What :func:`without_a_test` says stands.  Where nothing of the candidate failed it has not become worse, as far as
    that can be seen: ``unchanged``, or ``improved`` where that is shown.

    Any rise (no share, no floor) is tested by Fisher's exact test.  A rise by more than a share is tested by the
    candidate's part of all failures, which is binomial where failures are rare and less spread where they aren't
    (Przyborowski and Wilenski 1940, Biometrika 31); a floor by the exact test of two shares.  A look may spend
    the part ``spent`` of the rates.

    Raises:
        ValueError: A threshold for which more is better.

    """
    if not threshold.higher_is_worse:
        raise ValueError("more failures are never better")
    closed = without_a_test(baseline, candidate)
    if closed is not None:
        return closed
    evidence = _evidence(baseline, candidate, threshold)
    word = decide(evidence, rates, spent)
    if word == "undecided" and not candidate.failed:
        # Of nothing on both sides no chance can be told.
        reason = "none of the candidate's requests failed" if baseline.failed else "nothing failed"
        return _finding("unchanged", baseline, candidate, evidence if baseline.failed else None, reason)
    if word != "undecided":
        why = not_improved(word, better_points(threshold), evidence.better, rates, spent, _ADVICE)
        return _finding(word, baseline, candidate, evidence, why)
    shared = shared_rate(points_of(threshold), evidence.worse, rates, spent, _ADVICE)
    return _finding(word, baseline, candidate, evidence, shared or "too few failures to tell")


def without_a_test(baseline: Counts, candidate: Counts) -> Finding | None:
    """Verdicts that need no test; None: a test decides.

    It fails closed where the candidate has no requests or not one that ended well though the baseline has one, and
    where failures rose from zero.  Without requests of the baseline nothing is known.
    """
    closed = _fails_closed(baseline, candidate)
    if closed:
        return _finding("regressed", baseline, candidate, None, closed)
    if not baseline.total:
        return _finding("undecided", baseline, candidate, None, "the baseline has no requests")
    return None


def _evidence(baseline: Counts, candidate: Counts, threshold: Threshold) -> Evidence:
    by_share = of_change(
        _tails(baseline, candidate, 1 + threshold.share),
        _tails(baseline, candidate, 1 - threshold.share) if threshold.share < 1 else None,
        threshold,
    )
    if not threshold.floor:
        return by_share
    worst, best = (
        independent_tails(Share(baseline.failed, baseline.total), Share(candidate.failed, candidate.total), at)
        for at in of_floor(threshold)
    )
    by_floor = of_change(worst, best, threshold)
    return by_share.with_floor(by_floor) if threshold.share else by_floor


def fisher(baseline: Counts, candidate: Counts) -> Tails:
    """P-values of Fisher's exact test: more failures, fewer failures.

    Of "both fail equally often": that the candidate fails more, that it fails less (Fisher 1935).
    """
    failed, total = baseline.failed + candidate.failed, baseline.total + candidate.total
    possible = np.arange(max(0, failed - baseline.total), min(failed, candidate.total) + 1)
    logs = (
        _log_choose(candidate.total, possible)
        + _log_choose(baseline.total, failed - possible)
        - _log_choose(total, np.array(failed))
    )
    chance = np.exp(logs)
    return (
        min(1.0, float(chance[possible >= candidate.failed].sum())),
        min(1.0, float(chance[possible <= candidate.failed].sum())),
    )


def clopper_pearson(counts: Counts, tail: float = _TAIL) -> tuple[float, float]:
    """Exact confidence limits of a rate (Clopper and Pearson 1934).

    Each is wrong at most as often as ``tail``.
    """
    failed, ok = counts.failed, counts.total - counts.failed
    return (
        float(betaincinv(failed, ok + 1, tail)) if failed else 0.0,
        float(betaincinv(failed + 1, ok, 1 - tail)) if ok else 1.0,
    )


def _fails_closed(baseline: Counts, candidate: Counts) -> str:
    if not candidate.total:
        return "the candidate has no requests"
    if candidate.failed == candidate.total and (not baseline.total or baseline.failed < baseline.total):
        return f"all {candidate.total} requests of the candidate failed"
    if baseline.total and candidate.failed and not baseline.failed:
        return f"{candidate.failed} of {candidate.total} failed, where none of {baseline.total} had"
    return ""


def _tails(baseline: Counts, candidate: Counts, ratio: float) -> Tails:
    if ratio == 1:
        return fisher(baseline, candidate)
    failed = baseline.failed + candidate.failed
    part = ratio * candidate.total / (ratio * candidate.total + baseline.total)
    more = float(bdtrc(candidate.failed - 1, failed, part)) if candidate.failed else 1.0
    return more, float(bdtr(candidate.failed, failed, part))


def _finding(word: Word, baseline: Counts, candidate: Counts, evidence: Evidence | None, reason: str) -> Finding:
    change = interval = None
    if baseline.total and candidate.total:
        theirs, mine = (Share(each.failed, each.total) for each in (baseline, candidate))
        change, interval = mine.rate - theirs.rate, independent_interval(theirs, mine, _TAIL)
    return Finding(
        word,
        baseline.rate,
        candidate.rate,
        change,
        interval,
        evidence.probability if evidence else None,
        evidence.worse if evidence else None,
        baseline.total,
        candidate.total,
        None,
        COUNTS,
        reason,
    )


def _log_choose(
    n: int, k: np.ndarray[tuple[int, ...], np.dtype[np.int64]]
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.asarray(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1))
