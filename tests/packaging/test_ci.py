"""What CI reads out of the README and pyproject.toml, and what would work in an activated environment only."""

from __future__ import annotations

import ast
import importlib.util
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from packaging.version import Version

ROOT = Path(__file__).parents[2]
BARE = {"flperf", "pytest", "py.test", "python", "python3", "pip", "pip3"}
"""Programs that a PATH without our environment does not hold, or holds of another one."""


def script(name: str) -> ModuleType:
    """A module of ``scripts/``, which is no package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_commands_of_the_readme() -> None:
    """One makes the environment and measures, one runs the tests; neither needs an activated environment."""
    found = script("readme_commands").install_commands((ROOT / "README.md").read_text(encoding="utf-8"))
    first, tests = found
    assert first.startswith("python3 -m venv .venv && ")
    assert first.endswith(" && .venv/bin/pytest --flperf-suite=default")
    assert tests.startswith(".venv/bin/pip install '.[dev]' && .venv/bin/pytest ")


def test_what_the_command_leaves_out_runs_beside_it() -> None:
    """The README's command leaves out one marker, and CI runs exactly what has it."""
    options = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pytest"]["ini_options"]
    left_out = options["addopts"][options["addopts"].index("-m") + 1]
    assert left_out == "not slow"
    assert "-m slow " in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_only_commands_in_console_blocks_count() -> None:
    """Neither prose nor other blocks, and every line of a block by itself."""
    text = "pip install a\n```text\npip install b\n```\n```console\nx\n pip install c \npip install d\n```\n"
    assert script("readme_commands").install_commands(text) == ["pip install c", "pip install d"]


def test_every_dependency_has_a_floor_that_is_tested() -> None:
    """Also those of the extras that tests use; without one, its newest version is tested only."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lowest = script("lowest")
    found = lowest.constraints(project["dependencies"], "")
    assert found["pytest"] == Version("8.4")
    assert len(found) >= len(project["dependencies"]) - 1, "the marker of foundry-local-sdk may leave it out"


def test_the_floors() -> None:
    """The highest of two for one package, above what is left out; other Pythons and other extras do not count."""
    requirements = [
        "A_b>=1.2", "a-b[x]>=1.10,!=1.11", "c", "d~=2.1", "e>=3; python_version < '3'", "f>=4; extra == 'dev'",
        "g>=0.5,!=1.*,!=2.0.*,!=2.1.*",
    ]  # fmt: skip
    lowest = script("lowest")
    assert lowest.constraints(requirements, "dev") == {
        "a-b": Version("1.10"), "d": Version("2.1"), "f": Version("4"), "g": Version("2.2"),
    }  # fmt: skip
    assert "f" not in lowest.constraints(requirements, "")
    with pytest.raises(SystemExit, match=r"h.*: the floor 1\.0 is not allowed"):
        lowest.constraints(["h>=1.0,!=1.0"], "")


def bare_calls(tree: ast.AST) -> Iterator[int]:
    """Lines that start a program by a bare name: ``subprocess.run(["flperf", …])``, ``pytester.run("flperf")``."""
    starts = {"run", "Popen", "popen", "check_output", "check_call", "call", "which"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            first = node.args[0]
            if isinstance(first, ast.List | ast.Tuple) and first.elts:
                first = first.elts[0]
            if node.func.attr in starts and isinstance(first, ast.Constant) and first.value in BARE:
                yield node.lineno


@pytest.mark.parametrize("folder", ["tests", "benchmarks", "scripts"])
def test_no_program_of_ours_comes_from_a_path(folder: str) -> None:
    """Python is ``sys.executable``, and the command ``python -m pytest_flperf``."""
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    found = {
        f"{path.relative_to(ROOT)}:{line}"
        for path in files
        for line in bare_calls(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert found == set()


def test_a_bare_name_is_found() -> None:
    """In each form that a test may write."""
    code = 'subprocess.run(["pytest", x])\npytester.run("flperf", y)\nshutil.which("pip")\nrun("pip")\nx.run("ok")'
    assert list(bare_calls(ast.parse(code))) == [1, 2, 3]
