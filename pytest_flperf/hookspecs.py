"""Hooks that conftest files and plugins can implement."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    import pytest

    from pytest_flperf.backends.registry import BackendType
    from pytest_flperf.quality.scorers.answers import AnswerScore, AnswerToScore
    from pytest_flperf.results.records import CaseResult, Run

__all__ = [
    "pytest_flperf_backends",
    "pytest_flperf_case_measured",
    "pytest_flperf_run_finished",
    "pytest_flperf_score",
]

_hookspec = pluggy.HookspecMarker("pytest")


@_hookspec
def pytest_flperf_backends() -> Sequence[BackendType]:  # type: ignore[empty-body]
    """Kinds of backends that a package or a conftest file brings, beside ours.

    Called once, when it is settled where models live; the answers of all implementations are joined.  Two kinds of one
    name, ours included, refuse the run.

    Returns:
        The kinds: each with its name for ``--flperf-backend`` and for a suite's ``targets``.

    """


@_hookspec
def pytest_flperf_case_measured(config: pytest.Config, result: CaseResult) -> None:
    """A case was measured and judged.

    Called outside the measured part, when the teardown of its test is over, in the process that writes the results;
    under xdist that is the controller.  What an implementation raises is a line in the summary and changes no verdict.

    Args:
        config: The session's.
        result: The case: distributions, outcomes, resources, budgets.  Frozen.

    """


@_hookspec
def pytest_flperf_run_finished(config: pytest.Config, run: Run, folder: Path | None) -> None:
    """The run is over and its files are written.

    Called once, also after an interrupt; not after a kill.  What an implementation raises is a line in the summary and
    changes no verdict.

    Args:
        config: The session's.
        run: All cases with host, versions and clock.  Frozen.
        folder: Where its files are; None where nothing could be written.

    """


@_hookspec(firstresult=True)
def pytest_flperf_score(config: pytest.Config, answer: AnswerToScore) -> float | AnswerScore | None:
    """Score an answer of a case, in place of what its suite expects.

    Called outside the measured part, in a thread of the process that measures, once for each answer that is complete.
    An implementation that raises, takes longer than 20 s or returns anything else leaves the answer without a score,
    with the reason.  A case of which some answers are taken needs a score for each: of the hook, or by ``expect``.

    Args:
        config: The session's.
        answer: The answer with its prompt and its row.  Frozen.

    Returns:
        A number from 0 to 1, a bool, or a score with parts and a reason; None: leave it to the next implementation,
        and at last to the suite's ``expect``.

    """
