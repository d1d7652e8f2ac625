"""``Retry-After`` header: how long to wait before retrying.

RFC 9110, section 10.2.3.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from pytest_flperf.wire.exchange import Exchange
from pytest_flperf.wire.framing import MalformedAnswerError, parse_head

__all__ = ["asked_to_wait_s", "retry_after_s"]

_NUMBER: Final = re.compile(r"[0-9]{1,15}(?:\.[0-9]{0,9})?")
_LONGEST: Final = 100
"""Characters of a value that may be one."""


def asked_to_wait_s(exchange: Exchange) -> float | None:
    """Wait time of an exchange's ``Retry-After``, in seconds.

    As :func:`retry_after_s`; None also where the answer has no whole head.
    """
    try:
        head = parse_head(exchange.raw)
    except MalformedAnswerError:
        return None
    return retry_after_s(head.headers) if head is not None and not 200 <= head.status < 300 else None


def retry_after_s(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Wait time from response headers, in seconds, 0 or more.

    None where they ask for nothing that could be understood.

    Seconds, whole or not; a date, counted from the answer's own ``Date`` where it has one, because the clocks of two
    machines differ; and ``retry-after-ms``, which OpenAI and Azure send.  A date that has passed is 0.

    Args:
        headers: Of the answer, names in lower case.
        now: The time; None: this machine's.

    """
    for name, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name, "").strip()
        if _NUMBER.fullmatch(value):
            return float(value) * unit_s
    until = _date(headers.get("retry-after", ""))
    if until is None:
        return None
    since = _date(headers.get("date", "")) or now or datetime.now(UTC)
    return max(0.0, (until - since).total_seconds())


def _date(text: str) -> datetime | None:
    if not 0 < len(text) <= _LONGEST:
        return None
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
