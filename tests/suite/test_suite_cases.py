"""Suites multiplied into cases, and the command line's wishes."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_flperf.suite.errors import SuiteError
from pytest_flperf.suite.loader import load_suite, scenario_of
from pytest_flperf.suite.matrix import Overrides, expand
from pytest_flperf.suite.messages import Message, Scalar
from pytest_flperf.suite.model import LoadShape, Scenario, Settings, Suite, Timeouts
from pytest_flperf.suite.setting_limits import check_setting
from pytest_flperf.suite.settings import MATRIX_KEYS


def make_suite(*names: str, matrix: tuple[tuple[str, tuple[Scalar, ...]], ...] = (), **keys: Any) -> Suite:
    """Return a suite with one scenario of each name."""
    scenarios = tuple(Scenario(name, "", (Message("user", "Hi"),), Settings(), **keys) for name in names)
    return Suite("s", "flperf:s", Path("s.yaml"), "", "", scenarios, ("own",), matrix)


def test_models_are_contiguous_and_ids_in_order() -> None:
    """The model is outermost, then the scenario, then the matrix with its last key fastest."""
    suite = make_suite("a", "b", matrix=(("concurrency", (1, 4)), ("temperature", (0.0, 0.5))))
    cases = expand(suite, ["m2", "m1", "m2"])
    assert [case.nodeid for case in cases][:5] == [
        "flperf:s::a[m2-concurrency=1-temperature=0.0]",
        "flperf:s::a[m2-concurrency=1-temperature=0.5]",
        "flperf:s::a[m2-concurrency=4-temperature=0.0]",
        "flperf:s::a[m2-concurrency=4-temperature=0.5]",
        "flperf:s::b[m2-concurrency=1-temperature=0.0]",
    ]
    assert [model for model, _ in itertools.groupby(case.model for case in cases)] == ["m2", "m1"]
    assert len(cases) == 16
    assert cases[2].scenario.settings == Settings(concurrency=4, temperature=0.0)
    assert cases[2].parameters == (("concurrency", 4), ("temperature", 0.0))


def test_suites_own_models_where_none_are_given() -> None:
    """Without models of the run's the suite's are taken; with neither there is no case."""
    assert [case.model for case in expand(make_suite("a"), [])] == ["own"]
    assert expand(replace(make_suite("a"), models=()), ()) == ()


def test_every_matrix_key_reaches_its_setting() -> None:
    """Each key that may stand in a matrix changes the settings of its cases."""
    values: dict[str, Scalar] = dict.fromkeys(MATRIX_KEYS, 3) | {
        "stop": "END",
        "stream": False,
        "reasoning_tags": False,
        "prompt_cache": "reuse",
        "temperature": None,
        "load": "constant",
        "rate_to": None,
        "burstiness": None,
        "burst_size": None,
        "think_time_s": 0,
        "ramp_up_s": 1,
        "cool_down_s": 1,
        "failures": "as_inf",
        "search_over": "rate",
        "search_to": None,
        "reasoning_effort": "low",
        "max_tokens_key": "max_completion_tokens",
        "stream_options": None,
    }
    suite = make_suite("a", matrix=tuple((key, (value,)) for key, value in values.items()))
    (case,) = expand(suite, ["m"])
    assert case.scenario.settings == Settings(
        iterations=3,
        repeat=3,
        warmup=3,
        concurrency=3,
        load=LoadShape(
            "constant",
            rate=3,
            max_in_flight=3,
            search_over="rate",
            search_from=3,
            duration_s=3,
            ramp_up_s=1,
            cool_down_s=1,
        ),
        timeouts=Timeouts(connect_s=3, headers_s=3, first_token_s=3, stall_s=3, total_s=3),
        max_answer_mb=3,
        reasoning_tags=False,
        retries=3,
        retry_backoff_s=3,
        failures="as_inf",
        context_tokens=3,
        max_tokens=3,
        max_tokens_key="max_completion_tokens",
        stream_options=None,
        temperature=None,
        top_p=3,
        top_k=3,
        presence_penalty=3,
        frequency_penalty=3,
        reasoning_effort="low",
        seed=3,
        stop=("END",),
        stream=False,
        prompt_cache="reuse",
    )
    assert case.parameters_id.endswith(
        "-max_tokens_key=max_completion_tokens-temperature=null-top_p=3-top_k=3-presence_penalty=3-frequency_penalty=3-reasoning_effort=low-seed=3-stop=END-stream=false-stream_options=null-context_tokens=3-prompt_cache=reuse"
    )


def test_command_line_wins_and_its_keys_leave_the_matrix() -> None:
    """What the command line sets holds for every case; a matrix over it would make the same case twice."""
    suite = make_suite("a", matrix=(("concurrency", (1, 4)), ("stream", (True, False))), budgets=("b1", "b2"))
    cases = expand(
        suite, ["m"], Overrides(iterations=9, concurrency=2, timeout_s=3.5, temperature=1, budgets=("b2", "b3"))
    )
    assert [case.parameters for case in cases] == [(("stream", True),), (("stream", False),)]
    settings = cases[0].scenario.settings
    assert (settings.iterations, settings.concurrency, settings.timeouts.total_s) == (9, 2, 3.5)
    assert cases[0].scenario.budgets == ("b1", "b2", "b3")
    assert cases[0].scenario.given == {"iterations", "concurrency", "timeout_s", "temperature", "stream"}


def test_no_early_deadline_for_what_does_not_stream() -> None:
    """Without streaming the head comes after the answer is made: only a suite's own deadline holds for it."""
    suite = make_suite("a")
    assert expand(suite, ["m"])[0].scenario.settings.timeouts.headers_s == 60
    assert expand(suite, ["m"], Overrides(stream=False))[0].scenario.settings.timeouts.headers_s is None
    suite = make_suite("a", given=frozenset({"headers_timeout_s"}))
    assert expand(suite, ["m"], Overrides(stream=False))[0].scenario.settings.timeouts.headers_s == 60


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        ({"iterations": 0}, "--flperf-iterations: found 0, expected a whole number from 1 to 1,000,000"),
        ({"warmup": -1}, "--flperf-warmup: found -1, expected"),
        ({"concurrency": 1001}, "--flperf-concurrency: found 1001, expected a whole number from 1 to 1,000"),
        ({"timeout_s": float("nan")}, "--flperf-timeout: found nan, expected a number from 0.001 to 86,400"),
        ({"max_tokens": True}, "--flperf-max-tokens: found true, expected"),
        ({"temperature": 3.0}, "--flperf-temperature: found 3.0, expected a number from 0 to 2"),
        ({"stream": 1}, "--flperf-no-stream: found 1, expected true or false"),
    ],
)
def test_absurd_wishes_are_refused_by_option(wish: dict[str, Any], expected: str) -> None:
    """A value that no suite could have is refused with the name of its option."""
    with pytest.raises(SuiteError) as caught:
        Overrides(**wish)
    assert expected in str(caught.value)


