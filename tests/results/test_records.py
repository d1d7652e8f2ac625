"""Records to JSON and back, and the schema that holds for them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_tests import examples

from pytest_flperf.results.comparison import Against, Comparison
from pytest_flperf.results.load import Load
from pytest_flperf.results.metric_statistics import REQUESTS_NEEDED, RESOURCE_STATISTICS, STATISTICS
from pytest_flperf.results.metrics import METRICS
from pytest_flperf.results.records import (
    SCHEMA,
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
    load_schema,
)
from pytest_flperf.results.serialize import plain
from pytest_flperf.results.serving import Target

# What UTF-8 can hold: a lone surrogate is escaped on the way out, and so is another text when it is back.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBER = st.floats(allow_nan=False, allow_infinity=False)
POSITIVE = st.floats(0, 1e12)
COUNT = st.integers(0, 10**9)
INTERVAL = st.tuples(NUMBER, NUMBER)
SCALAR = st.one_of(st.none(), st.booleans(), st.integers(), NUMBER, TEXT)


def counts() -> st.SearchStrategy[dict[str, int]]:
    """Counts by name."""
    return st.dictionaries(TEXT, COUNT, max_size=3)


DISTRIBUTIONS = st.builds(
    Distribution,
    n=st.integers(1, 10**9),
    stdev=st.none() | POSITIVE,
    **dict.fromkeys(("mean", "min", "p5", "p50", "p90", "p95", "p99", "max"), NUMBER),
    **dict.fromkeys(("p50_ci95", "p95_ci95"), st.none() | INTERVAL),
    unsure=st.lists(st.sampled_from(sorted(REQUESTS_NEEDED)), unique=True).map(tuple),
)
CLOCKS = st.builds(
    ClockQuality,
    source=st.sampled_from([None, "kernel", "user", "mixed"]),
    lag_ms=st.none() | st.builds(LagMs, NUMBER, NUMBER, NUMBER),
    lag_histogram=counts(),
)
COMPARISONS = st.builds(
    Comparison,
    TEXT,
    TEXT,
    st.none() | TEXT,
    st.sampled_from(["regressed", "improved", "unchanged", "undecided"]),
    **dict.fromkeys(("baseline", "candidate", "change_pct", "threshold_pct", "p_value"), st.none() | NUMBER),
    **dict.fromkeys(("change_ci95_pct", "raw_change_ci95_pct"), st.none() | INTERVAL),
    pairs=st.none() | COUNT,
)
SIDES = st.builds(
    Against,
    st.sampled_from(["pairs", "run"]),
    TEXT,
    differs=st.lists(TEXT, max_size=2).map(tuple),
    target=st.none() | st.builds(Target, TEXT, st.none() | TEXT),
    metrics=st.dictionaries(st.sampled_from(sorted(METRICS)), DISTRIBUTIONS, max_size=1),
    comparisons=st.lists(COMPARISONS, max_size=2).map(tuple),
)
CASES = st.builds(
    CaseResult,
    **dict.fromkeys(("nodeid", "suite", "scenario", "model", "host", "message", "description"), TEXT),
    parameters=st.dictionaries(TEXT, SCALAR, max_size=3),
    outcome=st.sampled_from(["passed", "failed", "error", "skipped"]),
    target=st.none() | st.builds(Target, TEXT, st.none() | TEXT, context_length=st.none() | COUNT),
    load=st.none() | st.builds(Load, TEXT, COUNT, st.none() | COUNT, st.none() | COUNT, st.booleans()),
    **dict.fromkeys(("load_s", "wall_s", "request_rate", "tps_total", "tokens_per_chunk"), st.none() | POSITIVE),
    cold_ttft_ms=st.none() | NUMBER,
    requests=st.builds(Requests, COUNT, COUNT, COUNT, COUNT, counts(), COUNT, COUNT, COUNT, COUNT),
    error_rate=st.none() | st.floats(0, 1),
    coalesced_pct=st.none() | st.floats(0, 100),
    stalls=st.none() | COUNT,
    finish_reasons=counts(),
    tokens_source=st.none() | TEXT,
    expected_output_length=st.none() | TEXT,
    metrics=st.dictionaries(st.sampled_from(sorted(METRICS)), DISTRIBUTIONS, max_size=2),
    resources=st.dictionaries(TEXT, st.builds(ResourceUse, st.integers(1), NUMBER, NUMBER, NUMBER), max_size=2),
    resources_absent=st.dictionaries(TEXT, TEXT, max_size=2),
    not_scored=st.dictionaries(TEXT, st.integers(1, 2**53), max_size=2),
    settings=st.dictionaries(TEXT, SCALAR | st.lists(SCALAR, max_size=2), max_size=2),
    budgets=st.lists(
        st.builds(BudgetVerdict, TEXT, NUMBER, st.none() | NUMBER, COUNT, st.booleans(), TEXT), max_size=2
    ).map(tuple),
    clock=CLOCKS,
    failures=st.lists(st.builds(Failure, TEXT, COUNT, st.none() | COUNT, TEXT, TEXT), max_size=2).map(tuple),
    tags=st.lists(TEXT, max_size=2).map(tuple),
    notes=st.lists(TEXT, max_size=2).map(tuple),
    against=st.lists(SIDES, max_size=2).map(tuple),
    partial=st.booleans(),
    reruns=COUNT,
)
RUNS = st.builds(
    Run,
    id=TEXT,
    started_at=TEXT,
    finished_at=st.none() | TEXT,
    status=st.sampled_from(["passed", "failed", "interrupted", "error"]),
    **dict.fromkeys(("suites", "command", "notes"), st.lists(TEXT, max_size=2).map(tuple)),
    host=st.none() | st.builds(HostInfo, TEXT, TEXT, TEXT, COUNT, COUNT, st.lists(TEXT, max_size=2).map(tuple)),
    versions=st.dictionaries(TEXT, TEXT, max_size=2),
    clock=CLOCKS,
    partial=st.booleans(),
    cases=st.lists(CASES, max_size=2).map(tuple),
)
VALIDATOR = jsonschema.Draft202012Validator(load_schema())


def assert_exact(value: Any) -> None:
    """Only exact builtins, as execnet demands, all the way down."""
    assert type(value) in (type(None), bool, int, float, str, list, dict)
    for item in (
        [*value.keys(), *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
    ):
        assert_exact(item)


@settings(max_examples=examples(60))
@given(RUNS)
def test_a_run_survives_json(run: Run) -> None:
    """Written and read again it is the same run, in exact builtins, and valid against the schema."""
    document = run.to_dict()
    assert_exact(document)
    text = json.dumps(document, allow_nan=False)
    VALIDATOR.validate(json.loads(text))
    assert Run.from_dict(json.loads(text)) == run


def test_schema_is_a_schema() -> None:
    """The packaged schema is a valid one and lists every key that the records write."""
    schema = load_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    known = schema["$defs"]
    case = CaseResult("n", "s", "c", "m")
    assert list(case.to_dict()) == list(known["case"]["properties"])
    assert set(Run("i", "t").to_dict()["run"]) == set(known["run"]["properties"])
    for name, record in {
        "requests": Requests(),
        "target": Target("b"),
        "load": Load(),
        "budget": BudgetVerdict("e", 1, 1, 1, met=True),
        "failure": Failure("o", 1),
        "resource": ResourceUse(1, 1, 1, 1),
        "clock": ClockQuality(),
        "comparison": Comparison("r", "m", None, "unchanged"),
        "against": Against("pairs", "l"),
        "host": HostInfo("n", "o", "c", 1, 1),
    }.items():
        assert set(record.to_dict()) == set(known[name]["properties"])


def test_layout_of_the_issue() -> None:
    """Every key of version 1 as it was agreed is there, in a run with one case."""
    document = Run("i", "t", cases=(CaseResult("n", "s", "c", "m"),)).to_dict()
    assert document["schema"] == SCHEMA == "flperf.results/1"
    assert {"id", "started_at", "finished_at", "status", "suites", "command", "host", "versions", "clock"} <= set(
        document["run"]
    )
    agreed = """nodeid suite scenario model parameters host outcome message target load load_s cold_ttft_ms requests
        error_rate wall_s request_rate tps_total finish_reasons tokens_source tokens_per_chunk coalesced_pct stalls
        metrics resources budgets"""
    assert set(agreed.split()) <= set(document["cases"][0])
    counted = "total ok failed timeouts by_outcome late_reads clock_steps"
    assert set(counted.split()) <= set(document["cases"][0]["requests"])


def test_unknown_keys_are_ignored() -> None:
    """A file of a later version that grew by addition can be read."""
    document = Run("i", "t", cases=(CaseResult("n", "s", "c", "m"),)).to_dict()
    document["later"] = document["run"]["later"] = document["cases"][0]["later"] = {"x": 1}
    document["cases"][0]["requests"]["later"] = 1
    assert Run.from_dict(document).cases[0] == CaseResult("n", "s", "c", "m")


def test_missing_additions_have_defaults() -> None:
    """A file without what was added since, or with null for it, can be read."""
    record = {"nodeid": "n", "suite": "s", "scenario": "c", "model": "m", "notes": None, "clock": None}
    assert CaseResult.from_dict(record) == CaseResult("n", "s", "c", "m")


def test_a_file_from_before_resources() -> None:
    """The first files of version 1 had an empty object there, and nothing beside it."""
    record = {"nodeid": "n", "suite": "s", "scenario": "c", "model": "m", "resources": {}}
    case = CaseResult.from_dict(record)
    assert (case.resources, case.resources_absent) == ({}, {})


@pytest.mark.parametrize(
    "document",
    [
        {},
        [],
        None,
        {"schema": "flperf.results/2", "run": {}, "cases": []},
        {"schema": SCHEMA},
        {"schema": SCHEMA, "run": {"id": "i"}, "cases": []},
        {"schema": SCHEMA, "run": {"id": "i", "started_at": "t"}, "cases": {}},
        {"schema": SCHEMA, "run": {"id": "i", "started_at": "t"}, "cases": [3]},
        {"schema": SCHEMA, "run": {"id": "i", "started_at": "t", "suites": 3}, "cases": []},
        {"schema": SCHEMA, "run": {"id": "i", "started_at": "t", "host": {"name": "x"}}, "cases": []},
        {"schema": SCHEMA, "run": {"id": "i", "started_at": "t", "versions": [1]}, "cases": []},
    ],
)
def test_what_is_no_results_file_is_refused(document: Any) -> None:
    """One kind of error, whatever it is instead."""
    with pytest.raises(ValueError, match=r"expected|missing|not what it should be"):
        Run.from_dict(document)


class _Word(StrEnum):
    YES = "yes"


class _Number(IntEnum):
    ONE = 1


class _Mapping(Mapping[str, int]):
    def __getitem__(self, key: str) -> int:
        return 1

    def __iter__(self) -> Any:
        return iter(["k"])

    def __len__(self) -> int:
        return 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (_Word.YES, "yes"),
        (_Number.ONE, 1),
        (np.float64(1.5), 1.5),
        (np.float32(1.5), 1.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (float("nan"), None),
        (float("-inf"), None),
        (np.float64("nan"), None),
        (np.float32("inf"), None),
        (Path("a") / "b", str(Path("a") / "b")),
        ((1, (2,)), [1, [2]]),
        ({"b", "a"}, ["a", "b"]),
        (b"ab\xff", "ab\\xff"),
        (_Mapping(), {"k": 1}),
        ({1: 2}, {"1": 2}),
        ("\udc80x", "\\udc80x"),
        (True, True),
    ],
)
def test_plain_gives_exact_builtins(value: Any, expected: Any) -> None:
    """Whatever comes in, exact builtins come out, and no NaN."""
    found = plain(value)
    assert found == expected
    assert_exact(found)


def test_plain_is_bounded() -> None:
    """A structure that holds itself ends."""
    endless: list[Any] = []
    endless.append(endless)
    assert_exact(plain(endless))


def test_statistics_by_name() -> None:
    """A distribution gives its statistics and intervals by name and refuses other names."""
    found = Distribution(3, 1.0, None, 1, 1, 2, 3, 3, 3, 3, p50_ci95=(1, 3))
    assert [found.statistic(name) for name in STATISTICS] == [3, 1.0, None, 1, 1, 2, 3, 3, 3, 3]
    assert found.interval("p50") == (1, 3)
    assert found.interval("p99") is None
    with pytest.raises(KeyError):
        found.statistic("to_dict")


def test_statistics_of_a_resource() -> None:
    """A resource gives its statistics by name and refuses other names."""
    found = ResourceUse(3, 2.0, 1.0, 4.0)
    assert [found.statistic(name) for name in RESOURCE_STATISTICS] == [3, 2.0, 1.0, 4.0]
    with pytest.raises(KeyError):
        found.statistic("p95")


def test_registry_is_whole() -> None:
    """Every metric has a title, a definition and a unit that fits its name."""
    for name, metric in METRICS.items():
        assert metric.name == name
        assert metric.title
        assert metric.definition
        assert metric.unit in {
            "ms",
            "s",
            "MB",
            "W",
            "J",
            "currency",
            "per 1k tokens",
            "°C",
            "tokens/s",
            "requests/s",
            "tokens",
            "fraction",
            "ratio",
            "%",
            "count",
            "tokens/chunk",
        }
        suffixes = {
            "_ms": "ms",
            "_s": "s",
            "_pct": "%",
            "_tokens": "tokens",
            "_mb": "MB",
            "_w": "W",
            "_j": "J",
            "_c": "°C",
        }
        for suffix, unit in {**suffixes, "_rate": None}.items():
            assert not name.endswith(suffix) or unit is None or metric.unit == unit
    assert METRICS["ttft_ms"].definition == "first_token − sent"
    assert METRICS["ttft_ms"].heading == "TTFT ms"


def test_definitions_are_those_of_the_promise() -> None:
    """Where the design notes are at hand, the definitions stand in them word for word."""
    notes = Path(__file__).parents[3] / "shared" / "design" / "measuring.md"
    if not notes.exists():
        pytest.skip("the design notes are not beside this checkout")
    text = notes.read_text(encoding="utf-8")
    for name in ("ttft_ms", "ttfat_ms", "itl_ms", "tpot_ms", "gen_tps", "tps", "prompt_tps", "e2e_ms"):
        assert f"| `{name}` | {METRICS[name].definition} |" in text
    assert METRICS["output_tokens"].definition in text
