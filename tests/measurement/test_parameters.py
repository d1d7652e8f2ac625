"""What is asked for and what a server takes."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.backends.base import Capabilities, Served
from pytest_flperf.measurement.parameters import Dialect, adjustment_words, fitted, silent_cut, spoken
from pytest_flperf.wire.endpoint import Endpoint

BODY: dict[str, Any] = {"model": "m", "messages": [], "stream": True, "stream_options": {"include_usage": True}}


def served(max_output_tokens: int | None = None) -> Served:
    """A model whose longest answer is known, or not."""
    endpoint = Endpoint.parse("http://127.0.0.1:1/v1")
    return Served(backend="mine", model="m", model_id="m", endpoint=endpoint, max_output_tokens=max_output_tokens)


def test_nothing_is_known() -> None:
    """Everything is sent as it is, and nothing is said."""
    found = fitted({**BODY, "top_k": 5}, {"mirostat": 2}, Capabilities(), "mine")
    assert found.body == {**BODY, "top_k": 5}
    assert found.extra == {"mirostat": 2}
    assert found.adjustments == ()
    assert found.longest_answer is None
    assert adjustment_words(found.adjustments) == ""


def test_what_is_not_taken_is_left_out_and_said() -> None:
    """Of the common parameters and of what the suite passes through."""
    known = Capabilities(parameters=frozenset({"temperature"}), usage=False)
    found = fitted({**BODY, "temperature": 0, "seed": 1}, {"mirostat": 2}, known, "mine")
    assert found.body == {"model": "m", "messages": [], "stream": True, "temperature": 0}
    assert found.extra == {}
    assert adjustment_words(found.adjustments) == (
        "left out: seed (mine does not take it), mirostat (mine does not take it)"
    )


@pytest.mark.parametrize(
    ("asked", "limit", "ranges", "sent"),
    [
        (100, None, {}, 100),
        (100, 64, {}, 64),
        (100, 64, {"max_tokens": (1, 32)}, 32),
        (1, 64, {"max_tokens": (16, 128)}, 16),
    ],
)
def test_longest_answers(asked: int, limit: int | None, ranges: dict[str, tuple[float, float]], sent: int) -> None:
    """The model's and the server's own limit hold, the lower of both; an integer stays one."""
    found = fitted({**BODY, "max_tokens": asked}, {}, Capabilities(ranges=ranges), "mine", limit)
    assert found.body["max_tokens"] == sent
    assert isinstance(found.body["max_tokens"], int)
    assert [each.sent for each in found.adjustments] == ([] if sent == asked else [str(sent)])
    assert ("max_tokens" in adjustment_words(found.adjustments)) is (sent != asked)


@given(st.floats(-1e6, 1e6), st.floats(-100, 100), st.floats(0, 100))
def test_clamped_values(asked: float, low: float, span: float) -> None:
    """Within the range, the nearest to what was asked, and said if and only if it is another."""
    known = Capabilities(ranges={"temperature": (low, low + span)})
    found = fitted({**BODY, "temperature": asked}, {}, known, "mine")
    value = found.body["temperature"]
    assert low <= value <= low + span
    assert (value == asked) is (low <= asked <= low + span)
    assert bool(found.adjustments) is (value != asked)


def test_the_name_of_the_longest_answer_that_a_kind_of_server_knows() -> None:
    """Sent by that name, within that range, and said; a kind that knows neither gets none."""
    known = Capabilities(parameters=frozenset({"max_tokens"}), ranges={"max_tokens": (1, 64)})
    found = fitted({**BODY, "max_completion_tokens": 99}, {}, known, "mine")
    assert found.body == {**BODY, "max_tokens": 64}
    assert [(each.parameter, each.asked, each.sent, each.reason) for each in found.adjustments] == [
        ("max_tokens_key", "max_completion_tokens", "max_tokens", "mine does not take max_completion_tokens"),
        ("max_tokens", "99", "64", "it takes 1 to 64"),
    ]
    assert fitted(BODY, {"max_completion_tokens": 9}, known, "mine").extra == {"max_tokens": 9}
    none = fitted({**BODY, "max_tokens": 9}, {}, Capabilities(parameters=frozenset({"seed"})), "mine")
    assert none.body == BODY
    assert [(each.parameter, each.sent) for each in none.adjustments] == [("max_tokens", None)]


def test_what_one_server_was_found_to_want() -> None:
    """Its own name wins over that of its kind; defaults of ours are left out, and what was asked for is not."""
    dialect = Dialect("max_completion_tokens", frozenset({"temperature", "seed"}))
    body, extra, said = spoken(
        {**BODY, "max_tokens": 9, "temperature": 0, "seed": 1}, {}, dialect, frozenset({"temperature"})
    )
    assert (body, extra) == ({**BODY, "max_completion_tokens": 9, "seed": 1}, {})
    assert [(each.parameter, each.asked, each.sent) for each in said] == [
        ("temperature", "0", None),
        ("max_tokens_key", "max_tokens", "max_completion_tokens"),
    ]
    known = dialect.corrected(Capabilities(parameters=frozenset({"max_tokens", "seed"})))
    assert known.parameters == {"max_completion_tokens", "seed"}
    assert fitted(body, extra, known, "mine").adjustments == ()
    both = {"max_tokens": 1, "max_completion_tokens": 2}
    assert spoken({**BODY, **both}, {}, dialect, frozenset())[0] == {**BODY, **both}, "whoever asks for both gets both"
    assert Dialect().corrected(known) == known


def test_answers_that_are_cut_in_silence() -> None:
    """A server's own limit is said where the suite asks for none, and only there."""
    known = Capabilities(default_max_tokens=512)
    assert "cuts answers at 512 tokens" in silent_cut(BODY, {}, known)
    assert silent_cut({**BODY, "max_tokens": 9}, {}, known) == ""
    assert silent_cut(BODY, {"max_completion_tokens": 9}, known) == ""
    assert silent_cut(BODY, {}, Capabilities()) == ""


@pytest.mark.parametrize(
    ("asked", "bounds", "sent"),
    [(0, (0.01, 2), 0.01), (3, (0, 1.5), 1.5), (0, (1, 2), 1), (5, (0, 2.0), 2), (7, (0, math.inf), 7)],
)
def test_integers_beyond_a_range(asked: int, bounds: tuple[float, float], sent: float) -> None:
    """An integer stays one only where the range allows it: ``temperature: 0`` may well be below the lowest."""
    found = fitted({**BODY, "temperature": asked}, {}, Capabilities(ranges={"temperature": bounds}), "mine")
    value = found.body["temperature"]
    assert (value, isinstance(value, int)) == (sent, sent == int(sent))
    assert [each.sent for each in found.adjustments] == ([] if sent == asked else [str(value)])


def test_answers_without_a_longest() -> None:
    """A range that is open above is no limit."""
    found = fitted({**BODY, "max_tokens": 9}, {}, Capabilities(ranges={"max_tokens": (1, math.inf)}), "mine")
    assert found.longest_answer is None
    assert found.body["max_tokens"] == 9


def test_flags_are_no_numbers() -> None:
    """True is not clamped to 1.0."""
    found = fitted(BODY, {"flag": True}, Capabilities(ranges={"flag": (2, 3)}), "mine")
    assert found.extra == {"flag": True}
