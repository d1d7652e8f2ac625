"""The example of a backend of one's own: it passes the contract, and a run measures with it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from pytest_flperf.backends.registry import BUILT_IN, registry
from pytest_flperf.suite.loader import load_suite
from pytest_flperf.suite.schema.base import TargetForm

PAGE = Path(__file__).parents[2] / "docs" / "backends.md"
PLUGIN, CONTRACT = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the page's ``conftest.py`` and its tests."""
    (tmp_path / "conftest.py").write_text(PLUGIN, encoding="utf-8")
    (tmp_path / "test_mine.py").write_text(CONTRACT, encoding="utf-8")
    return tmp_path


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest there."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=folder, env={**os.environ, "COLUMNS": "100"}, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


def test_the_example_is_small() -> None:
    """What a reader must write fits on a screen."""
    lines = [line for line in PLUGIN.splitlines() if line.strip() and not line.startswith(("import", "from"))]
    assert len(lines) <= 30


def test_the_hook_brings_it() -> None:
    """The kind of the page joins ours."""
    module = ModuleType("example")
    exec(PLUGIN, module.__dict__)  # noqa: S102 - our own page
    known = registry(module.pytest_flperf_backends())
    assert known["mine"].make is module.MyBackend
    with pytest.raises(ValueError, match="two backends are named 'mine'"):
        registry([*module.pytest_flperf_backends(), known["mine"]])


def test_it_passes_the_contract(folder: Path) -> None:
    """As the page shows it; all of its tests."""
    done = run(folder, "test_mine.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\b\d\d passed", done.stdout)


def test_a_run_measures_with_it(folder: Path) -> None:
    """With the page's command and its option, on a short suite: every answer has the tokens that were asked for."""
    scenario = {"name": "one", "prompt": "Hello", "max_tokens": 64, "iterations": 2, "warmup": 0}
    (folder / "tiny.json").write_text(json.dumps({"name": "tiny", "scenarios": [scenario]}), encoding="utf-8")
    at = ("--flperf-suite=tiny.json", "--flperf-backend=mine", "--flperf-model=reference")
    done = run(folder, *at, "--flperf-backend-option=mine.tokens=7")
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((folder / "reports" / "latest" / "results.json").read_text(encoding="utf-8"))
    (case,) = results["cases"]
    assert case["outcome"] == "passed"
    assert case["metrics"]["output_tokens"]["p50"] == 7
    refused = run(folder, *at[:2], "--flperf-model=other")
    assert "my server has no model 'other'" in refused.stdout + refused.stderr


def blocks(text: str, language: str) -> list[str]:
    """The code of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def test_every_kind_is_in_the_table() -> None:
    """With the word for it where whole servers are untested."""
    (table,) = re.findall(r"^\| kind \| what \|.*?\n\n", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    rows = dict(re.findall(r"^\| `([a-z-]+)` \|(.*)$", table, re.MULTILINE))
    assert rows.keys() == BUILT_IN.keys()
    untested = {name for name, row in rows.items() if "**untested**" in row}
    assert untested == {
        name for name, each in BUILT_IN.items() if each.untested.startswith(("all of it", "the service"))
    }


def test_every_option_and_key_is_there() -> None:
    """Of each kind, and of a target."""
    text = PAGE.read_text(encoding="utf-8")
    (table,) = re.findall(r"^\| option \| default \|.*?\n\n", text, re.DOTALL | re.MULTILINE)
    options = {f"{kind.name}.{key}" for kind in BUILT_IN.values() for key in kind.options}
    assert set(re.findall(r"`([a-z-]+\.\w+)`", table)) == options
    (keys,) = re.findall(r"^- A target has a (.*?)\. On", text, re.DOTALL | re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", keys)) == set(TargetForm.model_fields)


def test_its_suites_are_suites(tmp_path: Path) -> None:
    """All of the page."""
    found = blocks(PAGE.read_text(encoding="utf-8"), "yaml")
    assert len(found) == 4
    for text in found:
        path = tmp_path / "example.yaml"
        path.write_text(text, encoding="utf-8")
        assert load_suite(path, "example").targets
