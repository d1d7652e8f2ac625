"""Settings of a scenario as a test or a script writes them, typed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, TypedDict

__all__ = ["ScenarioSettings"]

_Lengths: TypeAlias = int | Mapping[str, Any]
"""A number of tokens, or how they are distributed, as in a suite."""


class ScenarioSettings(TypedDict, total=False):
    """Settings of a scenario but its name and prompt; each means what the key of a suite means."""

    description: str
    system: str | None
    prompt_file: str
    messages: Sequence[Mapping[str, str]]
    template: str
    variables: Mapping[str, Any]
    dataset: str
    dataset_column: str | None
    dataset_order: Literal["sequential", "shuffled"]
    expect_column: str | None
    input_tokens: _Lengths | None
    turns: Sequence[str]
    trace: str
    expect: Mapping[str, Any] | None
    tool_results: Sequence[Mapping[str, Any]]
    tool_turns: int
    judge: Mapping[str, Any] | None
    iterations: int
    repeat: int
    warmup: int | None
    concurrency: int
    load: Literal["closed", "session", "constant", "poisson", "gamma", "burst", "ramp", "trace", "search"]
    rate: float | None
    rate_to: float | None
    burstiness: float | None
    burst_size: int | None
    max_in_flight: int
    think_time_s: float
    search_over: Literal["concurrency", "rate"]
    search_from: float
    search_to: float | None
    duration_s: float | None
    ramp_up_s: float
    cool_down_s: float
    timeout_s: float
    connect_timeout_s: float
    headers_timeout_s: float | None
    first_token_timeout_s: float | None
    stall_timeout_s: float | None
    max_answer_mb: float
    reasoning_tags: bool
    retries: int
    retry_backoff_s: float
    failures: Literal["apart", "as_inf"]
    max_tokens: int | None
    max_tokens_key: Literal["max_tokens", "max_completion_tokens"] | None
    temperature: float | None
    top_p: float | None
    top_k: int | None
    presence_penalty: float | None
    frequency_penalty: float | None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high"] | None
    seed: int | None
    stop: str | Sequence[str]
    stream: bool | None
    stream_options: Mapping[str, Any] | None
    tools: Sequence[Mapping[str, Any]] | None
    tool_choice: Literal["auto", "none", "required"] | Mapping[str, Any] | Sequence[str | Mapping[str, Any]] | None
    tags: str | Sequence[str]
    budgets: str | Sequence[str] | Mapping[str, Any]
    fail_on: str | Sequence[str]
    against: str
    extra: Mapping[str, Any]
    prompt_cache: Literal["avoid", "reuse"]
    context_tokens: int | None
    output_tokens: _Lengths | None
    shared_prefix_tokens: int | None
    filler: Literal["prose", "code", "json"]
    tokenizer: str | None
    expected_output_length: Literal["short", "medium", "long"] | None
