"""Budgets: read, refused, judged."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pytest_flperf.gates.budgets import (
    Budget,
    BudgetError,
    parse_budget,
    parse_budgets,
)
from pytest_flperf.gates.default_budget import DEFAULT_BUDGET, applicable, evaluate
from pytest_flperf.results.answer_quality import AnswerQuality
from pytest_flperf.results.capacity import Search, SearchStep
from pytest_flperf.results.metric_aliases import OTHER_NAMES
from pytest_flperf.results.metric_statistics import STATISTICS
from pytest_flperf.results.metrics import CASE_METRICS, METRICS, REQUEST_METRICS
from pytest_flperf.results.records import CaseResult, Distribution, Requests, ResourceUse

TTFT = Distribution(20, 100.0, 5.0, 90, 91, 100, 110, 112.5, 115, 120)
CASE = CaseResult(
    "n",
    "s",
    "short-chat",
    "m",
    requests=Requests(total=20, ok=19, failed=1, timeouts=1),
    error_rate=0.05,
    wall_s=2.0,
    stalls=0,
    metrics={"ttft_ms": TTFT},
    resources={
        "server_rss_mb": ResourceUse(7, 512.0, 400.0, 801.5),
        "server_cpu_pct": ResourceUse(7, 150.0, 0.0, 199.0),
    },
    resources_absent={"gpu_util_pct": "no NVIDIA driver on this machine"},
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ttft_ms.p95 <= 500", (None, "ttft_ms", "p95", "<=", 500.0)),
        ("tps.p50>=20", (None, "tps", "p50", ">=", 20.0)),
        ("error_rate <= 1%", (None, "error_rate", None, "<=", 0.01)),
        ("error_rate<0.7 %", (None, "error_rate", None, "<", 0.007)),
        ("ttft_ms.p95 <= 0.5s", (None, "ttft_ms", "p95", "<=", 500.0)),
        ("itl_ms.max < 2 min", (None, "itl_ms", "max", "<", 120_000.0)),
        ("load_s <= 1500 MS", (None, "load_s", None, "<=", 1.5)),
        ("coalesced_pct <= 5%", (None, "coalesced_pct", None, "<=", 5.0)),
        ("request_rate > 2/s", (None, "request_rate", None, ">", 2.0)),
        ("short-*: e2e_ms.mean <= 1e3", ("short-*", "e2e_ms", "mean", "<=", 1000.0)),
        ("a: <= b :late_reads <= 0", ("a: <= b", "late_reads", None, "<=", 0.0)),
        ("  日本 语:tps . p5 >= .5 ", ("日本 语", "tps", "p5", ">=", 0.5)),
        ("ttft_ms.n >= 10", (None, "ttft_ms", "n", ">=", 10.0)),
        ("server_rss_mb.max <= 2 GB", (None, "server_rss_mb", "max", "<=", 2048.0)),
        ("server_cpu_pct.mean <= 350 %", (None, "server_cpu_pct", "mean", "<=", 350.0)),
        ("gpu_power_w.mean < 0.3 kW", (None, "gpu_power_w", "mean", "<", 300.0)),
        ("gpu_temp_c.max <= 80 °C", (None, "gpu_temp_c", "max", "<=", 80.0)),
        ("goodput >= 2/s", (None, "goodput", None, ">=", 2.0)),
        ("goodput >= 2.5 requests/s", (None, "goodput", None, ">=", 2.5)),
        ("tpot_ms.cv <= 0.3", (None, "tpot_ms", "cv", "<=", 0.3)),
        ("tpot_ms.cv <= 130%", (None, "tpot_ms", "cv", "<=", 1.3)),
        ("error_rate.upper95 <= 1%", (None, "error_rate", "upper95", "<=", 0.01)),
        ("quality.lower95 >= 90%", (None, "quality", "lower95", ">=", 0.9)),
        ("qa*@m: quality.pass@3 >= 90%", ("qa*", "quality", "pass@3", ">=", 0.9)),
        ("quality.pass^3 >= .5", (None, "quality", "pass^3", ">=", 0.5)),
        ("timeout_rate . upper95 < .05", (None, "timeout_rate", "upper95", "<", 0.05)),
    ],
)
def test_good_budgets(text: str, expected: tuple[object, ...]) -> None:
    """What may be written, and what it means in the metric's own unit."""
    found = parse_budget(text, "suite")
    assert (found.scenarios, found.metric, found.statistic, found.operator, found.limit) == expected
    assert found.scope == "suite"
    assert found.expression == " ".join(text.split())


