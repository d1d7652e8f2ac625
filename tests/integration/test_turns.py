"""``flperf.run`` from threads, event loops, forked children and after its test: in turns, or refused."""

from __future__ import annotations

import itertools
import json
import sys

import pytest
from tiny_runs import Tiny

RUN = "flperf.run(prompt='Hi', iterations=3, warmup=0, max_tokens=2)"
LONG = "flperf.run(prompt='Hi', iterations=1_000_000, warmup=0, max_tokens=2)"
TOGETHER = {
    "threads": f"""
        from concurrent.futures import ThreadPoolExecutor
        def test_me(flperf):
            with ThreadPoolExecutor(3) as pool:
                for each in [pool.submit(lambda: {RUN}) for _ in range(3)]:
                    assert each.result().error_rate == 0
    """,
    "an event loop": f"""
        import asyncio
        def test_me(flperf):
            async def three():
                await asyncio.gather(*(asyncio.to_thread(lambda: {RUN}) for _ in range(3)))
            asyncio.run(three())
    """,
    "two event loops": f"""
        import asyncio
        import threading
        def test_me(flperf):
            async def once():
                {RUN}
            threads = [threading.Thread(target=lambda: asyncio.run(once())) for _ in range(2)]
            [thread.start() for thread in threads]
            {RUN}
            [thread.join() for thread in threads]
    """,
}


@pytest.mark.parametrize("how", TOGETHER)
def test_several_at_once(tiny: Tiny, how: str) -> None:
    """They measure one after the other; each is in table and results, and says that it waited."""
    tiny.pytester.makepyfile(test_mine=TOGETHER[how])
    done = tiny.run(*tiny.at)
    assert done.ret == 0, done.text
    assert sorted(case["nodeid"] for case in done.cases) == [
        "test_mine.py::test_me",
        "test_mine.py::test_me #2",
        "test_mine.py::test_me #3",
    ]
    assert [case["requests"]["ok"] for case in done.cases] == [3, 3, 3]
    assert sum("waited" in note for case in done.cases for note in case["notes"]) == 2
    spans = sorted(
        (min(line["started_ns"] for line in lines), max(line["finished_ns"] for line in lines))
        for case in done.cases
        if (lines := [line for line in done.journal() if line["nodeid"] == case["nodeid"]])
    )
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))


def test_inside_another(tiny: Tiny) -> None:
    """A measurement that begins in the middle of another one would wait for itself: an error says so."""
    tiny.pytester.makepyfile(
        test_mine=f"""
        from pytest_flperf.session.run import MeasuringRun
        def test_me(flperf, monkeypatch):
            real = MeasuringRun.ready
            def nested(self, case, nodeid):
                monkeypatch.setattr(MeasuringRun, "ready", real)
                {RUN}
            monkeypatch.setattr(MeasuringRun, "ready", nested)
            {RUN}
        """
    )
    done = tiny.run(*tiny.at)
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    assert "not measured: it began in the middle of another measurement, test_mine.py::test_me" in done.text


def test_kept_for_a_later_test(tiny: Tiny) -> None:
    """A fixture whose test has ended measures nothing, and the test that uses it fails."""
    tiny.pytester.makepyfile(
        test_mine=f"""
        kept = []
        def test_first(flperf):
            kept.append(flperf)
            {RUN}
        def test_second():
            flperf = kept[0]
            {RUN}
        """
    )
    done = tiny.run(*tiny.at)
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    assert "flperf.run: the test test_mine.py::test_first has ended" in done.text
    assert [case["nodeid"] for case in done.cases] == ["test_mine.py::test_first"]
    assert {line["nodeid"] for line in done.journal()} == {"test_mine.py::test_first"}


def test_a_thread_that_outlives_its_test(tiny: Tiny) -> None:
    """What it measures is ended, kept as stopped and fails its test; the next test measures."""
    tiny.pytester.makepyfile(
        test_mine=f"""
        import contextlib
        import threading
        import time
        from pathlib import Path
        def quietly(flperf):
            with contextlib.suppress(BaseException):
                {LONG}
        def test_first(flperf):
            threading.Thread(target=quietly, args=(flperf,), daemon=True).start()
            while not any("measured" in path.read_text() for path in Path("reports").glob("*/journal.jsonl")):
                time.sleep(0.01)
        def test_second(flperf):
            {RUN}
        """
    )
    done = tiny.run(*tiny.at)
    assert done.ret == pytest.ExitCode.TESTS_FAILED, done.text
    assert "flperf.run was still measuring when the test ended: let the test wait for it" in done.text
    first, second = done.cases
    assert first["partial"]
    assert first["outcome"] in ("failed", "error")
    assert (second["outcome"], second["requests"]["ok"]) == ("passed", 3)
    kept = [line for line in done.journal() if line["nodeid"] == first["nodeid"] and line["phase"] == "measured"]
    assert len(kept) >= first["requests"]["total"] > 0


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize(
    "waiting", ["asyncio.run(measure(flperf))", "later(flperf).join()", "later(flperf); time.sleep(60)"]
)
def test_an_interrupt_while_a_thread_measures(tiny: Tiny, waiting: str) -> None:
    """The case of the thread is ended and kept, and the session ends at once, however the test waits for it."""
    tiny.pytester.makepyfile(
        test_mine=f"""
        import asyncio
        import contextlib
        import os
        import signal
        import threading
        import time
        from pathlib import Path
        def quietly(flperf):
            with contextlib.suppress(BaseException):
                {LONG}
        def later(flperf):
            thread = threading.Thread(target=quietly, args=(flperf,), daemon=True)
            thread.start()
            return thread
        async def measure(flperf):
            await asyncio.to_thread(quietly, flperf)
        def interrupt():
            while not any("measured" in path.read_text() for path in Path("reports").glob("*/journal.jsonl")):
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGINT)
        def test_me(flperf):
            threading.Thread(target=interrupt, daemon=True).start()
            {waiting}
        """
    )
    done = tiny.pytester.runpytest_subprocess(*tiny.at, timeout=60)
    text = str(done.stdout) + str(done.stderr)
    assert done.ret == pytest.ExitCode.INTERRUPTED, text
    assert "(INTERRUPTED)" in text
    assert "flperf: INTERRUPTED: 1 error" in text
    assert "Traceback" not in text
    results = json.loads((tiny.folder / "reports" / "latest" / "results.json").read_text(encoding="utf-8"))
    (case,) = results["cases"]
    assert case["message"].startswith("INTERRUPTED after")
    assert case["requests"]["ok"] > 0


