"""``--flperf-baseline``, ``--flperf-require-baseline``, and gates on stored runs."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import Done, Tiny

from pytest_flperf.history import store
from pytest_flperf.history.place import StorePlace
from pytest_flperf.history.store import Store
from pytest_flperf.reference_server import Fault, FaultKind, ReferenceConfig, ReferenceServer, Schedule
from pytest_flperf.stats.inference import between_runs as runs

assert store  # here once: pytester forgets modules that a run in this process imported
assert runs

pytestmark = pytest.mark.usefixtures("stored", "no_ci")

_GATE = "--flperf-fail-on=ttft_ms.p50 > +10%"


def _server(ttft_ms: float) -> ReferenceServer:
    return ReferenceServer(ReferenceConfig(Schedule(ttft_ms=ttft_ms, itl_ms=0.5, tokens=4)), in_thread=True)


@pytest.fixture(scope="module")
def steady() -> Iterator[str]:
    """The URL of a server that takes so long that other work on this machine hardly shows."""
    with _server(60) as server:
        yield server.base_url


@pytest.fixture(scope="module")
def slow() -> Iterator[str]:
    """The URL of a server that takes seven times as long."""
    with _server(420) as server:
        yield server.base_url


def at(url: str) -> tuple[str, ...]:
    """Options to measure a server."""
    return "--flperf-suite=tiny.json", f"--flperf-base-url={url}", "--flperf-model=reference"


def against(done: Done) -> dict[str, Any]:
    """The only other side of the only case."""
    (found,) = done.case["against"]
    return dict(found)


def words(found: dict[str, Any]) -> dict[str, tuple[str, bool]]:
    """What came of each rule, and whether it fails."""
    return {each["rule"]: (each["verdict"], each["fails"]) for each in found["comparisons"]}


def history(tiny: Tiny) -> StorePlace:
    """The store of these runs."""
    path = tiny.folder / "reports" / "history.db"
    return StorePlace("sqlite", str(path), path)


def test_a_slower_run_fails(tiny: Tiny, slow: str, steady: str) -> None:
    """Against the last run by its single values, between-run spread from history; what differs stands beside it."""
    tiny.suite({"iterations": 11})
    before = [tiny.run(*at(steady)).report.name for _ in range(3)][-1]
    done = tiny.run(*at(slow), "--flperf-baseline=last", _GATE)
    assert done.ret == 1, done.text
    found = against(done)
    assert (found["kind"], found["run_id"]) == ("run", before)
    assert found["label"] == f"last ({found['run_id']})"
    assert words(found)["ttft_ms.p50 > +10%"] == ("regressed", True)
    (ttft,) = [each for each in found["comparisons"] if each["metric"] == "ttft_ms"]
    assert ttft["method"] == "block bootstrap of two runs"
    assert ttft["comparisons"] == 2
    assert ttft["change_pct"] > 100
    assert "ttft_ms.p50 regressed by +" in done.text
    assert "compared with last (" in done.text


def test_the_same_again_does_not_fail(tiny: Tiny) -> None:
    """Without a rule nothing fails; a gate of 1,000 % excludes what is not there, or stays undecided."""
    tiny.suite({"iterations": 11})
    first = tiny.measure()
    run_id = first.results["run"]["id"]
    plain = tiny.measure(f"--flperf-baseline={run_id}")
    assert plain.ret == 0, plain.text
    assert against(plain)["label"] == run_id
    assert not any(fails for _, fails in words(against(plain)).values())
    assert "nothing fails on it" in plain.text
    gated = tiny.measure("--flperf-baseline=last", "--flperf-fail-on=ttft_ms.p50 > +2000%")
    assert gated.ret == 0, gated.text
    assert words(against(gated))["ttft_ms.p50 > +2000%"][0] in ("unchanged", "undecided")


def test_undecided_fails_by_choice(tiny: Tiny) -> None:
    """Of eleven requests no p95 can be told."""
    tiny.suite({"iterations": 11})
    tiny.measure()
    rule = "--flperf-fail-on=ttft_ms.p95 > +5%"
    assert tiny.measure("--flperf-baseline=last", rule).ret == 0
    done = tiny.measure("--flperf-baseline=last", rule, "--flperf-fail-undecided")
    assert done.ret == 1, done.text
    assert words(against(done))["ttft_ms.p95 > +5%"] == ("undecided", True)


def test_a_candidate_that_fails_more_often(tiny: Tiny) -> None:
    """Errors where there were none are a regression, whatever budgets and latencies say."""
    tiny.suite({"iterations": 8, "budgets": ["error_rate <= 100%"]})
    tiny.measure()
    fault = Fault(FaultKind.HTTP_ERROR, status=500, every=4)
    config = ReferenceConfig(Schedule(ttft_ms=1, itl_ms=0.5, tokens=4), fault)
    with ReferenceServer(config, in_thread=True) as server:
        done = tiny.run(*at(server.base_url), "--flperf-baseline=last", "--flperf-fail-on=ttft_ms.p50 > +9000%")
    assert done.ret == 1, done.text
    assert words(against(done))["error_rate > +0%"] == ("regressed", True)


def test_no_run_yet(tiny: Tiny) -> None:
    """The first run has none: a note, and a refusal where one is required; a branch likewise."""
    tiny.suite()
    asked = ("--flperf-suite=tiny.json", *tiny.at, "--flperf-require-baseline")
    assert "--flperf-baseline: no earlier run of 'tiny.json'" in tiny.refused(*asked, "--flperf-baseline=last")
    assert "does not exist yet" in tiny.refused(*asked, "--flperf-baseline=branch:main")
    done = tiny.measure("--flperf-baseline=last", _GATE)
    assert done.ret == 0, done.text
    assert any("nothing is compared: no earlier run" in note for note in done.results["run"]["notes"])
    assert "flperf: nothing is compared" in done.text
    found = against(done)
    assert (found["label"], found["missing"], found["run_id"]) == ("last (nothing found)", "first", None)
    assert words(found) == {"ttft_ms.p50 > +10%": ("undecided", False)}
    done = tiny.measure("--flperf-baseline=branch:main")
    assert done.ret == 0, done.text
    assert "no run of branch 'main'" in done.text
    assert against(done)["missing"] == "first"


def test_a_branch_and_a_name(tiny: Tiny) -> None:
    """A run of the branch that is checked out, and one that was given a name."""
    subprocess.run(["git", "init", "-q", "-b", "main", str(tiny.folder)], check=True)
    tiny.measure()
    with Store(history(tiny)) as opened:
        (stored,) = opened.runs()
        opened.set_baseline("release", stored.id)
    for asked in ("branch:main", "release"):
        done = tiny.measure(f"--flperf-baseline={asked}")
        assert done.ret == 0, done.text
        assert against(done)["label"] == f"{asked} ({stored.id})"


def test_a_file(tiny: Tiny, tmp_path: Path) -> None:
    """Also without a store, with the samples beside it or by its summaries; another host is named."""
    tiny.suite({"iterations": 11})
    first = tiny.measure("--flperf-store=none")
    found = against(tiny.measure("--flperf-store=none", f"--flperf-baseline={first.report / 'results.json'}"))
    methods = {each["method"] for each in found["comparisons"] if each["metric"] == "ttft_ms"}
    assert methods == {"block bootstrap of two runs"}
    results = first.results
    results["cases"][0]["host"] = "elsewhere"
    alone = tmp_path / "alone.json"
    alone.write_text(json.dumps(results), encoding="utf-8")
    found = against(tiny.measure("--flperf-store=none", f"--flperf-baseline={alone}"))
    methods = {each["method"] for each in found["comparisons"] if each["metric"] == "ttft_ms"}
    assert methods == {"summaries of two runs"}
    assert any("measured on the host elsewhere" in note for note in found["notes"])


def test_what_differs(tiny: Tiny) -> None:
    """Another setting is said beside the numbers; ``last`` is a run under the same, and says what was others."""
    run_id = tiny.measure().report.name
    found = against(tiny.measure(f"--flperf-baseline={run_id}", "--flperf-max-tokens=3"))
    assert "setting max_tokens: 2 → 3" in found["differs"]
    found = against(tiny.measure("--flperf-baseline=last", "--flperf-max-tokens=4"))
    assert found["missing"] == "first"
    assert "under others: setting max_tokens: 3 → 4" in found["comparisons"][0]["reason"]
    assert against(tiny.measure("--flperf-baseline=last"))["run_id"] == run_id


def test_new_and_vanished(tiny: Tiny) -> None:
    """Cases of one side only are named; a required baseline that lacks a case fails it."""
    tiny.suite({}, {"name": "old"})
    first = tiny.measure().report.name
    tiny.suite({}, {"name": "fresh"})
    done = tiny.measure("--flperf-baseline=last")
    assert done.ret == 0, done.text
    notes = done.results["run"]["notes"]
    assert "new, not in the baseline: tiny.json::fresh[reference]" in notes
    assert any(note.startswith("only in the baseline") and note.endswith("tiny.json::old[reference]") for note in notes)
    done = tiny.measure(f"--flperf-baseline={first}", "--flperf-require-baseline")
    assert done.ret == 1, done.text
    outcomes = {case["scenario"]: (case["outcome"], case["message"]) for case in done.cases}
    assert outcomes["one"][0] == "passed"
    assert outcomes["fresh"][0] == "failed"
    assert "the baseline has no such case" in outcomes["fresh"][1].splitlines()[0]


def test_beside_another_side(tiny: Tiny, reference: ReferenceServer) -> None:
    """Both at once: two entries, the error rate shared between all comparisons, and how each was measured is said."""
    tiny.suite({"iterations": 4})
    run_id = tiny.measure().report.name
    done = tiny.measure(f"--flperf-baseline={run_id}", "--flperf-against=same", "--flperf-max-iterations=12")
    assert done.ret == 0, done.text
    pairs, run = done.case["against"]
    assert (pairs["kind"], run["kind"]) == ("pairs", "run")
    assert {each["comparisons"] for side in (pairs, run) for each in side["comparisons"]} == {6}
    assert "measured: alone → in turn with same" in run["differs"]
    for side in (pairs, run):
        both = side["sides"]["ttft_ms"]
        assert len(both["baseline"]) == side["metrics"]["ttft_ms"]["n"]
        assert len(both["candidate"]) == done.case["metrics"]["ttft_ms"]["n"]
    assert "Both sides: the baseline grey and dashed" in (done.report / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (("--flperf-baseline=nosuch",), "no run 'nosuch'"),
        (("--flperf-baseline=branch:",), "without a name"),
        (("--flperf-baseline=nosuch.json",), "there is no file"),
        (("--flperf-baseline=other.json",), "expected a results file of schema 'flperf.results/1'"),
        (("--flperf-baseline=branch:main", "--flperf-store=none"), "--flperf-store=none keeps none"),
        (("--flperf-baseline=release", "--flperf-store=none"), "no run 'release'"),
        (("--flperf-require-baseline",), "add --flperf-baseline=RUN"),
        (("--flperf-fail-on=ttft_ms.p50 > +10%",), "add --flperf-against=WHAT or --flperf-baseline=RUN"),
        (("--flperf-baseline=last", "--flperf-max-iterations=20"), "add --flperf-against=WHAT"),
        (("--flperf-baseline=last", "--flperf-fail-on=ttft_ms > 10"), "rule"),
    ],
)
def test_refused(tiny: Tiny, arguments: tuple[str, ...], wanted: str) -> None:
    """One message that names the fix, exit 4, before anything is measured."""
    tiny.suite()
    (tiny.folder / "other.json").write_text('{"schema": "flperf.results/9", "run": {}, "cases": []}', encoding="utf-8")
    assert wanted in tiny.refused("--flperf-suite=tiny.json", *tiny.at, *arguments)


@pytest.mark.parametrize("asked", ["last", "latest", "branch:main", "release", "2026"])
def test_a_store_that_cannot_be_read(tiny: Tiny, asked: str) -> None:
    """Whoever asks for a baseline is told, and nothing is measured."""
    tiny.suite()
    (tiny.folder / "bad.db").write_bytes(b"no database" * 200)
    (tiny.folder / "here").mkdir()
    (tiny.folder / "a-file").write_text("", encoding="utf-8")
    for place in ("bad.db", "here", "a-file/history.db"):
        asking = (f"--flperf-baseline={asked}", f"--flperf-store={place}")
        assert place in tiny.refused("--flperf-suite=tiny.json", *tiny.at, *asking)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("metrics.ttft_ms.p50", float("nan"), "metrics.ttft_ms.p50: found NaN, expected a finite number"),
        ("metrics.ttft_ms.max", 10**300, "metrics.ttft_ms.max: found 1000000"),
        ("metrics.ttft_ms.mean", -5.0, "metrics.ttft_ms.mean: found -5.0, expected from min"),
        ("requests.ok", -1, "requests.ok: found -1, expected a whole number 0 or more"),
        ("requests.ok", 2, "requests.total: found 1 of which 2 ok and 0 failed, expected the sum of both"),
        ("requests.late_reads", True, "requests.late_reads: found true, expected a whole number"),
        ("error_rate", float("inf"), "error_rate: found Infinity, expected a finite number"),
        ("error_rate", "0", 'error_rate: found "0", expected a number from 0 to 1'),
    ],
)
def test_a_file_that_no_run_can_have_written(tiny: Tiny, path: str, value: Any, said: str) -> None:
    """Refused with the place before anything is measured."""
    first = tiny.measure()
    results, report = first.results, first.report
    *way, last = path.split(".")
    found = results["cases"][0]
    for key in way:
        found = found[key]
    found[last] = value
    (tiny.folder / "base.json").write_text(json.dumps(results), encoding="utf-8")
    done = tiny.measure("--flperf-baseline=base.json", _GATE)
    assert done.ret == pytest.ExitCode.USAGE_ERROR, done.text
    assert f"cases[0].{said}" in done.text
    assert done.report == report, "nothing was measured"


def test_a_damaged_baseline_in_the_store(tiny: Tiny) -> None:
    """Refused before anything is measured; a store that breaks while the run measures costs it nothing."""
    first = tiny.measure().report.name
    path = history(tiny).path
    assert path is not None
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE flperf_documents SET content = x'00'")
    connection.close()
    for asked in ("last", "latest", first):
        done = tiny.measure(f"--flperf-baseline={asked}")
        assert done.ret == pytest.ExitCode.USAGE_ERROR, done.text
        assert "can't be read: its" in done.text
    path.write_bytes(b"no database" * 1000)
    done = tiny.measure("--flperf-budget=error_rate <= 0")
    assert done.ret == 0, done.text
    assert "the run is not in the store" in done.text
    assert done.case["outcome"] == "passed"


def test_latest_as_a_baseline(tiny: Tiny) -> None:
    """The newest run of folder and store, as for every command; ambiguity is refused with the candidates."""
    first = tiny.measure().report.name
    second = tiny.measure("--flperf-store=none").report.name
    done = tiny.measure("--flperf-baseline=latest")
    assert done.ret == 0, done.text
    assert against(done)["label"] == f"latest ({second})"
    done = tiny.measure("--flperf-baseline=20")
    assert done.ret == pytest.ExitCode.USAGE_ERROR, done.text
    assert "matches several runs" in done.text
    assert first in done.text


def test_own_tests(tiny: Tiny) -> None:
    """A test of one's own is compared by its node id; asked for in the ini file."""
    tiny.pytester.makepyfile(
        test_mine="def test_mine(flperf):\n    flperf.run(prompt='Hello', iterations=3, warmup=0, max_tokens=2)\n"
    )
    tiny.run(*tiny.at, "test_mine.py")
    done = tiny.run(*tiny.at, "-o", "flperf_baseline=last", "test_mine.py")
    assert done.ret == 0, done.text
    assert against(done)["label"].startswith("last (")


