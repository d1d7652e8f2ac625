"""Whole runs on servers with odd addresses, odd lists of models, and ones that are not ready yet."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from fault_doubles import PytestRun, until, write_suite
from server_doubles import Answer, Asked, Double, streamed
from tiny_runs import Tiny

KEY = "k3y-0123456789abcdef"
LOADING = {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}


class Server(Double):
    """Serves one path; all else is not found."""

    api = "/v1"
    listed: Any = None
    """What its list of models is; None: there is none."""
    not_ready: float = 0.0
    """Seconds from its first request on in which it answers 503."""
    also_lists_late = False
    """Whether its list is 503 as well."""
    refusal = Answer(LOADING, 503)
    began = 0.0

    def answer(self, asked: Asked) -> Answer:
        """The list, or a chat."""
        self.began = self.began or time.monotonic()
        path = asked.path.partition("?")[0]
        late = time.monotonic() - self.began < self.not_ready
        if path == f"{self.api}/models" and self.listed is not None:
            return self.refusal if late and self.also_lists_late else Answer(self.listed)
        if path == f"{self.api}/chat/completions" and asked.method == "POST":
            return self.refusal if late else streamed(model=asked.body["model"])
        return Answer({"detail": "Not Found"}, 404)

    @property
    def chats(self) -> list[str]:
        """Paths of chats, in order."""
        return [each.path for each in self.asked if each.method == "POST"]


def listing(*names: str) -> dict[str, Any]:
    """A list as the OpenAI API gives it."""
    return {"object": "list", "data": [{"id": name, "object": "model"} for name in names]}


@pytest.mark.parametrize("where", ["", "/v1"])
@pytest.mark.parametrize("listed", [None, listing("m")])
def test_a_base_url_without_v1(tiny: Tiny, where: str, listed: Any) -> None:
    """Tried as given first; where nothing is there, and below /v1 is, that is taken and said."""
    tiny.suite({"iterations": 2}, {"name": "two"})
    with Server() as server:
        server.listed = listed
        done = tiny.run("--flperf-suite=tiny.json", f"--flperf-base-url={server.root}{where}", "--flperf-model=m")
        assert done.ret == 0, done.text
        tried = ["/chat/completions"] if not where else []
        assert server.chats == [*tried, *["/v1/chat/completions"] * 4]
    for case in done.cases:
        assert case["target"]["base_url"] == f"{server.root}/v1"
        said = f"there is no API at {server.root}: {server.root}/v1 was used instead"
        assert (said in case["notes"]) is not where


def test_a_base_url_that_is_right_without_v1(tiny: Tiny) -> None:
    """Nothing else is asked than what was given."""
    tiny.suite()
    with Server() as server:
        server.api = "/openai/deployments/d"
        url = f"{server.root}/openai/deployments/d/chat/completions?api-version=2024-10-21"
        done = tiny.run("--flperf-suite=tiny.json", f"--flperf-base-url={url}", "--flperf-model=m")
        assert done.ret == 0, done.text
        path = "/openai/deployments/d/chat/completions?api-version=2024-10-21"
        assert server.chats == [path] * 2
    assert done.case["target"]["base_url"] == f"{server.root}/openai/deployments/d?api-version=2024-10-21"
    assert "api-version=2024-10-21" in done.text


def test_an_api_without_v1(tiny: Tiny) -> None:
    """Found where the URL has one too many."""
    tiny.suite()
    with Server() as server:
        server.api, server.listed = "", listing("m")
        done = tiny.run("--flperf-suite=tiny.json", f"--flperf-base-url={server.root}/v1", "--flperf-model=m")
        assert done.ret == 0, done.text
    assert done.case["target"]["base_url"] == server.root
    assert f"there is no API at {server.root}/v1: {server.root} was used instead" in done.case["notes"]


def test_a_site_that_wants_a_key_at_its_root(tiny: Tiny) -> None:
    """It says nothing of the API below it: the first answer counts."""
    tiny.suite()

    class Site(Server):
        def answer(self, asked: Asked) -> Answer:
            return Answer(
                "nothing here" if asked.path.startswith("/v1") else "who?", 404 if "/v1" in asked.path else 403
            )

    with Site() as server:
        done = tiny.run("--flperf-suite=tiny.json", f"--flperf-base-url={server.root}/v1", "--flperf-model=m")
    assert "nothing here" in done.case["message"]
    assert "403" not in done.case["message"]


@pytest.mark.parametrize("path", ["/v1", "/V1", "/chat"])
def test_nothing_below_a_version(tiny: Tiny, path: str) -> None:
    """The error asks whether the URL is right."""
    tiny.suite()
    with Server() as server:
        server.api = "/elsewhere"
        done = tiny.run("--flperf-suite=tiny.json", f"--flperf-base-url={server.root}{path}", "--flperf-model=m")
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    assert "is the base URL right?" in done.case["message"]


def test_nothing_anywhere(tiny: Tiny) -> None:
    """The error says what was tried."""
    tiny.suite()
    with Server() as server:
        server.api = "/elsewhere"
        done = tiny.run("--flperf-suite=tiny.json", f"--flperf-base-url={server.root}/api", "--flperf-model=m")
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    assert f"nor is there an API at {server.root}/api/v1, {server.root}/v1" in done.case["message"]


def test_an_api_below_v1_that_refuses(tiny: Tiny) -> None:
    """Its own words count, and not that there is nothing at the URL as given."""
    tiny.suite()

    class Strict(Server):
        refusal = Answer({"error": {"message": "The model `m` does not exist.", "type": "NotFoundError"}}, 404)
        not_ready = 10_000.0

    with Strict() as server:
        done = tiny.run("--flperf-suite=tiny.json", f"--flperf-base-url={server.root}", "--flperf-model=m")
        assert server.chats == ["/chat/completions", "/v1/chat/completions"]
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    assert f"m at {server.root}/v1 gave no token" in done.case["message"]
    assert "The model `m` does not exist" in done.case["message"]


def test_dry_runs_find_the_default(tiny: Tiny) -> None:
    """Cases have its name before anything is measured."""
    tiny.suite()
    with Server() as server:
        server.listed, server.not_ready, server.also_lists_late = listing("only"), 0.5, True
        for option in ("--flperf-dry-run", "--co"):
            server.began = 0.0
            done = tiny.run("--flperf-suite=tiny.json", f"--flperf-base-url={server.root}", option, "-q")
            assert done.ret == 0, done.text
            assert "one[only]" in done.text
        assert server.chats == []


def test_a_key_in_the_url_is_nowhere(tiny: Tiny) -> None:
    """It goes with every request, and into no file and onto no screen, also where the server repeats it."""
    tiny.suite({"iterations": 2})

    class Echo(Server):
        def answer(self, asked: Asked) -> Answer:
            if asked.path.endswith(f"?a=b&key={KEY}") and len(self.asked) < 3:
                return super().answer(asked)
            return Answer({"error": {"message": f"bad key in {asked.path}"}}, 401)

    with Echo() as server:
        server.listed = listing("m", KEY)
        url = f"--flperf-base-url={server.root}/v1?a=b&key={KEY}"
        done = tiny.run("--flperf-suite=tiny.json", url, "--flperf-model=m", "-vv", "--junitxml=j.xml")
        assert [each.path for each in server.asked if f"?a=b&key={KEY}" not in each.path] == []
        listed = tiny.command("models", f"--base-url={server.root}/v1?a=b&key={KEY}")
        doctor = tiny.command("doctor", f"--base-url={server.root}/v1?a=b&key={KEY}", "--json")
        refused = tiny.run("--flperf-suite=tiny.json", f"{url}#x", "--flperf-model=m")
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    assert "401" in done.text
    assert done.case["target"]["base_url"] == f"{server.root}/v1?a=b&key=***"
    for text in (done.text, listed.stdout.str(), listed.stderr.str(), doctor.stdout.str(), refused.text):
        assert KEY not in text
    files = [path for path in tiny.folder.rglob("*") if path.is_file()]
    assert len(files) > 3
    assert not [path for path in files if KEY.encode() in path.read_bytes()]


def test_the_only_model_is_the_default(tiny: Tiny) -> None:
    """Where nobody names one."""
    tiny.suite()
    with Server() as server:
        server.listed = [{"name": "/models/only-one.gguf"}]
        done = tiny.run("--flperf-suite=tiny.json", f"--flperf-base-url={server.root}")
        assert done.ret == 0, done.text
    assert (done.case["model"], done.case["target"]["model_id"]) == ("only-one", "/models/only-one.gguf")


@pytest.fixture
def placeholder(monkeypatch: pytest.MonkeyPatch) -> str:
    """A key that stands in the name of a model, as people give one where none is needed."""
    monkeypatch.setenv("PLACEHOLDER", "lm-studio")
    return "--flperf-api-key-env=PLACEHOLDER"


def test_a_key_that_is_in_the_name_of_a_model(tiny: Tiny, placeholder: str) -> None:
    """The name is found in the list, requested, and echoed as it is."""
    tiny.suite()
    with Server() as server:
        server.listed = listing("lm-studio-7b", "other")
        at = f"--flperf-base-url={server.root}/v1"
        done = tiny.run("--flperf-suite=tiny.json", at, "--flperf-model=lm-studio-7b", placeholder)
        assert done.ret == 0, done.text
        assert {each.body["model"] for each in server.asked if each.body} == {"lm-studio-7b"}
    assert done.warnings == []


def test_a_key_in_the_name_of_a_file(tiny: Tiny, placeholder: str) -> None:
    """Requested as the server lists it, and shown without the key."""
    tiny.suite()
    with Server() as server:
        server.listed = listing("/lm-studio/model.gguf", "other")
        done = tiny.run(
            "--flperf-suite=tiny.json", f"--flperf-base-url={server.root}/v1", "--flperf-model=model", placeholder
        )
        assert done.ret == 0, done.text
        assert {each.body["model"] for each in server.asked if each.body} == {"/lm-studio/model.gguf"}
    assert done.case["target"]["model_id"] == "/***/model.gguf"
    assert "lm-studio" not in done.text
    assert not [path for path in tiny.folder.rglob("*.json*") if b"lm-studio" in path.read_bytes()]


def test_a_key_in_the_name_of_the_only_model(tiny: Tiny, placeholder: str) -> None:
    """It is no default: it would be in the names of all tests."""
    tiny.suite()
    with Server() as server:
        server.listed = listing("lm-studio-7b")
        message = tiny.refused("--flperf-suite=tiny.json", f"--flperf-base-url={server.root}/v1", placeholder)
    assert "the only one that the server lists has a key of this run in its name" in message
    assert "lm-studio" not in message


def test_the_only_model_is_a_file(tiny: Tiny) -> None:
    """It has the name that a person gives it, so that history has one model; requests name it as it is listed."""
    tiny.suite()
    with Server() as server:
        server.listed = listing("/opt/a folder/Tiny-135M.Q4_1.gguf")
        at = ("--flperf-suite=tiny.json", f"--flperf-base-url={server.root}/v1")
        found = [tiny.run(*at), tiny.run(*at, "--flperf-model=Tiny-135M.Q4_1")]
        assert {each.body["model"] for each in server.asked if each.body} == {"/opt/a folder/Tiny-135M.Q4_1.gguf"}
    assert [done.ret for done in found] == [0, 0]
    assert len({(done.case["nodeid"], done.case["model"]) for done in found}) == 1
    assert found[0].case["model"] == "Tiny-135M.Q4_1"


def test_a_note_on_both_sides_is_said_once(tiny: Tiny) -> None:
    """By the case, and not again by what it was compared with."""
    tiny.suite({"iterations": 2})
    with Server() as server:
        server.listed = listing("/opt/model.gguf")
        done = tiny.run(
            "--flperf-suite=tiny.json", f"--flperf-base-url={server.root}/v1", "--flperf-against=max_tokens=2", "-vv"
        )
    case = done.case
    assert len(case["against"]) == 1
    notes = [*case["notes"], *case["against"][0]["notes"]]
    assert len([note for note in notes if "requests use that name" in note]) == 1


def test_the_only_model_for_a_test(tiny: Tiny) -> None:
    """The server is asked once for all tests, and not for those that name one."""
    tiny.pytester.makepyfile(
        """
        def test_one(flperf):
            flperf.run(prompt="Hello", iterations=1, warmup=0)

        def test_two(flperf):
            flperf.run(prompt="Hello", iterations=1, warmup=0)
        """
    )
    with Server() as server:
        server.listed = listing("only")
        done = tiny.run(f"--flperf-base-url={server.root}/v1")
        assert done.ret == 0, done.text
        assert len(server.paths("/models")) <= 3
    assert {case["model"] for case in done.cases} == {"only"}


def test_several_models_and_none_named(tiny: Tiny) -> None:
    """Their ids are printed, so many as a person reads; a hostile one does nothing to the terminal."""
    tiny.suite()
    with Server() as server:
        server.listed = listing("one", "two\x1b[31m", *(f"m{n}" for n in range(500)))
        message = tiny.refused("--flperf-suite=tiny.json", f"--flperf-base-url={server.root}")
    assert "tiny.json names none: add --flperf-model=NAME; the server lists 502: one, two [31m, m0, " in message
    assert message.endswith("and 492 more")


@pytest.mark.parametrize(("listed", "words"), [(listing(), "the server lists none"), (None, "answered 404")])
def test_no_model_and_none_named(tiny: Tiny, listed: Any, words: str) -> None:
    """Said with what was found."""
    tiny.suite()
    with Server() as server:
        server.listed = listed
        message = tiny.refused("--flperf-suite=tiny.json", f"--flperf-base-url={server.root}/v1")
    assert "add --flperf-model=NAME" in message
    assert words in message


@pytest.mark.parametrize("name", ["model.gguf", "model", "models/model.gguf"])
def test_the_name_of_a_file(tiny: Tiny, name: str) -> None:
    """Requests name the id that the server lists."""
    tiny.suite()
    with Server() as server:
        server.listed = listing("/path/to/models/model.gguf", "other")
        done = tiny.run("--flperf-suite=tiny.json", f"--flperf-base-url={server.root}/v1", f"--flperf-model={name}")
        assert done.ret == 0, done.text
        assert {each.body["model"] for each in server.asked if each.body} == {"/path/to/models/model.gguf"}
    assert done.case["target"]["model_id"] == "/path/to/models/model.gguf"
    assert done.warnings == []


def test_a_name_that_means_two_files(tiny: Tiny) -> None:
    """Sent as it is, for the server may know which; a warning lists them."""
    tiny.suite()
    with Server() as server:
        server.listed = listing("/a/model.gguf", "/b/model.gguf")
        done = tiny.run("--flperf-suite=tiny.json", f"--flperf-base-url={server.root}/v1", "--flperf-model=model")
        assert {each.body["model"] for each in server.asked if each.body} == {"model"}
    assert done.ret == 0, done.text
    assert any("matches several of the server's models: /a/model.gguf, /b/model.gguf" in each for each in done.warnings)


def test_a_name_that_means_two_files_to_a_server_that_knows_neither(tiny: Tiny) -> None:
    """The error has what the name may mean."""
    tiny.suite()

    class Strict(Server):
        refusal = Answer({"error": {"message": "The model `model` does not exist.", "type": "NotFoundError"}}, 404)
        not_ready = 10_000.0

    with Strict() as server:
        server.listed = listing("/a/model.gguf", "/b/model.gguf")
        done = tiny.run("--flperf-suite=tiny.json", f"--flperf-base-url={server.root}/v1", "--flperf-model=model")
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    assert "The model `model` does not exist" in done.case["message"]
    assert "matches several of the server's models: /a/model.gguf, /b/model.gguf" in done.case["message"]


@pytest.mark.parametrize("late_list", [False, True])
@pytest.mark.parametrize(
    "refusal",
    [
        Answer(LOADING, 503),
        Answer({"error": "Model m is currently loading", "estimated_time": 20.0}, 503),
        Answer("", 503, {"Retry-After": "1"}),
    ],
)
def test_a_server_that_loads_is_waited_for(tiny: Tiny, refusal: Answer, *, late_list: bool) -> None:
    """At its list and at the verifying request; the wait is in the notes and in no number."""
    tiny.suite({"iterations": 2}, {"name": "two"})
    with Server() as server:
        server.listed, server.not_ready, server.refusal = listing("m"), 1.5, refusal
        server.also_lists_late = late_list
        done = tiny.run("--flperf-suite=tiny.json", f"--flperf-base-url={server.root}/v1", "--flperf-model=m")
        assert done.ret == 0, done.text
    first, second = done.cases
    assert any("for the server, which was not ready (HTTP 503" in note for note in first["notes"])
    assert not any("not ready" in note for note in second["notes"])
    assert first["requests"]["total"] == first["requests"]["ok"] == 2
    assert first["metrics"]["ttft_ms"]["max"] < 1_500 or done.warnings  # a busy machine


def test_a_server_that_loads_for_too_long(tiny: Tiny) -> None:
    """``load_timeout_s`` ends the wait; the next case doesn't wait again."""
    tiny.suite({"name": "one"}, {"name": "two"})
    with Server() as server:
        server.listed, server.not_ready = listing("m"), 10_000.0
        began = time.monotonic()
        done = tiny.run(
            "--flperf-suite=tiny.json", f"--flperf-base-url={server.root}/v1", "--flperf-model=m",
            "--flperf-backend-option=openai.load_timeout_s=1",
        )  # fmt: skip
        assert time.monotonic() - began < 60
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    assert "Loading model" in done.cases[0]["message"]
    assert "the run waited 1 s" in done.cases[0]["message"]
    assert "the run does not wait for it again" in done.cases[1]["message"]


