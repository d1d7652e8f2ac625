"""Prices in suites: read, refused with one message, and chosen for a model."""

from __future__ import annotations

import json
import socket
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.results.cost import Price
from pytest_flperf.suite.against import opposite, parse_against
from pytest_flperf.suite.errors import SuiteError
from pytest_flperf.suite.loader import load_suite, parse_target
from pytest_flperf.suite.matrix import expand
from pytest_flperf.suite.model import Suite
from pytest_flperf.suite.price_table import PriceTableError, has_price_table, known_price, table_price
from pytest_flperf.suite.prices import CURRENCIES, PriceSpec, currency_problem

PRICE = {"input_per_1m": 0.15, "output_per_1m": 0.6}
needs_table = pytest.mark.skipif(not has_price_table(), reason="genai-prices is not installed")


def loaded(folder: Path, **settings: Any) -> Suite:
    """A suite with one scenario and these settings."""
    path = folder / "s.json"
    path.write_text(json.dumps({"scenarios": [{"name": "one", "prompt": "Hi"}], **settings}), encoding="utf-8")
    return load_suite(path, "s")


def test_read(tmp_path: Path) -> None:
    """Each field, a date of YAML as well; what isn't given has its default."""
    full = {**PRICE, "cached_input_per_1m": 0.07, "reasoning_per_1m": 1, "currency": "EUR", "source": "our contract"}
    suite = loaded(tmp_path, prices={"a": {**full, "date": "2026-11-01"}, "b": {**PRICE, "currency": "EUR"}})
    assert suite.prices == {
        "a": PriceSpec(Price(0.15, 0.6, 0.07, 1.0, "EUR", "our contract", "2026-11-01")),
        "b": PriceSpec(Price(0.15, 0.6, currency="EUR", source="suite")),
    }
    (tmp_path / "s.yaml").write_text(
        "prices:\n  a: {input_per_1m: 1, output_per_1m: 2, date: 2026-11-01}\nscenarios:\n  - {name: x, prompt: y}\n"
    )
    (spec,) = load_suite(tmp_path / "s.yaml", "s").prices.values()
    assert spec.price is not None
    assert spec.price.date == str(date(2026, 11, 1))


@pytest.mark.parametrize(
    ("prices", "words"),
    [
        ({"a": {**PRICE, "input_per_1m": -1}}, "prices.a.input_per_1m: found -1, expected a price of a million tokens"),
        ({"a": {**PRICE, "output_per_1m": 1e10}}, "prices.a.output_per_1m: found 10000000000.0, expected a price"),
        ({"a": {**PRICE, "output_per_1m": "0.6"}}, "prices.a.output_per_1m: found '0.6', expected a price"),
        ({"a": {**PRICE, "cached_input_per_1m": True}}, "prices.a.cached_input_per_1m: found true"),
        ({"a": {"input_per_1m": 1}}, "prices.a: missing output_per_1m, expected both prices, or genai_prices"),
        ({"a": {}}, "missing input_per_1m and output_per_1m"),
        ({"a": {**PRICE, "curency": "USD"}}, "prices.a.curency: unknown key; did you mean 'currency'?"),
        ({"a": {**PRICE, "currency": "usd"}}, "found 'usd', expected the code of a currency (ISO 4217)"),
        ({"a": {**PRICE, "currency": "usd"}}, "did you mean USD?"),
        ({"a": {**PRICE, "currency": "$\x1b[31m\n::error::"}}, r"found '$\x1b[31m\n::error::', expected the code"),
        ({"a": {**PRICE, "currency": "X" * 5000}}, "expected the code of a currency"),
        ({"a": {**PRICE, "date": "yesterday"}}, "prices.a.date: found 'yesterday', expected a date such as"),
        ({"a": {**PRICE, "genai_prices": "openai/gpt-4o"}}, "found genai_prices and input_per_1m, expected"),
        ({"a": PRICE, "b": {**PRICE, "currency": "EUR"}}, "prices.b: found a price in EUR beside others in USD"),
        ({"a": 3}, "prices.a: found 3, expected a mapping with input_per_1m and output_per_1m"),
        ([], "prices: found [], expected a mapping of models to prices"),
    ],
)
def test_refused(tmp_path: Path, prices: Any, words: str) -> None:
    """One short message with the place."""
    with pytest.raises(SuiteError) as caught:
        loaded(tmp_path, prices=prices)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 600
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("word", [".nan", ".inf", "-.inf"])
def test_no_numbers(tmp_path: Path, word: str) -> None:
    """YAML has words for what is no number."""
    text = f"prices: {{a: {{input_per_1m: {word}, output_per_1m: 1}}}}\nscenarios: [{{name: x, prompt: y}}]\n"
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(SuiteError, match=r"prices.a.input_per_1m: found -?(nan|inf), expected a price"):
        load_suite(tmp_path / "s.yaml", "s")


@given(st.text(max_size=40))
def test_any_currency(found: str) -> None:
    """It is a known code, or refused."""
    assert bool(currency_problem(found)) == (found not in CURRENCIES)


