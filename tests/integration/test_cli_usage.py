"""``flperf …``."""

from __future__ import annotations

import json

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
