"""Cost of a run: the sum over its cases."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import fsum

from pytest_flperf.results.records import CaseResult

__all__ = ["RunCost", "run_cost"]


@dataclass(frozen=True, slots=True)
class RunCost:
    """Cost of all requests of a run, as far as servers said what they used."""

    spent: float | None
    """None: see ``reason``."""
    currency: str = ""
    at_most: bool = False
    reason: str = ""


def run_cost(cases: Iterable[CaseResult]) -> RunCost:
    """Cost of a run.

    Warm-up, ramp-up, cool-down and retries are included.  It is unknown where a case sent requests to a model without a
    price, or requests that its cost doesn't cover.
    """
    sent = [case for case in cases if case.requests.total or case.requests.warmup]
    costs = [case.cost for case in sent if case.cost is not None]
    if not costs:
        return RunCost(None, reason="no price is known of any model" if sent else "not one request was measured")
    if len(costs) < len(sent):
        return RunCost(None, reason="some models have no price")
    if any(side.kind == "pairs" for case in sent for side in case.against):
        return RunCost(None, reason="the cost of the other side, measured in turns, is in no case")
    if any(case.search is not None for case in sent):
        return RunCost(None, reason="of a search, a case has the cost of one load alone")
    currencies = sorted({each.currency for each in costs})
    if len(currencies) > 1:
        return RunCost(None, reason=f"prices are in {' and '.join(currencies)}")
    known = [each.spent for each in costs if each.spent is not None]
    if len(known) < len(costs):
        return RunCost(None, currencies[0], reason="the server did not say what each request used")
    return RunCost(fsum(known), currencies[0], any(each.at_most for each in costs))
