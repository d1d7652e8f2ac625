"""Prompts from data sets, templates, traces, sessions, and of a length."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from fault_doubles import RawServer, answer, read_request
from tiny_runs import Done, RecordingServer, Tiny

KEY = re.compile(r"\[[0-9]{9}\] ")
ROWS = [
    {"prompt": "How high is Mont Blanc?", "max_tokens": 7, "place": "Alps"},
    {"prompt": "How long is the Rhine?", "place": "Basel"},
    {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}], "place": "here"},
]


def words(body: dict[str, Any]) -> int:
    """Tokens as a server might count them: two a word, and nine for its chat template."""
    return 9 + sum(2 * len(message["content"].split()) for message in body["messages"])


def scenario(tiny: Tiny, *scenarios: dict[str, Any], **settings: Any) -> None:
    """A suite whose scenarios ask nothing by themselves."""
    plain = {"name": "one", "max_tokens": 2, "warmup": 0}
    document = {"name": "tiny", **settings, "scenarios": [{**plain, **each} for each in scenarios]}
    (tiny.folder / "tiny.json").write_text(json.dumps(document), encoding="utf-8")


def lines(path: Path, *values: Any) -> None:
    """A file in JSON Lines."""
    path.write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")


def asked(tiny: Tiny, *options: str, server: RecordingServer | None = None) -> tuple[Done, list[dict[str, Any]]]:
    """Run, and what was asked in the measured part, in the order of the plan."""
    with server or RecordingServer(count=words) as double:
        done = tiny.run("--flperf-suite=tiny.json", *double.at, *options)
    measured = sum(line["phase"] in ("measured", "outside", "retry") for line in done.journal())
    return done, double.bodies[len(double.bodies) - measured :]


def contents(bodies: list[dict[str, Any]]) -> list[str]:
    """The last message of each request without its unique prefix."""
    return [KEY.sub("", body["messages"][-1]["content"]) for body in bodies]


# ---- data sets and templates


def test_a_data_set(tiny: Tiny) -> None:
    """A row a request, again from the first after the last; a row's own length and system message count."""
    lines(tiny.folder / "rows.jsonl", *ROWS)
    scenario(tiny, {"dataset": "rows.jsonl", "iterations": 5, "warmup": 2})
    done, bodies = asked(tiny)
    assert done.ret == 0, done.text
    first = [row.get("prompt", "Hello") for row in ROWS]
    assert contents(bodies) == [*first, *first[:2]]
    assert [body["max_tokens"] for body in bodies] == [7, 2, 2, 7, 2]
    assert bodies[2]["messages"][0]["role"] == "system"
    assert KEY.sub("", bodies[2]["messages"][0]["content"]) == "Be brief."
    prefixes = {KEY.match(body["messages"][0]["content"])[0] for body in bodies}  # type: ignore[index]
    assert len(prefixes) == 5


def test_the_command_line_sets_all_lengths(tiny: Tiny) -> None:
    """--flperf-max-tokens wins over a data set's own lengths."""
    lines(tiny.folder / "rows.jsonl", *ROWS)
    scenario(tiny, {"dataset": "rows.jsonl", "iterations": 3})
    _, bodies = asked(tiny, "--flperf-max-tokens=3")
    assert {body["max_tokens"] for body in bodies} == {3}


def test_a_shuffled_data_set(tiny: Tiny) -> None:
    """The seed decides the order; every row comes before one comes again."""
    (tiny.folder / "rows.txt").write_text("\n".join(f"Question {n}" for n in range(20)))
    scenario(tiny, {"dataset": "rows.txt", "dataset_order": "shuffled", "iterations": 20})
    first = contents(asked(tiny, "--flperf-seed=a")[1])
    assert sorted(first) == sorted(f"Question {n}" for n in range(20))
    assert first != sorted(first, key=lambda text: int(text.split()[1]))
    assert contents(asked(tiny, "--flperf-seed=a")[1]) == first
    assert contents(asked(tiny, "--flperf-seed=b")[1]) != first


