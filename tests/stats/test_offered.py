"""Offered and sent rate of an open loop."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.stats.descriptive.offered_rate import OfferedLoad
from pytest_flperf.wire.sample import Outcome, Sample

Make = Callable[..., Sample]
START = 10**15
S = 1_000_000_000
NEVER_SENT = [Outcome.CONNECT_REFUSED, Outcome.CONNECT_TIMEOUT, Outcome.CANCELLED, Outcome.CONNECTION_LOST]


def offered(make: Make, due_s: list[float], lost: set[int], outcome: Outcome = Outcome.CONNECT_REFUSED) -> OfferedLoad:
    """Requests that were due then; those of these numbers were never sent, the others at once."""
    found = OfferedLoad()
    for number, at_s in enumerate(due_s):
        due_ns = START + round(at_s * S)
        if number in lost:
            found.add(make(due_ns=due_ns, sent_ns=None, outcome=outcome))
        else:
            found.add(make(due_ns=due_ns, sent_ns=due_ns))
    return found


@pytest.mark.parametrize("outcome", NEVER_SENT)
def test_what_could_not_be_sent_was_offered(make_sample: Make, outcome: Outcome) -> None:
    """Ten a second, every fourth refused: 10 offered, 7.5 sent."""
    due_s = [number / 10 for number in range(41)]
    rates = offered(make_sample, due_s, set(range(1, 41, 4)), outcome)
    assert rates.offered_rate == pytest.approx(10)
    assert rates.sent_rate == pytest.approx(7.5)


@given(st.data())
def test_the_first_and_the_last_count_as_any(make_sample: Make, data: st.DataObject) -> None:
    """Whichever were never sent, the offered rate is the same."""
    due_s = [number / 8 for number in range(20)]
    lost = data.draw(st.sets(st.integers(0, 19)))
    rates = offered(make_sample, due_s, lost)
    assert rates.offered_rate == pytest.approx(8)
    sent = [number for number in range(20) if number not in lost]
    expected = (len(sent) - 1) / ((sent[-1] - sent[0]) / 8) if len(sent) > 1 else None
    assert rates.sent_rate == (None if expected is None else pytest.approx(expected))


def test_none_was_sent(make_sample: Make) -> None:
    """A server that is gone: what was offered is known, and there is no rate of what was sent."""
    rates = offered(make_sample, [0, 0.5, 1], {0, 1, 2})
    assert (rates.offered_rate, rates.sent_rate) == (pytest.approx(2), None)


def test_bursts(make_sample: Make) -> None:
    """Four at once each second; the last burst is no time yet."""
    due_s = [float(number // 4) for number in range(12)]
    rates = offered(make_sample, due_s, {1, 5, 9})
    assert rates.offered_rate == pytest.approx(4)
    assert rates.sent_rate == pytest.approx(3)


def test_a_closed_loop_offers_nothing(make_sample: Make) -> None:
    """Without due times, or with a single one, there is no rate."""
    closed = OfferedLoad()
    closed.add(make_sample())
    assert (closed.offered_rate, closed.sent_rate) == (None, None)
    one = offered(make_sample, [0, 0, 0], {1})
    assert (one.offered_rate, one.sent_rate) == (None, None)
