"""Before a case is measured: the server answers a request of its kind, sent as the server takes it."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strict_server import (
    Refusal,
    StrictServer,
    forbidden,
    no_streams,
    older_api,
    openai_error,
    reasoning_model,
)

from pytest_flperf.backends.base import BackendError, OnProgress, Served
from pytest_flperf.backends.openai import OpenAiBackend
from pytest_flperf.loadgen.plan import Destination, RequestPlan
from pytest_flperf.measurement.recording import Recorder
from pytest_flperf.measurement.request_plans import CasePlans
from pytest_flperf.measurement.runner import Bench, NotReadyError
from pytest_flperf.measurement.verifying import Verifier
from pytest_flperf.results.journal import JournalReader
from pytest_flperf.results.records import CaseResult
from pytest_flperf.results.redaction import Redactor
from pytest_flperf.results.run_folder import RunFolder
from pytest_flperf.suite.loader import scenario_of
from pytest_flperf.suite.matrix import Overrides, expand
from pytest_flperf.suite.model import Case, Suite
from pytest_flperf.wire.decode import decode
from pytest_flperf.wire.endpoint import Endpoint
from pytest_flperf.wire.exchange import Exchange, Phase
from pytest_flperf.wire.requests import RequestFactory
from pytest_flperf.wire.sample import Sample


def case_of(overrides: Overrides | None = None, **settings: Any) -> Case:
    """A case of two requests."""
    asks = {} if settings.keys() & {"prompt", "dataset", "trace", "turns", "input_tokens"} else {"prompt": "Hello"}
    scenario = scenario_of({"name": "one", "iterations": 2, "warmup": 0, **asks, **settings})
    return expand(Suite("s", "s", Path(), "", "", (scenario,), ("m",)), ["m"], overrides)[0]


def measured(server: StrictServer, *cases: Case) -> list[CaseResult]:
    """Measure cases, which come out whole."""
    with Bench(OpenAiBackend.at(server.base_url)) as bench:
        results = [bench.run(case).result for case in cases]
    assert all(result.requests.ok == 2 for result in results)
    return results


def problem(server: StrictServer, case: Case) -> str:
    """Why a case could not be measured."""
    with Bench(OpenAiBackend.at(server.base_url)) as bench, pytest.raises(NotReadyError) as caught:
        bench.run(case)
    return str(caught.value)


def adjusted(result: CaseResult) -> dict[str, tuple[str, str | None]]:
    """What was sent otherwise."""
    return {each.parameter: (each.asked, each.sent) for each in result.adjusted}


def test_of_the_cases_kind() -> None:
    """Its parameters and its extra, a short question and sixteen tokens; nothing of our own."""
    with StrictServer(lambda _: None) as server:
        measured(server, case_of(top_p=0.5, stop="END", seed=3, stream=False, extra={"min_p": 0.1}, temperature=None))
        (verifying,) = server.verifying
        other = server.bodies[-1]
        assert verifying == other | {"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 16}
        assert other.keys() == {"model", "messages", "stream", "max_tokens", "top_p", "stop", "seed", "min_p"}


def test_once_for_each_parameter_set() -> None:
    """Another temperature is another one; another length of answers, or another prompt, is none."""
    cases = [case_of(), case_of(max_tokens=30), case_of(prompt="Bye"), case_of(temperature=0.5), case_of(seed=1)]
    with StrictServer(lambda _: None) as server:
        measured(server, *cases, *cases)
        assert [(body["temperature"], body.get("seed")) for body in server.verifying] == [
            (0, None),
            (0.5, None),
            (0, 1),
        ]


def test_a_reasoning_model() -> None:
    """The newer name, no temperature, and hidden thoughts that use up sixteen tokens: measured, and said."""
    with StrictServer(reasoning_model, hidden=64) as server:
        first, second = measured(server, case_of(), case_of(max_tokens=100))
        assert adjusted(first) == {
            "temperature": ("0.0", None),
            "max_tokens_key": ("max_tokens", "max_completion_tokens"),
        }
        assert adjusted(second) == adjusted(first)
        assert len(server.refused) == 2, "it is found out once"
        assert [body["max_completion_tokens"] for body in server.answered] == [16, 150, 150, 150, 100, 100]
        assert len({body["messages"][0]["content"] for body in server.answered[:4]}) == 4, "none is in a cache"
    assert "temperature" not in first.settings
    assert any("max_completion_tokens (the server refuses max_tokens)" in note for note in first.notes)


def test_every_request_of_the_case_is_sent_so(tmp_path: Path) -> None:
    """Those that learn how tokens are counted, turns of chats, rows and traces with lengths of their own."""
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"prompt": f"Say {n}", "max_tokens": 90 + n}) + "\n" for n in range(2)))
    trace = tmp_path / "trace.jsonl"
    trace.write_text("".join(json.dumps({"due_s": 0, "prompt": f"{n}", "max_tokens": 80 + n}) + "\n" for n in range(2)))
    with StrictServer(reasoning_model, hidden=64) as server, pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        measured(
            server,
            case_of(input_tokens=20),
            case_of(load="session", turns=["One", "Two"]),
            case_of(dataset="rows.jsonl"),
            case_of(load="trace", trace="trace.jsonl"),
        )
        measured_limits = [body["max_completion_tokens"] for body in server.bodies[-8:]]
    assert not [body for body in server.answered if "max_tokens" in body or "temperature" in body]
    assert sorted(measured_limits[-4:]) == [80, 81, 90, 91]
    assert measured_limits[:4] == [150] * 4


def test_what_the_suite_asks_for_is_not_dropped() -> None:
    """The server's words, and what to do."""
    with StrictServer(reasoning_model) as server:
        said = problem(server, case_of(temperature=0.7))
        assert "does not support 0.7" in said
        assert "refuses temperature, which the suite asks for: null in its place" in said
        measured(server, case_of(temperature=None), case_of(temperature=1))