def test_a_template(tiny: Tiny) -> None:
    """Columns and variables are put in; of several values the seed decides."""
    lines(tiny.folder / "rows.jsonl", *ROWS[:2])
    template = "{{ index }}: {{ prompt }} Near {{ place }}, in {{ language|upper }} ({{ tone }})."
    variables = {"language": ["de", "fr", "it"], "tone": "kind"}
    scenario(
        tiny,
        {
            "template": template,
            "dataset": "rows.jsonl",
            "variables": variables,
            "iterations": 12,
            "system": "Be brief.",
        },
    )
    done, bodies = asked(tiny, "--flperf-seed=a")
    assert done.ret == 0, done.text
    texts = [body["messages"][-1]["content"] for body in bodies]
    assert re.fullmatch(r"0: How high is Mont Blanc\? Near Alps, in (DE|FR|IT) \(kind\)\.", texts[0])
    assert {text.partition(", in ")[2][:2] for text in texts} == {"DE", "FR", "IT"}
    assert KEY.sub("", bodies[0]["messages"][0]["content"]) == "Be brief."
    assert [body["messages"][-1]["content"] for body in asked(tiny, "--flperf-seed=a")[1]] == texts


# ---- lengths


def test_lengths_by_the_servers_own_count(tiny: Tiny) -> None:
    """Two requests tell how it counts; prompts then have the length that was asked for, by that count."""
    lengths = {"input_tokens": {"uniform": [100, 300]}, "output_tokens": {"normal": {"mean": 20, "stdev": 5}}}
    scenario(tiny, {**lengths, "iterations": 12})
    done, bodies = asked(tiny)
    assert done.ret == 0, done.text
    found = [words(body) for body in bodies]
    assert all(97 <= tokens <= 303 for tokens in found)
    assert len(set(found)) > 6
    assert len({body["max_tokens"] for body in bodies}) > 3
    assert [line["phase"] for line in done.journal()].count("calibrate") == 2


def test_a_server_that_does_not_count(tiny: Tiny) -> None:
    """Without usage and without a tokenizer no length can be kept: an error that says what to do."""
    scenario(tiny, {"input_tokens": 100})
    with RecordingServer() as server:
        done = tiny.run("--flperf-suite=tiny.json", *server.at)
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    assert "the server doesn't say how many tokens a prompt has; give the scenario a tokenizer" in done.text


def tokenizer_file(folder: Path) -> Any:
    """A byte-level BPE in ``tokenizer.json``."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=600, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(["the water of the river and the light of the morning were calm"] * 50, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    return tokenizer


@pytest.mark.parametrize("cache", ["avoid", "reuse"])
def test_exact_lengths_with_a_tokenizer(tiny: Tiny, cache: str) -> None:
    """Every prompt has exactly the tokens that were asked for, its unique prefix included."""
    tokenizer = tokenizer_file(tiny.folder)
    scenario(
        tiny,
        {"input_tokens": {"uniform": [40, 400]}, "iterations": 10, "prompt_cache": cache, "system": "Be brief."},
        defaults={"tokenizer": "tokenizer.json", "filler": "code"},
    )
    done, bodies = asked(tiny, "--flperf-seed=a")
    assert done.ret == 0, done.text
    found = [sum(len(tokenizer.encode(message["content"]).ids) for message in body["messages"]) for body in bodies]
    assert all(40 <= tokens <= 400 for tokens in found)
    again = {tuple(message["content"] for message in body["messages"]) for body in asked(tiny, "--flperf-seed=a")[1]}
    assert again == {tuple(message["content"] for message in body["messages"]) for body in bodies}
    scenario(tiny, {"input_tokens": 333, "iterations": 3, "tokenizer": "tokenizer.json", "prompt_cache": cache})
    _, bodies = asked(tiny)
    assert [len(tokenizer.encode(body["messages"][0]["content"]).ids) for body in bodies] == [333] * 3
    assert "calibrate" not in {line["phase"] for line in done.journal()}


def test_a_template_that_fails_on_a_late_row(tiny: Tiny) -> None:
    """The first thousand rows are tried before; one behind them fails the case, with the template's words."""
    rows = [{"prompt": "a", "n": 1}] * 1_000 + [{"prompt": "b", "n": "many"}]
    lines(tiny.folder / "rows.jsonl", *rows)
    scenario(
        tiny, {"dataset": "rows.jsonl", "template": "{{ prompt }} {{ n + 1 }}", "iterations": 1_001, "concurrency": 8}
    )
    done, _ = asked(tiny)
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    assert "template: " in done.text
    assert done.case["given_up"]


