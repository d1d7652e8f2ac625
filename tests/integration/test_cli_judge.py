"""``flperf judge``: from a run that pytest measured to verdicts, and every way in which that can't be."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from judge_double import NONSENSE, JudgeServer
from server_doubles import free_port
from tiny_runs import Tiny

from pytest_flperf import cli
from pytest_flperf.reference_server import JudgeBias, ReferenceConfig, ReferenceServer, Schedule

sys.path.append(str(Path(__file__).parents[1] / "session"))
from judged_runs import a_run

BAD_USAGE = 4


QUICK = Schedule(ttft_ms=0, itl_ms=0)


def judging(bias: JudgeBias) -> ReferenceServer:
    """A reference server that judges."""
    return ReferenceServer(ReferenceConfig(QUICK, models=("judge",), judge=bias), in_thread=True)


@pytest.fixture(scope="module")
def server() -> Iterator[ReferenceServer]:
    """A fair judge."""
    with judging(JudgeBias()) as running:
        yield running


@pytest.fixture
def remembering() -> Iterator[JudgeServer]:
    """A fair judge that keeps what it was asked."""
    with JudgeServer() as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of two models in ``reports/run``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "140")
    path = tmp_path / "reports" / "20261101T000000Z-run"
    a_run(path, {"nano": ["[5] a", "[2] b", None], "pico": ["[3] c", "[4] d", "[4] e"]})
    return path


def at(server: ReferenceServer | JudgeServer) -> str:
    """The judge's target."""
    return f"--judge=model=judge,base_url={server.base_url}"


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The last line of a refusal with exit status 4."""
    with pytest.raises(SystemExit) as ending:
        cli.main(arguments)
    assert ending.value.code == BAD_USAGE
    return capsys.readouterr().err.splitlines()[-1]


def test_a_measured_run(tiny: Tiny, remembering: JudgeServer, monkeypatch: pytest.MonkeyPatch,
                        capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    """What pytest measured can be judged: questions without prefixes, each once, and the answers as they came."""
    rows = '{"id": "fr", "category": "west", "question": "France"}\n{"question": "Italy"}\n'
    (tiny.folder / "d.jsonl").write_text(rows, encoding="utf-8")
    asked = {"dataset": "d.jsonl", "template": "The capital of {{ question }}?", "system": "Be brief."}
    scenario = {"name": "one", **asked, "iterations": 4, "warmup": 1, "max_tokens": 2}
    (tiny.folder / "tiny.json").write_text(json.dumps({"name": "tiny", "scenarios": [scenario]}), encoding="utf-8")
    done = tiny.measure()
    prompts = done.journal("prompts.jsonl")
    assert [each["messages"][1]["content"] for each in prompts] == ["The capital of France?", "The capital of Italy?"]
    assert [each["indices"] for each in prompts] == [[0, 2], [1, 3]]
    assert [(each.get("row"), each.get("category")) for each in prompts] == [("fr", "west"), (None, None)]
    measured = [each for each in done.journal("samples.jsonl") if each["phase"] == "measured"]
    monkeypatch.chdir(tiny.folder)
    capsys.readouterr()
    assert cli.main(["judge", at(remembering)]) == 0
    assert "Judged one by one by judge (openai) with the default rubric" in capsys.readouterr().out
    assert len(remembering.judge.prompts) == 2
    assert "[system]\nBe brief.\n\n[user]\nThe capital of France?\n" in remembering.judge.prompts[0]
    assert measured[0]["output_text"] in remembering.judge.prompts[0]
    assert not [each for each in remembering.judge.prompts if "reference" in each]
    before = done.results
    assert cli.main(["show"]) == 0
    assert "Judged one by one by judge" in capsys.readouterr().out
    assert done.results == before


def test_the_request(folder: Path, remembering: JudgeServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Temperature 0, the length that was asked for, one user message."""
    assert cli.main(["judge", at(remembering), "--max-tokens=77", "--answers=2"]) == 0
    asked = {(body["temperature"], body["max_tokens"], len(body["messages"])) for body in remembering.bodies}
    assert asked == {(0, 77, 1)}
    shown = capsys.readouterr().out
    nano, pico = (line.split() for line in shown.splitlines() if re.match(r"(nano|pico) ", line))
    assert nano[:2] == ["nano", "3.50"]
    assert pico[:2] == ["pico", "3.67"]
    assert "No labels: nobody has tried this judge" in shown
    assert "single prompts on which the models differ most" in shown
    assert (folder / "judged.json").exists()


