"""Suites among pytest's command-line arguments.

A suite takes no test away and brings none along: pytest collects the tests that it would collect without the suite.
Arguments passed on unchanged would break that: pytest 8.4 loses the tests of ``.`` if a file below it is an argument,
too, and pytest 9 drops that file, which is then not found in a folder that ``norecursedirs`` excludes.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

__all__ = ["IgnoredFolders", "SuiteArgument", "arrange", "chosen", "parts_by_suite", "typed_suites"]


@dataclass(frozen=True, slots=True)
class SuiteArgument:
    """Suite named by an argument: whole, or one part of it."""

    path: Path
    part: str | None = None
    """A scenario, or a case's name, behind ``::``; None: all cases."""

    def __str__(self) -> str:
        return str(self.path) if self.part is None else f"{self.path}::{self.part}"


def typed_suites(config: pytest.Config, parser: pytest.Parser) -> bool:
    """Whether ``--flperf-suite`` is on the command line itself.

    Only in ``addopts`` or ``PYTEST_ADDOPTS``, it does not count.
    """
    typed = [os.fspath(argument) for argument in config.invocation_params.args]
    return bool(getattr(parser.parse_known_args(typed), "flperf_suite", None))


def parts_by_suite(arguments: Iterable[SuiteArgument]) -> dict[Path, tuple[str, ...] | None]:
    """Parts of each suite, in order; None for a whole suite."""
    found: dict[Path, tuple[str, ...] | None] = {}
    for each in arguments:
        parts = found.get(each.path, ())
        if each.part is None or parts is None:
            found[each.path] = None
        elif each.part not in parts:
            found[each.path] = (*parts, each.part)
    return found


def arrange(config: pytest.Config, suites: Sequence[SuiteArgument], of: Callable[[str], SuiteArgument | None]) -> None:
    """Let pytest collect each suite once.

    If pytest collects the suite's folder anyway, it collects the suite from there.

    Args:
        config: Its arguments are changed.
        suites: All that are to run.
        of: The suite that an argument names; None: it is a path of the user's.

    """
    found = [(argument, of(argument)) for argument in config.args]
    folders = _whole_folders(config, [argument for argument, suite in found if suite is None])
    parts = parts_by_suite(suites)
    kept: list[str] = []  # the user's own arguments keep their duplicates
    for argument, suite in [*found, *((str(each), each) for each in suites)]:
        if suite is None:
            kept.append(argument)
        elif not folders.intersection(suite.path.parents):
            text = str(suite if parts[suite.path] is not None else suite.path)
            if text not in kept:
                kept.append(text)
    config.args = kept


def _whole_folders(config: pytest.Config, arguments: Sequence[str]) -> set[Path]:
    """Folders among the user's arguments that pytest collects whole.

    A folder with another argument in it does not count: pytest 8.4 collects only that argument.
    """
    here, pyargs = config.invocation_params.dir, bool(config.getoption("pyargs"))
    paths = {_path(argument.partition("::")[0], here, pyargs=pyargs) for argument in arguments}
    inner = {parent for path in paths for parent in path.parents}
    return {path for path in paths - inner if _is_folder(path)}


def _path(name: str, here: Path, *, pyargs: bool) -> Path:
    path = (_package(name) if pyargs else None) or here / name
    return Path(os.path.abspath(path))  # noqa: PTH100 - as pytest does, keeping links


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # a name too long for the system
        return False


def _package(name: str) -> Path | None:
    """The folder of an importable package, found as ``--pyargs`` finds it."""
    try:
        spec = importlib.util.find_spec(name)
    except (AttributeError, ImportError, ValueError):
        return None
    places = None if spec is None else spec.submodule_search_locations
    return Path(next(iter(places))) if places else None


def chosen(items: Sequence[pytest.Function], parts: tuple[str, ...] | None) -> tuple[list[pytest.Function], list[str]]:
    """Items named by the parts, and parts that match none.

    The items are in the order of the parts.
    """
    if parts is None:
        return list(items), []
    found: dict[pytest.Function, None] = {}
    unknown = []
    for part in parts:
        named = [item for item in items if part in (item.name, item.name.partition("[")[0])]
        found.update(dict.fromkeys(named))
        if not named:
            unknown.append(part)
    return list(found), unknown


class IgnoredFolders:
    """Folders that pytest ignores although they hold a suite.

    They are opened for the suite alone.
    """

    def __init__(self, suites: Iterable[Path]) -> None:
        self._suites = frozenset(suites)
        self._leading = frozenset(parent for suite in self._suites for parent in suite.parents)
        self._opened: set[Path] = set()

    def verdict(self, path: Path, ignored: bool | None) -> bool | None:
        """Whether pytest shall ignore the path.

        ``ignored`` is its decision without suites.
        """
        if not ignored and path.parent not in self._opened:
            return ignored
        if path in self._leading:
            self._opened.add(path)
        return path not in self._leading and path not in self._suites