def test_what_the_command_line_asks_for_is_not_dropped() -> None:
    """As what a suite does."""
    with StrictServer(reasoning_model) as server:
        assert "refuses temperature" in problem(server, case_of(Overrides(temperature=0.0)))


def test_stream_options_are_refused() -> None:
    """Ours are left out and said; a suite's own are not."""
    with StrictServer(forbidden("max_tokens", "temperature")) as server:
        (result,) = measured(server, case_of())
        assert adjusted(result) == {"stream_options": ("{'include_usage': True}", None)}
        assert [body.keys() for body in server.refused] == [server.bodies[0].keys()]
        said = problem(server, case_of(stream_options={"include_usage": True}))
        assert "refuses stream_options, which the suite asks for" in said
        (result,) = measured(server, case_of(stream_options=None))
        assert result.adjusted == ()


def test_all_of_ours_at_once() -> None:
    """A server that takes next to nothing."""
    with StrictServer(forbidden()) as server:
        (result,) = measured(server, case_of())
        assert server.bodies[-1].keys() == {"model", "messages", "stream"}
        assert adjusted(result).keys() == {"stream_options", "temperature", "max_tokens"}
        said = problem(server, case_of(max_tokens=20))
        assert "refuses max_tokens, by either name, which the suite asks for: null" in said


def test_an_older_api() -> None:
    """The newer name is refused: the older one is sent, even where a suite names the newer, and it is said."""
    with StrictServer(older_api) as server:
        named, passed, usual = measured(
            server,
            case_of(max_tokens_key="max_completion_tokens", max_tokens=40),
            case_of(extra={"max_completion_tokens": 30}),
            case_of(),
        )
        assert adjusted(named)["max_tokens_key"] == ("max_completion_tokens", "max_tokens")
        assert adjusted(passed)["max_tokens_key"] == ("max_completion_tokens", "max_tokens")
        assert "max_tokens_key" not in adjusted(usual)
        assert [body["max_tokens"] for body in server.answered] == [16, 40, 40, 30, 30, 16, 150, 150]


def test_the_newer_name_in_extra_is_the_only_one() -> None:
    """Our default is not sent beside it: servers refuse both together."""
    with StrictServer(reasoning_model) as server:
        (result,) = measured(server, case_of(temperature=None, extra={"max_completion_tokens": 30}))
        assert result.adjusted == ()
        assert [body["max_completion_tokens"] for body in server.bodies] == [16, 30, 30]


@pytest.mark.parametrize("refuse", [no_streams, lambda _: None])
def test_a_server_that_does_not_stream(refuse: Any) -> None:
    """Whole answers are asked for from the first request on, where the suite says so; else it is told to."""
    with StrictServer(refuse, streams=False) as server:
        (result,) = measured(server, case_of(stream=False))
        assert {body["stream"] for body in server.bodies} == {False}
        assert result.metric("ttft_ms") is None
        measured(server, case_of(stream=None))
        assert "stream" not in server.bodies[-1]
        if refuse is no_streams:
            assert "`stream: false`" in problem(server, case_of())
        else:
            measured(server, case_of())