@pytest.mark.parametrize(
    ("text", "words", "position"),
    [
        ("", "empty", 1),
        ("   ", "empty", 1),
        ("ttft_ms.p95", "no comparison", 12),
        ("ttft.p95 <= 5", "unknown metric 'ttft'; did you mean ttft_ms?", 1),
        ("x: tftt_ms.p95 <= 5", "did you mean ttft_ms?", 4),
        ("tokens_per_second.p50 >= 20", "did you mean tps?", 1),
        ("time-to-first-token.p95 <= 300", "did you mean ttft_ms?", 1),
        ("inter_token_latency_ms.p50 <= 30", "did you mean itl_ms?", 1),
        ("Throughput >= 100", "did you mean tps_total?", 1),
        ("zzz.p95 <= 5", "metrics are ttft_ms", 1),
        ("ttft_ms.p59 <= 5", "unknown statistic 'p59'", 9),
        ("ttft_ms.median <= 5", "did you mean p50?", 9),
        ("ttft_ms. <= 5", "unknown statistic ''", 9),
        ("ttft_ms <= 5", "such as ttft_ms.p95", 8),
        ("tps >= 5", "such as tps.p50", 4),
        ("server_rss_mb <= 5", "such as server_rss_mb.max; statistics are n, mean, min, max", 14),
        ("gpu_util_pct >= 5", "such as gpu_util_pct.mean", 13),
        ("server_rss_mb.p95 <= 5", "unknown statistic 'p95' of server_rss_mb; statistics are n, mean, min, max", 15),
        ("server_rss_mb.average <= 5", "did you mean mean?", 15),
        ("gpu_utl_pct.mean >= 5", "did you mean gpu_util_pct?", 1),
        ("gpu_util_pct.mean >= 101", "a percentage from 0 to 100", 22),
        ("gpu_power_w.mean <= 5 ms", "expected one of w, kw or none", 23),
        ("error_rate.p95 <= 5", "write error_rate alone, or error_rate.upper95", 12),
        ("late_reads.max <= 5", "write late_reads alone", 11),
        ("ttft_ms.p95 = 5", "expected <= or >=", 13),
        ("ttft_ms.p95 == 5", "expected <= or >=", 13),
        ("ttft_ms.p95 =< 5", "expected <=", 13),
        ("ttft_ms.p95 ≤ 5", "expected <=", 13),
        ("ttft_ms.p95 <= ", "no number", 16),
        ("ttft_ms.p95 <= fast", "found 'fast', expected a number", 16),
        ("ttft_ms.p95 <= nan", "expected a number", 16),
        ("ttft_ms.p95 <= inf", "expected a number", 16),
        ("ttft_ms.p95 <= 1e999", "too large", 16),
        ("ttft_ms.p95 <= 1e99999999999", "doesn't fit", 17),
        ("ttft_ms.p95 <= ٥", "expected a number", 16),
        ("ttft_ms.p95 <= 5.5.5", "found '5.5.5', expected a number", 16),
        ("ttft_ms.p95 <= 5 000", "found '5 000', expected a number", 16),
        ("ttft_ms.p95 <= 5,000", "unit ',000'", 17),
        ("ttft_ms.p95 <= -5", "never negative", 16),
        ("ttft_ms.p95 <= 5%", "unit '%' doesn't fit ttft_ms; expected one of us", 17),
        ("ttft_ms.p95 <= 5 mb", "unit 'mb' doesn't fit", 18),
        ("late_reads <= 1%", "expected none", 16),
        ("error_rate <= 5", "such as 5%", 15),
        ("error_rate <= 101%", "from 0 to 1", 15),
        ("coalesced_pct <= 101", "from 0 to 100", 18),
        (": ttft_ms.p95 <= 5", "no scenario", 1),
        (" <= 5", "no metric", 2),
        ("a" * 1001, "longer than", 1001),
        ("run.error_rate <= 1%", "a suite can't hold a budget", 1),
        ("tpot_ms.cv <= 5 ms", "unit 'ms' doesn't fit tpot_ms.cv; expected one of % or none", 17),
        ("tpot_ms.cvv <= 5", "did you mean cv?", 9),
        ("server_rss_mb.cv <= 1", "unknown statistic 'cv'", 15),
        ("ttft_ms.n >= 10 ms", "unit 'ms' doesn't fit ttft_ms.n; expected none", 17),
        ("error_rate.upper59 <= 1%", "did you mean upper95? write error_rate alone", 12),
        ("quality.lower59 >= 1%", "did you mean lower95? statistics are n, mean", 9),
        ("quality.pass@x >= 1%", "unknown statistic 'pass@x' of quality; ", 9),
        ("quality.lower95 >= 100%", "no number of prompts proves a quality of 100 %; write quality.mean", 20),
        ("error_rate.upper95 <= 0", "no number of requests proves a rate of 0; write error_rate <= 0", 23),
        ("goodput >= 2 ms", "unit 'ms' doesn't fit goodput; expected one of /s, requests/s or none", 14),
        ("@: tps.p50 >= 1", "no model after the @", 1),
        ("short@ : tps.p50 >= 1", "no model after the @", 6),
        ("max_concurrency(ttft_ms.p95<=500)", "no comparison after the conditions", 34),
        ("max_concurrency(ttft_ms.p95<=500 >= 8", "no ')' for this '('", 16),
        ("max_concurrency(ttft.p95<=500) >= 8", "did you mean ttft_ms?", 17),
        ("max_concurrency(tps.p50>=1, ttft_ms.p59<=500) >= 8", "unknown statistic 'p59'", 37),
        ("max_concurrency(ttft_ms.p95<=500 ms and e2e_ms.max<=5%) >= 8", "unit '%' doesn't fit e2e_ms", 54),
        ("max_concurrency(ttft_ms.p95) >= 8", "no comparison", 28),
        ("max_concurrency() >= 8", "no condition here", 17),
        ("max_concurrency(error_rate<=1%,) >= 8", "no condition here", 32),
        ("max_concurrency(ttft_ms.p95<=500) x >= 8", "expected the comparison after", 35),
        ("max_concurrency(max_rate>=5) >= 8", "can't be a condition", 17),
        ("max_concurrency(goodput>=5) >= 8", "can't be a condition", 17),
        ("max_concurrency(one: error_rate<=1%) >= 8", "a scenario goes first", 36),
        ("max_concurency(error_rate<=1%) >= 8", "did you mean max_concurrency?", 1),
        ("ttft_ms.p95(error_rate<=1%) >= 8", "only max_concurrency and max_rate take conditions", 12),
    ],
)
def test_bad_budgets(text: str, words: str, position: int) -> None:
    """One message: what was found, where, what was expected, the nearest right word."""
    with pytest.raises(BudgetError) as caught:
        parse_budget(text)
    message = str(caught.value)
    assert words in message
    assert message.endswith(f"(at character {position})")
    assert message.isprintable()
    assert len(message) < 1200


