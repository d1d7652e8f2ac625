"""Durations as people write them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.session.errors import OptionsError
from pytest_flperf.session.option_types import duration_words, lock_timeout_s, max_time_s


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("0.5", 0.5),
        (".5", 0.5),
        ("90s", 90),
        ("90 s", 90),
        ("15m", 900),
        ("15min", 900),
        ("1h", 3600),
        ("1h30m", 5400),
        ("1H 30M 5S", 5405),
        ("1.5h", 5400),
        ("250ms", 0.25),
        ("30d", 30 * 86400),
    ],
)
def test_seconds(text: str, seconds: float) -> None:
    """Numbers are seconds; units may follow, from the large to the small."""
    assert max_time_s(text) == pytest.approx(seconds)
    assert lock_timeout_s(text, 1.0) == pytest.approx(seconds)


def test_nothing_said() -> None:
    """No limit of time, and the default wait; ``0`` and ``none`` mean something for the wait only."""
    assert max_time_s(None) is None
    assert lock_timeout_s(None, 600.0) == 600.0
    assert lock_timeout_s("0", 600.0) == 0
    assert lock_timeout_s(" None ", 600.0) is None


@given(st.text(max_size=60))
def test_any_text_is_a_time_or_refused(text: str) -> None:
    """Nothing but OptionsError comes of what is no time."""
    seconds: float | None = 1.0
    with contextlib.suppress(OptionsError):
        seconds = max_time_s(text)
    assert seconds is not None
    assert 0 < seconds <= 30 * 86400


@pytest.mark.parametrize(("seconds", "words"), [(0.5, "0.5 s"), (90, "90 s"), (600, "10 min"), (9000, "2.5 h")])
def test_words(seconds: float, words: str) -> None:
    """Short words for a person."""
    assert duration_words(seconds) == words
