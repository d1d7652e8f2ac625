"""Cost, energy and reasoning tokens of a case in words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from pytest_flperf._text import printable, significant
from pytest_flperf.report.figures import NOTHING, number
from pytest_flperf.results.metrics import METRICS
from pytest_flperf.results.records import CaseResult
from pytest_flperf.results.run_cost import run_cost

__all__ = ["MIXED", "cost_cell", "cost_heading", "efficiency_facts", "money", "run_cost_words"]

MIXED: Final = "cost/1k"
"""Heading where prices are in several currencies, which each cell names then."""
_CODE: Final = 10


def money(value: float, currency: str, *, at_most: bool = False) -> str:
    """An amount with its currency, such as ``at most 0.42 USD``."""
    return f"{'at most ' * at_most}{_digits(value)} {printable(currency, _CODE)}"


def efficiency_facts(case: CaseResult) -> list[tuple[str, str]]:
    """Names and texts of what is known of a case's cost, energy and reasoning."""
    found = [
        ("Cost", _cost(case)),
        ("Price", printable(case.price.words, 300) if case.price is not None else ""),
        ("Reasoning", _reasoning(case)),
        ("Energy", _energy(case)),
    ]
    return [(name, text) for name, text in found if text]


def cost_heading(cases: Iterable[CaseResult]) -> str:
    """Heading of a column with the cost of a thousand answers; empty where no case has a price."""
    currencies = {case.cost.currency for case in cases if case.cost is not None}
    if not currencies:
        return ""
    return f"{printable(next(iter(currencies)), _CODE)}/1k" if len(currencies) == 1 else MIXED


def cost_cell(case: CaseResult, *, with_currency: bool) -> str:
    """Cost of a thousand answers, ``≤`` before an upper bound; ``–`` where it is unknown."""
    cost = case.cost
    if cost is None or cost.per_1k is None:
        return NOTHING
    text = f"{'≤ ' * cost.at_most}{_digits(cost.per_1k)}"
    return f"{text} {printable(cost.currency, _CODE)}" if with_currency else text


def run_cost_words(cases: Iterable[CaseResult]) -> str:
    """Cost of the run in a sentence; empty where no case has a price."""
    cases = tuple(cases)
    if all(case.cost is None for case in cases):
        return ""
    found = run_cost(cases)
    if found.spent is None:
        return f"cost of the run: not known: {found.reason}"
    spent = money(found.spent, found.currency, at_most=found.at_most)
    return f"cost of the run: {spent}, warm-up and retries included"


def _digits(value: float) -> str:
    """Three significant digits, without an exponent where people read prices: ``0.0000128``."""
    return significant(value, 3) if 0 < value < 1 else number(value)


def _cost(case: CaseResult) -> str:
    cost = case.cost
    if cost is None:
        return ""
    if cost.total is None:
        return f"not measured: {printable(cost.reason, 200)}" if cost.reason else ""

    def amount(value: float) -> str:
        return money(value, cost.currency, at_most=cost.at_most)

    parts = [f"{amount(cost.per_1k)} per 1,000 answers"] if cost.per_1k is not None else []
    parts += [f"{amount(cost.per_right)} per right answer"] if cost.per_right is not None else []
    parts.append(f"{amount(cost.total)} for the measured requests")
    parts += [f"{amount(cost.spent)} for all requests"] if cost.spent is not None else []
    if cost.failed_unknown:
        parts.append(f"without {cost.failed_unknown} failed requests of which the server did not say what they used")
    return "; ".join(parts)


def _reasoning(case: CaseResult) -> str:
    found, answer = case.metrics.get("reasoning_tokens"), case.metrics.get("answer_tokens")
    if found is None or not found.max:
        return ""
    parts = [f"{number(found.mean)} reasoning tokens in an answer"]
    parts += [f"{number(answer.mean)} other tokens"] if answer is not None else []
    if case.reasoning_tokens_source not in (None, "usage"):
        parts.append("estimated from the share of chunks")
    per_1k = case.quality_per_1k_reasoning
    parts += [f"quality {number(per_1k)} {METRICS['quality_per_1k_reasoning'].unit}"] if per_1k is not None else []
    return "; ".join(parts)


def _energy(case: CaseResult) -> str:
    energy = case.energy
    if energy is None:
        return ""
    if energy.per_answer_j is None:
        return f"not measured: {printable(energy.reason, 200)}"
    right = f"; {number(energy.per_right_j)} J per right answer" if energy.per_right_j is not None else ""
    return f"{number(energy.per_answer_j)} J per answer{right}"
