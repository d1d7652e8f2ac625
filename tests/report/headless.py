"""A headless Chromium by its command line: what a page looks like to it, what it complains of, what it asks for."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_CONSOLE = re.compile(r":CONSOLE[:(].*")
_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-default-apps",
    "--enable-logging=stderr",
)  # fmt: skip


@dataclass(frozen=True)
class Seen:
    """What came of opening a page."""

    dom: str
    console: list[str]
    asked_for: list[str]
    """Addresses that the page asked for, in whatever scheme but file and data."""


def chromium() -> str:
    """The browser; without one the test is skipped, but fails in CI and in ``.ci/run``, which installs it."""
    found = next((path for name in _NAMES if (path := shutil.which(name))), None)
    if found is None:
        if os.environ.get("CI") or os.environ.get("FLPERF_NEEDS_BROWSER"):
            pytest.fail("no Chromium, which .ci/run installs: apt-get install chromium")
        pytest.skip("needs Chromium; on Debian: apt-get install chromium")
    return found


def look(page: Path, folder: Path, *more: str) -> Seen:
    """Open a file; ``more``: further flags of the browser."""
    net_log = folder / "net.json"
    done = subprocess.run(
        [
            chromium(), *_FLAGS, f"--user-data-dir={folder / 'profile'}", f"--log-net-log={net_log}", "--dump-dom",
            *more, page.as_uri(),
        ],
        capture_output=True, text=True, encoding="utf-8", timeout=90, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return Seen(done.stdout, _CONSOLE.findall(done.stderr), _addresses(net_log))


def _addresses(net_log: Path) -> list[str]:
    """What the page asked for: the browser's own requests, for updates, have no origin."""
    events = json.loads(net_log.read_text(encoding="utf-8"))["events"]
    every = [event.get("params", {}) for event in events]
    asked = {str(each["url"]) for each in every if each.get("initiator", "not an origin") != "not an origin"}
    return sorted(url for url in asked if not url.startswith(("file:", "data:")))
