"""Strict JSON: no NaN and no infinities, which Python's decoder takes."""

from __future__ import annotations

import json
from typing import Any, Final

__all__ = ["decode", "refuse_constant"]


def refuse_constant(constant: str) -> Any:
    """Refuse ``NaN`` or an infinity; raises ValueError."""
    raise ValueError(f"{constant} is not JSON")


decode: Final = json.JSONDecoder(parse_constant=refuse_constant).decode
"""Decodes a text; raises ValueError, and RecursionError for deep nesting.  One for all: ``json.loads`` makes a decoder
for every text."""
