"""``flperf …``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_flperf import cli


@pytest.mark.parametrize("arguments", [[], ["nope"], ["schema", "nope"], ["serve-reference", "--nope"]])
def test_bad_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Bad usage exits 4, as with pytest, and says what was expected."""
    with pytest.raises(SystemExit) as ending:
        cli.main(arguments)
    assert ending.value.code == pytest.ExitCode.USAGE_ERROR
    assert "error: " in capsys.readouterr().err


@pytest.mark.parametrize("which", ["suite", "results"])
def test_schema(which: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The schemas are printed as JSON."""
    assert cli.main(["schema", which]) == 0
    assert json.loads(capsys.readouterr().out)["type"] == "object"


def test_as_a_module(tmp_path: Path) -> None:
    """``python -m pytest_flperf`` is ``flperf`` where no PATH holds it, and calls itself what was typed."""

    def said(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pytest_flperf", *arguments],
            cwd=tmp_path, env={**os.environ, "PATH": ""}, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip

    schema = said("schema", "results")
    assert (schema.returncode, schema.stderr) == (0, "")
    assert json.loads(schema.stdout)["type"] == "object"
    wrong = said("show", "--nope")
    assert wrong.returncode == pytest.ExitCode.USAGE_ERROR
    assert wrong.stderr.startswith("usage: python -m pytest_flperf ")
    assert "\npython -m pytest_flperf: error: " in wrong.stderr
