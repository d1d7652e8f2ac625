"""A run as Markdown."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_doubles import HOSTILE, case, hostile_run, run

from pytest_flperf.report.markdown import markdown, words

RAW_TAGS = {"<code>", "</code>", "<pre>", "</pre>", "<!-- -->"}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts(name: str) -> None:
    """No HTML but ours, no link, no mention, no reference, no table broken, no invisible character."""
    text = markdown(hostile_run(HOSTILE[name]))
    assert set(re.findall(r"<[^>]*>", text)) <= RAW_TAGS
    bare = re.sub(r"&#[0-9]+;", "", text).replace("<!-- -->", "")
    assert "@" not in bare
    assert "](" not in bare
    assert "`" not in bare
    assert not re.search(r"://|www\.|#[0-9]", bare)
    assert [char for char in text if not char.isprintable() and char != "\n"] == []
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows} == {14, 10}, "the table of results and that of comparisons"
    assert len(rows) == 3 + 2 + 4 + 2
    assert len(text.encode()) <= 400_000


@given(st.text(max_size=200))
def test_words_read_back(text: str) -> None:
    """What a browser shows of an escaped text is the text, as far as it can be printed."""
    shown = html.unescape(words(text).replace("<!-- -->", ""))
    assert shown == "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def test_what_it_says() -> None:
    """Verdict, table with marks, doubts, host, clock; failures with their text and the command."""
    bad = case("bad", outcome="failed", message="bad on m: missed it\n  MISSED  ttft_ms.p95 <= 5")
    text = markdown(run(case(), bad, status="failed"))
    lines = text.splitlines()
    assert lines[0] == "## ❌ flperf: FAILED"
    assert "| ✅ | m | short | 11 | 15.0 | 19.5&#42; | 1.00 | 25.0 | 45.0 | 58.5 | 0 |" in lines
    assert "<pre>bad on m: missed it&#10;  MISSED  ttft&#95;ms.p95 &#60;= 5</pre>" in lines
    assert "Run it again: <code>pytest 's&#58;<!-- -->&#58;<!-- -->bad&#91;m&#93;'</code>" in lines
    assert "kernel's stamp" in text


def test_bounded() -> None:
    """A thousand failed cases fit what they are given, and what is left out is said."""
    cases = [case(f"scenario-{index}", outcome="failed", message="x" * 3000) for index in range(1000)]
    for most in (4_000, 20_000, 400_000):
        text = markdown(run(*cases, status="failed"), longest_bytes=most)
        assert len(text.encode()) <= most
        assert "report.html" in text
        assert "kernel's stamp" in text, "the end is never cut off"
