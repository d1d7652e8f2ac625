"""The command that runs a case again."""

from __future__ import annotations

import shlex
from dataclasses import replace

import pytest
from report_doubles import case, run

from pytest_flperf.options import OPTIONS
from pytest_flperf.report.rerun import NOT_REPEATED, SWITCHES, rerun_command


@pytest.mark.parametrize(
    ("command", "kept"),
    [
        ("--flperf-suite=s", ""),
        ("--flperf-suite s -k short -x tests/", ""),
        ("--flperf-iterations=3 --flperf-no-stream -v", "--flperf-iterations=3 --flperf-no-stream"),
        ("--flperf-budget 'tps.p50 >= 3' -n 1", "--flperf-budget 'tps.p50 >= 3'"),
        ("--flperf-html=a.html --flperf-csv b.csv --flperf-model m", "--flperf-model m"),
        (
            "-c my.ini --rootdir=x -p no:randomly --flperf-timeout",
            "-c my.ini --rootdir=x -p no:randomly --flperf-timeout",
        ),
    ],
)
def test_options_that_change_a_measurement_stay(command: str, kept: str) -> None:
    """What selects cases or names files is left out."""
    it = run(command=("pytest", *shlex.split(command)))
    assert rerun_command(it, it.cases[0]) == f"pytest 's::short[m]' {kept}".strip()


def test_calls_within_a_test() -> None:
    """The second call of the fixture runs again with its test."""
    assert rerun_command(run(), case(nodeid="test_x.py::test_me #2")) == "pytest test_x.py::test_me"


def test_quoted_for_the_machine() -> None:
    """For a shell, or for Windows."""
    it = run(command=("pytest", "--flperf-budget=tps.p50 >= 3"))
    assert it.host is not None
    assert "'--flperf-budget=tps.p50 >= 3'" in rerun_command(it, it.cases[0])
    windows = replace(it, host=replace(it.host, os="Windows 11"))
    assert '"--flperf-budget=tps.p50 >= 3"' in rerun_command(windows, it.cases[0])


def test_knows_the_options() -> None:
    """Options without a value, and those that are not repeated, are those of the plugin."""
    assert {option.flag for option in OPTIONS if option.switch} == SWITCHES
    assert {option.flag for option in OPTIONS} >= NOT_REPEATED
