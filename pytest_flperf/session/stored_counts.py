"""Numbers of stored runs per case, before anything is measured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from pytest_flperf.session.history import place_of
from pytest_flperf.session.options import RunOptions
from pytest_flperf.suite.model import Case

if TYPE_CHECKING:
    from pytest_flperf.history.store import Store

__all__ = ["StoredCounts"]

_ENOUGH: Final = 20


class StoredCounts:
    """Counter of a case's stored runs on machines like this.

    Without a store, each count is 0.
    """

    def __init__(self, options: RunOptions, here: Path) -> None:
        """Open nothing yet; raises OptionsError for an invalid store."""
        self._place = place_of(options, here) if options.baseline is not None else None
        self._store: Store | None = None
        self._machine = ""

    def of(self, case: Case) -> int:
        """Number of stored runs of a case, at most twenty.

        They may have been measured under any conditions.
        """
        if self._store is None:
            return 0
        from pytest_flperf.history.place import StoreError, StoreUnusableError

        try:
            return len(self._store.earlier(case.nodeid, self._machine, "e2e_ms", _ENOUGH))
        except StoreUnusableError:  # reported when it is needed; the next case would wait as long
            self._store.close()
            self._store = None
        except StoreError:
            pass
        return 0

    def __enter__(self) -> Self:
        if self._place is None or (self._place.path is not None and not self._place.path.is_file()):
            return self
        try:
            from pytest_flperf.history.environment import fingerprint
            from pytest_flperf.history.store import Store, StoreError
            from pytest_flperf.results.host import host_info
        except ImportError:  # without SQLAlchemy nothing was stored
            return self
        self._machine = fingerprint(host_info())
        try:
            self._store = Store(self._place)
        except StoreError:  # said when it is needed
            self._store = None
        return self

    def __exit__(self, *_: object) -> None:
        if self._store is not None:
            self._store.close()
