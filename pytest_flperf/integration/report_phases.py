"""Phases of a test, from pytest's reports."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import pytest

from pytest_flperf._text import printable
from pytest_flperf.results.reported import Phase, PhaseName, PhaseOutcome

__all__ = ["phase_of", "reason_of"]

_REASON: Final = 300
_WORKER: Final = re.compile(r"\[gw[0-9]+\] ")
_CRASH: Final = "???"
"""Phase that pytest-xdist reports when a worker ended in the middle of a test."""


def phase_of(report: pytest.TestReport, masked: Callable[[str], str]) -> Phase:
    """Phase of a test, from its report.

    ``masked`` removes secrets from its reason.
    """
    return Phase(_name(report), _outcome(report), printable(masked(reason_of(report)), _REASON))


def _name(report: pytest.TestReport) -> PhaseName:
    if str(report.when) == _CRASH:
        return "crash"
    if report.when == "call" and type(report).__name__ in ("SubtestReport", "SubTestReport"):
        return "subtest"
    assert report.when is not None
    return report.when


def _outcome(report: pytest.TestReport) -> PhaseOutcome:
    expected = hasattr(report, "wasxfail")
    if report.passed:
        return "xpassed" if expected else "passed"
    if report.skipped:
        return "xfailed" if expected else "skipped"
    return "failed"  # also "rerun", the word of pytest-rerunfailures for a failure that is run again


def reason_of(report: pytest.TestReport | pytest.CollectReport) -> str:
    """One-line reason why a test or file did not pass.

    Empty if it passed.
    """
    expected = getattr(report, "wasxfail", None)
    if expected is not None:
        return _first_line(str(expected)).removeprefix("reason: ")
    if report.passed:
        return ""
    if isinstance(report.longrepr, tuple):
        return _first_line(str(report.longrepr[2])).removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash is not None:
        return _first_line(str(crash.message))
    text = report.longreprtext
    errors = [line[1:] for line in text.splitlines() if line.startswith("E  ")]
    return _first_line("\n".join(errors) or text)


def _first_line(text: str) -> str:
    """First line with content; skips xdist's line with the worker's name."""
    return next((line.strip() for line in text.splitlines() if line.strip() and not _WORKER.match(line)), "")
