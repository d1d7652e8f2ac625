"""Other sides that a suite names for its scenarios."""

from __future__ import annotations

import pytest

from pytest_flperf.suite.against import parse_own_against
from pytest_flperf.suite.errors import SuiteError


@pytest.mark.parametrize("text", ["concurrency=1", "temperature=0.7", "max_tokens=64, extra.user=x", "same"])
def test_what_it_may_be(text: str) -> None:
    """Settings of the requests, streams, the case itself."""
    assert parse_own_against(text, "here").text == text


@pytest.mark.parametrize(
    ("text", "word"),
    [("other-model", "another model or server"), ("base_url=http://127.0.0.1:1/v1", "another model or server"),
     ("concurency=1", "concurrency"), ("concurrency=0", "concurrency"), ("iterations=3", "iterations")],
)  # fmt: skip
def test_what_it_may_not_be(text: str, word: str) -> None:
    """Another target is the command line's; the rest is no setting of a request."""
    with pytest.raises(SuiteError, match=word):
        parse_own_against(text, "here")
