"""Pytest's own options: selecting, collecting offline, running again what failed, stopping early."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from plugin_compat import WORKERS, invite
from tiny_runs import Done, RecordingServer, Tiny

MISSED = {"budgets": ["ttft_ms.max <= 0.001"]}
FOUR = ({"name": "a", "tags": ["slow"]}, {"name": "b", **MISSED}, {"name": "c", **MISSED}, {"name": "d"})

AUDIT = """
import json, pathlib, sys

HERE = pathlib.Path(__file__).parent
EVENTS = []
WATCHED = ("subprocess.", "os.fork", "os.exec", "os.posix_spawn", "os.spawn", "os.system", "os.startfile", "socket.")


def watch(event, arguments):
    if event.startswith(WATCHED):
        EVENTS.append([event, repr(arguments)[:200]])


sys.addaudithook(watch)


def pytest_unconfigure():
    heavy = ("openai", "foundry_local_sdk", "onnxruntime", "psutil")
    loaded = [name for name in heavy if name in sys.modules]
    (HERE / "audit.json").write_text(json.dumps({"events": EVENTS, "loaded": loaded}))
"""


def _names(done: Done) -> list[str]:
    return [case["scenario"] for case in done.cases]


def _collected(done: Done) -> list[str]:
    return [each.partition("::")[2].partition("[")[0] for each in done.ids]


def _audited(tiny: Tiny, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[Done, dict[str, Any]]:
    """A run whose child processes and sockets are written down, and what was imported."""
    (tiny.folder / "auditing.py").write_text(AUDIT, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tiny.folder), os.environ.get("PYTHONPATH", "")]))
    others = [
        f"-pno:{name}" for name in ("benchmark", "anyio", "hypothesispytest", "xdist", "timeout", "html_fixtures")
    ]
    done = tiny.run_apart("-p", "auditing", *others, *arguments)
    seen: dict[str, Any] = json.loads((tiny.folder / "audit.json").read_text(encoding="utf-8"))
    return done, seen


@pytest.mark.parametrize("models", ["flperf-nano", "qwen2.5-0.5b", "no-such-model"])
def test_collecting_is_offline(tiny: Tiny, monkeypatch: pytest.MonkeyPatch, models: str) -> None:
    """``--co`` starts no process, opens no socket, imports neither runtime nor client, whatever the model is."""
    tiny.suite(*FOUR)
    done, seen = _audited(tiny, monkeypatch, "--flperf-suite=tiny.json", f"--flperf-model={models}", "--co", "-q")
    assert done.ret == 0, done.text
    assert done.ids == [f"tiny.json::{name}[{models}]" for name in "abcd"]
    assert seen == {"events": [], "loaded": []}
    assert not (tiny.folder / "reports").exists()


def test_the_audit_sees_what_a_run_starts(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof above can fail: measuring starts processes and opens sockets, and the audit sees it."""
    tiny.suite()
    done, seen = _audited(tiny, monkeypatch, "--flperf-suite=tiny.json", "--flperf-model=flperf-nano")
    assert done.ret == 0, done.text
    assert "psutil" in seen["loaded"]
    assert {"subprocess.Popen", "socket.connect"} <= {event for event, _ in seen["events"]}


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (("-k", "a or d"), ["a", "d"]),
        (("-k", "a or d", "-n1"), ["a", "d"]),
        (("-k", "slow"), ["a"]),
        (("-k", "tiny and (a[ref or d[ref)"), ["a", "d"]),
        (("--deselect", "tiny.json::b", "--deselect", "tiny.json::c[reference]"), ["a", "d"]),
    ],
)
def test_selecting(tiny: Tiny, options: tuple[str, ...], names: list[str]) -> None:
    """``-k`` and ``--deselect`` measure what they select and nothing else."""
    tiny.suite(*FOUR)
    done = tiny.run("--flperf-suite=tiny.json", *tiny.at, *options)
    assert done.ret == 0, done.text
    assert _names(done) == names


