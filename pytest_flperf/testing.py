"""Public names for tests of backends and of clients.

:class:`BackendContract` holds the tests that every backend must pass.  :class:`ReferenceServer` answers on a schedule
that is known, so that what a client says can be checked against what was sent.
"""

from __future__ import annotations

from pytest_flperf.backend_contract import BackendContract
from pytest_flperf.reference_server import Fault, LogEntry, ReferenceConfig, ReferenceServer, Schedule

__all__ = ["BackendContract", "Fault", "LogEntry", "ReferenceConfig", "ReferenceServer", "Schedule"]
