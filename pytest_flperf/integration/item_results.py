"""Results of an item, kept until pytest reports it."""

from __future__ import annotations

import pytest

from pytest_flperf.options import ITEM_RESULTS, TOLD_PROPERTIES
from pytest_flperf.report.junit import properties
from pytest_flperf.results.records import CaseResult

__all__ = ["add_item_result"]


def add_item_result(item: pytest.Item, result: CaseResult) -> None:
    """Attach a result to the item's report.

    It is made of exact builtins, because xdist's channel takes nothing else.
    """
    item.stash.setdefault(ITEM_RESULTS, []).append(result.to_dict())
    told, found = item.user_properties, properties(result)
    if found[0] in told:  # another plugin reran the test: drop the results of its earlier attempt
        known = item.stash.get(TOLD_PROPERTIES, {}).get(result.nodeid, [])
        told[:] = [each for each in told if each not in known]
    item.stash.setdefault(TOLD_PROPERTIES, {})[result.nodeid] = found
    told.extend(found)
