"""Words for a person: what runs, on what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_flperf.gates.text import printable

if TYPE_CHECKING:
    from pytest_flperf.integration.selection import LoadedSuite

__all__ = ["NOISE", "model_words", "suites_line"]

NOISE = "embedded; answers are noise by design"
_SHOWN_MODELS = 6


def suites_line(loaded: tuple[LoadedSuite, ...], models: tuple[str, ...]) -> str:
    """The header line: suites, cases, models."""
    suites = ", ".join(printable(each.suite.ref, 60) for each in loaded)
    cases = sum(len(each.cases) for each in loaded)
    return f"flperf: {suites}, {cases} cases on {model_words(models)}"


def model_words(models: tuple[str, ...]) -> str:
    """Names of models, and what must be known of the embedded ones."""
    from pytest_flperf.runtime.embedded import find_embedded

    shown = ", ".join(printable(model, 40) for model in models[:_SHOWN_MODELS])
    if len(models) > _SHOWN_MODELS:
        shown += f" and {len(models) - _SHOWN_MODELS} more"
    embedded = [model for model in models if find_embedded(model) is not None]
    if not embedded:
        return shown
    if len(embedded) == len(models):
        return f"{shown} ({NOISE})"
    return f"{shown} ({', '.join(embedded)}: {NOISE})"
