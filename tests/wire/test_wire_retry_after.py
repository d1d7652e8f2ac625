"""``Retry-After``: seconds, dates, and what is neither."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_doubles import exchange

from pytest_flperf.wire.retry_after import asked_to_wait_s, retry_after_s

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
DATE = "Thu, 01 Jan 2026 12:00:30 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "5"}, 5.0),
        ({"retry-after": " 0 "}, 0.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "1000000000"}, 1e9),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after": DATE}, 30.0),
        ({"retry-after": DATE, "date": "Thu, 01 Jan 2026 12:00:20 GMT"}, 10.0),
        ({"retry-after": DATE, "date": "nonsense"}, 30.0),
        ({"retry-after": "Thu, 01 Jan 2026 11:00:00 GMT"}, 0.0),
        ({"retry-after": "Thursday, 01-Jan-26 12:00:30 GMT"}, 30.0),
        ({}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "1e9"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "٣"}, None),
        ({"retry-after": "9" * 400}, None),
        ({"retry-after": "5, 7"}, None),
        ({"retry-after": "Thu, 99 Foo 2026 12:00:30 GMT"}, None),
        ({"retry-after": f"{DATE} " * 100_000}, None),
    ],
)
def test_what_is_asked(headers: dict[str, str], seconds: float | None) -> None:
    """Seconds from the answer on; None where nothing can be understood."""
    assert retry_after_s(headers, NOW) == seconds


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_text(value: str, date: str) -> None:
    """Nothing raises, and nothing is negative or endless."""
    found = retry_after_s({"retry-after": value, "date": date})
    assert found is None or 0 <= found < 1e16


@pytest.mark.parametrize(("status", "seconds"), [(200, None), (201, None), (206, None), (429, 5.0), (503, 5.0)])
def test_a_success_asks_for_nothing(status: int, seconds: float | None) -> None:
    """Any 2xx is one."""
    raw = b"HTTP/1.1 %d Words\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n" % status
    assert asked_to_wait_s(exchange([raw])) == seconds
