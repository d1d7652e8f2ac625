"""Baselines: find one by ``last``, run, name, file or ``branch:NAME``."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from pytest_flperf.errors import FlperfError
from pytest_flperf.history.clocks import in_future, latest_start
from pytest_flperf.history.run_names import BRANCH as _BRANCH
from pytest_flperf.history.run_names import LAST as _LAST
from pytest_flperf.history.run_names import MissingRunError, RunNameError, RunNames
from pytest_flperf.results.reader import RunError, read_run, run_ids, run_of
from pytest_flperf.results.run_folder import RESULTS

if TYPE_CHECKING:
    from pytest_flperf.history.rows import CaseValues
    from pytest_flperf.history.store import Store, StoredRun
    from pytest_flperf.results.records import Run

__all__ = ["BaselineError", "BaselineSource", "FoundBaseline", "MissingBaselineError", "branch_of", "find_baseline"]

BaselineSource: TypeAlias = Literal["last", "run", "name", "file", "branch"]
ReadValues: TypeAlias = "Callable[[Path, Run], CaseValues]"

_NAMES: Final = 200
_COMPARABLE: Final = ("passed", "failed")
_LOOKED_AT: Final = 200
"""How many runs of a folder are searched for the last one, newest first."""


class BaselineError(FlperfError):
    """Unusable baseline: what was found, what was expected, what to do."""


class MissingBaselineError(BaselineError):
    """Missing baseline.

    This is the first run of a suite, the name was never set, or the run was pruned.
    """


@dataclass(frozen=True, slots=True)
class FoundBaseline:
    """A baseline run, with its source and its values of single requests."""

    run: Run
    source: BaselineSource
    where: str
    """For people: ``run 20261121T… in reports/history.db (baseline release)``."""
    about: StoredRun | None = None
    """Commit, branch, job …; None for a file."""
    values: CaseValues = field(default_factory=dict)
    """Of single requests, by node id and host, in the order in which they were sent; empty where none are known."""


@dataclass(frozen=True, slots=True)
class _Asked:
    store: Store | None
    folder: Path
    here: Path
    suites: Sequence[str]
    this: str | None
    read_values: ReadValues | None


def find_baseline(
    store: Store | None,
    text: str,
    folder: Path,
    *,
    here: Path = Path(),
    suites: Sequence[str] = (),
    this: str | None = None,
    read_values: ReadValues | None = None,
) -> FoundBaseline:
    """Find the baseline that a text names.

    ``last`` and ``branch:NAME`` mean the newest run of exactly the same suites that passed or failed and is not
    partial.  Runs dated in the future count only where there is no other.  Any other text means what it means to
    every command (see ``run_names``).

    Args:
        store: The open store; None: there is none, and runs are looked for in the folder only.
        text: ``last``, ``branch:NAME``, or the name of a run.
        folder: Where runs lie.
        here: What relative files are relative to.
        suites: The refs of the suites of the run that is to be compared, in its order.
        this: The id of that run, which is no baseline of itself.
        read_values: Reads the values of single requests beside a results file.

    Raises:
        MissingBaselineError: Nothing is there by that name.
        BaselineError: What is there can't be used.
        StoreError: The store can't be read.

    """
    asked = _Asked(store, folder, here, suites, this, read_values)
    if text == _LAST:
        return _last(asked)
    if (branch := branch_of(text)) is not None:
        return _of_branch(asked, branch)
    names = RunNames(store, folder, here)
    try:
        ref = names.find(text)
    except MissingRunError as error:
        raise MissingBaselineError(f"{error}; 'last' and 'branch:NAME' can be baselines, too") from error
    except RunNameError as error:
        raise BaselineError(str(error)) from error
    if ref.stored and store is not None:
        return _of_store(asked, store, ref.id, "name" if ref.source == "name" else "run", ref.more)
    assert ref.path is not None
    return _of_file(asked, ref.path, "file" if ref.source == "file" else "run", ref.more)


def branch_of(text: str) -> str | None:
    """The name in ``branch:NAME``; None for any other text.

    Raises BaselineError where the name is empty.
    """
    if not text.startswith(_BRANCH):
        return None
    branch = text.removeprefix(_BRANCH).strip()
    if not branch:
        raise BaselineError(f"found {text[:80]!r} without a name, expected branch:NAME, such as branch:main")
    return branch


def _last(asked: _Asked) -> FoundBaseline:
    if asked.store is not None:
        run_id, more = _newest(asked, asked.store)
        if run_id is not None:
            return _of_store(asked, asked.store, run_id, "last", more)
    elif (newest := _newest_of_folder(asked)) is not None:
        run, more = newest
        path = asked.folder / run.id / RESULTS
        return FoundBaseline(run, "last", f"run {run.id} in {asked.folder}{more}", None, _values(asked, path, run))
    where = f"the store {asked.store.shown}" if asked.store is not None else str(asked.folder)
    raise MissingBaselineError(f"no earlier run {_of_suites(asked.suites)} in {where} that was fully measured")


def _newest(asked: _Asked, store: Store, branch: str | None = None) -> tuple[str | None, str]:
    """The id of the store's newest run, and a remark on it."""
    newest = store.newest(asked.suites, branch=branch, but=asked.this)
    present = store.newest(asked.suites, branch=branch, but=asked.this, latest=latest_start())
    return present or newest, _about_future(present, newest)


