"""The machine and the versions."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from pytest_flperf.results import host
from pytest_flperf.results.host import host_info, versions


def test_this_machine() -> None:
    """Every field is what a machine must have."""
    found = host_info()
    assert found.name
    assert found.os
    assert found.cpu
    assert found.cores >= 1
    assert found.ram_mb > 100
    assert found.python.startswith("3.")
    assert host_info(["a GPU"]).gpus == ("a GPU",)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the processor's name needs a child")
def test_no_child_and_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """On Linux it starts nothing and takes no time worth counting."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a child process was started")

    host_info()
    monkeypatch.setattr(subprocess, "Popen", refuse)
    began = time.process_time()
    host_info()
    assert time.process_time() - began < 20


@pytest.mark.parametrize(
    ("cpuinfo", "name"),
    [
        ("processor\t: 0\nmodel name\t: AMD   EPYC 9000\n", "AMD EPYC 9000"),
        ("processor : 0\nCPU implementer : 0x41\nCPU part : 0xd0c\n", "ARM implementer 0x41 part 0xd0c"),
        ("processor : 0\nCPU part : 0xd0c\n\nModel : Raspberry Pi 5\n", "Raspberry Pi 5"),
        ("", ""),
    ],
)
def test_processor_names(cpuinfo: str, name: str) -> None:
    """x86, boards, servers with Arm cores, and nothing at all."""
    assert host._linux_cpu_name(cpuinfo) == name


def test_versions_of_what_is_there() -> None:
    """Only names given, only what is installed, however its name is written."""
    found = versions(["pytest_flperf", "pytest-xdist", "no_such_distribution_at_all", ""])
    assert set(found) == {"python", "pytest_flperf", "pytest-xdist"}


def test_results_import_nothing_heavy() -> None:
    """The records can be read on a machine with the standard library alone."""
    code = (
        "import sys\n"
        "import pytest_flperf.results.records, pytest_flperf.results.host, pytest_flperf.results.run_folder\n"
        "import pytest_flperf.results.redaction, pytest_flperf.gates.verdict, pytest_flperf.stats.descriptive.case\n"
        "heavy = {'numpy', 'pydantic', 'psutil', 'openai', 'pytest', 'jsonschema'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
