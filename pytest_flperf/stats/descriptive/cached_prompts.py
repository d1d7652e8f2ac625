"""Cached prompts: prompt tokens out of the server's cache, where none should be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pytest_flperf.results.notes import warning
from pytest_flperf.results.records import Distribution
from pytest_flperf.results.serving import Target
from pytest_flperf.stats.descriptive.conversations import TOOL_TURNS

__all__ = ["cached_prompts"]

_LARGE: Final = 0.25
_ASKS: Final = "llamacpp"
"""Kind of backend whose server is asked not to use its cache."""
_SHARED: Final = ("turns", "shared_prefix_tokens", TOOL_TURNS)
"""Settings of requests that have a beginning in common on purpose."""


def cached_prompts(
    metrics: Mapping[str, Distribution], settings: Mapping[str, Any], target: Target | None, prompt_source: str | None
) -> tuple[str, ...]:
    """Warning where a quarter or more of the prompts' tokens was cached; else nothing.

    Nothing is said where prompts should be cached (``prompt_cache: reuse``), or begin alike on purpose.

    Args:
        metrics: Distributions of a case, by name.
        settings: What its requests asked for.
        target: What answered them.
        prompt_source: Where the prompts' tokens were read; ``timings`` count cached ones beside the others.

    """
    prompt, cached = metrics.get("prompt_tokens"), metrics.get("cached_tokens")
    if settings.get("prompt_cache") != "avoid" or any(settings.get(each) for each in _SHARED):
        return ()
    if prompt is None or cached is None:
        return ()
    whole = prompt.mean + cached.mean if prompt_source == "timings" or cached.mean > prompt.mean else prompt.mean
    if not whole or cached.mean < _LARGE * whole:
        return ()
    is_asked = target is not None and target.backend == _ASKS
    advice = "" if is_asked else "; --flperf-backend=llamacpp asks a llama-server not to use its cache"
    return (
        warning(
            f"{cached.mean:.3g} of {whole:.3g} prompt tokens (mean) came out of the server's cache, although each "
            f"prompt has a prefix of its own: a TTFT without the cache would be longer{advice}"
        ),
    )