def _newest_of_folder(asked: _Asked) -> tuple[Run, str] | None:
    """The folder's newest run, and a remark on it; or None."""
    ahead: list[Run] = []
    for run_id in run_ids(asked.folder)[: -_LOOKED_AT - 1 : -1]:
        try:
            run = read_run(asked.folder / run_id / RESULTS)
        except RunError:
            continue
        whole = run.status in _COMPARABLE and run.finished_at is not None and not run.partial
        if not whole or run.suites != tuple(asked.suites) or run.id == asked.this:
            continue
        if not in_future(run.started_at):
            return run, _about_future(run.id, ahead[0].id if ahead else run.id)
        ahead.append(run)
    return (ahead[0], _about_future(None, ahead[0].id)) if ahead else None


def _about_future(present: str | None, newest: str | None) -> str:
    """A remark on a newest run that is dated in the future."""
    if newest in (None, present):
        return ""
    if present is None:
        return " (dated in the future: a clock is wrong)"
    return f" (left out, being dated in the future: {newest})"


def _of_branch(asked: _Asked, branch: str) -> FoundBaseline:
    if asked.store is None:
        raise BaselineError(
            f"found '{_BRANCH}{branch[:80]}', but branches are known only from a store, and there is none"
        )
    run_id, more = _newest(asked, asked.store, branch)
    if run_id is not None:
        return _of_store(asked, asked.store, run_id, "branch", f" (branch {branch[:80]}){more}")
    known = asked.store.branches()
    near = difflib.get_close_matches(branch[:_NAMES], [each for each in known if each != branch], n=3, cutoff=0.5)
    if branch in known:
        hint = "the runs of that branch are of other suites, or were not fully measured"
    elif near:
        hint = f"nearest: {', '.join(near)}"
    else:
        hint = f"it has runs of {', '.join(known[:5])}" if known else "it has no run of a branch"
    raise MissingBaselineError(
        f"no run of branch {branch[:80]!r} {_of_suites(asked.suites)} in the store {asked.store.shown}: {hint}"
    )


def _of_store(asked: _Asked, store: Store, run_id: str, source: BaselineSource, more: str) -> FoundBaseline:
    where = f"run {run_id} in {store.shown}{more}"
    text = store.document(run_id)
    if text is None:
        raise MissingBaselineError(f"{where} is gone from the store: name another with 'flperf baseline set'")
    if run_id == asked.this:
        raise BaselineError(f"{where} is this run itself")
    try:
        run = run_of(text, where)
    except RunError as error:
        raise BaselineError(str(error)) from error
    return FoundBaseline(run, source, where, store.stored(run_id), store.all_values(run_id))


def _of_file(asked: _Asked, path: Path, source: BaselineSource, more: str) -> FoundBaseline:
    try:
        run = read_run(path)
    except RunError as error:
        raise BaselineError(f"{error}; 'pytest --flperf-json=FILE' writes a results file, too") from error
    if source != "file" and run.id == asked.this:
        raise BaselineError(f"run {run.id} in {path} is this run itself")
    return FoundBaseline(run, source, f"run {run.id} in {path}{more}", None, _values(asked, path, run))


def _values(asked: _Asked, path: Path, run: Run) -> CaseValues:
    return {} if asked.read_values is None else asked.read_values(path, run)


def _of_suites(suites: Sequence[str]) -> str:
    names = " and ".join(repr(each[:80]) for each in suites[:3])
    return f"of {names}" if names else "without a suite"
