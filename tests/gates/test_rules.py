"""Rules of comparisons: read, refused, chosen."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pytest_flperf.gates.rules import (
    COMPARED_CASE_METRICS,
    DEFAULT_RULES,
    Rule,
    RuleError,
    is_gate,
    parse_rule,
    parse_rules,
    rules_for,
)
from pytest_flperf.results.metric_statistics import STATISTICS
from pytest_flperf.results.metrics import METRICS, REQUEST_METRICS
from pytest_flperf.stats.inference.findings import Threshold


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ttft_ms.p50 > +10%", (None, "ttft_ms", "p50", Threshold(0.10))),
        ("ttft_ms.p50>+10%", (None, "ttft_ms", "p50", Threshold(0.10))),
        ("ttft_ms.p50 > + 10 %", (None, "ttft_ms", "p50", Threshold(0.10))),
        ("ttft_ms.p50>+10% and +20ms", (None, "ttft_ms", "p50", Threshold(0.10, 20.0))),
        ("ttft_ms.p50 > +20 ms and +10%", (None, "ttft_ms", "p50", Threshold(0.10, 20.0))),
        ("ttft_ms.p50 > +10% and > +0.02s", (None, "ttft_ms", "p50", Threshold(0.10, 20.0))),
        ("ttft_ms.p50 > +20ms", (None, "ttft_ms", "p50", Threshold(0.0, 20.0))),
        ("tpot_ms.mean > +0%", (None, "tpot_ms", "mean", Threshold(0.0))),
        ("gen_tps.p50 < -10%", (None, "gen_tps", "p50", Threshold(0.10, higher_is_worse=False))),
        ("gen_tps.p5 < -2.5% and -1/s", (None, "gen_tps", "p5", Threshold(0.025, 1.0, higher_is_worse=False))),
        ("tps_total < -5%", (None, "tps_total", None, Threshold(0.05, higher_is_worse=False))),
        ("error_rate > +1%", (None, "error_rate", None, Threshold(0.0, 0.01))),
        ("error_rate > +0%", (None, "error_rate", None, Threshold(0.0))),
        ("quality.mean < -5%", (None, "quality", "mean", Threshold(0.0, 0.05, higher_is_worse=False))),
        ("output_tokens.p50 > +10%", (None, "output_tokens", "p50", Threshold(0.10))),
        ("output_tokens.p50 < -10%", (None, "output_tokens", "p50", Threshold(0.10, higher_is_worse=False))),
        ("cached_tokens.mean > +5tokens", (None, "cached_tokens", "mean", Threshold(0.0, 5.0))),
        ("cached_tokens.p50 < -1% and -5 tokens", (None, "cached_tokens", "p50", Threshold(0.01, 5.0, False))),
        ("short-*: ttft_ms.p95 > +1e1%", ("short-*", "ttft_ms", "p95", Threshold(0.10))),
        ("a: > b and c :tps . p50 < -1%", ("a: > b and c", "tps", "p50", Threshold(0.01, higher_is_worse=False))),
        ("  日本 语:ttft_ms.p50 > +.5%", ("日本 语", "ttft_ms", "p50", Threshold(0.005))),
    ],
)
def test_good_rules(text: str, expected: tuple[object, ...]) -> None:
    """What may be written, and what it means."""
    found = parse_rule(text, "suite")
    assert (found.scenarios, found.metric, found.statistic, found.threshold) == expected
    assert found.scope == "suite"
    assert found.expression == " ".join(text.split())


@pytest.mark.parametrize(
    ("text", "words", "position"),
    [
        ("", "empty", 1),
        ("ttft_ms.p50 +10%", "no comparison", 17),
        ("ttft_ms.p95 <= 500", "give it with --flperf-budget", 13),
        ("ttft_ms.p95 >= +10%", "found '>=', expected > or <", 13),
        ("ttft.p50 > +10%", "unknown metric 'ttft'; did you mean ttft_ms?", 1),
        ("x: tftt_ms.p50 > +10%", "did you mean ttft_ms?", 4),
        ("zzz.p50 > +10%", "metrics are ttft_ms", 1),
        ("ttft_ms > +10%", "such as ttft_ms.p50", 8),
        ("ttft_ms.median > +10%", "did you mean p50?", 9),
        ("ttft_ms.n > +10%", "n only counts the requests", 9),
        ("error_rate.p50 > +1%", "write error_rate alone", 11),
        ("server_rss_mb.max > +10%", "Set a budget for it", 1),
        ("load_s > +10%", "has one value per run", 1),
        ("run.error_rate > +1%", "a run as a whole", 1),
        (": ttft_ms.p50 > +1%", "no scenario", 1),
        (" > +1%", "no metric", 2),
        ("ttft_ms.p50 > ", "no change", 15),
        ("ttft_ms.p50 > fast", "found 'fast'", 15),
        ("ttft_ms.p50 > +nan%", "found '+nan%'", 15),
        ("ttft_ms.p50 > +5.5.5%", "found '+5.5.5%'", 15),
        ("ttft_ms.p50 > 10%", "a change needs its sign; write 'ttft_ms.p50 > +10%'", 15),
        ("ttft_ms.p50 < -10%", "gets worse when it grows; write 'ttft_ms.p50 > +10%'", 15),
        ("ttft_ms.p50 > -10%", "> goes with +; write 'ttft_ms.p50 > +10%'", 15),
        ("gen_tps.p50 > +10%", "gen_tps gets worse when it falls; write 'gen_tps.p50 < -10%'", 15),
        ("tps_total < 5%", "write 'tps_total < -5%'", 13),
        ("output_tokens.p50 < +10%", "< goes with -", 21),
        ("ttft_ms.p50 > +10", "write +10% or +10ms", 15),
        ("cached_tokens.p50 > +10", "write +10% or +10tokens", 21),
        ("error_rate > +1", "write +1% (percentage points)", 14),
        ("error_rate > +200%", "from 0 to 1", 15),
        ("error_rate > +1ms", "unit 'ms' doesn't fit error_rate", 16),
        ("gen_tps.p50 < -100%", "nothing falls by 100 %", 15),
        ("ttft_ms.p50 > +1e999%", "too large", 15),
        ("ttft_ms.p50 > +1e999ms", "too large", 16),
        ("ttft_ms.p50 > +5mb", "unit 'mb' doesn't fit ttft_ms", 17),
        ("ttft_ms.p50 > +10% and", "unit '% and' doesn't fit", 18),
        ("ttft_ms.p50 > +10% and +5%", "a second relative change", 24),
        ("ttft_ms.p50 > +1ms and +5ms", "a second absolute change", 24),
        ("ttft_ms.p50 > +1% and +5ms and +6ms", "more than two changes", 31),
        ("ttft_ms.p50 > +10% and -5ms", "> goes with +", 24),
        ("ttft_ms.p50 > +10% and < -5ms", "found '< -5ms'", 24),
        ("a" * 1001, "longer than", 1001),
    ],
)
def test_bad_rules(text: str, words: str, position: int) -> None:
    """One message: what was found, where, what was expected, what to write."""
    with pytest.raises(RuleError) as caught:
        parse_rule(text)
    message = str(caught.value)
    assert words in message
    assert message.endswith(f"(at character {position})")
    assert message.isprintable()
    assert len(message) < 900


@given(
    st.text(max_size=60)
    | st.from_regex(
        r"[a-z_:. ]{0,12}(ttft_ms|error_rate|gen_tps)\.?(p50)? ?(>|<|>=) ?"
        r"[-+0-9.eE]{0,9}[a-z%/]{0,3}( and [-+0-9.a-z%]*)?"
    )
)
@example("ttft_ms.p95 > +" + "9" * 900 + "%")
@example("\x1b[31m>\udc80")
@example("ttft_ms.p50 > +١%")
@example("a:" * 400 + "error_rate>+1%")
@example("ttft_ms.p50 > +1%" + " and +1%" * 100)
def test_any_text_is_read_or_refused(text: str) -> None:
    """Nothing but a rule or a RuleError of one harmless line comes out."""
    try:
        found = parse_rule(text)
    except RuleError as error:
        found, message = None, str(error)
    if found is None:
        assert message.isprintable()
    else:
        assert found.threshold.share >= 0
        assert found.threshold.floor >= 0
        assert parse_rule(found.expression) == found


_SUBJECTS = [
    *((name, stat) for name in REQUEST_METRICS for stat in STATISTICS if stat != "n"),
    *((name, None) for name in COMPARED_CASE_METRICS),
]


@given(
    st.none() | st.from_regex(r"\A[a-z*?][a-z0-9 :<>=*?\[\]-]{0,20}[a-z]\Z"),
    st.sampled_from(_SUBJECTS),
    st.integers(0, 99),
    st.none() | st.integers(0, 999),
    st.booleans(),
)
def test_rules_round_trip(
    scenarios: str | None, subject: tuple[str, str | None], percent: int, floor: int | None, floor_first: bool
) -> None:
    """What is written for a rule is read as that rule, whichever change stands first."""
    name, statistic = subject
    metric = METRICS[name]
    scenarios = None if scenarios is None else " ".join(scenarios.split())
    sign = "<-" if metric.better == "higher" else ">+"
    unit = {"fraction": None, "ratio": None, "currency": None}.get(metric.unit, metric.unit)
    steps = [f"{sign[1]}{percent}%"] + [f"{sign[1]}{floor}{unit}"] * (floor is not None and unit is not None)
    text = f"{scenarios}: " * (scenarios is not None) + name + f".{statistic}" * (statistic is not None)
    found = parse_rule(f"{text} {sign[0]} {' and '.join(steps[::-1] if floor_first else steps)}")
    share, least = percent / 100, float(floor or 0) if len(steps) > 1 else 0.0
    if metric.unit == "fraction":
        share, least = 0.0, percent / 100
    assert found == Rule(
        scenarios, name, statistic, Threshold(share, least, metric.better != "higher"), found.expression
    )
    assert parse_rule(found.expression) == found


def test_the_rules_of_a_scenario() -> None:
    """Those that name it; the defaults for one that nobody named; the error rate always, and it gates with a gate."""
    rules = parse_rules(["short-*: ttft_ms.p50 > +10%", "long: error_rate > +1%"], "--flperf-fail-on")
    short = rules_for("short-chat", rules)
    assert [(rule.expression, is_gate(rule)) for rule in short] == [
        ("short-*: ttft_ms.p50 > +10%", True),
        ("error_rate > +0%", True),
    ]
    assert rules_for("long", rules) == rules[1:]
    default = rules_for("other", rules)
    assert default[:2] == DEFAULT_RULES
    assert default[2].metric == "error_rate"
    assert not any(map(is_gate, default))
    assert rules_for("other", ()) == default


def test_globs_choose_scenarios() -> None:
    """With case, brackets in a name included."""
    rule = parse_rule("short-*: ttft_ms.p50 > +10%")
    assert [rule.holds_for(name) for name in ("short-chat", "Short-chat", "long")] == [True, False, False]
    assert parse_rule("a[b]c: ttft_ms.p50 > +1%").holds_for("a[b]c")
    assert parse_rule("ttft_ms.p50 > +1%").holds_for("anything")
