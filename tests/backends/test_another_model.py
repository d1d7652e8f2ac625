"""A server that serves a model of its own choice in place of one that it doesn't have."""

from __future__ import annotations

from pathlib import Path

import pytest
from server_doubles import Answer, Asked, Double, streamed

from pytest_flperf.backends.openai import OpenAiBackend
from pytest_flperf.measurement.runner import Bench, NotReadyError
from pytest_flperf.suite.loader import scenario_of
from pytest_flperf.suite.matrix import expand
from pytest_flperf.suite.model import Case, Suite


class Substitute(Double):
    """Answers every chat as ``echo``, and lists ``listed``."""

    listed: tuple[str, ...] = ()
    echo = "default-model"

    def answer(self, asked: Asked) -> Answer:
        """The list, or a chat."""
        if asked.path.endswith("/models"):
            return Answer({"data": [{"id": name} for name in self.listed]}) if self.listed else Answer("no", 404)
        return streamed(model=self.echo)


def a_case() -> Case:
    """One request to a model called wanted."""
    scenario = scenario_of({"name": "one", "prompt": "Hello", "iterations": 1, "warmup": 0})
    return expand(Suite("s", "s", Path(), "", "", (scenario,), ("wanted",)), ["wanted"])[0]


def test_not_listed_and_echoed_otherwise() -> None:
    """Refused before anything is measured: the numbers would be another model's."""
    with Substitute() as server, Bench(OpenAiBackend.at(f"{server.root}/v1")) as bench:
        server.listed = ("default-model",)
        with pytest.raises(NotReadyError, match="does not list it, and answered as 'default-model', which it lists"):
            bench.run(a_case())


def test_both_listed_and_the_other_answers() -> None:
    """Refused as well."""
    with Substitute() as server, Bench(OpenAiBackend.at(f"{server.root}/v1")) as bench:
        server.listed = ("wanted", "default-model")
        with pytest.raises(NotReadyError, match="lists both, and answered as 'default-model': another model would be"):
            bench.run(a_case())


@pytest.mark.parametrize(
    ("listed", "echo"),
    [
        (("wanted",), "default-model"),
        ((), "default-model"),
        (("default-model",), "wanted"),
        (("default-model",), "neither"),
        (("wanted-2024-08-06", "default-model"), "wanted-2024-08-06"),
    ],
)
def test_what_may_be_another_name(listed: tuple[str, ...], echo: str) -> None:
    """Other names of it, lists that are not there, and lists that lie: measured, and said."""
    with Substitute() as server, Bench(OpenAiBackend.at(f"{server.root}/v1")) as bench:
        server.listed, server.echo = listed, echo
        result = bench.run(a_case()).result
    assert result.requests.ok == 1
    assert any("echoed as" in note for note in result.notes) is (echo != "wanted")
