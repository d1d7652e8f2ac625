"""Our times beside the server's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pytest_flperf.measurement.planned import planned_result
from pytest_flperf.results.records import Distribution
from pytest_flperf.stats.descriptive.case import summarise
from pytest_flperf.stats.descriptive.server_timings import REQUESTS_NEEDED, TOKENS_NEEDED, cross_check
from pytest_flperf.stats.descriptive.summary import distribution
from pytest_flperf.suite.model import Case
from pytest_flperf.wire.sample import Sample

Make = Callable[..., Sample]
MS = 1_000_000
TIMES_MS = st.floats(0.001, 1e6)


def found(n: int = REQUESTS_NEEDED, output_tokens: float = 500, **medians_ms: float) -> dict[str, Distribution]:
    """Distributions of n values around these medians."""
    medians_ms["output_tokens"] = output_tokens
    made = {name: distribution([median] * n) for name, median in medians_ms.items()}
    return {name: each for name, each in made.items() if each is not None}


def test_a_disagreement_is_said_in_numbers() -> None:
    """Both figures and how far they are apart, by the server's."""
    (note,) = cross_check(found(tpot_ms=10.6, server_tpot_ms=9.4))
    assert note.startswith(
        "warning: the server says 9.4 ms per token (its timings), we say 10.6: 12.8 % apart; ours has the way to the "
    )
    (note,) = cross_check(found(tpot_ms=10.6, server_tpot_ms=12.5))
    assert "we say 10.6: 15.2 % apart; tokens came in lumps" in note
    assert "measure again" in note


def test_few_tokens_are_no_disagreement() -> None:
    """One token of a short answer makes more than 5 %: nothing is said, however far the two are apart."""
    for ours, theirs in ((23.0, 30.9), (30.9, 23.0), (5.0, 10.0)):
        assert cross_check(found(tpot_ms=ours, server_tpot_ms=theirs, output_tokens=TOKENS_NEEDED - 1)) == ()
        assert len(cross_check(found(tpot_ms=ours, server_tpot_ms=theirs, output_tokens=TOKENS_NEEDED))) == 1


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (10.5, 10.0),  # 5 % and not beyond
        (9.5, 10.0),
        (0.14, 0.1),  # 40 %, but under the floor
    ],
)
def test_small_differences_are_no_disagreement(ours: float, theirs: float) -> None:
    """Up to 5 %, and up to 0.05 ms, nothing is said."""
    assert cross_check(found(tpot_ms=ours, server_tpot_ms=theirs)) == ()


def test_the_end_of_text_is_a_token_without_text() -> None:
    """Of 20 tokens ours may lack one: 18 gaps over 19 of them are within 5 %; of 80 that explains less."""
    ours, theirs = 9.1, 10.0
    assert cross_check(found(tpot_ms=ours, server_tpot_ms=theirs, output_tokens=20)) == ()
    assert len(cross_check(found(tpot_ms=ours, server_tpot_ms=theirs, output_tokens=80))) == 1
    assert len(cross_check(found(tpot_ms=theirs, server_tpot_ms=ours, output_tokens=20))) == 1


def test_a_first_token_before_its_prompt_was_read() -> None:
    """That can't be: a warning."""
    (note,) = cross_check(found(ttft_ms=40.0, server_prompt_ms=50.0))
    assert note.startswith("warning: ")
    assert "50 ms" in note
    assert "40 ms" in note
    assert cross_check(found(ttft_ms=48.0, server_prompt_ms=50.0)) == ()


def test_time_beyond_the_prompt_is_a_plain_note() -> None:
    """Beyond 5 % and 5 ms it is said how much, without a warning; an open loop's waiting is none of the server's."""
    assert cross_check(found(ttft_ms=80.0, server_prompt_ms=50.0)) == (
        "TTFT is 30 ms beyond the server's own prompt time of 50 ms: queueing, HTTP or the network",
    )
    assert cross_check(found(ttft_ms=54.9, server_prompt_ms=50.0)) == ()
    assert cross_check(found(ttft_ms=1040.0, server_prompt_ms=1000.0)) == ()
    assert cross_check(found(ttft_ms=500.0, ttft_sent_ms=52.0, server_prompt_ms=50.0)) == ()


def test_few_requests_say_nothing() -> None:
    """Two requests are no median; one figure alone is no comparison."""
    apart = {"tpot_ms": 20.0, "server_tpot_ms": 10.0, "ttft_ms": 10.0, "server_prompt_ms": 90.0}
    assert len(cross_check(found(**apart))) == 2
    assert cross_check(found(n=REQUESTS_NEEDED - 1, **apart)) == ()
    assert cross_check(found(tpot_ms=20.0, ttft_ms=10.0)) == ()
    assert cross_check({}) == ()


@given(TIMES_MS, TIMES_MS, st.integers(1, 1000))
def test_what_is_said_is_a_disagreement(ours: float, theirs: float, tokens: int) -> None:
    """Whatever the times: nothing is said within 5 %, always something beyond it that no token explains."""
    notes = cross_check(found(tpot_ms=ours, server_tpot_ms=theirs, output_tokens=tokens))
    apart = abs(ours - theirs)
    assume(abs(apart - 0.05 * theirs) > 1e-9 * theirs)
    if apart <= 0.05 * theirs or tokens < TOKENS_NEEDED:
        assert notes == ()
    elif ours > theirs:
        assert bool(notes) == (apart > 0.05)
    elif theirs * 0.95 > ours * (1 + 1 / max(tokens - 2, 1)) + 0.05:
        assert len(notes) == 1


@given(TIMES_MS, TIMES_MS)
def test_ttft_is_only_warned_of_where_it_is_too_short(ours: float, theirs: float) -> None:
    """One line at most, and a warning exactly where the first token was here before the prompt was read."""
    notes = cross_check(found(ttft_ms=ours, server_prompt_ms=theirs))
    assert len(notes) <= 1
    assert any(note.startswith("warning: ") for note in notes) == (ours < 0.95 * theirs)


def test_a_case_has_the_notes(make_sample: Make, case: Case) -> None:
    """From the samples' timings to the case's notes, and none where the server agrees."""
    timings = {"prompt_n": 20.0, "prompt_ms": 49.5, "predicted_n": 20.0, "predicted_ms": 95.0}
    sample = make_sample()
    assert sample.sent_ns is not None
    chunks = tuple(sample.sent_ns + 50 * MS + 5 * MS * token for token in range(20))
    longer = make_sample(chunk_ns=chunks, output_tokens=20, visible_tokens=20, server_timings=timings)
    agreeing = summarise([longer] * 3, planned_result(case, target=None))
    assert agreeing.metrics["server_tpot_ms"].p50 == agreeing.metrics["tpot_ms"].p50 == 5.0
    assert [note for note in agreeing.notes if "server" in note] == []
    lying = {**timings, "predicted_ms": 76.0}
    notes = summarise([replace(longer, server_timings=lying)] * 3, planned_result(case)).notes
    said = "warning: the server says 4 ms per token (its timings), we say 5: 25.0 % apart; "
    assert [note for note in notes if note.startswith(said)]
