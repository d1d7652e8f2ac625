"""The ``flperf`` fixture in tests of one's own."""

from __future__ import annotations

import socket

import pytest
from fault_doubles import RawServer, answer, read_request
from tiny_runs import RecordingServer, Tiny

RUN = "flperf.run(prompt='Hi', iterations=2, warmup=0, max_tokens=2"


def test_without_options(tiny: Tiny) -> None:
    """No option at all: an embedded model on the real runtime."""
    tiny.pytester.makepyfile(
        test_mine=f"""
        def test_me(flperf):
            result = {RUN})
            assert result.ttft_ms.p50 < 60_000
            assert result.error_rate == 0
            assert result.passed
        """
    )
    done = tiny.run()
    assert done.ret == 0, done.text
    assert done.case["nodeid"] == "test_mine.py::test_me"
    assert done.case["target"]["backend"] != "openai"
    assert any("flperf: PASSED: 1 passed" in line for line in done.lines)


def test_several_runs(tiny: Tiny) -> None:
    """Each run is a row of its own, in the table and in the results."""
    tiny.pytester.makepyfile(test_mine=f"def test_me(flperf):\n    {RUN})\n    {RUN}, concurrency=2)")
    done = tiny.run(*tiny.at)
    assert done.ret == 0, done.text
    assert [case["nodeid"] for case in done.cases] == ["test_mine.py::test_me", "test_mine.py::test_me #2"]
    assert sum(line.startswith("reference ") for line in done.lines) == 2


def test_missed_budget(tiny: Tiny) -> None:
    """A missed budget fails the test at once, unless the test wants to judge itself."""
    tiny.pytester.makepyfile(
        test_mine=f"""
        def test_strict(flperf):
            {RUN}, budgets=["ttft_ms.max <= 0.001"])
            raise AssertionError("not reached")
        def test_lenient(flperf):
            result = {RUN}, budgets=["ttft_ms.max <= 0.001"], check=False)
            assert not result.passed
        """
    )
    done = tiny.run(*tiny.at)
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    assert "1 failed, 1 passed" in done.counts
    assert "not reached" not in done.text
    assert "ttft_ms.max" in done.text
    strict, lenient = done.cases
    assert (strict["outcome"], lenient["outcome"]) == ("failed", "passed")
    assert not lenient["budgets"][0]["met"]
    assert "left to the test" in lenient["notes"][-1]


def test_failing_assert(tiny: Tiny) -> None:
    """Where the test's own assert fails, its cases have failed with it."""
    tiny.pytester.makepyfile(test_mine=f"def test_me(flperf):\n    result = {RUN})\n    assert result.ttft_ms.p50 < 0")
    done = tiny.run(*tiny.at)
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    assert done.case["outcome"] == "failed"
    assert done.case["message"].startswith("AssertionError: assert ")


def test_marker(tiny: Tiny) -> None:
    """The marker chooses model, suite and scenario."""
    tiny.suite({"name": "greet", "iterations": 3})
    tiny.pytester.makepyfile(
        test_mine="""
        import pytest
        @pytest.mark.flperf(model="reference", suite="tiny.json", scenario="greet")
        def test_me(flperf):
            assert flperf.model == "reference"
            assert flperf.run(iterations=2).case.requests.ok == 2
        """
    )
    done = tiny.run(tiny.at[0], "--strict-markers")
    assert done.ret == 0, done.text
    assert done.case["requests"]["ok"] == 2
    assert done.case["model"] == "reference"


