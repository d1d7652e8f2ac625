"""Rules on tool calls and on categories of quality: in turns and against a stored run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jsonschema
import pytest
from tiny_runs import Done, Tiny

from pytest_flperf.reference_server import ReferenceConfig, ReferenceServer
from pytest_flperf.results.records import load_schema

TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
PROMPTS = 60
QUICK = {"ttft_ms": 0.2, "itl_ms": 0.05}


@contextmanager
def server(**schedule: Any) -> Iterator[str]:
    """A server that knows the call for each prompt."""
    answers = [{"prompt": f"{n}?", "calls": [{"name": "add", "arguments": {"n": n}}]} for n in range(PROMPTS)]
    with ReferenceServer(ReferenceConfig.from_json({"schedule": {**QUICK, **schedule}, "answers": answers})) as found:
        yield found.base_url


def write(tiny: Tiny, **scenario: Any) -> None:
    """A data set whose rows should be answered with a call each."""
    rows = [{"prompt": f"{n}?", "expect": {"calls": [{"name": "add", "args": {"n": n}}]}} for n in range(PROMPTS)]
    save(tiny, rows, tools=[TOOL], max_tokens=50, **scenario)


def save(tiny: Tiny, rows: list[dict[str, Any]], **scenario: Any) -> None:
    """A suite with a data set."""
    (tiny.folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    asked = {"name": "rows", "dataset": "rows.jsonl", "warmup": 0, **scenario}
    (tiny.folder / "tiny.json").write_text(json.dumps({"scenarios": [asked]}), encoding="utf-8")


def run(tiny: Tiny, url: str, *options: str) -> Done:
    """Measure this server."""
    return tiny.run("--flperf-suite=tiny.json", f"--flperf-base-url={url}", "--flperf-model=reference", *options)


def comparisons(done: Done) -> dict[str, dict[str, Any]]:
    """By what is compared."""
    (against,) = done.case["against"]
    return {f"{each['metric']}[{each['category']}]": each for each in against["comparisons"]}


def test_calls_in_turns(tiny: Tiny) -> None:
    """A side that writes three calls of ten as text fails each rule that it breaks, and no other."""
    write(tiny, fail_on=["malformed > +1%", "tool_right < -2%", "argument_right < -2%", "abstained > +5%"])
    with server() as right, server(wrong_share=0.3, wrong_by="prompt", wrong_calls=["text"], seed=3) as wrong:
        done = run(tiny, wrong, f"--flperf-against=base_url={right}", "--flperf-max-iterations=60")
    assert done.ret == 1, done.text
    jsonschema.validate(done.results, load_schema())
    found = comparisons(done)
    words = {name.partition("[")[0]: each["verdict"] for name, each in found.items()}
    assert {words[name] for name in ("malformed", "tool_right", "argument_right")} <= {"regressed", "undecided"}
    assert words["malformed"] == "regressed"
    assert words["abstained"] != "regressed"
    malformed = found["malformed[]"]
    assert malformed["baseline"] == 0
    assert malformed["candidate"] == pytest.approx(
        done.case["tool_calls"]["malformed"] / done.case["tool_calls"]["answers"]
    )
    assert malformed["comparisons"] == 5  # those four and that of errors share one error rate
    assert malformed["method"]
    assert "malformed regressed by +" in done.text


def test_calls_against_a_stored_run(tiny: Tiny) -> None:
    """By prompt, without history."""
    write(tiny, fail_on=["malformed > +1%"])
    with server() as right, server(wrong_share=0.4, wrong_by="prompt", wrong_calls=["broken"], seed=3) as wrong:
        assert run(tiny, right).ret == 0
        done = run(tiny, wrong, "--flperf-baseline=last")
    assert done.ret == 1, done.text
    malformed = comparisons(done)["malformed[]"]
    assert (malformed["verdict"], malformed["n_baseline"], malformed["baseline"]) == ("regressed", PROMPTS, 0)
    by_prompt = [each["calls"]["malformed"] for each in done.case["prompt_scores"]]
    assert malformed["candidate"] == pytest.approx(sum(by_prompt) / PROMPTS)


def test_a_rule_on_calls_where_none_are_expected(tiny: Tiny) -> None:
    """Said before measuring, and never green."""
    save(tiny, [{"prompt": "x", "expect": {"contains": "a"}}] * 12, fail_on=["malformed > +1%"])
    with server() as right:
        done = run(tiny, right, "--flperf-against=same", "--flperf-max-iterations=12", "--flperf-fail-undecided")
    assert done.ret == 1
    assert "malformed needs expected calls: the scenario has no 'calls' in 'expect'" in done.text
    assert comparisons(done)["malformed[]"]["verdict"] == "undecided"


def test_a_category(tiny: Tiny) -> None:
    """Budget and rule see its prompts alone: the other category may fall as it likes."""
    rows = [
        {"prompt": f"{n}?", "expect": {"contains": "yes"}, "category": "good" if n % 2 else "bad one"}
        for n in range(2 * PROMPTS)
    ]
    rules = ["quality.mean[bad one] < -5%", "quality.mean[good] < -5%"]
    save(
        tiny,
        rows,
        fail_on=rules,
        max_tokens=8,
        budgets=["quality.mean[good] >= 90%", "quality.lower95[bad one] >= 50%"],
    )
    right = [{"prompt": f"{n}?", "text": "yes"} for n in range(2 * PROMPTS)]
    wrong = [{"prompt": f"{n}?", "text": "yes" if n % 2 else "no"} for n in range(2 * PROMPTS)]
    configs = [ReferenceConfig.from_json({"schedule": QUICK, "answers": each}) for each in (right, wrong)]
    with ReferenceServer(configs[0]) as one, ReferenceServer(configs[1]) as other:
        in_turns = run(tiny, other.base_url, f"--flperf-against=base_url={one.base_url}", "--flperf-max-iterations=120")
        stored = run(tiny, one.base_url)
        assert stored.ret == 0, stored.text
        later = run(tiny, other.base_url, "--flperf-baseline=last")
    for done in (in_turns, later):
        assert done.ret == 1, done.text
        jsonschema.validate(done.results, load_schema())
        found = comparisons(done)
        bad, good = found["quality[bad one]"], found["quality[good]"]
        assert (bad["verdict"], bad["baseline"], bad["candidate"]) == ("regressed", 1, 0)
        assert (good["baseline"], good["candidate"]) == (1, 1)
        assert good["verdict"] != "regressed"
        assert "quality.mean[bad one] regressed" in done.text
    verdicts = {each["expression"]: each for each in later.case["budgets"]}
    assert verdicts["quality.mean[good] >= 90%"]["met"]
    lower = verdicts["quality.lower95[bad one] >= 50%"]
    assert (lower["met"], lower["value"], lower["n"], lower["category"]) == (False, 0, PROMPTS, "bad one")


@pytest.mark.parametrize(
    ("key", "text"), [("budgets", "quality.mean[goood] >= 90%"), ("fail_on", "quality.mean[goood] < -2%")]
)
def test_a_category_that_no_row_has(tiny: Tiny, key: str, text: str) -> None:
    """It would never be there: refused, with the nearest one."""
    rows = [{"prompt": "x", "expect": "a", "category": "good"}]
    save(tiny, rows, **{key: [text]})
    problem = f"tiny.json: scenarios[0].{key}[0]: '{text}': found 'goood' in brackets, expected a category of the data"
    message = tiny.refused("--flperf-suite=tiny.json", *tiny.at)
    assert problem in message
    assert "did you mean 'good'?" in message


def test_a_category_on_the_command_line(tiny: Tiny) -> None:
    """Likewise; a suite without a data set has none."""
    tiny.suite({"expect": {"contains": "a"}})
    message = tiny.refused("--flperf-suite=tiny.json", *tiny.at, "--flperf-budget=quality.mean[x] >= 1%")
    assert "--flperf-budget: 'quality.mean[x] >= 1%': found 'x' in brackets" in message
    assert "no row has one" in message
