"""pytest-benchmark: the requests' end-to-end times are its rounds, where somebody asks it for something."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import Done, RecordingServer, Tiny

from pytest_flperf.integration.benchmark_bridge import ReplayTimer

TABLE = "Name (time in"


def benchmarks(path: Path) -> list[dict[str, Any]]:
    """The benchmarks of a JSON file of its."""
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["benchmarks"]
    return found


def e2e_s(done: Done, nodeid: str) -> list[float]:
    """The truth, from the samples, in seconds."""
    return [
        (sample["last_token_ns"] - sample["sent_ns"]) / 1e9
        for sample in done.journal("samples.jsonl")
        if sample["phase"] == "measured" and sample["outcome"] == "ok" and sample["nodeid"] == nodeid
    ]


@pytest.mark.parametrize("way", [(), ("-n0",), ("--benchmark-only",), ("-W", "error::pytest.PytestWarning")])
def test_json(tiny: Tiny, way: tuple[str, ...]) -> None:
    """A benchmark for each case: rounds, group, extra_info; its table is shown as well."""
    tiny.suite({"iterations": 7}, {"name": "two", "iterations": 3, "stream": False})
    done = tiny.measure("--benchmark-json=b.json", *way)
    assert done.ret == 0, done.text
    assert TABLE in done.text
    found = benchmarks(tiny.folder / "b.json")
    assert [each["fullname"] for each in found] == [case["nodeid"] for case in done.cases]
    assert [each["group"] for each in found] == ["one", "two"]
    first = found[0]
    assert first["stats"]["rounds"] == 7
    assert sorted(first["stats"]["data"]) == pytest.approx(sorted(e2e_s(done, first["fullname"])))
    assert first["extra_info"]["ttft_ms.p50"] == pytest.approx(done.cases[0]["metrics"]["ttft_ms"]["p50"])
    assert found[1]["stats"]["rounds"] == 3


@pytest.mark.parametrize("way", [(), ("-p", "no:benchmark"), ("--benchmark-disable",), ("--benchmark-skip",)])
def test_unasked(tiny: Tiny, way: tuple[str, ...]) -> None:
    """Nobody asks it for anything, or it is not there: the suite runs, and its table stays away."""
    done = tiny.measure(*way)
    assert done.ret == 0, done.text
    assert done.case["outcome"] == "passed"
    assert TABLE not in done.text


ASKED = (
    ("--benchmark-json=b.json",),
    ("--benchmark-save=x",),
    ("--benchmark-autosave",),
    ("--benchmark-histogram=h",),
    ("--benchmark-compare",),
)
ITS_WARNINGS = ("-W", "ignore")
"""It warns as well where nothing is written or compared; what our runs make errors of."""


@pytest.mark.parametrize("asked", ASKED, ids=" ".join)
@pytest.mark.parametrize("off", ["--benchmark-disable", "--benchmark-skip"])
def test_switched_off(tiny: Tiny, asked: tuple[str, ...], off: str) -> None:
    """Switched off and asked at once: off; the suite runs and is judged, and a line says that no case is written."""
    tiny.suite({"budgets": ["e2e_ms.p50 <= 0.001"]})
    for more in ((), ("-q",)):
        done = tiny.measure(off, *asked, *more, *ITS_WARNINGS)
        assert done.ret == pytest.ExitCode.TESTS_FAILED, done.text
        (line,) = [line for line in done.lines if line.endswith(f"because of {off}")]
        assert line.startswith(f"flperf: {asked[0].partition('=')[0]}")


def test_switched_on_again(tiny: Tiny) -> None:
    """``--benchmark-enable`` and ``--benchmark-only`` win over what switches off, as they do in pytest-benchmark."""
    for off, on in (("--benchmark-disable", "--benchmark-enable"), ("--benchmark-skip", "--benchmark-only")):
        done = tiny.measure(off, on, "--benchmark-json=b.json")
        assert done.ret == 0, done.text
        assert "because of" not in done.text
        assert len(benchmarks(tiny.folder / "b.json")) == 1
        (tiny.folder / "b.json").unlink()


@pytest.mark.parametrize("asked", [*ASKED, ("--benchmark-enable",)], ids=" ".join)
@pytest.mark.parametrize("workers", [("-n1",), ("-n", "1"), ("--dist=each", "--tx=popen"), ("--dist=load",)])
def test_under_xdist(tiny: Tiny, asked: tuple[str, ...], workers: tuple[str, ...]) -> None:
    """It switches itself off there: a file that there won't be is refused before anything is measured."""
    tiny.suite()
    message = tiny.refused("--flperf-suite=tiny.json", *tiny.at, *workers, *asked, *ITS_WARNINGS)
    assert asked[0].partition("=")[0] in message
    assert "-n 0" in message


