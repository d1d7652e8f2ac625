"""From two sides to what came of comparing them: decided by the statistics, and failing closed."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest

from pytest_flperf.gates.comparison import Values, compare_pairs, compare_runs, settled
from pytest_flperf.gates.rules import DEFAULT_SCOPE, Rule, parse_rules
from pytest_flperf.results.comparison import Comparison
from pytest_flperf.results.records import CaseResult, Requests
from pytest_flperf.stats.descriptive.summary import distribution
from pytest_flperf.stats.inference.findings import ErrorRates
from pytest_flperf.stats.inference.matched_requests import MatchedRequest
from pytest_flperf.stats.inference.paired import Pair, draw_orders
from pytest_flperf.stats.inference.run_variance import BetweenRuns

RATES = ErrorRates(comparisons=18)
GATE = "--flperf-fail-on"


def side(values: list[float], failed: int = 0, **changes: object) -> CaseResult:
    """One side, with these TTFTs."""
    found = distribution(values)
    ok = len(values)
    whole = CaseResult(
        "s::short[m]", "s", "short", "m",
        requests=Requests(ok + failed, ok, failed, 0, {"ok": ok, "http_5xx": failed}),
        error_rate=failed / (ok + failed) if ok + failed else None,
        metrics={} if found is None else {"ttft_ms": found},
    )  # fmt: skip
    return replace(whole, **changes)  # type: ignore[arg-type]


def pairs_of(share: float, count: int = 40, seed: int = 3) -> list[Pair]:
    """Pairs whose candidate is slower by a share, with 5 % of noise."""
    chance = random.Random(seed)
    return [
        Pair((50 * (1 + share) * chance.lognormvariate(0, 0.05),), (50 * chance.lognormvariate(0, 0.05),), first)
        for first in draw_orders(count, seed)
    ]


def compare(
    pairs: list[Pair], *texts: str, scope: str = GATE, fail_undecided: bool = False, **changes: object
) -> tuple[Comparison, ...]:
    """Compare these pairs by these rules."""
    case = side([value for pair in pairs for value in pair.candidate], **changes)  # type: ignore[arg-type]
    other = side([value for pair in pairs for value in pair.baseline])
    rules = parse_rules(texts, scope)
    return compare_pairs(case, other, {"ttft_ms": pairs}, rules, RATES, 1, 1, fail_undecided=fail_undecided)


@pytest.mark.parametrize(
    ("share", "word", "fails"), [(0.3, "regressed", True), (0.0, "unchanged", False), (-0.3, "improved", False)]
)
def test_the_words(share: float, word: str, fails: bool) -> None:
    """A regression fails, and what is known of it is all there."""
    found, errors = compare(pairs_of(share), "ttft_ms.p50 > +10%")
    assert (found.verdict, found.fails) == (word, fails)
    assert found.change_pct == pytest.approx(100 * share, abs=4)
    assert found.change_ci95_pct is not None
    assert found.change_ci95_pct[0] < found.change_pct < found.change_ci95_pct[1]
    assert (found.rule, found.metric, found.statistic) == ("ttft_ms.p50 > +10%", "ttft_ms", "p50")
    assert (found.threshold_pct, found.threshold_floor, found.scope) == (10.0, None, GATE)
    assert (found.n_baseline, found.n_candidate, found.pairs, found.comparisons) == (40, 40, 40, 18)
    assert found.baseline == pytest.approx(50, rel=0.05)
    assert found.method
    assert (errors.metric, errors.verdict, errors.scope, errors.fails) == ("error_rate", "unchanged", "implied", False)


def test_without_a_rule_nothing_fails() -> None:
    """The default rules are compared, as far as there is something to compare, and fail nothing."""
    found = compare(pairs_of(0.3))
    assert [(each.rule, each.verdict, each.fails) for each in found] == [
        ("ttft_ms.p50 > +5%", "regressed", False),
        ("error_rate > +0%", "unchanged", False),
    ]
    assert {each.scope for each in found} == {"default"}


def test_too_few_requests_are_undecided() -> None:
    """A percentile needs its requests; by choice what is undecided fails."""
    for fail_undecided in (False, True):
        found, _ = compare(pairs_of(0.3), "ttft_ms.p95 > +10%", fail_undecided=fail_undecided)
        assert (found.verdict, found.fails) == ("undecided", fail_undecided)
        assert "p95 needs 130 requests" in found.reason


def test_an_unasked_error_rate_is_never_failed_for_doubt() -> None:
    """One failure on each side tells nothing; the rule that nobody wrote does not fail for it, a written one does."""
    some = {"failed": 1}
    case, other = side([50.0] * 20, **some), side([50.0] * 20, **some)
    for texts, fails in ((("ttft_ms.p50 > +10%",), False), (("error_rate > +0%",), True)):
        found = compare_pairs(case, other, {}, parse_rules(texts, GATE), RATES, 1, 1, fail_undecided=True)
        assert (found[-1].metric, found[-1].verdict, found[-1].fails) == ("error_rate", "undecided", fails)


RULES = parse_rules(["ttft_ms.p50 > +10%"], GATE)


def closed(case: CaseResult, other: CaseResult, rules: tuple[Rule, ...] = RULES) -> dict[str, Comparison]:
    """What comes of comparing without a pair, by metric."""
    return {each.metric: each for each in compare_pairs(case, other, {}, rules, RATES, 1, 1)}


GOOD = side([50.0] * 20)
NOTHING = side([], failed=20)


def test_a_candidate_that_answers_nothing() -> None:
    """It regressed, in latency and error rate, and says why."""
    found = closed(NOTHING, GOOD)
    assert {name: (each.verdict, each.fails) for name, each in found.items()} == {
        "ttft_ms": ("regressed", True),
        "error_rate": ("regressed", True),
    }
    assert found["ttft_ms"].reason == "the candidate answered nothing: all 20 requests failed"
    assert (found["ttft_ms"].baseline, found["ttft_ms"].candidate) == (50.0, None)
    not_one = closed(side([]), GOOD)["ttft_ms"]
    assert (not_one.verdict, not_one.reason) == (
        "regressed", "the candidate answered nothing: not one request was measured",
    )  # fmt: skip


def test_a_spread_of_one_request() -> None:
    """A candidate with a single request has the metric, and no spread of it: that is no regression."""
    rules = parse_rules(["ttft_ms.stdev > +10%"], GATE)
    for case, other in ((side([50.0]), GOOD), (GOOD, side([50.0])), (side([50.0]), side([50.0]))):
        found = closed(case, other, rules)["ttft_ms"]
        assert (found.verdict, found.reason) == ("undecided", "ttft_ms.stdev needs at least two requests a side")


def test_no_failures_among_pairs() -> None:
    """No test excludes a small rise: it is unchanged by rule, and the reason says so."""
    twins = [Pair((0.0,), (0.0,), first, matched=(MatchedRequest(0.0, 0.0),)) for first in draw_orders(20, 3)]
    rules = parse_rules(["error_rate > +2%"], GATE)
    (found,) = compare_pairs(GOOD, GOOD, {"error_rate": twins}, rules, RATES, 1, 1)
    assert (found.verdict, found.reason, found.probability) == ("unchanged", "nothing failed", None)


def test_an_error_rate_that_rose_from_zero() -> None:
    """One failure is enough, however good the latencies are; without a gate it is said and fails nothing."""
    case = side([10.0] * 20, failed=1)
    found = closed(case, GOOD)["error_rate"]
    assert (found.verdict, found.fails, found.scope) == ("regressed", True, "implied")
    assert (found.baseline, found.candidate, found.n_candidate) == (0.0, pytest.approx(1 / 21), 21)
    assert "1 of 21 failed" in found.reason
    assert not closed(case, GOOD, ())["error_rate"].fails
    assert closed(case, GOOD, ())["error_rate"].verdict == "regressed"


def test_looks_share_what_counts_may_spend() -> None:
    """Failures are tested at every look, too: what is enough at the only look is not at the first of five."""
    case, other = side([50.0] * 70, failed=30), side([50.0] * 91, failed=9)
    p_value = compare_pairs(case, other, {}, RULES, RATES, 1, 1)[-1].p_value
    assert p_value is not None
    alone = ErrorRates(false_alarm=2 * p_value)
    assert compare_pairs(case, other, {}, RULES, alone, 1, 1)[-1].verdict == "regressed"
    assert compare_pairs(case, other, {}, RULES, alone, 1, 5)[-1].verdict == "undecided"


def test_when_more_pairs_are_of_no_use() -> None:
    """A case that fails is settled, as is one of which all that was asked is decided."""
    slow, same = compare(pairs_of(0.3), "ttft_ms.p50 > +10%"), compare(pairs_of(0.0), "ttft_ms.p50 > +10%")
    doubt = compare(pairs_of(0.0), "ttft_ms.p95 > +10%")
    assert [settled(each) for each in (slow, same, doubt, (*doubt, *slow))] == [True, True, False, True]
    some = side([50.0] * 20, failed=1)
    unwritten = compare_pairs(some, some, {}, RULES, RATES, 1, 1)[-1]
    assert (unwritten.verdict, settled([unwritten])) == ("undecided", True)
    assert not settled([replace(unwritten, scope=GATE)])


@pytest.mark.parametrize(
    ("regressed", "is_open", "ends"),
    [
        ("ttft_ms", "quality", False),
        ("quality", "ttft_ms", False),
        ("malformed", "ttft_ms", False),
        ("malformed", "quality", True),
        ("ttft_ms", "tpot_ms", True),
        ("error_rate", "quality", True),
    ],
)
def test_quality_and_speed_are_both_decided(regressed: str, is_open: str, ends: bool) -> None:
    """A regression in the one doesn't end a case while a rule on the other is open; failed requests end it."""
    found = Comparison("a rule", regressed, None, "regressed", fails=True, scope=GATE)
    doubt = Comparison("a rule", is_open, "mean", "undecided", scope=GATE)
    assert settled([found, doubt]) is ends
    assert settled([found, replace(doubt, verdict="unchanged")])
    assert settled([found, replace(doubt, scope=DEFAULT_SCOPE)])


