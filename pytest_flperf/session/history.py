"""Run storage: a session stores its run at the end.

Database modules are imported only then, or in the background while the runtime starts.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_flperf._text import printable
from pytest_flperf.history.place import PlaceError, StorePlace, store_in, store_place
from pytest_flperf.results.redaction import Redactor
from pytest_flperf.results.run_folder import RunFolder, new_run_id
from pytest_flperf.session.errors import OptionsError

if TYPE_CHECKING:
    from pytest_flperf.history.earlier_runs import EarlierRuns
    from pytest_flperf.history.rows import CaseValues
    from pytest_flperf.results.records import Run
    from pytest_flperf.session.options import RunOptions

__all__ = ["Storing", "place_of", "store_password"]

_BRIEFLY_S: Final = 0.2


def place_of(options: RunOptions, here: Path) -> StorePlace | None:
    """Location of the store, or None; raises OptionsError.

    The error reports an invalid location or a missing driver.  None: runs are not stored.
    """
    if options.store is None:
        return store_in(here / options.report_dir)
    try:
        return store_place(options.store, here)
    except PlaceError as error:
        raise OptionsError(f"--flperf-store: {error}") from error


def store_password(options: RunOptions, here: Path) -> str | None:
    """Password in the store's URL, or None.

    It must be masked in everything that is kept.
    """
    place = place_of(options, here)
    return None if place is None else place.password


class Storing:
    """Writer to the run store; collects problems instead of raising.

    A run that is not stored is a line in ``problems``.
    """

    def __init__(self, options: RunOptions, here: Path) -> None:
        """``here`` is the folder that paths are relative to."""
        self._asked = options.store is not None
        self._here = here
        self._place = place_of(options, here)
        self.problems: list[str] = []

    def warm_up(self) -> None:
        """Import database modules ahead of time.

        This saves 0.15 s at the end.
        """
        if self._place is not None:
            import importlib

            with contextlib.suppress(ImportError):  # said at the end
                for name in ("pytest_flperf.history.store", f"sqlalchemy.dialects.{self._place.kind}"):
                    importlib.import_module(name)

    def store(
        self,
        run: Run,
        folder: RunFolder | None,
        redactor: Redactor,
        values: Callable[[Run, int], CaseValues],
    ) -> None:
        """Store a run that has ended.

        A run without a folder is stored only if the options name a store.  ``values`` returns values of single
        requests, at most the given number per case and metric.
        """
        if self._place is None or (folder is None and not self._asked):
            return
        if folder is None:
            run = replace(run, id=new_run_id(datetime.now(UTC), run.suites))
        try:
            self._add(self._place, run, folder, redactor, values)
        except Exception as error:  # noqa: BLE001 - a fault of the store must not cost the run its results and verdict
            what = f"a fault of flperf, please report it: {type(error).__name__}: {error}"
            self._tell(self._place.masked(what))

    def earlier_runs(self, run: Run) -> EarlierRuns:
        """Earlier runs of a run's cases, from the store.

        Empty where the store can't be read, which :meth:`store` tells.
        """
        if self._place is None:
            return {}
        try:
            if not self._place.is_there():
                return {}
            from pytest_flperf.history.store import Store

            with Store(self._place, busy_s=_BRIEFLY_S) as store:
                return store.earlier_runs(run)
        except Exception:  # noqa: BLE001 - a fault of the store must not cost the run its page
            return {}

    def _add(
        self,
        place: StorePlace,
        run: Run,
        folder: RunFolder | None,
        redactor: Redactor,
        values: Callable[[Run, int], CaseValues],
    ) -> None:
        try:
            from pytest_flperf.history.store import Store, StoreError
        except ImportError as error:
            self._tell(f"{printable(str(error), 200)}: pip install 'SQLAlchemy>=2.0'")
            return
        from pytest_flperf.history.environment import surroundings
        from pytest_flperf.results.metrics import VALUES_KEPT

        path = folder.path if folder is not None else None
        about = surroundings(self._here, {name: redactor.text(value, 2_000) for name, value in _told().items()}, path)
        found = values(run, VALUES_KEPT)  # before a store is made for it
        try:
            with Store(place) as store:
                store.add(run, about, found)
        except StoreError as error:
            where = "" if not self._asked else f" --store={place.path or 'URL'}"
            later = f"; 'flperf import {path}{where}' stores it later" if path is not None else ""
            self._tell(f"{error}{later}")

    def _tell(self, problem: str) -> None:
        self.problems.append(printable(f"the run is not in the store: {problem}", 700))


def _told() -> dict[str, str]:
    """Environment variables that name a run's commit and CI job."""
    from pytest_flperf.history.environment import VARIABLES

    return {name: value for name in VARIABLES if (value := os.environ.get(name))}