@given(
    st.text(max_size=60)
    | st.from_regex(r"[a-z_:. ]{0,12}(ttft_ms|error_rate)\.?p?[0-9]{0,2} ?(<=|<|>=|>|=) ?[-+0-9.eE]{0,9}[a-z%/]{0,3}")
)
@example("ttft_ms.p95 <= " + "9" * 900)
@example("\x1b[31m<=\udc80")
@example("\x1b(<")
@example("max_rate(\x1b<5,\udc80>=3) <= 5")
@example("a:" * 400 + "error_rate<=1")
def test_any_text_is_read_or_refused(text: str) -> None:
    """Nothing but a budget or a BudgetError of one harmless line comes out."""
    try:
        found = parse_budget(text)
    except BudgetError as error:
        found, message = None, str(error)
    assert message.isprintable() if found is None else found.limit >= 0


@given(
    st.none() | st.from_regex(r"\A[a-z*?][a-z0-9 :<>=*?\[\]-]{0,20}[a-z]\Z"),
    st.sampled_from(
        [
            *((name, stat) for name in REQUEST_METRICS for stat in (*STATISTICS, "cv")),
            *((n, None) for n in CASE_METRICS),
            ("error_rate", "upper95"),
            *(("quality", stat) for stat in ("lower95", "pass@1", "pass^20")),
        ]
    ),
    st.sampled_from(["<=", "<", ">=", ">"]),
    st.floats(0, 1, exclude_min=True),
)
def test_budgets_round_trip(
    scenarios: str | None, subject: tuple[str, str | None], operator: str, limit: float
) -> None:
    """What is written for a budget is read as that budget, and its expression as the same again."""
    metric, statistic = subject
    scenarios = None if scenarios is None else " ".join(scenarios.split())
    text = f"{scenarios}: " * (scenarios is not None) + metric + f".{statistic}" * (statistic is not None)
    found = parse_budget(f"{text} {operator} {limit!r}")
    assert found == Budget(scenarios, metric, statistic, operator, limit, found.expression)  # type: ignore[arg-type]
    assert parse_budget(found.expression) == found


