"""Clocks: times as stored, and runs dated in the future."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

__all__ = ["FUTURE_SLACK", "in_future", "latest_start", "moment_of"]

FUTURE_SLACK: Final = timedelta(minutes=10)
"""By how much the clocks of two machines may differ before a run counts as dated in the future."""


def moment_of(text: str | None) -> datetime | None:
    """Parse an ISO 8601 time, in UTC; None where invalid."""
    try:
        moment = datetime.fromisoformat(text or "")
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def in_future(started_at: str | None) -> bool:
    """Whether a run is dated in the future, beyond ``FUTURE_SLACK``."""
    moment = moment_of(started_at)
    return moment is not None and moment > datetime.now(UTC) + FUTURE_SLACK


def latest_start() -> str:
    """Latest possible start of a run, written like stored times."""
    return (datetime.now(UTC) + FUTURE_SLACK).isoformat(timespec="milliseconds")
