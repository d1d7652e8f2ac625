"""How long a comparison in turns goes on: as far as its rules need."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_flperf.gates.rules import parse_rules
from pytest_flperf.session.paired import most_pairs
from pytest_flperf.suite.against import parse_against, turn_streams
from pytest_flperf.suite.load_shapes import first_pass_of
from pytest_flperf.suite.loader import load_suite
from pytest_flperf.suite.matrix import expand
from pytest_flperf.suite.model import Case

QUALITY = "quality.mean < -2%"


def case(folder: Path, **scenario: Any) -> Case:
    """A scenario of 150 rows."""
    rows = "".join(json.dumps({"prompt": f"What is {n}?", "expect": str(n)}) + "\n" for n in range(150))
    (folder / "rows.jsonl").write_text(rows, encoding="utf-8")
    written = {"scenarios": [{"name": "one", "dataset": "rows.jsonl", "max_tokens": 2, **scenario}]}
    (folder / "s.json").write_text(json.dumps(written), encoding="utf-8")
    (found,) = expand(load_suite(folder / "s.json", "s.json"), ["m"])
    return found


@pytest.mark.parametrize(
    ("rule", "scenario", "most", "pairs"),
    [
        (QUALITY, {}, None, 150),
        (QUALITY, {"concurrency": 4}, None, 100),
        (QUALITY, {"repeat": 3}, None, 450),
        (QUALITY, {"repeat": 3, "iterations": 30}, None, 100),
        (QUALITY, {"dataset_order": "shuffled"}, None, 150),
        (QUALITY, {}, 40, 40),
        ("ttft_ms.mean > +10%", {}, None, 100),
        ("ttft_ms.p50 > +10%", {}, None, 60),
    ],
)
def test_pairs(tmp_path: Path, rule: str, scenario: dict[str, Any], most: int | None, pairs: int) -> None:
    """A rule on quality asks a data set whole; others go on as before."""
    found = case(tmp_path, **scenario)
    assert most_pairs(found, parse_rules([rule], "x"), most, found.scenario.settings.concurrency) == pairs


def test_turns_of_the_side_with_more_streams(tmp_path: Path) -> None:
    """A turn has as many requests as the side with more streams has, so that fewer turns ask as much."""
    found, rules = case(tmp_path, repeat=3), parse_rules([QUALITY], "x")
    for text, per_turn in (("concurrency=4", 4), ("concurrency=1", 1), ("temperature=0.5", 1)):
        assert turn_streams(found, parse_against(text, "x")) == per_turn
    assert [most_pairs(found, rules, None, each) for each in (1, 4, 16)] == [450, 113, 100]
    assert [most_pairs(found, rules, 40, each) for each in (1, 4, 16)] == [40, 10, 3]


@pytest.mark.parametrize(
    ("scenario", "requests"),
    [({}, 150), ({"dataset_order": "shuffled"}, 0), ({"repeat": 3}, 150), ({"repeat": 3, "iterations": 30}, 10)],
)
def test_first_pass(tmp_path: Path, scenario: dict[str, Any], requests: int) -> None:
    """Rows in the order of their file, each once."""
    assert first_pass_of(case(tmp_path, **scenario).scenario) == requests
