"""Prices of a suite, built from its forms."""

from __future__ import annotations

from collections.abc import Callable

from pytest_flperf._text import printable
from pytest_flperf.results.cost import Price
from pytest_flperf.suite.parser import KeyPath
from pytest_flperf.suite.prices import PriceSpec
from pytest_flperf.suite.schema.base import PriceForm
from pytest_flperf.suite.schema.document import SuiteForm

__all__ = ["price_of", "prices_of"]


def price_of(form: PriceForm, given_by: str = "suite") -> PriceSpec:
    """The price of a form, which was validated.

    Args:
        form: The form.
        given_by: The price's source where the form names none.

    """
    if form.genai_prices is not None:
        return PriceSpec(table=form.genai_prices)
    assert form.input_per_1m is not None
    assert form.output_per_1m is not None
    price = Price(
        form.input_per_1m,
        form.output_per_1m,
        form.cached_input_per_1m,
        form.reasoning_per_1m,
        form.currency,
        source=printable(form.source or given_by),
        date=form.date or "",
    )
    return PriceSpec(price)


def prices_of(form: SuiteForm, add: Callable[[KeyPath, str], None]) -> dict[str, PriceSpec]:
    """The suite's prices by model; all prices of a suite have one currency.

    Args:
        form: The suite.
        add: Takes a problem and its place.

    """
    prices = {name: price_of(each) for name, each in form.prices.items()}
    places: list[tuple[KeyPath, PriceSpec]] = [(("prices", name), spec) for name, spec in prices.items()]
    for index, target in enumerate(form.targets):
        if target.price is not None:
            places.append((("targets", index, "price"), price_of(target.price)))
    first = ""
    for path, spec in places:
        currency = "USD" if spec.price is None else spec.price.currency
        first = first or currency
        if currency != first:
            add(path, f"found a price in {currency} beside others in {first}, expected one currency in a suite")
            break
    return prices
