"""What the rules of a session can't decide with what it is going to measure, in lines for people."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

from pytest_flperf.gates.decidable import Planned, limits_of, told
from pytest_flperf.gates.rules import rules_for
from pytest_flperf.integration.asked import FlperfOptions
from pytest_flperf.integration.comparing import DEFAULT_PAIRS, rules_of, with_rules_of
from pytest_flperf.stats.findings import ErrorRates
from pytest_flperf.stats.matched_requests import DECODING, is_deterministic
from pytest_flperf.stats.schedule import looks
from pytest_flperf.suite.model import Case
from pytest_flperf.suite.shapes import expected_prompts, expected_requests

__all__ = ["decidable_lines", "header_lines"]

Runs = Callable[[Case], int]
"""How many stored runs there are of a case."""
_MANY: Final = 1_000_000


def decidable_lines(options: FlperfOptions, cases: Sequence[Case], runs: Runs | None = None) -> tuple[str, ...]:
    """A line for each kind of limit; none where nothing is compared, or all can be decided.

    Args:
        options: What was asked for.
        cases: Of the session.
        runs: Counts stored runs; None: nobody counts them now.

    """
    sides = (options.against is not None) + (options.baseline is not None)
    if not sides:
        return ()
    rules = rules_of(options)
    of_cases = [(case, rules_for(case.scenario.name, with_rules_of(case, rules))) for case in cases]
    rates = ErrorRates(comparisons=max(sides * sum(len(each) for _, each in of_cases), 1))
    found = []
    for case, its_rules in of_cases:
        plans = [_in_turns(options, case)] if options.against is not None else []
        if options.baseline is not None:
            plans.append(_one_run(case, None if runs is None else runs(case)))
        found += [(rule, limits_of(rule, planned, rates)) for planned in plans for rule in its_rules]
    return told(found)


def header_lines(options: FlperfOptions, cases: Sequence[Case]) -> tuple[str, ...]:
    """The first of them, and how many more there are."""
    lines = decidable_lines(options, cases)
    if not lines:
        return ()
    more = f" (and {len(lines) - 1} more: --flperf-dry-run)" if len(lines) > 1 else ""
    return (f"flperf: can't be decided by this run: {lines[0]}{more}",)


def _in_turns(options: FlperfOptions, case: Case) -> Planned:
    streams = case.scenario.settings.concurrency
    pairs = DEFAULT_PAIRS if options.max_iterations is None else math.ceil(options.max_iterations / streams)
    return Planned(pairs * streams, _prompts(case, pairs * streams), looks(pairs))


def _one_run(case: Case, runs: int | None) -> Planned:
    count = expected_requests(case.scenario)
    requests = _MANY if count is None else count
    return Planned(requests, _prompts(case, requests), runs=runs)


def _prompts(case: Case, requests: int) -> int:
    settings = case.scenario.settings
    if not is_deterministic({name: getattr(settings, name) for name in DECODING}):
        return requests
    return expected_prompts(case.scenario, requests)
