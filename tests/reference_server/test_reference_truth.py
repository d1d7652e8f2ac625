"""A reference server that knows the right answers, and is wrong as often and in the way that it is told."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.reference_server import OptionError, ReferenceConfig, ReferenceServer, Schedule
from pytest_flperf.reference_server.mistakes import Asked, drawn
from pytest_flperf.reference_server.pieces import call_pieces
from pytest_flperf.reference_server.truth import DETOURS, MISTAKES, KnownAnswer, PlayedCall

QUICK = {"ttft_ms": 0, "itl_ms": 0}
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
PARIS = {"name": "weather", "arguments": {"city": "Paris", "days": 2}}
KNOWN = [
    {"prompt": "Weather in Paris?", "calls": [PARIS]},
    {"prompt": "Hello", "calls": []},
    {"prompt": "Capital of France?", "text": "Paris"},
]


def serving(answers: Any = KNOWN, **schedule: Any) -> ReferenceServer:
    """A server in this process that knows the answers."""
    config = ReferenceConfig.from_json({"schedule": {**QUICK, **schedule}, "answers": answers})
    return ReferenceServer(config, in_thread=True)


def ask(server: ReferenceServer, prompt: str, **more: Any) -> dict[str, Any]:
    """The choice that a request without streaming is answered with."""
    asked = {"model": "reference", "messages": [{"role": "user", "content": prompt}], **more}
    url = f"{server.base_url}/chat/completions"
    with urllib.request.urlopen(url, json.dumps(asked).encode()) as response:  # noqa: S310 - loopback
        return json.load(response)["choices"][0]


def deltas(server: ReferenceServer, prompt: str, **more: Any) -> list[dict[str, Any]]:
    """The deltas that a streamed request is answered with."""
    asked = {"model": "reference", "messages": [{"role": "user", "content": prompt}], "stream": True, **more}
    url = f"{server.base_url}/chat/completions"
    with urllib.request.urlopen(url, json.dumps(asked).encode()) as response:  # noqa: S310 - loopback
        lines = [line[6:] for line in response.read().decode().splitlines() if line.startswith("data: {")]
    return [choice["delta"] for line in lines for choice in json.loads(line)["choices"]]


def test_right_answers_by_prompt() -> None:
    """Calls where there are tools, a text where none are right, and the text that is known, once."""
    with serving() as server:
        choice = ask(server, "[000000001] Weather in Paris?", tools=TOOLS)
        assert choice["finish_reason"] == "tool_calls"
        assert choice["message"]["content"] is None
        (call,) = choice["message"]["tool_calls"]
        assert (call["function"]["name"], json.loads(call["function"]["arguments"])) == ("weather", PARIS["arguments"])
        for more in ({}, {"tools": TOOLS, "tool_choice": "none"}):
            assert "tool_calls" not in ask(server, "Weather in Paris?", **more)["message"]
        assert "tool_calls" not in ask(server, "Hello", tools=TOOLS)["message"]
        assert ask(server, "Capital of France?", tools=TOOLS)["message"]["content"] == "Paris"


@pytest.mark.parametrize("split", ["whole", "even", "random"])
@pytest.mark.parametrize("form", ["tool_calls", "function_call"])
def test_streamed_calls(split: str, form: str) -> None:
    """However the arguments are cut, they are the same when they are joined."""
    with serving(call_split=split, call_form=form, seed=3) as server:
        found = deltas(server, "Weather in Paris?", tools=TOOLS)
    pieces = [each.get("function_call") or each["tool_calls"][0]["function"] for each in found if {*each} & {form}]
    assert json.loads("".join(piece.get("arguments", "") for piece in pieces)) == PARIS["arguments"]
    assert [piece["name"] for piece in pieces if "name" in piece] == ["weather"]
    assert (len(pieces) == 1) == (split == "whole")


@pytest.mark.parametrize("mistake", MISTAKES)
def test_each_mistake(mistake: str) -> None:
    """Each way to be wrong is the one that was asked for, where a call is right and where none is."""
    with serving(wrong_share=1, wrong_calls=[mistake]) as server:
        message = ask(server, "Weather in Paris?", tools=TOOLS)["message"]
        needless = ask(server, "Hello", tools=TOOLS)["message"]
    called = [call["function"] for call in message.get("tool_calls", ())]
    match mistake:
        case "name":
            assert called[0]["name"] == "other_weather"
        case "arguments":
            assert json.loads(called[0]["arguments"]) == {"city": "Paris or elsewhere", "days": 2}
        case "broken":
            with pytest.raises(ValueError, match=r"delimiter|Expecting"):
                json.loads(called[0]["arguments"])
        case "text":
            assert json.loads(message["content"]) == PARIS
            assert not called
        case _:
            assert message["content"] == "wrong "
            assert not called
    assert ("tool_calls" in needless) == (mistake != "text")
    if mistake == "text":
        assert json.loads(needless["content"]) == {"name": "weather", "arguments": {}}


def wrong_prompts(server: ReferenceServer, count: int = 60) -> set[int]:
    """Which of so many prompts the server answers wrongly."""
    said = {number: ask(server, f"Number {number}?")["message"]["content"] for number in range(count)}
    return {number for number, text in said.items() if text.startswith("no")}


def test_two_servers_are_wrong_about_different_prompts() -> None:
    """Unless both have the same seed: then they are wrong about the same ones, in every run."""
    truth = {"wrong_share": 0.5, "wrong_by": "prompt", "text": "yes ", "wrong_text": "no  ", "tokens": 1}
    with serving(**truth, seed=5) as first, serving(**truth, seed=5) as second, serving(**truth, seed=6) as third:
        assert wrong_prompts(first) == wrong_prompts(second) != wrong_prompts(third)
    with serving(**truth) as first, serving(**truth) as second:
        assert wrong_prompts(first) == wrong_prompts(first)
        assert wrong_prompts(first) != wrong_prompts(second)  # alike once in 2^60


def test_as_often_as_told() -> None:
    """The share of wrong prompts is the one that was asked for."""
    schedule = Schedule(wrong_share=0.1, wrong_by="prompt", calls=(PlayedCall("f"),), wrong_calls=("missing",))
    wrong = 0
    for number in range(2_000):
        asked = Asked(1, f"prompt {number}", ("f",))
        wrong += not drawn(schedule, None, asked, own_seed=7).calls
    assert 150 <= wrong <= 250


@given(
    st.lists(st.builds(PlayedCall, st.text(max_size=20), st.text(max_size=200)), max_size=5),
    st.sampled_from(["whole", "even", "random"]),
    st.integers(1, 9),
    st.integers(0, 99),
)
def test_pieces_join_to_the_calls(calls: list[PlayedCall], split: Any, chars: int, seed: int) -> None:
    """Whatever the calls are, their pieces hold them once and in order."""
    schedule = Schedule(calls=tuple(calls), call_split=split, chars_per_token=chars, seed=seed)
    joined = ["" for _ in calls]
    names: list[str] = []
    for piece in call_pieces(schedule):
        (call,) = json.loads(f"{{{piece.delta}}}")["tool_calls"]
        joined[call["index"]] += call["function"]["arguments"]
        names += [call["function"]["name"]] if "name" in call["function"] else []
    assert (joined, names) == ([each.arguments for each in calls], [each.name for each in calls])


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"schedule": {"calls": "weather"}}, r"schedule\.calls: expected a list"),
        ({"schedule": {"calls": [{"nam": "f"}]}}, r"schedule\.calls\[0\]: unknown key 'nam'"),
        ({"schedule": {"wrong_calls": ["worse"]}}, r"schedule\.wrong_calls: expected some of name, arguments"),
        ({"answers": [{"prompt": "Hi"}]}, r"expected a prompt, and its text or its calls"),
        ({"answers": [{"prompt": "Hi", "said": "x"}]}, r"answers\[0\]: unknown key 'said'"),
        ({"answers": {"Hi": "x"}}, r"config\.answers: expected a list"),
    ],
)
def test_what_can_not_be(config: dict[str, Any], words: str) -> None:
    """A refusal names the key."""
    with pytest.raises(OptionError, match=words):
        ReferenceConfig.from_json(config)


def test_known_answers_travel_as_json() -> None:
    """A child process gets the same configuration."""
    config = ReferenceConfig(Schedule(calls=(PlayedCall("f", "{}"),)), answers=(KnownAnswer("Hi", "Hello"),))
    assert ReferenceConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


TRIP: dict[str, Any] = {
    "prompt": "Book a trip.",
    "calls": [{"name": "find", "arguments": {"to": "Oslo"}}],
    "then": [[{"name": "book", "arguments": {"n": 1}}], [{"name": "pay", "arguments": {}}]],
    "text": "Booked.",
}


def talked(server: ReferenceServer, most: int = 8) -> list[list[str]]:
    """Names of the calls of each turn; the last is empty where the server answered with a text."""
    tools = [{"type": "function", "function": {"name": name}} for name in ("find", "book", "pay")]
    messages: list[dict[str, Any]] = [{"role": "user", "content": "[123456789] Book a trip."}]
    found: list[list[str]] = []
    while len(found) < most:
        message = ask(server, "", messages=messages, tools=tools)["message"]
        calls = message.get("tool_calls", [])
        found.append([f"{call['function']['name']}{call['function']['arguments']}" for call in calls])
        if not calls:
            break
        messages.append(message)
        messages += [{"role": "tool", "tool_call_id": call["id"], "content": "{}"} for call in calls]
    return found


def test_a_conversation() -> None:
    """Each turn has its calls, and the text ends it; ids differ from request to request."""
    with serving([TRIP]) as server:
        assert talked(server) == [['find{"to": "Oslo"}'], ['book{"n": 1}'], ["pay{}"], []]


@pytest.mark.parametrize("by", ["request", "prompt"])
@pytest.mark.parametrize("mistake", DETOURS)
def test_detours(mistake: str, by: str) -> None:
    """Needless, repeated and endless calls; a conversation is right or wrong as a whole."""
    right = [['find{"to": "Oslo"}'], ['book{"n": 1}'], ["pay{}"], []]
    wrong = {
        "needless": [*right[:3], ['pay{"unknown": 1}'], []],
        "repeated": [*right[:3], ["pay{}"], []],
        "endless": [*right[:3], *([["pay{}"]] * 5)],
    }[mistake]
    with serving([TRIP], wrong_share=0.5, wrong_by=by, wrong_calls=[mistake], seed=11) as server:
        found = [talked(server) for _ in range(12)]
    assert all(each in (right, wrong) for each in found)
    if by == "request":
        assert right in found
        assert wrong in found
    else:
        assert found == [found[0]] * 12


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"prompt": "Hi", "text": "x", "then": [[]]}, r"answer\.then: expected it beside calls"),
        ({"prompt": "Hi", "calls": [], "then": [1]}, r"answer\.then\[0\]: expected a list"),
        ({"prompt": "Hi", "calls": [], "then": "x"}, r"answer\.then: expected a list"),
    ],
)
def test_turns_that_can_not_be(answer: dict[str, Any], words: str) -> None:
    """A refusal names the key."""
    with pytest.raises(OptionError, match=words):
        ReferenceConfig.from_json({"answers": [answer]})
