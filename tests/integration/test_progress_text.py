"""Progress text: what goes first where a line is short."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.integration.progress_text import CaseText, fitted
from pytest_flperf.report.terminal.tables import width_of

MEASURED = CaseText("3/22", "short-chat[nano]", "12/50 requests", ("TTFT 152 ms", "41.2 tok/s"), "40 s left")
LOADED = CaseText("1/3", "loading a-model-with-a-long-name", "43 % (12 s)", (), "")


@pytest.mark.parametrize(
    ("text", "room", "shown"),
    [
        (MEASURED, 100, "3/22 short-chat[nano] 12/50 requests, TTFT 152 ms, 41.2 tok/s, 40 s left"),
        (MEASURED, 70, "3/22 short-chat[na… 12/50 requests, TTFT 152 ms, 41.2 tok/s, 40 s left"),
        (MEASURED, 60, "3/22 short-chat[n… 12/50, TTFT 152 ms, 41.2 tok/s, 40 s left"),
        (MEASURED, 50, "3/22 short-chat[nan… 12/50, TTFT 152 ms, 40 s left"),
        (MEASURED, 35, "3/22 short-chat[n… 12/50, 40 s left"),
        (MEASURED, 25, "3/22 12/50, 40 s left"),
        (MEASURED, 12, "3/22 12/50"),
        (MEASURED, 6, "3/22 …"),
        (LOADED, 40, "1/3 loading a-model-with-a-… 43 % (12 s)"),
        (LOADED, 20, "1/3 43 % (12 s)"),
    ],
)
def test_the_least_important_goes_first(text: CaseText, room: int, shown: str) -> None:
    """The name is cut, then go the word, the tokens, the TTFT, the name; at last the time left."""
    assert fitted(text, room) == shown


WORDS = st.text(max_size=40)


@given(st.builds(CaseText, WORDS, WORDS, WORDS, st.tuples(WORDS, WORDS), WORDS), st.integers(1, 120))
def test_it_always_fits(text: CaseText, room: int) -> None:
    """One line of printable cells, whatever a case is called."""
    shown = fitted(text, room)
    assert shown.isprintable()
    assert width_of(shown) <= room