def test_settings_of_python_callers_are_checked() -> None:
    """One setting at a time can be checked, with the words of suite files."""
    check_setting("warmup", None, "here")
    check_setting("prompt_cache", "reuse", "here")
    check_setting("extra", {}, "here")
    with pytest.raises(SuiteError, match=r"here: found nothing \(null\), expected a whole number"):
        check_setting("iterations", None, "here")
    with pytest.raises(SuiteError, match="here: found 5, expected 'avoid' or 'reuse'"):
        check_setting("prompt_cache", 5, "here")


any_text = st.text(st.characters(codec=None, exclude_categories=()), min_size=1)
matrices = st.fixed_dictionaries(
    {},
    optional={
        "seed": st.lists(st.integers(-(2**63), 2**63 - 1) | st.none(), min_size=1, max_size=3, unique=True),
        "temperature": st.lists(st.floats(0, 2), min_size=1, max_size=3, unique=True),
        "stop": st.lists(any_text | st.sampled_from(["x", "x-seed=1", "null"]), min_size=1, max_size=3, unique=True),
        "stream": st.just([True, False]),
    },
)


@given(
    names=st.lists(any_text, min_size=1, max_size=4, unique=True),
    models=st.lists(any_text | st.sampled_from(["m", "m-seed=1", "m-stop=x"]), min_size=1, max_size=3, unique=True),
    matrix=matrices,
)
def test_any_suite_has_fit_and_different_ids(names: list[str], models: list[str], matrix: dict[str, Any]) -> None:
    """Whatever the names: as many cases as the product, all ids different, printable, ASCII in the brackets."""
    suite = make_suite(*names, matrix=tuple((key, tuple(values)) for key, values in matrix.items()))
    cases = expand(suite, models)
    points = 1
    for values in matrix.values():
        points *= len(values)
    assert len(cases) == len(names) * len(models) * points
    assert len({case.nodeid.casefold() for case in cases}) == len(cases)
    for case in cases:
        assert case.parameters_id.isascii()
        assert case.nodeid.isprintable()
        assert case.nodeid.count("::") == case.nodeid.count("[") == case.nodeid.count("]") == 1
        assert not any(character.isspace() for character in case.nodeid)
    backwards = expand(replace(suite, scenarios=suite.scenarios[::-1]), models[::-1])
    assert {case.nodeid for case in backwards} == {case.nodeid for case in cases}


