"""Runs of scenarios with tools."""

from __future__ import annotations

from typing import Any

from tiny_runs import RecordingServer, Tiny

TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def test_a_model_without_tools_is_skipped(tiny: Tiny) -> None:
    """The embedded models have no tokens for calls: the case is left out with that reason, and others are measured."""
    tiny.suite({"tools": [TOOL]}, {"name": "plain"})
    done = tiny.run("--flperf-suite=tiny.json", "--flperf-model=flperf-nano", "-rs")
    assert done.ret == 0
    assert "1 passed, 1 skipped" in done.counts
    assert "not measured: the scenario offers tools, and flperf-nano takes none (foundry)" in done.text


def test_tools_and_choice_are_sent(tiny: Tiny) -> None:
    """Also with the verifying request; the results name them."""
    tiny.suite({"tools": [TOOL], "tool_choice": "required"})
    with RecordingServer() as server:
        done = tiny.run("--flperf-suite=tiny.json", *server.at)
    assert done.ret == 0
    assert [(each["tools"], each["tool_choice"]) for each in server.bodies] == [([TOOL], "required")] * 2
    assert done.case["settings"]["tools"] == ["weather"]
    assert done.case["settings"]["tool_choice"] == "required"


def test_a_remote_reference_is_refused_before_anything_is_loaded(tiny: Tiny) -> None:
    """It is never fetched: the server that it names hears of nothing."""
    with RecordingServer() as server:
        url = server.at[0].partition("=")[2]
        broken = {"type": "function", "function": {"name": "f", "parameters": {"$ref": f"{url}/schema.json"}}}
        tiny.suite({"tools": [broken]})
        message = tiny.refused("--flperf-suite=tiny.json", *server.at)
        assert server.headers == []
    assert "the parameters of 'f'" in message
    assert "a reference that leads nowhere" in message
