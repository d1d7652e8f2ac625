"""The package as people get it: a wheel, and an empty virtual environment with nothing but that wheel in it."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INSTALL_S = 600
RUN_S = 300

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def _clean_environment() -> dict[str, str]:
    """Nothing of the environment that the tests run in may reach the one under test."""
    ours = ("PYTHONPATH", "PYTHONHOME", "PYTHONSAFEPATH", "VIRTUAL_ENV", "PYTEST_ADDOPTS", "PYTEST_PLUGINS", "COLUMNS")
    return {
        name: value
        for name, value in os.environ.items()
        if name == "FLPERF_LOCK_DIR" or (name not in ours and not name.startswith(("COV", "PYTEST_XDIST", "FLPERF")))
    }


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the checkout."""
    if not (ROOT / "pyproject.toml").is_file():
        pytest.skip("needs the sources")
    folder = tmp_path_factory.mktemp("wheel")
    built = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)],
        capture_output=True,
        text=True,
        timeout=INSTALL_S,
        check=False,
        cwd=folder,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    (found,) = folder.glob("*.whl")
    return found


def _environment_of_pip() -> dict[str, str]:
    """For pip, which is no code of ours: an old one makes calls that its own future will not take."""
    environment = _clean_environment()
    environment.pop("PYTHONWARNINGS", None)
    return environment


def pip_for(scripts: Path) -> list[str]:
    """The pip of the environment that the tests run in, at work in another one, which needs none of its own."""
    return [sys.executable, "-m", "pip", "--python", str(scripts / "python")]


@pytest.fixture(scope="session")
def scripts(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts folder of a virtual environment in which only the wheel was installed, and what it asks for."""
    folder = tmp_path_factory.mktemp("environment") / "venv"
    venv.create(folder)
    found = folder / ("Scripts" if sys.platform == "win32" else "bin")
    # Our own pip and no bytecode of what is never imported: half of what it takes.
    installed = subprocess.run(
        [*pip_for(found), "install", "--quiet", "--no-compile", str(wheel)],
        capture_output=True,
        text=True,
        timeout=INSTALL_S,
        check=False,
        env=_environment_of_pip(),
        cwd=folder,
    )
    assert installed.returncode == 0, installed.stdout + installed.stderr
    return found


@pytest.fixture
def pip_check(scripts: Path, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """``pip check`` in that environment."""
    return subprocess.run(
        [*pip_for(scripts), "check"],
        capture_output=True,
        text=True,
        timeout=RUN_S,
        check=False,
        env=_environment_of_pip(),
        cwd=tmp_path,
    )


@pytest.fixture
def run(scripts: Path, tmp_path: Path) -> Run:
    """Run a script of that environment in a folder that is empty at first."""
    folder = tmp_path / "empty"
    folder.mkdir()

    def run(name: str, *arguments: str, cwd: Path = folder) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(scripts / name), *arguments],
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=RUN_S,
            check=False,
            env=_clean_environment(),
            stdin=subprocess.DEVNULL,
            cwd=cwd,
        )

    return run