@pytest.mark.skipif(sys.platform == "win32", reason="os.fork")
def test_a_forked_child(tiny: Tiny) -> None:
    """It would lose what it measures, and disturb its parent's load process.

    A process of its own: a child of the tests' process would inherit locks that other threads hold.
    """
    tiny.pytester.makepyfile(
        test_mine=f"""
        import os
        import warnings
        def test_me(flperf):
            {RUN}
            reader, writer = os.pipe()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # this process has threads, of which Python warns
                child = os.fork()
            if not child:
                try:
                    {RUN}
                except BaseException as error:
                    os.write(writer, str(error).encode())
                os._exit(0)
            os.waitpid(child, 0)
            assert b"a forked child can't measure" in os.read(reader, 1000)
            {RUN}
        """
    )
    done = tiny.run_apart(*tiny.at)
    assert done.ret == 0, done.text
    assert [case["requests"]["ok"] for case in done.cases] == [3, 3]


def test_a_failure_that_only_a_thread_meets(tiny: Tiny) -> None:
    """A plain thread ends with the error, its test passes: the failure is said, and the run is not green."""
    tiny.pytester.makepyfile(
        test_mine="""
        import threading
        import pytest
        def fail(flperf):
            flperf.run(prompt="Hi", iterations=1, warmup=0, max_tokens=2, budgets=["ttft_ms.p50 <= 0"])
        def test_lost(flperf):
            thread = threading.Thread(target=fail, args=(flperf,))
            thread.start()
            thread.join()
        def test_heard(flperf):
            with pytest.raises(pytest.fail.Exception):
                fail(flperf)
        """
    )
    done = tiny.pytester.runpytest_subprocess(*tiny.at, timeout=300)
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    text = str(done.stdout)
    assert "flperf.run failed in a thread, and the test did not use its result: " in text
    assert "2 passed" in text
    assert "1 error" in text
    results = json.loads((tiny.folder / "reports" / "latest" / "results.json").read_text(encoding="utf-8"))
    assert [case["outcome"] for case in results["cases"]] == ["failed", "xfailed"]


POOLED = "lambda: flperf.run(prompt='Hi', iterations=1, warmup=0, max_tokens=2, budgets=['ttft_ms.p50 <= 0'])"
CALLS = {
    "a pool": (f"submitted({POOLED})", False),
    "a typing error in a pool": ("submitted(lambda: flperf.run('Hi', iteratoins=1))", False),
    "gathered without a look": (f"asyncio.run(gathered({POOLED}, return_exceptions=True))", False),
    "the result of a pool": (f"submitted({POOLED}).result()", True),
    "gathered": (f"asyncio.run(gathered({POOLED}))", True),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_failure_that_a_pool_keeps(tiny: Tiny, call: str) -> None:
    """A test that asks for the result gets it raised; where none asks, the run is not green either."""
    code, is_heard = CALLS[call]
    tiny.pytester.makepyfile(
        test_mine=f"""
        import asyncio
        import pytest
        from concurrent.futures import ThreadPoolExecutor
        def submitted(call):
            with ThreadPoolExecutor(1) as pool:
                return pool.submit(call)
        async def gathered(call, **options):
            return await asyncio.gather(asyncio.to_thread(call), **options)
        def test_me(flperf):
            if {is_heard}:
                with pytest.raises(pytest.fail.Exception):
                    {code}
            else:
                {code}
        """
    )
    done = tiny.pytester.runpytest_subprocess(*tiny.at, timeout=300)
    text = str(done.stdout)
    if is_heard:
        assert done.ret == 0, text
    else:
        assert done.ret == pytest.ExitCode.TESTS_FAILED, text
        assert "flperf.run failed in a thread, and the test did not use its result: " in text


def test_a_forked_child_ends_by_a_signal(tiny: Tiny) -> None:
    """As it would without us: no traceback of its parent's."""
    tiny.pytester.makepyfile(
        test_mine=f"""
        import os
        import signal
        import time
        import warnings
        def test_me(flperf):
            {RUN}
            reader, writer = os.pipe()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                child = os.fork()
            if not child:
                os.write(writer, b"!")
                time.sleep(60)
                os._exit(0)
            os.read(reader, 1)  # before, Python loses a signal
            os.kill(child, signal.SIGTERM)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
            {RUN}
        """
    )
    done = tiny.run_apart(*tiny.at)
    assert done.ret == 0, done.text
    assert "Terminated" not in done.text
