"""``flperf suites`` and ``flperf models``."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from tiny_runs import RecordingServer, Tiny

from pytest_flperf import cli
from pytest_flperf.reference_server import ReferenceServer


def test_suites(tiny: Tiny, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The same list as --flperf-list-suites, of the current folder or another."""
    tiny.suite(file="suites/mine.json", description="About mine")
    (tiny.folder / "suites" / "broken.json").write_text("{")
    listed = tiny.run("--flperf-list-suites").lines
    capsys.readouterr()
    monkeypatch.chdir(tiny.folder)
    assert cli.main(["suites"]) == 0
    assert capsys.readouterr().out.splitlines() == listed
    assert cli.main(["suites", "--json", f"--rootdir={tiny.folder}"]) == 0
    found: dict[str, dict[str, Any]] = {each["name"]: each for each in json.loads(capsys.readouterr().out)}
    assert set(found) == {"mine", "broken", "default", "quick", "tools"}
    assert found["mine"]["scenarios"] == 1
    assert found["mine"]["error"] is None
    assert found["broken"]["scenarios"] is None
    assert found["broken"]["error"]


def test_models_of_a_server(reference: ReferenceServer, capsys: pytest.CaptureFixture[str]) -> None:
    """What the server lists, as a table or as JSON."""
    assert cli.main(["models", f"--base-url={reference.base_url}"]) == 0
    assert any(line.startswith("reference ") for line in capsys.readouterr().out.splitlines())
    assert cli.main(["models", f"--base-url={reference.base_url}", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert "reference" in [each["alias"] for each in found]
    assert found[0]["source"] == "server"


def test_models_of_no_server(capsys: pytest.CaptureFixture[str]) -> None:
    """A server that is not there: one line, exit 1."""
    assert cli.main(["models", "--base-url=http://127.0.0.1:9/v1"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("flperf models: error: GET http://127.0.0.1:9/v1/models failed")


def test_key_is_never_shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that repeats the key finds it masked."""
    monkeypatch.setenv("MY_KEY", "sesame-open-1234")
    with RecordingServer(refuse=str) as server:
        assert cli.main(["models", server.at[0].replace("--flperf-", "--"), "--api-key-env=MY_KEY"]) == 1
    said = capsys.readouterr().err
    assert "401" in said
    assert "sesame" not in said


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--base-url=nonsense"], "--base-url: "),
        (["--catalog-url=nonsense"], "--catalog-url: "),
        (["--api-key-env=PATH"], "--api-key-env is for --base-url"),
        (["--base-url=http://127.0.0.1:9/v1", "--api-key-env=NOT_SET"], "'NOT_SET' is not set"),
    ],
)
def test_bad_usage(arguments: list[str], fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What can't be is refused before anything is asked, exit 4."""
    with pytest.raises(SystemExit) as ending:
        cli.main(["models", *arguments])
    assert ending.value.code == pytest.ExitCode.USAGE_ERROR
    assert fault in capsys.readouterr().err


def test_embedded_models(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a server: Foundry Local's, the embedded ones among them, and a catalog that is not there is said."""
    assert cli.main(["models", "--catalog-url=http://127.0.0.1:9/"]) == 0
    out = capsys.readouterr().out
    assert "flperf-nano" in out
    assert "without internet only the embedded models can run" in out


def test_no_pytest(pytester: pytest.Pytester) -> None:
    """The command works without pytest being imported."""
    code = (
        "import sys; from pytest_flperf import cli; cli.main(['suites']); "
        "import pytest_flperf.report.html.pages, pytest_flperf.report.markdown, pytest_flperf.report.csv; "
        "print('pytest' in sys.modules, '_pytest' in sys.modules)"
    )
    assert pytester.run(sys.executable, "-c", code).outlines[-1] == "False False"
