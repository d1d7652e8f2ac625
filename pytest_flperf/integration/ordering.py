"""Order of items: each model is loaded once, or models take turns.

This holds even if the items were shuffled.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any

import pytest

from pytest_flperf.integration.item_state import case_of
from pytest_flperf.session.model_order import ordered, take_turns
from pytest_flperf.session.options import RunOptions
from pytest_flperf.session.planning import pulled_together

__all__ = ["in_order"]


def in_order(items: Iterable[pytest.Item], options: RunOptions | None) -> list[pytest.Item]:
    """Order items by model, or let models take turns, and drop repeated cases.

    A case stays once, however often its suite was collected.

    Cases of suites move up to the first one of their model, or of all.  Tests with the ``flperf`` fixture move within
    their module or class, because splitting these would set up their fixtures twice.  Everything else stays in place.
    """
    once = _each_case_once(items)
    cases = [case for item in once if (case := case_of(item)) is not None]
    in_turns = options is not None and take_turns(options, cases)
    grouped: list[pytest.Item] = []
    for _, block in groupby(ordered(once, case_of, turns=in_turns), key=lambda item: id(item.parent)):
        grouped += pulled_together(block, _marked_model)
    return grouped


def _each_case_once(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """Drop repeated cases, even with ``--keep-duplicates``.

    That option is for tests.  A case that ran twice would appear twice in all results, under one id.
    """
    cases: set[str] = set()
    kept = []
    for item in items:
        if case_of(item) is None or item.nodeid not in cases:
            kept.append(item)
        if case_of(item) is not None:
            cases.add(item.nodeid)
    return kept


def _marked_model(item: pytest.Item) -> str | None:
    """Model named by a test with the fixture.

    Empty for the run's own model; None for every other item.
    """
    if case_of(item) is not None or "flperf" not in getattr(item, "fixturenames", ()):
        return None
    named: Any = next((found for mark in item.iter_markers("flperf") if (found := mark.kwargs.get("model"))), "")
    return named if isinstance(named, str) else None