def test_a_metric_that_one_side_lacks() -> None:
    """Lost by the candidate it is a regression; lost by the baseline, or by both, nothing can be said."""
    lacks = replace(GOOD, metrics={})
    for case, other, word, reason in (
        (lacks, GOOD, "regressed", "the candidate has no ttft_ms, but the baseline has"),
        (GOOD, lacks, "undecided", "the baseline has no ttft_ms"),
        (lacks, lacks, "undecided", "neither side has ttft_ms"),
    ):
        found = closed(case, other)["ttft_ms"]
        assert (found.verdict, found.reason, found.fails) == (word, reason, word == "regressed")
    assert "ttft_ms" not in closed(lacks, lacks, ()), "nobody asked for it"


def test_a_baseline_that_answered_nothing() -> None:
    """It is no measure: undecided, and the error rate improved or nothing can be said of it, but never a regression."""
    found = closed(GOOD, NOTHING)
    assert found["ttft_ms"].verdict == "undecided"
    assert found["ttft_ms"].reason == "the baseline answered nothing: all 20 requests failed"
    assert found["error_rate"].verdict == "improved"
    both = closed(NOTHING, NOTHING)["ttft_ms"]
    assert (both.verdict, both.reason) == ("undecided", "neither side answered anything")


def test_failures_that_count_as_infinite() -> None:
    """A percentile that only the candidate's failures make infinite is a regression; JSON can hold what is said."""
    assert GOOD.metrics["ttft_ms"] is not None
    endless = replace(GOOD.metrics["ttft_ms"], p50=math.inf, as_inf=11)
    case = side([50.0] * 9, failed=11, metrics={"ttft_ms": endless})
    found = closed(case, GOOD)["ttft_ms"]
    assert (found.verdict, found.candidate) == ("regressed", None)
    assert found.reason == "11 of 20 requests failed and count as infinitely slow"
    assert closed(GOOD, case)["ttft_ms"].verdict == "undecided"
    assert Comparison.from_dict(found.to_dict()) == found


