"""Power of rules on quality, in words: which falls are found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from pytest_flperf.gates.feasibility import Size, evidence_of
from pytest_flperf.gates.rules import Rule, is_score
from pytest_flperf.stats.inference.findings import ErrorRates
from pytest_flperf.stats.inference.sample_sizes import LEAST_EVIDENCE
from pytest_flperf.stats.inference.schedule import looks, spent_at

if TYPE_CHECKING:
    from pytest_flperf.stats.inference.share_power import Look, SharePower

__all__ = ["power_of", "power_words"]

_RIGHT: Final = 0.9
_FALLEN: Final = 0.8
_OFTEN: Final = 0.9
_TOLD_UP_TO: Final = 1_000
"""Pieces of evidence: more take seconds to reckon, and find such falls nearly always."""


def power_words(rule: Rule, size: Size) -> str:
    """Power of a rule on quality, in words; empty where it isn't known.

    It is how often a fall would be found, where answers are right or wrong, on each side by its own chance: the most
    unfavourable case that is usual.
    """
    if not is_score(rule) or rule.metric != "quality" or not size.has_expectation:
        return ""
    power = power_of(rule, size)
    if power is None:
        return ""
    enough = power.found_in(_RIGHT, _OFTEN)
    found = f"finds a fall from {100 * _RIGHT:.0f} % right to {100 * _FALLEN:.0f} % in {_of_100(power, _FALLEN)}"
    if enough is None:
        return f"{found}, and no fall in {100 * _OFTEN:.0f}"
    return f"{found}, to {100 * enough:.0f} % in {100 * _OFTEN:.0f} (sides independent)"


def power_of(rule: Rule, size: Size) -> SharePower | None:
    """Power of a comparison, or None.

    None where its size isn't known, too small to decide, or very large.
    """
    from pytest_flperf.stats.inference.share_power import SharePower

    plan = tuple(_plan(size))
    if not plan or plan[-1].pairs > _TOLD_UP_TO:
        return None
    return SharePower(plan, rule.threshold.floor, ErrorRates(comparisons=size.comparisons))


def _plan(size: Size) -> Iterator[Look]:
    """Looks that can decide, with the evidence that there is by then."""
    from pytest_flperf.stats.inference.share_power import Look

    evidence = evidence_of(size)
    if evidence is None or size.requests is None:
        return
    if size.pairs is None:
        if evidence >= LEAST_EVIDENCE:
            yield Look(evidence, 1.0)
        return
    places = looks(size.pairs)
    for number, pairs in enumerate(places, 1):
        requests = pairs * size.requests // size.pairs
        early = number < len(places) and requests < size.first_pass
        if not early and min(requests, evidence) >= LEAST_EVIDENCE:
            yield Look(min(requests, evidence), spent_at(number, len(places)))


def _of_100(power: SharePower, candidate: float) -> str:
    return f"{100 * power.of(_RIGHT, candidate):.0f} of 100 runs"