def test_context_tiers(tiny: Tiny) -> None:
    """Each length is a case of its own; the question stands behind the filler."""
    tokenizer = tokenizer_file(tiny.folder)
    tiers = {
        "context_tokens": [0, 100, 250],
        "prompt": "What was that?",
        "tokenizer": "tokenizer.json",
        "iterations": 2,
    }
    scenario(tiny, tiers)
    done, _ = asked(tiny)
    assert done.ret == 0, done.text
    assert [case["parameters"] for case in done.cases] == [{"context_tokens": n} for n in (0, 100, 250)]
    with RecordingServer(count=words) as server:
        tiny.run("--flperf-suite=tiny.json", *server.at)
    sent = [
        body["messages"][-1]["content"] for body in server.bodies if body["messages"][-1]["content"] != "Say hello."
    ]
    assert all(text.endswith("What was that?") for text in sent)
    assert [len(tokenizer.encode(text).ids) for text in sent[2:]] == [100, 100, 250, 250]


def test_filler_of_tiers_in_a_matrix(tiny: Tiny) -> None:
    """What filler looks like counts wherever the lengths stand."""
    scenario(tiny, {"prompt": "Why?", "filler": "json", "iterations": 1}, matrix={"context_tokens": [100]})
    _, bodies = asked(tiny)
    assert '": ' in bodies[0]["messages"][0]["content"]


def test_lengths_on_the_real_runtime(tiny: Tiny) -> None:
    """Foundry Local counts for itself: tiers come out as asked, and one beyond the model's context is skipped."""
    scenario(
        tiny,
        {
            "context_tokens": [0, 200, 100_000],
            "prompt": "What was that?",
            "iterations": 3,
            "warmup": 1,
            "max_tokens": 4,
        },
    )
    done = tiny.run("--flperf-suite=tiny.json", "--flperf-model=flperf-nano", "-rs")
    assert done.ret == 0, done.text
    plain, filled, beyond = done.cases
    assert plain["metrics"]["prompt_tokens"]["p50"] < 100
    # Tokens per word are learned of two prompts of random words: 0.06 is one standard deviation of what comes out.
    assert filled["metrics"]["prompt_tokens"]["p50"] == pytest.approx(200, rel=0.35)
    assert beyond["outcome"] == "skipped"
    assert "context_tokens 100,000 and 4 for the answer are more than the model's" in done.text


def test_a_shared_prefix(tiny: Tiny) -> None:
    """All prompts begin with the same text of that length and go on with what tells them apart."""
    tokenizer = tokenizer_file(tiny.folder)
    scenario(
        tiny,
        {
            "prompt": "Why?",
            "shared_prefix_tokens": 50,
            "tokenizer": "tokenizer.json",
            "iterations": 4,
            "filler": "json",
        },
    )
    done, bodies = asked(tiny)
    assert done.ret == 0, done.text
    heads, tails = zip(*(body["messages"][0]["content"].split("\n\n[") for body in bodies), strict=True)
    assert len(set(heads)) == 1
    assert len(tokenizer.encode(heads[0]).ids) == 50
    assert len(set(tails)) == 4
    assert all(tail.endswith("] Why?") for tail in tails)


# ---- traces


def test_a_trace(tiny: Tiny) -> None:
    """Requests are due when the trace says, with its prompts and lengths; all of it is played."""
    lines(
        tiny.folder / "trace.jsonl",
        {"timestamp": 5_000, "prompt": "One"},
        {"timestamp": 5_050, "input_length": 60, "output_length": 9, "hash_ids": [1, 2]},
        {"timestamp": 5_050, "messages": [{"role": "user", "content": "Three"}]},
        {"timestamp": 5_120.5, "prompt": "Four", "max_tokens": 5},
    )
    scenario(tiny, {"load": "trace", "trace": "trace.jsonl", "warmup": 1})
    done, bodies = asked(tiny)
    assert done.ret == 0, done.text
    measured = sorted((line for line in done.journal() if line["phase"] == "measured"), key=lambda line: line["index"])
    start = measured[0]["due_ns"]
    assert [line["due_ns"] - start for line in measured] == [0, 50_000_000, 50_000_000, 120_500_000]
    texts = {KEY.sub("", body["messages"][-1]["content"]): body for body in bodies}
    assert {"One", "Three", "Four"} < set(texts)
    assert texts["Four"]["max_tokens"] == 5
    (synthetic,) = [body for text, body in texts.items() if text not in {"One", "Three", "Four"}]
    assert synthetic["max_tokens"] == 9
    assert words(synthetic) == pytest.approx(60, abs=3)
    assert done.case["load"]["shape"] == "trace"
    assert done.case["offered_rate"] is not None
    dry = tiny.run(
        "--flperf-suite=tiny.json", "--flperf-model=m", "--flperf-base-url=http://127.0.0.1:1/v1", "--flperf-dry-run"
    )
    assert re.search(r"one\[m\]\s+4\s+1\s+trace", dry.text), dry.text


