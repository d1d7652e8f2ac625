"""Failed requests of two sides: exact tests, which fail closed.

scipy.special has all that is needed (``bdtr``, ``btdtri``, ``gammaln``); ``import scipy.stats`` takes over a second.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import bdtr, bdtrc, betaincinv, gammaln

from pytest_flperf.stats.deciding import Evidence, Tails, decide, of_change
from pytest_flperf.stats.findings import COUNTS, ErrorRates, Finding, Threshold, Word

__all__ = ["Counts", "clopper_pearson", "fisher", "judge_counts"]

_TAIL = 0.025
_STEPS = 60


@dataclass(frozen=True, slots=True)
class Counts:
    """How many failed, of how many."""

    failed: int
    total: int

    def __post_init__(self) -> None:
        if not 0 <= self.failed <= self.total:
            raise ValueError(f"{self.failed} failed of {self.total}")

    @property
    def rate(self) -> float | None:
        """None without requests."""
        return self.failed / self.total if self.total else None


def judge_counts(baseline: Counts, candidate: Counts, threshold: Threshold, rates: ErrorRates) -> Finding:
    """Whether the failure rate has risen.

    It fails closed, without a test, where the candidate answered nothing, where nothing of it ended well though
    something of the baseline did, and where its failures rose from zero.  Where nothing of it failed it has not become
    worse, as far as that can be seen: ``unchanged``, or ``improved`` where that is shown.

    Any rise (no share, no floor) is tested by Fisher's exact test.  A rise by more than a share is tested by the
    candidate's part of all failures, which is binomial where failures are rare and less spread where they aren't
    (Przyborowski and Wilenski 1940, Biometrika 31); a floor by exact limits of both rates.  One look only.

    Raises:
        ValueError: A threshold for which more is better.

    """
    if not threshold.higher_is_worse:
        raise ValueError("more failures are never better")
    closed = _fails_closed(baseline, candidate)
    if closed or not baseline.total:
        reason = closed or "the baseline has no requests"
        return _finding("regressed" if closed else "undecided", baseline, candidate, None, reason)
    evidence = of_change(
        _tails(baseline, candidate, 1 + threshold.share),
        _tails(baseline, candidate, 1 - threshold.share) if threshold.share < 1 else None,
        threshold,
    )
    if threshold.floor:
        evidence = evidence.with_floor(_beyond_floor(baseline, candidate, threshold.floor))
    word = decide(evidence, rates)
    if word == "undecided" and not candidate.failed:
        # Of nothing on both sides no chance can be told.
        reason = "none of the candidate's requests failed" if baseline.failed else "nothing failed"
        return _finding("unchanged", baseline, candidate, evidence if baseline.failed else None, reason)
    return _finding(word, baseline, candidate, evidence, "too few failures to tell" if word == "undecided" else "")


def fisher(baseline: Counts, candidate: Counts) -> Tails:
    """P-values of "both fail equally often": that the candidate fails more, that it fails less (Fisher 1935)."""
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
    """Exact limits of a rate, each of which is wrong at most as often as ``tail`` (Clopper and Pearson 1934)."""
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


def _beyond_floor(baseline: Counts, candidate: Counts, floor: float) -> Evidence:
    def above(more: Counts, less: Counts, by: float) -> float:
        """The least level at which exact limits of both, at half of it each, lie apart by more than this."""
        if (more.rate or 0) - (less.rate or 0) <= by:
            return 1.0
        low, high = np.log(1e-12), 0.0
        for _ in range(_STEPS):
            level = (low + high) / 2
            tail = float(np.exp(level)) / 2
            apart = clopper_pearson(more, tail)[0] - clopper_pearson(less, tail)[1]
            low, high = (low, level) if apart > by else (level, high)
        return float(np.exp(high))

    worse, within = above(candidate, baseline, floor), above(baseline, candidate, -floor)
    return Evidence(worse, within, above(baseline, candidate, floor), min(1.0, max(0.0, (1 - worse + within) / 2)))


def _finding(word: Word, baseline: Counts, candidate: Counts, evidence: Evidence | None, reason: str) -> Finding:
    change = interval = None
    if baseline.failed and baseline.total and candidate.total:
        per_request = baseline.total / candidate.total
        change = candidate.failed / baseline.failed * per_request - 1
        low, high = clopper_pearson(Counts(candidate.failed, baseline.failed + candidate.failed))
        interval = (low / (1 - low) * per_request - 1, high / (1 - high) * per_request - 1) if high < 1 else None
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
