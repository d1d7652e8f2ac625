"""One verdict, pytest's, wherever people and programs read of a run."""

from __future__ import annotations

import csv
import json
import sys
import xml.etree.ElementTree as ET
from dataclasses import dataclass

import jsonschema
import pytest
import sqlalchemy
from plugin_compat import WORKERS, invite
from tiny_runs import Done, Tiny

from pytest_flperf import cli
from pytest_flperf.results.records import load_schema

assert sqlalchemy  # a run in this process must not be the first to import it: pytester would forget it again

MISSED = {"budgets": ["ttft_ms.max <= 0.001"]}


@dataclass(frozen=True)
class Situation:
    """What a conftest does to a suite of one case, and what must be said of it."""

    conftest: str
    exit_code: int
    status: str
    outcome: str
    words: str
    """In the case's message."""
    scenario: tuple[tuple[str, tuple[str, ...]], ...] = ()
    options: tuple[str, ...] = ()


def fixture(*body: str) -> str:
    """A conftest with a fixture that every test has."""
    return "\n    ".join(["import pytest\n@pytest.fixture(autouse=True)\ndef around():", *body])


def marked(mark: str) -> str:
    """A conftest that marks every test."""
    adding = f"    for item in items:\n        item.add_marker(pytest.mark.{mark})"
    return f"import pytest\ndef pytest_collection_modifyitems(items):\n{adding}"


MISS = (("budgets", ("ttft_ms.max <= 0.001",)),)
SITUATIONS = {
    "met": Situation("", 0, "passed", "passed", ""),
    "missed": Situation("", 1, "failed", "failed", "missed ttft_ms.max", MISS),
    "set-up fails": Situation(
        fixture("raise OSError('no db')"), 1, "not_measured", "error", "not measured: set-up failed: OSError: no db"
    ),
    "set-up skips": Situation(
        fixture("pytest.skip('not here')"), 0, "not_measured", "skipped", "not measured: not here"
    ),
    "teardown fails": Situation(
        fixture("yield", "raise OSError('tidy')"), 1, "error", "error", "teardown failed: OSError: tidy"
    ),
    "skip mark": Situation(marked("skip(reason='later')"), 0, "not_measured", "skipped", "not measured: later"),
    "xfail, missed": Situation(
        marked("xfail(reason='slow')"), 0, "passed", "xfailed", "expected to fail (slow): ", MISS
    ),
    "xfail, met": Situation(marked("xfail(reason='slow')"), 0, "passed", "xpassed", ""),
    "xfail, strict, met": Situation(
        marked("xfail(reason='slow', strict=True)"), 1, "failed", "failed", "[XPASS(strict)] slow"
    ),
    "xfail, not run": Situation(
        marked("xfail(reason='slow', run=False)"), 0, "not_measured", "xfailed", "not measured: expected to fail"
    ),
    "set up only": Situation(
        "", 0, "not_measured", "skipped", "the test was set up and not run", (), ("--setup-only",)
    ),
    "call swallowed": Situation(
        "import pytest\n@pytest.hookimpl(tryfirst=True)\ndef pytest_pyfunc_call(): return True",
        0, "not_measured", "skipped", "the test passed without a measurement",
    ),
}  # fmt: skip
WORD = {
    "passed": "PASSED", "failed": "FAILED", "error": "ERROR", "not_measured": "NOT MEASURED",
    "interrupted": "INTERRUPTED",
}  # fmt: skip
HEARD = """
import pathlib
def pytest_flperf_run_finished(config, run, folder):
    pathlib.Path("heard.txt").write_text(run.status)
"""