def test_a_500_that_loads_for_too_long(tiny: Tiny) -> None:
    """The case's own request is tried afterwards; what is said is how long it was waited for."""
    tiny.suite()
    with Server() as server:
        server.listed, server.not_ready = listing("m"), 10_000.0
        server.refusal = Answer({"error": "the model is loading"}, 500)
        done = tiny.run(
            "--flperf-suite=tiny.json", f"--flperf-base-url={server.root}/v1", "--flperf-model=m",
            "--flperf-backend-option=openai.load_timeout_s=1",
        )  # fmt: skip
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    assert "the run waited 1 s" in done.case["message"]


def test_a_permanent_500_is_not_waited_for(tiny: Tiny) -> None:
    """Nor a 400 that repeats the suite's own words."""
    tiny.suite({"prompt": "Why is the model loading?"})
    with Server() as server:
        server.listed, server.not_ready = listing("m"), 10_000.0
        for refusal in (
            Answer({"error": "Exception while loading adapter foo"}, 500),
            Answer({"detail": [{"msg": "bad", "loc": ["body"], "input": "Why is the model loading?"}]}, 400),
        ):
            server.refusal = refusal
            done = tiny.run("--flperf-suite=tiny.json", f"--flperf-base-url={server.root}/v1", "--flperf-model=m")
            assert done.ret == pytest.ExitCode.TESTS_FAILED
            assert "waited for" not in done.text


