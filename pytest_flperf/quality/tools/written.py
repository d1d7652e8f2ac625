"""Calls that stand in an answer's text, where they are none.

A model that writes a call as text has neither called nor abstained.  So this looks for whatever may be meant as a call,
in time linear in the text: to take a clumsy refusal for a call costs a model little, to take a clumsy call for a
refusal would reward it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Final

__all__ = ["AS_JSON", "IN_OTHER_WORDS", "written_call"]

AS_JSON: Final = "JSON as text"
IN_OTHER_WORDS: Final = "a call as text"
_MARKS: Final = re.compile(
    r"<\|?tool[_▁]?(?:call|use)|<｜tool▁call|\[TOOL_CALLS?\]|<function[_=]|<\|python_tag\|>|<\|tool_calls_section"
    r"|<(?:\w+:)?(?:invoke|function_calls)\b|to=functions\.",
    re.IGNORECASE,
)
"""What chat templates put around calls, which a server should have taken out."""
_FENCED: Final = re.compile(r"\A```[\w+-]*\s*\n(.*?)\n?```\Z", re.DOTALL)
_NAMING: Final = frozenset(
    {"name", "function", "tool", "tool_name", "function_name", "action", "recipient_name", "call", "method"}
)
_GIVING: Final = frozenset(
    {"arguments", "parameters", "args", "input", "action_input", "tool_input", "kwargs", "params", "function_args"}
)
_HOLDING: Final = frozenset({"tool_calls", "function_call", "tool_call", "tool_use"})
_KEY: Final = re.compile(r"""(["'])([\w.\-]{1,256}+)\1\s*+:\s*+(?:(["'])([\w.\-]{1,256}+)\3|([\[{(]))?""")
_LINE: Final = re.compile(
    r"^[ \t>*\-`\[(]{0,16}+(?:(?:Action|Tool|Call|Function) ?: ?)?([\w.\-]{1,256}+)[ \t]*+([({]|$)", re.M
)
_REACT: Final = re.compile(
    r"^[ \t>*]{0,16}+(?:Action|Tool|Call|Function)(?: call)? ?\d{0,3}+ ?:\s{0,8}+(?:```\w{0,16}+\s{0,8}+)?"
    r"`?([\w.\-]{1,256}+)",
    re.MULTILINE | re.IGNORECASE,
)
_NAME: Final = r"(?<![\w.\-])(?:(?:functions|default_api|tools)\.)?([\w.\-]{1,256}+)"
_CODE: Final = re.compile(_NAME + r"""[`*]{0,4}+\((?=\s{0,8}+(?:["']|\w{1,64}+\s{0,8}+=(?!=)))""")
"""A name with values in brackets, wherever it stands: ``x = f("Rome")``; ``f(x)`` may be words about it."""
_WITH_JSON: Final = re.compile(_NAME + r"""[\s:`*>=\-]{0,8}+\{\s{0,8}+["'](?=[\w.\-]{1,64}+["']\s{0,8}+:)""")
"""A name and an object behind it: ``f: {"city": "Rome"}``."""
_ELEMENT: Final = re.compile(r"</([\w.\-]{1,256}+)>")
_NAMED_ELEMENT: Final = re.compile(r"<tool(?:_name)?>\s{0,8}+([\w.\-]{1,256}+)")


def written_call(text: str, tools: Collection[str]) -> str:
    """What in a text looks like a call; empty where nothing does.

    Args:
        text: Of an answer without a call.
        tools: Names of the tools that were offered.

    """
    text = text.strip()
    if not text:
        return ""
    if _MARKS.search(text):
        return AS_JSON if '"' in text and "{" in text else IN_OTHER_WORDS
    if _is_json(text) or _has_keys(text, tools) or any(found[1] in tools for found in _WITH_JSON.finditer(text)):
        return AS_JSON
    return IN_OTHER_WORDS if _has_lines(text, tools) or _has_code(text, tools) else ""


def _is_json(text: str) -> bool:
    """Whether a text is an object or a list in JSON, and nothing else."""
    fenced = _FENCED.match(text)
    inside = fenced[1].strip() if fenced else text
    if not inside.startswith(("{", "[")) or not inside.endswith(("}", "]")):
        return False
    try:
        json.loads(inside)
    except RecursionError:
        return True
    except ValueError:
        return False
    return True


def _has_keys(text: str, tools: Collection[str]) -> bool:
    """Whether keys of a call stand in the text, of broken JSON as well."""
    names = gives = False
    for found in _KEY.finditer(text):
        key, value, opens = found[2], found[4], found[5]
        if key in _HOLDING or (key in tools and opens) or (key in _NAMING and value in tools):
            return True
        names = names or key in _NAMING
        gives = gives or key in _GIVING
    return names and gives


def _has_code(text: str, tools: Collection[str]) -> bool:
    """Whether a call stands anywhere as code, or as an element of XML."""
    if any(found[1] in tools for pattern in (_CODE, _NAMED_ELEMENT) for found in pattern.finditer(text)):
        return True
    closed = {found[1] for found in _ELEMENT.finditer(text)}
    return any(f"<{name}" in text for name in closed.intersection(tools))


def _has_lines(text: str, tools: Collection[str]) -> bool:
    """Whether a line begins with a call of a tool, as in code or as ``Action: tool``."""
    if any(found[1] in tools for found in _REACT.finditer(text)):
        return True
    return any(found[1] in tools and found[2] in {"(", "{"} for found in _LINE.finditer(text))
