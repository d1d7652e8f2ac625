"""``flperf calibrate``, and the short calibration before a load of many streams."""

from __future__ import annotations

import json

import jsonschema
import pytest
from tiny_runs import Tiny

from pytest_flperf import cli
from pytest_flperf.measurement import calibration_loads as probes
from pytest_flperf.results.records import load_schema


def test_the_command(tiny: Tiny, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A row per load, in a terminal of 80 columns; the same as JSON."""
    done = tiny.command("calibrate", "--concurrency", "12", "--rate", "30")
    text = done.stdout.str()
    assert done.ret == 0, done.stderr.str()
    assert "12 streams" in text
    assert "poisson 30/s" in text
    assert all(len(line) <= 80 for line in text.splitlines())
    tiny.suite({"concurrency": 16}, {"name": "two", "load": "poisson", "rate": 25})
    monkeypatch.chdir(tiny.folder)
    monkeypatch.setattr(probes, "_SECONDS", 1.0)  # in place of five for the open loop
    capsys.readouterr()
    assert cli.main(["calibrate", "tiny.json", "--processes", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    loads = [each["load"] for each in found]
    assert [(each["shape"], each["concurrency"], each["rate"], each["processes"]) for each in loads] == [
        ("closed", 16, None, 2),
        ("poisson", 1, 25, 2),
    ]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--concurrency", "0"), "--concurrency: found 0, expected a whole number from 1 to 1,000"),
        (("--rate", "-1"), "--rate: found -1.0, expected a number from"),
        (("--processes", "99"), "--processes: found 99, expected a whole number from 1 to 64"),
        (("nosuch",), "nosuch"),
    ],
)
def test_loads_that_are_none(tiny: Tiny, arguments: tuple[str, ...], problem: str) -> None:
    """One message and exit 4."""
    done = tiny.command("calibrate", *arguments)
    assert done.ret == 4
    assert problem in done.stderr.str()
    assert "Traceback" not in done.stderr.str()


def test_before_many_streams(tiny: Tiny) -> None:
    """Once for each load of more than 16 streams, in the results and under the table."""
    tiny.suite(
        {"concurrency": 17, "iterations": 20}, {"name": "two", "concurrency": 17, "iterations": 20}, {"name": "few"}
    )
    done = tiny.measure()
    assert done.ret == 0, done.text
    jsonschema.validate(done.results, load_schema())
    one, two, few = done.cases
    assert one["calibration"] == two["calibration"]
    assert one["calibration"]["load"]["concurrency"] == 17
    assert few["calibration"] is None
    assert done.text.count("client at 17 streams: says TTFT p99 ") == 1
