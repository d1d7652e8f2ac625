"""Context of a run: what whoever starts it has said and offers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pytest_flperf.results.records import CaseResult, HostInfo, Run
from pytest_flperf.session.progress import Progress

if TYPE_CHECKING:
    from pytest_flperf.backends.registry import BackendType
    from pytest_flperf.quality.scorers.hook_calls import Hook
    from pytest_flperf.session.options import RunOptions
    from pytest_flperf.suite.targets import TargetSpec

__all__ = ["Listener", "RunContext", "Stopper"]


@dataclass(frozen=True, slots=True)
class RunContext:
    """What is known of a run before it measures."""

    options: RunOptions
    here: Path
    """Folder that relative paths start from."""
    command: tuple[str, ...]
    """Command line, as given: it may hold secrets."""
    backends: Mapping[str, BackendType]
    """Kinds of backends by name."""
    started_at: datetime
    begun_s: float
    """The same on the monotonic clock."""
    suites: tuple[str, ...] = ()
    """References of the suites."""
    suite_digests: Mapping[str, str] = field(default_factory=dict)
    """Their digests, by reference."""
    suite_cases: tuple[str, ...] = ()
    """Node ids of all their cases, selected or not."""
    hosts: tuple[HostInfo, ...] = ()
    """Machines that measure for this process; empty: this one measures."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Versions on these machines; empty: those here."""
    names: tuple[str, ...] = ("tests",)
    """Names of the suites."""
    targets: tuple[TargetSpec, ...] = ()
    """Targets of the suites."""
    token: str | None = None
    """Suffix of the run's id; None: a random one."""
    lock_token: str | None = None
    """What processes share that belong to one run."""
    neighbours: int = 0
    """Processes of this run that measure beside this one."""
    takes_turns: bool = False
    """Whether these take turns, case by case."""
    writes: bool = True
    """Whether this process writes the results."""
    gathers: bool = False
    """Whether other processes of this run measure for it."""
    junit: str | None = None
    """JUnit file of the run, which exists when the run ends."""
    score: Hook | None = None
    """Scores answers in place of what suites expect; None: no one does."""
    interrupts: tuple[type[BaseException], ...] = (KeyboardInterrupt, SystemExit)
    """Exceptions by which a person or a signal ends the run."""


class Stopper(Protocol):
    """Source of signals that end a run."""

    on_signal: Callable[[], None] | None
    """Called at each signal."""

    def install(self) -> None:
        """Listen to signals."""

    def check(self) -> None:
        """Raise a received signal that was swallowed."""


class Listener(Protocol):
    """What is told about a run while it goes on."""

    progress: Progress
    stopper: Stopper

    def case_measured(self, result: CaseResult, *, ending: bool) -> str:
        """Hear of a measured case; returns a note on what went wrong.

        ``ending``: the run ends already, and nothing may stop that.
        """

    def run_finished(self, run: Run, folder: Path | None) -> str:
        """Hear of the finished run; returns a note on what went wrong."""
