"""The packaged suite ``tools`` against a server whose truth is known."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from tiny_runs import Done, Tiny

from pytest_flperf.quality.tools.expected import calls_problem
from pytest_flperf.reference_server import ReferenceConfig, ReferenceServer, Schedule
from pytest_flperf.reference_server.mistakes import Asked, drawn
from pytest_flperf.reference_server.truth import KnownAnswer
from pytest_flperf.suite.discovery import packaged_folder

ROWS = [json.loads(line) for line in (packaged_folder() / "tools.jsonl").read_text(encoding="utf-8").splitlines()]
TEXTS = {
    "(?i)dentist": "Dentist",
    "(?i)holiday": "Holiday",
    r"(?i)\b(?:ten|10)\s+minutes": "I'll be ten minutes late.",
    ".": "label",
}
QUICK = {"ttft_ms": 0.2, "itl_ms": 0.05, "call_split": "random"}


def value_of(spec: Any) -> Any:
    """A value that an argument may have."""
    if isinstance(spec, list):
        return spec[0]
    if "regex" in spec:
        return TEXTS[spec["regex"]]
    kind = next(key for key in ("any", "near", "contains") if key in spec)
    return spec["any"][0] if kind == "any" else spec[kind]


def answers() -> list[dict[str, Any]]:
    """The right answer to each question."""
    return [
        {
            "prompt": row["prompt"],
            "calls": [
                {"name": call["name"], "arguments": {name: value_of(spec) for name, spec in call["args"].items()}}
                for call in row["expect"]["calls"]
            ],
        }
        for row in ROWS
    ]


def played(tiny: Tiny, **schedule: Any) -> Done:
    """A run of the suite on a server that knows the answers."""
    config = ReferenceConfig.from_json({"schedule": {**QUICK, **schedule}, "answers": answers()})
    with ReferenceServer(config) as server:
        at = (f"--flperf-base-url={server.base_url}", "--flperf-model=reference")
        return tiny.run("--flperf-suite=flperf:tools", *at, "--flperf-concurrency=4")


def test_its_questions() -> None:
    """Thirty of our own, each with an id; some with several calls, some with none."""
    assert len({row["id"] for row in ROWS}) == len({row["prompt"] for row in ROWS}) == 30
    assert Counter(row["category"] for row in ROWS) == {"one call": 15, "several calls": 7, "no call": 8}
    assert all(calls_problem(row["expect"]) == "" for row in ROWS)
    assert all((len(row["expect"]["calls"]) > 1) == (row["category"] == "several calls") for row in ROWS)


def test_all_right(tiny: Tiny) -> None:
    """A model that is always right has full marks: the questions can be answered as they want."""
    case = played(tiny).case
    assert case["outcome"] == "passed"
    assert case["metrics"]["quality"]["mean"] == 1
    assert case["tool_calls"] == {
        "answers": 30, "called": 22, "abstained": 8, "malformed": 0, "json_as_text": 0, "expecting": 22,
        "tool_right": 1.0, "argument_right": 1.0, "conversations": None,
    }  # fmt: skip


@pytest.mark.parametrize("seed", [1, 2])
def test_wrong_as_often_as_played(tiny: Tiny, seed: int) -> None:
    """Which prompts are answered wrongly, and how, is known from the seed: so must be each number."""
    wrong = {"wrong_share": 0.4, "wrong_by": "prompt", "seed": seed}
    case = played(tiny, **wrong).case
    tools = ("get_weather",)
    expected: Counter[str] = Counter()
    for each in answers():
        known = KnownAnswer(each["prompt"], None, each["calls"])
        said = drawn(Schedule(**{**QUICK, **wrong}), known, Asked(1, each["prompt"], tools), 0)  # type: ignore[arg-type]
        expected["right"] += said.calls == known.calls and not said.text.startswith("{")
        if said.calls:
            broken = any(not call.arguments.endswith("}") for call in said.calls)
            expected["malformed" if broken else "called"] += 1
        else:
            expected["malformed" if said.text.startswith(("{", "[")) else "abstained"] += 1
    found = case["tool_calls"]
    assert {name: found[name] for name in ("called", "abstained", "malformed")} == {
        name: expected[name] for name in ("called", "abstained", "malformed")
    }
    assert 0 < found["json_as_text"] < found["malformed"]
    assert case["metrics"]["quality"]["mean"] == pytest.approx(expected["right"] / 30)
    worst = case["answer_quality"]["answers"]
    assert any(each["answer"].startswith("other_") and each["answer"].endswith("})") for each in worst)
    assert not any("\0" in each["answer"] or '"tools"' in each["expected"] for each in worst)
