"""Request body: a case as JSON of a chat-completions request."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from pytest_flperf.suite.messages import Message
from pytest_flperf.suite.model import Case

__all__ = ["MAX_COMPLETION_TOKENS", "MAX_TOKENS", "extra_body", "keyed", "offered_tools", "request_body", "unique_key"]

MAX_TOKENS: Final = "max_tokens"
MAX_COMPLETION_TOKENS: Final = "max_completion_tokens"
_PARAMETERS: Final = (
    "temperature",
    "top_p",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "reasoning_effort",
)
_KEYS: Final = 10**9
_STEP: Final = 618_033_989
"""Coprime to 10**9 and near its golden section: successive keys differ in their first digits."""


def unique_key(run_seed: str, case_id: str, index: int) -> str:
    """Return nine digits, unique for each request of a case.

    Other runs have other keys.  A key is always nine digits, because tokenizers cut digits alike: one by one, or in
    threes.  Letters would make prompts of different length in tokens.

    Args:
        run_seed: anything that differs from run to run.
        case_id: the case's node id.
        index: number of the request in the case, warm-up included.

    """
    digest = hashlib.blake2b(f"{run_seed}\0{case_id}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return f"{(int.from_bytes(digest, 'big') + index * _STEP) % _KEYS:09d}"


def keyed(messages: tuple[Message, ...], key: str, prompt_cache: str) -> tuple[Message, ...]:
    """Return *messages* with ``[key] `` in front, to avoid the prompt cache.

    It is at the very start of the conversation, since caches match prefixes.

    Args:
        messages: one or more.
        key: from :func:`unique_key`.
        prompt_cache: ``avoid``, or ``reuse``, which leaves them as they are.

    """
    if prompt_cache != "avoid":
        return messages
    first = messages[0]
    return (replace(first, content=f"[{key}] {first.content}"), *messages[1:])


def request_body(case: Case, model_id: str) -> dict[str, Any]:
    """Return the arguments of a chat-completions request, without :func:`extra_body`.

    Settings that are None are not sent.

    Args:
        case: with its settings and messages.
        model_id: the model's name at the server.

    """
    settings = case.scenario.settings
    messages = [{"role": message.role, "content": message.content} for message in case.scenario.messages]
    body: dict[str, Any] = {"model": model_id, "messages": messages}
    if settings.stream is not None:
        body["stream"] = settings.stream
    if settings.stream and settings.stream_options is not None:
        body["stream_options"] = json.loads(settings.stream_options)
    if settings.max_tokens is not None and not _limited_otherwise(case):
        body[settings.max_tokens_key or MAX_TOKENS] = settings.max_tokens
    for key in _PARAMETERS:
        value = getattr(settings, key)
        if value is not None:
            body[key] = value
    if settings.stop:
        body["stop"] = list(settings.stop)
    tools = offered_tools(case)
    if tools:
        body["tools"] = [dict(each) for each in tools]
        if settings.tool_choice is not None:
            body["tool_choice"] = settings.tool_choice
    return body


def offered_tools(case: Case) -> tuple[Mapping[str, Any], ...]:
    """Return the tools of a case's requests, or those of its first row that has some.

    Empty where no request has any.
    """
    source = case.scenario.source
    rows = source.rows if source is not None else ()
    return case.scenario.settings.tools or next((row.tools for row in rows if row.tools), ())


def _limited_otherwise(case: Case) -> bool:
    """Whether ``extra`` alone limits the answer, under the newer name.

    The suite itself then sets no limit; not both are sent.
    """
    return MAX_TOKENS not in case.scenario.given and MAX_COMPLETION_TOKENS in (case.scenario.settings.extra or {})


def extra_body(case: Case) -> dict[str, Any]:
    """Return the JSON besides the API's own parameters (openai's ``extra_body``)."""
    settings = case.scenario.settings
    # no parameter of OpenAI's API; other servers read it from the body
    top_k = {} if settings.top_k is None else {"top_k": settings.top_k}
    return {**top_k, **(settings.extra or {})}
