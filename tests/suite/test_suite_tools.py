"""``tools`` and ``tool_choice``: checked when a suite is read, and sent as they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_flperf.suite.digest import prompts_digest
from pytest_flperf.suite.errors import SuiteError
from pytest_flperf.suite.generator import PromptGenerator
from pytest_flperf.suite.loader import load_suite
from pytest_flperf.suite.matrix import expand
from pytest_flperf.suite.model import Case, Suite
from pytest_flperf.suite.request_body import request_body
from pytest_flperf.wire.endpoint import Endpoint
from pytest_flperf.wire.requests import RequestFactory


def tool(name: str = "weather", **properties: Any) -> dict[str, Any]:
    """A tool in OpenAI's form."""
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": properties}}}


def load(folder: Path, rows: list[dict[str, Any]] | None = None, **scenario: Any) -> Suite:
    """A suite of one scenario, read."""
    if rows is not None:
        (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    asks = {"prompt": "Hi"} if rows is None else {"dataset": "rows.jsonl"}
    path = folder / "tools.json"
    path.write_text(json.dumps({"models": ["m"], "scenarios": [{"name": "one", **asks, **scenario}]}), encoding="utf-8")
    return load_suite(path, "tools")


def case_of(suite: Suite) -> Case:
    """Its only case."""
    (case,) = expand(suite, ("m",))
    return case


def refused(folder: Path, rows: list[dict[str, Any]] | None = None, **scenario: Any) -> str:
    """The message of a suite that can't be used."""
    with pytest.raises(SuiteError) as caught:
        load(folder, rows, **scenario)
    return str(caught.value)


def test_tools_are_sent_as_they_are(tmp_path: Path) -> None:
    """With the choice, if there is one; without tools there is no trace of them."""
    tools = [tool(city={"type": "string"}), tool("search")]
    body = request_body(case_of(load(tmp_path, tools=tools, tool_choice="required")), "m")
    assert (body["tools"], body["tool_choice"]) == (tools, "required")
    assert "tool_choice" not in request_body(case_of(load(tmp_path, tools=tools)), "m")
    assert "tools" not in request_body(case_of(load(tmp_path)), "m")


def test_rows_have_tools_of_their_own(tmp_path: Path) -> None:
    """A row without any is sent without, or with those of the scenario."""
    rows = [{"prompt": "a", "tools": [tool()]}, {"prompt": "b"}, {"prompt": "b", "tools": json.dumps([tool("search")])}]
    for own in ({}, {"tools": [tool("other")]}):
        case = case_of(load(tmp_path, rows, tool_choice="auto", **own))
        asker = PromptGenerator(case, "seed")
        template = RequestFactory(Endpoint.parse("http://127.0.0.1:1/v1")).template(request_body(case, "m"))
        sent = []
        for index in range(3):
            ask = asker.ask(index, index)
            messages = [{"role": each.role, "content": each.content} for each in ask.messages]
            document = json.loads(template.render(messages, None, ask.tools).partition(b"\r\n\r\n")[2])
            sent.append([each["function"]["name"] for each in document.get("tools", [])])
            assert ("tool_choice" in document) == bool(sent[-1])
        assert sent == [["weather"], ["other"] if own else [], ["search"]]
        assert len({asker.prompt_id(index) for index in range(3)}) == 3


@pytest.mark.parametrize(
    ("scenario", "words"),
    [
        ({"tools": []}, "tools: expected a list of 1 to 1,000 tools"),
        ({"tools": [{"name": "f"}]}, "tools: [0]: expected a mapping with type: function"),
        ({"tools": [tool("a b")]}, "tools: [0].function.name: expected a name without blanks"),
        ({"tools": [tool(), tool()]}, "tools: [1].function.name: found 'weather' again"),
        ({"tools": [tool(x={"type": "strin"})]}, "tools[0]: the parameters of 'weather': found "),
        ({"tools": [tool(x={"$ref": "#/$defs/x", "type": 5})]}, "which is not a JSON Schema"),
        ({"tool_choice": "auto"}, "tool_choice: found without tools"),
        ({"tools": [tool()], "tool_choice": "sometimes"}, "tool_choice: found 'sometimes', expected 'auto', 'none'"),
        ({"tools": [tool()], "tool_choice": {"type": "function", "function": {"name": "f"}}}, "found 'f', expected"),
        ({"tools": [tool()], "extra": {"tools": []}}, "found 'tools' in extra, expected it as a separate setting"),
    ],
)
def test_what_is_no_tool(tmp_path: Path, scenario: dict[str, Any], words: str) -> None:
    """One message with the place and what was expected there."""
    assert words in refused(tmp_path, **scenario)


def test_rows_are_checked(tmp_path: Path) -> None:
    """Their tools as well; a column of that name with something else is left alone."""
    assert "rows.jsonl:2: tools[0]: expected a mapping" in refused(
        tmp_path, [{"prompt": "a"}, {"prompt": "b", "tools": [{}]}]
    )
    words = refused(tmp_path, [{"prompt": "a", "tools": [tool(x={"type": 1})]}])
    assert "the parameters of 'weather' (row 'a'): found" in words
    load(tmp_path, [{"prompt": "a", "tools": ["hammer"]}, {"prompt": "b", "tools": "hammer"}])
    words = refused(tmp_path, [{"prompt": "a", "tools": [tool()]}], load="session")
    assert "dataset: found rows with tools, which chats (load: session) don't offer" in words
    choice = {"type": "function", "function": {"name": "weather"}}
    rows = [{"prompt": "a", "tools": [tool()]}, {"prompt": "b", "tools": [tool("search")]}]
    assert "tool_choice: found 'weather', expected the name of one" in refused(tmp_path, rows, tool_choice=choice)


def test_tools_are_part_of_the_prompts(tmp_path: Path) -> None:
    """Other tools, other prompts; without tools the digest is what it was."""
    suites = [load(tmp_path, **each) for each in ({}, {"tools": [tool()]}, {"tools": [tool("search")]})]
    assert len({prompts_digest(suite.scenarios[0]) for suite in suites}) == 3
    rows = [[{"prompt": "a"}], [{"prompt": "a", "tools": [tool()]}]]
    assert len({prompts_digest(load(tmp_path, each).scenarios[0]) for each in rows}) == 2
