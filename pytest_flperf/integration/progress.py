"""Progress of a session: live on a terminal, else every minute."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from typing import Any, Final

import pytest

from pytest_flperf._text import printable
from pytest_flperf.integration.xdist import is_worker
from pytest_flperf.session.time_left import Expected, TimeLeft

__all__ = ["TerminalProgress"]

_HEARTBEAT_S: Final = 60.0
_LIVE_EVERY_S: Final = 0.2
_ROOM_FOR_PERCENT: Final = 9
_SHORTEST: Final = 20
_SHORTEST_NAME: Final = 12


class TerminalProgress:
    """Progress display of a session; only the main thread writes."""

    def __init__(self, config: pytest.Config) -> None:
        self._capture: Any = config.pluginmanager.get_plugin("capturemanager")
        self._reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
        self._writer = config.get_terminal_writer() if self._reporter is not None else None
        self._worker = is_worker(config)
        quiet = config.get_verbosity() < 0
        self._live = self._writer is not None and not quiet and bool(getattr(self._reporter, "isatty", False))
        self._heartbeat = self._writer is not None and not quiet and not self._live
        self.time_left = TimeLeft({})

    def expect(self, cases: Callable[[], Mapping[str, Expected]], ends_at_s: float | None) -> None:
        """Hear which cases are to be measured, and when the run will be ended."""
        if self._live or self._heartbeat:
            self.time_left = TimeLeft(cases(), ends_at_s)

    @contextmanager
    def of(self, nodeid: str) -> Iterator[_CaseProgress]:
        """Report on one case; live text is removed at the end."""
        progress = _CaseProgress(nodeid, self)
        try:
            yield progress
        finally:
            progress.clear()

    def show(self, text: str, shown: int, name: str) -> int:
        """Show ``text`` in place of ``shown`` characters; returns its length.

        Where there is no room for all of it, the name in it is cut first.

        It uses backspaces, which work on any terminal and leave pytest's own line as it was.
        """
        if not self._live or self._writer is None or threading.current_thread() is not threading.main_thread():
            return 0
        room = self._writer.fullwidth - self._writer.width_of_current_line - _ROOM_FOR_PERCENT
        excess = len(text) - room
        if excess > 0:
            text = text.replace(name, printable(name, max(len(name) - excess, _SHORTEST_NAME)), 1)
        text = printable(text, max(room, 0)) if room >= _SHORTEST else ""
        padded = text.ljust(shown)
        if padded:
            self._write_live("\b" * shown + padded + "\b" * (len(padded) - len(text)))
        return len(text)

    def take_away(self, shown: int) -> None:
        """Remove the text of ``show``."""
        if shown and self._live:
            self._write_live("\b" * shown + " " * shown + "\b" * shown)

    def _write_live(self, text: str) -> None:
        with self._uncaptured(), suppress(OSError):  # the terminal is gone: no reason to lose a measurement
            sys.stdout.write(text)
            sys.stdout.flush()

    def beat(self, text: str) -> None:
        """Print a line if there is no live display."""
        if self._heartbeat:
            self.line(text)

    def line(self, text: str) -> None:
        """Print a line that a person must see, even with ``-q``."""
        if self._writer is None:
            return  # -p no:terminal
        shown = f"flperf: {printable(text, 400)}"
        with self._uncaptured():
            if self._worker:  # of xdist: its standard output leads nowhere
                with suppress(OSError, AttributeError):  # full, or closed by the shell
                    sys.stderr.write(shown + "\n")
                    sys.stderr.flush()
            else:
                with suppress(OSError):
                    self._reporter.ensure_newline()
                    self._reporter.write_line(shown)
                    self._reporter.flush()  # into a file or a pipe, Python would hold the line back

    def _uncaptured(self) -> Any:
        return self._capture.global_and_fixture_disabled() if self._capture is not None else nullcontext()


class _CaseProgress:
    """Progress of one case."""

    def __init__(self, nodeid: str, progress: TerminalProgress) -> None:
        self._nodeid = nodeid
        self._name = nodeid.rpartition("::")[2]
        self._progress = progress
        self._shown = 0
        self._begun = self._shown_at = self._beaten_at = time.monotonic()
        progress.time_left.begin(nodeid, self._begun)

    def stage(self, what: str, percent: float | None) -> None:
        """Report progress of a download or a model load."""
        self._say(what if percent is None else f"{what} {percent:.0f} %", 0.0)

    def requests(self, done: int, total: int) -> None:
        """Report the number of finished requests."""
        text = f"{self._name} {done}/{total} requests" if total else f"{self._name} {done} requests"
        self._say(text, done / total if total else 0.0)

    def _say(self, text: str, share: float) -> None:
        now = time.monotonic()
        if now - self._shown_at >= _LIVE_EVERY_S:
            self._shown_at = now
            self._shown = self._progress.show(self._placed(text, share, now), self._shown, self._name)
        if now - self._beaten_at >= _HEARTBEAT_S:
            self._beaten_at = now
            named = text if text.startswith(self._name) else f"{self._name}: {text}"
            self._progress.beat(self._placed(f"{named}, {(now - self._begun) / 60:.0f} min", share, now))

    def _placed(self, text: str, share: float, now: float) -> str:
        """The text with the place of the case in its run, and the time left: ``3/22 …, 40 s left``."""
        time_left = self._progress.time_left
        words = " ".join(filter(None, (time_left.place(self._nodeid), text)))
        return ", ".join(filter(None, (words, time_left.left(share, now))))

    def clear(self) -> None:
        """Remove the live text."""
        self._progress.take_away(self._shown)
        self._shown = 0
