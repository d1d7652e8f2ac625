"""``--flperf-target``, a suite's ``targets``, ``--flperf-backend``, ``--flperf-backend-option``."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tiny_runs import PLAIN, RecordingServer, Tiny

KEY = "planted-0123456789abcdef"


def written(tiny: Tiny, *targets: dict[str, Any], **more: Any) -> None:
    """A suite with targets."""
    suite = {"name": "tiny", "scenarios": [PLAIN], "targets": list(targets), **more}
    (tiny.pytester.path / "tiny.json").write_text(json.dumps(suite), encoding="utf-8")


def test_side_by_side(tiny: Tiny) -> None:
    """Foundry Local and two servers by their URL in one table; each case knows where it was measured."""
    with RecordingServer() as other:
        url = other.at[0].partition("=")[2]
        written(
            tiny,
            {"model": "flperf-nano"},
            {"backend": "openai", "base_url": tiny.base_url, "model": "reference"},
            {"base_url": url, "model": "reference", "name": "other"},
        )
        done = tiny.run("--flperf-suite=tiny.json")
    assert done.ret == 0, done.text
    assert [(case["model"], case["target"]["backend"]) for case in done.cases] == [
        ("flperf-nano", "foundry"),
        ("openai:reference", "openai"),
        ("other", "openai"),
    ]
    assert [case["target"]["base_url"] for case in done.cases][1:] == [tiny.base_url, url]
    assert done.cases[0]["load_s"] > 0
    assert {request["model"] for request in other.bodies} == {"reference"}


def test_on_the_command_line(tiny: Tiny) -> None:
    """A target beside a model; both ids run again."""
    tiny.suite()
    target = f"--flperf-target=base_url={tiny.base_url},model=reference,name=by-url"
    done = tiny.run("--flperf-suite=tiny.json", "--flperf-model=flperf-nano", target)
    assert done.ret == 0, done.text
    assert [case["nodeid"] for case in done.cases] == ["tiny.json::one[flperf-nano]", "tiny.json::one[by-url]"]


def test_a_model_that_a_target_is_called_by(tiny: Tiny) -> None:
    """``--flperf-model`` picks a target by its name or its model; the rest of them isn't measured."""
    written(tiny, {"base_url": tiny.base_url, "model": "reference", "name": "a"}, {"backend": "ollama", "model": "y"})
    done = tiny.run("--flperf-suite=tiny.json", "--flperf-model=reference")
    assert done.ret == 0, done.text
    assert done.case["model"] == "a"


