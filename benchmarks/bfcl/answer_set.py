"""Answers to BFCL's questions, right and wrong in known ways: the same ones each time.

Right ones come out of the possible answers; the others change one thing in them.  A generator that is seeded with the
question's id chooses where.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

__all__ = ["Answer", "Question", "answers_to", "questions_of"]

ABSENT: Final = ""
"""Among possible values: the argument may be absent."""
NO_FUNCTION: Final[Mapping[str, Any]] = {"name": "function", "parameters": {"properties": {}}}
PROSE: Final = "I am sorry, none of the functions that I have helps with that."


@dataclass(frozen=True, slots=True)
class Question:
    """One question, with its functions and its possible answer."""

    id: str
    line: Mapping[str, Any]
    """As it stands in BFCL's file."""
    truth: Mapping[str, Any] | None
    """Its line of possible answers; None: no call is right."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model might answer."""

    id: str
    kind: str
    """How it came out of the right one."""
    calls: tuple[tuple[str, str], ...] = ()
    """Name and arguments of each call, as they are sent."""
    text: str = ""

    def to_record(self) -> dict[str, Any]:
        """As builtins."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Answer:
        """Read the output of :meth:`to_record`."""
        return cls(record["id"], record["kind"], tuple((name, text) for name, text in record["calls"]), record["text"])


def questions_of(questions: str, truths: str | None) -> list[Question]:
    """Questions out of the texts of BFCL's files, both JSON Lines."""
    known = {line["id"]: line for line in map(json.loads, (truths or "").splitlines())}
    return [Question(line["id"], line, known.get(line["id"])) for line in map(json.loads, questions.splitlines())]


def answers_to(question: Question) -> Iterator[Answer]:
    """All answers to one question."""
    rng = random.Random(question.id)
    functions = question.line["function"]
    if question.truth is None:
        yield from _needless(question.id, functions[0] if functions else NO_FUNCTION, rng)
        return
    ((name, possible),) = question.truth["ground_truth"][0].items()
    yield from _Changes(question.id, name, possible, functions[0]["parameters"], rng).all()


def _needless(identity: str, function: Mapping[str, Any], rng: random.Random) -> Iterator[Answer]:
    """Where no call is right: none, calls that can be read, calls that can't, and calls as text."""
    name, properties = _sent(function["name"]), function["parameters"]["properties"]
    arguments = json.dumps({key: _some(schema, rng) for key, schema in properties.items()})
    written = f'{{"name": "{name}", "arguments": {arguments}}}'
    yield Answer(identity, "prose", text=PROSE)
    yield Answer(identity, "nothing")
    yield Answer(identity, "call", ((name, arguments),))
    yield Answer(identity, "call without arguments", ((name, "{}"),))
    yield Answer(identity, "unknown function", (("no_such_function", "{}"),))
    yield Answer(identity, "two calls", ((name, arguments), (name, arguments)))
    yield Answer(identity, "call beside prose", ((name, arguments),), PROSE)
    yield Answer(identity, "broken JSON", ((name, arguments[:-1]),))
    yield Answer(identity, "one of two broken", ((name, arguments), (name, arguments[:-1])))
    yield Answer(identity, "arguments as a list", ((name, f"[{arguments}]"),))
    yield Answer(identity, "arguments as words", ((name, "the usual ones"),))
    yield Answer(identity, "JSON as text", text=written)
    yield Answer(identity, "JSON in a fence", text=f"```json\n{written}\n```")
    yield Answer(identity, "tags as text", text=f"<tool_call>\n{written}\n</tool_call>")
    yield Answer(identity, "code as text", text=f"{name}()")


def _some(schema: Mapping[str, Any], rng: random.Random) -> Any:
    match schema.get("type"):
        case "integer":
            return rng.randrange(100)
        case "float":
            return rng.randrange(100) / 4
        case "boolean":
            return rng.random() < 1 / 2
        case "array" | "tuple":
            return []
        case "dict":
            return {}
        case _:
            return "something"


def _sent(name: str) -> str:
    """Name as OpenAI's API takes it, and as BFCL sends it."""
    return re.sub(r"\.", "_", name)


