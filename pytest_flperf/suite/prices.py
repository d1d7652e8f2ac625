"""Prices of models: as suites give them, and which of them holds for a model."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

from pytest_flperf.results.cost import Price

__all__ = ["CURRENCIES", "HIGHEST", "PriceSpec", "currency_problem", "date_problem", "price_named"]

HIGHEST: Final = 1_000_000_000
"""Highest price of a million tokens."""
_CODE: Final = re.compile(r"[A-Z]{3}")
_CODES: Final = """
    AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF
    CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD
    HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL
    LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP
    PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT
    TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG
"""
CURRENCIES: Final = frozenset(_CODES.split())
"""Codes of currencies (ISO 4217)."""


@dataclass(frozen=True, slots=True)
class PriceSpec:
    """Price of a model as a suite gives it."""

    price: Price | None = None
    table: str = ""
    """Name of the model in genai-prices, such as ``openai/gpt-4o``; empty where ``price`` is given."""


def currency_problem(found: str) -> str:
    """What was expected in place of a currency; empty where it is one."""
    if found in CURRENCIES:
        return ""
    upper = found.upper()
    hint = f"; did you mean {upper}?" if _CODE.fullmatch(upper) and upper in CURRENCIES else ""
    return f"the code of a currency (ISO 4217), such as USD or EUR{hint}"


def date_problem(found: str) -> str:
    """What was expected in place of a date; empty where it is one."""
    try:
        date.fromisoformat(found)
    except ValueError:
        return "a date such as 2026-11-30"
    return ""


def price_named(prices: Mapping[str, PriceSpec], names: Collection[str]) -> PriceSpec | None:
    """The price of a model: for one of its names, else for the first pattern that fits one; None without any."""
    exact = next((prices[name] for name in names if name in prices), None)
    if exact is not None:
        return exact
    return next(
        (spec for glob, spec in prices.items() if any(fnmatch.fnmatchcase(name, glob) for name in names)),
        None,
    )
