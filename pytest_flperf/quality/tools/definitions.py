"""Tool definitions: the ``tools`` and the ``tool_choice`` of requests, checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

__all__ = ["AUTO", "CHOICES", "choice_problem", "parameters_of", "tool_names", "tools_problem"]

AUTO: Final = "auto"
CHOICES: Final = (AUTO, "none", "required")
_MOST_TOOLS: Final = 1_000
_LONGEST_NAME: Final = 256
_SHOWN: Final = 60


def tools_problem(tools: Any) -> str:
    """Problem of a list of tools in OpenAI's form; empty if none.

    The words begin with the place: ``[0].function.name: expected …``.  Schemas of parameters are looked at only as far
    as their form goes.
    """
    if not isinstance(tools, list) or not 1 <= len(tools) <= _MOST_TOOLS:
        return f"expected a list of 1 to {_MOST_TOOLS:,} tools"
    seen: set[str] = set()
    for index, tool in enumerate(tools):
        problem = _tool_problem(tool)
        if problem:
            return f"[{index}]{problem}"
        name = tool["function"]["name"]
        if name in seen:
            return f"[{index}].function.name: found {name[:_SHOWN]!r} again, expected each name once"
        seen.add(name)
    return ""


def choice_problem(choice: Any, tools: Sequence[Any]) -> str:
    """Problem of a ``tool_choice`` beside these tools; empty if none."""
    if not tools:
        return "found without tools, expected the tools to choose from"
    if isinstance(choice, str):
        return "" if choice in CHOICES else _expected_choice(repr(choice[:_SHOWN]))
    function = choice.get("function") if isinstance(choice, Mapping) and choice.get("type") == "function" else None
    name = function.get("name") if isinstance(function, Mapping) else None
    if not isinstance(name, str):
        return _expected_choice("something else")
    return "" if name in tool_names(tools) else f"found {name[:_SHOWN]!r}, expected the name of one of the tools"


def tool_names(tools: Sequence[Any]) -> tuple[str, ...]:
    """Names of checked tools, in order."""
    return tuple(tool["function"]["name"] for tool in tools)


def parameters_of(tools: Sequence[Any]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """JSON Schemas of the parameters of checked tools, with the index of each."""
    for index, tool in enumerate(tools):
        parameters = tool["function"].get("parameters")
        if parameters is not None:
            yield index, parameters


def _expected_choice(found: str) -> str:
    form = "{'type': 'function', 'function': {'name': …}}"
    return f"found {found}, expected {', '.join(map(repr, CHOICES))} or {form}"


def _tool_problem(tool: Any) -> str:
    if not isinstance(tool, Mapping) or tool.get("type") != "function" or not isinstance(tool.get("function"), Mapping):
        return ": expected a mapping with type: function, and function with a name and parameters"
    function = tool["function"]
    name, parameters = function.get("name"), function.get("parameters")
    if not isinstance(name, str) or not 1 <= len(name) <= _LONGEST_NAME or name != "".join(name.split()):
        return f".function.name: expected a name without blanks, of at most {_LONGEST_NAME} characters"
    if not isinstance(function.get("description", ""), str):
        return ".function.description: expected a string"
    if parameters is None:
        return ""
    if not isinstance(parameters, Mapping) or parameters.get("type", "object") != "object":
        return ".function.parameters: expected a JSON Schema of an object: type: object, with properties"
    return ""
