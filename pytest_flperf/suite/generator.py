"""Prompt generator: prompts of each request, reproducible by seed."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

from pytest_flperf.quality.rows import ScoredRow
from pytest_flperf.suite.errors import SuiteError
from pytest_flperf.suite.messages import Message, WrittenPrompt
from pytest_flperf.suite.model import Case
from pytest_flperf.suite.prompt_lengths import PromptLengths, padded
from pytest_flperf.suite.prompts.fitting import SAMPLE_KEY
from pytest_flperf.suite.prompts.sources import PromptSource, TracedRequest
from pytest_flperf.suite.prompts.synthetic import TokensPerWord
from pytest_flperf.suite.prompts.templates import PromptTemplate
from pytest_flperf.suite.request_body import unique_key

__all__ = ["Ask", "PromptGenerator"]

_ID_BYTES: Final = 6
_NO_SOURCE: Final = PromptSource()
_SAMPLE_WORDS: Final = 64
_MOST_TURNS: Final = 1_000
_RENDERED_AHEAD: Final = 64
"""Texts of a template that are rendered at once: alone, each takes 0.2 ms more to go to its process and back."""


@dataclass(frozen=True, slots=True)
class Ask:
    """The prompt of one request."""

    messages: tuple[Message, ...]
    max_tokens: int | None = None
    """None: that of the settings."""
    tools: tuple[Mapping[str, Any], ...] | None = None
    """Of its row; None: those of the settings."""


class PromptGenerator:
    """Generator of the prompts of one case."""

    def __init__(self, case: Case, seed: str) -> None:
        """Prepare the prompts; the same ``seed`` gives the same prompts."""
        self._case = case
        self._settings = case.scenario.settings
        self._source = case.scenario.source or _NO_SOURCE
        self._seed = f"{seed}/{case.nodeid}"
        self._key_seed = seed
        self._repeated = case.scenario.prompts
        self._lengths = PromptLengths(case, self._source, self._seed)
        self._prompt_ids: dict[int, str] = {}  # of requests under way, of a case whose answers are scored
        self._rendered_ahead: dict[int, str] = {}

    # ---- lengths

    @property
    def needs_usage(self) -> bool:
        """Whether the server's token counts are needed before the first prompt."""
        source = self._source
        lengths = source.input_tokens or source.shared_prefix_tokens or self._settings.context_tokens
        traced = any(each.input_tokens for each in source.trace)
        return bool(lengths or traced) and source.tokenizer is None

    def calibrating(self, words: int) -> Ask:
        """A calibration request with *words* pieces of filler.

        The filler comes with the usual messages, to learn how the server counts.
        """
        text, lengths = self._lengths.calibration(words), self._lengths
        messages = lengths.with_user_text(text) if self._by_length else padded(self._plain(0), text)
        return Ask(lengths.keyed(messages, SAMPLE_KEY), 1)

    def learn(self, usage: TokensPerWord) -> None:
        """Set how the server counts tokens."""
        self._lengths.usage = usage

    def learn_from(self, other: PromptGenerator) -> None:
        """Copy what another one has learnt of the same server."""
        self._lengths.usage = other._lengths.usage

    @property
    def longest_words(self) -> int:
        """Approximate filler pieces of the longest prompt, for calibration."""
        source = self._source
        lengths = [self._settings.context_tokens or 0, source.shared_prefix_tokens]
        lengths += [source.input_tokens.high] if source.input_tokens else []
        lengths += [each.input_tokens or 0 for each in source.trace]
        return max(lengths)

    # ---- requests

    def ask(self, index: int, number: int) -> Ask:
        """The prompt of one request.

        Args:
            index: Its place among the measured ones, which selects rows of data sets and traces; negative in a warm-up.
            number: Its number in the case, which selects its unique prefix.

        """
        key = unique_key(self._key_seed, self._case.nodeid, number)
        messages, max_tokens = self._asked(index, key)
        tools = self._tools(index)
        if self._case.scenario.is_scored and index >= 0 and self._source.tokenizer is None:
            self._prompt_ids[index] = _prompt_id(messages, tools, self.tool_results(index))
        return Ask(self._lengths.sent(messages, key), max_tokens, tools)

    def sample(self, number: int) -> Ask:
        """A typical request that is not one of the case's.

        Its length is arbitrary while lengths can't be kept yet.
        """
        if self.needs_usage and self._lengths.usage is None:
            return replace(self.calibrating(_SAMPLE_WORDS), max_tokens=None)
        if self._settings.load.kind == "session":
            return self.opening(0, number)
        return self.ask(-1, number)

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for people on the lengths of prompts."""
        return self._lengths.notes

    def _asked(self, index: int, key: str | None = None) -> tuple[tuple[Message, ...], int | None]:
        """The messages without any prefix, and the answer's maximum length.

        Without a key: the part that is the same for every key.
        """
        source, index = self._source, self._prompt_number(index)
        rng = self._random(index)
        traced = source.trace[index % len(source.trace)] if source.trace else None
        length = self._input_tokens(traced, rng)
        max_tokens = self._max_tokens(index, traced, rng)
        if length is not None:
            return self._lengths.synthetic(length, key), max_tokens
        messages = traced.messages if traced is not None and traced.messages else self._plain(index)
        context = self._settings.context_tokens
        if context:
            messages = self._lengths.padded_to(messages, context, key)
        return messages, max_tokens

    def _prompt_number(self, index: int) -> int:
        """Number of a request's prompt, where each is asked several times."""
        return index if self._repeated is None or index < 0 else index % self._repeated

    def scored_row(self, index: int) -> ScoredRow:
        """What the row of a measured request says of its answer."""
        return self._source.rows[self._row_number(self._prompt_number(index))].scored

    def prompt_id(self, index: int) -> str:
        """Id of a request's prompt, the same in every run.

        Requests with the same prompt share it; unique prefixes don't count.
        """
        messages, _ = self._asked(index)
        return _prompt_id(messages, self._tools(index), self.tool_results(index))

    def sent_prompt_id(self, index: int) -> str:
        """As :meth:`prompt_id`, for a request that has ended.

        It is mostly known since the request was made, and then forgotten.
        """
        return self._prompt_ids.pop(index, "") or self.prompt_id(index)

    def written(self, index: int) -> WrittenPrompt | None:
        """A request's prompt as people wrote it: without prefixes and padding.

        None for a prompt of filler alone, which asks nothing.
        """
        source, number = self._source, self._prompt_number(index)
        traced = source.trace[number % len(source.trace)] if source.trace else None
        if traced is not None and traced.messages:
            return WrittenPrompt(_prompt_id(traced.messages, self._tools(index)), traced.messages)
        if self._by_length:
            return None
        messages = self._plain(number)
        row = source.rows[self._row_number(number)].scored if source.rows else ScoredRow()
        return WrittenPrompt(
            _prompt_id(messages, self._tools(index), self.tool_results(index)), messages, row.id, row.category
        )

    def conversation(self, session: int) -> tuple[str, ...]:
        """The user's messages of a session, in order."""
        if self._source.turns:
            return self._source.turns
        return self._source.rows[self._row_number(session)].turns[:_MOST_TURNS]

    def opening(self, session: int, number: int) -> Ask:
        """The first request of a session."""
        first = self._lengths.with_user_text(self._source.turns[0]) if self._source.turns else self._plain(session)
        key = unique_key(self._key_seed, self._case.nodeid, number)
        return Ask(self._lengths.sent(first, key), self._max_tokens(session, None, self._random(session)))

    # ---- their parts

    @property
    def _by_length(self) -> bool:
        source = self._source
        return source.input_tokens is not None or any(each.input_tokens for each in source.trace)

    def _random(self, index: int) -> random.Random:
        return random.Random(f"{self._seed}/{index}")  # noqa: S311 - no secret: a plan

    def _input_tokens(self, traced: TracedRequest | None, rng: random.Random) -> int | None:
        if traced is not None and traced.input_tokens and not traced.messages:
            return traced.input_tokens
        return self._source.input_tokens.draw(rng) if self._source.input_tokens is not None else None

    def _max_tokens(self, index: int, traced: TracedRequest | None, rng: random.Random) -> int | None:
        source = self._source
        if not source.own_lengths:
            return None
        if traced is not None and traced.max_tokens:
            return traced.max_tokens
        if source.output_tokens is not None:
            return source.output_tokens.draw(rng)
        return source.rows[self._row_number(index)].max_tokens if source.rows else None

    @cached_property
    def _own_tools(self) -> bool:
        """Whether any row has tools of its own."""
        return any(row.tools for row in self._source.rows)

    def _tools(self, index: int) -> tuple[Mapping[str, Any], ...] | None:
        """Tools of a request whose row has its own; None: all have those of the settings."""
        if not self._own_tools:
            return None
        return self._source.rows[self._row_number(self._prompt_number(index))].tools or self._settings.tools

    def tool_results(self, index: int) -> tuple[Mapping[str, Any], ...]:
        """Results that are played in the conversation of a prompt: its row's own, or the scenario's."""
        rows = self._source.rows
        own = rows[self._row_number(self._prompt_number(index))].tool_results if rows else ()
        return own or self._case.scenario.tool_results

    def offered_tools(self, index: int) -> tuple[Mapping[str, Any], ...]:
        """Tools of a prompt."""
        return self._tools(index) or self._settings.tools

    def _plain(self, index: int) -> tuple[Message, ...]:
        """The messages from the template, the data set or the suite."""
        source, messages = self._source, self._case.scenario.messages
        row = source.rows[self._row_number(index)] if source.rows else None
        if source.template is not None:
            return self._lengths.with_user_text(self._rendered(source.template, index))
        if row is None:
            return messages
        system = () if row.messages[0].role != "user" else messages[:-1]
        return (*system, *row.messages)

    def _rendered(self, template: PromptTemplate, index: int) -> str:
        """The template's text for one request, rendered with those of the requests after it."""
        known = self._rendered_ahead
        if index in known:
            return known[index]
        ahead = range(index, index + _RENDERED_AHEAD)
        try:
            texts = template.render_all([self._values(each) for each in ahead])
        except SuiteError:  # perhaps of a request that will never be
            return template.render(self._values(index))
        self._rendered_ahead = dict(zip(ahead, texts, strict=True))
        return texts[0]

    def _values(self, index: int) -> dict[str, Any]:
        """What a template sees for one request."""
        source = self._source
        rng = random.Random(f"{self._seed}/{index}/variables")  # noqa: S311
        drawn = {
            name: rng.choice(value) if isinstance(value, tuple) else value for name, value in source.variables.items()
        }
        fields = source.rows[self._row_number(index)].fields if source.rows else {}
        return {"index": index, **fields, **drawn}

    @cached_property
    def _order(self) -> Mapping[int, int] | None:
        count = len(self._source.rows)
        if not self._source.shuffled or not count:
            return None
        places = random.Random(f"{self._seed}/order").sample(range(count), count)  # noqa: S311
        return dict(enumerate(places))

    def _row_number(self, index: int) -> int:
        place = index % len(self._source.rows)
        return place if self._order is None else self._order[place]


def _prompt_id(
    messages: tuple[Message, ...],
    tools: tuple[Mapping[str, Any], ...] | None,
    results: tuple[Mapping[str, Any], ...] = (),
) -> str:
    text = repr([(each.role, each.content) for each in messages])
    text += json.dumps(tools, sort_keys=True) if tools else ""
    text += json.dumps(results, sort_keys=True, default=str) if results else ""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_ID_BYTES).hexdigest()
