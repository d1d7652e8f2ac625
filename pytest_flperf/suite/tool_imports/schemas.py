"""Tool schemas: OpenAI's lists of tools, and saved answers to MCP's ``tools/list``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from pytest_flperf.suite.errors import SuiteError, shown

__all__ = ["scenarios_of_tools", "tools_in"]

_NO_NAME: Final = re.compile(r"[^a-zA-Z0-9_-]")
_LONGEST_NAME: Final = 64
_DESCRIBED: Final = 1_000
_SCHEMAS: Final = ("parameters", "inputSchema", "input_schema")
"""Where a schema of arguments stands: OpenAI's word, MCP's, Anthropic's."""


def tools_in(document: Any, where: str) -> list[dict[str, Any]]:
    """Tools of a document, in OpenAI's form.

    It is a list of tools, or an object that has one: ``tools``, ``result.tools`` (an answer of an MCP server), or one
    tool alone.  Raises SuiteError for anything else.
    """
    if isinstance(document, Mapping) and isinstance(document.get("result"), Mapping):
        document = document["result"]
    if isinstance(document, Mapping):
        document = document.get("tools", [document])
    if not isinstance(document, list) or not document:
        raise SuiteError(f"{where}: found no tools, expected a list of them, as in OpenAI's API or MCP's tools/list")
    return [_tool(each, f"{where}: tool {number}") for number, each in enumerate(document, 1)]


def scenarios_of_tools(tools: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A scenario for each tool, and one for which none is right: a first suite, to write better prompts in."""
    found = []
    for tool in tools:
        function = tool["function"]
        name, told = function["name"], " ".join(str(function.get("description", "")).split())[:_DESCRIBED]
        about = f" It does this: {told}" if told else ""
        found.append(
            {
                "name": name,
                "prompt": f"Use the tool {name}, once, with arguments that make sense.{about}",
                "expect": {"calls": [{"name": name}]},
            }
        )
    names = {each["name"] for each in found}
    greeting = next(each for each in ("no tool", "no tool is right") if each not in names)
    return [*found, {"name": greeting, "prompt": "Say hello, and nothing else.", "expect": {"calls": []}}]


def _tool(value: Any, where: str) -> dict[str, Any]:
    function = value.get("function", value) if isinstance(value, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str) or not function["name"].strip():
        raise SuiteError(f"{where}: found {shown(value)}, expected a tool with a name")
    made: dict[str, Any] = {"name": _NO_NAME.sub("_", function["name"].strip())[:_LONGEST_NAME]}
    if isinstance(function.get("description"), str):
        made["description"] = function["description"]
    schema = next((function[key] for key in _SCHEMAS if isinstance(function.get(key), Mapping)), None)
    if schema is not None:
        made["parameters"] = schema
    if isinstance(function.get("strict"), bool):
        made["strict"] = function["strict"]
    return {"type": "function", "function": made}
