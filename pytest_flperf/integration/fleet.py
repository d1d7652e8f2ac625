"""Fleet: workers of pytest-xdist on several machines, checked before they measure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from pytest_flperf._text import printable
from pytest_flperf.integration import fleet_probe
from pytest_flperf.integration.current_run import SUITE_DIGESTS
from pytest_flperf.options import FLEET
from pytest_flperf.report.junit import NODEID_PROPERTY
from pytest_flperf.results.host import versions
from pytest_flperf.results.records import HostInfo

if TYPE_CHECKING:
    from pytest_flperf.integration.collection import Selection

__all__ = [
    "Machine",
    "add_machine",
    "check_arguments",
    "check_suites",
    "check_versions",
    "lost_reports",
    "machine_of",
    "no_restarts",
]

_PATIENCE_S: Final = 120.0
"""For a machine's description: it imports and loads the suites."""
_OF_THE_PROTOCOL: Final = ("pytest_flperf", "pytest", "pytest_xdist")
"""Packages whose versions must be the same here and there."""


@dataclass(slots=True)
class Machine:
    """A worker's machine, and what it has to run."""

    worker: str
    """Id of the worker: ``gw0``."""
    host: HostInfo
    identity: str
    versions: Mapping[str, str]
    nodeids: Sequence[str] = ()
    """Tests that it collected."""

    @property
    def name(self) -> str:
        """Its name, for people."""
        return printable(self.host.name, 100)


def is_fleet(specs: Iterable[Any]) -> bool:
    """Whether workers are on other machines."""
    return any(not spec.popen for spec in specs)


def no_restarts(config: pytest.Config) -> None:
    """Let a worker that dies stay dead, unless pytest is told otherwise.

    Its machine may be gone, and a failed restart would end the run of all others.
    """
    if config.getoption("dist", default="no") == "each" and config.option.maxworkerrestart is None:
        config.option.maxworkerrestart = "0"


def check_arguments(config: pytest.Config, specs: Sequence[Any]) -> None:
    """Refuse what does not work on several machines; raises UsageError."""
    if not is_fleet(specs):
        return
    if config.getoption("dist") != "each" and len(specs) > 1:
        raise pytest.UsageError(
            f"--flperf-suite: found --dist {config.getoption('dist')} with {len(specs)} workers, expected --dist each, "
            "with which every machine measures the whole suite"
        )
    for argument in map(str, config.invocation_params.args):
        path = config.invocation_params.dir / argument.partition("::")[0]
        if not argument.startswith("-") and _exists(path):
            raise pytest.UsageError(
                f"found the path {printable(argument, 200)}, which other machines don't get; expected "
                "--flperf-suite=PATH, with the same file at that path there, and --opt=VALUE in one word for options"
            )


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def add_machine(node: Any) -> None:
    """Ask a new worker's machine what it is, and check it; raises UsageError.

    ``node`` is the worker, as xdist has it.
    """
    config, worker = node.config, node.gateway.id
    names = _suites(config)
    known = config.stash.setdefault(FLEET, {})
    found = _described(node.gateway, names)
    where = f"{printable(found.get('host') or 'unknown', 100)} ({_address(node.gateway)})"
    if problem := found.get("problem"):
        raise pytest.UsageError(f"{where}: {printable(str(problem), 500)}")
    machine = Machine(worker, HostInfo.from_dict(found["info"]), str(found["identity"]), dict(found["versions"]))
    for other in known.values():
        if machine.identity == other.identity:
            raise pytest.UsageError(
                f"{where} is the machine of worker {other.worker} as well: found two workers on it, expected one for "
                "each machine, because two would disturb each other's measurements"
            )
        if machine.host.name == other.host.name:
            raise pytest.UsageError(
                f"{where}: worker {other.worker} is on another machine of that name; set FLPERF_HOST there to tell "
                "them apart"
            )
        check_versions(where, machine.versions, other.versions, other.name)
    check_versions(where, machine.versions, versions(), None)
    check_suites(where, found["suites"], config.stash.get(SUITE_DIGESTS, {}))
    known[worker] = machine
    node.workerinput["flperf_alone"] = True


