"""Tools that a server does not take: the case is left out, and says why."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_flperf.backends.base import Capabilities, Served
from pytest_flperf.measurement.parameters import Dialect, adjustment_words, fitted, our_defaults, spoken
from pytest_flperf.measurement.preflight import NotPossibleError, refuse_tools
from pytest_flperf.suite.errors import SuiteError
from pytest_flperf.suite.loader import scenario_of
from pytest_flperf.suite.model import Case
from pytest_flperf.suite.request_body import request_body
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


def test_a_choice_falls_back_by_wish() -> None:
    """Only where the suite says so; and the request that is sent has none then, which is said."""
    known = Capabilities(frozenset({"tools"}))
    asked = case(tools=TOOLS, tool_choice=["required", "auto"])
    refuse_tools(asked, SERVED, known)
    assert (asked.scenario.settings.tool_choice, asked.scenario.settings.tool_choice_or_auto) == ("required", True)
    body = request_body(asked, "m")
    assert body["tool_choice"] == "required"
    found = fitted(body, {}, known, "ollama")
    assert "tool_choice" not in found.body
    assert "changed: tool_choice 'required' → auto (ollama does not take it)" in adjustment_words(found.adjustments)
    taken = fitted(body, {}, Capabilities(), "ollama")
    assert (taken.body["tool_choice"], taken.adjustments) == ("required", ())


def test_a_choice_that_is_refused_falls_back_by_wish() -> None:
    """A default of ours it isn't; without the wish it stays."""
    wished, plain = case(tools=TOOLS, tool_choice=["required", "auto"]), case(tools=TOOLS, tool_choice="required")
    assert "tool_choice" in our_defaults(wished, {})
    assert "tool_choice" not in our_defaults(plain, {})
    dialect = Dialect(refuses=frozenset({"tool_choice"}))
    body, _, changed = spoken(request_body(wished, "m"), {}, dialect, our_defaults(wished, {}))
    assert "tool_choice" not in body
    assert adjustment_words(changed) == "changed: tool_choice 'required' → auto (the server refuses it)"
    assert spoken(request_body(plain, "m"), {}, dialect, our_defaults(plain, {}))[0]["tool_choice"] == "required"


@pytest.mark.parametrize(
    "choice", [["auto", "auto"], ["required", "none"], ["required"], [], ["required", "auto", 1], 5]
)
def test_wishes_that_are_none(choice: Any) -> None:
    """Refused, with what would do."""
    with pytest.raises(SuiteError, match="or one of them and 'auto' in a list"):
        case(tools=TOOLS, tool_choice=choice)
