"""Renew the sample pages of the documentation from real runs: ``python scripts/sample_pages.py [NAME …]``.

Two models, a sweep to saturation, a failed gate, an interrupted run, each as ``docs/samples/NAME.html``.  The top of
the first is the picture of the README (``docs/report.png``), where Chromium is there.  Takes about four minutes;
nothing else should run meanwhile.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pytest_flperf.reference_server import ReferenceConfig, ReferenceServer, Schedule

DOCS = Path(__file__).parents[1] / "docs"
_PICTURE = (1280, 860)
_INTERRUPTED_AFTER_S = 12.0


def main(names: list[str]) -> int:
    """Make the pages with these names, or all."""
    unknown = set(names) - PAGES.keys()
    if unknown:
        print(f"found {', '.join(sorted(unknown))}, expected {', '.join(PAGES)}", file=sys.stderr)
        return 4
    (DOCS / "samples").mkdir(exist_ok=True)
    for name in names or PAGES:
        with tempfile.TemporaryDirectory() as folder:
            here = Path(folder)
            PAGES[name](here)
            shutil.copyfile(here / "reports" / "latest" / "report.html", DOCS / "samples" / f"{name}.html")
        print(f"docs/samples/{name}.html")
    if not names or "two-models" in names:
        _take_picture(DOCS / "samples" / "two-models.html")
    return 0


def _two_models(here: Path) -> None:
    _run(here, "--flperf-suite=default")


def _sweep(here: Path) -> None:
    chat = {"name": "chat", "prompt": "Tell me a story.", "max_tokens": 48, "iterations": 132, "warmup": 8}
    _write(here, "sweep", chat, matrix={"concurrency": [1, 2, 4, 8, 16, 32]}, budgets=["ttft_ms.p95 <= 100ms"])
    _run(here, "--flperf-suite=sweep.json", "--flperf-model=flperf-nano,flperf-micro")


def _failed_gate(here: Path) -> None:
    scenarios = [{"name": name, "prompt": "Hello", "max_tokens": 24, "iterations": 40} for name in ("chat", "summary")]
    _write(here, "gate", *scenarios)
    usual, slower = (Schedule(ttft_ms=ttft_ms, itl_ms=2, tokens=24) for ttft_ms in (20, 32))
    with ReferenceServer(ReferenceConfig(usual)) as before, ReferenceServer(ReferenceConfig(slower)) as now:
        _run(
            here, "--flperf-suite=gate.json", f"--flperf-base-url={now.base_url}", "--flperf-model=reference",
            f"--flperf-against=base_url={before.base_url}", "--flperf-fail-on=ttft_ms.p50 > +10%",
            "--flperf-fail-on=tpot_ms.p50 > +10%",
        )  # fmt: skip


def _interrupted(here: Path) -> None:
    with subprocess.Popen([*_PYTEST, "--flperf-suite=default"], cwd=here, stdout=subprocess.DEVNULL) as running:
        time.sleep(_INTERRUPTED_AFTER_S)
        running.send_signal(signal.SIGINT)


_PYTEST = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly")
PAGES: dict[str, Callable[[Path], None]] = {
    "two-models": _two_models,
    "sweep": _sweep,
    "failed-gate": _failed_gate,
    "interrupted": _interrupted,
}


def _write(here: Path, name: str, *scenarios: dict[str, Any], **settings: Any) -> None:
    suite = {"name": name, **settings, "scenarios": list(scenarios)}
    (here / f"{name}.json").write_text(json.dumps(suite), encoding="utf-8")


def _run(here: Path, *arguments: str) -> None:
    subprocess.run([*_PYTEST, *arguments], cwd=here, check=False)


def _take_picture(page: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        print("docs/report.png stays as it is: there is no Chromium", file=sys.stderr)
        return
    width, height = _PICTURE
    subprocess.run(
        [
            chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
            f"--window-size={width},{height}", f"--screenshot={DOCS / 'report.png'}", page.as_uri(),
        ],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    print("docs/report.png")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
