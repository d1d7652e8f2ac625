"""Prices of genai-prices: a maintained table, without the network.

Imported only where a price is needed: it takes half a second.
"""

from __future__ import annotations

import contextlib
import importlib.util
import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from pytest_flperf._text import shorten
from pytest_flperf.results.cost import Price

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, Provider

__all__ = ["PRICES_EXTRA", "PriceTableError", "has_price_table", "known_price", "table_price"]

PRICES_EXTRA: Final = "pip install 'pytest-flperf[prices]'"
_TOKENS: Final = ("input_mtok", "output_mtok", "cache_read_mtok", "output_reasoning_mtok")
_OTHER_FORM: Final = (ImportError, AttributeError, TypeError, LookupError, re.error)
"""Of a version of the package whose tables have another form."""
_BY_REQUEST: Final = "requests_kcount"


class PriceTableError(ValueError):
    """A price that the table lacks or that can't be applied; says why."""


def has_price_table() -> bool:
    """Whether genai-prices is installed."""
    return importlib.util.find_spec("genai_prices") is not None


def table_price(name: str) -> Price:
    """The price of a model by its name in the table, such as ``openai/gpt-4o``.

    Raises PriceTableError where the package is missing, the name unknown, or the price no plain one.
    """
    if not has_price_table():
        raise PriceTableError(f"it needs the package genai-prices: {PRICES_EXTRA}")
    try:
        return _named(name)
    except _OTHER_FORM as error:
        raise PriceTableError(f"this version of genai-prices can't be read: {error}") from error


def _named(name: str) -> Price:
    from genai_prices.data_snapshot import get_snapshot

    provider_id, _, model_ref = name.partition("/")
    snapshot = get_snapshot()
    provider = next((each for each in snapshot.providers if each.id == provider_id), None)
    if provider is None:
        known = ", ".join(each.id for each in snapshot.providers[:8])
        raise PriceTableError(f"genai-prices knows no provider {shorten(provider_id)}; it knows {known} …")
    model = provider.find_model(model_ref.lower(), all_providers=snapshot.providers) if model_ref else None
    if model is None:
        raise PriceTableError(f"genai-prices knows no model {shorten(model_ref)} of {provider.id}")
    return _price(provider, model)


def known_price(base_url: str, model_id: str) -> Price | None:
    """The price of a model at a provider's own API; None where the table knows no such API or model.

    A model alone names no price: the same weights are sold by many, and run on people's own machines for nothing.
    """
    if not has_price_table():
        return None
    with contextlib.suppress(PriceTableError, *_OTHER_FORM):
        return _of_api(base_url, model_id)
    return None


def _of_api(base_url: str, model_id: str) -> Price | None:
    from genai_prices.data_snapshot import get_snapshot

    snapshot = get_snapshot()
    for provider in snapshot.providers:
        found = re.match(provider.api_pattern, base_url)
        # Patterns may end within a host's name: that of another host is no match.
        if found is not None and (found[0].endswith("/") or base_url[found.end() :][:1] in ("", "/", ":")):
            model = provider.find_model(model_id.lower(), all_providers=snapshot.providers)
            if model is not None:
                return _price(provider, model)
    return None


def _price(provider: Provider, model: ModelInfo) -> Price:
    from importlib.metadata import version

    now = datetime.now(tz=UTC)
    found = model.get_prices(now)
    name = f"{provider.id}/{model.id}"
    if isinstance(model.prices, list) and any(hasattr(each.constraint, "start_time") for each in model.prices):
        raise PriceTableError(f"in genai-prices the price of {name} depends on the time of day; give prices per token")
    if getattr(found, _BY_REQUEST, None):
        raise PriceTableError(f"in genai-prices {name} has a price per request, too; give prices per token")
    values: dict[str, float] = {}
    limits: list[int] = []
    for kind in _TOKENS:
        price = getattr(found, kind, None)
        if price is None:
            continue
        base, starts = _base(price)
        values[kind] = float(base)
        limits += starts
    if not {"input_mtok", "output_mtok"} <= values.keys():
        raise PriceTableError(f"in genai-prices {name} has no price of input and output tokens")
    return Price(
        input_per_1m=values["input_mtok"],
        output_per_1m=values["output_mtok"],
        cached_input_per_1m=values.get("cache_read_mtok"),
        reasoning_per_1m=values.get("output_reasoning_mtok"),
        source=f"genai-prices {version('genai-prices')}: {name}",
        date=now.date().isoformat(),
        prompt_limit=min(limits, default=None),
    )


def _base(price: Any) -> tuple[Decimal, list[int]]:
    """The price of short prompts, and where that of longer ones begins."""
    if isinstance(price, Decimal):
        return price, []
    return price.base, [int(tier.start) for tier in price.tiers]
