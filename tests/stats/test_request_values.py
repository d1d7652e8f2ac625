"""Values of single requests: the first sent of each metric, and end-to-end times in order."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_flperf.stats.descriptive.request_values import RequestValues
from pytest_flperf.wire.sample import Sample

METRICS = st.fixed_dictionaries(
    {"e2e_ms": st.none() | st.floats(0, 1e6), "ttft_ms": st.none() | st.floats(0, 1e6), "tpot_ms": st.none()}
)


@given(st.lists(st.tuples(st.integers(0, 50), METRICS), max_size=40), st.integers(0, 6))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_first_sent(
    make_sample: Callable[..., Sample], requests: list[tuple[int, dict[str, float | None]]], most: int
) -> None:
    """As many values a metric as asked for, by when requests were sent, however they ended; times of all of them."""
    values = RequestValues(most)
    for sent_ns, metrics in requests:
        values.add(make_sample(sent_ns=sent_ns), metrics)
    times = [metrics["e2e_ms"] for _, metrics in requests]
    assert values.e2e_s() == [each / 1000 for each in times if each is not None]
    found = values.first(["ttft_ms", "tpot_ms"])
    sent = sorted((sent_ns, each["ttft_ms"]) for sent_ns, each in requests if each["ttft_ms"] is not None)
    assert found == ({"ttft_ms": tuple(value for _, value in sent[:most])} if sent and most else {})


def test_the_first_answer(make_sample: Callable[..., Sample]) -> None:
    """Its beginning; what was thought, where nothing was said."""
    values = RequestValues()
    assert values.answer is None
    values.add(make_sample(output_text="", reasoning_text="hm " * 1_000), {"e2e_ms": None})
    values.add(make_sample(output_text="later"), {"e2e_ms": None})
    assert values.answer == ("hm " * 1_000)[:1_000]
