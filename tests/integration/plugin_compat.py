"""Plugins that people have installed, and another run that measures on this machine."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Self

import pytest

WORKERS = [(), ("-n1",)]
"""Without pytest-xdist's help and with it."""
_HOLD = (
    "import sys; from pytest_flperf.measurement.machine_lock import MachineLock; lock = MachineLock('the other run');"
    " print(lock.try_take(), flush=True); sys.stdin.read()"
)


def invite(monkeypatch: pytest.MonkeyPatch, *plugins: str) -> None:
    """Let the runs of this test have these plugins, which the others do without."""
    options = os.environ["PYTEST_ADDOPTS"]
    for name in plugins:
        assert f"-p no:{name}" in options
        options = options.replace(f"-p no:{name}", "")
    monkeypatch.setenv("PYTEST_ADDOPTS", options)


def enough_s(run: Callable[[], object]) -> int:
    """Seconds in which such a run surely measures something, on a machine as busy as this one is now."""
    begun = time.monotonic()
    run()
    return max(4, math.ceil(3 * (time.monotonic() - begun)))


class OtherRun:
    """A process that holds the machine's lock and measures nothing."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "True\n"
        return self

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def end(self) -> None:
        """Let go of the lock as a process does that is killed."""
        self._process.kill()

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
