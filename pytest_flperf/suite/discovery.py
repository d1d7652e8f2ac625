"""Suite discovery: suite files by name or path, and their refs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pytest_flperf.suite.errors import SuiteError, printable, shown, suggestion

__all__ = ["PACKAGED_PREFIX", "SUITE_ENDINGS", "SuiteListing", "find_suite", "list_suites", "packaged_folder"]

PACKAGED_PREFIX: Final = "flperf:"
"""Prefix of the refs of packaged suites; the name ``flperf:NAME`` means the packaged suite only."""
SUITE_ENDINGS: Final = (".yaml", ".yml", ".json", ".toml")


@dataclass(frozen=True, slots=True)
class SuiteListing:
    """One suite that can be selected by name."""

    name: str
    """Its name: the file's without its ending, or the ref where another suite has that name."""
    ref: str
    path: Path
    description: str
    scenarios: int
    error: str | None = None
    """Why it can't be loaded; then there is no description and no count."""


def packaged_folder() -> Path:
    """Return the folder of the packaged suites.

    It is in the package, or next to it in a checkout.
    """
    package = Path(__file__).resolve().parents[1]
    inside = package / "suites"
    return inside if inside.is_dir() else package.parent / "suites"


def find_suite(name_or_path: str, rootdir: Path, invocation_dir: Path | None = None) -> tuple[Path, str]:
    """Return the file and ref (stem of node ids) of a suite.

    A name (no slash, none of a suite's endings) is searched in ``suites/`` of *rootdir*, then among the packaged
    suites, each with any of the endings; ``flperf:NAME`` among the packaged ones only.  Anything else is a path:
    absolute, or from the invocation folder, then from *rootdir*, then from the ``suites/`` folders.

    The ref is ``flperf:NAME`` for a packaged file, by name or by path, else the path from *rootdir* with forward
    slashes.  Outside *rootdir* it goes through ``..``, so it stays the same if both folders move together; on another
    Windows drive it is absolute.

    Args:
        name_or_path: as given with ``--flperf-suite``.
        rootdir: pytest's root folder.
        invocation_dir: where pytest was called; the current folder by default.

    Raises:
        SuiteError: there is none (the nearest names are shown), there is more than one, or it is a folder.

    """
    packaged = packaged_folder()
    folders = [rootdir / "suites", packaged]
    name = name_or_path
    if name.startswith(PACKAGED_PREFIX):
        name, folders = name.removeprefix(PACKAGED_PREFIX), [packaged]
    elif _is_path(name):
        bases = [invocation_dir or Path.cwd(), rootdir, *folders]
        path = next((base / name for base in bases if _exists(base / name)), None)
        if path is None:
            raise _unknown(name_or_path, folders)
        if path.is_dir():
            raise SuiteError(f"{printable(name)}: found a folder, expected a suite file or name")
        path = Path(os.path.abspath(path))  # noqa: PTH100 - without following links, as pytest does
        return path, _ref(path, rootdir, packaged)
    for folder in folders:
        found = _named(folder, name)
        if len(found) > 1:
            names = ", ".join(path.name for path in found)
            raise SuiteError(f"{printable(name)}: found {names} in {folder}, expected one; give the file's name")
        if found:
            return found[0], _ref(found[0], rootdir, packaged)
    raise _unknown(name_or_path, folders)


def list_suites(rootdir: Path) -> tuple[SuiteListing, ...]:
    """Return every suite that has a name, sorted by name.

    The suites in ``suites/`` of *rootdir* come first, then the packaged ones.

    A suite that can't be loaded is listed with its error.  A packaged suite that shares its name with one of rootdir's
    is listed and selected by its ref.
    """
    packaged = packaged_folder()
    listings: list[SuiteListing] = []
    for folder in (rootdir / "suites", packaged):
        for path in _suite_files(folder):
            ref = _ref(path, rootdir, packaged)
            if all(listing.ref != ref for listing in listings):
                taken = any(listing.name == path.stem for listing in listings)
                listings.append(_listing(ref if taken else path.stem, path, ref))
    return tuple(listings)


def _listing(name: str, path: Path, ref: str) -> SuiteListing:
    from pytest_flperf.suite.loader import load_suite  # pydantic and yaml: not before a suite is read

    try:
        suite = load_suite(path, ref)
    except SuiteError as error:
        return SuiteListing(name, ref, path, "", 0, str(error))
    return SuiteListing(name, ref, path, suite.description, len(suite.scenarios))


def _is_path(name: str) -> bool:
    separators = {"/", os.sep, os.altsep or "/"}
    return any(separator in name for separator in separators) or name.lower().endswith(SUITE_ENDINGS)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name too long for the system, a NUL
        return False


def _suite_files(folder: Path) -> list[Path]:
    """Return the suite files of *folder*, sorted; none if unreadable."""
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208 - names are compared, not paths
    except OSError:
        return []
    paths = [Path(os.path.abspath(folder / name)) for name in names]  # noqa: PTH100 - see find_suite
    return [path for path in paths if path.suffix.lower() in SUITE_ENDINGS and not path.name.startswith(".")]


def _named(folder: Path, name: str) -> list[Path]:
    return [path for path in _suite_files(folder) if path.stem == name]


def _ref(path: Path, rootdir: Path, packaged: Path) -> str:
    twin = packaged / path.name
    try:
        if twin.samefile(path):
            return PACKAGED_PREFIX + path.stem
    except (OSError, ValueError):
        pass
    for root, file in ((Path(os.path.abspath(rootdir)), path), (rootdir.resolve(), path.resolve())):  # noqa: PTH100
        if file.is_relative_to(root):
            return file.relative_to(root).as_posix()
    try:
        return Path(os.path.relpath(path, rootdir)).as_posix()
    except ValueError:  # another drive
        return path.as_posix()


def _unknown(name: str, folders: list[Path]) -> SuiteError:
    known = {path.stem for folder in folders for path in _suite_files(folder)}
    wanted = Path(name).stem if _is_path(name) else name.removeprefix(PACKAGED_PREFIX)
    hint = suggestion(wanted, known, count=3)
    what = "a suite's name or the path of a suite file"
    return SuiteError(f"unknown suite: found {shown(name)}, expected {what}{f'; {hint}' if hint else ''}")
