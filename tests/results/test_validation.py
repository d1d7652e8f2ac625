"""What no run can have written is refused with its place; what runs write is always read."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator
from datetime import UTC
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_tests import examples

from pytest_flperf.results.answer import Ranking, RunAnswer, Standing
from pytest_flperf.results.calibration import Calibration
from pytest_flperf.results.capacity import Search, SearchStep
from pytest_flperf.results.comparison import Against, Comparison, ReferenceLoad
from pytest_flperf.results.document import DocumentError, parsed
from pytest_flperf.results.load import Load
from pytest_flperf.results.metrics import METRICS, RESOURCE_METRICS
from pytest_flperf.results.reader import RunError, read_run, run_of
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
from pytest_flperf.results.serving import Adjustment, Target
from pytest_flperf.results.validation import checked_case, checked_run
from pytest_flperf.stats.descriptive.failed_requests import with_failures
from pytest_flperf.stats.descriptive.summary import distribution

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
MS = st.floats(0, 1e9)
COUNT = st.integers(0, 1000)
RATE = st.none() | st.floats(0, 1e12)
SCALAR = st.none() | st.booleans() | st.integers(-(2**64), 2**64) | st.floats(-1e99, 1e99) | TEXT
TIME = (
    st.datetimes(timezones=st.just(UTC))
    .filter(lambda t: t.year >= 1970)
    .map(lambda t: t.isoformat(timespec="milliseconds"))
)


@st.composite
def measured(draw: st.DrawFn) -> dict[str, Any]:
    """Requests and what was measured of them, by the code that measures."""
    ok, failed, as_inf = draw(st.integers(0, 40)), draw(st.integers(0, 20)), draw(st.booleans())
    cancelled = draw(st.integers(0, 2))
    outcomes = {"ok": ok, "http_error": failed, "cancelled": cancelled}
    metrics: dict[str, Distribution] = {}
    for name in draw(st.lists(st.sampled_from(["ttft_ms", "e2e_ms", "output_tokens", "gen_tps"]), unique=True)):
        values = draw(st.lists(MS, min_size=ok, max_size=ok))
        found = with_failures(values, failed) if as_inf and name.endswith("_ms") else distribution(values)
        if found is not None:
            metrics[name] = found
    if ok and draw(st.booleans()):
        pooled = distribution(draw(st.lists(MS, min_size=1, max_size=99)), scale=1e6, independent=False)
        assert pooled is not None
        metrics["itl_ms"] = pooled
    total = ok + failed
    return {
        "requests": Requests(
            total=total, ok=ok, failed=failed, timeouts=draw(st.integers(0, failed)),
            by_outcome={name: count for name, count in outcomes.items() if count},
            late_reads=draw(st.integers(0, ok)), warmup=3, warmup_failed=draw(st.integers(0, 3)),
        ),
        "metrics": metrics,
        "error_rate": failed / total if total else None,
    }  # fmt: skip


CLOCKS = st.one_of(
    st.just(ClockQuality()),
    st.lists(MS, min_size=3, max_size=3).map(
        lambda lags: ClockQuality("kernel", LagMs(*sorted(lags)), {"12": 3, "-1": 1})
    ),
)
VERDICTS = st.sampled_from(["regressed", "improved", "unchanged", "undecided"])
COMPARISONS = st.builds(
    Comparison, TEXT, TEXT, st.none() | TEXT, VERDICTS,
    baseline=st.none() | MS, candidate=st.none() | MS, change_pct=st.none() | st.floats(-100, 1e150),
    change_ci95_pct=st.sampled_from([None, (-5.0, 3.0), (-100.0, math.inf)]), p_value=st.none() | st.floats(0, 1),
    threshold_pct=st.none() | st.floats(-100, 1e6), pairs=st.none() | COUNT,
)  # fmt: skip
BUDGETS = st.builds(
    BudgetVerdict, TEXT, st.floats(-1e9, 1e9), st.just(5.0), COUNT, st.booleans(), TEXT, TEXT, st.none() | TEXT
) | st.just(BudgetVerdict("ttft_ms.p99 <= 5", 5.0, math.inf, 3, met=False, infinite=True))


@st.composite
def cases(draw: st.DrawFn, number: int) -> CaseResult:
    """A case with all that one can have."""
    name, text = f"s::{number}[m]", draw(TEXT)
    side, other = draw(measured()), draw(measured())
    against = Against(
        draw(st.sampled_from(["pairs", "run"])), text, started_at=draw(st.none() | TIME),
        comparisons=tuple(draw(st.lists(COMPARISONS, max_size=2))), settings={"seed": 1}, **other,
    )  # fmt: skip
    return CaseResult(
        nodeid=name, suite=text, scenario=text, model=text, parameters=draw(st.dictionaries(TEXT, SCALAR, max_size=2)),
        outcome=draw(st.sampled_from(["passed", "failed", "error", "skipped"])), message=text,
        target=Target("openai", text, context_length=draw(st.none() | COUNT)), load=Load(rate=draw(RATE)),
        load_s=draw(RATE), model_rss_mb=draw(st.none() | st.floats(-1e6, 1e6)), wall_s=draw(RATE),
        adjusted=(Adjustment("top_k", "5", None, text),), serialised=draw(st.none() | st.booleans()),
        steady_window_s=draw(st.none() | st.just((0.5, 2.5))), finish_reasons={"stop": draw(COUNT)},
        coalesced_pct=draw(st.none() | st.floats(0, 100)), stalls=draw(st.none() | COUNT),
        resources={"gpu_temp_c": ResourceUse(3, -2.0, -3.0, 1.0), "server_cpu_pct": ResourceUse(1, 720.0, 720, 720)},
        resources_absent={"gpu_mem_mb": text}, budgets=tuple(draw(st.lists(BUDGETS, max_size=2))), clock=draw(CLOCKS),
        failures=(Failure("http_error", draw(COUNT), draw(st.none() | st.integers(100, 599)), text, text),),
        tags=(text,), settings={"expect": {"any": [draw(SCALAR), {"deep": [text]}]}}, notes=(text,),
        calibration=Calibration(Load(), 5, 1.0, 2.0, -0.1, 0.2, -0.01, 3.0),
        search=Search("rate", draw(RATE), True, None, (SearchStep(2.0, False, text),)),
        not_scored=dict.fromkeys([text] if side["requests"].ok else [], 1),
        reference=ReferenceLoad(None, other["requests"], other["metrics"], 3),
        against=(against,), partial=draw(st.booleans()), reruns=draw(COUNT), **side,
    )  # fmt: skip


@st.composite
def runs(draw: st.DrawFn) -> Run:
    """A run as it is measured."""
    return Run(
        draw(TEXT), draw(TIME), draw(st.none() | TIME),
        draw(st.sampled_from(["passed", "failed", "interrupted", "error"])), suites=(draw(TEXT),), command=("pytest",),
        host=HostInfo("h", "os", "cpu", 8, 32_000, ("GPU",)), versions={"python": "3.11"}, clock=draw(CLOCKS),
        notes=(draw(TEXT),), budgets=tuple(draw(st.lists(BUDGETS, max_size=2))), partial=draw(st.booleans()),
        cases=tuple(draw(cases(number)) for number in range(draw(st.integers(0, 2)))),
    )  # fmt: skip


@settings(
    max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(runs())
def test_what_runs_write_is_read(run: Run) -> None:
    """Every run that can be measured is read as it was, infinite percentiles and open intervals included."""
    assert run_of(json.dumps(run.to_dict(), allow_nan=False), "here") == run


def a_document() -> dict[str, Any]:
    """A run with all kinds of values in it."""
    found = distribution([3.0, 4.0, 5.0, 9.0])
    side: dict[str, Any] = {
        "requests": Requests(5, 4, 1, 1, {"ok": 4, "timeout": 1}, 1, 0, 0, 2, 1),
        "metrics": {"ttft_ms": found, "output_tokens": found},
    }
    comparison = Comparison(
        "ttft_ms.p50 > +5%", "ttft_ms", "p50", "unchanged", baseline=4.5, candidate=4.5, change_pct=0.0,
        change_ci95_pct=(-1.0, 1.0), probability=0.1, threshold_pct=5.0, p_value=0.3, n_baseline=4, n_candidate=4,
    )  # fmt: skip
    against = Against(
        "run", "last", "id", "2026-01-01T00:00:00+00:00", error_rate=0.2, comparisons=(comparison,), **side
    )
    case = CaseResult(
        "s::a[m]", "s", "a", "m", {"n": 4}, "h", Target("openai"), Load(), outcome="passed", message="", error_rate=0.2,
        wall_s=2.0,
        resources={"cpu_pct": ResourceUse(3, 20.0, 10.0, 30.0)},
        clock=ClockQuality("kernel", LagMs(1.0, 2.0, 3.0), {"5": 1}), against=(against,),
        budgets=(BudgetVerdict("ttft_ms.p50 <= 5", 5.0, 4.5, 4, True, "suite", "ttft_ms", "p50"),),
        failures=(Failure("timeout", 1, None, "late"),), settings={"max_tokens": 5}, finish_reasons={"stop": 4},
        steady_window_s=(0.0, 1.0), calibration=Calibration(Load(), 5, 1.0, 2.0, -0.1, 0.2, -0.01, 3.0),
        search=Search("rate", 2.0, True, None, (SearchStep(2.0, True),)), reference=ReferenceLoad(**side),
        notes=("a",), **side,
    )  # fmt: skip
    host = HostInfo("h", "os", "cpu", 8, 32_000)
    run = Run(
        "id", "2026-01-01T00:00:00+00:00", "2026-01-01T00:00:09+00:00", "passed", ("s",), ("pytest",), host,
        {"python": "3.11"}, cases=(case,), clock=case.clock,
    )  # fmt: skip
    document: dict[str, Any] = json.loads(json.dumps(run.to_dict()))
    return document


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value that holds no other."""
    if isinstance(value, dict | list) and value:
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(item, (*path, key))
    else:
        yield path


