"""Case history: earlier measurements, from the store or a folder of runs."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from pytest_flperf.history.baseline import BaselineError, FoundBaseline, MissingBaselineError
from pytest_flperf.history.conditions import conditions_of
from pytest_flperf.history.environment import fingerprint
from pytest_flperf.history.rows import as_time
from pytest_flperf.history.selection import Measurement
from pytest_flperf.history.standing import compared_with, standing_of
from pytest_flperf.results.reader import RunError, read_run, run_ids, run_of
from pytest_flperf.results.records import PlannedCase, Run
from pytest_flperf.results.run_folder import RESULTS

if TYPE_CHECKING:
    from pytest_flperf.history.rows import CaseValues
    from pytest_flperf.history.store import Store

__all__ = ["CaseHistory", "FolderHistory", "StoreHistory", "no_baseline"]

_FOLDER_RUNS: Final = 200
"""Newest runs of a folder that are read."""
_NAMES: Final = 200
_SECOND: Final = len("20261121T101500Z")
ReadValues: TypeAlias = "Callable[[Path, Run], CaseValues]"


class CaseHistory(Protocol):
    """Case history: a source of earlier measurements of a case."""

    @property
    def shown(self) -> str:
        """Name for people: ``the store reports/history.db``."""

    def measurements(self, case: PlannedCase, machine: str | None, conditions: str | None) -> Iterator[Measurement]:
        """Measurements of a case, newest first.

        Only those from one kind of machine, and those under the same conditions; None: any.
        """

    def numbers(self, measurements: Sequence[Measurement], metric: str, statistic: str | None) -> list[float | None]:
        """One number of each measurement; None where it is unknown or infinite."""

    def run(self, run_id: str) -> FoundBaseline:
        """The run of a measurement; raises BaselineError where it can't be read."""


@dataclass(slots=True)
class StoreHistory:
    """Case history from a store."""

    store: Store
    before: str | None = None
    """Only measurements that began before this time; None: all."""
    but: str | None = None
    """The id of a run that is left out."""
    runs: dict[str, FoundBaseline] = field(default_factory=dict)
    """Runs that were read; may be shared."""

    @property
    def shown(self) -> str:
        """See :class:`CaseHistory`."""
        return f"the store {self.store.shown}"

    def measurements(self, case: PlannedCase, machine: str | None, conditions: str | None) -> Iterator[Measurement]:
        """See :class:`CaseHistory`."""
        before = None if self.before is None else as_time(self.before)
        return self.store.measurements(
            case.nodeid, machine, conditions, host=case.host, began_before=before, but=self.but
        )

    def numbers(self, measurements: Sequence[Measurement], metric: str, statistic: str | None) -> list[float | None]:
        """See :class:`CaseHistory`."""
        return self.store.numbers(measurements, metric, statistic)

    def run(self, run_id: str) -> FoundBaseline:
        """See :class:`CaseHistory`."""
        if run_id not in self.runs:
            where = f"run {run_id} in {self.store.shown}"
            text = self.store.document(run_id)
            if text is None:
                raise MissingBaselineError(f"{where} is gone from the store")
            try:
                run = run_of(text, where)
            except RunError as error:
                raise BaselineError(str(error)) from error
            about, values = self.store.stored(run_id), self.store.all_values(run_id)
            self.runs[run_id] = FoundBaseline(run, "last", where, about, values)
        return self.runs[run_id]


