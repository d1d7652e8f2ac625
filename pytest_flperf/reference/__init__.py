"""The reference server: OpenAI-compatible, streams on a known schedule, plays faults, logs the truth."""

from __future__ import annotations

from pytest_flperf.reference.checks import OptionError
from pytest_flperf.reference.log import LogEntry
from pytest_flperf.reference.options import Fault, FaultKind, ReferenceConfig, Schedule, preset_names
from pytest_flperf.reference.server import ReferenceServer, ReferenceServerError

__all__ = [
    "Fault",
    "FaultKind",
    "LogEntry",
    "OptionError",
    "ReferenceConfig",
    "ReferenceServer",
    "ReferenceServerError",
    "Schedule",
    "preset_names",
]
