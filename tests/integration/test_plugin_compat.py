"""Beside the plugins that people have installed."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest
from plugin_compat import WORKERS, enough_s, invite
from tiny_runs import RecordingServer, Tiny

from pytest_flperf.reference_server import Fault, FaultKind, ReferenceConfig, ReferenceServer

pytestmark = pytest.mark.slow

ALL = ("randomly", "random_order", "rerunfailures", "asyncio", "html", "metadata")
QUIET_ASYNCIO = ("-o", "asyncio_default_fixture_loop_scope=function")
MISSED = {"budgets": ["ttft_ms.max <= 0.001"]}


@pytest.mark.parametrize("workers", WORKERS)
def test_all_at_once(tiny: Tiny, monkeypatch: pytest.MonkeyPatch, workers: tuple[str, ...]) -> None:
    """With every one of them installed, and warnings as errors, the results are the same."""
    invite(monkeypatch, *ALL)
    tiny.suite({"name": "good", "iterations": 2}, {"name": "bad", **MISSED})
    done = tiny.run("--flperf-suite=tiny.json", *tiny.at, *QUIET_ASYNCIO, "-W", "error", *workers)
    assert done.ret == pytest.ExitCode.TESTS_FAILED, done.text
    for name in ("randomly", "random-order", "rerunfailures", "asyncio", "html", "timeout", "xdist"):
        assert re.search(rf"plugins: .*\b{name}-", done.text), name
    assert {case["scenario"]: case["outcome"] for case in done.cases} == {"good": "passed", "bad": "failed"}
    assert "1 failed, 1 passed" in done.counts


# ---- pytest-xdist


@pytest.mark.parametrize(
    "workers", [("-n2",), ("-n3", "--dist=loadscope"), ("--dist=load", "--tx=2*popen"), ("-n2", "--dist=each")]
)
def test_two_local_workers_are_refused(tiny: Tiny, workers: tuple[str, ...]) -> None:
    """More than one worker on this machine: exit 4 before anything is measured, with what to do."""
    tiny.suite()
    with RecordingServer() as server:
        done = tiny.run("--flperf-suite=tiny.json", *server.at, *workers)
        assert not server.bodies
    assert done.ret == pytest.ExitCode.USAGE_ERROR, done.text
    assert "use -n 1" in done.text
    assert not (tiny.folder / "reports").exists()


@pytest.mark.parametrize("workers", [("-n1",), ("-n", "auto"), ("-n", "logical"), ("-n1", "--dist=loadfile")])
def test_one_worker(tiny: Tiny, workers: tuple[str, ...]) -> None:
    """One worker measures; as many as there are processors becomes one where a suite runs."""
    tiny.suite({"name": "a"}, {"name": "b"})
    done = tiny.run("--flperf-suite=tiny.json", *tiny.at, *workers)
    assert done.ret == 0, done.text
    assert "created: 1/1 worker" in done.text
    assert [case["outcome"] for case in done.cases] == ["passed", "passed"]
    assert not any("beside" in note for case in done.cases for note in case["notes"])


def test_collecting_with_workers(tiny: Tiny) -> None:
    """``--co`` measures nothing, so as many workers as one likes are no fault."""
    tiny.suite()
    done = tiny.run("--flperf-suite=tiny.json", *tiny.at, "-n2", "--co", "-q")
    assert done.ret == 0, done.text
    assert done.ids == ["tiny.json::one[reference]"]


# ---- pytest-timeout, whose exception comes at any moment: in processes of their own, see PytestRun


@pytest.mark.parametrize("workers", WORKERS)
def test_timeout(tiny: Tiny, workers: tuple[str, ...]) -> None:
    """``--timeout`` fails the case, which keeps what was measured; the next one has a new load process and passes."""
    options = ("--flperf-suite=tiny.json", *tiny.at, *workers)
    tiny.suite({"name": "after", "iterations": 3})
    limit_s = enough_s(lambda: tiny.run(*options))
    tiny.suite({"name": "long", "iterations": 1_000_000}, {"name": "after", "iterations": 3})
    done = tiny.run(*options, f"--timeout={limit_s}")
    assert done.ret == pytest.ExitCode.TESTS_FAILED, done.text
    assert "1 failed, 1 passed" in done.counts
    long, after = done.cases
    assert (long["outcome"], after["outcome"]) == ("failed", "passed")
    assert long["partial"]
    assert long["requests"]["ok"] >= 1
    assert re.match(r"stopped after \d+ of 1000000 requests: .*Timeout", long["message"])
    assert after["requests"]["ok"] == 3
    assert done.results["run"]["status"] == "failed"
    assert "INTERRUPTED" not in done.text


def test_timeout_of_a_test_with_the_fixture(tiny: Tiny) -> None:
    """The mark of pytest-timeout works on tests of the user's as well."""
    tiny.pytester.makepyfile(
        test_mine="""
        import pytest
        @pytest.mark.timeout(15)
        def test_long(flperf):
            flperf.run(prompt="Hi", iterations=1_000_000, max_tokens=2)
        def test_after(flperf):
            flperf.run(prompt="Hi", iterations=1, max_tokens=2)
        """
    )
    done = tiny.run(*tiny.at)
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    assert [case["outcome"] for case in done.cases] == ["failed", "passed"]


