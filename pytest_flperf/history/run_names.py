"""Run names: find the run that a text means."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from pytest_flperf.errors import FlperfError
from pytest_flperf.history.clocks import in_future
from pytest_flperf.history.newest_run import DatedRun, folder_runs, newest_of
from pytest_flperf.results.reader import RunError, read_run, run_of
from pytest_flperf.results.run_folder import LATEST, RESULTS, RUN_LOG

if TYPE_CHECKING:
    from pytest_flperf.history.store import Store
    from pytest_flperf.results.records import Run

__all__ = [
    "BRANCH",
    "LAST",
    "MissingRunError",
    "RunNameError",
    "RunNames",
    "RunRef",
    "RunSource",
    "can_be_id",
    "is_path",
    "is_relative",
]

RunSource: TypeAlias = Literal["file", "name", "run", "latest"]

LAST: Final = "last"
BRANCH: Final = "branch:"
_EXPECTED: Final = (
    "a run's id or a unique start of one, latest, a baseline's name, or the path of a results.json or of a run's folder"
)
_SHOWN: Final = 200
_CANDIDATES: Final = 5
_LONGEST: Final = 255
_LOOKED_AT: Final = 200
"""How many stored runs are searched for the nearest name, newest first."""
_DIGITS: Final = "0123456789"
_DATE_DIGITS: Final = 8
"""Every id begins with so many digits."""


class RunNameError(FlperfError):
    """Ambiguous or invalid run name: what it could mean, what to do."""


class MissingRunError(RunNameError):
    """There is no run by that name."""


@dataclass(frozen=True, slots=True)
class RunRef:
    """The run that a text means, and its location."""

    id: str
    """The id in the store, or the name of its folder; empty for a file, which holds it."""
    source: RunSource
    stored: bool = False
    """Whether the store has it: then it is read from there."""
    path: Path | None = None
    """Its results file, where there is one."""
    folder: Path | None = None
    """Its folder, where there is one: of a run that was killed without a results file."""
    more: str = ""
    """A remark on how it was found: the name of a baseline, or runs dated in the future."""


@dataclass(frozen=True, slots=True)
class RunNames:
    """Lookup of runs by name, in store, folder and files."""

    store: Store | None
    """None: there is none."""
    folder: Path
    """Of the runs: ``reports``."""
    here: Path = field(default_factory=Path)
    """What relative paths are relative to."""

    def find(self, text: str, *, killed: bool = False) -> RunRef:
        """The run that a text means.

        A path is that file or folder.  Any other word is the name of a baseline, the id of a run in the store or in
        the folder of runs, or a folder in ``here``; where it is none of these, the beginning of exactly one id.
        ``latest`` is the run that began last, of store and folder together.

        Args:
            text: The name, id or path as written.
            killed: Whether to accept a run without results, which was killed.

        Raises:
            MissingRunError: There is no such run.
            RunNameError: Several are meant, or what is there has no results.
            StoreError: The store can't be read.

        """
        if text == LATEST:
            found = self._latest()
        elif is_relative(text):
            raise RunNameError(
                f"found {_quoted(text)}, which names a run only relative to another, for 'flperf compare' and "
                f"--flperf-baseline; expected {_EXPECTED}"
            )
        elif is_path(text):
            found = self._of_path(text)
        else:
            found = self._of_word(text)
        if found.source == "name" and not found.stored and found.folder is None:
            raise MissingRunError(f"run {found.id}{found.more} is gone: name another with 'flperf baseline set'")
        if found.path is None and not found.stored and not killed:
            raise RunNameError(
                f"run {found.id} has no {RESULTS}: it ended before it could write one, or has only just begun; 'flperf "
                f"report --recover {found.folder or found.id}' makes it from its journal"
            )
        return found

    def read(self, ref: RunRef) -> Run:
        """Read the run, from the store where it is stored.

        Raises RunError, StoreError and MissingRunError.
        """
        if not ref.stored:
            assert ref.path is not None
            return read_run(ref.path)
        text = self.store.document(ref.id) if self.store is not None else None
        if text is None:
            raise MissingRunError(f"{self.where(ref)} is gone from the store")
        return run_of(text, self.where(ref))

    def where(self, ref: RunRef, run_id: str = "") -> str:
        """Location for people: ``run 20261121T… in reports/history.db (baseline release)``."""
        place = self.store.shown if ref.stored and self.store is not None else ref.path or ref.folder
        run = f"run {ref.id or run_id}".rstrip()
        return f"{run} in {place}{ref.more}" if place is not None else f"{run}, which is gone{ref.more}"

    def why_no_name(self, name: str) -> str:
        """Why a text can't name a baseline; empty where it can.

        It can't where it already means something else.
        """
        if name.lower() in (LATEST, LAST, "none") or is_path(name):
            return f"{_quoted(name)} means something else"
        if not name.strip(_DIGITS) or name[:_DATE_DIGITS].isdecimal():
            return f"{_quoted(name)} could be the start of a run's id"
        if others := [ref for ref in self._exact(name) if ref.source != "name"]:
            return f"{_quoted(name)} is {self.where(others[0])}"
        if beginning := self._beginning(name):
            return f"{_quoted(name)} is the start of the id of run {beginning[-1]}"
        known = [each.name for each in self.store.baselines()] if self.store is not None else []
        alike = [each for each in known if each != name and each.lower() == name.lower()]
        return f"there is a baseline {_quoted(alike[0])}, which differs only in case" if alike else ""

    def is_stored(self, run_id: str) -> bool:
        """Whether the store has this run."""
        return self.store is not None and self.store.stored(run_id) is not None

    def _latest(self) -> RunRef:
        if not (dated := self._dated()):
            raise MissingRunError(f"no run {LATEST!r}: there is none {self._where_looked()}")
        newest, told = newest_of(dated, datetime.now(UTC))
        return self._ref(newest.id, "latest", f" ({'; '.join([LATEST, *told])})")

    def _dated(self) -> list[DatedRun]:
        """Runs of the folder, and newest of the store, with start times."""
        stored = self.store.runs(_LOOKED_AT) if self.store is not None else []
        if self.store is not None and stored and all(in_future(each.started_at) for each in stored):
            stored = self.store.runs()
        found = {each.id: DatedRun(each.id, each.started_at, None) for each in stored}
        for run in folder_runs(self.folder):
            if run.id not in found and not self.is_stored(run.id):
                found[run.id] = run
        return list(found.values())

    def _of_path(self, text: str) -> RunRef:
        try:
            path = self.here / Path(text).expanduser()
            if path.is_file():
                return RunRef("", "file", path=path)
            if (path / RESULTS).is_file():
                return RunRef("", "file", path=path / RESULTS, folder=path)
            if (path / RUN_LOG).is_file():
                return RunRef(path.resolve().name, "file", folder=path)
            is_folder = path.is_dir()
        except (OSError, ValueError, RuntimeError) as error:  # a name too long, a NUL, ~nobody, no right to look
            why = getattr(error, "strerror", None) or "it is not a path"
            raise MissingRunError(f"found {_quoted(text)}, but {why}: expected {_EXPECTED}") from error
        if is_folder:
            raise MissingRunError(f"found the folder {_quoted(text)} without a {RESULTS}: expected {_EXPECTED}")
        raise MissingRunError(f"there is no file {_quoted(text)}: expected {_EXPECTED}")

    def _of_word(self, text: str) -> RunRef:
        if not text.isprintable() or not text.strip() or len(text) > _LONGEST:
            raise MissingRunError(f"found {_quoted(text)}, expected {_EXPECTED}")
        exact = self._exact(text)
        # A whole id may also be the beginning of others.  A name that is no id, and also begins an id, is ambiguous.
        beginning = [] if any(ref.source == "run" for ref in exact) else self._beginning(text)
        ids = list(dict.fromkeys([*map(self._id_of, exact), *beginning]))
        if not ids:
            raise MissingRunError(f"no run {_quoted(text)}: expected {_EXPECTED}; {self._hint(text)}")
        if len(ids) == 1:
            return exact[0] if exact else self._ref(beginning[0], "run")
        newest = [self._ref(run_id, "run") for run_id in beginning[-_CANDIDATES:]]
        shown = "; ".join(map(self.where, (*exact, *newest)))
        more = f"; and {len(beginning) - len(newest)} more" if len(beginning) > len(newest) else ""
        raise RunNameError(
            f"found {_quoted(text)}, which matches several runs: {shown}{more}; expected one: give its whole id or "
            "its path ('flperf baseline remove' removes a name)"
        )

    def _exact(self, text: str) -> list[RunRef]:
        """Every run with exactly this name or id."""
        meant = []
        named = self.store.baseline(text) if self.store is not None else None
        if named is not None:
            meant.append(self._ref(named.run_id, "name", f" (baseline {text})"))
        ref = self._ref(text, "run")
        if ref.stored or ref.folder is not None:
            meant.append(ref)
        beside = self.here / text
        if _holds_run(beside) and not _same_place(beside, self.folder / text):
            meant.append(self._of_path(str(Path(text))))
        return meant

    def _beginning(self, text: str) -> list[str]:
        """Ids with this beginning, oldest first."""
        stored = self.store.ids(text) if self.store is not None else []
        there = [run_id for run_id in _names(self.folder) if run_id.startswith(text)]
        return list(dict.fromkeys([*stored, *there]))

    def _ref(self, run_id: str, source: RunSource, more: str = "") -> RunRef:
        """A run by its whole id; without location where it is unknown.

        It is unknown where neither the store nor the folder has it.
        """
        stored = self.is_stored(run_id)
        folder = self.folder / run_id if run_id in _names(self.folder) else None
        path = folder / RESULTS if folder is not None and _is_file(folder / RESULTS) else None
        return RunRef(run_id, source, stored, path, folder, more)

    def _id_of(self, ref: RunRef) -> str:
        """The id of a run; a file is read for its id."""
        try:
            return ref.id or self.read(ref).id
        except RunError:
            return str(ref.path)

    def _hint(self, text: str) -> str:
        names: list[str] = []
        if self.store is not None:
            names = [each.name for each in self.store.baselines()]
            names += [run.id for run in self.store.runs(_LOOKED_AT)]
        known = list(dict.fromkeys([*names, *_names(self.folder)[::-1]]))
        near = difflib.get_close_matches(text[:_SHOWN], known, n=3, cutoff=0.4) or known[:3]
        return f"nearest: {', '.join(near)}" if near else f"there is none {self._where_looked()}"

    def _where_looked(self) -> str:
        places = f"in {self.folder}" + (f" or in the store {self.store.shown}" if self.store is not None else "")
        return f"{places}; --report-dir says where they are"


def is_path(text: str) -> bool:
    """Whether a text can only be a path."""
    separators = [each for each in (os.sep, os.altsep, "/", "\\") if each]
    return text.endswith(".json") or text in (".", "..") or text[:1] == "~" or any(each in text for each in separators)


def is_relative(text: str) -> bool:
    """Whether a text names a relative run: ``last`` or ``branch:NAME``."""
    return text == LAST or text.startswith(BRANCH)


def can_be_id(text: str) -> bool:
    """Whether a run with this id can be found again by it."""
    plain = text.isprintable() and text.strip() == text and 0 < len(text) <= _LONGEST
    return plain and text != LATEST and not is_relative(text) and not is_path(text)


def _names(folder: Path) -> Sequence[str]:
    return [run.id for run in folder_runs(folder)]


def _holds_run(folder: Path) -> bool:
    return _is_file(folder / RESULTS) or _is_file(folder / RUN_LOG)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _same_place(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except (OSError, ValueError):
        return False


def _quoted(text: str) -> str:
    return ascii(text[:_SHOWN])
