"""Base of the errors that people cause or can mend."""

from __future__ import annotations

__all__ = ["FlperfError"]


class FlperfError(Exception):
    """Something is wrong with what was given or found; the text is for people."""