def test_metrics_of_the_case() -> None:
    """Throughput is compared by its turns, where there are some; falls are for the worse."""
    pairs = [replace(pair, candidate=pair.baseline, baseline=pair.candidate) for pair in pairs_of(0.3)]
    case, other = replace(GOOD, tps_total=50.0), replace(GOOD, tps_total=65.0)
    rules = parse_rules(["tps_total < -10%"], GATE)
    (found, _) = compare_pairs(case, other, {"tps_total": pairs}, rules, RATES, 1, 1)
    assert (found.verdict, found.statistic, found.threshold_pct, found.fails) == ("regressed", None, -10.0, True)
    assert found.change_pct == pytest.approx(-23, abs=4)
    (without, _) = compare_pairs(case, other, {}, rules, RATES, 1, 1)
    assert (without.verdict, without.reason) == ("undecided", "not one pair of turns has tps_total on both sides")


def test_thresholds_are_kept() -> None:
    """As the report shows them: share and floor, or a floor alone."""
    texts = ["ttft_ms.p50 > +10% and +20ms", "ttft_ms.p50 > +20ms", "ttft_ms.p50 > +0%", "error_rate > +1%"]
    found = compare_pairs(GOOD, GOOD, {}, parse_rules(texts, GATE), RATES, 1, 1)
    assert [(each.threshold_pct, each.threshold_floor) for each in found] == [
        (10.0, 20.0), (None, 20.0), (0.0, None), (None, 0.01),
    ]  # fmt: skip