def changed(document: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """The document with another value there."""
    other = copy.deepcopy(document)
    found: Any = other
    for key in path[:-1]:
        found = found[key]
    found[path[-1]] = value
    return other


DOCUMENT = a_document()
NUMBERS = [
    path
    for path in leaves(DOCUMENT)
    if type(reduce(getitem, path, DOCUMENT)) in (int, float) and "settings" not in path  # type: ignore[arg-type]
]
NEVER = [math.nan, math.inf, -math.inf, "5", True, [], {}, 10**300, -(10**300), -1e300]
"""What no number of a run can be."""


@pytest.mark.parametrize("path", NUMBERS, ids=lambda path: ".".join(map(str, path)))
def test_no_number_is_any_of_these(path: tuple[Any, ...]) -> None:
    """Each number of a run, made something that it can't be, is refused with its place."""
    assert checked_run(DOCUMENT)
    for value in NEVER:
        if path[0] == "cases" and path[2] == "parameters" and value in ("5", True):
            continue  # a parameter may be a text
        with pytest.raises(DocumentError) as told:
            checked_run(parsed(json.dumps(changed(DOCUMENT, path, value))))
        *_, last = [key for key in path if isinstance(key, str)]
        assert last in str(told.value) or "total" in str(told.value)


CONTRADICTIONS: list[tuple[str, Any, str]] = [
    ("cases.0.requests.ok", 9, "cases[0].requests.total: found 5 of which 9 ok and 1 failed, expected the sum of both"),
    ("cases.0.requests.total", -5, "cases[0].requests.total: found -5, expected a whole number 0 or more"),
    ("cases.0.requests.total", 5.5, "found 5.5, expected a whole number"),
    ("cases.0.requests.late_reads", 5, "late_reads: found 5, expected at most 4, which is 'ok'"),
    ("cases.0.requests.by_outcome.ok", 3, "by_outcome: found 4 requests, expected 5, which is 'total'"),
    ("cases.0.error_rate", 0.5, "cases[0].error_rate: found 0.5, expected 0.2: 1 of 5 requests failed"),
    ("cases.0.error_rate", 1.5, "found 1.5, expected a number from 0 to 1"),
    ("cases.0.metrics.ttft_ms.n", 6, "ttft_ms.n: found 6, expected at most 5, the number of requests"),
    ("cases.0.metrics.ttft_ms.n", 0, "found 0, expected 1 or more values"),
    ("cases.0.metrics.ttft_ms.min", -5, "ttft_ms.min: found -5, expected 0 ms or more"),
    ("cases.0.metrics.ttft_ms.p5", 100, "ttft_ms.p50: found 4.5, expected at least 100, which is 'p5'"),
    ("cases.0.metrics.ttft_ms.max", 1, "ttft_ms.max: found 1, expected at least"),
    ("cases.0.metrics.ttft_ms.mean", 99, "ttft_ms.mean: found 99, expected from min 3 to max 9"),
    ("cases.0.metrics.ttft_ms.p50", None, "ttft_ms.p50: found null, expected a number"),
    ("cases.0.metrics.ttft_ms.stdev", -1, "ttft_ms.stdev: found -1, expected a number 0 or more"),
    ("cases.0.metrics.ttft_ms.p50_ci95", [5, 4], "p50_ci95: found [5, 4], expected the lower end first"),
    ("cases.0.metrics.ttft_ms.p50_ci95", [4], "p50_ci95: found a list, expected"),
    ("cases.0.resources.cpu_pct.max", 250, "cpu_pct.max: found 250, expected at most 100"),
    ("cases.0.budgets.0.value", None, "budgets[0].met: found true without a value, expected false"),
    ("cases.0.outcome", "green", 'outcome: found "green", expected one of passed, failed, error, skipped'),
    ("cases.0.against.0.comparisons.0.verdict", "fine", 'verdict: found "fine", expected one of regressed'),
    ("cases.0.against.0.comparisons.0.p_value", 2, "p_value: found 2, expected a number from 0 to 1"),
    ("cases.0.partial", "false", 'cases[0].partial: found "false", expected true or false'),
    ("cases.0.partial", 0, "cases[0].partial: found 0, expected true or false"),
    ("cases.0.parameters", {"n": {}}, "cases[0].parameters.n: found an object, expected a string, a number"),
    ("cases.0.clock.lag_histogram", {"x y": 1}, 'lag_histogram: found the key "x y", expected whole numbers as keys'),
    ("cases.0.settings", {"seed": 10**200}, "cases[0].settings.seed: found 1"),
    ("cases.0.notes", "a text", 'cases[0].notes: found "a text", expected a list'),
    ("cases.0.nodeid", "\ud800", "nodeid: found \"\\ud800\", expected a string without half a character"),
    ("run.status", "green", 'run.status: found "green", expected one of'),
    ("run.started_at", "yesterday", 'run.started_at: found "yesterday", expected a time such as'),
    ("run.started_at", "", "run.started_at: found"),
    ("run.started_at", "0001-01-01T00:00:00+14:00", "expected a time such as"),
    ("run.finished_at", "9999-12-31T23:59:59-14:00", "run.finished_at: found"),
    ("run.id", None, "run.id: found null, expected a string"),
    ("run.host", [], "run.host: found a list, expected an object"),
    ("run", None, "run: found null, expected an object"),
    ("cases", None, "cases: found null, expected a list"),
    ("cases", {}, "cases: found an object, expected a list"),
    ("cases", "all", 'cases: found "all", expected a list'),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "said"), CONTRADICTIONS)