def _address(gateway: Any) -> str:
    """How a machine is reached, as it was typed."""
    return printable(str(gateway.spec).removeprefix("execmodel=main_thread_only//"), 200)


def _suites(config: pytest.Config) -> list[str]:
    """Suites of the run as they were typed, each once."""
    typed = [each.partition("::")[0] for each in map(str, config.invocation_params.args) if each.startswith("flperf:")]
    return list(dict.fromkeys([*(config.getoption("flperf_suite") or ()), *typed]))


def _described(gateway: Any, names: Sequence[str]) -> dict[str, Any]:
    """What a machine says of itself; raises UsageError where it doesn't."""
    try:
        channel = gateway.remote_exec(fleet_probe)
        channel.send(list(names))
        found: dict[str, Any] = channel.receive(_PATIENCE_S)
        channel.waitclose(_PATIENCE_S)
    except Exception as error:  # execnet's own kinds: the link is cut, the process ended, no answer in time
        why = printable(str(error).strip().rpartition("\n")[2] or type(error).__name__, 300)
        raise pytest.UsageError(f"{_address(gateway)}: the machine can't be asked: {why}") from error
    return found


def check_versions(where: str, found: Mapping[str, str], expected: Mapping[str, str], of: str | None) -> None:
    """Refuse a machine with other versions; raises UsageError.

    Args:
        where: The machine, for people.
        found: Its versions.
        expected: Those of another machine, or here.
        of: Name of that machine; None: here, where only what the protocol needs must be the same.

    """
    names = _OF_THE_PROTOCOL if of is None else sorted({*found, *expected})
    there = "here" if of is None else f"on {of}"
    differing = [
        f"{name} {found.get(name, 'missing')} ({expected.get(name, 'missing')} {there})"
        for name in names
        if found.get(name) != expected.get(name)
    ]
    if differing:
        shown = ", ".join(differing[:5])
        raise pytest.UsageError(f"{where}: found other versions: {shown}; expected the same everywhere")


def check_suites(where: str, found: Mapping[str, str], expected: Mapping[str, str]) -> None:
    """Refuse a machine whose suites have other digests; raises UsageError."""
    if {*found.values()} != {*expected.values()}:
        names = ", ".join(printable(name, 100) for name in found) or "none"
        raise pytest.UsageError(
            f"{where}: the suites differ from those here ({names}): scenarios, prompts, settings or budgets; expected "
            "the same files"
        )


def machine_of(config: pytest.Config, node: Any) -> Machine | None:
    """Machine of a worker; None for one that was not asked."""
    return config.stash.get(FLEET, {}).get(node.gateway.id) if node is not None else None


def lost_reports(
    machine: Machine, node: Any, reason: str, selection: Selection, known: Iterable[str]
) -> Iterable[pytest.TestReport]:
    """Reports for the tests that a lost worker did not begin: errors with that reason.

    Args:
        machine: The machine.
        node: The worker, as xdist has it.
        reason: Why it was lost.
        selection: The suites of the run.
        known: Node ids of the tests that it reported, and of the one that it was lost in.

    """
    if not hasattr(node, "workerinfo"):  # pytest prints it with failures, and xdist has it once a worker is ready
        version = tuple(machine.host.python.split("."))
        node.workerinfo = {"id": machine.worker, "sysplatform": "", "executable": "", "version_info": version}
    done = set(known)
    for nodeid in machine.nodeids:
        planned = selection.planned(nodeid)
        if nodeid in done or planned is None:
            continue
        told = {"planned": replace(planned, host=machine.host.name).to_dict(), "of_suite": True, "cases": []}
        for when, outcome in (("setup", "failed"), ("teardown", "passed")):
            report = pytest.TestReport(
                nodeid=nodeid,
                location=(nodeid.partition("::")[0], None, nodeid.partition("::")[2]),
                keywords={},
                outcome=outcome,  # type: ignore[arg-type]
                longrepr=f"{machine.name} was lost: {reason}" if outcome == "failed" else None,
                when=when,  # type: ignore[arg-type]
                user_properties=[(NODEID_PROPERTY, printable(nodeid)), ("host", machine.name)],
            )
            report.node = node  # type: ignore[attr-defined]
            vars(report)["flperf"] = told
            yield report
