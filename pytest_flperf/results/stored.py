"""Runs on disk: found by folder, file or id, and read with every value checked."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pytest_flperf.results.document import DocumentError, decoded, parsed
from pytest_flperf.results.records import Run
from pytest_flperf.results.run_folder import LATEST
from pytest_flperf.results.run_log import RUN_LOG
from pytest_flperf.results.validation import checked_run

__all__ = ["RESULTS", "RunError", "find_run", "read_run", "run_ids", "run_of"]

RESULTS: Final = "results.json"
_LARGEST_MB: Final = 256
"""A thousand cases take 2."""
_WHAT_TO_DO: Final = "take a copy that nobody edited ('flperf export RUN -o FILE' writes one), or measure again"


class RunError(Exception):
    """A run that is not there or can't be read: what was looked for, where, and what to do."""


def run_ids(report_dir: Path, file: str = RESULTS) -> list[str]:
    """The ids of the runs in a folder that have this file, oldest first."""
    try:
        return sorted(path.parent.name for path in report_dir.glob(f"*/{file}") if path.parent.name != LATEST)
    except OSError:
        return []


def find_run(name: str, report_dir: Path, file: str = RESULTS) -> Path:
    """The results file of a run.

    Args:
        name: A results file, a run's folder, a run's id (or how only one begins) in ``report_dir``, or ``latest``.
        report_dir: Where runs lie.
        file: Another file of the run in place of its results.

    Raises:
        RunError: There is none, or several begin like that; the nearest ids are named.

    """
    latest = report_dir / f"{LATEST}.txt"  # where links can't be made
    if name == LATEST and _is_file(latest) and not _is_file(report_dir / LATEST / file):
        name = _first_line(latest)
    for path in (Path(name), Path(name) / file, report_dir / name / file):
        if name and _is_file(path):
            return path
    known = run_ids(report_dir, file)
    begin_so = [each for each in known if name and each.startswith(name)]
    if len(begin_so) == 1:
        return report_dir / begin_so[0] / file
    if file == RESULTS and (killed := _killed(name, report_dir)):
        hint = f"it was ended before it could write any; 'flperf report --recover {killed}' makes them from its journal"
    elif not known:
        hint = f"there are no runs in {report_dir}; --report-dir says where they lie"
    elif begin_so:
        hint = f"several begin so: {', '.join(begin_so[-5:])}"
    else:
        near = difflib.get_close_matches(name[:200], known, n=3, cutoff=0.3) or known[-3:][::-1]
        hint = f"nearest in {report_dir}: {', '.join(near)}"
    raise RunError(f"no run {name[:200]!r}: expected a run's folder, its {file}, its id or {LATEST!r}; {hint}")


def _killed(name: str, report_dir: Path) -> str:
    """The name as it is, where it means a run without results."""
    folders = (Path(name), report_dir / name)
    return name if name and any(_is_file(folder / RUN_LOG) for folder in folders) else ""


def read_run(path: Path) -> Run:
    """The run in a results file; raises RunError where it can't be read or holds what no run can have written."""
    try:
        if not path.is_file():
            raise RunError(f"{path} can't be read: {'it is no file' if path.exists() else 'there is no such file'}")
        size_mb = path.stat().st_size >> 20
        if size_mb > _LARGEST_MB:
            raise RunError(f"{path} is not read: it has {size_mb} MB, {_LARGEST_MB} are the most")
        content = path.read_bytes()
    except (OSError, ValueError) as error:  # no right to read it, a name too long, a NUL
        raise RunError(f"{path} can't be read: {getattr(error, 'strerror', None) or error}") from error
    with _told(str(path)):
        return checked_run(parsed(decoded(content)))


def run_of(text: str, where: str) -> Run:
    """The run in a text of JSON, every value checked; raises RunError, which says where it is from."""
    with _told(where):
        return checked_run(parsed(text))


@contextlib.contextmanager
def _told(where: str) -> Iterator[None]:
    try:
        yield
    except DocumentError as error:
        raise RunError(f"{where} is no results file of flperf, or was changed: {error}; {_WHAT_TO_DO}") from error


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name too long for the system, a NUL
        return False


def _first_line(path: Path) -> str:
    try:
        return (path.read_text(encoding="utf-8").splitlines() or [""])[0].strip()
    except (OSError, UnicodeDecodeError):
        return ""