def surfaces(tiny: Tiny, done: Done, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """The status that each place shows, in the words of ``results.json``."""
    said = {word: status for status, word in WORD.items()}
    report = done.report
    (line,) = [
        each for each in done.lines if each.startswith("flperf: ") and each.split(": ")[1].split(" (")[0] in said
    ]
    found = {"terminal": said[line.split(": ")[1].split(" (")[0]]}
    found["results.json"] = done.results["run"]["status"]
    found["--flperf-json"] = json.loads((tiny.folder / "out.json").read_text(encoding="utf-8"))["run"]["status"]
    page = (report / "report.html").read_text(encoding="utf-8")
    title = page.partition("<title>")[2].partition("</title>")[0]
    found["title of the page"] = said[title.partition(": ")[0].split(" (")[0]]
    head = page.partition('<h1 class="said"><span class="verdict ')[2].partition("</span>")[0].partition(">")[2]
    found["page"] = said[head.split(" (")[0]]
    first = (tiny.folder / "summary.md").read_text(encoding="utf-8").splitlines()[0]
    found["job summary"] = said[first.partition("flperf: ")[2].split(" &#40;")[0].split(" (")[0]]
    (suite,) = ET.parse(tiny.folder / "junit.xml").iter("testsuite")
    (junit,) = [each for each in suite.iter("property") if each.get("name") == "flperf.status"]
    found["JUnit"] = str(junit.get("value"))
    found["hook"] = (tiny.folder / "heard.txt").read_text(encoding="utf-8")
    rows = list(csv.DictReader((tiny.folder / "out.csv").read_text(encoding="utf-8").splitlines()))
    found |= {f"CSV {number}": row["run_status"] for number, row in enumerate(rows)}
    capsys.readouterr()
    assert cli.main(["history", "--json"]) == 0
    found["history"] = json.loads(capsys.readouterr().out)[0]["status"]
    assert cli.main(["history"]) == 0
    assert WORD[done.results["run"]["status"]].lower() in capsys.readouterr().out
    assert cli.main(["show", done.results["run"]["id"]]) == 0
    assert line in capsys.readouterr().out.splitlines()
    return found


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(
    ("name", "workers"),
    [
        *((name, ()) for name in SITUATIONS),
        *((name, ("-n1",)) for name in ("set-up fails", "set-up skips", "teardown fails", "xfail, missed")),
    ],
)
def test_one_word(
    tiny: Tiny,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    workers: tuple[str, ...],
) -> None:
    """Every place has the run's status and the case's outcome; pytest's exit code is what it is without us."""
    it = SITUATIONS[name]
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tiny.folder / "summary.md"))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    tiny.suite(dict(it.scenario))
    tiny.pytester.makeconftest(HEARD + it.conftest)
    options = (
        "--flperf-json=out.json",
        "--flperf-csv=out.csv",
        "--junitxml=junit.xml",
        "--flperf-code-quality=cq.json",
    )
    done = tiny.run(*workers, "--flperf-suite=tiny.json", *tiny.at, *options, *it.options)
    assert done.ret == it.exit_code, done.text
    assert surfaces(tiny, done, capsys) == dict.fromkeys(surfaces(tiny, done, capsys), it.status)
    jsonschema.validate(done.results, load_schema())
    assert done.case["outcome"] == it.outcome
    assert it.words in done.case["message"]
    assert bool(it.words) == bool(done.case["message"])
    red = it.exit_code != 0
    assert any(line.startswith("::error ") for line in done.lines) == red
    quality = json.loads((tiny.folder / "cq.json").read_text(encoding="utf-8"))
    assert bool(quality) == (it.status != "passed")
    page = (done.report / "report.html").read_text(encoding="utf-8")
    for text in (page, (tiny.folder / "summary.md").read_text(encoding="utf-8")):
        assert ("it was met" in text) == (it.outcome in ("passed", "xpassed"))
        assert "Every budget was met" not in text


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize(
    ("body", "outcomes", "status"),
    [
        ("with pytest.raises(pytest.fail.Exception): flperf.run(**MISSED)", ["xfailed"], "passed"),
        ("with contextlib.suppress(BaseException): flperf.run(**MISSED)\n    flperf.run(**GOOD)", ["xfailed", "passed"],
         "passed"),
        ("flperf.run(**GOOD)\n    flperf.run(**MISSED)", ["passed", "failed"], "failed"),
        ("flperf.run(**MISSED, check=False)", ["passed"], "passed"),
        ("flperf.run(**GOOD)\n    assert 0, 'mine'", ["failed"], "failed"),
        ("flperf.run(**GOOD)\n    pytest.skip('enough')", ["skipped"], "not_measured"),
        ("assert 0, 'before'", ["failed"], "not_measured"),
        ("pytest.skip('none')", ["skipped"], "not_measured"),
        ("flperf.model", [], "not_measured"),
    ],
    ids=["raises", "suppress", "second", "check", "assert", "skip", "before", "skips", "unused"],
)  # fmt: skip
def test_own_test(tiny: Tiny, workers: tuple[str, ...], body: str, outcomes: list[str], status: str) -> None:
    """A test with the fixture: pytest's verdict is ours, and its cases are shown as what they are."""
    if workers == ("-n1",) and "suppress" not in body and "before" not in body:
        pytest.skip("the same path as the other two")
    values = f"GOOD = dict(prompt='Hi', iterations=1, warmup=0, max_tokens=2)\nMISSED = dict(GOOD, **{MISSED})\n"
    tiny.pytester.makepyfile(test_mine=f"import contextlib\nimport pytest\n{values}def test_me(flperf):\n    {body}\n")
    done = tiny.run(*workers, *tiny.at)
    counts = done.counts
    assert ("failed" in counts) == ("failed" in outcomes), done.text
    assert [case["outcome"] for case in done.cases] == outcomes
    assert done.results["run"]["status"] == status
    assert f"flperf: {WORD[status]}" in done.text
    if "xfailed" in outcomes:
        assert done.cases[0]["message"].startswith("expected by the test, which passed: test_me on reference: missed")