class _Changes:
    """Right answers of one question, and what changes in them make."""

    def __init__(
        self,
        identity: str,
        name: str,
        possible: Mapping[str, Sequence[Any]],
        parameters: Mapping[str, Any],
        rng: random.Random,
    ) -> None:
        self._id = identity
        self._name = _sent(name)
        self._plain_name = name
        self._possible = possible
        self._types: dict[str, str] = {key: each["type"] for key, each in parameters["properties"].items()}
        self._required = parameters.get("required", [])
        self._rng = rng

    def all(self) -> Iterator[Answer]:
        """Every answer that this question can have."""
        full, least = self._full(), self._least()
        yield self._answer("right", full)
        yield self._answer("right, optional absent", least)
        yield self._answer("right, last values", self._full(last=True))
        yield self._answer("right, beside prose", full, text="Let me see.")
        yield self._answer("texts respelt", {key: _respelt(value, self._rng) for key, value in full.items()})
        for kind, arguments in self._with_changed(full):
            yield self._answer(kind, arguments)
        yield self._answer("unknown argument", {**full, "no_such_argument": 1})
        for key in full:
            without = {name: value for name, value in full.items() if name != key}
            yield self._answer("argument left out", without)
        absent = [key for key, values in self._possible.items() if ABSENT in values]
        for key in absent:
            yield self._answer("empty text for absent", {**least, key: ""})
            yield self._answer("null for absent", {**least, key: None})
            yield self._answer("empty list for absent", {**least, key: []})
        yield from self._of_calls(full)

    def _of_calls(self, full: Mapping[str, Any]) -> Iterator[Answer]:
        written = json.dumps(full)
        yield Answer(self._id, "other name", ((f"other_{self._name}", written),))
        yield Answer(self._id, "name in capitals", ((self._name.swapcase(), written),))
        if self._plain_name != self._name:
            yield Answer(self._id, "name with its dots", ((self._plain_name, written),))
        yield Answer(self._id, "the call twice", ((self._name, written), (self._name, written)))
        yield Answer(self._id, "another call beside it", ((self._name, written), ("other", "{}")))
        yield Answer(self._id, "prose", text=PROSE)
        yield Answer(self._id, "nothing")
        yield Answer(self._id, "broken JSON", ((self._name, written[:-1]),))
        yield Answer(self._id, "one of two broken", ((self._name, written), (self._name, written[:-1])))
        yield Answer(self._id, "arguments as a list", ((self._name, f"[{written}]"),))
        yield Answer(self._id, "JSON as text", text=f'{{"name": "{self._name}", "arguments": {written}}}')
        yield Answer(self._id, "code as text", text=f"{self._name}()")

    def _answer(self, kind: str, arguments: Mapping[str, Any], text: str = "") -> Answer:
        return Answer(self._id, kind, ((self._name, json.dumps(arguments, ensure_ascii=False)),), text)

    def _full(self, *, last: bool = False) -> dict[str, Any]:
        """Arguments with a value for each that has one."""
        found = {}
        for key, values in self._possible.items():
            there = [value for value in values if value != ABSENT]
            if there:
                found[key] = self._given(key, there[-1 if last else 0], last=last)
            elif key in self._required:
                found[key] = ""
        return found

    def _least(self) -> dict[str, Any]:
        """Arguments without those that may be absent."""
        return {key: value for key, value in self._full().items() if ABSENT not in self._possible[key]}

    def _given(self, key: str, value: Any, *, last: bool) -> Any:
        """A value as a model would send it: members of possible objects are lists of allowed values."""
        if self._types.get(key) == "dict" and isinstance(value, dict):
            return _plain_object(value, last=last)
        if isinstance(value, list):
            return [_plain_object(each, last=last) if isinstance(each, dict) else each for each in value]
        return value

    def _with_changed(self, full: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Each change of a value, wherever it can be made."""
        for kind, change in CHANGES.items():
            for key, value in full.items():
                changed = change(value, self._rng)
                if changed is not None:
                    yield kind, {**full, key: changed[0]}


def _plain_object(value: Mapping[str, Any], *, last: bool) -> dict[str, Any]:
    found = {}
    for key, allowed in value.items():
        there = [each for each in allowed if each != ABSENT] if isinstance(allowed, list) else [allowed]
        if there:
            found[key] = there[-1 if last else 0]
    return found


def _respelt(value: Any, rng: random.Random) -> Any:
    """Texts with other case, spaces and punctuation, as BFCL allows them."""
    if isinstance(value, str):
        text = rng.choice([str.upper, str.lower, str.swapcase])(value)
        at = rng.randrange(len(text) + 1)
        return text[:at] + rng.choice(" ,./-_*^") + text[at:]
    if isinstance(value, list):
        return [_respelt(each, rng) for each in value]
    return {key: _respelt(each, rng) for key, each in value.items()} if isinstance(value, dict) else value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _other_value(value: Any, rng: random.Random) -> tuple[Any] | None:
    if isinstance(value, bool):
        return (not value,)
    if _is_number(value):
        return (value + rng.choice([-1, 1, 10, 0.5]),)
    if isinstance(value, str):
        return (f"{value} or elsewhere",)
    return ("something else",) if value is None else None


def _other_type(value: Any, rng: random.Random) -> tuple[Any] | None:
    if isinstance(value, bool):
        return (str(value),)
    if _is_number(value):
        return (str(value),)
    if isinstance(value, str):
        return (rng.choice([[value], {"value": value}, 7, True, None]),)
    return (json.dumps(value),)


def _as_float(value: Any, rng: random.Random) -> tuple[Any] | None:
    del rng
    if isinstance(value, int) and not isinstance(value, bool):
        return (float(value),)
    if isinstance(value, list) and value and all(isinstance(each, int) for each in value):
        return ([float(each) for each in value],)
    return None


def _as_whole(value: Any, rng: random.Random) -> tuple[Any] | None:
    del rng
    if isinstance(value, float) and value.is_integer():
        return (int(value),)
    if isinstance(value, list) and any(isinstance(each, float) and each.is_integer() for each in value):
        return ([int(each) if isinstance(each, float) and each.is_integer() else each for each in value],)
    return None


def _as_truth(value: Any, rng: random.Random) -> tuple[Any] | None:
    del rng
    if isinstance(value, bool):
        return (int(value),)
    if value in (0, 1):
        return (bool(value),)
    if isinstance(value, dict) and any(each in (0, 1) for each in value.values() if _is_number(each)):
        return ({key: bool(each) if each in (0, 1) else each for key, each in value.items()},)
    return None


def _of_list(change: Callable[[list[Any], random.Random], Any]) -> Callable[[Any, random.Random], tuple[Any] | None]:
    return lambda value, rng: (change(value, rng),) if isinstance(value, list) and value else None


def _of_object(
    change: Callable[[dict[str, Any], random.Random], Any],
) -> Callable[[Any, random.Random], tuple[Any] | None]:
    """A change of an object, or of the first one in a list."""

    def changed(value: Any, rng: random.Random) -> tuple[Any] | None:
        if isinstance(value, dict) and value:
            return (change(value, rng),)
        if isinstance(value, list) and value and isinstance(value[0], dict) and value[0]:
            return ([change(value[0], rng), *value[1:]],)
        return None

    return changed


def _one_changed(value: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    key = rng.choice(list(value))
    return {**value, key: (_other_value(value[key], rng) or ("something else",))[0]}


def _one_item_changed(value: list[Any], rng: random.Random) -> list[Any]:
    at = rng.randrange(len(value))
    return [*value[:at], (_other_value(value[at], rng) or ("something else",))[0], *value[at + 1 :]]


CHANGES: Final[Mapping[str, Callable[[Any, random.Random], tuple[Any] | None]]] = {
    "wrong value": _other_value,
    "wrong type": _other_type,
    "null": lambda _value, _rng: (None,),
    "whole number with a fraction": _as_float,
    "number without its fraction": _as_whole,
    "truth for a number, or the other way": _as_truth,
    "in a list": lambda value, _rng: ([value],),
    "list backwards": _of_list(lambda value, _rng: value[::-1]),
    "list with one more": _of_list(lambda value, _rng: [*value, value[0]]),
    "list with one less": _of_list(lambda value, _rng: value[:-1]),
    "one item of a list wrong": _of_list(_one_item_changed),
    "empty list": _of_list(lambda _value, _rng: []),
    "list as its first item": _of_list(lambda value, _rng: value[0]),
    "member wrong": _of_object(_one_changed),
    "member left out": _of_object(
        lambda value, rng: (
            (gone := rng.choice(list(value))) and {key: each for key, each in value.items() if key != gone}
        )
    ),
    "unknown member": _of_object(lambda value, _rng: {**value, "no_such_member": 1}),
    "member empty": _of_object(lambda value, rng: {**value, rng.choice(list(value)): ""}),
}
"""Changes of one value: None where a value has nothing that can be changed so."""
