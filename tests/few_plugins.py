"""The plugins of the runs that tests make: few, because half of what an empty run takes is finding and loading them."""

from __future__ import annotations

import functools
import importlib
import os
from collections.abc import Collection, Iterable
from importlib import metadata
from pathlib import Path

import pytest

OTHER_PLUGINS = ("randomly", "random_order", "rerunfailures", "asyncio", "html", "metadata")
ONLY_SLOW = ("hypothesispytest", "anyio")
"""Plugins that no test here asks for."""
WITHOUT_OTHER_PLUGINS = " ".join(f"-p no:{name}" for name in (*OTHER_PLUGINS, *ONLY_SLOW))
"""Options for the runs that tests make: plugins that people have are there for the tests that ask for them."""
_NO_SEARCH = "PYTEST_DISABLE_PLUGIN_AUTOLOAD"
_LOADED = {
    "xdist": "xdist.plugin",
    "benchmark": "pytest_benchmark.plugin",
    "timeout": "pytest_timeout",
    "flperf": "pytest_flperf.plugin",
}


_SEARCH = metadata.entry_points
_searched_once = functools.cache(_SEARCH)
"""Nothing is installed while tests run."""


class _Few:
    """Registers what a run without other plugins has, under the names of their entry points."""

    def __init__(self, left_out: Collection[str]) -> None:
        self._left_out = left_out

    def pytest_addoption(self, pluginmanager: pytest.PytestPluginManager) -> None:
        for name, module in _LOADED.items():
            if name not in self._left_out:
                pluginmanager.register(importlib.import_module(module), name)

    def pytest_configure(self) -> None:
        """What the run starts searches again."""
        os.environ.pop(_NO_SEARCH, None)


def run_in_process(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """Run pytest in this process, with plugins that are not searched among all that is installed.

    Workers of pytest-xdist search for themselves.  So do runs with other plugins, and those that name some (``-p``).
    """
    with_others = WITHOUT_OTHER_PLUGINS not in os.environ.get("PYTEST_ADDOPTS", "")
    special = any(each.startswith(("-n", "-p", "--numprocesses")) for each in arguments) or _NO_SEARCH in os.environ
    if with_others or special:
        return pytester.runpytest_inprocess(*arguments)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(_NO_SEARCH, "1")
        if metadata.entry_points is _SEARCH:  # else a test says what is installed
            patch.setattr(metadata, "entry_points", _searched_once)
        return pytester.runpytest_inprocess(*arguments, plugins=[_Few(_without_use(pytester.path, arguments))])


def _without_use(folder: Path, arguments: Iterable[str]) -> list[str]:
    """Plugins that no file and no argument of a run names, and that cost much: pytest-benchmark runs git twice."""
    files = (file for ending in ("py", "ini", "toml") for file in folder.glob(f"*.{ending}"))
    text = "\n".join([*arguments, *(file.read_text(encoding="utf-8", errors="replace") for file in files)])
    return [name for name in ("benchmark", "timeout") if name not in text]