def test_a_wait_is_shown_and_can_be_interrupted(tmp_path: Path) -> None:
    """Ctrl-C ends it at once, and so does the time of the run."""
    write_suite(tmp_path, {"name": "one"})
    with Server() as server:
        server.listed, server.not_ready = listing("m"), 10_000.0
        at = (f"--flperf-base-url={server.root}/v1", "--flperf-model=m")
        with PytestRun(tmp_path, *at) as run:
            until(lambda: server.chats, "the verifying request")
            run.process.send_signal(2)
            assert run.end() == pytest.ExitCode.INTERRUPTED, run.output
        with PytestRun(tmp_path, *at, "--flperf-max-time=10s") as run:
            assert run.end() != 0
            assert "the run's time is up" in run.output


def test_models_and_doctor_wait_too(tiny: Tiny) -> None:
    """And take what is below /v1."""
    with Server() as server:
        server.listed, server.not_ready, server.also_lists_late = listing("m"), 1.0, True
        listed = tiny.command("models", f"--base-url={server.root}", "--json")
        assert [each["model_id"] for each in json.loads(listed.stdout.str())] == ["m"]
        server.began = 0.0
        found = tiny.command("doctor", f"--base-url={server.root}", "--json")
        assert found.ret == 0, found.stdout.str()
        server.listed = None
        found = tiny.command("doctor", f"--base-url={server.root}", "--model=m", "--json")
        assert found.ret == 0, found.stdout.str()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer("<html><title>Hi</title></html>", headers={"Content-Type": "text/html"}), "HTML page ('Hi')"),
        (Answer("", 302, {"Location": "https://sso.example/login?x=1"}), "redirect to a login page"),
        (Answer('{"a": 1}\n{"b": 2}\n'), "NDJSON"),
        (Answer("who?", 401), "answered 401"),
    ],
)
def test_what_a_list_is_in_place_of_one(tiny: Tiny, answer: Answer, words: str) -> None:
    """A warning where requests work; an error that says what to do where the list is all that is asked for."""
    tiny.suite()

    class Odd(Server):
        def answer(self, asked: Asked) -> Answer:
            return answer if asked.method == "GET" else super().answer(asked)

    with Odd() as server:
        done = tiny.run("--flperf-suite=tiny.json", f"--flperf-base-url={server.root}/v1", "--flperf-model=m")
        listed = tiny.command("models", f"--base-url={server.root}/v1")
    assert done.ret == 0, done.text
    assert any(words in line for line in done.warnings), done.text
    assert listed.ret == 1
    assert words in " ".join(listed.stderr.str().split())
