"""BFCL: rows of a data set out of its questions and possible answers.

The Berkeley Function Calling Leaderboard has a file of questions and one of answers for each category, both JSON Lines:
``{"id", "question": [[{"role", "content"}]], "function": [{"name", "description", "parameters"}]}`` and
``{"id", "ground_truth": [{"NAME": {"ARGUMENT": [VALUE, …]}}]}``.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pytest_flperf.suite.errors import SuiteError, shown
from pytest_flperf.suite.tool_imports.bfcl_values import allowed_values

__all__ = ["is_bfcl", "rows_of_bfcl"]

_TYPES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("dict", "object", "hashmap", "hashtable", "map", "set"), "object"),
    **dict.fromkeys(("float", "number", "double"), "number"),
    **dict.fromkeys(("integer", "int", "long", "short", "byte", "bigint"), "integer"),
    **dict.fromkeys(("array", "list", "tuple", "arraylist", "queue", "stack"), "array"),
    **dict.fromkeys(("boolean", "bool"), "boolean"),
    **dict.fromkeys(("string", "char", "str"), "string"),
}
"""JSON Schema's types by BFCL's, which are those of Python, Java and JavaScript."""
_OF_SCHEMAS: Final = ("properties", "$defs", "definitions")
_NO_NAME: Final = re.compile(r"[^a-zA-Z0-9_-]")
_NUMBERS: Final = re.compile(r"_\d[\d-]*$")
_LONGEST_NAME: Final = 64
_NONE_RIGHT: Final = "irrelevance"
_TURNS: Final = "several turns"
_NONE_COUNTS: Final = "possible answers that no call can meet"
_NO_VALUES: Final = "answers that are no calls with values"


def is_bfcl(first: object) -> bool:
    """Whether the first line of a file is one of BFCL's questions."""
    return isinstance(first, Mapping) and "question" in first and "function" in first


def rows_of_bfcl(
    questions: Sequence[tuple[str, Any]], answers: Sequence[tuple[str, Any]] | None
) -> tuple[list[dict[str, Any]], Counter[str]]:
    """Rows of a data set, and the number of questions that are left out, by reason.

    Args:
        questions: Place and object of each line.
        answers: Likewise; None: there is no such file, which only questions of irrelevance can do without.

    Raises:
        SuiteError: A line is not one of BFCL's, or a question has no answer.

    """
    known = {_id(each, place): each.get("ground_truth") for place, each in answers or ()}
    left_out: Counter[str] = Counter()
    rows = []
    for place, question in questions:
        identity = _id(question, place)
        turns = question.get("question")
        if not isinstance(turns, list) or not all(isinstance(turn, list) for turn in turns) or not turns:
            raise SuiteError(f"{place}: found {shown(turns)} as question, expected a list of turns")
        if len(turns) > 1:
            left_out[_TURNS] += 1
            continue
        try:
            calls = _calls(known, question, place, has_answers=answers is not None)
        except ValueError:
            left_out[_NONE_COUNTS] += 1
            continue
        if calls is None:
            left_out[_NO_VALUES] += 1
            continue
        rows.append(
            {
                "id": identity,
                "category": _NUMBERS.sub("", identity),
                "messages": turns[0],
                "tools": list(_tools(question.get("function"), place)),
                "expect": {"calls": calls, "match": "normalised"} if calls else {"calls": []},
            }
        )
    return rows, left_out


def _id(line: Any, place: str) -> str:
    identity = line.get("id") if isinstance(line, Mapping) else None
    if not isinstance(identity, str) or not identity:
        raise SuiteError(f"{place}: found no id, expected a line of BFCL")
    return identity


def _calls(
    known: Mapping[str, Any], question: Mapping[str, Any], place: str, *, has_answers: bool
) -> list[dict[str, Any]] | None:
    """Expected calls of a question; None where its answer has another form."""
    identity = question["id"]
    if identity not in known:
        if _NONE_RIGHT in identity:
            return []
        missing = f"{identity} has no answer in it" if has_answers else "it needs the file of possible answers"
        raise SuiteError(f"{place}: {missing}: --answers names BFCL's file in possible_answer")
    truth = known[identity]
    if not isinstance(truth, list):
        return None
    calls = []
    for each in truth:
        if not isinstance(each, Mapping) or len(each) != 1:
            return None
        ((name, arguments),) = each.items()
        if not isinstance(arguments, Mapping):
            return None
        calls.append({"name": _name(name), "args": _arguments(arguments, _parameters(question.get("function"), name))})
    return calls


def _parameters(functions: Any, name: object) -> Mapping[str, Any]:
    """Parameters of a function of a question; empty where there is none, or another form."""
    for each in functions if isinstance(functions, list) else [functions]:
        if isinstance(each, Mapping) and each.get("name") == name and isinstance(each.get("parameters"), Mapping):
            return dict(each["parameters"])
    return {}


def _arguments(possible: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Expected arguments; raises ValueError where no answer is right, as BFCL's checker has it."""
    properties, required = parameters.get("properties"), parameters.get("required")
    properties = properties if isinstance(properties, Mapping) else {}
    required = required if isinstance(required, list) else []
    found = {
        str(key): allowed_values(values, properties.get(key), required=key in required)
        for key, values in possible.items()
    }
    return {key: allowed for key, allowed in found.items() if allowed is not None}


def _name(name: object) -> str:
    """Name that OpenAI's API takes: BFCL has dots in some."""
    return _NO_NAME.sub("_", str(name))[:_LONGEST_NAME]


def _tools(functions: Any, place: str) -> Iterator[dict[str, Any]]:
    functions = [functions] if isinstance(functions, Mapping) else functions
    if not isinstance(functions, list) or not all(isinstance(each, Mapping) for each in functions):
        raise SuiteError(f"{place}: found {shown(functions)} as function, expected a list of functions")
    for each in functions:
        function = {"name": _name(each.get("name")), "description": str(each.get("description", ""))}
        parameters = each.get("parameters")
        if parameters is not None:
            function["parameters"] = _schema(parameters)
        yield {"type": "function", "function": function}


def _schema(value: Any) -> Any:
    """JSON Schema of BFCL's, whose types are those of programming languages."""
    if not isinstance(value, Mapping):
        return value
    found = dict(value)
    written = found.get("type")
    if isinstance(written, str):
        found["type"] = _TYPES.get(written.lower(), "string")
        if written.lower() == "any":
            del found["type"]
    for key in _OF_SCHEMAS:
        if isinstance(found.get(key), Mapping):
            found[key] = {name: _schema(each) for name, each in found[key].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(found.get(key), Mapping):
            found[key] = _schema(found[key])
    # a flag of each property, where a schema has a list of names beside the properties
    if isinstance(found.get("required"), bool):
        del found["required"]
    return found


def lines_of(text: str, where: str) -> list[tuple[str, Any]]:
    """Place and object of each line of a file in JSON Lines; raises SuiteError."""
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                found.append((f"{where}:{number}", json.loads(line)))
            except (ValueError, RecursionError) as error:
                raise SuiteError(f"{where}:{number}: can't be read as JSON: {str(error)[:200]}") from None
    return found
