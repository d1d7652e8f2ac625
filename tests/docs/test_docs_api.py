"""The page on the Python API: its examples run, and it names what is public."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import pytest_flperf
import pytest_flperf.backends
import pytest_flperf.testing

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PUBLIC = {
    "pytest_flperf": set(pytest_flperf.__all__),
    "pytest_flperf.backends": set(pytest_flperf.backends.__all__),
    "pytest_flperf.testing": set(pytest_flperf.testing.__all__),
}


def python(page: Path) -> list[str]:
    """The Python code of a page."""
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def test_the_examples_run(tmp_path: Path) -> None:
    """Both, with the embedded models, and the plot is drawn."""
    first, second = python(ROOT / "docs" / "api.md")
    lines = [line for line in first.splitlines() if line.strip()]
    assert len(lines) <= 20
    for text, printed in ((first, "flperf-"), (second, "ttft_ms.p50 > +10%")):
        done = subprocess.run(
            [sys.executable, "-c", text], cwd=tmp_path, env={**os.environ, "MPLBACKEND": "agg"}, capture_output=True,
            text=True, check=False, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert printed in done.stdout
    assert (tmp_path / "ttft.png").stat().st_size > 1_000


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_examples_import_public_names_alone(page: Path) -> None:
    """What a reader copies goes on working."""
    for text in python(page):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("pytest_flperf"):
                assert {name.name for name in node.names} <= PUBLIC[str(node.module)]
            elif isinstance(node, ast.Import):
                assert not any(name.name.startswith("pytest_flperf.") for name in node.names)


def test_every_public_name_is_on_the_page() -> None:
    """And what stands there as one of ours is one."""
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(\w+)(?:\(.*?\))?`", text))
    for names in PUBLIC.values():
        assert names <= named, names - named
