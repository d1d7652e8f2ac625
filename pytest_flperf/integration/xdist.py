"""The workers of pytest-xdist: never two on one machine, all in one run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from pytest_flperf.options import BEGUN

__all__ = ["is_controller", "is_worker", "neighbours", "refuse_neighbours", "run_begun", "run_token"]


def refuse_neighbours(specs: Sequence[Any]) -> None:
    """Refuse workers that would disturb each other's measurements; raises UsageError."""
    if max(Counter(spec.via for spec in specs if spec.popen).values(), default=0) > 1:
        raise pytest.UsageError(
            f"--flperf-suite: found {len(specs)} workers of pytest-xdist, expected one on each machine, because two "
            "would disturb each other's measurements; use -n 1 or leave -n away"
        )


def is_worker(config: pytest.Config) -> bool:
    """Whether this process is a worker of xdist: it measures, its controller writes the results."""
    return hasattr(config, "workerinput")


def is_controller(config: pytest.Config) -> bool:
    """Whether this process only sends items to workers of xdist and hears what came of them."""
    return config.getoption("dist", default="no") != "no" and not is_worker(config)


def run_token(config: pytest.Config) -> str | None:
    """What all workers of a run have in common; None where there are none."""
    token: str | None = vars(config).get("workerinput", {}).get("testrunuid")
    return token


def neighbours(config: pytest.Config) -> int:
    """How many other workers run beside this one: they are refused where suites run, but not beside a user's tests."""
    count: int = vars(config).get("workerinput", {}).get("workercount", 1)
    return count - 1


def run_begun(config: pytest.Config) -> tuple[datetime, str | None]:
    """When the run began, and the end of its id where other processes share it."""
    begun = vars(config).get("workerinput", {}).get("flperf_begun") or config.stash.get(BEGUN, None)
    if begun is None:
        return datetime.now(UTC), None
    return datetime.fromtimestamp(begun[0], UTC), begun[1]
