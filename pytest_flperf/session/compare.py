"""Comparing runs from a script or a notebook."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_flperf._text import printable
from pytest_flperf.gates.baseline_gate import BaselineGate, compared_run
from pytest_flperf.gates.counterparts import Query
from pytest_flperf.gates.rules import parse_rules, without_scenario
from pytest_flperf.history.baseline import BaselineError, FoundBaseline, find_baseline
from pytest_flperf.history.clocks import latest_start
from pytest_flperf.history.place import StoreError, StorePlace, store_in, store_place
from pytest_flperf.history.run_names import RunNames
from pytest_flperf.report.samples import values_beside
from pytest_flperf.results.comparison import Comparison
from pytest_flperf.results.notes import Note
from pytest_flperf.results.records import CaseResult, Run
from pytest_flperf.results.run_folder import RESULTS
from pytest_flperf.session.errors import OptionsError

if TYPE_CHECKING:
    from pytest_flperf.history.store import Store

__all__ = ["RunComparison", "compare", "load_run", "load_runs"]


@dataclass(frozen=True, slots=True)
class RunComparison:
    """Comparison of a run with a baseline, case by case."""

    run: Run
    """The candidate; each of its cases has the comparison in ``against``."""
    baseline: Run
    notes: tuple[str, ...]
    """Cases that could not be compared, and cases that only one side has."""

    @property
    def comparisons(self) -> tuple[tuple[CaseResult, Comparison], ...]:
        """Each case with each comparison of one of its metrics."""
        return tuple((case, each) for case in self.run.cases for side in case.against for each in side.comparisons)

    @property
    def failed(self) -> bool:
        """Whether a case became worse, as one of the rules says."""
        return any(each.fails for _, each in self.comparisons)


def load_run(
    run: str | PathLike[str] = "latest", *, report_dir: str | PathLike[str] = "reports", store: str | None = None
) -> Run:
    """Load a run.

    Args:
        run: Id of a run or the beginning of one, ``latest``, a name of ``flperf baseline``, the path of a
            ``results.json`` or of a run's folder.
        report_dir: Folder of the runs.
        store: Store of runs; None: ``history.db`` in ``report_dir``.

    Raises:
        FlperfError: There is no such run, or it can't be read.

    """
    with _opened(report_dir, store) as stored:
        names = RunNames(stored, Path(report_dir))
        return names.read(names.find(str(run)))


def load_runs(
    last: int = 20, *, report_dir: str | PathLike[str] = "reports", store: str | None = None
) -> tuple[Run, ...]:
    """Load the newest stored runs, the newest first.

    Args:
        last: How many at most.
        report_dir: Folder of the runs.
        store: Store of runs; None: ``history.db`` in ``report_dir``.

    Raises:
        FlperfError: There is no store, or it can't be read.

    """
    with _opened(report_dir, store) as stored:
        if stored is None:
            place = _place(report_dir, store)
            where = "with store='none' no runs are stored" if place is None else f"found none at {place.shown}"
            raise StoreError(f"there is no store of runs: {where}")
        names = RunNames(stored, Path(report_dir))
        return tuple(names.read(names.find(each.id)) for each in stored.runs(last))


def compare(
    run: Run | str | PathLike[str],
    baseline: Run | str | PathLike[str],
    *,
    fail_on: str | Iterable[str] = (),
    fail_undecided: bool = False,
    require_baseline: bool = False,
    report_dir: str | PathLike[str] = "reports",
    store: str | None = None,
) -> RunComparison:
    """Compare a run with a baseline, case by case, as ``flperf compare`` does.

    Args:
        run: The candidate: a run, or what :func:`load_run` takes.
        baseline: What it is compared with: likewise.
        fail_on: Rules, such as ``ttft_ms.p50 > +10%``; none: medians of TTFT and TPOT, which fail nothing.
        fail_undecided: Whether an undecided comparison fails, too.
        require_baseline: Whether a case fails that the baseline lacks.
        report_dir: Folder of the runs, where the values of their requests are.
        store: Store of runs; None: ``history.db`` in ``report_dir``.

    Raises:
        FlperfError: A run can't be read, a rule is wrong, or not one case can be compared.

    """
    rules = parse_rules([fail_on] if isinstance(fail_on, str) else list(fail_on), "fail_on")
    folder = Path(report_dir)
    with _opened(report_dir, store) as stored:
        candidate, other = (_side(each, stored, folder) for each in (run, baseline))
        problem = without_scenario(rules, (case.scenario for case in candidate.run.cases))
        if problem:
            raise OptionsError(f"fail_on: {problem}")
        gate = BaselineGate(other.run.id, other, None, Query(latest_start()), fail_undecided, require_baseline)
        compared = compared_run(gate, candidate, rules)
    notes = compared.run.notes[: len(compared.run.notes) - len(candidate.run.notes)]
    if not compared.compared:
        read = map(Note.of, notes)
        why = next((each.text for each in read if each.code == "not_compared"), "no case")
        raise BaselineError(f"nothing was compared with run {printable(other.run.id, 80)}: {printable(why, 400)}")
    return RunComparison(compared.run, other.run, notes)


def _side(side: Run | str | PathLike[str], store: Store | None, folder: Path) -> FoundBaseline:
    if not isinstance(side, Run):
        return find_baseline(store, str(side), folder, read_values=values_beside)
    where = f"run {printable(side.id, 80)}"
    return FoundBaseline(side, "run", where, values=values_beside(folder / side.id / RESULTS, side))


def _place(report_dir: str | PathLike[str], store: str | None) -> StorePlace | None:
    return store_in(Path(report_dir)) if store is None else store_place(store, Path.cwd())


def _opened(report_dir: str | PathLike[str], store: str | None) -> contextlib.AbstractContextManager[Store | None]:
    """Open the store where there is one; raises StoreError and PlaceError."""
    place = _place(report_dir, store)
    if place is None or not place.is_there():
        return contextlib.nullcontext()
    from pytest_flperf.history.store import Store

    return Store(place)