def test_run_budget_counts_what_pytest_reported(tiny: Tiny) -> None:
    """Set-up and teardown included; where every case was skipped there is nothing to judge."""
    budget = "--flperf-budget=run.cases_failed <= 0"
    for number, text in enumerate((fixture("assert 0"), fixture("yield", "assert 0"))):
        tiny.pytester.makeconftest(text)
        done = tiny.measure(budget)
        (verdict,) = done.results["run"]["budgets"]
        assert (verdict["met"], verdict["value"], verdict["n"]) == (False, 1, 1), number
    tiny.pytester.makeconftest(fixture("pytest.skip('no')"))
    done = tiny.measure(budget)
    assert (done.ret, done.results["run"]["budgets"]) == (0, [])


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("where", ["set-up", "teardown"])
def test_rerun_after_an_error_around_the_test(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, workers: tuple[str, ...], where: str
) -> None:
    """pytest-rerunfailures: the earlier try is counted and told, whichever phase failed."""
    invite(monkeypatch, "rerunfailures")
    once = "flag = pathlib.Path('seen')\n    if not flag.exists(): flag.touch(); raise OSError('once')"
    body = (once, "yield") if where == "set-up" else ("yield", once)
    tiny.suite()
    tiny.pytester.makeconftest("import pathlib\n" + fixture(*body))
    done = tiny.run("--flperf-suite=tiny.json", *tiny.at, "--reruns=1", *workers)
    assert done.ret == 0, done.text
    assert (done.case["outcome"], done.case["reruns"]) == ("passed", 1)
    assert done.case["notes"][-1].startswith("an earlier try: error. ")
    assert done.case["notes"][-1].endswith(f"{where} failed: OSError: once")
    assert "flperf: PASSED: 1 passed, 1 rerun" in done.lines


@pytest.mark.parametrize("phase", ["pytest_runtest_setup", "pytest_runtest_call", "pytest_runtest_teardown"])
def test_crashed_worker(tiny: Tiny, phase: str) -> None:
    """Pytest reports a failure and goes on with another worker; so do we, also where nothing was heard before."""
    tiny.suite({"name": "a"}, {"name": "b"})
    tiny.pytester.makeconftest(f"import os\ndef {phase}(item):\n    if '::a[' in item.nodeid: os._exit(3)")
    done = tiny.run("--flperf-suite=tiny.json", *tiny.at, "-n1")
    assert done.ret == pytest.ExitCode.TESTS_FAILED, done.text
    found = {case["scenario"]: case for case in done.cases}
    assert {name: case["outcome"] for name, case in found.items()} == {"a": "failed", "b": "passed"}
    assert "worker 'gw0' crashed while running" in found["a"]["message"]
    assert done.results["run"]["status"] == "failed"