def test_a_trace_on_the_command_line(tiny: Tiny) -> None:
    """Whatever a suite asks can be sent when a trace says, with the trace's lengths of answers."""
    lines(
        tiny.folder / "trace.jsonl", {"due_s": 0, "output_length": 4}, {"due_s": 0.02}, {"due_s": 0.04, "prompt": "Own"}
    )
    scenario(tiny, {"prompt": "Hello", "iterations": 9})
    _, bodies = asked(tiny, "--flperf-load=trace,trace=trace.jsonl")
    assert sorted(contents(bodies)) == ["Hello", "Hello", "Own"]
    assert sorted(body["max_tokens"] for body in bodies) == [2, 2, 4]
    refused = tiny.run("--flperf-suite=tiny.json", "--flperf-model=m", "--flperf-load=trace,trace=no.jsonl")
    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    assert "no.jsonl: no such file" in refused.text


def test_a_part_of_a_trace(tiny: Tiny) -> None:
    """A count or a duration ends it early; the scenario's prompt is asked where the trace has none."""
    lines(tiny.folder / "trace.jsonl", *({"due_s": n / 100} for n in range(10)))
    scenario(tiny, {"load": "trace", "trace": "trace.jsonl", "prompt": "Hello", "iterations": 3})
    _, bodies = asked(tiny)
    assert contents(bodies) == ["Hello"] * 3
    scenario(tiny, {"load": "trace", "trace": "trace.jsonl", "prompt": "Hello", "duration_s": 0.045})
    done, _ = asked(tiny)
    assert done.case["requests"]["total"] == 5


# ---- sessions


def test_sessions_keep_their_history(tiny: Tiny) -> None:
    """Each turn holds what was asked and really answered before it; only so many sessions are under way."""
    turns = ["Hi", "And then?", "Thanks"]
    scenario(tiny, {"load": "session", "turns": turns, "system": "Be brief.", "iterations": 12, "concurrency": 2})
    done, bodies = asked(tiny)
    assert done.ret == 0, done.text
    assert done.case["requests"]["ok"] == 12
    by_length: dict[int, list[Any]] = {2: [], 4: [], 6: []}
    for body in bodies:
        by_length[len(body["messages"])].append(body["messages"])
    assert [len(each) for each in by_length.values()] == [4, 4, 4]
    for messages in by_length[6]:
        assert [message["role"] for message in messages[1:]] == ["user", "assistant", "user", "assistant", "user"]
        assert [message["content"] for message in messages[1:]] == ["Hi", "ab", "And then?", "ab", "Thanks"]
        assert KEY.match(messages[0]["content"])
        assert any(messages[:4] == other for other in by_length[4])
    # A session begins only when another one is over.
    order = [len(body["messages"]) for body in bodies]
    under_way = 0
    for length in order:
        under_way += length == 2
        assert under_way <= 2
        under_way -= length == 6


def test_sessions_from_conversations(tiny: Tiny) -> None:
    """A data set's conversations; a count ends the last one in the middle."""
    chats = [
        {
            "conversations": [
                {"from": "human", "value": "A1"},
                {"from": "gpt", "value": "x"},
                {"from": "human", "value": "A2"},
            ]
        },
        {
            "conversations": [
                {"from": "system", "value": "Be brief."},
                *({"from": "human", "value": f"B{n}"} for n in (1, 2, 3)),
            ]
        },
    ]
    lines(tiny.folder / "chats.jsonl", *chats)
    scenario(tiny, {"load": "session", "dataset": "chats.jsonl", "iterations": 4, "think_time_s": 0.01})
    done, bodies = asked(tiny)
    assert done.ret == 0, done.text
    assert contents(bodies) == ["A1", "A2", "B1", "B2"]
    assert bodies[1]["messages"][1] == {"role": "assistant", "content": "ab"}
    assert [message["role"] for message in bodies[3]["messages"]] == ["system", "user", "assistant", "user"]
    assert [line["index"] for line in done.journal() if line["phase"] == "measured"] == [0, 1, 2, 3]


