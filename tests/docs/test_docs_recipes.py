"""Recipes of the docs that name a backend's option: the option exists, and the command line takes it."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_flperf.backends.registry import BUILT_IN

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
EXAMPLE = {"mine.tokens"}
"""Of the backend that docs/backends.md builds."""
KNOWN = {f"{kind.name}.{key}" for kind in BUILT_IN.values() for key in kind.options} | EXAMPLE
KEYS = {name.partition(".")[2] for name in KNOWN} | {"KEY"}
_COMMAND = re.compile(r"^(?:python -m )?pytest (.*?[^\\])$", re.DOTALL | re.MULTILINE)


def text_of(page: Path) -> str:
    """Text of a page."""
    return page.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_options_are_known(page: Path) -> None:
    """By ``--flperf-backend-option=KIND.KEY`` and, of targets and of the other side, by ``options.KEY``."""
    text = text_of(page)
    named = set(re.findall(r"backend-option[= ]'?([a-z-]+\.\w+)", text))
    assert named <= KNOWN
    # A link to another page (options.md) or a server's field is none; these stand in code and have a value.
    assert set(re.findall(r"\boptions\.(\w+)=", text)) <= KEYS


def recipes() -> list[str]:
    """Commands of the docs with another side, but for those of a suite of the reader's."""
    found = [
        command.replace("\\\n", " ")
        for page in PAGES
        for block in re.findall(r"^```console\n(.*?)^```", text_of(page), re.DOTALL | re.MULTILINE)
        for command in _COMMAND.findall(block)
        if "--flperf-against=" in command and ".yaml" not in command
    ]
    inline = [each for page in PAGES for each in re.findall(r"`(--flperf-against=[^`]*options\.[^`]*)`", text_of(page))]
    return list(dict.fromkeys([*found, *(f"--flperf-suite=quick {LLAMACPP} {each}" for each in inline)]))


LLAMACPP = "--flperf-backend=llamacpp --flperf-model=models/tiny-one.gguf"


def test_there_are_recipes() -> None:
    """Both ways of a page: blocks, and rows of a table."""
    assert len(recipes()) >= 6
    assert sum("options." in each for each in recipes()) >= 2


@pytest.mark.parametrize("recipe", recipes())
def test_a_recipe_is_planned(recipe: str, tmp_path: Path) -> None:
    """The command line takes every word of it; nothing is measured."""
    words = shlex.split(recipe)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "tiny-one.gguf").touch()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *words, "--flperf-dry-run"],
        cwd=tmp_path, env={**os.environ, "COLUMNS": "100"}, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "--flperf-against: from 12 requests per stream" in done.stdout
