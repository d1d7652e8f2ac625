"""Current run: the measuring run of a session, created at first use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from pytest_flperf.integration.run import MeasuringRun

__all__ = ["RUN", "measuring_run"]

RUN: Final[pytest.StashKey[MeasuringRun]] = pytest.StashKey()
"""On the config: the measuring run, from its first use on."""


def measuring_run(config: pytest.Config) -> MeasuringRun:
    """Measuring run of this session, created at first use."""
    run = config.stash.get(RUN, None)
    if run is None:
        from pytest_flperf.integration.run import MeasuringRun  # late: it imports all that measures

        run = config.stash[RUN] = MeasuringRun(config)
    return run
