"""Foreign text made harmless for terminals and CI logs."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf._text import amount, harmless, harmless_json, harmless_lines, printable

PIECES = st.sampled_from(
    ["::", ":", "error", "##", "#", "[", "vso", "teamcity", "section_", "SECTION_", "start:", "end:1", "%", "%%",
     " ", "\t", "\n", "\r", "\x1b[31m", "\u202e", "\u3000", "é", "\\", '"', "x", "1"]
)  # fmt: skip
TEXTS = st.one_of(st.text(), st.lists(PIECES).map("".join))
AT_START = re.compile(r"\s*(?:::[^\W\d]|%%)")
ANYWHERE = re.compile(r"##\w*\[|section_(?:start|end):", re.IGNORECASE)


@given(TEXTS)
def test_no_command_is_left(text: str) -> None:
    """Neither at the start nor inside, on any of its lines; doing it again changes nothing."""
    for made in (harmless(text), printable(text, 10_000), *harmless_lines(text).split("\n")):
        assert AT_START.match(made) is None
        assert ANYWHERE.search(made) is None
        assert made.isprintable()
        assert harmless(made) == made


@given(st.dictionaries(TEXTS, TEXTS))
def test_json_means_the_same(value: dict[str, str]) -> None:
    """What a program reads of our JSON is what was written, though no line of it is a command."""
    made = harmless_json(json.dumps(value, indent=1, ensure_ascii=False))
    assert json.loads(made) == value
    assert made.replace("\n", "").isprintable()
    assert ANYWHERE.search(made) is None


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("::error::x", r"\x3a:error::x"),
        ("  ::add-mask::x", r"  \x3a:add-mask::x"),
        ("x ##[error]y", r"x #\x23[error]y"),
        ("##vso[task.x]", r"#\x23vso[task.x]"),
        ("section_start:1:x", r"section\x5fstart:1:x"),
        ("%%x", r"\x25%x"),
        ("a::b", "a::b"),
        ("::1", "::1"),
        ("## heading", "## heading"),
        ("100 %", "100 %"),
    ],
)
def test_what_is_shown(text: str, shown: str) -> None:
    """One character of a command becomes an escape; what is none stays as it is."""
    assert harmless(text) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1.28e-5, "0.0000128"), (-3.5e-7, "-0.00000035"), (0.12346, "0.1235"), (12.0, "12"), (812.44, "812.4"),
     (1e-12, "1e-12"), (0.0, "0"), (1234.5, "1234")],
)  # fmt: skip
def test_amounts_of_any_size(value: float, shown: str) -> None:
    """Small ones, such as prices, are read without an exponent."""
    assert amount(value, "currency") == shown
