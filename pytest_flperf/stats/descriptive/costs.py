"""Costs of requests: their token counts times a price."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

from pytest_flperf.results.cost import Cost, Price
from pytest_flperf.wire.exchange import Phase
from pytest_flperf.wire.sample import Outcome, Sample

__all__ = ["CostTally", "RequestCost", "cost_of", "request_cost"]

_COUNTED: Final = frozenset({"usage", "timings"})
"""Sources of token counts that are the server's own."""
_PER: Final = 1e6
_NO_OUTPUT: Final = "the server did not say how many tokens the answers had"
_NO_PROMPT: Final = "the server did not say how many tokens the prompts had"
_ESTIMATED: Final = "output tokens were counted as chunks, as the server did not say how many there were"
_TOO_LONG: Final = "prompts of more than {:,} tokens have another price, which is not known"


@dataclass(frozen=True, slots=True)
class RequestCost:
    """Cost of one request, in the currency of its price."""

    amount: float | None
    """None: see ``reason``."""
    at_most: bool = False
    """Whether it is an upper bound: tokens that may be cheaper were not told apart."""
    reason: str = ""


def cost_of(sample: Sample, price: Price | None) -> float | None:
    """Cost of a request; None without a price, and where the server did not say what it used."""
    return None if price is None else request_cost(sample, price).amount


def request_cost(sample: Sample, price: Price) -> RequestCost:
    """Cost of a request: each token once, at the price of its kind.

    Only the server's own counts are used.  Where it does not tell cached or reasoning tokens apart and their price
    differs, all tokens cost the higher of both prices, and the cost is an upper bound.
    """
    prompt, cached = _prompt_tokens(sample)
    if price.prompt_limit is not None and prompt is not None and prompt > price.prompt_limit:
        return RequestCost(None, reason=_TOO_LONG.format(price.prompt_limit))
    paid_in = _parted(prompt, cached, price.input_per_1m, price.cached_input_per_1m)
    if paid_in is None:
        return RequestCost(None, reason=_NO_PROMPT)
    output = sample.output_tokens if sample.tokens_source in _COUNTED else None
    reasoning = sample.reasoning_tokens if sample.reasoning_tokens_source != "chunks" else None
    paid_out = _parted(output, reasoning, price.output_per_1m, price.reasoning_per_1m)
    if paid_out is None:
        return RequestCost(None, reason=_ESTIMATED if sample.tokens_source == "chunks" else _NO_OUTPUT)
    return RequestCost((paid_in[0] + paid_out[0]) / _PER, paid_in[1] or paid_out[1])


def _prompt_tokens(sample: Sample) -> tuple[int | None, int | None]:
    """All prompt tokens, and those of them from the server's cache.

    llama.cpp's ``timings`` count cached tokens beside the others, and so do servers whose cached tokens are more.
    """
    prompt, cached = sample.prompt_tokens, sample.cached_tokens
    if prompt is not None and cached is not None and (sample.prompt_tokens_source == "timings" or cached > prompt):
        return prompt + cached, cached
    return prompt, cached


def _parted(
    tokens: int | None, special: int | None, price: float, special_price: float | None
) -> tuple[float, bool] | None:
    """Cost of tokens of which some have a price of their own, and whether it is an upper bound.

    None where the count is needed and unknown.
    """
    special_price = price if special_price is None else special_price
    highest = max(price, special_price)
    if not highest:
        return 0.0, False
    if tokens is None:
        return None
    if special_price == price or not tokens:
        return tokens * price, False
    if special is None:
        return tokens * highest, True
    of_it = min(special, tokens)
    return (tokens - of_it) * price + of_it * special_price, False


class CostTally:
    """Costs of a case, request by request."""

    def __init__(self, price: Price | None) -> None:
        """``price``: of the model; None: there is no cost."""
        self._price = price
        self._measured = self._spent = 0.0
        self._answers = self._failed_unknown = 0
        self._at_most = False
        self._reasons: Counter[str] = Counter()
        self._spent_known = True

    def add(self, sample: Sample) -> None:
        """Take in a request of any phase."""
        if self._price is None:
            return
        found = request_cost(sample, self._price)
        amount = found.amount
        measured = sample.phase is Phase.MEASURED and sample.outcome is not Outcome.CANCELLED
        self._answers += measured and sample.ok
        if amount is None:
            self._spent_known &= not sample.ok
            if measured and sample.ok:
                self._reasons[found.reason] += 1
            elif measured and sample.sent_ns is not None:
                self._failed_unknown += 1
            return
        self._spent += amount
        self._at_most |= found.at_most
        if measured:
            self._measured += amount

    def result(self, right: int | None) -> Cost | None:
        """Cost of the case; None without a price.

        Args:
            right: Right answers; None: they are not known.

        """
        if self._price is None:
            return None
        spent = self._spent if self._spent_known else None
        if self._reasons:
            reason, count = self._reasons.most_common(1)[0]
            why = f"{count} of {self._answers} answers: {reason}" if count < self._answers else reason
            return Cost(self._price.currency, spent=spent, failed_unknown=self._failed_unknown, reason=why)
        return Cost(
            self._price.currency,
            total=self._measured,
            per_1k=1000 * self._measured / self._answers if self._answers else None,
            per_right=self._measured / right if right else None,
            spent=spent,
            at_most=self._at_most,
            failed_unknown=self._failed_unknown,
        )
