"""Answer JSON: text, tool calls, finish reason and usage.

Forgiving in form, strict in what it counts.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Final

from jiter import from_json

from pytest_flperf.wire.error_signs import ERROR_KEYS, announces_error
from pytest_flperf.wire.errors import ServerError, find_error, words_beside
from pytest_flperf.wire.finish import ELSEWHERE, Finish
from pytest_flperf.wire.surrogates import repair_text
from pytest_flperf.wire.texts import texts_of, tools_of, unknown_text
from pytest_flperf.wire.tool_calls import ToolCalls
from pytest_flperf.wire.usage import Usage, timings_of

__all__ = ["ANSWER", "CONTENT", "REASONING", "Answer", "load_json"]

REASONING: Final = 1
CONTENT: Final = 2
ANSWER: Final = 4
"""What a chunk held, as bits: reasoning; content, in which reasoning may stand in tags; a tool call or a refusal."""
_TEXT_LIMIT: Final = 4 << 20
"""Characters of text that are looked at, of the answer and of its reasoning each."""
_CALLS_LIMIT: Final = 262_144
_LOOKED_AT: Final = 64
"""Chunks that are searched for unknown fields with text."""
_NAME_LIMIT: Final = 512
_MOST_FIELDS: Final = 4
_LONGEST_FIELD: Final = 64
_RARE: Final = ELSEWHERE | {"error", "usage"}
_BESIDE: Final = ("content", "role")
_MOST_CHOICES: Final = 1 << 32


def load_json(data: bytes) -> Any:
    """Parse JSON from a server; raises ValueError for any defect."""
    try:
        return from_json(data)
    except ValueError:
        pass  # it refuses what json takes: half surrogates (split over two chunks), a BOM, more than 200 levels
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(str(error)[:200]) from error


@dataclass(slots=True)
class Answer:
    """State of an answer while its chunks are read."""

    output: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    tool_calls: ToolCalls = field(default_factory=lambda: ToolCalls(_CALLS_LIMIT))
    called: bool = False
    """Whether a tool call with a name or arguments came."""
    finish: Finish = field(default_factory=Finish)
    error: ServerError | None = None
    """The first error that the server sent, if any."""
    doubt: ServerError | None = None
    """The first document that may have been one; none, if the answer is whole."""
    usage: Usage = field(default_factory=Usage)
    model: str | None = None
    choices_seen: bool = False
    several: bool = False
    """Whether the answer has more than one choice."""
    successful: bool = False
    """Foundry Local before 1.0 sends this in every chunk of a stream, and no ``finish_reason`` at its end."""
    unknown_fields: list[str] = field(default_factory=list)
    """Fields with text that are none that is known; what they hold was not counted."""
    _choice: str = ""
    _told: Any = None
    """The number of the choice, as the server last sent it."""
    _left: set[str] = field(default_factory=set)
    """Indexes that choices had before."""
    _from_deltas: bool = False
    _length: int = 0
    _reasoning_length: int = 0
    _looked_at: int = 0
    _model_sent: str | None = None

    def take(self, document: Any) -> int:
        """Read a chunk or a whole answer; returns its kinds of text.

        The kinds are bits: 0, or some of the constants above.
        """
        if not isinstance(document, dict):
            self.fail(find_error(document))
            return 0
        choices = document.get("choices")
        if (not choices or not ERROR_KEYS.isdisjoint(document)) and self.error is None:
            self.fail(find_error(document))
        # One document per token: what nearly all of them lack, or say again, costs no call.
        model = document.get("model")
        if model != self._model_sent and isinstance(model, str) and model:
            self._model_sent, self.model = model, repair_text(model[:_NAME_LIMIT])
        if (usage := document.get("usage")) is not None:
            self.usage.take(usage)
        if (timings := document.get("timings")) is not None:
            self.usage.take_timings(timings)
        elif "eval_duration" in document:
            self.usage.take_timings(timings_of(document))
        if "Successful" in document:
            self.successful = document["Successful"] is True
        if "x_groq" in document and isinstance(document["x_groq"], dict):
            self.usage.take(document["x_groq"].get("usage"))
        if isinstance(choices, dict):
            choices = [choices]
        held = self._take_choices(choices) if type(choices) is list else 0
        if "finish_reason" in document:
            self.finish.say_elsewhere(document["finish_reason"])
        if self.finish.reason is not None:
            self._end(choices, document)
        return held

    def _end(self, choices: Any, document: dict[str, Any]) -> None:
        """Keep the words that accompany a failure as finish reason."""
        if self.finish.is_failure and not self.finish.words and isinstance(choices, list):
            choice = choices[0] if choices and isinstance(choices[0], dict) else {}
            self.finish.words = words_beside(choice, document)

    def _take_choices(self, choices: list[Any]) -> int:
        held = 0
        if len(choices) > 1:
            found = {_index_of(choice, place) for place, choice in enumerate(choices) if isinstance(choice, dict)}
            self.several |= len(found) > 1
        for place, choice in enumerate(choices):
            if not isinstance(choice, dict):
                continue
            told = choice.get("index")
            if (type(told) is not int or told != self._told) and not self._goes_on(_index_of(choice, place)):
                continue
            self._told = told
            part = choice.get("delta")
            # A piece of text and nothing else is what nearly all chunks hold; the general way takes much longer.
            if type(part) is dict and choice.get("finish_reason") is None and _says_no_more(choice):
                content = part.get("content")
                if type(content) is str and content and _is_alone(part):
                    if self._length < _TEXT_LIMIT:
                        self._length += len(content)
                        self.output.append(content)
                    self._from_deltas = True
                    held |= CONTENT
                    if self.finish.reason is not None and not content.isspace():
                        self.finish.text_came()
                    continue
            held |= self._take_choice(choice)
        return held

    def fail(self, error: ServerError | None) -> None:
        """Record an error; the first is kept.

        What follows the first error mostly follows from it.
        """
        if error is None or error.certain or (self.finish.is_whole and announces_error(error.words)):
            self.error = self.error or error
        else:
            self.doubt = self.doubt or error

    def _goes_on(self, index: str) -> bool:
        """Whether a choice continues the one that is read.

        Texts of different choices would be mixed up.

        Some servers count up what is one answer's (the blocks of its content, its chunks), so another number alone
        makes no other choice; one that is back, or that begins when the answer has ended, does.
        """
        if self.choices_seen and index != self._choice:
            self.several |= index in self._left or not self.finish.is_open
            self._left.add(self._choice)
        self.choices_seen, self._choice = True, index
        return not self.several

    def _take_choice(self, choice: dict[str, Any]) -> int:
        if "error" in choice:
            self.fail(find_error({"error": choice["error"]}))
        if "usage" in choice:
            self.usage.take(choice["usage"])
        # Foundry Local before 1.0 sends both, with the same text, and tool calls in a message alone.  After deltas
        # with text, a message's text could only be all of it once more.
        part = choice.get("delta")
        streamed = isinstance(part, dict | str) and bool(part)
        if not streamed:
            part = choice.get("message")
            if self._from_deltas and isinstance(part, dict):
                names = () if self.called else ("tool_calls", "function_call")
                part = {name: part.get(name) for name in names}
        if isinstance(part, dict) and "error" in part:
            self.fail(find_error({"error": part["error"]}))
        if not isinstance(part, dict):
            text = part if isinstance(part, str) else choice.get("text")
            part = {"content": text} if isinstance(text, str) else {}
        held = self._take_part(part)
        if not held and (choice.get("text") or choice.get("content")):
            held = self._take_part({"text": choice.get("text"), "content": choice.get("content")})
        self._from_deltas |= streamed and held > 0
        if held & ANSWER or (held & CONTENT and not (self.output and self.output[-1].isspace())):
            self.finish.text_came()
        self.finish.say(choice.get("finish_reason"))
        if "finish_reason" in part:
            self.finish.say_elsewhere(part["finish_reason"])
        for name, value in choice.items():
            if name in ELSEWHERE:
                self.finish.say_elsewhere(value)
        return held

    def _take_part(self, part: dict[str, Any]) -> int:
        texts = texts_of(part)
        calls, legacy = part.get("tool_calls"), part.get("function_call")
        calls = calls or tools_of(part)
        called = self.tool_calls.take(calls, legacy) if calls or legacy else ""
        if (text := texts.content + texts.refusal) and self._length < _TEXT_LIMIT:
            self._length += len(text)
            self.output.append(text)
        if texts.reasoning and self._reasoning_length < _TEXT_LIMIT:
            self._reasoning_length += len(texts.reasoning)
            self.reasoning.append(texts.reasoning)
        self.called |= bool(called)
        held = REASONING if texts.reasoning else 0
        held |= CONTENT if texts.content else 0
        held |= ANSWER if called or texts.refusal else 0
        if not held or self._looked_at < _LOOKED_AT:
            self._look_for_unknown(part)
        return held

    def _look_for_unknown(self, part: dict[str, Any]) -> None:
        self._looked_at += 1
        if len(self.unknown_fields) < _MOST_FIELDS and (name := unknown_text(part)) is not None:
            name = repair_text(name[:_LONGEST_FIELD])
            if name not in self.unknown_fields:
                self.unknown_fields.append(name)


def _is_alone(part: dict[str, Any]) -> bool:
    """Whether a delta holds only ``content``."""
    return len(part) == 1 or not any(part[name] for name in part if name not in _BESIDE)


def _says_no_more(choice: dict[str, Any]) -> bool:
    """Whether a choice holds only its delta and its finish reason."""
    return _RARE.isdisjoint(choice) or not any(choice.get(name) for name in _RARE)


def _index_of(choice: dict[str, Any], place: int) -> str:
    told = choice.get("index")
    if isinstance(told, str):
        return told[:_LONGEST_FIELD]
    return str(int(told)) if isinstance(told, int | float) and abs(told) < _MOST_CHOICES else str(place)
