"""A call that Python or a package will drop fails the tests, wherever it is made."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import Tiny

_TRIES = """
import json, os, sys, warnings
tried = {"command": sys.orig_argv, "failed": []}
for kind in (DeprecationWarning, PendingDeprecationWarning):
    try:
        warnings.warn("goes away", kind, stacklevel=1)
    except kind:
        tried["failed"].append(kind.__name__)
with open(os.environ["FLPERF_TRIED"], "a", encoding="utf-8") as file:
    file.write(json.dumps(tried) + chr(10))
"""
_BOTH = ["DeprecationWarning", "PendingDeprecationWarning"]
_TESTS = """
import warnings
def test_{name}():
    warnings.warn("goes away", {kind}, stacklevel=1)
"""


@pytest.fixture
def tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where each Python that starts from now on notes what became of its own old calls."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_TRIES, encoding="utf-8")
    notes = tmp_path / "tried.jsonl"
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setenv("FLPERF_TRIED", str(notes))
    return notes


def noted(tried: Path) -> list[tuple[str, list[str]]]:
    """The command line of each process, and the warnings that were errors there."""
    lines: list[dict[str, Any]] = [json.loads(line) for line in tried.read_text(encoding="utf-8").splitlines()]
    return [(" ".join(line["command"]), line["failed"]) for line in lines]


def test_in_every_process_of_a_run(tiny: Tiny, tried: Path) -> None:
    """Pytest, its worker, the load process and the host of the models."""
    tiny.suite()
    done = tiny.run_apart("--flperf-suite=tiny.json", "--flperf-model=flperf-nano", "-n", "1")
    assert done.ret == 0, done.text
    found = noted(tried)
    for each in ("-mpytest", "exec(eval(", "pytest_flperf.loadgen.worker_main", "pytest_flperf.foundry_host.host"):
        assert any(each in command for command, _ in found), f"no process with {each}: {found}"
    assert all(failed == _BOTH for _, failed in found), found


@pytest.mark.parametrize("module", ["pytest_flperf", "pytest_flperf.reference_server"])
def test_in_commands(tiny: Tiny, tried: Path, module: str) -> None:
    """``flperf …`` and the reference server."""
    done = tiny.pytester.run(sys.executable, "-m", module, "--help")
    assert done.ret == 0, done.stderr.str()
    ((_, failed),) = noted(tried)
    assert failed == _BOTH


@pytest.mark.parametrize("apart", [False, True])
def test_in_tests_that_tests_run(pytester: pytest.Pytester, apart: bool) -> None:
    """The runs of pytest within ours, in this process and in others."""
    for kind in _BOTH:
        pytester.makepyfile(**{f"test_{kind.lower()}": _TESTS.format(name=kind.lower(), kind=kind)})
    run = pytester.runpytest_subprocess if apart else pytester.runpytest_inprocess
    run().assert_outcomes(failed=2)
