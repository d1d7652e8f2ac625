"""Reference server: OpenAI-compatible, with known timing, faults and a log.

It streams on a known schedule, injects faults and logs the truth.
"""

from __future__ import annotations

from pytest_flperf.reference_server.checks import OptionError
from pytest_flperf.reference_server.judge import JudgeBias
from pytest_flperf.reference_server.log import LogEntry
from pytest_flperf.reference_server.options import Fault, FaultKind, ReferenceConfig, Schedule, preset_names
from pytest_flperf.reference_server.server import ReferenceServer, ReferenceServerError

__all__ = [
    "Fault",
    "FaultKind",
    "JudgeBias",
    "LogEntry",
    "OptionError",
    "ReferenceConfig",
    "ReferenceServer",
    "ReferenceServerError",
    "Schedule",
    "preset_names",
]