def test_a_server_that_does_not_know_the_word() -> None:
    """It refuses ``stream`` whatever its value."""

    def refuse(body: Mapping[str, Any]) -> Refusal | None:
        return openai_error("Unrecognized request argument supplied: stream") if "stream" in body else None

    with StrictServer(refuse) as server:
        assert "`stream: null` in the suite" in problem(server, case_of(stream=False))
        measured(server, case_of(stream=None))


def test_a_case_that_is_refused_takes_no_other_with_it() -> None:
    """The first of all, or one after others; requests like it are not tried for ever."""
    with StrictServer(reasoning_model) as server, Bench(OpenAiBackend.at(server.base_url)) as bench:
        for number in range(4):
            with pytest.raises(NotReadyError, match="refuses temperature" if number < 2 else "not tried again after 2"):
                bench.ready(case_of(temperature=0.7))
        asked = len(server.bodies)
        with pytest.raises(NotReadyError, match="not tried again after 2"):
            bench.ready(case_of(temperature=0.7, max_tokens=9))
        assert len(server.bodies) == asked
        assert bench.run(case_of()).result.requests.ok == 2
        with pytest.raises(NotReadyError, match="refuses temperature"):
            bench.ready(case_of(temperature=0.8))
        asked = len(server.bodies)
        assert bench.run(case_of()).result.requests.ok == 2
        assert len(server.bodies) == asked + 2


def test_null_takes_everything_out() -> None:
    """A request of nothing but a model and messages, also where a data set has lengths."""
    bare = {"max_tokens": None, "temperature": None, "stream": None, "stream_options": None}
    with StrictServer(forbidden()) as server:
        (result,) = measured(server, case_of(**bare))
        assert result.adjusted == ()
        assert {frozenset(body) for body in server.bodies} == {frozenset({"model", "messages"})}


def test_null_and_lengths_of_a_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Null takes those of rows out as well; ``output_tokens`` in the scenario asks for some."""
    (tmp_path / "rows.jsonl").write_text('{"prompt": "Hi", "max_tokens": 9}\n')
    monkeypatch.chdir(tmp_path)
    with StrictServer(lambda _: None) as server:
        measured(server, case_of(dataset="rows.jsonl", max_tokens=None))
        assert not [body for body in server.bodies if "max_tokens" in body]
        measured(server, case_of(max_tokens=None, output_tokens=12))
        assert [body["max_tokens"] for body in server.bodies[-3:]] == [16, 12, 12]


def test_a_question_that_only_the_case_has() -> None:
    """JSON mode wants the word in the messages: the case's own request is sent before the case is given up."""

    def refuse(body: Mapping[str, Any]) -> Refusal | None:
        if "json" in body["messages"][-1]["content"]:
            return None
        return openai_error("'messages' must contain the word 'json' in some form, to use 'response_format'")

    extra = {"response_format": {"type": "json_object"}}
    with StrictServer(refuse) as server:
        measured(server, case_of(prompt="Answer in json", extra=extra))
        assert len(server.bodies) == 4
        said = problem(server, case_of(extra=extra))
        assert "must contain the word" in said
        assert "Sent although no suite asks for it: max_tokens, stream_options, temperature" in said


def test_thoughts_that_use_up_the_cases_own_answer() -> None:
    """The case is given up, with what to do."""
    with StrictServer(lambda _: None, hidden=500) as server:
        said = problem(server, case_of())
        assert "length_zero" in said
        assert "a higher max_tokens" in said
        assert [body["max_tokens"] for body in server.bodies] == [16, 150]


def test_a_parameter_is_named_without_a_known_word() -> None:
    """In whatever language: the only one of ours that is named is left out."""

    def refuse(body: Mapping[str, Any]) -> Refusal | None:
        return openai_error("temperature 参数有误") if "temperature" in body else None

    with StrictServer(refuse) as server:
        (result,) = measured(server, case_of())
        assert adjusted(result) == {"temperature": ("0.0", None)}


def thinking(body: Mapping[str, Any]) -> Refusal | None:
    """Refuses our temperature beside ``thinking`` only."""
    if "thinking" in body and body.get("temperature", 1) != 1:
        return openai_error("`temperature` may only be set to 1 when thinking is enabled.")
    return None


