"""Where the plugin's state lies in pytest's stashes.  Imported at plugin load: nothing heavy here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from pytest_flperf.integration.run import MeasuringRun
    from pytest_flperf.integration.selection import Selection

__all__ = ["BEGUN", "ITEM_RESULTS", "RUN", "SELECTION", "STARTED", "TOLD_PROPERTIES", "FlperfWarning"]

SELECTION: Final[pytest.StashKey[Selection]] = pytest.StashKey()
"""On the config: the suites that were asked for, as soon as they are found."""
RUN: Final[pytest.StashKey[MeasuringRun]] = pytest.StashKey()
"""On the config: what is measured with and what has been measured, from the first use on."""
ITEM_RESULTS: Final[pytest.StashKey[list[dict[str, Any]]]] = pytest.StashKey()
"""On an item: its case results as plain dicts, until a report takes them along."""
TOLD_PROPERTIES: Final[pytest.StashKey[dict[str, list[tuple[str, str]]]]] = pytest.StashKey()
"""On an item: the properties that its report got, by the node id of the case."""
BEGUN: Final[pytest.StashKey[tuple[float, str]]] = pytest.StashKey()
"""On the config of xdist's controller: when the run began and the end of its id, the same in all workers."""
STARTED: Final[pytest.StashKey[float]] = pytest.StashKey()
"""On the config: when the session began, in seconds of the monotonic clock."""


class FlperfWarning(pytest.PytestWarning):
    """Something about a measurement that a person should know."""
