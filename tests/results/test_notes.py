"""Notes: what a line says comes back with its level and code."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.results.notes import Note, NoteCode, labelled, warning


@given(st.text(), st.sampled_from(("note", "warning")), st.sampled_from(get_args(NoteCode)))
def test_there_and_back(text: str, level: str, code: NoteCode) -> None:
    """The line of a note is read as that line again, whatever a server's words begin with."""
    note = Note(text, "warning" if level == "warning" else "note", code)
    again = Note.of(str(note))
    assert str(again) == str(note)
    if code:
        assert (again.level, again.code, again.text) == (note.level, code, text)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("loaded twice", Note("loaded twice")),
        ("warning: late", Note("late", "warning")),
        ("warning: parameters: top_k left out", Note("top_k left out", "warning", "parameters")),
        ("an earlier try: failed. slow", Note("failed. slow", "note", "earlier_try")),
        ("not compared: s::a: no such case", Note("s::a: no such case", "note", "not_compared")),
    ],
)
def test_lines_of_results(line: str, expected: Note) -> None:
    """Lines as results files of every version hold them."""
    assert Note.of(line) == expected
    assert str(expected) == line


def test_a_warning() -> None:
    """Its line begins with the level, then its code."""
    assert warning("slow") == "warning: slow"
    assert warning("top_k", "parameters") == "warning: parameters: top_k"


def test_one_label() -> None:
    """A line for a person has the level once."""
    assert [labelled(each) for each in ("loaded twice", warning("late"))] == ["note: loaded twice", "warning: late"]