@pytest.mark.parametrize(
    ("marker", "words"),
    [
        ("modle='x'", "modle"),
        ("'x'", "'x'"),
        ("model=3", "model=3"),
        ("suite=3", "suite=3"),
        ("suite='quik'", "quick"),
        ("suite='quick', scenario='one-wrod'", "one-word"),
    ],
)
def test_wrong_marker(tiny: Tiny, marker: str, words: str) -> None:
    """Arguments that nobody reads are refused by name; so are unknown suites and scenarios, with the nearest."""
    tiny.pytester.makepyfile(
        test_mine=f"import pytest\n@pytest.mark.flperf({marker})\ndef test_me(flperf): pass\ndef test_you(): pass"
    )
    done = tiny.run(*tiny.at)
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    assert words in done.text
    assert "pytest_flperf/" not in done.text
    assert "1 passed, 1 error" in done.counts


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("iteration=3", "iterations"),
        ("iterations=-1", "iterations"),
        ("budgets=['ttft <= 3']", "ttft_ms"),
        ("messages=[]", "messages"),
        ("model=3", "model"),
        ("model=''", "model"),
    ],
)
def test_wrong_setting(tiny: Tiny, settings: str, words: str) -> None:
    """A setting that no scenario can have fails the test with the nearest key."""
    tiny.pytester.makepyfile(test_mine=f"def test_me(flperf):\n    flperf.run(prompt='x', {settings})")
    done = tiny.run(*tiny.at)
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    assert words in done.text
    assert "pytest_flperf/" not in done.text, "a message, no traceback"
    assert (done.case["outcome"], done.results["run"]["status"]) == ("failed", "not_measured")
    assert done.case["message"].startswith("not measured: ")


def test_nothing_measured(tiny: Tiny) -> None:
    """A metric without a value can't be compared: the test fails; a metric that is none names the nearest."""
    tiny.pytester.makepyfile(
        test_mine=f"""
        import pytest
        def test_me(flperf):
            result = {RUN}, stream=False)
            with pytest.raises(AssertionError, match="no value of ttft_ms"):
                result.ttft_ms
            with pytest.raises(AttributeError, match="e2e_ms"):
                result.e2e_m
        """
    )
    done = tiny.run(*tiny.at)
    assert done.ret == 0, done.text


def test_not_ready(tiny: Tiny) -> None:
    """A model that isn't there fails the test with the reason, and the case is an error."""
    tiny.pytester.makepyfile(test_mine=f"def test_me(flperf):\n    {RUN}, model='nope', check=False)")
    done = tiny.run(*tiny.at)
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    assert done.case["outcome"] == "error"
    assert "404" in done.text
    assert "The above exception" not in done.text


def test_what_is_asked(tiny: Tiny) -> None:
    """A prompt's file, messages, a system prompt in place of the scenario's; never the same prompt twice."""
    tiny.suite({"name": "greet", "system": "Be rude", "prompt": "Greet me"})
    (tiny.folder / "mail.txt").write_text("Dear sirs\n")
    tiny.pytester.makepyfile(
        test_mine="""
        import pytest
        FEW = {"iterations": 1, "warmup": 0}
        def test_file(flperf):
            flperf.run(prompt_file="mail.txt", **FEW)
        def test_messages(flperf):
            flperf.run(messages=[{"role": "user", "content": "Well?"}], **FEW)
        @pytest.mark.flperf(suite="tiny.json", scenario="greet")
        def test_scenario(flperf):
            flperf.run(**FEW)
            flperf.run(**FEW)
            flperf.run(system="Be kind", **FEW)
        """
    )
    with RecordingServer() as server:
        done = tiny.run(*server.at)
    assert done.ret == 0, done.text
    asked = ["\n".join(message["content"] for message in body["messages"]) for body in server.bodies[1:]]
    plain = ["Dear sirs", "Well?", "Be rude\nGreet me", "Be rude\nGreet me", "Be kind\nGreet me"]
    assert [text.partition("] ")[2] for text in asked] == plain
    assert len({text.partition("] ")[0] for text in asked}) == len(asked), "a prompt asked before may be cached"


def test_expected_to_fail(tiny: Tiny) -> None:
    """An expected failure and a skip are what pytest makes of them: the run passes, the cases don't."""
    tiny.pytester.makepyfile(
        test_mine=f"""
        import pytest
        @pytest.mark.xfail
        def test_known(flperf):
            {RUN}, budgets=["ttft_ms.max <= 0.001"])
        def test_skipped(flperf):
            {RUN})
            pytest.skip("enough")
        """
    )
    done = tiny.run(*tiny.at)
    assert done.ret == 0, done.text
    assert [case["outcome"] for case in done.cases] == ["xfailed", "skipped"]
    assert done.results["run"]["status"] == "passed"
    assert "flperf: PASSED (ONLY EXPECTED FAILURES): 1 xfailed, 1 skipped" in done.text


