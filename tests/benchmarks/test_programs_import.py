"""Benchmarks and scripts find all that they import: moved modules broke one of them, which no test runs."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAMS = sorted([*ROOT.glob("benchmarks/*/[!_]*.py"), *ROOT.glob("scripts/*.py")])


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_it_imports(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its main part, from its own folder as ``python FILE`` does it."""
    monkeypatch.setattr(sys, "path", [str(program.parent), *sys.path])
    monkeypatch.setattr(sys, "argv", [str(program)])
    runpy.run_path(str(program), run_name="imported")
