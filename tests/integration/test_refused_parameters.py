"""Servers that refuse parameters, in whole runs: what is said of it, where, and how often."""

from __future__ import annotations

import pytest
from strict_server import StrictServer, forbidden, reasoning_model
from tiny_runs import Done, Tiny


def run(tiny: Tiny, server: StrictServer, *arguments: str) -> Done:
    """Run ``tiny.json`` on a server."""
    at = (f"--flperf-base-url={server.base_url}", "--flperf-model=m")
    return tiny.run("--flperf-suite=tiny.json", *at, *arguments)


def test_a_reasoning_model(tiny: Tiny) -> None:
    """Two cases, one line that warns, and each case's results say what was sent."""
    tiny.suite({"max_tokens": 90}, {"name": "two", "max_tokens": 80})
    with StrictServer(reasoning_model, hidden=64) as server:
        done = run(tiny, server)
    assert done.ret == 0, done.text
    (line,) = [each for each in done.warnings if "parameters" in each]
    assert "temperature left out (our default, which the server refuses) on m" in line
    assert "max_tokens → max_completion_tokens (the server refuses max_tokens) on m" in line
    for case, limit in zip(done.cases, (90, 80), strict=True):
        assert case["requests"]["ok"] == 1
        assert {each["parameter"]: each["sent"] for each in case["adjusted"]} == {
            "temperature": None,
            "max_tokens_key": "max_completion_tokens",
        }
        assert case["settings"]["max_tokens"] == limit
        assert "temperature" not in case["settings"]
    assert len(server.refused) == 2


def test_what_was_asked_for(tiny: Tiny) -> None:
    """The case fails, in words that say what to do, and does so with the command line's word for it."""
    tiny.suite({"temperature": 0.3})
    with StrictServer(reasoning_model) as server:
        done = run(tiny, server)
        assert done.ret == pytest.ExitCode.TESTS_FAILED
        assert "The server refuses temperature, which the suite asks for: null" in done.case["message"]
        assert run(tiny, server, "--flperf-temperature=null", "--flperf-max-tokens=20").ret == 0


def test_a_choice_of_tools(tiny: Tiny) -> None:
    """It falls back to auto only by wish, and the results say so; else the case fails."""
    tools = [{"type": "function", "function": {"name": "weather"}}]
    tiny.suite({"tools": tools, "tool_choice": ["required", "auto"]})
    with StrictServer(forbidden("tools", "temperature", "max_tokens", "stream_options")) as server:
        done = run(tiny, server)
        assert done.ret == 0, done.text
        (adjusted,) = done.case["adjusted"]
        assert (adjusted["parameter"], adjusted["asked"], adjusted["sent"]) == ("tool_choice", "'required'", "auto")
        (line,) = [each for each in done.warnings if "parameters" in each]
        assert "tool_choice 'required' → auto (the server refuses it) on m" in line
        assert "tool_choice" not in server.answered[-1]
        tiny.suite({"tools": tools, "tool_choice": "required"})
        assert run(tiny, server).ret == pytest.ExitCode.TESTS_FAILED


def test_two_sides(tiny: Tiny) -> None:
    """Each side of a comparison is sent as its server takes it."""
    tiny.suite({"max_tokens": 90})
    with StrictServer(reasoning_model, hidden=16) as server, StrictServer(forbidden("max_tokens")) as other:
        against = f"--flperf-against=base_url={other.base_url}"
        done = run(tiny, server, against, "--flperf-max-iterations=12")
    assert done.case["requests"]["ok"] >= 4, done.text
    assert {frozenset(body) for body in server.answered} == {
        frozenset({"model", "messages", "stream", "stream_options", "max_completion_tokens"})
    }
    assert {frozenset(body) for body in other.answered} == {frozenset({"model", "messages", "stream", "max_tokens"})}
    assert not [body for body in other.answered if body["max_tokens"] not in (16, 90)]


def test_a_search(tiny: Tiny) -> None:
    """Every load that is tried is sent so."""
    tiny.suite({"load": "search", "search_to": 2, "duration_s": 0.2, "budgets": "ttft_ms.p50 <= 60000", "retries": 1})
    with StrictServer(forbidden("temperature", "max_tokens")) as server:
        done = run(tiny, server)
    assert done.case["requests"]["ok"] > 1, done.text
    assert len(server.refused) == 1
    assert {frozenset(body) for body in server.answered} == {
        frozenset({"model", "messages", "stream", "temperature", "max_tokens"})
    }