def test_what_no_run_can_have_written(path: str, value: Any, said: str) -> None:
    """The place, what was found, and what was expected."""
    keys = tuple(int(key) if key.isdecimal() else key for key in path.split("."))
    with pytest.raises(RunError, match="is not a results file of flperf, or was edited") as told:
        run_of(json.dumps(changed(DOCUMENT, keys, value)), "here")
    assert said in str(told.value)
    assert "measure again" in str(told.value)


def test_a_case_twice() -> None:
    """Node id and host tell cases apart."""
    document = {**DOCUMENT, "cases": DOCUMENT["cases"] * 2}
    with pytest.raises(DocumentError, match=r"cases\[1\]\.nodeid: found .* again, as in cases\[0\]"):
        checked_run(document)


def test_a_key_twice() -> None:
    """Readers of JSON differ in which of the two counts."""
    text = json.dumps(DOCUMENT).replace('"total": 5', '"total": 5, "total": 6', 1)
    with pytest.raises(RunError, match=r'cases\[0\]\.requests: found the key "total" twice, expected each key once'):
        run_of(text, "here")


def test_faults_are_bounded() -> None:
    """Three are named, the rest counted; what was found is shortened and escaped."""
    document = {**DOCUMENT, "cases": ["\x1b[31m" + "x" * 10_000] * 50}
    with pytest.raises(DocumentError) as told:
        checked_run(document)
    assert str(told.value).endswith("; and 47 more")
    assert str(told.value).isprintable()
    assert len(str(told.value)) < 500


