"""``flperf calibrate``: client overhead in measured latencies."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_flperf.commands.common import FAILED, Commands, Parsed, add_json, print_json, refuse

if TYPE_CHECKING:
    from pytest_flperf.measurement.calibration_loads import Probe

__all__ = ["add_calibrate"]

_MOST_PROCESSES: Final = 64
_STREAMS: Final = (1, 16, 64)
"""Concurrency of the closed loops that are calibrated by default."""


def add_calibrate(commands: Commands) -> None:
    """Add the ``calibrate`` command."""
    parser = commands.add_parser(
        "calibrate",
        help="Measure what this client adds to latencies on this machine",
        description="Plays loads against the reference server, whose true times are known, and shows this client's "
        "times next to the true ones.  Run it on an idle machine.",
    )
    parser.add_argument(
        "suite", metavar="SUITE", nargs="?", help="Use the loads of this suite's cases: a name or the path of a file"
    )
    parser.add_argument("--concurrency", metavar="N", type=int, nargs="+", default=[], help="Streams of closed loops")
    parser.add_argument("--rate", metavar="R", type=float, nargs="+", default=[], help="Requests/s of open loops")
    parser.add_argument("--processes", metavar="N", type=int, default=1, help="Load processes; default: 1")
    add_json(parser, "the figures")
    parser.set_defaults(run=_calibrate, usage=parser)


def _calibrate(parsed: Parsed) -> int:
    from pytest_flperf.measurement.calibration import CalibrationError, calibrate_once
    from pytest_flperf.report.terminal.listings import calibrations_table, say

    if not 1 <= parsed.processes <= _MOST_PROCESSES:
        refuse(parsed, f"--processes: found {parsed.processes}, expected a whole number from 1 to {_MOST_PROCESSES}")
    probes = _probes(parsed)
    try:
        found = [calibrate_once(probe) for probe in probes]
    except CalibrationError as error:
        say(f"{parsed.usage.prog}: error: {error}", sys.stderr)
        return FAILED
    if parsed.json:
        return print_json([each.to_dict() for each in found])
    for line in calibrations_table(found):
        say(line)
    return 0


def _probes(parsed: Parsed) -> list[Probe]:
    """Loads to calibrate; exits if one is invalid."""
    from pytest_flperf.measurement.calibration_loads import closed_probe, poisson_probe, probe_of
    from pytest_flperf.suite.discovery import find_suite
    from pytest_flperf.suite.errors import SuiteError
    from pytest_flperf.suite.loader import load_suite
    from pytest_flperf.suite.matrix import expand
    from pytest_flperf.suite.setting_limits import check_setting

    count: int = parsed.processes
    probes: list[Probe] = []
    try:
        for key in ("concurrency", "rate"):
            for value in getattr(parsed, key):
                check_setting(key, value, f"--{key}")
        probes += [closed_probe(streams, count, short=False) for streams in parsed.concurrency]
        probes += [poisson_probe(rate, count, short=False) for rate in parsed.rate]
        if parsed.suite is not None:
            here = Path.cwd()
            cases = expand(load_suite(*find_suite(parsed.suite, here, here)), ["reference"])
            probes += [probe_of(case, count, short=False) for case in cases]
    except SuiteError as error:
        refuse(parsed, str(error))
    return list(dict.fromkeys(probes)) or [closed_probe(streams, count, short=False) for streams in _STREAMS]
