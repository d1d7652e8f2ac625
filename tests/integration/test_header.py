"""Header line: what it counts, and how it names models."""

from __future__ import annotations

import pytest
from tiny_runs import Tiny

from pytest_flperf.integration.header import header_line


@pytest.mark.parametrize("base_url", [None, "http://127.0.0.1:9/v1"])
def test_long_names_keep_their_end(base_url: str | None) -> None:
    """It tells builds of a model apart."""
    line = header_line(("a.yaml",), 1, ("/opt/newcomer/folder/SmolLM2-135M-Instruct.Q4_1.gguf",), base_url)
    assert line.startswith("flperf: a.yaml, 1 case on ")
    assert "Q4_1.gguf" in line
    assert "2 cases on" in header_line(("a.yaml",), 2, ("m",), base_url)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ((), "tiny.json, 2 cases on"),
        (("-k", "one"), "tiny.json, at most 2 cases on"),
        (("-m", "flperf"), "tiny.json, at most 2 cases on"),
        (("--deselect", "tiny.json::one[reference]"), "tiny.json, at most 2 cases on"),
        (("tiny.json::one",), "tiny.json, at most 2 cases on"),
    ],
)
def test_cases_that_may_be_deselected(tiny: Tiny, more: tuple[str, ...], said: str) -> None:
    """Pytest deselects after the header: it says how many there are at most."""
    tiny.suite({"name": "one"}, {"name": "two"})
    assert (
        said
        in tiny.run(
            "--flperf-suite=tiny.json",
            "--flperf-base-url=http://127.0.0.1:9/v1",
            "--flperf-model=reference",
            "--co",
            *more,
        ).text
    )


def test_one_of_each(tiny: Tiny) -> None:
    """A dry run counts a case and a request as a person does."""
    tiny.suite()
    at = ("--flperf-suite=tiny.json", "--flperf-base-url=http://127.0.0.1:9/v1", "--flperf-model=reference")
    assert "1 case, 1 request, about " in tiny.run(*at, "--flperf-dry-run").text
