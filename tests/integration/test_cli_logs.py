"""``flperf logs``: the logs of a run that ended, of one under way, and of none."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest
from tiny_runs import Tiny

from pytest_flperf import cli
from pytest_flperf.results.records import Run


@pytest.fixture
def reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of runs, with an older run."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "reports" / "20261101T000000Z-s-0001", "old.log", "an older run\n", ended=True)
    return tmp_path / "reports"


def write(folder: Path, name: str, text: str, *, ended: bool) -> Path:
    """A run with a log."""
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    (folder / "logs" / name).write_text(text, encoding="utf-8", errors="surrogateescape")
    finish(folder, ended=ended)
    return folder


def finish(folder: Path, *, ended: bool = True) -> None:
    """Write the results of a run, over or under way."""
    moment = "2026-11-01T00:00:00+00:00"
    run = Run(folder.name, moment, moment if ended else None, "passed" if ended else "interrupted")
    (folder / "results.json").write_text(json.dumps(run.to_dict()), encoding="utf-8")


def test_the_newest_run(reports: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each log with its name before it; the last lines only; harmless."""
    folder = write(reports / "20261102T000000Z-s-0002", "b.log", "".join(f"line {n}\n" for n in range(300)), ended=True)
    write(folder, "a.log", "\x1b[31mred\n::error::no\nhalf", ended=True)
    assert cli.main(["logs", "--lines=2"]) == 0
    head, masked, *others = capsys.readouterr().out.splitlines()
    assert (head, others) == ("== a.log ==", ["half", "== b.log ==", "line 298", "line 299"])
    assert masked.endswith("error::no")
    assert not masked.startswith("::")
    assert cli.main(["logs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "== a.log =="
    assert "\x1b" not in "".join(lines)
    assert not any(line.startswith("::") for line in lines)
    assert lines[-1] == "line 299"
    assert lines[-200] == "line 100"
    assert cli.main(["logs", "20261101"]) == 0
    assert capsys.readouterr().out.splitlines() == ["== old.log ==", "an older run"]


def test_the_newest_by_its_time(reports: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As 'latest' means it everywhere: a folder by another name, or a run dated in the future, is not the newest."""
    write(reports / "20261102T000000Z-s-0002", "new.log", "the newest\n", ended=True)
    write(reports / "zz-copied", "copied.log", "a copy\n", ended=True)
    write(reports / "29991102T000000Z-s-0003", "ahead.log", "a clock was wrong\n", ended=True)
    for arguments in (["logs"], ["logs", "latest"]):
        assert cli.main(arguments) == 0
        assert capsys.readouterr().out.splitlines() == ["== new.log ==", "the newest"]


def test_follow(reports: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whole lines as they come, of new logs as well, until the run ends."""
    folder = write(reports / "20261102T000000Z-s-0002", "a.log", "one\n", ended=False)

    def go_on() -> None:
        time.sleep(0.5)
        with (folder / "logs" / "a.log").open("a", encoding="utf-8") as file:
            file.write("tw")
            file.flush()
            time.sleep(0.5)
            file.write("o\n")
        (folder / "logs" / "b.log").write_text("three\n", encoding="utf-8")
        time.sleep(0.5)
        finish(folder)

    thread = threading.Thread(target=go_on)
    thread.start()
    assert cli.main(["logs", "--follow"]) == 0
    thread.join()
    assert capsys.readouterr().out.splitlines() == ["== a.log ==", "one", "two", "== b.log ==", "three"]


def test_a_real_run(tiny: Tiny, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The runtime has a log; a run on a server that was there has none, and that is said."""
    monkeypatch.chdir(tiny.folder)
    tiny.suite()
    assert tiny.measure().ret == 0
    capsys.readouterr()
    assert cli.main(["logs"]) == 0
    assert "started no server that has a log" in capsys.readouterr().out
    assert tiny.run("--flperf-suite=tiny.json", "--flperf-model=flperf-nano").ret == 0
    capsys.readouterr()
    assert cli.main(["logs", "latest"]) == 0
    assert capsys.readouterr().out.startswith("== ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--lines=-1",), "--lines: found -1"),
        (("nothing-like-this",), "nothing-like-this"),
        (("--report-dir=no",), "no run 'latest': there is none in no"),
    ],
)
@pytest.mark.usefixtures("reports")
def test_refused(arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With what was expected."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["logs", *arguments])
    assert ended.value.code == 4
    assert said in capsys.readouterr().err