def test_timeout_while_a_model_is_made_ready(tiny: Tiny) -> None:
    """A server that says nothing, and a time-out shorter than ours: the case fails, the run goes on to its end."""
    tiny.suite({"name": "a"}, {"name": "b"})
    silent = ReferenceConfig(fault=Fault(FaultKind.HANG_BEFORE_HEADERS))
    with ReferenceServer(silent, in_thread=True) as server:
        at = (f"--flperf-base-url={server.base_url}", "--flperf-model=reference")
        done = tiny.run("--flperf-suite=tiny.json", *at, "--timeout=1")
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    assert "2 errors" in done.counts or "2 failed" in done.counts, done.text
    assert done.text.count("Timeout") >= 2


def test_timeout_by_thread(tiny: Tiny) -> None:
    """The method that ends the whole process: what it leaves is readable, and blocks no other run."""
    options = ("--flperf-suite=tiny.json", *tiny.at, "--timeout-method=thread")
    tiny.suite({"name": "before"})
    limit_s = enough_s(lambda: tiny.run_apart(*options, "--flperf-report-dir=apart"))
    tiny.suite({"name": "before"}, {"name": "long", "iterations": 1_000_000})
    result = tiny.pytester.runpytest_subprocess(*options, f"--timeout={limit_s}", timeout=300)
    assert result.ret == 1
    assert "Timeout" in str(result.stdout) + str(result.stderr)
    (folder,) = [path for path in (tiny.folder / "reports").iterdir() if path.is_dir() and not path.is_symlink()]
    assert (folder / "journal.jsonl").stat().st_size > 0
    tiny.suite()
    assert tiny.measure("--flperf-lock-timeout=0").ret == 0


# ---- pytest-rerunfailures


def _the_third_fails(first: int = 5) -> ReferenceServer:
    fault = Fault(FaultKind.HTTP_ERROR, status=503, every=3, first=first)
    return ReferenceServer(ReferenceConfig(fault=fault), in_thread=True)


@pytest.mark.parametrize("workers", WORKERS)
def test_a_rerun_is_shown_as_one(tiny: Tiny, monkeypatch: pytest.MonkeyPatch, workers: tuple[str, ...]) -> None:
    """The first try stays in the results, in the table and in the verdict."""
    invite(monkeypatch, "rerunfailures")
    tiny.suite()
    with _the_third_fails() as server:
        at = (f"--flperf-base-url={server.base_url}", "--flperf-model=reference", "--flperf-iterations=2")
        done = tiny.run("--flperf-suite=tiny.json", *at, "--reruns=2", "-v", *workers)
    assert done.ret == 0, done.text
    assert "1 passed, 1 rerun" in done.counts
    assert (done.case["outcome"], done.case["reruns"]) == ("passed", 1)
    assert "an earlier try: failed. one on reference: missed error_rate <= 0 (50 %)" in done.case["notes"]
    assert "note: an earlier try: failed" in done.text
    assert "flperf: PASSED: 1 passed, 1 rerun" in done.lines
    (row,) = [line for line in done.lines if line.startswith("reference ")]
    (head,) = [line for line in done.lines if line.startswith("model ") and " reruns" in line]
    assert row[: head.index(" reruns") + len(" reruns")].split()[-1] == "1"


