"""Scenarios of a run, with the case of each model, and the order in which they were measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final

from pytest_flperf.results.records import CaseResult

__all__ = ["ScenarioCases", "in_turns", "scenarios_of"]

_LEAST_SHARE: Final = 1 / 3


@dataclass(frozen=True, slots=True)
class ScenarioCases:
    """One scenario at one point of the matrix on one machine, and its case on each model."""

    by_model: Mapping[str, CaseResult]
    """In the order of measurement."""
    places: Mapping[str, int]
    """Place of each case in the run's order."""


def scenarios_of(cases: Sequence[CaseResult]) -> tuple[ScenarioCases, ...]:
    """Scenarios that several models were measured with.

    Only cases with the same prompts count.  One that was measured twice (two calls of the fixture) counts once.
    """
    groups: dict[tuple[Any, ...], dict[str, tuple[int, CaseResult]]] = {}
    for place, case in enumerate(cases):
        point = tuple(sorted((key, repr(value)) for key, value in case.parameters.items()))
        key = (case.suite, case.scenario, point, case.host, case.prompts_digest)
        groups.setdefault(key, {}).setdefault(case.model, (place, case))
    return tuple(
        ScenarioCases(
            {model: case for model, (_, case) in group.items()}, {model: place for model, (place, _) in group.items()}
        )
        for group in groups.values()
        if len(group) > 1
    )


def in_turns(scenarios: Sequence[ScenarioCases]) -> bool:
    """Whether models took turns: scenario by scenario, and of any two each was first in a third of the scenarios."""
    models = list(dict.fromkeys(model for each in scenarios for model in each.places))
    if any(max(each.places.values()) - min(each.places.values()) >= len(each.places) for each in scenarios):
        return False
    for one, other in combinations(models, 2):
        both = [each.places for each in scenarios if one in each.places and other in each.places]
        first = sum(places[one] < places[other] for places in both)
        if min(first, len(both) - first) < _LEAST_SHARE * len(both):
            return False
    return True
