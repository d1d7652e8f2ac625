"""Reasons why a metric of a case was not measured, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

from pytest_flperf._text import printable
from pytest_flperf.results.metrics import METRICS, OF_CALLS, RATIOS
from pytest_flperf.results.records import Measured

__all__ = ["UPPER_BOUND", "is_upper_bound", "why_not_measured"]

_Reasons: TypeAlias = Iterator[str]

_OF_LOADS: Final = frozenset({"load_s", "cold_ttft_ms", "download_s", "model_rss_mb"})
_OF_OPEN_LOOPS: Final = frozenset({"dispatch_delay_ms", "ttft_sent_ms", "e2e_sent_ms", "offered_rate", "sent_rate"})
_OPEN_LOOPS: Final = frozenset({"constant", "poisson", "gamma", "burst", "ramp", "trace"})
_OF_FIRST_TOKENS: Final = frozenset({"ttft_ms", "ttfat_ms", "ttft_sent_ms", "prompt_tps"})
_OF_GAPS: Final = frozenset({"itl_ms", "stalls"})
_OF_SPEED: Final = frozenset({"tpot_ms", "gen_tps"})
_OF_CHUNKS: Final = frozenset({"coalesced_pct", "tokens_per_chunk"})
_OF_COSTS: Final = frozenset({"request_cost", "cost_total", "cost_per_1k", "cost_per_right"})
_OF_ENERGY: Final = frozenset({"energy_per_answer_j", "energy_per_right_j"})
_OF_RIGHT: Final = frozenset({"cost_per_right", "energy_per_right_j", "quality_per_1k_reasoning"})
UPPER_BOUND: Final = (
    "the server did not tell cached or reasoning tokens apart, which have a price of their own: the cost is an upper "
    "bound"
)
"""Why a cost is no lower bound."""
_OF_STREAMS: Final = _OF_FIRST_TOKENS | _OF_GAPS | _OF_SPEED | _OF_CHUNKS
_OF_TIMES: Final = _OF_FIRST_TOKENS | _OF_SPEED | _OF_OPEN_LOOPS | {"itl_ms", "stalls", "e2e_ms", "tps", "connect_ms"}
_OF_OUTPUT_TOKENS: Final = _OF_SPEED | {"output_tokens", "tps", "tps_total", "tokens_per_chunk"}
_RATIO_OF: Final[Mapping[str, str]] = MappingProxyType({ratio: metric for metric, ratio in RATIOS.items()})
_TOKENS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "prompt_tokens": "the server did not say how many tokens the prompts had",
        "cached_tokens": "the server did not say how many tokens of the prompts were cached",
        "reasoning_tokens": "the server did not say how many tokens were reasoning",
    }
)


def why_not_measured(case: Measured, metric: str) -> str:
    """Why a metric of a case was not measured; never empty.

    As far as the results tell.
    """
    name = METRICS[metric].per if metric in METRICS else ""
    reasons = {"resource": _of_resource, "request": _of_request}.get(name, _of_case)
    return next(reasons(case, metric))


def is_upper_bound(case: Measured, metric: str) -> bool:
    """Whether the metric is a cost of which only an upper bound is known."""
    return metric in _OF_COSTS and case.cost is not None and case.cost.at_most


def _of_resource(case: Measured, metric: str) -> _Reasons:
    if metric in case.resources_absent:
        yield case.resources_absent[metric]
    yield from _without_requests(case)
    yield "it was not read while requests were measured"


def _of_case(case: Measured, metric: str) -> _Reasons:
    if metric in _OF_LOADS:
        yield _of_load(case, metric)
    yield from _without_requests(case)
    if metric == "goodput":
        yield "it counts requests that meet the case's latency budgets, and the case has none"
    if metric in OF_CALLS:
        yield case.not_scored_words or _without_calls(case)
    yield from _of_efficiency(case, metric)
    yield from _without_answers(case, metric)
    yield "the time from the first request to the last was too short for a rate"


def _of_request(case: Measured, metric: str) -> _Reasons:
    yield from _without_requests(case)
    if metric == "quality":
        yield case.not_scored_words or _without_expectation(case)
    yield from _of_efficiency(case, metric)
    if metric in _RATIO_OF:
        yield from _of_ratio(case, _RATIO_OF[metric])
    yield from _without_answers(case, metric)
    if metric == "connect_ms" and case.target is not None and case.target.transport == "native":
        yield "the model answers without a connection (transport: native)"
    if metric == "connect_ms":
        yield "every request used a connection that was already open"
    if metric in _TOKENS:
        yield _TOKENS[metric]
    if metric.startswith("server_"):
        yield "the server reported no timings"
    yield "no answer had a value for it"


def _of_efficiency(case: Measured, metric: str) -> _Reasons:
    """Reasons why a cost, an energy or the quality per reasoning token is unknown."""
    if metric in _OF_COSTS:
        if case.cost is None:
            model = printable(case.model, 100)
            yield f"no price of {model} is known: give one under prices in the suite, or in its target"
        elif case.cost.reason:
            yield case.cost.reason
        yield from _failed(case)
    if metric in _OF_ENERGY:
        if case.energy is None:
            yield case.resources_absent.get("gpu_power_w", "no power was measured")
        elif case.energy.reason:
            yield case.energy.reason
    if metric in _OF_RIGHT:
        if case.not_scored or case.answer_quality is None:
            yield case.not_scored_words or _without_expectation(case)
        elif metric != "quality_per_1k_reasoning":
            yield "no answer scored 1"
        reasoning = case.metrics.get("reasoning_tokens")
        if reasoning is None or reasoning.n < case.requests.ok:
            yield "the reasoning tokens of some answers are unknown"
        yield "no answer had any reasoning"


def _of_load(case: Measured, metric: str) -> str:
    if case.load_s is None:
        return "the run did not load the model: it was loaded before, or its server loads it by itself"
    return {
        "cold_ttft_ms": "the first request after the load has no reliable time to first token",
        "model_rss_mb": "the memory of the server's processes could not be read before and after the load",
    }.get(metric, "the backend did not report it")


def _without_requests(case: Measured) -> _Reasons:
    if not case.requests.total:
        yield "not one request was measured"


def _without_expectation(case: Measured) -> str:
    if not (case.settings.get("expect") or case.settings.get("rows_expect")):
        return "the scenario expects nothing of its answers (expect)"
    if not case.requests.ok:
        return next(_failed(case))
    return "this version does not know this kind of expectation"


def _without_calls(case: Measured) -> str:
    if not case.requests.ok:
        return next(_failed(case))
    if case.tool_calls is not None:
        return "no answer should have called a tool"
    return "the scenario expects no tool calls, nor that there are none (expect: calls)"


def _of_ratio(case: Measured, metric: str) -> _Reasons:
    if case.reference is None:
        yield "it needs a reference load (--flperf-reference)"
    elif metric not in case.reference.metrics:
        yield f"the reference load has no {metric}"


def _failed(case: Measured) -> _Reasons:
    if not case.requests.ok:
        yield "the only request failed" if case.requests.total == 1 else f"all {case.requests.total} requests failed"


def _without_answers(case: Measured, metric: str) -> _Reasons:
    """Reasons in how the requests were sent and answered."""
    load, requests = case.load, case.requests
    yield from _failed(case)
    if metric in _OF_OPEN_LOOPS and load is not None and load.shape not in _OPEN_LOOPS:
        yield "only open loops have it (load: constant, poisson, gamma, burst, ramp or trace)"
    if metric in _OF_STREAMS and load is not None and not load.stream:
        yield "answers were not streamed (stream: false)"
    if metric in {"offered_rate", "sent_rate"}:
        yield "all requests were due at the same time"
    if metric in _OF_TIMES and requests.clock_steps >= requests.ok:
        yield "the machine's clock was set during every request"
    if metric in _OF_FIRST_TOKENS and requests.late_reads + requests.clock_steps >= requests.ok:
        yield "every first token was read too late for a reliable time"
    yield from _without_tokens(case, metric)


def _without_tokens(case: Measured, metric: str) -> _Reasons:
    """Reasons in what the answers held."""
    tokens = case.metrics.get("output_tokens")
    if metric == "tps_total":
        yield "the output tokens of some answers are unknown"
    if metric in _OF_OUTPUT_TOKENS and tokens is None:
        yield "the server did not say how many tokens the answers had"
    if metric == "tokens_per_chunk" and case.tokens_source == "chunks":
        yield "tokens were counted as chunks, as the server did not say how many there were"
    if metric in _OF_SPEED and tokens is not None and tokens.max < 2:
        yield "no answer had two tokens or more"
    if metric in _OF_GAPS:
        yield "no answer came in two reads or more"
    if metric in _OF_SPEED:
        yield (
            "at least half of each answer's text arrived at once (a proxy buffers, or it came faster than it was "
            "read), or it is not known how many of the counted tokens arrived"
        )
    if metric == "prompt_tps" and "prompt_tokens" not in case.metrics:
        yield _TOKENS["prompt_tokens"]
    if metric == "ttfat_ms" and "ttft_ms" in case.metrics:
        yield "no answer had any text besides its reasoning"
    if metric in _OF_STREAMS | {"e2e_ms", "tps"}:
        yield "no answer had any text"
