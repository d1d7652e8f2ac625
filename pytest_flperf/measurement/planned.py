"""Planned cases: their results before the first request.

They hold what is known of a case, and what its requests will ask for.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from pytest_flperf.quality.tools.definitions import tool_names
from pytest_flperf.results.bounds import bounded_case
from pytest_flperf.results.cost import Price
from pytest_flperf.results.load import Load
from pytest_flperf.results.records import PlannedCase
from pytest_flperf.results.serving import Target
from pytest_flperf.stats.descriptive.conversations import TOOL_TURNS
from pytest_flperf.suite.digest import prompts_digest
from pytest_flperf.suite.model import Case, Settings
from pytest_flperf.suite.price_table import known_price, table_price
from pytest_flperf.suite.prompts.sources import PromptSource

__all__ = ["load_of", "planned_result", "price_of"]


def planned_result(
    case: Case,
    *,
    host: str = "",
    target: Target | None = None,
    load_s: float | None = None,
    cold_ttft_ms: float | None = None,
    notes: Iterable[str] = (),
    processes: int = 1,
) -> PlannedCase:
    """Result of a case before its first request.

    Args:
        case: What is going to be played.
        host: Name of the machine.
        target: What answers.
        load_s: Time to make the model ready, where it was loaded for this case.
        cold_ttft_ms: TTFT of the very first request after that load.
        notes: Lines for a person.
        processes: Load processes that send the requests.

    """
    settings = case.scenario.settings
    found = PlannedCase(
        nodeid=case.nodeid,
        suite=case.suite,
        scenario=case.scenario.name,
        model=case.model,
        parameters=dict(case.parameters),
        host=host,
        target=target,
        load=load_of(settings, processes),
        load_s=load_s,
        cold_ttft_ms=cold_ttft_ms,
        description=case.scenario.description,
        expected_output_length=case.scenario.expected_output_length,
        tags=case.scenario.tags,
        settings=_asked_for(case),
        prompts_digest=prompts_digest(case.scenario),
        notes=tuple(notes),
        price=price_of(case, target),
    )
    # Budgets and rules are picked by the whole names; results and reports cut them when they take the case in.
    return replace(bounded_case(found), scenario=found.scenario, model=found.model)


def price_of(case: Case, target: Target | None) -> Price | None:
    """Price of a case's model: the suite's, else that of the provider whose API answers; None without one.

    A server on this machine, or one of its network, sells nothing: where the suite gives no price, there is none.
    """
    spec = case.price_spec
    if spec is not None:
        return spec.price or table_price(spec.table)
    if target is None or not (target.base_url or "").startswith("https://"):
        return None
    return known_price(target.base_url or "", target.model_id or case.model)


def load_of(settings: Settings, processes: int) -> Load:
    """Load of a case, with the number of load processes."""
    load = settings.load
    return Load(
        shape=load.kind,
        concurrency=settings.concurrency,
        iterations=settings.iterations,
        warmup=settings.warmup_requests,
        stream=bool(settings.stream),
        rate=load.rate,
        rate_to=load.rate_to,
        burstiness=load.burstiness,
        burst_size=load.burst_size,
        max_in_flight=load.max_in_flight if load.is_open else None,
        think_time_s=load.think_time_s or None,
        duration_s=load.duration_s,
        ramp_up_s=load.ramp_up_s or None,
        cool_down_s=load.cool_down_s or None,
        processes=processes,
    )


def _asked_for(case: Case) -> Mapping[str, Any]:
    """Settings of a case's requests and answers, without unset ones."""
    settings = case.scenario.settings
    asked: dict[str, Any] = {
        "max_tokens": settings.max_tokens,
        "max_tokens_key": settings.max_tokens_key,
        "temperature": settings.temperature,
        "top_p": settings.top_p,
        "top_k": settings.top_k,
        "presence_penalty": settings.presence_penalty,
        "frequency_penalty": settings.frequency_penalty,
        "reasoning_effort": settings.reasoning_effort,
        "seed": settings.seed,
        "stop": list(settings.stop) or None,
        "prompt_cache": settings.prompt_cache,
        "stream_options": _stream_options(settings),
        "tools": list(tool_names(settings.tools)) or None,
        "tool_choice": settings.tool_choice,
        "extra": dict(settings.extra) if settings.extra else None,
        "timeout_s": settings.timeouts.total_s,
        "max_answer_mb": settings.max_answer_mb if settings.max_answer_mb != Settings().max_answer_mb else None,
        "reasoning_tags": None if settings.reasoning_tags else False,
        "retries": settings.retries or None,
        "failures": settings.failures if settings.failures != "apart" else None,
        "expect": dict(case.scenario.expect) if case.scenario.expect else None,
        TOOL_TURNS: case.scenario.tool_turns if case.scenario.plays_tools else None,
        "repeat": settings.repeat if settings.repeat > 1 else None,
        "context_tokens": settings.context_tokens,
        **_asked_of(case.scenario.source),
    }
    return {name: value for name, value in asked.items() if value is not None}


def _stream_options(settings: Settings) -> Any:
    """Stream options, where they differ from the defaults; else None."""
    if not settings.stream or settings.stream_options == Settings().stream_options:
        return None
    return json.loads(settings.stream_options) if settings.stream_options is not None else "not sent"


def _asked_of(source: PromptSource | None) -> dict[str, Any]:
    """Prompt source of a case, in few words."""
    if source is None:
        return {}
    return {
        "dataset_rows": len(source.rows) or None,
        "rows_expect": source.expects or None,
        "trace_requests": len(source.trace) or None,
        "turns": len(source.turns) or None,
        "input_tokens": source.input_tokens.words if source.input_tokens is not None else None,
        "output_tokens": source.output_tokens.words if source.output_tokens is not None else None,
        "shared_prefix_tokens": source.shared_prefix_tokens or None,
    }
