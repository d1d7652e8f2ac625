"""The gate that the page on CI shows, run as its workflow says: with main's history, as GitHub's variables are."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
import yaml
from tiny_runs import Tiny

from pytest_flperf.reference_server import ReferenceConfig, ReferenceServer, Schedule

assert sqlalchemy  # a run in this process must not be the first to import it: pytester would forget it again

PAGE = Path(__file__).parents[2] / "docs" / "ci.md"
MAIN = {"GITHUB_EVENT_NAME": "push", "GITHUB_REF": "refs/heads/main"}
PULL_REQUEST = {"GITHUB_EVENT_NAME": "pull_request", "GITHUB_REF": "refs/pull/7/merge", "GITHUB_HEAD_REF": "main"}


def _steps() -> list[dict[str, Any]]:
    texts = re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    (gate,) = [found for text in texts if (found := yaml.safe_load(text)).get("name") == "model-gate"]
    steps: list[dict[str, Any]] = gate["jobs"]["gate"]["steps"]
    return steps


def _server(ttft_ms: float) -> ReferenceServer:
    return ReferenceServer(ReferenceConfig(Schedule(ttft_ms=ttft_ms, itl_ms=10, tokens=4)), in_thread=True)


@pytest.fixture(scope="module")
def good() -> Iterator[str]:
    """The URL of a server with a TTFT of 50 ms."""
    with _server(50) as server:
        yield server.base_url


@pytest.fixture(scope="module")
def slow() -> Iterator[str]:
    """The URL of a server that takes four times as long: no busy machine hides that."""
    with _server(200) as server:
        yield server.base_url


def _run(tiny: Tiny, url: str, job: dict[str, str]) -> int:
    """Run the workflow's step with a suite of one short case in place of its suite and its model."""
    (command,) = [step["run"] for step in _steps() if "-m pytest" in step.get("run", "")]
    kept = [word for word in shlex.split(command)[3:] if not word.startswith(("--flperf-suite", "--flperf-model"))]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"CI": "true", "GITHUB_ACTIONS": "true", **job}.items():
            patch.setenv(name, value)
        done = tiny.run("--flperf-suite=tiny.json", f"--flperf-base-url={url}", "--flperf-model=reference", *kept)
    assert done.ret in (0, 1), done.text
    return done.ret


@pytest.mark.usefixtures("stored", "no_ci")
def test_baseline_red_rerun_mended(tiny: Tiny, good: str, slow: str) -> None:
    """Five runs on main, a slow pull request twice, the same mended, and main again: red, red, green, green."""
    tiny.suite({"iterations": 24})
    assert [_run(tiny, good, MAIN) for _ in range(5)] == [0] * 5
    assert _run(tiny, slow, PULL_REQUEST) == 1
    assert _run(tiny, slow, PULL_REQUEST) == 1
    assert _run(tiny, good, PULL_REQUEST) == 0
    assert _run(tiny, good, MAIN) == 0


def test_the_history_comes_from_main() -> None:
    """Caches are shared from the default branch only: main saves what every run restores, and where the store is."""
    steps = {step["uses"]: step for step in _steps() if "uses" in step}
    restored, saved = steps["actions/cache/restore@v4"], steps["actions/cache/save@v4"]
    assert restored["with"]["path"] == saved["with"]["path"]
    assert saved["with"]["key"].startswith(restored["with"]["restore-keys"])
    assert "github.ref == 'refs/heads/main'" in saved["if"]
    (command,) = [step["run"] for step in _steps() if "-m pytest" in step.get("run", "")]
    assert f"--flperf-store={saved['with']['path']}/" in command