def test_under_xdist_and_not_asked(tiny: Tiny) -> None:
    """A worker that measures for nobody's file, or for one that was switched off, measures."""
    for off in ((), ("--benchmark-disable", "--benchmark-json=b.json")):
        done = tiny.run("--flperf-suite=tiny.json", *tiny.at, "-n1", *off) if tiny.suite() else None
        assert done is not None
        assert done.ret == 0, done.text
        assert done.case["outcome"] == "passed"
        assert ("because of --benchmark-disable" in done.text) == bool(off)


def test_an_option_at_the_end_takes_no_suite(tiny: Tiny) -> None:
    """``--benchmark-compare`` may have a value: the suite is none, and the folder's tests don't run in its place."""
    tiny.suite()
    tiny.pytester.makepyfile(test_mine="def test_me(): pass")
    done = tiny.run("--co", "-q", *ITS_WARNINGS, "--flperf-suite=tiny.json", *tiny.at, "--benchmark-compare")
    assert done.ids == ["tiny.json::one[reference]"]


def test_a_missed_budget(tiny: Tiny) -> None:
    """The case fails, and its rounds are there."""
    tiny.suite({"iterations": 4, "budgets": ["e2e_ms.p50 <= 0.001"]})
    done = tiny.measure("--benchmark-json=b.json")
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    assert "missed e2e_ms.p50" in done.case["message"]
    (found,) = benchmarks(tiny.folder / "b.json")
    assert found["stats"]["rounds"] == 4


def test_no_good_request(tiny: Tiny) -> None:
    """Nothing to replay: the case fails as ever, without a word of the fixture that nobody used."""
    tiny.suite({"iterations": 2})
    with RecordingServer(lambda _: "no", after=1) as server:
        options = ("--benchmark-enable", "-W", "error::pytest.PytestWarning")
        done = tiny.run("--flperf-suite=tiny.json", *server.at, *options)
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    assert "not used" not in done.text
    assert "1 failed" in done.counts
    assert "error" not in done.counts


def test_save_compare_and_fail(tiny: Tiny) -> None:
    """Saved, compared, and failed where the second run is slower than allowed."""
    tiny.suite({"iterations": 3})
    assert tiny.measure("--benchmark-save=before").ret == 0
    again = tiny.measure("--benchmark-compare=0001", "--benchmark-compare-fail=median:100000%")
    assert again.ret == 0, again.text
    assert "(0001_before)" in again.text
    (saved,) = (tiny.folder / ".benchmarks").glob("*/0001_before.json")
    data = json.loads(saved.read_text(encoding="utf-8"))
    data["benchmarks"][0]["stats"]["min"] = 1e-9
    saved.write_text(json.dumps(data), encoding="utf-8")
    result = tiny.pytester.runpytest_subprocess(
        "--flperf-suite=tiny.json", *tiny.at, "--benchmark-compare=0001", "--benchmark-compare-fail=min:5%"
    )
    assert result.ret != 0
    assert "Performance has regressed" in result.stdout.str() + result.stderr.str()


def test_histogram(tiny: Tiny) -> None:
    """A histogram is drawn."""
    tiny.suite({"iterations": 3}, {"name": "two", "iterations": 3})
    result = tiny.pytester.runpytest_subprocess("--flperf-suite=tiny.json", *tiny.at, "--benchmark-histogram=h")
    assert result.ret == 0, result.stdout.str()
    assert list(tiny.folder.glob("h*.svg"))


def test_the_timer() -> None:
    """Pairs of 0 and a duration, then 0 for ever."""
    timer = ReplayTimer()
    timer.load([1.5, 2.5])
    assert [timer() for _ in range(6)] == [0.0, 1.5, 0.0, 2.5, 0.0, 0.0]
