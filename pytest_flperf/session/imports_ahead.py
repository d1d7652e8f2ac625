"""Imports ahead: modules that are loaded while the runtime starts."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from typing import Final

from pytest_flperf.loadgen.interrupts import Interrupts

__all__ = ["ImportsAhead"]

_ALWAYS: Final = ("psutil", "pytest_flperf.report.terminal.summary", "wcwidth", "tabulate")
"""Modules for the first case, then those for the end of the run.

The table's modules (wcwidth above all) take 50 to 90 ms, which would delay the end.
"""
_TO_COMPARE: Final = (
    "pytest_flperf.stats.inference.paired",
    "pytest_flperf.stats.inference.between_runs",
    "scipy.special",
)
"""Modules that decide between two sides.  They take 0.3 s, too long between two requests."""


class ImportsAhead:
    """Imports in a thread of their own."""

    def __init__(self, after: Callable[[], None]) -> None:
        """Import nothing yet; ``after`` is called in the thread behind the last import."""
        self._after = after
        self._thread: threading.Thread | None = None

    def start(self, *, compares: bool) -> None:
        """Start to import; ``compares``: also what decides between two sides."""
        names = (*_ALWAYS, *_TO_COMPARE) if compares else _ALWAYS
        self._thread = threading.Thread(target=self._import, args=(names,), name="flperf-import", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Wait until all is imported, without interrupts.

        Ctrl-C during an import can leave Python's import lock held for ever (seen with 3.12.1), and then all threads
        that import wait for each other.
        """
        if self._thread is not None:
            with Interrupts():
                self._thread.join()
            self._thread = None

    def _import(self, names: tuple[str, ...]) -> None:
        for name in names:
            importlib.import_module(name)
        self._after()