def test_results_of_older_and_newer_versions() -> None:
    """Fields that are absent have their defaults; keys and metrics of later versions are left alone."""
    document = copy.deepcopy(DOCUMENT)
    (case,) = document["cases"]
    for name in ("search", "reference", "against", "calibration", "adjusted", "steady_window_s", "clock"):
        del case[name]
    case["metrics"]["ttft_ms"].pop("as_inf")
    case["metrics"]["joules"] = {**case["metrics"]["ttft_ms"], "later": "x"}
    case["later"] = {"what": ["ever"]}
    assert checked_run(document).cases[0].metrics["joules"].n == 4


def test_models_that_are_equally_good() -> None:
    """The interval of a difference in quality may hold none, and lie below 0."""
    standing = Standing("b", 0.59, behind=0.03, behind_ci=(-0.07, 0.13))
    ranking = Ranking("quality", "quality", "mean", compared=150, standings=(Standing("a", 0.61, 0.0), standing))
    run = Run("id", "2026-01-01T00:00:00+00:00", None, "passed", answer=RunAnswer(rankings=(ranking,)))
    assert run_of(json.dumps(run.to_dict()), "here").answer == run.answer


def test_a_recovered_run_without_its_start() -> None:
    """A run whose log is gone has no start and is interrupted; any other has one."""
    run = Run("id", "", None, "interrupted", partial=True)
    assert run_of(json.dumps(run.to_dict()), "here") == run


