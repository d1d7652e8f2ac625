"""What is in the wheel."""

from __future__ import annotations

import configparser
import json
from email.parser import Parser
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement

MODELS_LIMIT = 8_000_000
ROOT = Path(__file__).parents[2]


@pytest.fixture
def names(wheel: Path) -> set[str]:
    """All files of the wheel."""
    with ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_wheel_holds_every_module(names: set[str]) -> None:
    """Each module of the checkout travels, at its place."""
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "pytest_flperf").rglob("*.py")}
    assert modules <= names


def test_wheel_holds_suites_schemas_and_types(names: set[str]) -> None:
    """The packaged suites, both JSON Schemas, and the mark that the package is typed."""
    suites = {f"pytest_flperf/suites/{path.name}" for path in (ROOT / "suites").iterdir() if path.is_file()}
    schemas = {"pytest_flperf/suite/schema/suite.schema.json", "pytest_flperf/results/results.schema.json"}
    assert {"pytest_flperf/suites/default.yaml", "pytest_flperf/suites/quick.yaml"} <= suites
    assert suites | schemas | {"pytest_flperf/py.typed"} <= names


def test_wheel_holds_the_templates_of_the_report(names: set[str]) -> None:
    """All that the page is made of, its style included."""
    templates = {path.relative_to(ROOT).as_posix() for path in (ROOT / "pytest_flperf/report/html/templates").iterdir()}
    assert "pytest_flperf/report/html/templates/style.css" in templates
    assert len(templates) >= 4
    assert templates <= names


def test_wheel_holds_nothing_else(names: set[str]) -> None:
    """No tests, no benchmarks, no bytecode, nothing beside the package and its metadata."""
    places = {name.split("/")[0] for name in names} - {"pytest_flperf"}
    assert [place for place in places if not place.endswith(".dist-info")] == []
    assert len(places) == 1
    assert [name for name in names if name.endswith(".pyc") or "/test_" in name or "conftest" in name] == []


def test_embedded_models_are_small(wheel: Path) -> None:
    """Two models, which take less than 8 MB of the wheel together."""
    with ZipFile(wheel) as archive:
        models = [info for info in archive.infolist() if info.filename.startswith("pytest_flperf/foundry_host/models/")]
    weights = [info for info in models if info.filename.endswith(".onnx.data")]
    assert len(weights) == 2
    assert max(info.file_size for info in weights) > 2 * min(info.file_size for info in weights)
    assert sum(info.compress_size for info in models) < MODELS_LIMIT


def test_schemas_are_json(wheel: Path) -> None:
    """Both schemas can be read as they lie in the wheel."""
    with ZipFile(wheel) as archive:
        for name in ("pytest_flperf/suite/schema/suite.schema.json", "pytest_flperf/results/results.schema.json"):
            assert "$schema" in json.loads(archive.read(name))


def test_entry_points(wheel: Path) -> None:
    """Pytest finds the plugin by the name flperf, the shell the command."""
    with ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("entry_points.txt"))
        points = configparser.ConfigParser()
        points.read_string(archive.read(name).decode())
    assert dict(points["pytest11"]) == {"flperf": "pytest_flperf.plugin"}
    assert dict(points["console_scripts"]) == {"flperf": "pytest_flperf.cli:main"}


@pytest.mark.parametrize(
    ("platform", "machine", "wanted"),
    [
        ("linux", "x86_64", True),
        ("linux", "aarch64", True),
        ("linux", "riscv64", False),
        ("darwin", "arm64", True),
        ("darwin", "x86_64", False),
        ("win32", "AMD64", True),
        ("win32", "ARM64", True),
    ],
)
def test_foundry_local_is_asked_for_where_it_can_be(wheel: Path, platform: str, machine: str, wanted: bool) -> None:
    """The marker of foundry-local-sdk leaves out Intel Macs and other machines without a wheel."""
    with ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(archive.read(name).decode())
    requirements = [Requirement(line) for line in metadata.get_all("Requires-Dist") or ()]
    (sdk,) = (requirement for requirement in requirements if requirement.name == "foundry-local-sdk")
    assert sdk.marker is not None
    assert sdk.marker.evaluate({"sys_platform": platform, "platform_machine": machine}) is wanted
