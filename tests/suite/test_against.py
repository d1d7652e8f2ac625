"""The other side of a comparison: what is read, and which case follows from it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.suite.against import opposite, opposite_target, parse_against
from pytest_flperf.suite.errors import SuiteError
from pytest_flperf.suite.loader import scenario_of
from pytest_flperf.suite.matrix import expand
from pytest_flperf.suite.model import Case, Suite
from pytest_flperf.suite.targets import TargetSpec

FLAG = "--flperf-against"


def a_case(target: TargetSpec | None = None) -> Case:
    """A case of one request."""
    scenario = scenario_of({"name": "one", "prompt": "Hello", "max_tokens": 5, "extra": {"a": 1}})
    return expand(Suite("s", "s", Path(), "", "", (scenario,), ()), [target or TargetSpec("m")])[0]


@given(st.text(max_size=60) | st.from_regex(r"[a-z_.]{1,12}=[^,]{0,8}(,[a-z_.]{1,12}=.{0,8})?", fullmatch=True))
def test_any_text(text: str) -> None:
    """It is read, or refused with a text that names the option."""
    refused = ""
    try:
        spec = parse_against(text, FLAG)
    except SuiteError as error:
        refused = str(error)
    else:
        assert opposite(a_case(), spec).scenario.settings.concurrency == 1
    assert not refused or refused.startswith(FLAG)


def test_null() -> None:
    """Takes a parameter out of the other side's requests, which then count as asked for."""
    spec = parse_against("max_tokens=null,temperature=null,stream_options=null,reasoning_effort=null,stream=null", FLAG)
    other = opposite(a_case(), spec).scenario
    settings = other.settings
    assert (settings.max_tokens, settings.temperature, settings.stream_options, settings.stream) == (None,) * 4
    assert other.given >= {"max_tokens", "temperature", "stream_options", "stream"}
    options = parse_against("stream_options.include_usage=false,max_tokens_key=max_completion_tokens", FLAG)
    settings = opposite(a_case(), options).scenario.settings
    assert settings.stream_options == '{"include_usage":false}'
    assert settings.max_tokens_key == "max_completion_tokens"


@pytest.mark.parametrize("text", ["prompt_cache=null", "max_tokens_key=max_new_tokens", "stream_options=3"])
def test_what_null_is_not_for(text: str) -> None:
    """And what is no value at all: refused, with what was expected."""
    with pytest.raises(SuiteError, match=r"--flperf-against: \w+: found .*, expected"):
        parse_against(text, FLAG)


def test_the_same() -> None:
    """Nothing differs."""
    assert opposite(a_case(), parse_against("same", FLAG)) == a_case()


def test_another_model() -> None:
    """With a label of its own, so that the run's other cases of that model are told from it; the rest stays."""
    base = TargetSpec("m", "llamacpp", options={"threads": 2})
    other = opposite(a_case(base), parse_against("n", FLAG))
    assert other.target == TargetSpec("n", "llamacpp", "llamacpp:n (against)", options={"threads": 2})
    assert other.model == "llamacpp:n (against)"
    assert other.nodeid == a_case(base).nodeid, "prompts follow from the id"


def test_another_server() -> None:
    """What is said of one server says nothing of another."""
    base = TargetSpec("m", "llamacpp", options={"threads": 2}, device="cpu")
    other = opposite_target(base, parse_against("base_url=http://127.0.0.1:1/v1", FLAG))
    assert (other.model, other.backend, other.base_url, other.options, other.device) == (
        "m",
        "",
        "http://127.0.0.1:1/v1",
        {},
        None,
    )


def test_other_options() -> None:
    """They are put over those of the case, key by key."""
    base = TargetSpec("m", "llamacpp", options={"threads": 2, "ctx": 8})
    other = opposite_target(base, parse_against("options.threads=4", FLAG))
    assert other.options == {"threads": 4, "ctx": 8}


def test_other_parameters() -> None:
    """Typed as in a suite; the model is the same one."""
    spec = parse_against("max_tokens=7,temperature=0.5,stream=false,stop=x,extra.b=true", FLAG)
    other = opposite(a_case(), spec)
    settings = other.scenario.settings
    assert (settings.max_tokens, settings.temperature, settings.stream, settings.stop) == (7, 0.5, False, ("x",))
    assert settings.extra == {"a": 1, "b": True}
    assert (other.model, other.target) == (a_case().model, a_case().target)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("temprature=1", "did you mean 'temperature'?"),
        ("temperature=warm", "expected a number from 0 to 2"),
        ("stream=2", "stream: found 2"),
        ("iterations=2", "expected a key of a target or of a request"),
        ("concurrency=0", "expected a whole number from 1 to 1,000"),
        ("device=tpu", "device"),
        ("model=a,model=b", "twice"),
        ("=a", "expected KEY=VALUE"),
    ],
)
def test_refused(text: str, said: str) -> None:
    """With what was found and what was expected."""
    with pytest.raises(SuiteError, match=FLAG) as caught:
        parse_against(text, FLAG)
    assert said in str(caught.value)
