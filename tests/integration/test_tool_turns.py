"""Conversations with played tool results, against a server that knows them, and plays them wrong as told."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from tiny_runs import Tiny

from pytest_flperf.reference_server import ReferenceConfig, ReferenceServer
from pytest_flperf.results.records import load_schema
from pytest_flperf.session.recovery import recover


def tool(name: str, *parameters: str) -> dict[str, Any]:
    """A tool with parameters that are texts."""
    properties = {each: {"type": "string"} for each in parameters}
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": properties}}}


PROMPT = "Book me a flight to New York."
SCENARIO: dict[str, Any] = {
    "name": "flight",
    "prompt": PROMPT,
    "max_tokens": 100,
    "tools": [tool("find", "to"), tool("book", "flight")],
    "tool_results": [
        {"name": "find", "args": {"to": ["New York", "JFK"]}, "result": {"flights": ["LH 402"]}},
        {"name": "book", "args": {"flight": "LH 402"}, "result": "booked"},
    ],
    "tool_turns": 5,
    "expect": {
        "checks": [
            {
                "calls": [{"name": "find", "args": {"to": ["New York", "JFK"]}}, {"name": "book"}],
                "order": "subsequence",
            },
            {"contains": "LH 402"},
        ]
    },
}
RIGHT: dict[str, Any] = {
    "prompt": PROMPT,
    "calls": [{"name": "find", "arguments": {"to": "JFK"}}],
    "then": [[{"name": "book", "arguments": {"flight": "LH 402"}}]],
    "text": "LH 402 is booked.",
}


def served(*answers: dict[str, Any], **schedule: Any) -> ReferenceServer:
    """A server that knows these answers."""
    plain = {"tokens": 4, "ttft_ms": 1, "itl_ms": 1, "wrong_by": "prompt"}
    return ReferenceServer(ReferenceConfig.from_json({"schedule": {**plain, **schedule}, "answers": list(answers)}))


def at(server: ReferenceServer) -> tuple[str, str]:
    """Options that measure a server."""
    return f"--flperf-base-url={server.base_url}", "--flperf-model=reference"


def run(tiny: Tiny, server: ReferenceServer, *options: str, **changed: Any) -> dict[str, Any]:
    """The case of a run against a server."""
    tiny.suite({**SCENARIO, **changed})
    with server:
        done = tiny.run(
            "--flperf-suite=tiny.json", f"--flperf-base-url={server.base_url}", "--flperf-model=reference", *options
        )
    jsonschema.validate(done.results, load_schema())
    return done.case


def suite_of_rows(tiny: Tiny, rows: str) -> None:
    """A suite that asks each row of a data set once."""
    scenario = {"name": "trips", "dataset": "rows.jsonl", "tools": SCENARIO["tools"], "max_tokens": 100, "warmup": 0}
    (tiny.folder / "tiny.json").write_text(json.dumps({"name": "tiny", "scenarios": [scenario]}), encoding="utf-8")
    (tiny.folder / "rows.jsonl").write_text(rows, encoding="utf-8")


def test_a_right_conversation(tiny: Tiny) -> None:
    """Each turn is a measured request; the score is one for each conversation."""
    case = run(tiny, served(RIGHT), iterations=2)
    assert case["requests"]["total"] == 6
    assert case["requests"]["ok"] == 6
    assert case["metrics"]["quality"]["n"] == 2
    quality, counts = case["answer_quality"], case["tool_calls"]
    assert (quality["mean"], quality["requests"], quality["prompts"]) == (1.0, 2, 1)
    assert (counts["answers"], counts["called"], counts["tool_right"], counts["argument_right"]) == (2, 2, 1.0, 1.0)
    assert counts["conversations"] == {
        "conversations": 2, "answered": 2, "malformed": 0, "unfinished": 0, "failed": 0, "cut_short": 0, "turns": 3.0,
        "calls": 4, "repeated": 0, "needless": 0, "unknown": 0, "without_result": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("mistake", "mean", "outcome", "counts"),
    [
        ("needless", 3 / 4 - 0.1, "called", {"answered": 1, "turns": 4.0, "needless": 1, "without_result": 1}),
        ("repeated", 3 / 4 - 0.1, "called", {"answered": 1, "turns": 4.0, "repeated": 1}),
        ("endless", 0.0, "called", {"unfinished": 1, "turns": 5.0, "repeated": 3, "calls": 5}),
        ("broken", 0.0, "malformed", {"malformed": 1, "turns": 1.0}),
        ("text", 0.0, "malformed", {"malformed": 1, "turns": 1.0, "calls": 0}),
        ("missing", 0.0, "abstained", {"answered": 1, "turns": 1.0, "calls": 0}),
        # the other check, the text, is right: half of the completion
        ("name", 1 / 2 - 0.1, "called", {"answered": 1, "turns": 3.0, "unknown": 1, "needless": 1}),
        ("arguments", 1 / 2, "called", {"answered": 1, "turns": 3.0, "without_result": 1}),
    ],
)
def test_wrong_conversations(tiny: Tiny, mistake: str, mean: float, outcome: str, counts: dict[str, Any]) -> None:
    """Each way to be wrong has its outcome, its counts and the score of the formula."""
    case = run(tiny, served(RIGHT, wrong_share=1, wrong_calls=mistake, wrong_text="No."), iterations=1)
    assert case["answer_quality"]["mean"] == pytest.approx(mean)
    assert case["tool_calls"][outcome] == 1
    found = case["tool_calls"]["conversations"]
    assert {name: found[name] for name in counts} == counts
    assert found["conversations"] == 1
    assert case["requests"]["total"] == found["turns"]


def test_what_is_sent(tiny: Tiny) -> None:
    """The calls go back as the model made them, with their ids, and each result by its id, wrong calls too."""
    calls = [{"name": "find", "arguments": {"to": "JFK"}}, {"name": "find", "arguments": {"to": "Oslo"}},
             {"name": "other", "arguments": {}}]  # fmt: skip
    with served({**RIGHT, "calls": calls, "then": []}) as server:
        tiny.suite({**SCENARIO, "iterations": 1})
        done = tiny.run("--flperf-suite=tiny.json", *at(server))
    assert done.case["tool_calls"]["conversations"]["calls"] == 3
    assert done.case["tool_calls"]["conversations"]["without_result"] == 1
    assert done.case["tool_calls"]["conversations"]["unknown"] == 1
    words = "1 conversation of 2 turns: 1 answered; of 3 calls 2 needless, 1 of unknown tools, 1 without a result"
    assert f"tool calls: 1 called, 0 abstained, 0 malformed; {words}" in done.case["notes"]


def test_rows_have_results_of_their_own(tiny: Tiny) -> None:
    """Each row is one prompt, by which the scores are told; the journal's rows score a recovered run likewise."""
    rows = [
        {
            "id": name, "prompt": f"Find {name}.", "category": "trip",
            "tool_results": [{"name": "find", "args": {"to": name}, "result": f"{name} it is"}],
            "expect": {"calls": [{"name": "find", "args": {"to": name}}]},
        }
        for name in ("Oslo", "Rome")
    ]  # fmt: skip
    known = [
        {"prompt": "Find Oslo.", "calls": [{"name": "find", "arguments": {"to": "Oslo"}}], "text": "Oslo."},
        {"prompt": "Find Rome.", "calls": [{"name": "find", "arguments": {"to": "Roma"}}], "text": "Rome."},
    ]
    folder = tiny.suite(
        {"name": "trips", "dataset": "rows.jsonl", "tools": SCENARIO["tools"], "max_tokens": 100}
    ).parent
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    suite = json.loads((folder / "tiny.json").read_text(encoding="utf-8"))
    for each in suite["scenarios"]:
        for key in ("prompt", "iterations"):
            each.pop(key, None)
    (folder / "tiny.json").write_text(json.dumps(suite), encoding="utf-8")
    with served(*known) as server:
        done = tiny.run("--flperf-suite=tiny.json", *at(server))
    case = done.case
    assert {each["id"]: each["score"] for each in case["prompt_scores"]} == {"Oslo": 1.0, "Rome": 0.0}
    assert case["tool_calls"]["conversations"]["without_result"] == 1
    assert case["requests"]["total"] == 4