@pytest.mark.parametrize("mutant", [None, 3, "x", [], {"nodeid": 3}])
def test_a_case_alone(mutant: Any) -> None:
    """A line of a log that is no case is refused; one that is comes back."""
    (case,) = DOCUMENT["cases"]
    assert checked_case(case).to_dict()["nodeid"] == case["nodeid"]
    with pytest.raises(DocumentError):
        checked_case(mutant)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "an empty file"),
        (b" \n", "an empty file"),
        (b"\x1f\x8b\x08", "a file compressed with gzip"),
        ("{}".encode("utf-16"), "text in UTF-16"),
        (b"PK\x03\x04", "a zip archive"),
        (b"SQLite format 3\0", "a SQLite database"),
        (b'{"a": "\xff"}', "the byte 0xff at 7"),
        (b'{"schema": "flperf.results/1", "run": {"id": "x', "Unterminated string"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[" * 150 + b"]" * 150, "found a list, expected an object"),
        (b'{"schema": ' + b"9" * 5_000 + b"}", "a number with thousands of digits"),
        (b"null", "found null, expected an object"),
    ],
    ids=range(12),
)
def test_files_of_other_kinds(tmp_path: Path, content: bytes, said: str) -> None:
    """What the file is, in words."""
    path = tmp_path / "results.json"
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"results\.json is not a results file") as told:
        read_run(path)
    assert said in str(told.value)


def test_a_byte_order_mark(tmp_path: Path) -> None:
    """What an editor puts before the text changes nothing."""
    path = tmp_path / "results.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(DOCUMENT).encode())
    assert read_run(path).id == "id"


def test_what_is_no_file(tmp_path: Path) -> None:
    """A folder, a name that can't be one, a file that isn't there: each in words."""
    for path, said in (
        (tmp_path, "it is not a file"),
        (tmp_path / "no", "no such file"),
        (Path("a\0b"), "can't be read"),
    ):
        with pytest.raises(RunError, match=said):
            read_run(path)


def test_metrics_have_units() -> None:
    """Which metric may be negative goes by its unit, so each has one."""
    assert {METRICS[name].unit for name in RESOURCE_METRICS} <= {"%", "MB", "W", "°C"}