@pytest.mark.parametrize("turned", [False, True])
def test_what_one_case_finds_out_changes_no_other(*, turned: bool) -> None:
    """In whatever order: a parameter that is refused beside another is sent where that isn't."""
    cases = [case_of(extra={"thinking": {"type": "enabled"}}), case_of(), case_of(seed=1)]
    with StrictServer(thinking) as server:
        measured(server, *(reversed(cases) if turned else cases))
        sent = {("thinking" in body, body.get("seed"), body.get("temperature")) for body in server.answered}
    assert sent == {(True, None, None), (False, None, 0), (False, 1, 0)}


def test_one_of_two_that_exclude_each_other() -> None:
    """Ours is left out, and the one that was asked for is sent."""

    def refuse(body: Mapping[str, Any]) -> Refusal | None:
        if {"temperature", "top_p"} <= body.keys():
            return openai_error("`temperature` and `top_p` cannot both be specified for this model. Use only one.")
        return None

    with StrictServer(refuse) as server:
        (result,) = measured(server, case_of(top_p=0.5))
        assert adjusted(result) == {"temperature": ("0.0", None)}
        assert server.bodies[-1]["top_p"] == 0.5


@pytest.mark.parametrize(
    "words", ["max_tokens: nope", "max_tokens wird hier nicht gern gesehen", "max_tokens이 잘못됨"]
)
def test_the_limit_is_named_alone(words: str) -> None:
    """Without a known word: the other name is tried once."""

    def refuse(body: Mapping[str, Any]) -> Refusal | None:
        return openai_error(words) if "max_tokens" in body else None

    with StrictServer(refuse) as server:
        (result,) = measured(server, case_of(max_tokens=40))
        assert adjusted(result) == {"max_tokens_key": ("max_tokens", "max_completion_tokens")}
        assert len(server.refused) == 1


def test_a_limit_that_is_too_small() -> None:
    """The case's own is sent, by the same name, though both are named."""

    def refuse(body: Mapping[str, Any]) -> Refusal | None:
        words = "max_tokens is too small; set max_tokens or max_completion_tokens to 32 or more"
        return openai_error(words) if body.get("max_tokens", 99) < 32 else None

    with StrictServer(refuse) as server:
        (result,) = measured(server, case_of())
        assert result.adjusted == ()
        assert [body["max_tokens"] for body in server.bodies] == [16, 150, 150, 150]


def test_a_limit_that_is_too_large() -> None:
    """By one name as by the other: it is not sent by one that the server may not look at."""

    def refuse(body: Mapping[str, Any]) -> Refusal | None:
        words = "max_tokens 16 is not supported. The maximum supported is 8"
        return openai_error(words) if body.get("max_tokens", 0) > 8 else None

    with StrictServer(refuse) as server:
        assert "The maximum supported is 8" in problem(server, case_of(max_tokens=99))
        assert not [body for body in server.bodies if "max_completion_tokens" in body]


def test_a_server_that_only_streams() -> None:
    """The suite is told to ask for that."""

    def refuse(body: Mapping[str, Any]) -> Refusal | None:
        words = "This model only support stream mode, please enable the stream parameter to access the model."
        return None if body.get("stream") else openai_error(words)

    with StrictServer(refuse) as server:
        assert "`stream: true` in the suite" in problem(server, case_of(stream=False))
        assert "`stream: true` in the suite" in problem(server, case_of(stream=None))
        measured(server, case_of())


def test_a_server_that_wants_a_key() -> None:
    """How to give one is said."""
    with StrictServer(lambda _: (401, {"error": {"message": "Invalid token"}})) as server:
        said = problem(server, case_of())
    assert "Invalid token" in said
    assert "--flperf-api-key-env" in said


def test_streaming_is_not_implemented() -> None:
    """501 is no sign of a wrong URL then."""

    def refuse(body: Mapping[str, Any]) -> Refusal | None:
        return (501, {"error": "Streaming not implemented"}) if body.get("stream") else None

    with StrictServer(refuse) as server:
        said = problem(server, case_of())
        assert "`stream: false` in the suite" in said
        assert "nor is there an API" not in said
        measured(server, case_of(stream=False))