def test_a_failed_turn_scores_0(tiny: Tiny) -> None:
    """The conversation ends there, and is said to have failed."""
    fault = {"kind": "http_error", "status": 500, "every": 4}
    server = ReferenceServer(ReferenceConfig.from_json({"fault": fault, "answers": [RIGHT]}))
    case = run(tiny, server, iterations=2, warmup=0)
    found = case["tool_calls"]["conversations"]
    assert (found["conversations"], found["failed"], found["answered"]) == (2, 1, 1)
    assert case["answer_quality"]["mean"] == 0.5
    assert case["answer_quality"]["failed"] == 1


def test_a_turn_that_is_retried_scores_0(tiny: Tiny) -> None:
    """As failed requests do; the conversation goes on all the same, and its turns are measured."""
    fault = {"kind": "http_error", "status": 503, "every": 5}
    server = ReferenceServer(ReferenceConfig.from_json({"fault": fault, "answers": [RIGHT]}))
    case = run(tiny, server, iterations=2, warmup=0, retries=1, retry_backoff_s=0)
    assert (case["requests"]["total"], case["requests"]["retries"], case["requests"]["recovered"]) == (6, 1, 1)
    found = case["tool_calls"]["conversations"]
    assert (found["conversations"], found["failed"], found["answered"], found["turns"]) == (2, 1, 1, 3)
    assert case["answer_quality"]["mean"] == 0.5


