"""Prompt generator: prompts of each request, reproducible by seed."""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

from pytest_flperf.quality.rows import ScoredRow
from pytest_flperf.suite.errors import SuiteError
from pytest_flperf.suite.messages import Message, WrittenPrompt
from pytest_flperf.suite.model import Case
from pytest_flperf.suite.prompts.filler import filler_words
from pytest_flperf.suite.prompts.fitting import SAMPLE_KEY, Fitting
from pytest_flperf.suite.prompts.sources import PromptSource, TracedRequest
from pytest_flperf.suite.prompts.synthetic import TokensPerWord
from pytest_flperf.suite.prompts.templates import PromptTemplate
from pytest_flperf.suite.request_body import keyed, unique_key

__all__ = ["Ask", "PromptGenerator"]

_ID_BYTES: Final = 6
_NO_SOURCE: Final = PromptSource()
_SAMPLE_WORDS: Final = 64
_MOST_TURNS: Final = 1_000
_MOST_KEPT: Final = 32_000_000
"""Characters of filler kept for requests of the same length."""
_MOST_PADDINGS: Final = 64
_MOST_FITTINGS: Final = 4_096
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
        self._usage: TokensPerWord | None = None
        self._texts: dict[tuple[str, int], str] = {}  # by use and length
        self._kept = 0  # their characters
        self._padding: dict[tuple[Message, ...], str] = {}
        self._prompt_ids: dict[int, str] = {}  # of requests under way, of a case whose answers are scored
        self._fittings: dict[tuple[object, int], Fitting] = {}
        self._rendered_ahead: dict[int, str] = {}
        self._not_fitting: Counter[int] = Counter()  # prompts, by their surplus of tokens

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
        text = filler_words(words, random.Random(f"{self._seed}/calibration"), self._source.filler)  # noqa: S311
        messages = self._with_user_text(text) if self._by_length else self._padded(self._plain(0), text)
        return Ask(self._keyed(messages, SAMPLE_KEY), 1)

    def learn(self, usage: TokensPerWord) -> None:
        """Set how the server counts tokens."""
        self._usage = usage

    def learn_from(self, other: PromptGenerator) -> None:
        """Copy what another one has learnt of the same server."""
        self._usage = other._usage

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
        return Ask(self._sent(messages, key), max_tokens, tools)

    def sample(self, number: int) -> Ask:
        """A typical request that is not one of the case's.

        Its length is arbitrary while lengths can't be kept yet.
        """
        if self.needs_usage and self._usage is None:
            return replace(self.calibrating(_SAMPLE_WORDS), max_tokens=None)
        if self._settings.load.kind == "session":
            return self.opening(0, number)
        return self.ask(-1, number)

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for people on the lengths of prompts."""
        if not self._not_fitting:
            return ()
        low, high = min(self._not_fitting), max(self._not_fitting)
        count = sum(self._not_fitting.values())
        off = f"{low:+d}" if low == high else f"{low:+d} to {high:+d}"
        return (f"{count} prompts differ from the requested length by {off} tokens: no filler text fits",)

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
            return self._synthetic(length, key), max_tokens
        messages = traced.messages if traced is not None and traced.messages else self._plain(index)
        context = self._settings.context_tokens
        if context:
            messages = self._padded_to(messages, context, key)
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
        first = self._with_user_text(self._source.turns[0]) if self._source.turns else self._plain(session)
        key = unique_key(self._key_seed, self._case.nodeid, number)
        return Ask(self._prefixed(self._keyed(first, key)), self._max_tokens(session, None, self._random(session)))

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
            return self._with_user_text(self._rendered(source.template, index))
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

    def _with_user_text(self, text: str) -> tuple[Message, ...]:
        """The scenario's messages, with *text* as the last one."""
        *before, last = self._case.scenario.messages
        return (*before, replace(last, content=text))

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

    def _keyed(self, messages: tuple[Message, ...], key: str) -> tuple[Message, ...]:
        return keyed(messages, key, self._settings.prompt_cache)

    def _prefixed(self, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        """The messages behind the prefix that all requests share."""
        length = self._source.shared_prefix_tokens
        if not length:
            return messages
        first = messages[0]
        return (replace(first, content=f"{self._shared_prefix(length)}\n\n{first.content}"), *messages[1:])

    def _sent(self, messages: tuple[Message, ...], key: str) -> tuple[Message, ...]:
        return self._prefixed(self._keyed(messages, key))

    def _synthetic(self, length: int, key: str | None) -> tuple[Message, ...]:
        """Messages of that many tokens.

        Exactly so many with a tokenizer, else about so many as the server counts.
        """
        if self._source.tokenizer is not None:
            return self._fitted("prompt", length, self._with_user_text, key)
        text = self._texts.get(("prompt", length))
        if text is None:
            assert self._usage is not None
            words = self._usage.words_for(length)
            text = filler_words(words, self._filler_random(length), self._source.filler)
            self._remember(("prompt", length), text)
        return self._with_user_text(text)

    def _padded_to(self, messages: tuple[Message, ...], context: int, key: str | None) -> tuple[Message, ...]:
        """The messages, padded with filler to *context* tokens.

        Without any where they are longer.
        """
        if self._source.tokenizer is not None:
            return self._fitted(messages, context, lambda text: self._padded(messages, text), key)
        if messages not in self._padding:
            assert self._usage is not None
            left = context - self._usage.overhead
            words = self._usage.words_for(context) if left > 0 else 0
            text = filler_words(words, self._filler_random(context), self._source.filler) if words else ""
            if len(self._padding) >= _MOST_PADDINGS:  # data sets have many prompts, and paddings can be long
                self._padding.clear()
            self._padding[messages] = text
        return self._padded(messages, self._padding[messages])

    def _fitted(
        self, use: object, length: int, made: Callable[[str], tuple[Message, ...]], key: str | None
    ) -> tuple[Message, ...]:
        """Messages of that many tokens in all, with their key.

        A shared prefix comes on top of them.
        """
        tokenizer = self._source.tokenizer
        assert tokenizer is not None
        fitting = self._fittings.get((use, length))
        if fitting is None:
            self._make_room()
            exact = tokenizer.exact
            fitting = self._fittings[use, length] = Fitting(
                length + self._source.shared_prefix_tokens,
                made,
                self._sent,
                tokenizer.count,
                lambda tokens, number: exact(tokens, self._filler_random(tokens, number), self._source.filler),
            )
        if key is None:
            return fitting.shared()
        messages, off = fitting.fitted(key)
        if off:
            self._not_fitting[off] += 1
        return messages

    def _make_room(self) -> None:
        """Forget fitted texts where there are too many.

        Checked only now and then, as it takes a while.
        """
        count = len(self._fittings)
        if count and count % _MOST_PADDINGS == 0:
            characters = sum(each.characters for each in self._fittings.values())
            if count >= _MOST_FITTINGS or characters > _MOST_KEPT:
                self._fittings.clear()

    def _padded(self, messages: tuple[Message, ...], padding: str) -> tuple[Message, ...]:
        if not padding:
            return messages
        *before, last = messages
        return (*before, replace(last, content=f"{padding}\n\n{last.content}"))

    def _shared_prefix(self, length: int) -> str:
        """Filler of that many tokens by itself."""
        known = self._texts.get(("prefix", length))
        if known is not None:
            return known
        rng = random.Random(f"{self._seed}/prefix")  # noqa: S311
        if self._source.tokenizer is not None:
            text = self._source.tokenizer.exact(length, rng, self._source.filler)
        else:
            assert self._usage is not None
            text = filler_words(max(round(length / self._usage.per_word), 1), rng, self._source.filler)
        return self._remember(("prefix", length), text)

    def _remember(self, key: tuple[str, int], text: str) -> str:
        """Keep a text, for which a tokenizer takes milliseconds.

        Of many lengths not all are kept.
        """
        if self._kept + len(text) > _MOST_KEPT:
            self._texts.clear()
            self._kept = 0
        self._texts[key] = text
        self._kept += len(text)
        return text

    def _filler_random(self, length: int, number: int = 0) -> random.Random:
        again = f"/{number}" if number else ""
        return random.Random(f"{self._seed}/filler/{length}{again}")  # noqa: S311


def _prompt_id(
    messages: tuple[Message, ...],
    tools: tuple[Mapping[str, Any], ...] | None,
    results: tuple[Mapping[str, Any], ...] = (),
) -> str:
    text = repr([(each.role, each.content) for each in messages])
    text += json.dumps(tools, sort_keys=True) if tools else ""
    text += json.dumps(results, sort_keys=True, default=str) if results else ""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_ID_BYTES).hexdigest()
