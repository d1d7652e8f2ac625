"""Requests as JSON, and prompts that no cache knows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.suite.matrix import expand
from pytest_flperf.suite.messages import Message
from pytest_flperf.suite.model import Case, Scenario, Settings, Suite
from pytest_flperf.suite.request_body import extra_body, keyed, request_body, unique_key


def make_case(*messages: Message, **settings: Any) -> Case:
    """Return a case that says *messages*."""
    scenario = Scenario("a", "", messages or (Message("user", "Hi"),), Settings(**settings))
    return expand(Suite("s", "flperf:s", Path("s.yaml"), "", "", (scenario,), ("m",)), ["m"])[0]


def test_body_of_a_streamed_request() -> None:
    """Usage is asked for with a stream; what is not set is not sent."""
    case = make_case(max_tokens=9, temperature=0.0, extra={"top_k": 1})
    assert request_body(case, "m:1") == {
        "model": "m:1",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 9,
        "temperature": 0.0,
    }
    assert extra_body(case) == {"top_k": 1}
    assert extra_body(make_case()) == {}


def test_body_with_everything() -> None:
    """Every setting of the request goes by its name, and no stream options without a stream."""
    case = make_case(stream=False, max_tokens=None, temperature=None, top_p=0.5, seed=7, stop=("a", "b"))
    assert request_body(case, "m") == {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": False,
        "top_p": 0.5,
        "seed": 7,
        "stop": ["a", "b"],
    }


def test_null_takes_a_parameter_out() -> None:
    """Nothing of a request but its model and messages has to be sent."""
    bare = make_case(max_tokens=None, temperature=None, stream=None)
    assert request_body(bare, "m").keys() == {"model", "messages"}
    assert "stream_options" not in request_body(make_case(stream_options=None), "m")
    assert request_body(make_case(stream_options='{"include_usage":false}'), "m")["stream_options"] == {
        "include_usage": False
    }


def test_the_name_of_the_longest_answer() -> None:
    """As the suite has it; in ``extra`` it takes the place of our default, and of no other."""
    named = request_body(make_case(max_tokens_key="max_completion_tokens", max_tokens=5), "m")
    assert named["max_completion_tokens"] == 5
    assert "max_tokens" not in named
    case = make_case(extra={"max_completion_tokens": 7})
    assert "max_tokens" not in request_body(case, "m")
    asked = replace(case, scenario=replace(case.scenario, given=frozenset({"max_tokens"})))
    assert request_body(asked, "m")["max_tokens"] == 150


def test_unique_prefix_begins_the_conversation() -> None:
    """The prefix stands before the first message, since caches match from the start; reuse keeps the prompt."""
    messages = (Message("system", "Be brief."), Message("user", "Hi"))
    contents = [message.content for message in keyed(messages, "123456789", "avoid")]
    assert contents == ["[123456789] Be brief.", "Hi"]
    reused = keyed(messages, "123456789", "reuse")
    assert [message.content for message in reused] == ["Be brief.", "Hi"]


def test_keys_of_a_case_are_all_different() -> None:
    """Ten thousand requests have ten thousand keys of nine digits, other in the next run and case."""
    keys = {unique_key("run", "case", index) for index in range(10_000)}
    assert len(keys) == 10_000
    assert all(len(key) == 9 and key.isdecimal() for key in keys)
    assert unique_key("run", "case", 5) == unique_key("run", "case", 5)
    assert len({unique_key("run", "case", 5), unique_key("run", "other", 5), unique_key("again", "case", 5)}) == 3


def test_neighbours_differ_in_their_first_digits() -> None:
    """A tokenizer that cuts in threes sees another first token in the next request."""
    keys = [unique_key("run", "case", index) for index in range(100)]
    assert len({key[:3] for key in keys}) > 90


@given(st.text(st.characters(codec="utf-8")), st.integers(0, 10**6))
def test_any_prompt_becomes_json(text: str, index: int) -> None:
    """Any text that UTF-8 can hold can be sent, and the case itself stays as it was."""
    case = make_case(Message("user", text))
    messages = keyed(case.scenario.messages, unique_key(text, "case", index), "avoid")
    body = request_body(replace(case, scenario=replace(case.scenario, messages=messages)), "m")
    assert json.loads(json.dumps(body, ensure_ascii=False).encode())["messages"][0]["content"].endswith(text)
    assert case.scenario.messages[0].content == text
