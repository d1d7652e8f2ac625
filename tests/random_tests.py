"""How many examples a random test has."""

from __future__ import annotations

from hypothesis import settings

_USUAL = 100


def examples(usual: int) -> int:
    """So many where other random tests have a hundred; fewer in a profile that has fewer."""
    return max(1, usual * settings().max_examples // _USUAL)
