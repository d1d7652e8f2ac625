"""Answer of a run: rankings, Pareto front, load held, changes, causes of failure."""

from __future__ import annotations

from pytest_flperf.answers.causes import causes_of
from pytest_flperf.answers.changes import changes_of
from pytest_flperf.answers.front import front_of
from pytest_flperf.answers.load_held import loads_of
from pytest_flperf.answers.rankings import rankings_of
from pytest_flperf.results.answer import RunAnswer
from pytest_flperf.results.records import Run

__all__ = ["answer"]


def answer(run: Run) -> RunAnswer:
    """What a run says: pure, and computable for old runs as well."""
    return RunAnswer(
        rankings=rankings_of(run.cases),
        loads=loads_of(run.cases),
        changes=changes_of(run.cases),
        causes=causes_of(run.cases),
        front=front_of(run.cases),
    )