@dataclass(slots=True)
class FolderHistory:
    """Case history from a folder of runs, where there is no store.

    Runs that can't be read are left out; no branch is known.
    """

    folder: Path
    read_values: ReadValues | None = None
    before: str | None = None
    """Only measurements that began before this time; None: all."""
    but: str | None = None
    """The id of a run that is left out."""
    read: dict[str, Run | None] = field(default_factory=dict)
    """Runs that were read, None for those that can't be; may be shared."""

    @property
    def shown(self) -> str:
        """See :class:`CaseHistory`."""
        return str(self.folder)

    def measurements(self, case: PlannedCase, machine: str | None, conditions: str | None) -> Iterator[Measurement]:
        """See :class:`CaseHistory`."""
        for run in self._runs():
            started_at = as_time(run.started_at)
            if run.id == self.but or (self.before is not None and started_at >= as_time(self.before)):
                continue
            if machine is not None and fingerprint(run.host) != machine:
                continue
            found = [(number, each) for number, each in enumerate(run.cases) if each.nodeid == case.nodeid]
            for number, each in sorted(found, key=lambda of: of[1].host != case.host):
                if conditions in (None, conditions_of(each)):
                    baseline, improved = compared_with(each)
                    yield Measurement(
                        run.id,
                        each.host,
                        started_at,
                        standing_of(each),
                        compared_with=baseline,
                        improved=improved,
                        key=(0, number),
                    )

    def numbers(self, measurements: Sequence[Measurement], metric: str, statistic: str | None) -> list[float | None]:
        """See :class:`CaseHistory`."""
        return [self._number(each, metric, statistic) for each in measurements]

    def run(self, run_id: str) -> FoundBaseline:
        """See :class:`CaseHistory`."""
        path = self.folder / run_id / RESULTS
        run = self._of(run_id)
        if run is None:
            raise BaselineError(f"{path} can't be read")
        values = {} if self.read_values is None else self.read_values(path, run)
        return FoundBaseline(run, "last", f"run {run_id} in {self.folder}", None, values)

    def has_baseline(self, suites: Sequence[str]) -> bool:
        """Whether a measurement of these suites may be a baseline.

        Without suites: a case of any suite.
        """
        return any(
            (not suites or not set(suites).isdisjoint(run.suites))
            and any(standing_of(case) == "accepted" for case in run.cases)
            for run in self._runs()
        )

    def _number(self, measurement: Measurement, metric: str, statistic: str | None) -> float | None:
        run = self._of(measurement.run_id)
        case = None if run is None else run.cases[measurement.key[1]]
        if case is None:
            return None
        if statistic is None:
            value = getattr(case, metric, None)
            return None if value is None else float(value)
        found = case.metrics.get(metric)
        return None if found is None else found.statistic(statistic)

    def _runs(self) -> Iterator[Run]:
        """Finished runs, newest first.

        Ids begin with the second in which a run began; within a second, ``started_at`` decides.
        """
        newest_first = run_ids(self.folder)[: -_FOLDER_RUNS - 1 : -1]
        for _, ids in groupby(newest_first, lambda run_id: run_id[:_SECOND]):
            found = [run for run_id in ids if (run := self._of(run_id)) is not None and run.finished_at is not None]
            yield from sorted(found, key=lambda run: as_time(run.started_at), reverse=True)

    def _of(self, run_id: str) -> Run | None:
        """The run in the folder of that name, read once.

        None where it can't be read, or where its id is not the name of the folder.
        """
        if run_id not in self.read:
            try:
                run = read_run(self.folder / run_id / RESULTS)
            except RunError:
                self.read[run_id] = None
            else:
                self.read[run_id] = run if run.id == run_id else None
        return self.read[run_id]


def no_baseline(history: CaseHistory, suites: Sequence[str], branch: str | None) -> str:
    """Why no case of the suites has a baseline; else empty.

    Without suites: no case of any suite.

    Raises StoreError where the store can't be read, and BaselineError where the newest run with one can't.
    """
    shown = " and ".join(repr(each[:80]) for each in suites[:3]) or "any suite"
    if isinstance(history, StoreHistory):
        newest = history.store.newest_baseline(suites, branch)
        if newest is not None:
            history.run(newest)
            return ""
        if branch is not None:
            return f"no run of branch {branch[:80]!r} with {shown} in {history.shown}: {_branch_hint(history, branch)}"
    elif isinstance(history, FolderHistory) and history.has_baseline(suites):
        return ""
    return f"no earlier run of {shown} in {history.shown} that may be a baseline"


def _branch_hint(history: StoreHistory, branch: str) -> str:
    known = history.store.branches()
    if branch in known:
        return "the runs of that branch are of other suites, or can't be a baseline"
    near = difflib.get_close_matches(branch[:_NAMES], known, n=3, cutoff=0.5)
    if near:
        return f"nearest: {', '.join(near)}"
    return f"it has runs of {', '.join(known[:5])}" if known else "it has no run of a branch"
