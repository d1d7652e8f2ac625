"""Run folder: ``reports/<run id>/``, with ``reports/latest`` pointing to the newest."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import sys
import unicodedata
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

from pytest_flperf.results.journal import Journal
from pytest_flperf.results.serialize import plain

__all__ = [
    "JUDGED",
    "JUDGEMENTS",
    "LATEST",
    "PROMPTS",
    "RESULTS",
    "RUN_LOG",
    "SAMPLES",
    "RunFolder",
    "new_run_id",
    "remove_run_folders",
]

LATEST: Final = "latest"
RESULTS: Final = "results.json"
RUN_LOG: Final = "run.jsonl"
SAMPLES: Final = "samples.jsonl"
PROMPTS: Final = "prompts.jsonl"
JUDGED: Final = "judged.json"
JUDGEMENTS: Final = "judgements.jsonl"
_SLUG_LENGTH: Final = 40
_ATTEMPTS: Final = 20
_RESERVED: Final = frozenset({"con", "prn", "aux", "nul"})


def new_run_id(started_at: datetime, suites: Sequence[str], token: str | None = None) -> str:
    """A new run id, sortable and file-name safe: ``20261121T101500Z-default-3f9a``.

    Args:
        started_at: An aware time; naive is taken as UTC.
        suites: Suite names; several become ``first-and-2-more``, none ``run``.
        token: The end of the id; None: random.

    """
    when = started_at.replace(tzinfo=UTC) if started_at.tzinfo is None else started_at.astimezone(UTC)
    name = _slug(suites[0]) if suites else "run"
    more = f"-and-{len(suites) - 1}-more" if len(suites) > 1 else ""
    return f"{when:%Y%m%dT%H%M%SZ}-{name}{more}-{token or secrets.token_hex(2)}"


def _slug(name: str) -> str:
    ascii_only = unicodedata.normalize("NFKD", name[:400]).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9]+", "-", ascii_only.lower()).strip("-")[:_SLUG_LENGTH].strip("-")
    return slug if slug and slug not in _RESERVED else "suite"


class RunFolder:
    """Folder for the files of one run.

    Once created, nothing raises: a file that can't be written adds one line to ``problems`` (also given to
    ``on_problem``), and the run goes on.
    """

    def __init__(self, path: Path, *, on_problem: Callable[[str], None] | None = None) -> None:
        """Use an existing folder (see ``create`` for a new one)."""
        self.path = path
        self.id = path.name
        self.problems: list[str] = []
        self._on_problem = on_problem
        self._told: set[str] = set()

    @classmethod
    def create(
        cls,
        base: Path,
        started_at: datetime,
        suites: Sequence[str],
        *,
        token: str | None = None,
        on_problem: Callable[[str], None] | None = None,
    ) -> Self:
        """Create ``base/<run id>/``, parents included.

        Args:
            base: Where runs lie.
            started_at: When the run began.
            suites: Names of its suites.
            token: End of the run's id where several processes share the folder; the first one creates it.
            on_problem: Called with one line on each file that can't be written.

        Raises:
            OSError: The folder can't be created (read-only, no folder, a file in the way, full).

        """
        base.mkdir(parents=True, exist_ok=True)
        if token is not None:
            path = base / new_run_id(started_at, suites, token)
            path.mkdir(exist_ok=True)
            return cls(path.absolute(), on_problem=on_problem)
        for attempt in range(_ATTEMPTS):
            path = base / new_run_id(started_at, suites)
            try:
                path.mkdir()
            except FileExistsError:
                if attempt == _ATTEMPTS - 1:
                    raise
                continue
            return cls(path.absolute(), on_problem=on_problem)
        raise AssertionError  # the last attempt returned or raised

    def write_json(self, name: str, value: Any) -> bool:
        """Write JSON, whole or not at all; False: not written.

        Values that JSON can't hold are made plain.
        """
        # Takes 1 ms for results of 22 cases; json.dumps with an indent, which is pure Python, takes 9.  Results are
        # written after each case, while the next one waits.
        from pydantic_core import to_json

        try:
            content = to_json(value, indent=1, inf_nan_mode="null")
        except ValueError:
            content = to_json(plain(value), indent=1)
        return self.write_bytes(name, content + b"\n")

    def write_text(self, name: str, text: str) -> bool:
        """Write UTF-8 text, whole or not at all; False: not written."""
        return self.write_bytes(name, text.encode("utf-8", "backslashreplace"))

    def write_bytes(self, name: str, content: bytes) -> bool:
        """Write a file, whole or not at all; False: not written.

        Writes a temporary file next to it, then calls fsync and ``os.replace``.
        """
        temporary = self.path / f".{name}.{secrets.token_hex(4)}.tmp"
        try:
            with temporary.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.path / name)
        except OSError as error:
            _remove(temporary)
            return self._problem(name, error.strerror or str(error))
        return True

    def journal(self, name: str) -> Journal | None:
        """Open a journal in the folder; None where that fails."""
        try:
            return Journal(self.path / name, on_problem=self._tell)
        except OSError as error:
            self._problem(name, error.strerror or str(error))
            return None

    def update_latest(self) -> bool:
        """Point ``latest`` to this folder; False where that fails.

        ``latest`` is a relative symbolic link, replaced in one step.  On Windows, where links need a right that few
        users have, it is a junction (no right needed, not replaced in one step); failing that, the text file
        ``latest.txt`` with the run's id.
        """
        latest = self.path.parent / LATEST
        if not _is_link(latest) and os.path.lexists(latest):
            return self._problem(LATEST, f"{latest} is not a link that flperf made; move it away to get one")
        try:
            self._link(latest)
        except OSError as error:
            if sys.platform == "win32" and self._junction(latest):
                return True
            return self._latest_as_text(error)
        return True

    def _link(self, latest: Path) -> None:
        temporary = latest.with_name(f".{LATEST}-{self.id}-{secrets.token_hex(2)}")
        temporary.symlink_to(self.id, target_is_directory=True)
        try:
            temporary.replace(latest)
        except OSError:
            _remove(temporary)
            raise

    def _junction(self, latest: Path) -> bool:
        try:
            import _winapi

            if _is_link(latest):
                latest.rmdir()  # takes the junction away, never what it points to
            _winapi.CreateJunction(str(self.path), str(latest))  # type: ignore[attr-defined,unused-ignore]
        except (ImportError, AttributeError, OSError):
            return False
        return True

    def _latest_as_text(self, reason: OSError) -> bool:
        beside = RunFolder(self.path.parent)
        if beside.write_text(f"{LATEST}.txt", self.id + "\n"):
            return True
        return self._problem(LATEST, reason.strerror or str(reason))

    def _problem(self, name: str, reason: str) -> bool:
        if name not in self._told:
            self._told.add(name)
            self._tell(f"{name} was not written: {reason}")
        return False

    def _tell(self, line: str) -> None:
        if line in self.problems:
            return  # two writers of one file have seen the same
        self.problems.append(line)
        if self._on_problem is not None:
            self._on_problem(line)


def _is_link(path: Path) -> bool:
    """Whether a path is a symbolic link, maybe dangling, or a junction."""
    if path.is_symlink():
        return True
    if sys.platform != "win32":
        return False
    try:
        return path.lstat().st_reparse_tag == 0xA0000003  # IO_REPARSE_TAG_MOUNT_POINT
    except OSError:
        return False


def _remove(path: Path) -> None:
    try:
        path.unlink()
    except OSError:
        return


def remove_run_folders(report_dir: Path, ids: list[str]) -> tuple[list[str], list[str]]:
    """Remove the folders of these runs.

    Returns the removed folders and the problems.  A folder is removed only if it lies in ``report_dir``, has the run's
    id as its name and holds a run, because a store may contain anything.
    """
    removed, problems = [], []
    for run_id in ids:
        folder = report_dir / run_id
        if not _is_run(folder, run_id):
            continue
        try:
            shutil.rmtree(folder)
        except OSError as error:
            problems.append(f"{folder} was not removed: {error.strerror or error}")
        else:
            removed.append(str(folder))
    latest = report_dir / "latest"
    if removed and latest.is_symlink() and not latest.exists():
        with contextlib.suppress(OSError):
            latest.unlink()
    return removed, problems


def _is_run(folder: Path, run_id: str) -> bool:
    if not run_id or run_id in (".", "..", "latest") or any(mark in run_id for mark in (os.sep, "/", "\\", ":")):
        return False
    try:
        if folder.is_symlink() or not folder.is_dir():
            return False
        return any((folder / name).is_file() for name in (RESULTS, RUN_LOG))
    except (OSError, ValueError):  # a name too long, a NUL
        return False
