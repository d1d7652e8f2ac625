"""Results of an item, until a report of pytest takes them along."""

from __future__ import annotations

import pytest

from pytest_flperf.options import ITEM_RESULTS, TOLD_PROPERTIES
from pytest_flperf.report.junit import properties
from pytest_flperf.results.records import CaseResult

__all__ = ["add_item_result"]


def add_item_result(item: pytest.Item, result: CaseResult) -> None:
    """Give a result to the item's report, as exact builtins: xdist's channel takes nothing else."""
    item.stash.setdefault(ITEM_RESULTS, []).append(result.to_dict())
    told, found = item.user_properties, properties(result)
    if found[0] in told:  # another plugin runs the test again: what the try before measured is not this one's
        known = item.stash.get(TOLD_PROPERTIES, {}).get(result.nodeid, [])
        told[:] = [each for each in told if each not in known]
    item.stash.setdefault(TOLD_PROPERTIES, {})[result.nodeid] = found
    told.extend(found)
