"""Whole runs against servers whose answers are not like OpenAI's: no wrong number, no answer lost."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fault_doubles import HEAD, RawServer, read_request
from tiny_runs import Tiny

PAUSE_S = 0.02


def event(delta: dict[str, Any] | None, finish: str | None = None, **more: Any) -> bytes:
    """One event of a stream."""
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return b"data: " + json.dumps({"id": "x", "model": "m", "choices": choices, **more}).encode() + b"\n\n"


def usage(output: int, **details: int) -> bytes:
    """The last event's token counts."""
    said = {"prompt_tokens": 7, "completion_tokens": output, "total_tokens": 7 + output}
    return event(None, usage={**said, "completion_tokens_details": details})


def texts(*words: str) -> list[bytes]:
    """Events with content."""
    return [event({"content": word}) for word in words]


STOP = event({}, "stop")
DONE = b"data: [DONE]\n\n"


@contextmanager
def streaming(*sends: bytes, asked: list[dict[str, Any]] | None = None) -> Iterator[tuple[str, str]]:
    """A server that answers everything with these sends, a pause between them; options that measure it."""

    def serve(connection: socket.socket, _number: int) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        request = read_request(connection)
        if asked is not None:
            asked.append(json.loads(request.partition(b"\r\n\r\n")[2]))
        connection.sendall(HEAD)
        for send in sends:
            time.sleep(PAUSE_S)
            connection.sendall(send)
        connection.close()

    with RawServer(serve) as server:
        yield f"--flperf-base-url={server.base_url}", "--flperf-model=m"


def test_hidden_reasoning_is_in_no_time_per_token(tiny: Tiny) -> None:
    """Ten texts at 20 ms each, beside 640 tokens that nobody saw."""
    tiny.suite({"name": "one", "iterations": 2})
    sends = [*texts(*(f"w{number} " for number in range(10))), STOP + usage(650, reasoning_tokens=640) + DONE]
    with streaming(*sends) as at:
        case = tiny.run("--flperf-suite=tiny.json", *at).case
    assert case["metrics"]["output_tokens"]["p50"] == 650
    assert case["metrics"]["tpot_ms"]["min"] > 1_000 * PAUSE_S * 0.8


def test_what_came_at_once_is_not_measured(tiny: Tiny) -> None:
    """A proxy that buffers: no TPOT, no ITL, no speed, and a budget on them is missed, with the reason."""
    tiny.suite({"name": "one", "iterations": 2, "budgets": ["tpot_ms.p50 <= 5", "gen_tps.p50 >= 1", "itl_ms.p99 <= 5"]})
    with streaming(b"".join([*texts("a ", "b ", "c "), STOP, usage(3), DONE])) as at:
        done = tiny.run("--flperf-suite=tiny.json", *at)
    assert done.ret == 1
    case = done.case
    assert not {"tpot_ms", "itl_ms", "gen_tps"} & case["metrics"].keys()
    assert case["metrics"]["ttft_ms"]["n"] == 2
    judged = {each["metric"]: each["met"] for each in case["budgets"]}
    assert judged == {"tpot_ms": False, "gen_tps": False, "itl_ms": False, "error_rate": True}
    assert done.text.count("arrived at once") >= 2
    assert "no answer came in two reads or more" in done.text


@pytest.mark.parametrize("tags", [True, False])
def test_expectations_look_behind_reasoning_in_tags(tiny: Tiny, tags: bool) -> None:
    """The answer is what comes after it, unless tags are to be left alone."""
    wish = {} if tags else {"reasoning_tags": False}
    tiny.suite(
        {"name": "one", "iterations": 1, "expect": {"equals": "Paris"}, "budgets": ["quality.mean >= 1"], **wish}
    )
    with streaming(*texts("<think>", "\n", "hm", "\n", "</think>", "\n\n", "Par", "is"), STOP + usage(8) + DONE) as at:
        done = tiny.run("--flperf-suite=tiny.json", *at)
    case = done.case
    assert done.ret == (0 if tags else 1)
    assert case["metrics"]["quality"]["p50"] == (1.0 if tags else 0.0)
    assert case["settings"].get("reasoning_tags", True) is tags
    assert any("(reasoning_tags)" in note for note in case["notes"]) is tags
    waited = case["metrics"]["ttfat_ms"]["p50"] - case["metrics"]["ttft_ms"]["p50"]
    assert waited > 1_000 * PAUSE_S * 5 if tags else waited == 0


def test_reasoning_is_no_part_of_a_chat(tiny: Tiny) -> None:
    """The next turn quotes the answer without it."""
    asked: list[dict[str, Any]] = []
    chat = {"name": "one", "load": "session", "turns": ["Hi", "And?"], "iterations": 2}
    (tiny.folder / "tiny.json").write_text(json.dumps({"name": "tiny", "scenarios": [chat]}), encoding="utf-8")
    with streaming(*texts("<think>hm</think>", "Paris"), STOP + DONE, asked=asked) as at:
        assert tiny.run("--flperf-suite=tiny.json", *at).ret == 0
    assert [each["content"] for each in asked[-1]["messages"] if each["role"] == "assistant"] == ["Paris"]


def test_text_in_an_unknown_field_is_said_once(tiny: Tiny) -> None:
    """Not counted, not silent, and harmless for the terminal."""
    tiny.suite({"name": "one", "iterations": 3})
    with streaming(event({"inner\x1b[31mvoice": "hm"}), *texts("a", "b"), STOP + usage(2) + DONE) as at:
        done = tiny.run("--flperf-suite=tiny.json", *at)
    assert done.ret == 0
    (note,) = [each for each in done.case["notes"] if "unknown field" in each]
    assert "voice" in note
    assert "3 of 3 answers" in note
    assert "\x1b" not in note


def test_tool_calls_are_kept(tiny: Tiny) -> None:
    """With their structure, in the samples."""
    tiny.suite({"name": "one", "iterations": 1})
    pieces = [
        {"index": 0, "id": "c1", "function": {"name": "f", "arguments": ""}},
        {"index": 0, "function": {"arguments": "{}"}},
    ]
    with streaming(*(event({"tool_calls": [each]}) for each in pieces), event({}, "tool_calls") + DONE) as at:
        done = tiny.run("--flperf-suite=tiny.json", *at)
    assert done.ret == 0
    (sample,) = [each for each in done.journal("samples.jsonl") if each["phase"] == "measured"]
    assert sample["tool_calls"] == [{"index": 0, "id": "c1", "name": "f", "arguments": "{}", "cut": False}]
    assert done.case["metrics"]["ttfat_ms"]["n"] == 1


def test_several_choices_are_refused(tiny: Tiny) -> None:
    """Before anything is measured, with what is wrong."""
    tiny.suite({"name": "one", "iterations": 1})
    other = b'data: {"choices": [{"index": 1, "delta": {"content": "x"}, "finish_reason": null}]}\n\n'
    with streaming(*texts("a"), other, STOP + DONE) as at:
        done = tiny.run("--flperf-suite=tiny.json", *at)
    assert done.ret == 1
    assert "several choices (n)" in done.text
