"""Target that served a case, and adjusted request parameters."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_flperf.results.serialize import Record

__all__ = ["Adjustment", "Target"]


@dataclass(frozen=True, slots=True)
class Target(Record):
    """Target: the server and model that answered the requests."""

    backend: str
    base_url: str | None = None
    """The address of the requests, without a password."""
    model_id: str | None = None
    variant: str | None = None
    device: str | None = None
    execution_provider: str | None = None
    context_length: int | None = None
    """In tokens."""
    size_mb: int | None = None
    """Of the model's files, in units of 2²⁰ bytes."""
    transport: str = "http"
    """``http``, or ``native``: inside the server's process."""


@dataclass(frozen=True, slots=True)
class Adjustment(Record):
    """Adjustment: a parameter that was changed or left out."""

    parameter: str
    asked: str
    """As written, shortened."""
    sent: str | None
    """None: it was left out."""
    reason: str
