"""``flperf import-tools``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_flperf import cli

QUESTION = {
    "id": "irrelevance_0",
    "question": [[{"role": "user", "content": "Hi"}]],
    "function": [{"name": "f", "description": "", "parameters": {"type": "dict", "properties": {}}}],
}


def test_writes_a_suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It says what was written and what was left out."""
    monkeypatch.chdir(tmp_path)
    several = {**QUESTION, "id": "multi_0", "question": [[], []]}
    Path("q.json").write_text(f"{json.dumps(QUESTION)}\n{json.dumps(several)}\n", encoding="utf-8")
    assert cli.main(["import-tools", "q.json", "-o", "out.yaml"]) == 0
    assert capsys.readouterr().out == "written: out.yaml, out.jsonl (1 prompt)\nleft out: 1 with several turns\n"
    assert cli.main(["import-tools", "q.json", "-o", "out.json", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"written": ["out.json", "out.jsonl"], "prompts": 1, "left_out": {"several turns": 1}}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["q.json"], "-o/--output"),
        (["q.json", "-o", "out.txt"], "expected a file that ends in .json, .yaml, .yml"),
        (["missing.json", "-o", "out.json"], "missing.json: no such file"),
        (["q.json", "-o", "out.json"], "q.json: can't be read as JSON"),
    ],
)
def test_bad_usage(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit 4, one message, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    Path("q.json").write_text("{", encoding="utf-8")
    with pytest.raises(SystemExit) as ending:
        cli.main(["import-tools", *arguments])
    assert ending.value.code == pytest.ExitCode.USAGE_ERROR
    assert words in capsys.readouterr().err
    assert sorted(each.name for each in tmp_path.iterdir()) == ["q.json"]


def test_a_folder_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 1: it could not be done."""
    (tmp_path / "q.json").write_text(json.dumps(QUESTION), encoding="utf-8")
    assert cli.main(["import-tools", str(tmp_path / "q.json"), "-o", str(tmp_path / "no" / "out.json")]) == 1
    assert "was not written: No such file" in capsys.readouterr().err