def runs(share: float, count: int = 40) -> tuple[CaseResult, CaseResult, dict[str, Values]]:
    """A case and its baseline, measured apart, the candidate slower by a share."""
    pairs = pairs_of(share, count)
    values = Values([pair.candidate[0] for pair in pairs], [pair.baseline[0] for pair in pairs])
    return side(list(values.candidate)), side(list(values.baseline)), {"ttft_ms": values}


STEADY = {"ttft_ms.p50": BetweenRuns(0.01, 30), "tps_total": BetweenRuns(0.01, 30)}


@pytest.mark.parametrize("samples", [True, False])
@pytest.mark.parametrize(
    ("share", "word", "fails"), [(0.4, "regressed", True), (0.0, "unchanged", False), (-0.4, "improved", False)]
)
def test_two_runs(share: float, word: str, fails: bool, samples: bool) -> None:
    """On a machine whose runs are known to differ little they are told apart, also by their summaries alone."""
    case, baseline, values = runs(share)
    found, _ = compare_runs(case, baseline, values if samples else {}, STEADY, RULES, RATES)
    assert (found.verdict, found.fails, found.pairs) == (word, fails, None)
    assert found.change_pct == pytest.approx(100 * share, abs=5)


def test_two_runs_of_an_unknown_machine() -> None:
    """Nothing says how much it drifts: undecided, with the numbers and the reason."""
    case, baseline, values = runs(0.12)
    found, _ = compare_runs(case, baseline, values, {}, RULES, RATES)
    assert (found.verdict, found.fails) == ("undecided", False)
    assert "between runs" in found.reason
    assert found.baseline == pytest.approx(50, rel=0.05)


def test_two_runs_of_too_few_requests() -> None:
    """As within a run, and the numbers stand beside the word."""
    case, baseline, values = runs(0.5, 8)
    found, _ = compare_runs(case, baseline, values, STEADY, RULES, RATES)
    assert (found.verdict, found.n_candidate) == ("undecided", 8)
    assert "needs 11 requests" in found.reason
    assert found.candidate is not None


def test_throughput_of_two_runs() -> None:
    """One number each: decided where stored runs say how much it varies, else not."""
    case, baseline = replace(GOOD, tps_total=50.0), replace(GOOD, tps_total=65.0)
    rules = parse_rules(["tps_total < -10%"], GATE)
    (known, _) = compare_runs(case, baseline, {}, STEADY, rules, RATES)
    assert (known.verdict, known.fails) == ("regressed", True)
    (unknown, _) = compare_runs(case, baseline, {}, {}, rules, RATES)
    assert (unknown.verdict, unknown.baseline, unknown.candidate) == ("undecided", 65.0, 50.0)
    assert "stored runs" in unknown.reason


def test_a_statistic_without_an_interval_needs_samples_or_history() -> None:
    """A results file holds intervals of p50 and p95 and enough for one of the mean; of p90 it does not."""
    case, baseline, values = runs(0.4, 70)
    known = {"ttft_ms.p90": BetweenRuns(0.01, 3), "ttft_ms.mean": BetweenRuns(0.01, 30)}
    rules = parse_rules(["ttft_ms.p90 > +10%", "ttft_ms.mean > +10%"], GATE)
    p90, mean, _ = compare_runs(case, baseline, {}, known, rules, RATES)
    assert (p90.verdict, mean.verdict) == ("undecided", "regressed")
    assert "without the samples of both runs, or three stored runs" in p90.reason
    enough = {"ttft_ms.p90": BetweenRuns(0.01, 30)}
    for found, between in ((values, enough), ({}, enough)):
        p90, _, _ = compare_runs(case, baseline, found, between, rules, RATES)
        assert p90.verdict == "regressed"


