"""Runs made up for reports: an ordinary one, and one whose every text is hostile."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pytest_flperf.results.answer_quality import AnswerQuality, CategoryQuality, CheckQuality, ScoredAnswer
from pytest_flperf.results.comparison import Against, Comparison
from pytest_flperf.results.load import Load
from pytest_flperf.results.records import (
    BudgetVerdict,
    CaseResult,
    ClockQuality,
    Distribution,
    Failure,
    HostInfo,
    LagMs,
    Requests,
    ResourceUse,
    Run,
)
from pytest_flperf.results.serving import Target
from pytest_flperf.stats.descriptive.summary import distribution

HOSTILE = {
    "script": "<script>alert(1)</script>",
    "end of title": "</title><script>alert(2)</script>",
    "end of style": "</style></svg></pre><img src=x onerror=alert(3)>",
    "template": "{{7*7}}{% raw %}{#",
    "address": "javascript:alert(4)",
    "attribute": "\" onmouseover=\"alert(5)' x='",
    "right to left": "abc\u202egnp.exe\u2066",
    "nul": "a\x00b",
    "lone surrogate": "a\ud800b",
    "terminal": "\x1b[31mred\x1b]0;title\x07",
    "long": "x" * 100_000,
    "comment": "--><!-- <![CDATA[ &lt;b&gt; &#60;",
    "markdown": "| `code` **bold** ![i](http://e.example/x.png) [l](javascript:1) @somebody #1 www.e.example\n# head",
}


def measured(values: list[float], unsure: bool = False) -> Distribution:
    """The summary of these values."""
    found = distribution(values)
    assert found is not None
    return replace(found, unsure=("p95",) if unsure else ())


def case(scenario: str = "short", model: str = "m", **changes: Any) -> CaseResult:
    """A passed case of eleven requests."""
    ttft = [10.0 + index for index in range(11)]
    whole = CaseResult(
        nodeid=f"s::{scenario}[{model}]", suite="s", scenario=scenario, model=model, host="h", outcome="passed",
        message="", target=Target("openai", "http://127.0.0.1:1/v1", model), load=Load(iterations=11),
        requests=Requests(total=11, ok=11, by_outcome={"ok": 11}), error_rate=0.0, wall_s=1.5, request_rate=7.3,
        tps_total=123.0, tokens_source="usage", finish_reasons={"stop": 11}, load_s=1.25, cold_ttft_ms=42.0,
        metrics={
            "ttft_ms": measured(ttft, unsure=True), "e2e_ms": measured([3 * value for value in ttft]),
            "tpot_ms": measured([1.0] * 11), "tps": measured([20.0 + index for index in range(11)]),
        },
        budgets=(BudgetVerdict("error_rate <= 0", 0.0, 0.0, 11, True, "default", "error_rate"),),
        clock=ClockQuality("kernel", LagMs(0.02, 0.2, 1.5)),
    )  # fmt: skip
    return replace(whole, **changes)


def run(*cases: CaseResult, **changes: Any) -> Run:
    """A run of these cases."""
    whole = Run(
        id="20261121T101500Z-s-3f9a", started_at="2026-11-21T10:15:00.000+00:00",
        finished_at="2026-11-21T10:15:27.000+00:00", status="passed", suites=("s",),
        command=("pytest", "--flperf-suite=s"), host=HostInfo("h", "Linux", "a processor", 2, 8192),
        versions={"python": "3.11.7"}, clock=ClockQuality("kernel", LagMs(0.02, 0.2, 1.5)), cases=cases or (case(),),
    )  # fmt: skip
    return replace(whole, **changes)


def hostile_comparisons(text: str) -> tuple[Against, ...]:
    """Two comparisons, one of which fails; every text of them is ``text``."""
    bad = Comparison(
        rule=text, metric=text, statistic=text, verdict="regressed", fails=True, reason=text, baseline=1.0,
        candidate=2.0, change_pct=100.0, change_ci95_pct=(50.0, 200.0), probability=1.0, threshold_pct=10.0,
        n_baseline=20, n_candidate=20, method=text, scope=text,
    )  # fmt: skip
    doubt = replace(bad, verdict="undecided", fails=False, change_pct=None, change_ci95_pct=None, pairs=3)
    return (Against("run", text, text, text, (text,), notes=(text,), comparisons=(bad, doubt)),)


def quality_of(text: str) -> AnswerQuality:
    """Quality of ten prompts in two categories, of which one has this name; two checks, and an answer of this text."""
    return AnswerQuality(
        requests=30,
        failed=2,
        mean=0.8,
        answered=0.857,
        prompts=10,
        perfect=7,
        ci95=(0.55, 0.93),
        lower95=0.6,
        repeats=3,
        pass_at=(0.8, 0.85, 0.9),
        pass_all=(0.8, 0.75, 0.7),
        categories=(CategoryQuality(text, 6, 0.7, (0.4, 0.9)), CategoryQuality("", 4, 1.0, (0.4, 1.0))),
        categories_left_out=3,
        checks=(CheckQuality(text, 28, 0.9), CheckQuality("json", 28, 0.7)),
        answers=(ScoredAnswer(0.25, text, text, text, text, {text[:60]: 0.5, "json": 0.0}),),
    )


def hostile_run(text: str) -> Run:
    """A failed run in which every text that comes from outside is ``text``."""
    bad = case(
        text,
        text,
        nodeid=text,
        suite=text,
        host=text,
        outcome="failed",
        message=f"{text}\n{text}",
        parameters={text[:50]: text},
        target=Target(text, text, text, text, text, text, 3),
        requests=Requests(total=11, ok=3, failed=8, by_outcome={text[:60]: 8, "ok": 3}),
        tokens_source=text,
        finish_reasons={text[:60]: 3},
        resources={text[:60]: ResourceUse(3, 1.0, 0.5, 2.0)},
        resources_absent={text[:60]: text},
        budgets=(BudgetVerdict(text, 1.0, 2.0, 3, False, text, text, text),),
        failures=(Failure(text, 8, 500, text, text),),
        description=text,
        expected_output_length=text,
        tags=(text,),
        settings={text[:50]: text},
        notes=(text,),
        clock=ClockQuality(text),
        against=hostile_comparisons(text),
        answer_quality=quality_of(text),
    )
    return run(
        replace(bad, metrics={text[:60]: measured([1.0, 2.0])}),
        bad,
        case(),
        id=text,
        started_at=text,
        status="failed",
        suites=(text,),
        command=("pytest", text),
        host=HostInfo(text, text, text, 2, 8192, (text,), text, text),
        versions={text[:60]: text},
        clock=ClockQuality(text),
        notes=(text,),
    )