REFUSED = {
    "tools": ({"tools": None}, "tool_results: found a result of 'book'"),
    "unknown": ({"tool_results": [{"name": "fly", "result": ""}]}, "tool_results: found a result of 'fly'"),
    "no result": ({"tool_results": [{"name": "find"}]}, "tool_results: [0].result: missing"),
    "no list": ({"tool_results": {"find": 1}}, "tool_results: found"),
    "key": ({"tool_results": [{"name": "find", "result": 1, "x": 1}]}, "[0]: unknown key 'x'"),
    "slow": (
        {"tool_results": [{"name": "find", "args": {"to": {"either": [{"regex": "a+"}]}}, "result": 1}]},
        "[0].args: found regex, which may take long",
    ),
    "turns": ({"tool_turns": 1}, "tool_turns: found 1, expected a whole number from 2 to 100"),
    "load": ({"load": "constant", "rate": 1}, "tool_results: found it with load: constant, expected load: closed"),
    "choice": ({"tool_choice": "required"}, "tool_choice: found 'required' with tool_results, expected auto"),
    "expect": ({"expect": {"contains": "x"}}, "expect: found no calls beside tool_results"),
    "fewest": ({"tool_results": [], "expect": {"calls": [], "turns": 2}}, "expect: found turns without tool_results"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(tiny: Tiny, name: str) -> None:
    """Before anything is loaded, with the place."""
    changed, words = REFUSED[name]
    tiny.suite({**SCENARIO, **changed})
    text = tiny.refused("--flperf-suite=tiny.json", "--flperf-base-url=http://127.0.0.1:9")
    assert words in text


def test_rows_with_broken_results_are_refused(tiny: Tiny) -> None:
    """With the line of the row."""
    suite_of_rows(tiny, '{"prompt": "a"}\n{"prompt": "b", "tool_results": [{"name": "find"}]}\n')
    text = tiny.refused("--flperf-suite=tiny.json", "--flperf-base-url=http://127.0.0.1:9")
    assert "rows.jsonl:2: tool_results[0].result: missing" in text


def test_a_killed_run_is_recovered_with_its_conversations(tiny: Tiny) -> None:
    """From the journal and the log alone: the same scores and counts, and a conversation that was cut is not scored."""
    with served(RIGHT, wrong_share=0.5, wrong_by="request", wrong_calls="needless,repeated,text", seed=2) as server:
        tiny.suite({**SCENARIO, "iterations": 8})
        done = tiny.run("--flperf-suite=tiny.json", *at(server))
    case, folder = done.case, done.report
    assert 0 < case["answer_quality"]["mean"] < 1
    (folder / "results.json").unlink()
    log = folder / "run.jsonl"
    lines = [line for line in log.read_text(encoding="utf-8").splitlines() if "result" not in json.loads(line)]
    log.write_text("\n".join(lines) + "\n", encoding="utf-8")
    (found,) = recover(folder).cases
    assert found.tool_calls is not None
    assert found.tool_calls.to_dict() == case["tool_calls"]
    assert found.answer_quality is not None
    assert found.answer_quality.to_dict() == case["answer_quality"]
    journal = folder / "journal.jsonl"
    kept = journal.read_text(encoding="utf-8").splitlines()
    last = [json.loads(line)["index"] for line in kept]
    assert last[-1] % 5
    journal.write_text("\n".join(kept[:-1]) + "\n", encoding="utf-8")
    (found,) = recover(folder).cases
    assert found.tool_calls is not None
    counts = found.tool_calls.conversations
    assert counts is not None
    assert (counts.conversations, counts.cut_short) == (7, 1)


def test_the_plan_counts_conversations(tiny: Tiny) -> None:
    """How many requests they take, nobody knows before."""
    tiny.suite({**SCENARIO, "iterations": 3})
    done = tiny.run(
        "--flperf-suite=tiny.json", "--flperf-dry-run", "--flperf-base-url=http://127.0.0.1:9", "--flperf-model=m"
    )
    assert " 3+ " in done.text
    assert "3 requests and the further turns of conversations" in done.text


def test_not_measured_turn_by_turn(tiny: Tiny) -> None:
    """Against another side a case is skipped, with that reason."""
    with served(RIGHT) as server:
        tiny.suite({**SCENARIO, "iterations": 1}, {"name": "plain"})
        done = tiny.run("--flperf-suite=tiny.json", *at(server), "--flperf-against=temperature=1", "-rs")
    assert "conversations with played tool results are not cut up" in done.text


def test_scorers_know_the_row_of_a_conversation(tiny: Tiny) -> None:
    """Whatever the number of its last request: id, category and question of the row, for functions and the hook."""
    towns = ("New York", "Oslo", "Rome")
    served_rows, rows = [], []
    for town in towns:
        call, prompt = {"name": "find", "args": {"to": town}}, f"Fly me to {town}."
        answered = {"name": "find", "arguments": {"to": town}}
        served_rows.append({"prompt": prompt, "calls": [answered], "text": f"To {town}."})
        checks = [{"calls": [call]}, {"scorer": "towns:named"}]
        results = [{**call, "result": "LH 402"}]
        rows.append(
            {
                "id": town,
                "category": f"to {town}",
                "prompt": prompt,
                "expect": {"checks": checks},
                "tool_results": results,
            }
        )
    suite_of_rows(tiny, "".join(json.dumps(row) + "\n" for row in rows))
    (tiny.folder / "towns.py").write_text(
        "def named(answer):\n"
        "    return answer.category == f'to {answer.id}' and answer.prompt == f'Fly me to {answer.id}.' and "
        "answer.text == f'To {answer.id}.'\n",
        encoding="utf-8",
    )
    tiny.pytester.makeconftest(
        """
        from pathlib import Path

        def pytest_flperf_score(answer):
            with Path("called.txt").open("a") as file:
                file.write(f"{answer.id}, {answer.category}: {answer.prompt} {answer.text}\\n")
        """
    )
    with served(*served_rows) as server:
        done = tiny.run("--flperf-suite=tiny.json", *at(server))
    assert done.ret == 0, done.text
    assert [each["score"] for each in done.case["prompt_scores"]] == [1, 1, 1], done.case["answer_quality"]
    told = (tiny.folder / "called.txt").read_text(encoding="utf-8").splitlines()
    assert told == [f"{town}, to {town}: Fly me to {town}. To {town}." for town in towns]
    assert {each["category"] for each in done.case["answer_quality"]["categories"]} == {f"to {town}" for town in towns}
