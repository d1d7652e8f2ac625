"""Run files: results files of runs, in folders and in zip files of CI."""

from __future__ import annotations

import os
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Final, Self

from pytest_flperf.results.run_folder import LATEST, RESULTS, RUN_LOG, SAMPLES

__all__ = ["RunFile", "RunFiles", "is_archive", "is_searched"]

_ENDING: Final = ".zip"
_DEEPEST: Final = 8
"""Folders within folders; an artefact of CI has three or four."""
_MOST_FILES: Final = 200_000
"""In a zip file."""
_MOST_RUNS: Final = 10_000
_LARGEST: Final = {RESULTS: 256 << 20, SAMPLES: 1 << 30}
"""Bytes of one file, unpacked."""
_LARGEST_IN_ALL: Final = 8 << 30
_HEAD: Final = 4_096
_SCHEMA: Final = b"flperf.results/"
_PIECE: Final = 1 << 20
_DAMAGED: Final = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, ValueError, OSError)
"""What reading a zip file may raise: damaged, encrypted, packed in an unknown way, a full disk here."""


@dataclass(frozen=True, slots=True)
class RunFile:
    """Results file of a run; its samples lie beside it, if there are any."""

    path: Path
    """Of a run in a zip file a temporary one."""
    where: str
    """For people: path, or zip file and path within."""


class _UnreadableError(Exception):
    """A zip file that can't be used: why."""


class RunFiles:
    """Finder of runs, used as a context manager.

    What is in zip files is unpacked into a temporary folder, under names of its own and within bounds.
    """

    def __init__(self) -> None:
        self.problems: list[str] = []
        """Folders and zip files that can't be read, a line each."""
        self.killed: list[str] = []
        """Places of runs that ended before they could write results."""
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._unpacked = 0
        self._left = _LARGEST_IN_ALL

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove what was unpacked."""
        if self._folder is not None:
            self._folder.cleanup()

    def of(self, path: Path) -> Iterator[RunFile]:
        """Runs in a zip file or anywhere below a folder, in order of their paths.

        Files of other tools called ``results.json`` are passed over.
        """
        if is_archive(path):
            yield from self._archive(path)
            return
        for folder, folders, files in os.walk(path, onerror=self._tell):
            here = Path(folder)
            folders[:] = sorted(name for name in folders if name != LATEST and not (here / name).is_symlink())
            if len(here.relative_to(path).parts) >= _DEEPEST:
                folders.clear()
            if RESULTS in files and (path in (here, here.parent) or _is_ours(here / RESULTS)):
                folders.clear()
                yield RunFile(here / RESULTS, str(here / RESULTS))
            elif RUN_LOG in files:
                folders.clear()
                self.killed.append(str(here))
            for name in sorted(files):
                if is_archive(here / name):
                    yield from self._archive(here / name)

    def _tell(self, error: OSError) -> None:
        self.problems.append(f"{error.filename} can't be read: {error.strerror or error}")

    def _archive(self, path: Path) -> Iterator[RunFile]:
        try:
            with zipfile.ZipFile(path) as archive:
                yield from self._runs_of(archive, path)
        except _UnreadableError as error:
            self.problems.append(f"{path}: {error}")
        except _DAMAGED as error:
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
            self.problems.append(f"{path} can't be read as a zip file: {why}")

    def _runs_of(self, archive: zipfile.ZipFile, path: Path) -> Iterator[RunFile]:
        entries = {entry.filename: entry for entry in archive.infolist() if not entry.is_dir()}
        if len(entries) > _MOST_FILES:
            raise _UnreadableError(f"found {len(entries)} files, expected {_MOST_FILES} at most")
        nested = [name for name in entries if name.lower().endswith(_ENDING)]
        if nested:
            self.problems.append(f"{path} holds zip files ({nested[0]}): unpack it, and name the folder")
        folders = sorted({str(PurePosixPath(name).parent) for name in entries})
        found = 0
        for folder in folders:
            results, samples, log = (_within(folder, name) for name in (RESULTS, SAMPLES, RUN_LOG))
            if PurePosixPath(folder).name == LATEST:
                continue
            if results not in entries:
                if log in entries:
                    self.killed.append(f"{path}: {folder}")
                continue
            found += 1
            if found > _MOST_RUNS:
                raise _UnreadableError(f"expected {_MOST_RUNS} runs at most")
            place = self._new_folder()
            self._unpack(archive, entries[results], place / RESULTS)
            if not _is_ours(place / RESULTS):
                continue
            if samples in entries:
                self._unpack(archive, entries[samples], place / SAMPLES)
            yield RunFile(place / RESULTS, f"{path}: {results}")

    def _new_folder(self) -> Path:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="flperf-")
        self._unpacked += 1
        place = Path(self._folder.name) / str(self._unpacked)
        place.mkdir()
        return place

    def _unpack(self, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path) -> None:
        """Unpack one file; what its head says of its size is not believed."""
        most = min(_LARGEST[target.name], self._left)
        with archive.open(entry) as source, target.open("wb") as file:
            written = _copy(source, file, most)
        if written > most:
            raise _UnreadableError(f"{entry.filename} has more than {most >> 20} MB, or all together")
        self._left -= written


def is_archive(path: Path) -> bool:
    """Whether a path is that of a zip file, sound or not."""
    try:
        return path.suffix.lower() == _ENDING and path.is_file()
    except (OSError, ValueError):  # no right to look, a NUL
        return False


def is_searched(name: str) -> bool:
    """Whether a name is that of a folder that is looked through for runs.

    An empty name is not the current folder, and a whole file system is nobody's folder of runs.
    """
    path = Path(name)
    try:
        return bool(name.strip()) and path.is_dir() and path.resolve() != Path(path.resolve().anchor)
    except (OSError, ValueError):  # no right to look, a NUL
        return False


def _within(folder: str, name: str) -> str:
    return name if folder == "." else f"{folder}/{name}"


def _copy(source: IO[bytes], target: IO[bytes], most: int) -> int:
    """Copy until just more than ``most`` bytes; returns how many."""
    written = 0
    while written <= most and (piece := source.read(_PIECE)):
        target.write(piece)
        written += len(piece)
    return written


def _is_ours(path: Path) -> bool:
    """Whether a file begins like results of this package."""
    try:
        with path.open("rb") as file:
            return _SCHEMA in file.read(_HEAD)
    except OSError:  # reading it will say why
        return True