@pytest.mark.parametrize(("mark", "suite", "mine"), [("flperf", True, False), ("not flperf", False, True)])
def test_marker(tiny: Tiny, mark: str, suite: bool, mine: bool) -> None:
    """``-m flperf`` runs the cases only, ``-m 'not flperf'`` everything else, starts nothing and says so."""
    tiny.suite()
    tiny.pytester.makepyfile(test_mine="def test_me(): pass")
    with RecordingServer() as server:
        done = tiny.run("--flperf-suite=tiny.json", *server.at, "test_mine.py", "-m", mark, "--strict-markers", "-v")
        assert bool(server.bodies) == suite
    assert done.ret == 0, done.text
    assert ("tiny.json::one[m] PASSED" in done.text) == suite
    assert ("test_mine.py::test_me PASSED" in done.text) == mine
    assert ("flperf: NOT MEASURED" in done.text) == (not suite)


def test_last_failed_and_failed_first(tiny: Tiny) -> None:
    """``--lf`` measures what failed; ``--ff`` all, what failed at first."""
    tiny.suite(*FOUR)
    suite = ("--flperf-suite=tiny.json", *tiny.at)
    assert _names(tiny.run(*suite)) == ["a", "b", "c", "d"]
    assert _names(tiny.run(*suite, "--lf")) == ["b", "c"]
    assert _names(tiny.run(*suite, "--ff")) == ["b", "c", "a", "d"]
    tiny.suite(*({"name": name} for name in "abcd"))
    fixed = tiny.run(*suite, "--lf")
    assert (fixed.ret, _names(fixed)) == (0, ["b", "c"])
    assert len(tiny.run(*suite, "--lf").cases) == 4, "nothing failed last: all of them"


def test_new_first(tiny: Tiny) -> None:
    """``--nf`` knows suite files."""
    tiny.suite({"name": "a"})
    tiny.measure()
    tiny.suite({"name": "b"}, file="new.json")
    done = tiny.run("--flperf-suite=tiny.json", "--flperf-suite=new.json", *tiny.at, "--nf")
    assert done.ret == 0, done.text
    assert _names(done) == ["b", "a"]


def test_stepwise(tiny: Tiny) -> None:
    """``--sw`` stops at a failure and goes on from there."""
    tiny.suite(*FOUR)
    first = tiny.measure("--sw")
    assert first.ret == pytest.ExitCode.INTERRUPTED, "pytest's own way to say that it stopped"
    assert _names(first) == ["a", "b"]
    assert first.results["run"]["status"] == "failed"
    assert first.results["run"]["partial"] is False
    assert "flperf: FAILED: 1 passed, 1 failed" in first.lines
    assert _names(tiny.measure("--sw")) == ["b"]
    assert _names(tiny.measure("--sw", "--sw-skip")) == ["b", "c"]
    tiny.suite(*({"name": name} for name in "abcd"))
    assert _names(tiny.measure("--sw")) == ["c", "d"]


@pytest.mark.parametrize(
    ("option", "failed", "workers"),
    [("-x", 1, ()), ("--exitfirst", 1, ()), ("--maxfail=1", 1, ()), ("--maxfail=2", 2, ()), ("-x", 1, ("-n1",))],
)
def test_stopping(tiny: Tiny, workers: tuple[str, ...], option: str, failed: int) -> None:
    """``-x`` and ``--maxfail`` end the run after so many failures; what was measured is in the results."""
    tiny.suite(*FOUR, {"name": "e"}, {"name": "f"}, {"name": "g"})
    done = tiny.run(*workers, "--flperf-suite=tiny.json", *tiny.at, option)
    stopped_by_xdist = workers == ("-n1",)
    assert done.ret == (pytest.ExitCode.INTERRUPTED if stopped_by_xdist else pytest.ExitCode.TESTS_FAILED), done.text
    outcomes = [case["outcome"] for case in done.cases]
    assert outcomes[0] == "passed"
    assert outcomes.count("failed") == failed or stopped_by_xdist, "a worker has the next item already"
    assert "INTERRUPTED" not in done.text
    assert len(outcomes) < 7
    assert done.results["run"]["finished_at"] is not None
    assert done.results["run"]["status"] == "failed"


