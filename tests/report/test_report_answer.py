"""The answer of a run in one sentence: on the page, in Markdown, in the terminal, of runs of any kind."""

from __future__ import annotations

import html
from dataclasses import replace

import pytest
from report_doubles import HOSTILE, case, run

from pytest_flperf.answers.answer import answer
from pytest_flperf.gates.format import WORDS
from pytest_flperf.report.answer_sentence import answer_of, answer_sentence
from pytest_flperf.report.html.pages import Pages
from pytest_flperf.report.markdown import markdown
from pytest_flperf.report.terminal.comparisons import compared_lines
from pytest_flperf.report.terminal.summary import summary_lines
from pytest_flperf.results.capacity import Search
from pytest_flperf.results.comparison import Against, Comparison
from pytest_flperf.results.load import Load
from pytest_flperf.results.records import BudgetVerdict, CaseResult, Failure, Requests, Run
from pytest_flperf.results.validation import checked_run
from pytest_flperf.stats.descriptive.summary import distribution


def timed(model: str, scenario: str, ttft_ms: float, **changes: object) -> CaseResult:
    """A case with this TTFT."""
    ttft, e2e = distribution([ttft_ms] * 11), distribution([3 * ttft_ms] * 11)
    assert ttft is not None
    assert e2e is not None
    return replace(
        case(scenario, model), metrics={"ttft_ms": ttft, "e2e_ms": e2e}, tps_total=1000 / ttft_ms,
        **{"load": Load(iterations=11), **changes},
    )  # type: ignore[arg-type]  # fmt: skip


def two_models(times: float, scenarios: int = 6, small: str = "nano", large: str = "micro") -> Run:
    """Two models in turns, one this many times as slow."""
    cases = []
    for number in range(scenarios):
        pair = [timed(small, f"s{number}", 10.0 + number), timed(large, f"s{number}", times * (10.0 + number))]
        cases += pair[:: 1 if number % 2 else -1]
    return run(*cases)


def missed(limit: str, value: float) -> tuple[BudgetVerdict, ...]:
    """A missed budget."""
    return (BudgetVerdict(f"ttft_ms.p50 <= {limit}", 1.0, value, 11, False, "suite", "ttft_ms", "p50"),)


def compared(verdict: str, change: float | None = None) -> Against:
    """One comparison with a stored run."""
    each = Comparison("ttft_ms.p50 > +10%", "ttft_ms", "p50", verdict, scope="--flperf-fail-on", change_pct=change)  # type: ignore[arg-type]
    return Against("run", "last (20261101T000000Z)", comparisons=(each,))


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (
            two_models(2.0),
            "nano is faster than micro everywhere: first token 2.00× sooner [2.00, 2.00], whole answer 2.00× sooner "
            "[2.00, 2.00], 2.00× the tokens/s [2.00, 2.00] (best in 6 of 6 scenarios)",
        ),
        (two_models(1.0), "no clear winner: the intervals overlap; measure more scenarios or more requests"),
        (
            two_models(2.0, 2),
            "no clear winner: from 2 scenarios only a lead above 2.7 times can be told; measure 6 or more",
        ),
        (
            two_models(9.0, small="/models/a/nano.gguf", large="/models/b/micro.gguf"),
            "nano is faster than micro everywhere: first token 9.00× sooner [9.00, 9.00], whole answer 9.00× sooner "
            "[9.00, 9.00], 9.00× the tokens/s [9.00, 9.00] (best in 6 of 6 scenarios)",
        ),
        (run(timed("m", "one", 5.0)), "first token after 5.00 ms (p50)"),
        (
            run(timed("m", "long", 50.0), timed("m", "one", 5.0)),
            "first token after 5.00 ms (one) to 50.0 ms (long), p50",
        ),
        (run(replace(case(), metrics={})), ""),
        (
            run(
                timed("m", "a", 5.0, outcome="failed", message="missed", budgets=missed("1ms", 5.0)),
                timed("m", "b", 9.0, outcome="failed", message="missed", budgets=missed("1ms", 9.0)),
                timed("m", "c", 1.0),
            ),
            "2 of 3 cases failed: ttft_ms.p50 <= 1ms missed (2 cases, worst 9 ms in b on m)",
        ),
        (
            run(
                replace(case("a"), outcome="error", message="the model is not ready: no answer in 3 s"),
                replace(case("b"), outcome="error", message="the model is not ready: no answer in 4 s"),
                replace(
                    case("c"), outcome="failed", message="9 of 11 requests failed",
                    requests=Requests(11, 2, 9), failures=(Failure("http_error", 9, 500),),
                ),
            ),
            "3 of 3 cases failed: the model is not ready: no answer in 3 s (2 cases), http_error 500",
        ),
        (
            run(
                timed("m", "a", 5.0, against=(compared("regressed", 37.5),)),
                timed("m", "b", 5.0, against=(compared("undecided"),)),
                timed("m", "c", 5.0, against=(compared("unchanged"),)),
            ),
            "1 regressed against last (20261101T000000Z) (worst: ttft_ms.p50 +37.5 % in a on m), "
            "1 unchanged, 1 undecided",
        ),
        (
            run(timed("m", "c", 5.0, against=(compared("improved"),))),
            "nothing regressed against last (20261101T000000Z): 1 improved",
        ),
        (
            run(
                timed("m", "b", 5.0, against=(compared("undecided"),)),
                timed("m", "c", 5.0, against=(compared("improved"),)),
            ),
            "against last (20261101T000000Z): 1 improved, 1 undecided",
        ),
        (
            run(timed("m", "c", 5.0, search=Search("concurrency", 8.0, True, conditions=("ttft_ms.p95 <= 100ms",)))),
            "load held in c within ttft_ms.p95 <= 100ms: m 8 streams",
        ),
        (
            run(timed("m", "c", 5.0, search=Search("rate", None, True))),
            "load held in c: m none",
        ),
    ],
)  # fmt: skip
def test_sentences(made: Run, said: str) -> None:
    """Failures first, then changes, winners, load held; of a single model how long the first token takes."""
    assert answer_sentence(made) == said


