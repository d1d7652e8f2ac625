"""Load shapes: required settings, checks and expected request counts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from pytest_flperf.suite.model import Case, Scenario, Settings
from pytest_flperf.suite.setting_limits import LIMITS

__all__ = ["NEEDED", "at_load", "expected_prompts", "expected_requests", "first_pass_of", "rows_asked", "shape_problem"]

NEEDED: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "closed": (),
        "session": (),
        "constant": ("rate",),
        "poisson": ("rate",),
        "gamma": ("rate", "burstiness"),
        "burst": ("rate", "burst_size"),
        "ramp": ("rate", "rate_to", "duration_s"),
        "trace": (),
        "search": ("search_to",),
    }
)
"""Settings that a shape requires."""
_OF_SHAPES: Final = ("rate", "rate_to", "burstiness", "burst_size", "search_to")
_ROUNDS: Final = 3
"""Fewest requests per stream in a step of a search: with fewer, the first ones would decide."""
_MOST: Final = int(LIMITS["iterations"].high)


def shape_problem(scenario: Scenario) -> str:
    """Problem of a scenario's load; empty if none.

    The words begin with the key.
    """
    settings, load = scenario.settings, scenario.settings.load
    problem = _problem_of_source(scenario)
    if problem:
        return problem
    kind, needed = load.kind, NEEDED[load.kind]
    for key in needed:
        if getattr(load, key) is None:
            return f"{key}: missing, expected {LIMITS[key]} for load: {kind}"
    for key in _OF_SHAPES:
        value = getattr(load, key)
        if value is not None and key not in needed:
            users = [each for each, keys in NEEDED.items() if key in keys]
            return f"{key}: found {value:g} with load: {kind}, expected it with load: {' or '.join(users)}"
    problem = _problem_of_search(settings) if kind == "search" else _problem_of_repeats(scenario)
    if problem:
        return problem
    if load.is_open and load.think_time_s:
        return f"think_time_s: found {load.think_time_s:g} with load: {kind}, expected it with load: closed"
    if kind in {"ramp", "trace"} and load.ramp_up_s:
        own = "start to be the low rate" if kind == "ramp" else "times to be kept"
        return f"ramp_up_s: found {load.ramp_up_s:g} with load: {kind}, expected its own {own}"
    return _problem_of_times(settings)


def _problem_of_source(scenario: Scenario) -> str:
    """Problem between the load and the prompt source."""
    source, kind = scenario.source, scenario.settings.load.kind
    trace = source is not None and bool(source.trace)
    if (kind == "trace") != trace:
        return (
            "trace: missing, expected a JSON Lines file for load: trace"
            if not trace
            else (f"trace: found it with load: {kind}, expected load: trace")
        )
    turns = source is not None and bool(source.turns)
    if kind == "session" and not turns and not (source is not None and source.rows and source.template is None):
        return "turns: missing, expected what the user says, or a dataset of conversations, for load: session"
    if turns and kind != "session":
        return f"turns: found them with load: {kind}, expected load: session"
    if kind == "session" and scenario.settings.context_tokens:
        return "context_tokens: found it with load: session, expected another load: histories have lengths of their own"
    return ""


def _problem_of_repeats(scenario: Scenario) -> str:
    settings, kind = scenario.settings, scenario.settings.load.kind
    repeat, iterations = settings.repeat, settings.iterations
    if kind == "session" and scenario.source is not None and scenario.source.expects:
        return "expect_column: found expectations in rows with load: session, expected another load, or null"
    if repeat == 1:
        return ""
    if kind in {"session", "trace"}:
        return f"repeat: found {repeat} with load: {kind}, expected another load: its prompts have their own order"
    if iterations is not None and iterations % repeat:
        return f"iterations: found {iterations} with repeat: {repeat}, expected a multiple of it"
    return ""


def _problem_of_search(settings: Settings) -> str:
    load = settings.load
    low, high = load.search_from, load.search_to or 0.0
    if high <= low:
        return f"search_to: found {high:g} with search_from {low:g}, expected more than that"
    if load.search_over == "concurrency":
        most = LIMITS["concurrency"]
        for key, value in (("search_from", low), ("search_to", high)):
            if not (value.is_integer() and most.accepts(int(value))):
                return f"{key}: found {value:g} with search_over: concurrency, expected {most}"
    return ""


def _problem_of_times(settings: Settings) -> str:
    load = settings.load
    if load.cool_down_s and load.duration_s is None and not load.is_open:
        return (
            f"cool_down_s: found {load.cool_down_s:g} without duration_s, expected both: a closed loop's end is not "
            "known in advance"
        )
    outside_s = load.ramp_up_s + load.cool_down_s
    if load.duration_s is not None and outside_s >= load.duration_s:
        return (
            f"duration_s: found {load.duration_s:g} with {outside_s:g} s of ramp-up and cool-down, expected more than "
            "these"
        )
    if load.is_open and load.duration_s is not None and load.rate is not None and settings.iterations is None:
        requests = max(load.rate, load.rate_to or 0.0) * load.duration_s
        if requests > _MOST:
            return f"duration_s: found about {requests:,.0f} requests, expected {_MOST:,} at most"
    return ""


def expected_prompts(scenario: Scenario, requests: int) -> int:
    """Most different prompts of a number of requests, without unique prefixes."""
    source, repeated = scenario.source, scenario.prompts
    if source is None:
        return min(requests, 1)
    if repeated is not None:
        requests = min(requests, repeated)
    if source.template is not None or source.turns:
        return requests  # a new one for each
    if source.rows:
        return min(requests, len(source.rows))
    lengths = source.input_tokens
    if lengths is not None:
        return min(requests, lengths.high - lengths.low + 1)
    return min(requests, len(source.trace) or 1)


def rows_asked(scenario: Scenario) -> int:
    """Rows of a data set that are asked; 0 without one."""
    rows = len(scenario.source.rows) if scenario.source is not None else 0
    return rows if scenario.prompts is None else min(rows, scenario.prompts)


def first_pass_of(scenario: Scenario) -> int:
    """Requests that ask each row once, in the order of the file.

    0 where rows are shuffled, or there are none.
    """
    source = scenario.source
    return 0 if source is None or source.shuffled else rows_asked(scenario)


def expected_requests(scenario: Scenario) -> int | None:
    """Expected number of measured requests, or None.

    An estimate; None where a closed loop runs for a time.
    """
    settings, load = scenario.settings, scenario.settings.load
    if load.kind == "trace" and scenario.source is not None:
        end_s = math.inf if load.duration_s is None else load.duration_s
        due = sum(each.due_s < end_s for each in scenario.source.trace)
        return due if settings.iterations is None else min(due, settings.iterations)
    if load.kind == "search":
        return None
    if load.duration_s is None or not load.is_open or load.rate is None:
        return settings.iterations
    mean = (load.rate + (load.rate_to or load.rate)) / 2
    due = round(mean * (load.duration_s - load.ramp_up_s / 2))
    return due if settings.iterations is None else min(due, settings.iterations)


def at_load(case: Case, over: str, value: float) -> Case:
    """The case at one load of a search.

    A closed loop, or Poisson arrivals.
    """
    settings, shape = case.scenario.settings, case.scenario.settings.load
    plain = replace(shape, search_to=None)
    if over == "concurrency":
        streams = int(value)
        count = settings.iterations and max(settings.iterations, _ROUNDS * streams)
        settings = replace(settings, concurrency=streams, iterations=count, load=replace(plain, kind="closed"))
    else:
        settings = replace(settings, load=replace(plain, kind="poisson", rate=value))
    return replace(case, scenario=replace(case.scenario, settings=settings))
