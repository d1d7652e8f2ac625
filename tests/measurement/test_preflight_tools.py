"""Tools that a server does not take: the case is left out, and says why."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_flperf.backends.base import Capabilities, Served
from pytest_flperf.measurement.preflight import NotPossibleError, refuse_tools
from pytest_flperf.suite.loader import scenario_of
from pytest_flperf.suite.model import Case
from pytest_flperf.wire.endpoint import Endpoint

TOOLS = [{"type": "function", "function": {"name": "weather"}}]
SERVED = Served("ollama", "m", "m", Endpoint.parse("http://127.0.0.1:1/v1"))


def case(**settings: Any) -> Case:
    """A case with these settings."""
    return Case("s", "s", scenario_of({"name": "one", "prompt": "Hi", **settings}), "m", (), "one", "m")


@pytest.mark.parametrize(
    ("known", "choice", "words"),
    [
        (Capabilities(tools=False), None, "the scenario offers tools, and m takes none (ollama)"),
        (Capabilities(frozenset({"seed"})), None, "takes none"),
        (Capabilities(frozenset({"tools"})), "required", "ollama takes no tool_choice"),
        (Capabilities(frozenset({"tools"})), TOOLS[0], "tool_choice: auto measures that"),
        (Capabilities(frozenset({"tools"})), "auto", ""),
        (Capabilities(frozenset({"tools", "tool_choice"})), "required", ""),
        (Capabilities(), "required", ""),
    ],
)
def test_what_a_server_does_not_take(known: Capabilities, choice: Any, words: str) -> None:
    """No choice falls back to another one unasked."""
    refuse_tools(case(), SERVED, known)
    asked = case(tools=TOOLS, **({} if choice is None else {"tool_choice": choice}))
    if not words:
        refuse_tools(asked, SERVED, known)
        return
    with pytest.raises(NotPossibleError) as caught:
        refuse_tools(asked, SERVED, known)
    assert words in str(caught.value)