def test_rules_of_a_suite(tiny: Tiny, slow: str, steady: str) -> None:
    """Of a scenario, and of the whole suite, beside those of the command line; the verdict says who asked."""
    one = {"iterations": 11, "fail_on": "ttft_ms.p50 > +10%"}
    tiny.suite(one, {"name": "two", "iterations": 4}, fail_on=["o*: tpot_ms.p50 > +900%"])
    for _ in range(3):
        assert tiny.run(*at(steady)).ret == 0
    done = tiny.run(*at(slow), "--flperf-baseline=last", "--flperf-fail-on=two: e2e_ms.p50 > +99999%")
    assert done.ret == 1, done.text
    found = {case["scenario"]: case["against"][0] for case in done.cases}
    scopes = {
        name: {each["rule"]: each["scope"] for each in each_side["comparisons"]} for name, each_side in found.items()
    }
    assert scopes["one"] == {
        "o*: tpot_ms.p50 > +900%": "suite", "ttft_ms.p50 > +10%": "suite", "error_rate > +0%": "implied",
    }  # fmt: skip
    assert scopes["two"] == {"two: e2e_ms.p50 > +99999%": "--flperf-fail-on", "error_rate > +0%": "implied"}
    assert words(found["one"])["ttft_ms.p50 > +10%"] == ("regressed", True)
    assert {each["comparisons"] for side in found.values() for each in side["comparisons"]} == {5}