def test_reruns_that_fail(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """A case that fails every time is failed, with every try."""
    invite(monkeypatch, "rerunfailures")
    tiny.suite(MISSED)
    done = tiny.run("--flperf-suite=tiny.json", *tiny.at, "--reruns=2")
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    assert "1 failed, 2 rerun" in done.counts
    assert (done.case["outcome"], done.case["reruns"]) == ("failed", 2)
    assert sum(note.startswith("an earlier try: failed") for note in done.case["notes"]) == 2
    assert "flperf: FAILED: 1 failed, 2 reruns" in done.lines


def test_a_rerun_of_what_was_not_ready(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors of set-up are run again, too; the case says what the earlier try met."""
    invite(monkeypatch, "rerunfailures")
    tiny.suite()
    fault = Fault(FaultKind.HTTP_ERROR, status=500, first=2)  # the short request, then the own one
    with ReferenceServer(ReferenceConfig(fault=fault), in_thread=True) as server:
        at = (f"--flperf-base-url={server.base_url}", "--flperf-model=reference")
        done = tiny.run("--flperf-suite=tiny.json", *at, "--reruns=1")
    assert done.ret == 0, done.text
    assert (done.case["outcome"], done.case["reruns"]) == ("passed", 1)
    assert done.case["notes"][0].startswith("an earlier try: error. the model is not ready: ")


def test_no_rerun_no_column(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing was run again nothing is said of it."""
    invite(monkeypatch, "rerunfailures")
    tiny.suite()
    done = tiny.run("--flperf-suite=tiny.json", *tiny.at, "--reruns=2")
    assert done.ret == 0
    assert done.case["reruns"] == 0
    assert not any(word in line for line in done.lines for word in (" reruns", "rerun,", " rerun "))


def test_reruns_of_a_test_with_the_fixture(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each ``flperf.run`` of a test that is run again keeps its row."""
    invite(monkeypatch, "rerunfailures")
    tiny.pytester.makepyfile(
        test_mine="""
        import pathlib
        def test_me(flperf):
            flperf.run(prompt="Hi", iterations=1, warmup=0, max_tokens=2)
            flperf.run(prompt="Hi", iterations=2, warmup=0, max_tokens=2)
            flag = pathlib.Path(__file__).with_name("seen")
            if not flag.exists():
                flag.touch()
                raise AssertionError("the first time")
        """
    )
    done = tiny.run(*tiny.at, "--reruns=1", "test_mine.py")
    assert done.ret == 0, done.text
    assert [case["reruns"] for case in done.cases] == [1, 1]
    assert all("the first time" in case["notes"][-1] for case in done.cases)


# ---- pytest-asyncio


@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_asyncio(tiny: Tiny, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    """Coroutine tests run beside suites, and may use the fixture."""
    invite(monkeypatch, "asyncio")
    tiny.suite()
    tiny.pytester.makepyfile(
        test_mine="""
        import asyncio, pytest
        @pytest.mark.asyncio
        async def test_me(flperf):
            await asyncio.sleep(0)
            assert flperf.run(prompt="Hi", iterations=1, warmup=0, max_tokens=2).passed
            await asyncio.sleep(0)
        """
    )
    options = (*QUIET_ASYNCIO, f"--asyncio-mode={mode}", "-W", "error")
    done = tiny.run("--flperf-suite=tiny.json", *tiny.at, "test_mine.py", *options)
    assert done.ret == 0, done.text
    assert len(done.cases) == 2


# ---- pytest-html


@pytest.mark.parametrize("workers", WORKERS)
def test_html(tiny: Tiny, monkeypatch: pytest.MonkeyPatch, workers: tuple[str, ...]) -> None:
    """Its report has a row for each case, with the text of a missed budget."""
    invite(monkeypatch, "html", "metadata")
    tiny.suite({"name": "good"}, {"name": "bad", **MISSED})
    options = ("--html=out.html", "--self-contained-html")
    done = tiny.run("--flperf-suite=tiny.json", *tiny.at, *options, *workers)
    assert done.ret == pytest.ExitCode.TESTS_FAILED, done.text
    page = Path(tiny.folder / "out.html").read_text(encoding="utf-8")
    assert "tiny.json::good[reference]" in page
    assert "tiny.json::bad[reference]" in page
    assert "missed ttft_ms.max" in page
    assert [case["outcome"] for case in done.cases] == ["passed", "failed"]


# ---- pytest-randomly and pytest-random-order: test_plugin_compat_order.py


def test_reseeding_changes_no_prompt(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """pytest-randomly reseeds before each test: prompts stay unique all the same, so that no cache can help."""
    invite(monkeypatch, "randomly")
    tiny.suite({"name": "a", "iterations": 3}, {"name": "b", "iterations": 3})
    with RecordingServer() as server:
        for _ in range(2):
            assert tiny.run("--flperf-suite=tiny.json", *server.at, "--randomly-seed=1").ret == 0
        asked = [body["messages"][-1]["content"] for body in server.bodies]
    measured = [text for text in asked if text.endswith("Hello")]
    assert len(measured) == 12
    assert not [pair for pair in itertools.pairwise(sorted(measured)) if len(set(pair)) == 1]