def test_gaps_are_no_independent_draws() -> None:
    """Without stored runs nothing says how much a mean of gaps varies, however many there are."""
    found = distribution([5.0 + at % 3 for at in range(900)], independent=False)
    slower = distribution([7.0 + at % 3 for at in range(900)], independent=False)
    assert found is not None
    assert slower is not None
    baseline, case = (replace(GOOD, metrics={"itl_ms": each}) for each in (found, slower))
    for statistic in ("mean", "p50", "p95"):
        rules = parse_rules([f"itl_ms.{statistic} > +10%"], GATE)
        (unknown, _) = compare_runs(case, baseline, {}, {}, rules, RATES)
        assert (unknown.verdict, "three stored runs" in unknown.reason) == ("undecided", True)
    known = {"itl_ms.mean": BetweenRuns(0.005, 30)}
    (judged, _) = compare_runs(case, baseline, {}, known, parse_rules(["itl_ms.mean > +10%"], GATE), RATES)
    assert judged.verdict == "regressed"


def test_two_runs_fail_closed() -> None:
    """As pairs do."""
    (found, errors) = compare_runs(NOTHING, GOOD, {}, STEADY, RULES, RATES)
    assert (found.verdict, found.fails, errors.verdict, errors.fails) == ("regressed", True, "regressed", True)


def scored(**changes: object) -> CaseResult:
    """A side with a quality."""
    found = distribution([1.0] * 40)
    assert found is not None
    return side([5.0] * 40, metrics={"quality": found}, **changes)


@pytest.mark.parametrize(
    ("candidate", "baseline", "word", "reason"),
    [
        ({"a": 1}, {}, "regressed", "the candidate: 1 of 40 answers not scored: a"),
        (
            {"a": 1, "b": 3},
            {"a": 1},
            "regressed",
            "the candidate: 3 of 40 answers not scored: b, and 1 for other reasons",
        ),
        ({}, {"a": 2}, "undecided", "the baseline: 2 of 40 answers not scored: a"),
    ],
)
def test_answers_without_a_score(candidate: dict[str, int], baseline: dict[str, int], word: str, reason: str) -> None:
    """Whatever the others score: of the candidate they fail a gate, of the baseline nothing can be said."""
    rules = parse_rules(["quality.mean < -2%"], GATE)
    ours, theirs = scored(not_scored=candidate), scored(not_scored=baseline)
    turns = [Pair((1.0,), (1.0,), first, None, None, ()) for first in draw_orders(40, 1)]
    for compared in (
        compare_pairs(ours, theirs, {"quality": turns}, rules, RATES, 1, 1),
        compare_runs(ours, theirs, {}, {}, rules, RATES),
    ):
        found = next(each for each in compared if each.metric == "quality")
        assert (found.verdict, found.reason, found.fails) == (word, reason, word == "regressed")
        assert (found.candidate is None, found.baseline is None) == (bool(candidate), bool(baseline))


def lost_at_first(count: int) -> list[Pair]:
    """Turns of a file whose first half is answered wrongly by the candidate only."""
    orders = draw_orders(count, 4)
    return [
        Pair((float(at >= count // 2),), (1.0,), first, matched=(MatchedRequest(float(at >= count // 2), 1.0),))
        for at, first in enumerate(orders)
    ]


@pytest.mark.parametrize(
    ("first_pass", "look", "word"), [(0, 2, "regressed"), (40, 2, "regressed"), (200, 2, "undecided"),
                                     (200, 3, "regressed")]
)  # fmt: skip
def test_quality_waits_for_the_whole_file(first_pass: int, look: int, word: str) -> None:
    """Its first rows may be of another kind than the rest; at the last look there is no more to wait for."""
    pairs = lost_at_first(40)
    sides = [replace(side([50.0] * 40), metrics={"quality": distribution(values)}) for values in
             ([float(at >= 20) for at in range(40)], [1.0] * 40)]  # fmt: skip
    rules = parse_rules(["quality.mean < -2%"], GATE)
    found = compare_pairs(*sides, {"quality": pairs}, rules, RATES, look, 3, first_pass=first_pass)
    assert found[0].verdict == word
    assert (found[0].fails, settled(found)) == (word == "regressed",) * 2
    if word == "undecided":
        assert found[0].reason == (
            "40 of 200 prompts were asked so far, in the order of their file; quality waits for the rest"
        )
