"""State of an item: its case, and its results until pytest reports them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from pytest_flperf._text import harmless_lines
from pytest_flperf.gates.verdict import without_name
from pytest_flperf.options import ITEM_RESULTS, MEASURES, TOLD_PROPERTIES
from pytest_flperf.report.junit import properties
from pytest_flperf.results.records import CaseResult

if TYPE_CHECKING:
    from pytest_flperf.suite.model import Case

__all__ = ["CASE", "add_item_result", "case_of", "is_ours", "raise_unless_passed", "takes_fixture"]

CASE: Final[pytest.StashKey[Case]] = pytest.StashKey()
"""On an item of a suite: its case."""
_FIXTURES: Final = frozenset({"flperf", "flperf_case"})


def case_of(item: pytest.Item) -> Case | None:
    """Case of a suite's item; None for other items."""
    return item.stash.get(CASE, None)


def is_ours(item: pytest.Item) -> bool:
    """Whether an item is from a suite or uses our fixture."""
    return MEASURES in item.stash or takes_fixture(item)


def takes_fixture(item: pytest.Item) -> bool:
    """Whether an item names a fixture of ours that measures."""
    return not _FIXTURES.isdisjoint(getattr(item, "fixturenames", ()))


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


def raise_unless_passed(result: CaseResult, *, names_case: bool = False) -> None:
    """Fail or skip the test whose case did not pass.

    Where the test's own id names the case, its failure begins with the reason: pytest's short summary cuts the rest.
    """
    if result.outcome == "skipped":
        pytest.skip(harmless_lines(result.message))
    if result.outcome != "passed":
        pytest.fail(harmless_lines(without_name(result) if names_case else result.message), pytrace=False)