def test_chosen(tmp_path: Path) -> None:
    """A target's own price, its name, the model's name, the first pattern that fits; else none."""
    own = {**PRICE, "input_per_1m": 9}
    target = {"model": "qwen-2", "base_url": "http://127.0.0.1:1/v1"}
    suite = loaded(
        tmp_path,
        targets=[{**target, "name": "mine", "price": own}, {**target, "name": "named"}, {**target, "name": "third"},
                 {"model": "qwen-3", "base_url": "http://127.0.0.1:1/v1"},
                 {"model": "other", "base_url": "http://127.0.0.1:1/v1"}],
        prices={"q*": {**PRICE, "input_per_1m": 3}, "named": {**PRICE, "input_per_1m": 1},
                "qwen-2": {**PRICE, "input_per_1m": 2}, "*3": {**PRICE, "input_per_1m": 4}},
    )  # fmt: skip
    found = {case.model: case.price_spec for case in expand(suite, ())}
    paid = {
        name: spec.price.input_per_1m for name, spec in found.items() if spec is not None and spec.price is not None
    }
    assert paid == {"mine": 9, "named": 1, "third": 2, "qwen-3": 3}
    assert found["other"] is None


def test_on_the_command_line() -> None:
    """Keys behind a dot, numbers as numbers, texts as texts."""
    target = parse_target(
        "model=m,price.input_per_1m=1.5,price.output_per_1m=2,price.date=2026-11-01", "--flperf-target"
    )
    assert target.price == PriceSpec(Price(1.5, 2.0, source="target", date="2026-11-01"))
    with pytest.raises(SuiteError, match=r"--flperf-target: price: missing output_per_1m"):
        parse_target("model=m,price.input_per_1m=1", "--flperf-target")
    with pytest.raises(SuiteError, match=r"price.input_per_1m: found nan, expected a price"):
        parse_target("model=m,price.input_per_1m=nan,price.output_per_1m=1", "--flperf-target")


def test_the_other_side_of_a_comparison(tmp_path: Path) -> None:
    """Another model never has this one's price; the same model with other settings has."""
    suite = loaded(tmp_path, targets=[{"model": "m", "price": PRICE}], prices={"dear": {**PRICE, "input_per_1m": 7}})
    (case,) = expand(suite, ())
    other, same = opposite(case, parse_against("n", "-")), opposite(case, parse_against("max_tokens=3", "-"))
    assert (other.price_spec, same.price_spec) == (None, case.price_spec)
    dear = opposite(case, parse_against("dear", "-")).price_spec
    assert dear == suite.prices["dear"]
    given_price = opposite(case, parse_against("model=n,price.input_per_1m=1,price.output_per_1m=1", "-")).price_spec
    assert given_price == PriceSpec(Price(1.0, 1.0, source="target"))


@needs_table
def test_the_table() -> None:
    """Prices inside the package: with its version and name, the day of use, and where prompts begin to cost more."""
    price = table_price("openai/gpt-4o")
    assert price.input_per_1m > 0
    assert price.output_per_1m > price.input_per_1m
    assert price.currency == "USD"
    assert price.source.startswith("genai-prices ")
    assert price.source.endswith(": openai/gpt-4o")
    assert date.fromisoformat(price.date).year >= 2026
    assert (table_price("google/gemini-2.5-pro").prompt_limit or 0) > 100_000


@needs_table
@pytest.mark.parametrize("name", ["nobody/gpt-4o", "openai/no-such-model", "openai", "gpt-4o", "", "\x1b[31m/x"])
def test_not_in_the_table(name: str) -> None:
    """Said in words, not guessed from a model alone."""
    with pytest.raises(PriceTableError, match="genai-prices knows no") as caught:
        table_price(name)
    assert str(caught.value).isprintable()


@needs_table
def test_prices_that_are_not_of_tokens_alone() -> None:
    """A price per request, or one that changes with the hour, would make a wrong cost."""
    from genai_prices.data_snapshot import get_snapshot

    found = []
    for provider in get_snapshot().providers:
        for model in provider.models:
            by_hour = isinstance(model.prices, list) and any(hasattr(x.constraint, "start_time") for x in model.prices)
            if by_hour or (not isinstance(model.prices, list) and getattr(model.prices, "requests_kcount", None)):
                found.append(f"{provider.id}/{model.id}")
    assert found
    for name in found[:20]:
        with pytest.raises(PriceTableError, match="give prices per token"):
            table_price(name)


@needs_table
def test_known_by_the_api(monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider's own API names a price; the same model elsewhere has none; and the network is never asked."""

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "getaddrinfo", refused)
    monkeypatch.setattr(socket.socket, "connect", refused)
    assert known_price("https://api.openai.com/v1", "gpt-4o") is not None
    for url, model in (
        ("http://127.0.0.1:8080/v1", "gpt-4o"),
        ("https://models.example.com/v1", "gpt-4o"),
        ("https://api.openai.com.example.com/v1", "gpt-4o"),
        ("https://api.openai.com/v1", "my-own-model"),
        ("http://localhost:11434/v1", "gpt-oss-20b"),
    ):
        assert known_price(url, model) is None, (url, model)