def test_headers_and_keys(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sent with every request; values from the environment are in no file and not on the screen."""
    monkeypatch.setenv("TEAM_KEY", KEY)
    with RecordingServer(lambda headers: json.dumps({"error": {"message": f"no: {headers}"}})) as server:
        url = server.at[0].partition("=")[2]
        written(tiny, {"base_url": url, "model": "x", "headers": {"X-Team": "a"}, "headers_env": {"X-Key": "TEAM_KEY"}})
        done = tiny.run("--flperf-suite=tiny.json")
    sent = {name.lower(): value for name, value in server.headers[-1].items()}
    assert (sent["x-team"], sent["x-key"]) == ("a", KEY)
    assert KEY not in done.text
    for path in done.report.rglob("*"):
        assert path.is_dir() or KEY.encode() not in path.read_bytes(), path


def test_a_key_that_is_not_there(tiny: Tiny) -> None:
    """An error of that target's cases alone: another machine may have it."""
    written(
        tiny,
        {"base_url": tiny.base_url, "model": "x", "api_key_env": "NOT_SET_HERE"},
        {"base_url": tiny.base_url, "model": "reference"},
    )
    done = tiny.run("--flperf-suite=tiny.json")
    assert done.ret == 1
    assert [case["outcome"] for case in done.cases] == ["error", "passed"]
    assert "'NOT_SET_HERE' is not set" in done.text


@pytest.mark.parametrize(
    ("target", "fault"),
    [
        ({"model": "x", "backend": "olama"}, "backend: found 'olama', expected one of foundry"),
        ({"model": "x", "backend": "openai", "device": "gpu"}, "found device, which the backend openai does not use"),
        ({"model": "x", "base_url": "nonsense"}, "base_url: 'nonsense' begins with neither http:// nor https://"),
        ({"model": "x", "options": {"frobnicate": 1}}, "found 'frobnicate', expected an option of foundry"),
        ({"model": "x", "divice": "gpu"}, "targets[0].divice: unknown key; did you mean 'device'?"),
        ({"model": "x", "device": "tpu"}, "targets[0].device: found 'tpu', expected 'auto', 'cpu', 'gpu' or 'npu'"),
        ({"backend": "foundry"}, "targets[0].model: missing, expected the name of a model"),
    ],
)
def test_targets_that_cannot_be(tiny: Tiny, target: dict[str, Any], fault: str) -> None:
    """One message that names the file, the key and what was expected; exit 4."""
    written(tiny, target)
    message = tiny.refused("--flperf-suite=tiny.json")
    assert fault in message
    assert "tiny.json" in message


def test_two_of_one_name(tiny: Tiny) -> None:
    """Targets that differ must be called differently."""
    written(tiny, {"model": "x", "base_url": "http://127.0.0.1:1/v1"}, {"model": "x"})
    assert "two targets called 'x', expected a different name for each" in tiny.refused("--flperf-suite=tiny.json")


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--flperf-target=frob"], "--flperf-target: found 'frob', expected KEY=VALUE"),
        (["--flperf-target=model=a,model=b"], "--flperf-target: found model twice"),
        (["--flperf-target=model=a,divice=gpu"], "--flperf-target: divice: unknown key; did you mean 'device'?"),
        (["--flperf-backend=olama", "--flperf-model=x"], "--flperf-backend: found 'olama', expected one of foundry"),
        (["--flperf-backend=openai"], "--flperf-backend needs a model"),
        (["--flperf-backend-option=models"], "--flperf-backend-option: found 'models', expected KIND.KEY=VALUE"),
        (["--flperf-backend-option=foundry.frob=1"], "found 'frob', expected an option of foundry"),
        (["--flperf-device=tpu"], "--flperf-device: found 'tpu', expected auto, cpu, gpu or npu"),
        (["--flperf-backend=openai", "--flperf-device=gpu", "--flperf-model=x"], "openai does not use it"),
    ],
)
def test_options_that_cannot_be(tiny: Tiny, arguments: list[str], fault: str) -> None:
    """One message, exit 4."""
    tiny.suite()
    assert fault in tiny.refused("--flperf-suite=tiny.json", *arguments)


def test_a_url_where_nothing_lives(tiny: Tiny) -> None:
    """A base URL beside targets that all say where they live would do nothing."""
    written(tiny, {"base_url": tiny.base_url, "model": "reference"})
    message = tiny.refused("--flperf-suite=tiny.json", "--flperf-base-url=http://127.0.0.1:9/v1")
    assert "--flperf-base-url: every target names its own server" in message


def test_a_backend_of_a_conftest(tiny: Tiny) -> None:
    """A kind that a conftest brings can be asked for by its name; two of one name are refused."""
    tiny.suite()
    conftest = f"""
    from pytest_flperf.backends.base import BackendConfig
    from pytest_flperf.backends.openai import OpenAiBackend
    from pytest_flperf.backends.registry import BackendType

    class Mine(OpenAiBackend):
        name = "mine"

    def make(config):
        assert config.options == {{"flavour": "plum"}}
        return Mine(BackendConfig(base_url={tiny.base_url!r}))

    def pytest_flperf_backends():
        return [BackendType("NAME", make, "my own", options={{"flavour": "of it"}})]
    """
    tiny.pytester.makeconftest(conftest.replace("NAME", "mine"))
    arguments = ("--flperf-suite=tiny.json", "--flperf-backend=mine", "--flperf-model=reference")
    done = tiny.run(*arguments, "--flperf-backend-option=mine.flavour=plum")
    assert done.ret == 0, done.text
    assert done.case["target"]["backend"] == "mine"
    tiny.pytester.makeconftest(conftest.replace("NAME", "openai"))
    done = tiny.run(*arguments)
    assert done.ret == 4
    assert "two backends are named 'openai'" in done.text


def test_a_target_for_a_test_of_ones_own(tiny: Tiny) -> None:
    """The fixture measures the command line's target, by its name or where none is said."""
    tiny.pytester.makepyfile(
        """
        def test_one(flperf):
            assert flperf.model == "here"
            assert flperf.run("Hello", iterations=1, max_tokens=2).case.target.backend == "openai"
            assert flperf.run("Hello", model="here", iterations=1, max_tokens=2).case.model == "here"
        """
    )
    done = tiny.run(f"--flperf-target=base_url={tiny.base_url},model=reference,name=here")
    assert done.ret == 0, done.text
    done = tiny.run("--flperf-backend=olama", "--flperf-model=x")
    assert done.ret == 1
    assert "--flperf-backend: found 'olama', expected one of foundry" in done.text