def test_a_printed_id_runs_again(tiny: Tiny) -> None:
    """Each id that a run prints is an argument that runs that case alone."""
    tiny.suite(*FOUR, matrix={"max_tokens": [2, 3]})
    first = tiny.run("--flperf-suite=tiny.json", *tiny.at, "-rA")
    printed = [line.split(" ")[1] for line in first.lines if line.startswith(("PASSED ", "FAILED "))]
    assert len(printed) == 8
    for each in printed[:2]:
        again = tiny.run(each, *tiny.at)
        assert [case["nodeid"] for case in again.cases] == [each]
    both = tiny.run(*printed[:2], *tiny.at)
    assert {case["nodeid"] for case in both.cases} == set(printed[:2])


@pytest.mark.parametrize("workers", WORKERS)
def test_addopts_of_the_environment(tiny: Tiny, monkeypatch: pytest.MonkeyPatch, workers: tuple[str, ...]) -> None:
    """A whole run can be asked for in PYTEST_ADDOPTS; the command line goes before it."""
    tiny.suite(*FOUR)
    asked = f"--flperf-suite=tiny.json {tiny.at[0]} {tiny.at[1]} --flperf-iterations=2 -k a"
    monkeypatch.setenv("PYTEST_ADDOPTS", f"{os.environ['PYTEST_ADDOPTS']} {asked}")
    done = tiny.run(*workers, "--flperf-iterations=3")
    assert done.ret == 0, done.text
    assert _names(done) == ["a"]
    assert done.case["requests"]["ok"] == 3


@pytest.mark.parametrize(
    "options",
    [
        ("-n1",),
        ("-p", "no:cacheprovider"),
        ("-p", "no:terminal"),
        ("--strict-markers",),
        ("-W", "error"),
        ("--strict-markers", "--strict-config", "-W", "error", "-p", "no:cacheprovider"),
    ],
)
def test_options_that_change_pytest(tiny: Tiny, options: tuple[str, ...]) -> None:
    """Verdict and results are the same under each of them."""
    tiny.suite(FOUR[0], FOUR[1])
    done = tiny.run("--flperf-suite=tiny.json", *tiny.at, *options)
    assert done.ret == pytest.ExitCode.TESTS_FAILED, done.text
    assert [case["outcome"] for case in done.cases] == ["passed", "failed"]
    assert "rror: " not in done.text.replace("UsageError", "")
    if "no:terminal" in options:
        assert "flperf" not in done.text.partition("Captured")[0].replace("running: ", "")
    else:
        assert "flperf: FAILED: 1 passed, 1 failed" in done.lines


def test_a_fixture_that_skips(tiny: Tiny) -> None:
    """A fixture of the user's that skips everything, and a plugin's skip mark, skip cases like any test."""
    tiny.suite({"name": "a"}, {"name": "b"})
    tiny.pytester.makeconftest(
        """
        import pytest
        @pytest.fixture(autouse=True)
        def not_here(request):
            if request.node.name.startswith("a"):
                pytest.skip("not on this machine")
        def pytest_collection_modifyitems(items):
            items[1].add_marker(pytest.mark.skip(reason="not today"))
        """
    )
    done = tiny.run("--flperf-suite=tiny.json", *tiny.at, "-rs")
    assert done.ret == 0, done.text
    assert "2 skipped" in done.counts
    assert "not on this machine" in done.text
    assert "not today" in done.text


def test_our_plugins_are_out_of_the_way_elsewhere(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of other tests have none of the plugins that tests invite."""
    assert "randomly-" not in tiny.run("--co").text
    invite(monkeypatch, "randomly")
    assert "randomly-" in tiny.run("--co").text