STOP = "import pytest\ndef pytest_runtest_{phase}(item):\n    if '::b[' in item.nodeid: {what}"


@pytest.mark.parametrize(
    ("phase", "what", "status", "ret"),
    [
        ("setup", "pytest.exit('enough', returncode=0)", "interrupted", 0),
        ("call", "pytest.exit('enough')", "interrupted", 2),
        ("teardown", "raise KeyboardInterrupt", "interrupted", 2),
        ("teardown", "item.session.shouldstop = 'enough'", "interrupted", 2),
        ("teardown", "item.session.shouldfail = 'enough'", "interrupted", 1),
        ("call", "raise SystemExit(3)", "failed", 1),
    ],
)
def test_stopped(tiny: Tiny, phase: str, what: str, status: str, ret: int) -> None:
    """A session that does not come to its end is no pass, whatever stopped it and whatever its exit code is."""
    tiny.suite({"name": "a"}, {"name": "b"}, {"name": "c"})
    tiny.pytester.makeconftest(STOP.format(phase=phase, what=what))
    run = tiny.run_apart if "KeyboardInterrupt" in what else tiny.run  # it would end this session as well
    done = run("--flperf-suite=tiny.json", *tiny.at)
    assert done.ret == ret, done.text
    assert done.results["run"]["status"] == status
    assert "flperf: PASSED" not in done.text


def test_stopped_after_a_failure(tiny: Tiny) -> None:
    """``-x``: how many tests were not run is said."""
    tiny.suite({"name": "a", **MISSED}, {"name": "b"}, {"name": "c"})
    done = tiny.measure("-x")
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    assert done.results["run"]["status"] == "failed"
    assert "flperf: 2 of 3 tests were not run: the run stopped before them" in done.lines


@pytest.mark.parametrize("workers", WORKERS)
def test_what_can_not_be_collected(tiny: Tiny, workers: tuple[str, ...]) -> None:
    """Nobody knows what such a file would have measured: an error of the run, though every case passed."""
    tiny.suite()
    tiny.pytester.makepyfile(test_broken="raise OSError('broken')")
    asked = ("--flperf-suite=tiny.json", "test_broken.py", *tiny.at, "--tb=no")
    for option, ret, status in (
        ((), pytest.ExitCode.INTERRUPTED, "not_measured"),
        (("--continue-on-collection-errors",), pytest.ExitCode.TESTS_FAILED, "error"),
    ):
        if workers == ("-n1",) and not option:
            continue  # workers of xdist go on in any case
        done = tiny.run(*workers, *asked, *option)
        assert done.ret == ret, done.text
        assert done.results["run"]["status"] == status
        (fault,) = done.results["run"]["faults"]
        assert fault.startswith("test_broken.py could not be collected: OSError: broken")


def test_reasons_are_harmless(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a fixture raises is bounded, in one line, free of control characters and of our keys."""
    monkeypatch.setenv("MY_KEY", "sk-abcdefghijklmnop0123456789")
    tiny.suite()
    text = "'\\x1b[31m' + 'sk-abcdefghijklmnop0123456789' + 'y' * 5000 + '\\nsecond line'"
    tiny.pytester.makeconftest(fixture(f"raise OSError({text})"))
    done = tiny.run("--flperf-suite=tiny.json", *tiny.at, "--flperf-api-key-env=MY_KEY", "--tb=no")
    message = done.case["message"]
    assert message.startswith("not measured: set-up failed: OSError: \\x1b[31m***")
    assert len(message) < 400
    assert message.isprintable()


def test_the_command_line_of_another_python(tiny: Tiny) -> None:
    """``flperf show`` of a run of nothing says so, in a process of its own as well."""
    tiny.suite()
    assert tiny.measure("-k", "nothing").ret == pytest.ExitCode.NO_TESTS_COLLECTED
    found = tiny.pytester.run(sys.executable, "-m", "pytest_flperf.cli", "show", "latest")
    assert "flperf: NOT MEASURED: no case was run" in found.outlines
