"""``--flperf-model`` on the real runtime."""

from __future__ import annotations

import pytest
from tiny_runs import Tiny

from pytest_flperf.reference_server import ReferenceServer


@pytest.mark.parametrize(
    "options",
    [("--flperf-model=flperf-nano", "--flperf-model=flperf-micro"), ("--flperf-model=flperf-nano, flperf-micro",)],
)
def test_several(tiny: Tiny, options: tuple[str, ...]) -> None:
    """The option is repeatable and takes commas; a model that is named twice runs once."""
    tiny.suite()
    done = tiny.run("--flperf-suite=tiny.json", "--co", "-q", *options, "--flperf-model=flperf-nano")
    assert done.ids == ["tiny.json::one[flperf-nano]", "tiny.json::one[flperf-micro]"]


def test_embedded_by_default(tiny: Tiny) -> None:
    """Without the option the embedded models run, and the header says what they are."""
    tiny.suite()
    done = tiny.run("--flperf-suite=tiny.json", "--co")
    assert "one[flperf-nano]" in done.text
    assert "one[flperf-micro]" in done.text
    assert any(line.startswith("flperf: ") and "noise by design" in line for line in done.lines)


def test_the_suites_own(tiny: Tiny) -> None:
    """A suite's models come before the default and give way to the option."""
    tiny.suite(models=["flperf-micro"])
    assert tiny.run("--flperf-suite=tiny.json", "--co", "-q").ids == ["tiny.json::one[flperf-micro]"]
    given = tiny.run("--flperf-suite=tiny.json", "--co", "-q", "--flperf-model=x")
    assert given.ids == ["tiny.json::one[x]"]


def test_measures_each_once_loaded(tiny: Tiny) -> None:
    """Two suites on two models, one with a matrix: each model is loaded once, for all of its cases."""
    tiny.suite(file="a.json", name="a", matrix={"max_tokens": [2, 3]})
    tiny.suite(file="b.json", name="b")
    done = tiny.run(
        "--flperf-suite=a.json", "--flperf-suite=b.json", "--flperf-model=flperf-nano,flperf-micro", "-p", "no:randomly"
    )
    assert done.ret == 0, done.text
    assert [case["model"][7:] for case in done.cases] == ["nano", "micro", "micro", "nano", "nano", "micro"]
    assert [line["phase"] for line in done.journal()].count("cold") == 2
    assert done.text.count(": loaded in") == 2


def test_unknown(tiny: Tiny) -> None:
    """An unknown model is an error of its cases that says where to look; the others run."""
    tiny.suite()
    done = tiny.run(
        "--flperf-suite=tiny.json",
        "--flperf-model=flperf-nono,flperf-nano",
        # a catalog that is not there, so that nobody waits for the public one
        "--flperf-catalog-url=http://127.0.0.1:9/",
    )
    assert done.ret == pytest.ExitCode.TESTS_FAILED, done.text
    assert "ERROR tiny.json::one[flperf-nono]" in done.text
    assert {case["model"]: case["outcome"] for case in done.cases} == {"flperf-nono": "error", "flperf-nano": "passed"}
    (message,) = [case["message"] for case in done.cases if case["outcome"] == "error"]
    assert "--flperf-list-models" in message
    assert done.text.count("the model is not ready") == 3, "the failure, our answer, pytest's short summary"
    assert "The above exception" not in done.text


def test_unknown_to_a_server(tiny: Tiny, reference: ReferenceServer) -> None:
    """A model that the server refuses is an error before anything is measured."""
    tiny.suite()
    done = tiny.run("--flperf-suite=tiny.json", f"--flperf-base-url={reference.base_url}", "--flperf-model=nope")
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    assert done.case["outcome"] == "error"
    assert "404" in done.case["message"]
    assert {line["phase"] for line in done.journal()} == {"verify"}
