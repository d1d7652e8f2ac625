"""``--flperf-base-url`` and ``--flperf-api-key-env``."""

from __future__ import annotations

import json

import pytest
from tiny_runs import RecordingServer, Tiny

KEY = "sk-planted-0123456789abcdef"


def test_measures(tiny: Tiny) -> None:
    """A server by its URL: one verifying token first, nothing loaded."""
    tiny.suite({"iterations": 3, "warmup": 1})
    done = tiny.measure()
    assert done.ret == 0, done.text
    assert [line["phase"] for line in done.journal()] == ["verify", "warmup", "measured", "measured", "measured"]
    assert done.case["requests"]["ok"] == 3
    assert done.case["load_s"] is None
    assert done.case["target"]["backend"] == "openai"


def test_without_a_model(tiny: Tiny) -> None:
    """A URL without a model is refused."""
    tiny.suite()
    message = tiny.refused("--flperf-suite=tiny.json", "--flperf-base-url=http://127.0.0.1:9/v1")
    assert "--flperf-model" in message


@pytest.mark.parametrize(
    "url", ["localhost:8080", "ftp://x/v1", "http://", "nonsense", "http://x:99999/v1", "http://["]
)
def test_no_url(tiny: Tiny, url: str) -> None:
    """What is no URL is refused, with what was found and what was expected."""
    tiny.suite()
    message = tiny.refused("--flperf-suite=tiny.json", f"--flperf-base-url={url}", "--flperf-model=m")
    assert "--flperf-base-url" in message
    assert "expected" in message


def test_the_key_is_sent(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key is read from the variable and sent as a bearer token."""
    monkeypatch.setenv("MY_KEY", KEY)
    tiny.suite()
    with RecordingServer() as server:
        done = tiny.run("--flperf-suite=tiny.json", *server.at, "--flperf-api-key-env=MY_KEY")
    assert done.ret == 0, done.text
    assert {name.lower(): value for name, value in server.headers[0].items()}["authorization"] == f"Bearer {KEY}"


def test_the_key_is_nowhere(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that echoes the key in its error puts it neither into a file nor on the screen."""
    monkeypatch.setenv("MY_KEY", KEY)
    tiny.suite()

    def echo(headers: dict[str, str]) -> str:
        return json.dumps({"error": {"message": f"bad key: {headers}"}})

    with RecordingServer(echo) as server:
        done = tiny.run(
            "--flperf-suite=tiny.json", *server.at, "--flperf-api-key-env=MY_KEY", "-vv", "--junitxml=j.xml"
        )
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    assert "401" in done.text
    assert KEY not in done.text
    files = [path for path in tiny.folder.rglob("*") if path.is_file()]
    assert len(files) > 3
    assert not [path for path in files if KEY.encode() in path.read_bytes()]


def test_the_key_is_not_listed(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does it come out of a server's refusal to list its models."""
    monkeypatch.setenv("MY_KEY", KEY)
    with RecordingServer(str) as server:
        done = tiny.run("--flperf-list-models", server.at[0], "--flperf-api-key-env=MY_KEY")
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    assert "401" in done.text
    assert KEY not in done.text


def test_the_key_is_missing(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that is not set is refused by its name; so is a key without a URL."""
    monkeypatch.delenv("MY_KEY", raising=False)
    tiny.suite()
    assert "MY_KEY" in tiny.refused("--flperf-suite=tiny.json", *tiny.at, "--flperf-api-key-env=MY_KEY")
    monkeypatch.setenv("MY_KEY", KEY)
    message = tiny.refused("--flperf-suite=tiny.json", "--flperf-api-key-env=MY_KEY")
    assert "--flperf-base-url" in message
    assert KEY not in message


def test_nobody_listens(tiny: Tiny) -> None:
    """A server that is not there: the case is an error that says so."""
    tiny.suite()
    done = tiny.run("--flperf-suite=tiny.json", "--flperf-base-url=http://127.0.0.1:9/v1", "--flperf-model=m")
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    assert done.case["outcome"] == "error"
    assert "127.0.0.1:9" in done.case["message"]
