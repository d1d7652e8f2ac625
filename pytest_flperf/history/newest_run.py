"""Newest run in a folder and a store, by start time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pytest_flperf.history.clocks import FUTURE_SLACK, moment_of
from pytest_flperf.results.reader import RunError, read_run
from pytest_flperf.results.run_folder import LATEST, RESULTS, RUN_LOG

__all__ = ["DatedRun", "folder_runs", "newest_of"]

_ID: Final = re.compile(r"(\d{8}T\d{6})Z")
_UNKNOWN: Final = datetime.min.replace(tzinfo=UTC)
_TOLD: Final = 3


@dataclass(frozen=True, slots=True)
class DatedRun:
    """A run and its start time."""

    id: str
    started_at: str | None
    """ISO 8601; None: taken from the id, to the second, or else from the results."""
    folder: Path | None


def folder_runs(folder: Path) -> list[DatedRun]:
    """The runs in a folder, by id.

    Those with results, and those that were killed before they could write any.
    """
    try:
        found = {path.parent for name in (RESULTS, RUN_LOG) for path in folder.glob(f"*/{name}")}
    except OSError:
        return []
    return [DatedRun(path.name, None, path) for path in sorted(found) if path.name != LATEST]


def newest_of(runs: Sequence[DatedRun], now: datetime) -> tuple[DatedRun, list[str]]:
    """The run that began last, with remarks on the choice.

    Runs dated in the future don't count while there are others: the clock of a machine was wrong.  Runs of the same
    second are told apart by their results.
    """
    by_second = [(_second(run), run) for run in runs]
    present = [each for each in by_second if each[0] <= now + FUTURE_SLACK]
    ahead = [run for moment, run in by_second if moment > now + FUTURE_SLACK]
    last = max(moment for moment, _ in present or by_second)
    tied = [run for moment, run in present or by_second if moment == last]
    newest = max(tied, key=_exactly) if len(tied) > 1 else tied[0]
    if not present:
        return newest, [f"dated in the future, {_second(newest):%Y-%m-%d %H:%M}: a clock is wrong"]
    names = ", ".join(run.id for run in ahead[:_TOLD]) + (f" and {len(ahead) - _TOLD} more" if ahead[_TOLD:] else "")
    return newest, [f"left out, being dated in the future: {names}"] if ahead else []


def _second(run: DatedRun) -> datetime:
    """Start time of a run, cut to the second."""
    if run.started_at is not None:
        moment = moment_of(run.started_at)
    elif (dated := _ID.match(run.id)) is not None:
        moment = moment_of(f"{dated[1]}+00:00")
    else:
        moment = moment_of(_said(run)[0])
    return (moment or _UNKNOWN).replace(microsecond=0)


def _exactly(run: DatedRun) -> tuple[datetime, bool, str]:
    """Exact start time, whether the folder is the original, and the id.

    A folder whose name is not the run's id is a copy.
    """
    if run.started_at is not None:
        return moment_of(run.started_at) or _UNKNOWN, True, run.id
    started_at, run_id = _said(run)
    return moment_of(started_at) or _second(run), run_id == run.id, run.id


def _said(run: DatedRun) -> tuple[str | None, str]:
    """Start time and id of a run, from its results."""
    try:
        found = read_run(run.folder / RESULTS) if run.folder is not None else None
    except RunError:
        return None, ""
    return (found.started_at, found.id) if found is not None else (None, "")
