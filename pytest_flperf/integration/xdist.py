"""Workers of pytest-xdist: one per machine, all in one run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from pytest_flperf.options import BEGUN, SUITE_REFS

__all__ = ["auto_workers", "is_controller", "is_worker", "neighbours", "refuse_neighbours", "run_begun", "run_token"]


def auto_workers(config: pytest.Config) -> int | None:
    """Number of workers that ``-n auto`` means; None: as xdist counts.

    One where suites run: two on one machine would disturb each other.
    """
    return 1 if SUITE_REFS in config.stash else None


def refuse_neighbours(specs: Sequence[Any]) -> None:
    """Refuse more than one worker per machine; raises UsageError.

    They would disturb each other's measurements.
    """
    if max(Counter(spec.via for spec in specs if spec.popen).values(), default=0) > 1:
        raise pytest.UsageError(
            f"--flperf-suite: found {len(specs)} workers of pytest-xdist, expected one per machine, because two "
            "would disturb each other's measurements; use -n 1 or leave out -n"
        )


def is_worker(config: pytest.Config) -> bool:
    """Whether this process is an xdist worker.

    A worker measures; its controller writes the results.
    """
    return hasattr(config, "workerinput")


def is_controller(config: pytest.Config) -> bool:
    """Whether this process is the controller of xdist workers.

    It only sends items to the workers and receives their reports.
    """
    return config.getoption("dist", default="no") != "no" and not is_worker(config)


def run_token(config: pytest.Config) -> str | None:
    """Token that all workers of a run share, or None."""
    token: str | None = vars(config).get("workerinput", {}).get("testrunuid")
    return token


def neighbours(config: pytest.Config) -> int:
    """Number of other workers in this run.

    They are refused for suites, but not for a user's own tests.
    """
    told = vars(config).get("workerinput", {})
    count: int = 1 if told.get("flperf_alone") else told.get("workercount", 1)
    return count - 1


def run_begun(config: pytest.Config) -> tuple[datetime, str | None]:
    """Start time of the run, and the suffix of a shared id."""
    begun = vars(config).get("workerinput", {}).get("flperf_begun") or config.stash.get(BEGUN, None)
    if begun is None:
        return datetime.now(UTC), None
    return datetime.fromtimestamp(begun[0], UTC), begun[1]