@pytest.mark.parametrize(
    ("asked", "headers_s", "first_token_s"),
    [
        ({"timeout_s": 300}, 300, 300),
        ({"timeout_s": 90}, 60, 60),
        ({"timeout_s": 300, "first_token_timeout_s": 20}, 300, 20),
        ({"timeout_s": 300, "headers_timeout_s": None}, None, 300),
        ({}, 60, 60),
    ],
)
def test_a_longer_total_is_no_empty_promise(
    asked: dict[str, object], headers_s: float | None, first_token_s: float
) -> None:
    """Who gives a request five minutes doesn't mean our own minute for the first token."""
    scenario = scenario_of({"name": "a", "prompt": "x", **asked})
    (case,) = expand(replace(make_suite("a"), scenarios=(scenario,)), ["m"])
    timeouts = case.scenario.settings.timeouts
    assert (timeouts.headers_s, timeouts.first_token_s) == (headers_s, first_token_s)


def test_a_sweep_in_a_scenario(tmp_path: Path) -> None:
    """A list of rates or concurrencies is a case each, of this scenario only, after the matrix."""
    path = tmp_path / "s.yaml"
    path.write_text(
        "defaults: {concurrency: [1, 2]}\nmatrix: {temperature: [0, 1]}\nscenarios:\n"
        "  - {name: a, prompt: Hi}\n  - {name: b, prompt: Hi, concurrency: 3}\n"
        "  - {name: c, prompt: Hi, concurrency: [5], load: poisson, rate: [1, 2.5]}\n"
    )
    suite = load_suite(path, "s.yaml")
    ids = [case.nodeid.partition("::")[2] for case in expand(suite, ["m"])]
    assert ids == [
        *(f"a[m-temperature={t}-concurrency={c}]" for t in ("0.0", "1.0") for c in (1, 2)),
        *(f"b[m-temperature={t}]" for t in ("0.0", "1.0")),
        *(f"c[m-temperature={t}-rate={rate}]" for t in ("0.0", "1.0") for rate in ("1.0", "2.5")),
    ]
    cases = expand(suite, ["m"], Overrides(load={"load": "poisson", "rate": (4.0, 8.0)}, concurrency=7))
    assert {case.scenario.settings.concurrency for case in cases} == {7}
    assert sorted({case.scenario.settings.load.rate for case in cases}) == [4.0, 8.0]
    assert len(cases) == 3 * 2 * 2


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("concurrency: [1, 0]", "scenarios[0].concurrency[1]: found 0, expected a whole number from 1 to 1,000"),
        ("concurrency: 0", "scenarios[0].concurrency: found 0, expected a whole number from 1 to 1,000"),
        ("concurrency: []", "scenarios[0].concurrency: found [], expected a whole number from 1 to 1,000"),
        ("concurrency: [2, 2]", "scenarios[0].concurrency: found 2 more than once"),
        ("rate: [1, x]", "scenarios[0].rate[1]: found 'x', expected a number from 0.001"),
    ],
)
def test_sweeps_that_are_none(tmp_path: Path, line: str, problem: str) -> None:
    """Values of a list are checked like values that stand alone."""
    path = tmp_path / "s.yaml"
    path.write_text(f"scenarios:\n  - name: a\n    prompt: Hi\n    {line}\n")
    with pytest.raises(SuiteError) as caught:
        load_suite(path, "s.yaml")
    assert f"s.yaml:4: {problem}" in str(caught.value)


def test_too_many_cases_by_the_command_line() -> None:
    """A sweep on top of a large matrix is refused before anything is made of it."""
    suite = make_suite("a", matrix=(("seed", tuple(range(200))), ("max_tokens", tuple(range(1, 51)))))
    with pytest.raises(SuiteError, match="more than 10,000 cases"):
        expand(suite, ["m"], Overrides(load={"load": "closed", "concurrency": tuple(range(1, 9))}))
