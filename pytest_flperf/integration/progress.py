"""Progress of a session: live on a terminal, else every minute."""

from __future__ import annotations

import importlib
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, Final, TextIO

import pytest

from pytest_flperf._text import printable
from pytest_flperf.integration.xdist import is_worker
from pytest_flperf.session.time_left import Expected, TimeLeft

if TYPE_CHECKING:
    from pytest_flperf.integration.progress_text import CaseText
    from pytest_flperf.measurement.plan_progress import Counter

__all__ = ["TerminalProgress"]

_HEARTBEAT_S: Final = 60.0
_LIVE_EVERY_S: Final = 0.2
_STAGE_EVERY_S: Final = 0.5
_ROOM_FOR_PERCENT: Final = 9
_SHORTEST: Final = 12
_SECONDS: Final = re.compile(r", \d+ s\Z")
"""At the end of a stage's words: of a wait that counts for itself."""


class TerminalProgress:
    """Progress display of a session.

    While a model is made ready, a thread of its own shows the seconds: nothing is measured then, and the main thread
    may wait for a server.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._capture: Any = config.pluginmanager.get_plugin("capturemanager")
        self._reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
        self._writer = config.get_terminal_writer() if self._reporter is not None else None
        self._worker = is_worker(config)
        quiet = config.get_verbosity() < 0
        self.live = self._writer is not None and not quiet and bool(getattr(self._reporter, "isatty", False))
        """Whether text is shown in place."""
        self.names_cases = config.get_verbosity() > 0
        """Whether pytest's own line names the case."""
        self._heartbeat = self._writer is not None and not quiet and not self.live
        self._shown = self._columns = 0  # cells
        self._terminal: TextIO | None = None
        self.lock = threading.RLock()
        """Held by who writes; a signal may interrupt the main thread while it writes."""
        self.time_left = TimeLeft({})

    def expect(self, cases: Callable[[], Mapping[str, Expected]], ends_at_s: float | None) -> None:
        """Hear which cases are to be measured, and when the run will be ended."""
        if self.live or self._heartbeat:
            self.time_left = TimeLeft(cases(), ends_at_s)

    @contextmanager
    def of(self, nodeid: str) -> Iterator[_CaseProgress]:
        """Report on one case; live text is removed at the end."""
        progress = _CaseProgress(nodeid, self)
        self._open_terminal()
        try:
            progress.begin()
            yield progress
        finally:
            progress.end()
            self._close_terminal()

    def _open_terminal(self) -> None:
        """Open the terminal for another thread, and see how wide it is.

        pytest's capture is switched off to write, and that only the main thread may do.
        """
        if self.live and self._writer is not None:
            with self._uncaptured(), suppress(OSError, ValueError, AttributeError):
                self._columns = self._writer.fullwidth  # while output is captured nobody knows it
                encoding = sys.stdout.encoding
                descriptor = os.dup(sys.stdout.fileno())
                self._terminal = os.fdopen(descriptor, "w", encoding=encoding, errors="backslashreplace", newline="")

    def _close_terminal(self) -> None:
        with self.lock, suppress(OSError):
            terminal, self._terminal = self._terminal, None
            if terminal is not None:
                terminal.close()

    def show(self, text: CaseText) -> None:
        """Show a text in place of the one before, fitted to the rest of the line.

        It uses backspaces, which work on any terminal and leave pytest's own line as it was.
        """
        from pytest_flperf.integration.progress_text import fitted
        from pytest_flperf.report.terminal.tables import width_of

        if not self.live or self._writer is None:
            return
        room = self._columns - self._writer.width_of_current_line - _ROOM_FOR_PERCENT
        said = f" {fitted(text, room - 1)}" if room >= _SHORTEST else ""
        width = width_of(said)
        blanks = max(self._shown - width, 0)
        if (said or blanks) and self._write_live("\b" * self._shown + said + " " * blanks + "\b" * blanks):
            self._shown = width

    def take_away(self) -> None:
        """Remove the text of ``show``."""
        if self._shown and self._write_live("\b" * self._shown + " " * self._shown + "\b" * self._shown):
            self._shown = 0

    def _write_live(self, text: str) -> bool:
        """Write to the terminal; returns whether this thread could."""
        try:
            if threading.current_thread() is threading.main_thread():
                with self._uncaptured():
                    sys.stdout.write(text)
                    sys.stdout.flush()
            elif self._terminal is not None:
                self._terminal.write(text)
                self._terminal.flush()
            else:
                return False
        except (OSError, ValueError):  # the terminal is gone: no reason to lose a measurement
            return False
        return True

    def beat(self, text: str) -> None:
        """Print a line if there is no live display."""
        if self._heartbeat:
            self.line(text)

    def line(self, text: str) -> None:
        """Print a line that a person must see, even with ``-q``."""
        if self._writer is None:
            return  # -p no:terminal
        shown = f"flperf: {printable(text, 400)}"
        with self.lock:
            self.take_away()
            self._print(shown)

    def _print(self, shown: str) -> None:
        with self._uncaptured():
            if self._worker:  # of xdist: its standard output leads nowhere
                with suppress(OSError, AttributeError):  # full, or closed by the shell
                    sys.stderr.write(shown + "\n")
                    sys.stderr.flush()
            elif self._reporter is not None:
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
        self._begun = self._stage_begun = self._shown_at = self._beaten_at = time.monotonic()
        self._stage, self._percent = "getting ready", ""
        self._stages_over = threading.Event()
        if nodeid:
            progress.time_left.begin(nodeid, self._begun)

    def begin(self) -> None:
        """Begin to show the stage and its seconds."""
        if not self._progress.live:
            return
        from pytest_flperf.loadgen.interrupts import Interrupts

        with Interrupts():  # Ctrl-C during an import may leave its lock held, and the thread must import nothing
            for name in ("pytest_flperf.integration.progress_text", "wcwidth"):
                importlib.import_module(name)
        with suppress(RuntimeError):  # no more threads: then only the seconds are missing
            threading.Thread(target=self._show_stages, name="flperf-progress", daemon=True).start()

    def _show_stages(self) -> None:
        while not self._stages_over.wait(_STAGE_EVERY_S):
            with self._progress.lock:
                if not self._stages_over.is_set():
                    self._show_stage(time.monotonic())

    def _show_stage(self, now: float) -> None:
        seconds = int(now - self._stage_begun)
        doing = " ".join(filter(None, (self._percent, f"({seconds} s)" if seconds else "")))
        self._progress.show(self._text(self._stage, doing, (), 0.0, now))

    def stage(self, what: str, percent: float | None) -> None:
        """Report progress of a download or a model load."""
        now = time.monotonic()
        with self._progress.lock:
            stage = _SECONDS.sub("", what)
            if stage != self._stage:
                self._stage, self._stage_begun = stage, now
            self._percent = "" if percent is None else f"{percent:.0f} %"
            if self._is_time(now):
                self._show_stage(now)
        self._beat(f"{self._name}: {what} {self._percent}".rstrip(), 0.0, now)

    def requests(self, count: Counter) -> None:
        """Report the requests that have ended."""
        from pytest_flperf.integration.progress_text import count_words, measured_share, speed_words

        self._stages_over.set()
        now = time.monotonic()
        share = measured_share(count)
        if self._is_time(now):
            with self._progress.lock:
                name = "" if self._progress.names_cases else self._name
                self._progress.show(self._text(name, count_words(count), speed_words(count), share, now))
        self._beat(f"{self._name} {count_words(count)}", share, now)

    def _is_time(self, now: float) -> bool:
        if not self._progress.live or now - self._shown_at < _LIVE_EVERY_S:
            return False
        self._shown_at = now
        return True

    def _beat(self, words: str, share: float, now: float) -> None:
        if now - self._beaten_at >= _HEARTBEAT_S:
            self._beaten_at = now
            minutes = f"{words}, {(now - self._begun) / 60:.0f} min"
            self._progress.beat(str(self._text("", minutes, (), share, now)))

    def _text(self, name: str, doing: str, speed: tuple[str, ...], share: float, now: float) -> CaseText:
        """The text with the place of the case in its run, and the time left."""
        from pytest_flperf.integration.progress_text import CaseText

        time_left = self._progress.time_left
        return CaseText(time_left.place(self._nodeid), name, doing, speed, time_left.left(share, now))

    def end(self) -> None:
        """Remove the live text."""
        self._stages_over.set()
        with self._progress.lock:
            self._progress.take_away()
