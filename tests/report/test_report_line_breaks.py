"""Where long names of a page may break."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import escape
from report_doubles import HOSTILE, case, run

from pytest_flperf.report.html.line_breaks import breakable
from pytest_flperf.report.html.pages import Pages


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("SmolLM2-135M-Instruct.Q4_1.gguf", ["SmolLM2-", "135M-", "Instruct", ".Q4_1", ".gguf"]),
        ("/opt/models/nano.gguf", ["/", "opt/", "models/", "nano", ".gguf"]),
        ("the file max_output_tokens.json", ["the file max_", "output_", "tokens", ".json"]),
        ("short-chat 10.25 ms", ["short-chat 10.25 ms"]),
        ("http://127.0.0.1:8080/v1", ["http://", "127.0.0.1:8080/", "v1"]),
        ("nothing regressed, 12 unchanged", ["nothing regressed, 12 unchanged"]),
    ],
)
def test_parts_of_a_long_name_stay_whole(text: str, parts: list[str]) -> None:
    """A break behind hyphens, slashes and words, before an ending; none in a short word or a number."""
    assert str(breakable(text)).split("<wbr>") == parts


def test_an_option_is_never_broken() -> None:
    """Nor is what stands around it lost."""
    assert breakable("(--flperf-fail-on) < a") == '(<span class="whole">--flperf-fail-on</span>) &lt; a'
    assert breakable("--flperf-backend-option=llamacpp.args").startswith('<span class="whole">--flperf-backend-option<')


@given(st.text(st.sampled_from("ab_-./\\= <>&\"'1é"), max_size=80) | st.text(max_size=80))
def test_the_text_is_the_same(text: str) -> None:
    """Whatever the text: escaped once, and unchanged but for breaks."""
    shown = str(escape(breakable(text)))
    assert html.unescape(re.sub(r"<wbr>|</?span[^>]*>", "", shown)) == html.unescape(str(escape(text)))


@pytest.mark.parametrize("kind", HOSTILE)
def test_long_hostile_names_stay_escaped(kind: str) -> None:
    """Markup in a name with breaks is text."""
    name = f"a-long-model-name-{HOSTILE[kind]}-/x/y.gguf"
    page = Pages().run(run(case(model=name)), {})
    assert "<script" not in page
    assert "<img" not in page


def test_the_page_breaks_names() -> None:
    """In its tables and its conditions."""
    page = Pages().run(run(case(model="SmolLM2-135M-Instruct.Q4_1.gguf")), {})
    assert ">SmolLM2-<wbr>135M-<wbr>Instruct<wbr>.Q4_1<wbr>.gguf<" in page
