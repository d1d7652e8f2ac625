"""The installed wheel, in an environment of its own and away from the checkout."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

ROOT = Path(__file__).parents[2]
Run = Callable[..., "subprocess.CompletedProcess[str]"]

pytestmark = pytest.mark.slow


def _results(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / "reports" / "latest" / "results.json").read_text(encoding="utf-8"))
    return loaded


def _where_package_is(run: Run) -> Path:
    answer = run("python", "-c", "import pytest_flperf; print(pytest_flperf.__file__)")
    assert answer.returncode == 0, answer.stderr
    return Path(answer.stdout.strip()).parent


def test_main_job_runs_from_an_empty_folder(run: Run, scripts: Path, tmp_path: Path) -> None:
    """The first command that people type: exit 0, the table, and valid results of both embedded models."""
    assert _where_package_is(run).is_relative_to(scripts.parent)
    done = run("pytest", "--flperf-suite=quick")
    assert done.returncode == 0, done.stdout + done.stderr
    for part in ("TTFT", "flperf-nano", "flperf-micro", "flperf: PASSED"):
        assert part in done.stdout
    folder = tmp_path / "empty"
    results = _results(folder)
    assert {case["model"] for case in results["cases"]} == {"flperf-nano", "flperf-micro"}
    assert {case["outcome"] for case in results["cases"]} == {"passed"}
    assert all(case["metrics"]["ttft_ms"]["p50"] > 0 for case in results["cases"])
    schema = run("flperf", "schema", "results")
    jsonschema.validate(results, json.loads(schema.stdout))
    run_folder = (folder / "reports" / "latest").resolve()
    assert {"results.json", "samples.jsonl", "journal.jsonl", "logs"} <= {path.name for path in run_folder.iterdir()}


def test_the_checkout_needs_no_development_tools(run: Run) -> None:
    """In the checkout, whose settings and conftest pytest reads, the README's first command collects its cases."""
    done = run("pytest", "--flperf-suite=quick", "--co", "-q", "-p", "no:cacheprovider", cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "::short-chat[flperf-nano]" in done.stdout


def test_read_only_package_is_enough(run: Run, tmp_path: Path) -> None:
    """Nothing is written where the package lies (the root user could, so the files are compared as well)."""
    package = _where_package_is(run)
    writable = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH

    def content() -> dict[Path, tuple[int, int]]:
        files = [path for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc"]
        return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in files}

    before = content()
    modes = {path: path.stat().st_mode for path in [package, *package.rglob("*")]}
    try:
        for path, mode in modes.items():
            path.chmod(mode & ~writable)
        done = run("pytest", "--flperf-suite=quick", "-k", "one-word")
    finally:
        for path, mode in modes.items():
            path.chmod(mode)
    assert done.returncode == 0, done.stdout + done.stderr
    assert content() == before
    assert _results(tmp_path / "empty")["run"]["status"] == "passed"


def test_command_explains_itself(run: Run) -> None:
    """``flperf --help`` works and names its commands."""
    done = run("flperf", "--help")
    assert done.returncode == 0, done.stderr
    assert "serve-reference" in done.stdout
    assert "schema" in done.stdout


def test_pytest_knows_the_plugin(run: Run) -> None:
    """The entry point registers the options, and a run without them is an ordinary one."""
    done = run("pytest", "--help")
    assert done.returncode == 0, done.stderr
    assert "--flperf-suite" in done.stdout
    ordinary = run("pytest")
    assert ordinary.returncode == pytest.ExitCode.NO_TESTS_COLLECTED
    assert "flperf-" in ordinary.stdout


def test_packaged_suites_are_listed(run: Run) -> None:
    """The suites that ship are found without a checkout."""
    done = run("pytest", "--flperf-list-suites")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "default" in done.stdout
    assert "quick" in done.stdout


def test_dependencies_fit_together(pip_check: subprocess.CompletedProcess[str]) -> None:
    """``pip check`` has nothing to say."""
    assert pip_check.returncode == 0, pip_check.stdout


def test_nothing_is_left_behind(run: Run, tmp_path: Path) -> None:
    """A run writes its reports; the two hidden folders are those of pytest and of pytest-benchmark."""
    run("pytest", "--flperf-suite=quick", "-k", "one-word")
    left = {path.name for path in os.scandir(tmp_path / "empty")}
    assert left <= {"reports", ".pytest_cache", ".benchmarks"}
    assert "reports" in left
