"""Prepared cases and measured cases, as plain data."""

from __future__ import annotations

from dataclasses import dataclass, field

from pytest_flperf.loadgen.worker_group import Plays
from pytest_flperf.measurement.recording import CaseRecording
from pytest_flperf.measurement.request_plans import CasePlans
from pytest_flperf.measurement.standings import OtherSide
from pytest_flperf.results.records import Measured, PlannedCase
from pytest_flperf.results.run_log import SearchLoad
from pytest_flperf.suite.model import Case
from pytest_flperf.telemetry.readings import ServerProcesses

__all__ = ["CaseRun", "Prepared"]


@dataclass(frozen=True, slots=True)
class CaseRun:
    """A measured case, not judged yet."""

    result: Measured
    trouble: str = ""
    """Why fewer requests were measured than planned; then the case can't pass.  Empty: all were."""
    out_of_time: bool = False
    """Whether requests were left out because the time was over."""
    other: OtherSide | None = None
    """What was measured interleaved with it."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A case whose model has answered a token since it was loaded."""

    case: Case
    planned: PlannedCase
    """What is known of the case before its first request."""
    plans: CasePlans
    recording: CaseRecording
    server: ServerProcesses = field(default_factory=ServerProcesses)
    native: Plays | None = None
    """What plays its plans where the model answers without HTTP."""
    load: SearchLoad | None = None
    """Which load of a search it is played at."""
    beside: Prepared | None = None
    """The side that it is compared with, as ready."""