def refusal(body: Mapping[str, Any], refuses: set[str], style: str) -> str:
    """The words of a server that refuses these; empty where it doesn't."""
    names = sorted(refuses & body.keys())
    if not names:
        return ""
    if style == "first":
        return json.dumps({"error": {"message": f"Unknown parameter: '{names[0]}'.", "param": names[0]}})
    if style == "list":
        return f"Unsupported parameters: {', '.join(names)}"
    return json.dumps({"detail": [{"type": "extra_forbidden", "loc": ["body", name]} for name in names]})


PARAMETERS = ("max_tokens", "max_completion_tokens", "temperature", "stream_options", "min_p", "cache_prompt")


@settings(deadline=None)
@given(st.sets(st.sampled_from(PARAMETERS)), st.sampled_from(("first", "list", "each")), st.booleans(), st.booleans())
def test_any_server(refuses: set[str], style: str, by_extra: bool, explicit: bool) -> None:
    """It is sent what it takes, within a few tries; or the case is given up because somebody asked for the rest."""
    keys: dict[str, Any] = {"temperature": 1, "max_tokens": 9} if explicit else {}
    case = case_of(**keys, extra={"min_p": 0.1} if by_extra else {})
    served = Served("mine", "m", "m", ENDPOINT, request_defaults={"cache_prompt": False})
    plans = CasePlans(case, served, factory(), Destination(()), "seed")
    bodies: list[dict[str, Any]] = []

    def one(plan: RequestPlan) -> Sample:
        (entry,) = plan.entries
        bodies.append(json.loads(entry.request.partition(b"\r\n\r\n")[2]))
        words = refusal(bodies[-1], refuses, style)
        return answered(words or CHAT, 400 if words else 200)

    in_vain = ({"temperature"} if explicit else set()) | ({"min_p"} if by_extra else set())
    in_vain &= refuses
    in_vain |= {"max_tokens"} if explicit and {"max_tokens", "max_completion_tokens"} <= refuses else set()
    if in_vain:
        with pytest.raises(BackendError, match="null"):
            Verifier().verify(plans, served, Phase.VERIFY, one, str)
    else:
        found, sample = Verifier().verify(plans, served, Phase.VERIFY, one, str)
        assert sample.ok
        assert not refuses & bodies[-1].keys()
        assert {each.parameter for each in found.adjustments} >= (refuses & {"temperature", "stream_options"})
    assert len(bodies) <= 8


ENDPOINT = Endpoint.parse("http://127.0.0.1:9/v1")
CHAT = json.dumps({"choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}]})


@functools.cache
def factory() -> RequestFactory:
    """One for all examples: making it takes a while."""
    return RequestFactory(ENDPOINT)


def answered(body: str, status: int) -> Sample:
    """A decoded answer with this body."""
    raw = f"HTTP/1.1 {status} Words\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
    times = dict.fromkeys(("connect_ns", "started_ns", "sent_ns", "finished_ns"), 1)
    numbers = {"index": 0, "target": 0, "slot": 0, "due_ns": None, "clock_moved_ns": 0, **times}
    reads = {"read_arrival_ns": [2], "read_lag_ns": [], "read_bytes": [len(raw)], "clock_source": "user"}
    other = {"phase": "verify", "stream": True, "ending": "complete", "detail": "", "raw": raw.decode("latin-1")}
    return decode(Exchange.from_record({**numbers, **reads, **other}))


class Loading(OpenAiBackend):
    """Says that it has loaded the model."""

    def ensure(self, model: str, on_progress: OnProgress) -> Served:
        """As the server has it, just loaded."""
        return replace(super().ensure(model, on_progress), load_s=0.1, generation=1)


@pytest.mark.parametrize(
    ("hidden", "phases", "is_known"), [(0, ["cold"] * 3, True), (64, ["cold"] * 3 + ["verify"], False)]
)
def test_the_first_answer_after_a_load(hidden: int, phases: list[str], is_known: bool, tmp_path: Path) -> None:
    """What is refused has made no model work; what was answered without a text has, and its time is not known."""
    with StrictServer(reasoning_model, hidden=hidden) as server:
        backend = Loading.at(server.base_url)
        with Bench(backend, Recorder(RunFolder(tmp_path), Redactor())) as bench:
            result = bench.run(case_of()).result
    found = [record["phase"] for record in JournalReader(tmp_path / "journal.jsonl")]
    assert found == [*phases, "measured", "measured"]
    assert (result.cold_ttft_ms is not None) is is_known
