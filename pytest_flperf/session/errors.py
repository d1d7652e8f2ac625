"""Errors of a run that its options cause."""

from __future__ import annotations

from pytest_flperf.errors import FlperfError

__all__ = ["OptionsError"]


class OptionsError(FlperfError, ValueError):
    """An option, a suite or a marker is wrong; the text is for people."""