def test_percentages_are_exact() -> None:
    """7 failures in 1,000 meet 0.7 %, for every count in a thousand."""
    for failed in range(1001):
        assert parse_budget(f"error_rate <= {failed / 10}%").limit == failed / 1000


@pytest.mark.parametrize(
    ("text", "value", "n", "met"),
    [
        ("ttft_ms.p95 <= 112.5", 112.5, 20, True),
        ("ttft_ms.p95 < 112.5", 112.5, 20, False),
        ("ttft_ms.p95 >= 112.5", 112.5, 20, True),
        ("ttft_ms.p95 > 112.5", 112.5, 20, False),
        ("ttft_ms.n >= 20", 20, 20, True),
        ("tps.p50 >= 0", None, 0, False),
        ("tps.n <= 0", 0, 0, True),
        ("error_rate <= 5%", 0.05, 20, True),
        ("timeout_rate <= 4%", 0.05, 20, False),
        ("timeouts <= 1", 1, 20, True),
        ("stalls <= 0", 0, 20, True),
        ("late_reads <= 0", 0, 20, True),
        ("wall_s < 1500 ms", 2.0, 20, False),
        ("load_s <= 5", None, 0, False),
        ("tps_total >= 0", None, 20, False),
        ("server_rss_mb.max <= 800", 801.5, 7, False),
        ("server_rss_mb.mean <= 0.5 GB", 512.0, 7, True),
        ("server_cpu_pct.max <= 400%", 199.0, 7, True),
        ("server_cpu_pct.min >= 1", 0.0, 7, False),
        ("server_rss_mb.n >= 5", 7, 7, True),
        ("gpu_util_pct.mean >= 0", None, 0, False),
        ("gpu_util_pct.max <= 100", None, 0, False),
        ("gpu_temp_c.n <= 0", 0, 0, True),
        ("ttft_ms.cv <= 5%", 0.05, 20, True),
        ("ttft_ms.cv < 5%", 0.05, 20, False),
        ("ttft_ms.stdev <= 5", 5.0, 20, True),
        ("tps.cv <= 1", None, 0, False),
    ],
)
def test_judging(text: str, value: float | None, n: int, met: bool) -> None:
    """Each comparison at its edge; what was not measured is never met."""
    verdict = parse_budget(text, "scenario").judge(CASE)
    assert (verdict.value, verdict.n, verdict.met, verdict.scope) == (value, n, met, "scenario")
    assert verdict.expression == text


def test_an_absent_resource_says_why() -> None:
    """What could not be measured is not met, and the verdict has the reason."""
    verdict = parse_budget("gpu_util_pct.mean >= 50").judge(CASE)
    assert (verdict.met, verdict.reason) == (False, "no NVIDIA driver on this machine")
    assert parse_budget("server_rss_mb.max <= 1").judge(CASE).reason == "", "missed, but measured"


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_can_be_judged(name: str) -> None:
    """No metric of the registry trips the gate, on a full case and on an empty one; empty meets nothing."""
    statistic = {"request": ".p95", "resource": ".max", "case": ""}[METRICS[name].per]
    text = f"{name}{statistic} >= 0"
    parse_budget(text).judge(CASE)
    verdict = parse_budget(text).judge(CaseResult("n", "s", "c", "m"))
    assert (verdict.value, verdict.met) == (None, False)