@pytest.mark.parametrize("scope", ["default", "implied", "--flperf-fail-on"])
@pytest.mark.parametrize("verdict", ["unchanged", "undecided", "regressed"])
def test_the_terminal_counts_the_same(verdict: str, scope: str) -> None:
    """The sentence and the summary line count the same comparisons, error rates too."""
    rate = Comparison("error_rate > +0%", "error_rate", None, verdict, scope=scope)  # type: ignore[arg-type]
    against = compared("improved", -20.0)
    made = run(timed("m", "c", 5.0, against=(replace(against, comparisons=(*against.comparisons, rate)),)))
    (changes,) = answer(made).changes
    counts = ", ".join(f"{getattr(changes, each)} {each}" for each in WORDS)
    assert counts in "\n".join(line.text for line in compared_lines(made.cases, 120, 0))
    assert getattr(changes, verdict) == (verdict != "unchanged" or scope == "--flperf-fail-on")


def test_a_sweep() -> None:
    """The highest load below the first that missed a budget."""
    budget = BudgetVerdict("ttft_ms.p95 <= 50ms", 50.0, 20.0, 11, True, "suite", "ttft_ms", "p95")
    cases = [
        timed(
            "m", "chat", 5.0 * streams, parameters={"concurrency": streams}, load=Load(concurrency=streams),
            budgets=(budget,),
        )
        for streams in (1, 2, 8)
    ]  # fmt: skip
    assert answer_sentence(run(*cases)) == "load held in chat within ttft_ms.p95 <= 50ms: m 8 streams or more"
    cases[2] = replace(cases[2], outcome="failed", budgets=(replace(budget, met=False),))
    assert answer_sentence(run(*cases)).endswith("load held in chat within ttft_ms.p95 <= 50ms: m 2 streams")


@pytest.mark.parametrize("outcome", ["error", "skipped"])
@pytest.mark.parametrize(("place", "told"), [(0, ""), (1, "m 1 streams or more"), (3, "m 4 streams or more")])
def test_a_sweep_with_a_load_that_was_not_measured(outcome: str, place: int, told: str) -> None:
    """Nothing is claimed for the loads above it, and it is no bound."""
    budget = BudgetVerdict("ttft_ms.p95 <= 50ms", 50.0, 20.0, 11, True, "suite", "ttft_ms", "p95")
    cases = [
        timed(
            "m", "chat", 5.0 * streams, parameters={"concurrency": streams}, load=Load(concurrency=streams),
            budgets=(budget,),
        )
        for streams in (1, 2, 4, 8)
    ]  # fmt: skip
    cases[place] = replace(cases[place], outcome=outcome, message="not measured", budgets=(), metrics={})
    said = answer_sentence(run(*cases))
    assert ("load held" in said) == bool(told)
    assert said.endswith(told)


def test_a_lead_that_is_barely_one() -> None:
    """An interval of a winner's lead never reads as if it held 1."""
    made = two_models(2.0)
    found = answer(made)
    barely = tuple(
        replace(each, standings=(each.standings[0], replace(each.standings[1], behind_ci=(1.0001, 4.0))))
        for each in found.rankings
    )
    said = answer_sentence(replace(made, answer=replace(found, rankings=barely)))
    assert "first token 2.00× sooner [>1, 4.00]" in said


def test_every_surface_says_the_same() -> None:
    """The page's heading, Markdown's first words, the terminal's last but one line."""
    made = two_models(2.0)
    said = answer_sentence(made)
    page = Pages().run(made, {})
    assert f'<span class="answer">· {said}</span></h1>' in page
    assert page.count("<h1") == 1
    assert f"**{said}.**" in html.unescape(markdown(made))
    *_, before, _verdict = summary_lines(made, 400, 0)
    assert before.text == f"flperf: {said}"
    assert all(each.text != f"flperf: {said}" for each in summary_lines(made, 400, -1))
    for line in summary_lines(made, 80, 0):
        assert len(line.text) <= 80


def test_it_is_stored_and_can_be_computed_again() -> None:
    """A file with an answer reads back whole; one of an older version gets the same answer."""
    made = two_models(2.0)
    stored = replace(made, answer=answer(made))
    read = checked_run(stored.to_dict())
    assert read.answer == stored.answer == answer_of(made)
    old = made.to_dict()
    del old["run"]["answer"]
    assert answer_of(checked_run(old)) == stored.answer


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_texts(text: str) -> None:
    """Names, errors and labels of an answer are one bounded line of harmless text."""
    cases = [
        replace(
            timed(model, text, time), outcome="failed", message=text,
            against=(replace(compared("regressed", 50.0), label=text),),
        )
        for model, time in ((text, 5.0), (text + "2", 50.0))
    ]  # fmt: skip
    said = answer_sentence(run(*cases))
    assert said.isprintable()
    assert len(said) < 2_000
    assert "<script>" not in Pages().run(run(*cases), {})