def test_a_session_that_breaks(tiny: Tiny) -> None:
    """A turn that fails ends its session, which is said; with retries it goes on."""

    def behave(connection: Any, number: int) -> None:
        read_request(connection)
        if number == 3:
            connection.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            connection.close()
        else:
            answer(connection)

    def measured(**settings: Any) -> Done:
        scenario(tiny, {"load": "session", "turns": ["1", "2", "3"], "iterations": 9, **settings})
        with RawServer(behave) as server:
            options = (f"--flperf-base-url={server.base_url}", "--flperf-model=m", "-v")
            return tiny.run("--flperf-suite=tiny.json", *options, "--flperf-budget=error_rate <= 50%")

    done = measured()
    assert done.case["requests"]["total"] == 8
    assert "1 session ended early because a turn failed" in done.case["notes"]
    again = measured(retries=1, retry_backoff_s=0)
    assert again.case["requests"]["total"] == 9
    assert again.case["requests"]["recovered"] == 1
    assert not any("session" in note for note in again.case["notes"])


# ---- what can't be


@pytest.mark.parametrize(
    ("keys", "files", "problem"),
    [
        ({"dataset": "no.jsonl"}, {}, "no.jsonl: no such file"),
        ({"dataset": "../x.jsonl"}, {}, "expected a file in the suite's folder or below"),
        ({"dataset": "x.jsonl"}, {"x.jsonl": '{"prompt": "a"}\n{"prompt": 5}\n'}, "x.jsonl:2: found 5"),
        ({"dataset": "x.jsonl"}, {"x.jsonl": '{"prompt": "a"}\nnot json\n'}, "x.jsonl:2: "),
        ({"dataset": "x.csv", "dataset_column": "asks"}, {"x.csv": "ask\nHi\n"}, "did you mean 'ask'"),
        ({"prompt": "a", "dataset": "x.txt"}, {"x.txt": "b"}, "found prompt and dataset, expected exactly one of"),
        ({"prompt": "a", "variables": {"b": 1}}, {}, "scenarios[0].variables: found it without template"),
        ({"template": "{{ nam }}", "variables": {"name": 1}}, {}, "found the variable 'nam', which is not defined"),
        ({"template": "{% for a in range(10**9) %}x{% endfor %}"}, {}, "scenarios[0].template: line 1 of the template"),
        ({"template": "{{ ''.__class__ }}"}, {}, "scenarios[0].template: line 1 of the template"),
        ({"template": "a\n{{ b"}, {}, "scenarios[0].template: line 2 of the template"),
        ({"template": "{# nothing #}"}, {}, "renders to nothing"),
        ({"prompt": "a", "tokenizer": "t.json"}, {"t.json": "{}"}, "t.json: found a file that can't be read as"),
        ({"prompt": "a", "tokenizer": "t.json"}, {}, "t.json: no such file"),
        ({"input_tokens": 0}, {}, "scenarios[0].input_tokens: found 0"),
        ({"input_tokens": {"uniform": [5, 1]}}, {}, "scenarios[0].input_tokens"),
        ({"load": "trace", "prompt": "a"}, {}, "trace: missing, expected a JSON Lines file for load: trace"),
        ({"trace": "t.jsonl", "prompt": "a"}, {"t.jsonl": '{"due_s": 1}'}, "found it with load: closed"),
        (
            {"load": "trace", "trace": "t.jsonl", "prompt": "a"},
            {"t.jsonl": '{"due_s": 1}\n\n{"due_s": 0.5}'},
            "t.jsonl:3: found 0.5 s after 1 s, expected times that don't go back",
        ),
        ({"load": "trace", "trace": "t.jsonl"}, {"t.jsonl": '{"due_s": 1}'}, "found 1 of 1 requests without prompt"),
        ({"load": "trace", "trace": "t.jsonl", "prompt": "a"}, {"t.jsonl": "{}"}, "t.jsonl:1: found no time"),
        ({"load": "trace", "trace": "t.jsonl", "prompt": "a"}, {"t.jsonl": ""}, "t.jsonl: found no request"),
        ({"load": "session", "prompt": "a"}, {}, "turns: missing, expected what the user says"),
        ({"turns": ["a", "b"]}, {}, "turns: found them with load: closed, expected load: session"),
        ({"turns": []}, {}, "scenarios[0].turns: found [], expected a list of one or more strings"),
    ],
)  # fmt: skip
def test_what_can_not_be(tiny: Tiny, keys: dict[str, Any], files: dict[str, str], problem: str) -> None:
    """One message and exit 4 before anything is loaded."""
    for name, text in files.items():
        (tiny.folder / name).write_text(text, encoding="utf-8")
    scenario(tiny, keys)
    done = tiny.run("--flperf-suite=tiny.json", "--flperf-model=flperf-nano")
    assert done.ret == pytest.ExitCode.USAGE_ERROR, done.text
    assert problem in done.text
    assert not (tiny.folder / "reports").exists()
