"""Prices and costs of a case, and its energy per answer."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_flperf.results.serialize import Record

__all__ = ["Cost", "Energy", "Price"]


@dataclass(frozen=True, slots=True)
class Price(Record):
    """Price of a model's tokens, per million."""

    input_per_1m: float
    output_per_1m: float
    cached_input_per_1m: float | None = None
    """Of prompt tokens from the server's cache; None: they cost what the others do."""
    reasoning_per_1m: float | None = None
    """Of reasoning tokens; None: they cost what other output does."""
    currency: str = "USD"
    """Code of ISO 4217."""
    source: str = ""
    """``suite``, ``target``, what these say of it, or the package with its version and its name of the model."""
    date: str = ""
    """As the suite says; of a package, the day on which its price was applied.  Empty: unknown."""
    prompt_limit: int | None = None
    """Prompt tokens beyond which a request costs more than this says; None: no such limit is known."""

    @property
    def words(self) -> str:
        """The price in words: ``0.15 in, 0.6 out per million tokens, in USD``."""
        parts = [f"{self.input_per_1m:g} in"]
        parts += [f"{self.cached_input_per_1m:g} in from cache"] if self.cached_input_per_1m is not None else []
        parts.append(f"{self.output_per_1m:g} out")
        parts += [f"{self.reasoning_per_1m:g} for reasoning"] if self.reasoning_per_1m is not None else []
        source = ", ".join(filter(None, (self.source, self.date)))
        return f"{', '.join(parts)} per million tokens, in {self.currency}" + (f" ({source})" if source else "")


@dataclass(frozen=True, slots=True)
class Cost(Record):
    """Cost of a case, in the currency of its price."""

    currency: str
    total: float | None = None
    """Of the measured requests; failed ones as far as the server said what they used.  None: see ``reason``."""
    per_1k: float | None = None
    """1,000 × total / answers; None without an answer."""
    per_right: float | None = None
    """Total / right answers; None without one, and where nothing is expected of answers."""
    spent: float | None = None
    """Of all requests of the case: warm-up, ramp-up, cool-down and retries included."""
    at_most: bool = False
    """Whether these are upper bounds: the server did not tell cheaper tokens apart, so that all cost the most."""
    failed_unknown: int = 0
    """Measured requests that failed and of which the server did not say what they used; they are in no number."""
    reason: str = ""
    """Why there is no total; empty where there is one."""


@dataclass(frozen=True, slots=True)
class Energy(Record):
    """Energy of a case: power of the GPUs × time, idle power included."""

    per_answer_j: float | None = None
    """Joules per answer; None: see ``reason``."""
    per_right_j: float | None = None
    """Joules per right answer; None without one, and where nothing is expected of answers."""
    reason: str = ""
    """Why it can't be told although power was measured; empty where it is told."""
