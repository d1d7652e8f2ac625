"""Runs of scenarios with tools."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from tiny_runs import Done, RecordingServer, Tiny

from pytest_flperf.reference_server import ReferenceConfig, ReferenceServer
from pytest_flperf.results.records import load_schema

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
    assert "an unresolvable reference" in message


CITIES = ("Oslo", "Lima", "Bern", "Rome", "Cairo", "Delhi", "Paris", "Quito")


def truth(**schedule: Any) -> ReferenceServer:
    """A server that knows the right call for each city, and that greetings need none."""
    answers = [
        {"prompt": f"Weather in {city}?", "calls": [{"name": "weather", "arguments": {"city": city}}]}
        for city in CITIES
    ]
    given = {"schedule": {"ttft_ms": 0.2, "itl_ms": 0.1, "call_split": "random", "seed": 3, **schedule}}
    return ReferenceServer(ReferenceConfig.from_json({**given, "answers": [*answers, {"prompt": "Hi!", "calls": []}]}))


def scenario(city: str, **more: Any) -> dict[str, Any]:
    """One scenario that expects the call for a city."""
    return {
        "name": city,
        "prompt": f"Weather in {city}?",
        "tools": [TOOL],
        "max_tokens": 100,
        "expect": {"calls": [{"name": "weather", "args": {"city": [city]}}]},
        **more,
    }


def measured(tiny: Tiny, server: ReferenceServer, *arguments: str) -> Done:
    """A run of ``tiny.json`` on a server."""
    at = (f"--flperf-base-url={server.base_url}", "--flperf-model=reference")
    return tiny.run("--flperf-suite=tiny.json", *at, *arguments)


@pytest.mark.parametrize(
    ("mistake", "outcome"),
    [
        ("", "called"),
        ("name", "called"),
        ("arguments", "called"),
        ("missing", "abstained"),
        ("broken", "malformed"),
        ("text", "malformed"),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
def test_each_outcome_is_what_was_played(tiny: Tiny, mistake: str, outcome: str, *, stream: bool) -> None:
    """Streamed in pieces or whole; where a call is right, and where none is."""
    hello = {"name": "hello", "prompt": "Hi!", "expect": {"calls": []}, "stream": stream}
    tiny.suite(scenario("Oslo", stream=stream), {**scenario("Oslo"), **hello})
    wrong = {"wrong_share": 1, "wrong_calls": [mistake]} if mistake else {}
    with truth(**wrong) as server:
        done = measured(tiny, server, "--junitxml=junit.xml")
    jsonschema.validate(done.results, load_schema())
    call, none = done.cases
    found = call["tool_calls"]
    assert (found["answers"], found[outcome]) == (1, 1)
    assert call["metrics"]["quality"]["mean"] == float(not mistake)
    assert found["tool_right"] == float(mistake in ("", "arguments"))
    assert found["argument_right"] == float(not mistake)
    assert found["json_as_text"] == int(mistake == "text")
    assert none["metrics"]["quality"]["mean"] == float(not mistake)
    expected = {"": "abstained", "text": "malformed", "broken": "malformed"}.get(mistake, "called")
    assert (none["tool_calls"][expected], none["tool_calls"]["argument_right"]) == (1, None)
    assert f'name="malformed" value="{int(outcome == "malformed")}"' in (tiny.folder / "junit.xml").read_text()


def test_budgets_on_calls(tiny: Tiny) -> None:
    """Each rate can be limited; where there are no calls to rate, the budget is missed and says why."""
    budgets = ["tool_right >= 90%", "argument_right >= 90%", "abstained <= 10%", "malformed <= 1%"]
    tiny.suite(
        scenario("Oslo", budgets=budgets),
        {"name": "plain", "budgets": ["malformed <= 1%"]},
        {
            **scenario("Lima"),
            "name": "none",
            "prompt": "Hi!",
            "expect": {"calls": []},
            "budgets": ["argument_right >= 1"],
        },
    )
    with truth() as server:
        good, plain, none = measured(tiny, server).cases
        assert [each["met"] for each in good["budgets"][:4]] == [True] * 4
        assert "expects no tool calls" in plain["message"]
        assert "no answer should have called a tool" in none["message"]
    with truth(wrong_share=1, wrong_calls=["text"]) as server:
        done = measured(tiny, server)
    assert [each["met"] for each in done.cases[0]["budgets"][:4]] == [False, False, True, False]
    assert done.cases[0]["tool_calls"]["json_as_text"] == 1


def test_an_answer_of_ten_thousand_calls(tiny: Tiny) -> None:
    """It is scored as what it is, and nothing else of the run is lost."""
    calls = [{"name": "weather", "arguments": {"city": "Oslo"}}] * 10_000
    tiny.suite(scenario("Berlin", max_tokens=1_000_000), scenario("Oslo"))
    with truth(calls=calls, call_split="whole", itl_ms=0, chunks_per_send=1000) as server:
        many, one = measured(tiny, server).cases
    assert (many["outcome"], one["outcome"]) == ("passed", "passed")
    assert many["metrics"]["quality"]["mean"] == 0
    assert (many["tool_calls"]["called"], many["tool_calls"]["malformed"]) == (1, 0)
    assert one["metrics"]["quality"]["mean"] == 1


def test_words_and_calls_are_scored_apart(tiny: Tiny) -> None:
    """A check of the text sees no call, and the calls no text."""
    both = [
        {"calls": [{"name": "weather", "args": {"city": ["Oslo"]}}]},
        {"not_contains": "city", "length": {"max": 0}},
    ]
    tiny.suite(scenario("Oslo", expect={"checks": both}), scenario("Oslo", name="text", expect={"contains": "Oslo"}))
    with truth() as server:
        first, second = measured(tiny, server).cases
    assert first["metrics"]["quality"]["mean"] == 1
    assert second["metrics"]["quality"]["mean"] == 0
    assert second["tool_calls"] is None


@pytest.mark.parametrize(
    ("expect", "words"),
    [
        ({"calls": [{"nam": "f"}]}, "expect.calls: [0]: unknown key 'nam'"),
        (
            {"calls": [{"name": "f", "args": {"x": {"regex": "("}}}]},
            "an argument's pattern that is not a regular expression",
        ),
        ({"calls": [], "order": "some"}, "expect.order: found 'some', expected 'any', 'exact' or 'subsequence'"),
        ({"contains": "x", "order": "any"}, "found order without a check that it is for, expected one of calls"),
        ({"checks": [{"calls": []}, {"calls": []}]}, "found calls in several of the checks"),
        ({"calls": [{"name": "f", "args": {"x": ["{{ city }}"]}}]}, "compared as it is written"),
    ],
)
def test_expected_calls_are_checked_first(tiny: Tiny, expect: dict[str, Any], words: str) -> None:
    """One message and exit 4, before anything is loaded."""
    asks = {"template": "Weather in {{ city }}?", "variables": {"city": "Oslo"}} if "{{" in str(expect) else {}
    tiny.suite({**scenario("Oslo", expect=expect), **asks})
    if asks:
        suite = json.loads((tiny.folder / "tiny.json").read_text())
        del suite["scenarios"][0]["prompt"]
        (tiny.folder / "tiny.json").write_text(json.dumps(suite))
    with RecordingServer() as server:
        assert words in tiny.refused("--flperf-suite=tiny.json", *server.at)
        assert server.bodies == []
