"""What is odd in the texts of a case's answers is said once each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pytest_flperf.stats.descriptive.answer_texts import AnswerTexts
from pytest_flperf.wire.sample import Sample

MS = 1_000_000
Make = Callable[..., Sample]

ODD: dict[str, tuple[dict[str, Any], str]] = {
    "all at once": ({"chunk_ns": (50 * MS,) * 20}, "arrived at once"),
    "count and text": ({"visible_tokens": None}, "is not known"),
    "tags": ({"tagged": True}, "(reasoning_tags)"),
    "field": ({"unknown_fields": ("inner_voice",)}, "'inner_voice'"),
    "pieces": ({"output_tokens": 4, "visible_tokens": 4}, "more chunks than tokens"),
}


def notes(*samples: Sample) -> list[str]:
    """The lines of these answers."""
    found = AnswerTexts()
    for sample in samples:
        found.add(sample)
    return found.notes()


@pytest.mark.parametrize("name", ODD)
def test_each_oddity_has_one_line(make_sample: Make, name: str) -> None:
    """With how many answers show it, beside those that don't."""
    changes, words = ODD[name]
    (line,) = notes(*(make_sample(**changes) for _ in range(3)))
    assert words in line
    if "answers" in line:
        assert "3 of 3 answers" in line
        (line,) = notes(make_sample(**changes), make_sample())
        assert "1 of 2 answers" in line


def test_plain_answers_have_none(make_sample: Make) -> None:
    """Also those that did not stream, had one token, or said nothing of tokens."""
    plain = [
        make_sample(),
        make_sample(chunk_ns=(50 * MS,) * 8),
        make_sample(stream=False, chunk_ns=()),
        make_sample(chunk_ns=(50 * MS,)),
    ]
    assert notes(*plain, make_sample(output_tokens=None)) == []


def test_a_hostile_server_can_not_fill_the_notes(make_sample: Make) -> None:
    """Fields are bounded and escaped."""
    lines = notes(*(make_sample(unknown_fields=(f"\x1b[31m{number}",)) for number in range(100)))
    assert len(lines) <= 5
    assert all(line.startswith("warning: ") and "\x1b" not in line for line in lines)