def test_pairwise(folder: Path, server: ReferenceServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Both orders, as JSON; and a run against another."""
    assert cli.main(["judge", "latest", at(server), "--pairwise", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["pairwise"]["scores"]
    assert (row["wins"], row["losses"], row["no_answer"], row["flips"]) == (1, 1, 1, 0)
    other = folder.parent / "20261102T000000Z-other"
    a_run(other, {"nano": ["[1] x", "[1] y", "[1] z"]})
    assert cli.main(["judge", str(folder), at(server), f"--against={other}"]) == 0
    assert "nano in 20261101T000000Z-run" in capsys.readouterr().out.replace("…", "-run")
    assert cli.main(["show", str(folder)]) == 0
    assert "Judged in pairs by judge" in capsys.readouterr().out
    assert cli.main(["report", str(folder)]) == 0
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert '<h2 id="judged">Judged</h2>' in page
    assert "Judged in pairs by judge (openai)" in page
    (folder / "judged.json").write_text("{}", encoding="utf-8")
    capsys.readouterr()
    assert cli.main(["report", str(folder)]) == 0
    assert "judged.json is not a file of flperf judge, or was changed: run:" in capsys.readouterr().err
    assert 'id="judged"' not in (folder / "report.html").read_text(encoding="utf-8")


def labels(path: Path, folder: Path, *, right: bool = True) -> str:
    """Labels as a person would fill them in."""
    assert cli.main(["judge", str(folder), f"--write-labels={path}"]) == 0
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for line in lines:
        line["verdict"] = "pass" if ("[5]" in line["answer"]) == right else "fail"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return f"--labels={path}"


def test_fail_under(folder: Path, server: ReferenceServer, capsys: pytest.CaptureFixture[str]) -> None:
    """The lower end counts: 60 of 80 right are at least 60 %, not 75 %; labels the other way round prove nothing."""
    run = folder.parent / "20261103T000000Z-many"
    a_run(run, {"nano": [f"[5] {n}" for n in range(60)] + [f"[1] {n}" for n in range(20)]})
    known = labels(folder.parent / "l.jsonl", run)
    command = ["judge", str(run), at(server), known, "--concurrency=4"]
    assert cli.main([*command, "--fail-under=60%"]) == 0
    shown = capsys.readouterr()
    assert "Against 80 labels: κ 1.00" in shown.out
    assert "nano: met --fail-under 60.0%" in shown.err
    assert cli.main([*command, "--fail-under=75%"]) == 1
    assert "nano: MISSED --fail-under 75.0%: at least" in capsys.readouterr().err
    wrong = labels(folder.parent / "w.jsonl", run, right=False)
    assert cli.main([*command[:3], wrong, "--concurrency=4", "--fail-under=1%"]) == 1
    assert "can't tell good answers from bad ones" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "no judge, expected --judge model=NAME,base_url=URL"),
        (["--judge=base_url=http://127.0.0.1:1/v1"], "--judge: model: missing"),
        (["--judge=model=x,backend=nosuch"], "nosuch"),
        (["--judge=model=x,api_key_env=NO_SUCH_KEY,base_url=http://127.0.0.1:1/v1"], "NO_SUCH_KEY"),
        (["{judge}", "--fail-under=90%"], "--fail-under: found no --labels"),
        (["{judge}", "--fail-under=0.9", "--labels=l"], "found '0.9', expected a share above 0 %, such as 90%"),
        (["{judge}", "--fail-under=101%", "--labels=l"], "expected a share"),
        (["{judge}", "--labels=l", "--pairwise"], "labels are of single answers"),
        (["{judge}", "--pairwise", "--against=latest"], "expected one of them"),
        (["{judge}", "--labels=nosuch.jsonl"], "--labels: nosuch.jsonl: no such file"),
        (["{judge}", "--rubric=nosuch.txt"], "--rubric: nosuch.txt: no such file, expected a rubric"),
        (["{judge}", "--answers=0"], "--answers: found 0, expected 1 to 1,000"),
        (["{judge}", "--timeout=nan"], "--timeout: found nan"),
        (["{judge}", "--max-requests=2"], "found 5 requests to the judge, expected 2 at most"),
        (["{judge}", "nosuch"], "no run 'nosuch'"),
        (["{judge}", "--against=nosuch"], "no run 'nosuch'"),
        (["{judge}", "--pairwise", "--answers=2"], "--answers: found with --pairwise"),
        (["--write-labels=reports"], "which may hold labels"),
        (["{judge}", "--write-labels=l"], "--judge: found with --write-labels, which asks no judge"),
    ],
)
def test_bad_usage(folder: Path, arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 4 and one line that says what was expected, before a judge is asked: nobody listens at its port."""
    judge = f"--judge=model=judge,base_url=http://127.0.0.1:{free_port()}/v1"
    assert problem in refused(["judge", *(each.replace("{judge}", judge) for each in arguments)], capsys)
    assert not (folder / "judged.json").exists()


def test_too_few_labels(folder: Path, server: ReferenceServer, capsys: pytest.CaptureFixture[str]) -> None:
    """A gate on five labels is none."""
    known = labels(folder.parent / "l.jsonl", folder)
    error = refused(["judge", str(folder), at(server), known, "--fail-under=90%"], capsys)
    assert "found labels of 1 good and 4 bad answers of this run, expected 10 of each at least" in error


def test_a_run_without_answers(folder: Path, server: ReferenceServer, capsys: pytest.CaptureFixture[str]) -> None:
    """A results file that lies alone, and a run of an earlier version."""
    (folder / "prompts.jsonl").unlink()
    assert "a run of an earlier version has none" in refused(["judge", at(server)], capsys)
    (folder / "samples.jsonl").unlink()
    assert "found no samples.jsonl" in refused(["judge", at(server)], capsys)


def test_a_judge_that_is_down(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One message, exit 1, nothing written."""
    assert cli.main(["judge", f"--judge=model=judge,base_url=http://127.0.0.1:{free_port()}/v1"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("flperf judge: error: ")
    assert "connect" in line.lower()
    assert sorted(path.name for path in folder.iterdir()) == ["prompts.jsonl", "results.json", "samples.jsonl"]


def test_a_judge_that_talks_nonsense(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Counted, told, and no success."""
    with judging(NONSENSE) as server:
        assert cli.main(["judge", at(server)]) == 1
        shown = capsys.readouterr()
        assert "judge error (5): found 'What a lovely answer! Five stars.', expected one JSON object" in shown.out
        assert "the judge gave no verdict on any answer" in shown.err
        assert cli.main(["judge", at(server), "--pairwise"]) == 1
        assert "the judge gave no verdict on any pair" in capsys.readouterr().err


def test_a_judge_that_hangs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its deadline ends the request; the others have their verdicts."""
    with JudgeServer(hangs_on=lambda prompt: "[2] b" in prompt) as server:
        assert cli.main(["judge", at(server), "--timeout=1", "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)["rubric"]
    assert [(row["model"], row["prompts"], row["judge_errors"]) for row in found["scores"]] == [
        ("nano", 1, 1), ("pico", 3, 0),
    ]  # fmt: skip
    (reason,) = found["errors"]
    assert "timeout" in reason


def test_keys_of_the_judge_stay_secret(folder: Path, monkeypatch: pytest.MonkeyPatch,
                                       capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    """A judge that repeats its key."""
    key = "judge-key-4f1c9a7e"
    monkeypatch.setenv("JUDGE_KEY", key)
    with JudgeServer() as server:
        server.judge.reply = lambda prompt: json.dumps({"score": 3, "reason": f"because {key}"})  # type: ignore[method-assign]
        assert cli.main(["judge", f"{at(server)},api_key_env=JUDGE_KEY"]) == 0
        assert server.asked[-1].headers["authorization"] == f"Bearer {key}"
    shown = capsys.readouterr()
    written = "".join(path.read_text(encoding="utf-8") for path in folder.iterdir())
    assert key not in shown.out + shown.err + written
    assert "because ***" in written


def test_an_interrupt_keeps_what_came(folder: Path, tmp_path: Path) -> None:
    """Ctrl-C while the judge thinks: verdicts that came are written, the others count as its errors."""
    waiting = threading.Event()

    def hangs(text: str) -> bool:
        found = "[2] b" in text
        if found:
            waiting.set()
        return found

    with JudgeServer(hangs_on=hangs) as server:
        command = [sys.executable, "-m", "pytest_flperf", "judge", at(server), "--timeout=60"]
        judging = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert waiting.wait(60)
        judging.send_signal(signal.SIGINT)
        said, _ = judging.communicate(timeout=60)
    assert judging.returncode == 130, said
    judged = json.loads((folder / "judged.json").read_text(encoding="utf-8"))
    assert "Traceback" not in said
    assert any("it was interrupted" in reason for reason in judged["rubric"]["errors"])
    assert sum(each["prompts"] for each in judged["rubric"]["scores"]) >= 1
