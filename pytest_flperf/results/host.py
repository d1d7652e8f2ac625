"""Host and versions: the machine and software behind the numbers.

Cheap: reads files and libraries, and starts no child process on Linux.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final

from pytest_flperf.results.records import HostInfo
from pytest_flperf.results.serialize import plain_text

__all__ = ["DISTRIBUTIONS", "host_info", "host_name", "versions"]

DISTRIBUTIONS: Final = (
    "pytest_flperf",
    "pytest",
    "foundry_local_sdk",
    "foundry_local_core",
    "onnxruntime",
    "onnxruntime_genai_core",
    "pytest_benchmark",
    "pytest_xdist",
    "psutil",
)
"""Distributions that can move a number, by the key under which ``results.json`` has them."""

_LONGEST_NAME: Final = 100
_MB: Final = 1 << 20
_READ_MOST: Final = 1 << 16


def host_name() -> str:
    """Name of this machine in results: ``FLPERF_HOST``, or that of the system."""
    return plain_text(os.environ.get("FLPERF_HOST", "").strip()[:_LONGEST_NAME] or platform.node())


def host_info(gpus: Iterable[str] = ()) -> HostInfo:
    """Describe this machine; unknown values are empty; never raises.

    Args:
        gpus: Names of accelerators, where the caller knows them; none: those of NVIDIA in ``/proc``.

    """
    logical, physical, ram_bytes = _sizes()
    return HostInfo(
        name=host_name(),
        os=_os_name(),
        cpu=_cpu_name(),
        cores=logical,
        ram_mb=ram_bytes // _MB,
        gpus=tuple(gpus) or _nvidia_gpus(),
        python=platform.python_version(),
        machine=platform.machine(),
        physical_cores=physical,
        usable_cores=_usable_cores(),
    )


def versions(distributions: Iterable[str] = DISTRIBUTIONS) -> dict[str, str]:
    """Versions of Python and of the installed ones of these distributions."""
    found = {"python": platform.python_version()}
    for name in distributions:
        version = _version(name)
        if version is not None:
            found[name] = version
    return found


@cache  # reading the metadata of a distribution takes 0.9 ms
def _version(distribution: str) -> str | None:
    try:
        version = importlib.metadata.version(distribution)
    except (importlib.metadata.PackageNotFoundError, OSError, ValueError):
        return None
    return version if isinstance(version, str) else None  # None where the metadata is broken


def _sizes() -> tuple[int, int | None, int]:
    """Logical cores, physical cores, bytes of memory."""
    try:
        import psutil

        return psutil.cpu_count() or 1, psutil.cpu_count(logical=False), int(psutil.virtual_memory().total)
    except (ImportError, OSError, RuntimeError, NotImplementedError):
        return os.cpu_count() or 1, None, 0


def _usable_cores() -> int | None:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else None


def _read(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(_READ_MOST)
    except OSError:
        return ""


def _os_name() -> str:
    if sys.platform == "linux":
        try:
            name = platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
        except OSError:
            name = "Linux"
        return f"{name}, kernel {platform.release()}"
    if sys.platform == "darwin":
        return f"macOS {platform.mac_ver()[0]}"
    return f"{platform.system()} {platform.release()} {platform.version()}"


def _cpu_name() -> str:
    if sys.platform == "linux":
        return _linux_cpu_name(_read(Path("/proc/cpuinfo"))) or platform.machine()
    if sys.platform == "darwin":
        return _ask("/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string") or platform.machine()
    return os.environ.get("PROCESSOR_IDENTIFIER", "") or platform.machine()


def _linux_cpu_name(cpuinfo: str) -> str:
    """The processor's name in ``/proc/cpuinfo``.

    The key is ``model name`` (x86), ``Model`` (boards) or ``cpu`` (POWER).
    """
    fields: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            fields.setdefault(key.strip(), value.strip())
    for key in ("model name", "Model", "Hardware", "cpu"):
        if fields.get(key):
            return " ".join(fields[key].split())
    implementer, part = fields.get("CPU implementer"), fields.get("CPU part")
    return f"ARM implementer {implementer} part {part}" if implementer and part else ""


def _nvidia_gpus() -> tuple[str, ...]:
    names = []
    for information in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        for line in _read(information).splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "Model" and value.strip():
                names.append(value.strip())
    return tuple(names)


def _ask(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=1, check=False).stdout.strip()
    except (OSError, subprocess.SubprocessError, ValueError):
        return ""
