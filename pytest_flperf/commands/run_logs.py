"""``flperf logs``: print and follow the logs of what a run started."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pytest_flperf.commands.common import Commands, Parsed, refuse
from pytest_flperf.commands.stored_runs import RUN_HELP, add_places, run_names

__all__ = ["add_logs"]

_LINES: Final = 200
_LONGEST: Final = 2_000
_READ_BYTES: Final = 1 << 20
_LOOK_S: Final = 0.3


def add_logs(commands: Commands) -> None:
    """Add the ``logs`` command."""
    parser = commands.add_parser(
        "logs",
        help="Print the logs of the servers that a run started",
        description="The last lines of each log: of the Foundry Local runtime, llama-server, LiteLLM's proxy. Keys "
        "are masked. Without RUN: those of the newest run, even if it is still running.",
    )
    parser.add_argument("name", metavar="RUN", nargs="?", help=RUN_HELP)
    parser.add_argument(
        "-f", "--follow", action="store_true", help="Keep printing as the logs grow, until the run ends"
    )
    parser.add_argument(
        "--lines", metavar="N", type=int, default=_LINES, help=f"Print this many lines of each log; default: {_LINES}"
    )
    add_places(parser)
    parser.set_defaults(run=_logs, usage=parser)


def _logs(parsed: Parsed) -> int:
    from pytest_flperf.report.terminal.listings import say

    if parsed.lines < 0:
        refuse(parsed, f"--lines: found {parsed.lines}, expected 0 or more")
    folder = _folder_of(parsed)
    watched = _Watched(folder / "logs")
    for line in watched.last_lines(parsed.lines):
        say(line)
    while parsed.follow and not _has_ended(folder):
        for line in watched.new_lines():
            say(line)
        time.sleep(_LOOK_S)
    for line in watched.new_lines() if parsed.follow else ():
        say(line)
    if not watched.seen:
        say(f"run {folder.name} started no server that has a log")
    return 0


def _folder_of(parsed: Parsed) -> Path:
    """The folder of a run, under way or not."""
    from pytest_flperf.results.run_folder import LATEST

    name = LATEST if parsed.name is None else parsed.name
    with run_names(parsed, [name]) as names:
        ref = names.find(name, killed=True)
    folder = ref.folder or (ref.path.parent if ref.path is not None else None)
    if folder is None:
        refuse(parsed, f"run {ref.id} is only in the store, expected its folder with its logs")
    return folder


def _has_ended(folder: Path) -> bool:
    from pytest_flperf.results.reader import RunError, read_run
    from pytest_flperf.results.run_folder import RESULTS

    try:
        return read_run(folder / RESULTS).finished_at is not None
    except RunError:
        return False


@dataclass(slots=True)
class _Watched:
    """The logs of a folder, and how far each was read."""

    folder: Path
    _read: dict[Path, int] = field(default_factory=dict)
    _told: Path | None = None

    @property
    def seen(self) -> bool:
        """Whether there is any log."""
        return bool(self._read)

    def last_lines(self, count: int) -> list[str]:
        """The last lines of each log, with its name before them."""
        lines: list[str] = []
        for path in self._logs():
            text, self._read[path] = _text_from(path, max(0, _size(path) - _READ_BYTES))
            lines += self._with_name(path, text.splitlines()[-count:] if count else [])
        return lines

    def new_lines(self) -> list[str]:
        """Whole lines that were added since."""
        lines: list[str] = []
        for path in self._logs():
            text, end = _text_from(path, self._read.get(path, 0))
            whole, _, rest = text.rpartition("\n")
            self._read[path] = end - len(rest.encode("utf-8", "surrogateescape"))
            lines += self._with_name(path, whole.splitlines())
        return lines

    def _logs(self) -> list[Path]:
        try:
            return sorted(path for path in self.folder.iterdir() if path.is_file() and not path.is_symlink())
        except OSError:
            return []

    def _with_name(self, path: Path, lines: list[str]) -> list[str]:
        from pytest_flperf._text import printable

        shown = [printable(line, _LONGEST) for line in lines]
        if not shown or self._told == path:
            return shown
        self._told = path
        return [f"== {printable(path.name)} ==", *shown]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _text_from(path: Path, start: int) -> tuple[str, int]:
    """What a file holds from a place on, and where that ends; nothing where it can't be read."""
    try:
        with path.open("rb") as file:
            file.seek(start)
            data = file.read(4 * _READ_BYTES)
    except OSError:
        return "", start
    return data.decode("utf-8", "surrogateescape"), start + len(data)
