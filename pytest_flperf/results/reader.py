"""Results reader: reads results files and checks every value."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pytest_flperf.errors import FlperfError
from pytest_flperf.results.document import DocumentError, decoded, parsed
from pytest_flperf.results.records import Run
from pytest_flperf.results.run_folder import LATEST, RESULTS
from pytest_flperf.results.validation import checked_run

__all__ = ["RunError", "read_run", "run_ids", "run_of"]

_LARGEST_MB: Final = 256
"""A thousand cases take 2."""
_WHAT_TO_DO: Final = "use an unedited copy ('flperf export RUN -o FILE' writes one), or measure again"


class RunError(FlperfError):
    """Unreadable run: what was looked for, where, what to do."""


def run_ids(report_dir: Path, file: str = RESULTS) -> list[str]:
    """The ids of a folder's runs that have this file, oldest first."""
    try:
        return sorted(path.parent.name for path in report_dir.glob(f"*/{file}") if path.parent.name != LATEST)
    except OSError:
        return []


def read_run(path: Path) -> Run:
    """Read a run from a results file; raises RunError where invalid.

    Also where the file can't be read.
    """
    try:
        if not path.is_file():
            raise RunError(f"{path} can't be read: {'it is not a file' if path.exists() else 'there is no such file'}")
        size_mb = path.stat().st_size >> 20
        if size_mb > _LARGEST_MB:
            raise RunError(f"{path} can't be read: it has {size_mb} MB, expected {_LARGEST_MB} MB at most")
        content = path.read_bytes()
    except (OSError, ValueError) as error:  # no right to read it, a name too long, a NUL
        raise RunError(f"{path} can't be read: {getattr(error, 'strerror', None) or error}") from error
    with _told(str(path)):
        return checked_run(parsed(decoded(content)))


def run_of(text: str, where: str) -> Run:
    """Read a run from JSON text; raises RunError where invalid.

    The error names ``where`` the text is from.
    """
    with _told(where):
        return checked_run(parsed(text))


@contextlib.contextmanager
def _told(where: str) -> Iterator[None]:
    try:
        yield
    except DocumentError as error:
        raise RunError(f"{where} is not a results file of flperf, or was edited: {error}; {_WHAT_TO_DO}") from error