def test_given_up_is_not_left_to_the_test(tiny: Tiny) -> None:
    """A case whose server dies on the way never passes, though the test that judges itself does."""
    arguments = "prompt='Hi', max_tokens=2, duration_s=30, check=False"
    tiny.pytester.makepyfile(test_mine=f"def test_me(flperf):\n    assert flperf.run({arguments}).case.given_up")

    def behave(connection: socket.socket, number: int) -> None:
        read_request(connection)
        if number >= 20:
            connection.close()
        else:
            answer(connection)

    with RawServer(behave) as server:
        done = tiny.run(f"--flperf-base-url={server.base_url}", "--flperf-model=m")
    assert done.ret == 0, done.text
    assert done.case["outcome"] == "xfailed"
    assert "flperf: PASSED (ONLY EXPECTED FAILURES): 1 xfailed" in done.text
    assert "3 in a row had no complete answer" in done.case["message"]


def test_several_values_are_no_case(tiny: Tiny) -> None:
    """One call is one case: a list of concurrencies is refused with what to do."""
    tiny.pytester.makepyfile(test_mine=f"def test_me(flperf):\n    {RUN}, concurrency=[1, 2])")
    done = tiny.run(*tiny.at)
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    assert "flperf.run: found several values of concurrency, expected one: parametrise the test" in done.text


def test_nothing_ok_never_passes(tiny: Tiny) -> None:
    """Without one good request nothing is judged, even where the test wants to judge itself and finds nothing."""
    tiny.pytester.makepyfile(test_mine=f"def test_me(flperf):\n    {RUN}, check=False)")

    def refuse(headers: dict[str, str]) -> str:
        del headers
        return '{"error": {"message": "no"}}'

    with RecordingServer(refuse, after=1) as server:
        done = tiny.run(*server.at)
    assert done.ret == 0, done.text
    assert done.case["outcome"] == "xfailed"
    assert done.results["run"]["status"] == "not_measured"


@pytest.mark.parametrize(
    ("setting", "named"),
    [("flperf_base_url = nonsense", "--flperf-base-url"), ("flperf_iterations = many", "flperf_iterations")],
)
def test_wrong_ini(tiny: Tiny, setting: str, named: str) -> None:
    """What is wrong in the ini file hurts only those who measure, and without a traceback."""
    tiny.pytester.makeini(f"[pytest]\n{setting}")
    tiny.pytester.makepyfile(test_mine=f"def test_me(flperf):\n    {RUN})\ndef test_you(): pass")
    done = tiny.run()
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    assert "1 passed, 1 error" in done.counts
    assert named in done.text
    assert "pytest_flperf/" not in done.text


def test_beside_a_suite(tiny: Tiny) -> None:
    """Tests with the fixture and a suite share one run, one table and one load of the model."""
    tiny.suite()
    tiny.pytester.makepyfile(test_mine=f"def test_me(flperf):\n    {RUN})")
    done = tiny.run("--flperf-suite=tiny.json", "--flperf-model=flperf-nano", "test_mine.py")
    assert done.ret == 0, done.text
    assert {case["nodeid"] for case in done.cases} == {"test_mine.py::test_me", "tiny.json::one[flperf-nano]"}
    assert "flperf: PASSED: 2 passed" in done.text


def test_sessions_and_searches(tiny: Tiny) -> None:
    """A test's own run takes whatever a scenario can have: chats that keep their history, a search."""
    tiny.pytester.makepyfile(
        test_mine="""
        def test_chat(flperf):
            result = flperf.run(load="session", turns=["Hi", "And then?"], iterations=4, warmup=0, max_tokens=2)
            assert result.case.requests.ok == 4
        def test_capacity(flperf):
            result = flperf.run("Hi", load="search", search_to=4, iterations=4, warmup=0, max_tokens=2)
            assert result.max_concurrency == 4
            assert [step.load for step in result.case.search.steps] == [1, 2, 4]
        """
    )
    done = tiny.run(*tiny.at)
    assert done.ret == 0, done.text
