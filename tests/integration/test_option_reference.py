"""``--flperf-reference``."""

from __future__ import annotations

import jsonschema
import pytest
from tiny_runs import Tiny

from pytest_flperf.history import store
from pytest_flperf.results.records import load_schema
from pytest_flperf.stats.inference import between_runs as runs

assert store  # here once: pytester forgets modules that a run in this process imported
assert runs


def test_beside_each_case(tiny: Tiny) -> None:
    """The load takes turns with the case's requests, has its own place in the results, and gives the ratios."""
    tiny.suite({"iterations": 6, "max_tokens": 3, "concurrency": 2})
    done = tiny.measure("--flperf-reference")
    assert done.ret == 0, done.text
    jsonschema.validate(done.results, load_schema())
    case = done.case
    assert case["requests"]["ok"] == 6
    load = case["reference"]
    assert (load["pairs"], load["requests"]["ok"]) == (3, 3)
    assert load["target"]["model_id"].startswith("flperf-micro")
    assert case["against"] == []
    ratio = case["metrics"]["e2e_ratio"]
    assert ratio["n"] == 3
    assert 0 < ratio["p50"] < 1, "the reference server is much quicker than a model"
    lines = [each for each in done.journal() if each["phase"] == "measured"]
    assert sorted(each["target"] for each in lines) == [0] * 6 + [1] * 3


def test_what_cannot_be_cut_into_turns(tiny: Tiny) -> None:
    """Is measured without it."""
    tiny.suite({"load": "constant", "rate": 50, "iterations": 3, "max_tokens": 3})
    done = tiny.measure("--flperf-reference")
    assert done.ret == 0, done.text
    assert done.case["reference"] is None
    assert done.case["requests"]["ok"] == 3


@pytest.mark.usefixtures("stored")
def test_two_days(tiny: Tiny) -> None:
    """Two runs with it are compared relative to it, and both changes are in the results."""
    tiny.suite({"iterations": 12, "max_tokens": 3})
    options = ("--flperf-reference", "--flperf-baseline=last", "--flperf-fail-on=e2e_ms.p50 > +500%")
    first, second = tiny.measure(*options), tiny.measure(*options)
    assert (first.ret, second.ret) == (0, 0), second.text
    (against,) = second.case["against"]
    (found,) = [each for each in against["comparisons"] if each["metric"] == "e2e_ms"]
    assert found["raw_change_pct"] is not None
    assert "the reference load: " in found["reason"]


@pytest.mark.parametrize("option", ["--flperf-against=same", "--flperf-parallel-targets"])
def test_refused(tiny: Tiny, option: str) -> None:
    """What measures turn by turn already, or at the same time, leaves no room for it."""
    tiny.suite()
    assert "it can't be combined with" in tiny.refused(
        "--flperf-suite=tiny.json", *tiny.at, "--flperf-reference", option
    )