def test_rules_of_a_suite_in_turn(tiny: Tiny, slow: str, reference: ReferenceServer) -> None:
    """They hold for what is measured interleaved, too."""
    tiny.suite({"fail_on": "ttft_ms.p50 > +10%"})
    done = tiny.run(*at(slow), f"--flperf-against=base_url={reference.base_url}", "--flperf-max-iterations=30")
    assert done.ret == 1, done.text
    assert words(against(done))["ttft_ms.p50 > +10%"] == ("regressed", True)


@pytest.mark.parametrize(
    ("suite", "arguments", "wanted"),
    [
        ({"fail_on": "ttft_ms.p50 > 10"}, (), "tiny.json:"),
        (
            {"fail_on": ["ttft_ms.p50 > +10%", "nosuch.p50 > +1%"]},
            (),
            "fail_on[1]: rule 'nosuch.p50 > +1%': unknown",
        ),
        ({"fail_on": "on: ttft_ms.p50 > +10%"}, (), "expected the name of a scenario or a pattern of names"),
        ({"fail_on": 5}, (), "expected one rule or a list of them"),
        ({}, ("--flperf-baseline=last", "--flperf-fail-on=on: ttft_ms.p50 > +10%"), "--flperf-fail-on: rule"),
    ],
)
def test_refused_rules(tiny: Tiny, suite: dict[str, Any], arguments: tuple[str, ...], wanted: str) -> None:
    """With file, line and place."""
    tiny.suite(**suite)
    assert wanted in tiny.refused("--flperf-suite=tiny.json", *tiny.at, *arguments)