def test_globs_choose_scenarios() -> None:
    """A budget holds for the scenarios that its glob names, brackets in a name included."""
    budget = parse_budget("short-*: tps.p50 >= 1")
    assert [budget.holds_for(name) for name in ("short-chat", "Short-chat", "long")] == [True, False, False]
    assert parse_budget("a[b]c: tps.p50 >= 1").holds_for("a[b]c")
    assert parse_budget("tps.p50 >= 1").holds_for("anything")


def test_default_budget() -> None:
    """No failed request is the default, unless somebody limits the error rate of this very scenario."""
    assert applicable("x", []) == (DEFAULT_BUDGET,)
    mine = parse_budgets(["error_rate <= 5%", "y: tps.p50 >= 1"], "suite")
    assert applicable("x", mine) == mine[:1]
    assert applicable("x", parse_budgets(["y: error_rate <= 5%"])) == (DEFAULT_BUDGET,)
    assert applicable("x", parse_budgets(["error_rate >= 5%"]))[1:] == (DEFAULT_BUDGET,)
    assert [verdict.scope for verdict in evaluate(CASE, [])] == ["default"]
    assert not evaluate(CASE, [])[0].met


def test_a_bound_of_the_error_rate() -> None:
    """Few requests prove nothing: a miss says how many would be needed; the bound is a limit of the error rate."""
    budget = parse_budget("error_rate.upper95 <= 1%")
    good = replace(CASE, requests=Requests(total=10, ok=10), error_rate=0.0)
    verdict = budget.judge(good)
    assert verdict.value == pytest.approx(1 - 0.05**0.1)
    assert not verdict.met
    assert verdict.reason == "none of 10 requests failed; proving the limit takes 299 of which none does"
    assert budget.judge(replace(good, requests=Requests(total=299, ok=299))).met
    assert not budget.judge(replace(good, requests=Requests(total=298, ok=298))).met
    timeouts = parse_budget("timeout_rate.upper95 <= 50%").judge(CASE)
    assert (timeouts.met, timeouts.reason) == (True, ""), "1 of 20 timed out"
    assert budget.judge(CaseResult("n", "s", "c", "m")).value is None
    assert applicable("x", [budget]) == (budget,), "no default budget beside it"


QUALITY = AnswerQuality(requests=10, failed=1, mean=0.9, answered=1.0, prompts=10, perfect=9, lower95=0.6, repeats=1)


def test_quality_over_prompts() -> None:
    """The mean is the one over prompts; a miss says what is behind it and how many prompts it takes."""
    case = replace(CASE, answer_quality=QUALITY)
    found = {
        text: parse_budget(text).judge(case)
        for text in ("quality.mean >= 90%", "quality.mean >= 95%", "quality.lower95 >= 90%", "quality.pass@2 >= 1%")
    }
    assert [(each.value, each.n, each.met) for each in found.values()] == [
        (0.9, 10, True),
        (0.9, 10, False),
        (0.6, 10, False),
        (None, 10, False),
    ]
    assert [each.reason for each in found.values()] == [
        "",
        "9 of 10 prompts are right; 1 of 10 requests failed and score 0",
        "9 of 10 prompts are right; 1 of 10 requests failed and score 0; "
        "to prove the limit takes 29 prompts of which all are",
        "a prompt was asked once, and it takes 2 answers to each (repeat; 20 count at most)",
    ]
    chat = replace(CASE, answer_quality=replace(QUALITY, prompts=0, lower95=None))
    assert "prompts can't be told apart in chats" in parse_budget("quality.lower95 >= 1%").judge(chat).reason
    one = Distribution(1, 1.0, None, 1, 1, 1, 1, 1, 1, 1)
    older = replace(CASE, metrics={"quality": one})
    assert parse_budget("quality.mean >= 90%").judge(older).met
    assert parse_budget("quality.lower95 >= 90%").judge(older).reason == "results of an older version don't have it"
    refused = replace(case, not_scored={"took longer than 2 s": 1})
    assert not parse_budget("quality.lower95 >= 1%").judge(refused).met


