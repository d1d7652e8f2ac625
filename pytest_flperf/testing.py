"""Public names for tests of backends and of clients.

:class:`BackendContract` holds the tests that every backend must pass.  :class:`ReferenceServer` answers on a schedule
that is known, so that what a client says can be checked against what was sent.  :class:`ScriptedClient` answers from a
script, with exact times and no server, where transport is not the subject.
"""

from __future__ import annotations

from pytest_flperf.backend_contract import BackendContract
from pytest_flperf.reference_server import Fault, LogEntry, ReferenceConfig, ReferenceServer, Schedule
from pytest_flperf.scripted_client import ScriptedAnswer, ScriptedClient

__all__ = [
    "BackendContract",
    "Fault",
    "LogEntry",
    "ReferenceConfig",
    "ReferenceServer",
    "Schedule",
    "ScriptedAnswer",
    "ScriptedClient",
]
