"""Targets: models with their backends, from suites or the command line."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pytest_flperf.suite.errors import SuiteError, printable, shown
from pytest_flperf.suite.prices import PriceSpec

__all__ = ["TargetSpec", "backend_options", "distinct", "mapping_of"]

_TYPED: Final = frozenset({"options", "price"})
_TEXTS: Final = frozenset({"price.currency", "price.source", "price.date", "price.genai_prices"})
"""Keys below typed ones whose values are texts."""


@dataclass(frozen=True, slots=True)
class TargetSpec:
    """A target: a model, its backend and address.

    None or empty: the run's choice, else the backend's own.
    """

    model: str
    """As its backend knows it."""
    backend: str = ""
    """Name of a kind; empty: the run's (``--flperf-backend``)."""
    name: str = ""
    """Its name in node ids, tables and results; empty: made of the two above."""
    base_url: str | None = None
    api_key_env: str | None = None
    """Environment variable that holds the key; the key itself is not stored."""
    headers: Mapping[str, str] = field(default_factory=dict)
    headers_env: Mapping[str, str] = field(default_factory=dict)
    """Headers whose values are in environment variables of these names."""
    ca_file: str | None = None
    verify: bool = True
    client_cert: str | None = None
    device: str | None = None
    isolation: str | None = None
    transport: str | None = None
    model_cache: str | None = None
    catalog_url: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of its kind of backend."""
    price: PriceSpec | None = None
    """Price of its tokens, in place of the suite's for the model."""

    @property
    def label(self) -> str:
        """Its name, else ``backend:model``, or the model alone.

        The model alone where the run sets the backend.
        """
        return self.name or (f"{self.backend}:{self.model}" if self.backend else self.model)


def distinct(targets: Iterable[TargetSpec], where: str) -> tuple[TargetSpec, ...]:
    """The targets without duplicates.

    Raises SuiteError where two different targets have the same label.
    """
    found: dict[str, TargetSpec] = {}
    for target in targets:
        if found.setdefault(target.label, target) != target:
            raise SuiteError(
                f"{where}: found two targets called {shown(target.label)}, expected a different name for each: name: …"
            )
    return tuple(found.values())


def mapping_of(text: str, where: str, typed: Collection[str] = _TYPED) -> dict[str, Any]:
    """Parse ``key=value,outer.inner=value`` into a mapping.

    Args:
        text: As written.
        where: Begins the text of an error.
        typed: Outer keys whose values may be numbers, true or false; all others are texts, whatever they look like.

    Raises:
        SuiteError: A part is no ``KEY=VALUE``, or a key is there twice.

    """
    values: dict[str, Any] = {}
    for part in _parts(text):
        key, equals, value = part.partition("=")
        key = key.strip()
        if not equals or not key:
            raise SuiteError(f"{where}: found {shown(part)}, expected KEY=VALUE, such as model=NAME")
        outer, dot, inner = key.partition(".")
        place, last = (values.setdefault(outer, {}), inner) if dot else (values, key)
        if not isinstance(place, dict) or last in place:
            raise SuiteError(f"{where}: found {printable(key)[:80]} twice, expected it once")
        may_be_number = (outer in typed and key not in _TEXTS) or key == "tls.verify"
        place[last] = _scalar(value.strip()) if may_be_number else value.strip()
    return values


def backend_options(texts: Iterable[str], where: str) -> dict[str, dict[str, Any]]:
    """Options by kind of backend and key, from ``llamacpp.models_dir=models``.

    Raises SuiteError for any other form.
    """
    found: dict[str, dict[str, Any]] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        kind, dot, key = name.strip().partition(".")
        if not (kind and dot and key and equals):
            raise SuiteError(
                f"{where}: found {shown(text)}, expected KIND.KEY=VALUE, such as llamacpp.models_dir=models"
            )
        found.setdefault(kind, {})[key] = _scalar(value.strip())
    return found


def _parts(text: str) -> list[str]:
    parts = [""]
    escaped = False
    for character in text:
        if escaped:
            parts[-1] += character if character == "," else f"\\{character}"
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == ",":
            parts.append("")
        else:
            parts[-1] += character
    if escaped:
        parts[-1] += "\\"
    return [part for part in parts if part.strip()]


def _scalar(text: str) -> str | int | float | bool:
    """A command-line value as number or boolean, else as text."""
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