def test_variation_of_too_little() -> None:
    """The coefficient of variation of one value, or around 0, is none, and the verdict says why."""
    one = Distribution(1, 5.0, None, 5, 5, 5, 5, 5, 5, 5)
    for found in (one, replace(one, n=2, mean=0.0, stdev=0.0)):
        verdict = parse_budget("tpot_ms.cv <= 1").judge(replace(CASE, metrics={"tpot_ms": found}))
        assert (verdict.value, verdict.met) == (None, False)
        assert "needs two values and a mean over 0" in verdict.reason


def test_goodput_without_a_latency_budget() -> None:
    """There is none, and the verdict says what it needs."""
    verdict = parse_budget("goodput >= 2/s").judge(CASE)
    assert not verdict.met
    assert "latency budgets" in verdict.reason


@pytest.mark.parametrize(
    ("text", "scenarios", "models"),
    [
        ("@qwen*: tps.p50 >= 1", None, "qwen*"),
        ("short-*@qwen2.5:0.5b: tps.p50 >= 1", "short-*", "qwen2.5:0.5b"),
        (" short  chat @ org/m@rev : tps.p50 >= 1", "short chat", "org/m@rev"),
        ("*@m: max_concurrency(error_rate<=1%) >= 1", "*", "m"),
    ],
)
def test_models(text: str, scenarios: str | None, models: str) -> None:
    """Behind the first @ stands a model, whatever it is called."""
    found = parse_budget(text)
    assert (found.scenarios, found.models) == (scenarios, models)
    assert parse_budget(found.expression) == found


def test_overrides() -> None:
    """One for a model stands in the place of those for all on the same number and side, and beside others."""
    texts = [
        "ttft_ms.p95 <= 500",
        "tps.p50 >= 20",
        "@qwen*: ttft_ms.p95 < 900",
        "@qwen-big: ttft_ms.p95 <= 2s",
        "@qwen*: ttft_ms.p95 >= 1",
        "@qwen*: e2e_ms.max <= 5000",
        "other@qwen*: tps.p50 >= 1",
        "@qwen*: error_rate <= 5%",
    ]
    budgets = parse_budgets(texts)

    def held(model: str) -> list[int]:
        chosen = [each.expression for each in applicable("x", budgets, model)]
        return [texts.index(text) for text in chosen if text in texts]

    assert held("phi") == [0, 1]
    assert held("qwen-small") == [1, 2, 4, 5, 7]
    assert held("qwen-big") == [1, 3, 4, 5, 7]
    assert applicable("x", budgets, "phi")[-1] == DEFAULT_BUDGET
    assert DEFAULT_BUDGET not in applicable("x", budgets, "qwen-big")
    case = replace(CASE, scenario="x", model="qwen-big")
    assert [each.limit for each in evaluate(case, budgets) if each.metric == "ttft_ms"] == [2000, 1]


def test_conditions() -> None:
    """What a search finds under conditions is that of the search with these; of another there is none."""
    budget = parse_budget("max_concurrency( ttft_ms.p95<=0.5s and error_rate<1 %) >= 8")
    assert [(each.metric, each.limit) for each in budget.conditions] == [("ttft_ms", 500), ("error_rate", 0.01)]
    assert budget.condition_texts == ("ttft_ms.p95 <= 0.5s", "error_rate < 1 %")
    assert parse_budget(budget.expression) == budget
    own = Search("concurrency", 4, bounded=True, steps=(SearchStep(4, met=True, requests=12),))
    under = replace(own, highest=9.0, conditions=budget.condition_texts, steps=(SearchStep(9, met=True, requests=27),))
    case = replace(CASE, search=own, searches=(under,))
    verdict = budget.judge(case)
    assert (verdict.value, verdict.n, verdict.met) == (9, 27, True)
    plain = parse_budget("max_concurrency >= 8").judge(case)
    assert (plain.value, plain.n, plain.met) == (4, 12, False)
    assert budget.judge(replace(case, searches=(replace(under, highest=None),))).value == 0
    absent = budget.judge(replace(case, searches=()))
    assert (absent.value, absent.met) == (None, False)
    assert parse_budget("max_rate >= 1").judge(case).reason.endswith("load: search, search_over: rate")


def test_names_of_other_tools_lead_to_metrics() -> None:
    """Each hint is a metric, and none hides a metric's own name."""
    assert set(OTHER_NAMES.values()) <= METRICS.keys()
    assert not OTHER_NAMES.keys() & METRICS.keys()
