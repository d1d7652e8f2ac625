"""Header line of a session: suites, cases, models, server."""

from __future__ import annotations

import urllib.request
from typing import Final

from pytest_flperf._text import printable
from pytest_flperf.foundry_host.embedded import find_embedded
from pytest_flperf.report.figures import counted
from pytest_flperf.report.terminal.tables import WIDEST_NAME, cut_inside
from pytest_flperf.wire.endpoint import Endpoint

__all__ = ["header_line"]

_NOISE: Final = "embedded; answers are noise by design"
_SHOWN_MODELS: Final = 6


def header_line(
    refs: tuple[str, ...], cases: int, models: tuple[str, ...], base_url: str | None, *, at_most: bool = False
) -> str:
    """Header line: suites, number of cases, models and their location.

    ``at_most``: options may deselect some of the cases, which pytest does later.
    """
    suites = ", ".join(printable(ref, 60) for ref in refs)
    where = _model_words(models) if base_url is None else _server_words(models, base_url)
    return f"flperf: {suites}, {'at most ' * at_most}{counted(cases, 'case')} on {where}"


def _server_words(models: tuple[str, ...], base_url: str) -> str:
    names = ", ".join(cut_inside(printable(model), WIDEST_NAME) for model in models[:_SHOWN_MODELS])
    endpoint = Endpoint.parse(base_url)
    proxied = not endpoint.loopback and urllib.request.getproxies().keys() & {"http", "https", "all"}
    return f"{names} at {printable(endpoint.shown, 80)}" + (
        " (directly: proxy settings are not used)" if proxied else ""
    )


def _model_words(models: tuple[str, ...]) -> str:
    """Model names, with a note on the embedded ones."""
    shown = ", ".join(cut_inside(printable(model), WIDEST_NAME) for model in models[:_SHOWN_MODELS])
    if len(models) > _SHOWN_MODELS:
        shown += f" and {len(models) - _SHOWN_MODELS} more"
    embedded = [model for model in models if find_embedded(model) is not None]
    if not embedded:
        return shown
    if len(embedded) == len(models):
        return f"{shown} ({_NOISE})"
    return f"{shown} ({', '.join(embedded)}: {_NOISE})"
