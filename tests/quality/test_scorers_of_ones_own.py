"""Scorers of one's own: what they are given, what they may return, and what comes of those that fail."""

from __future__ import annotations

import math
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil
import pytest

from pytest_flperf.bounded.limits import Limits
from pytest_flperf.bounded.worker import ImpossibleError
from pytest_flperf.quality.rows import ScoredRow
from pytest_flperf.quality.scorers.answers import AnswerScore, AnswerToScore, read_score
from pytest_flperf.quality.scorers.context import ScoreKey
from pytest_flperf.quality.scorers.hook_calls import Hook, HookCalls
from pytest_flperf.quality.scorers.process import scorer_problems
from pytest_flperf.quality.scoring import NoResult, OwnScoring, PartedScore, Score, Scoring, go_on
from pytest_flperf.quality.tools.answered import SentCall, enclosed

MODULE = """
import json
import os
import stat
import subprocess
import sys
import time

from pytest_flperf import AnswerScore


def longer(answer):
    return min(len(answer.text) / 10, 1)


def same(answer):
    return answer.text == answer.expected


def known(answer):
    print("this must not reach the pipe", flush=True)
    return AnswerScore(0.5, {"a": 1, "b": 0}, json.dumps([
        answer.text, answer.expected, answer.prompt, len(answer.messages), answer.id, answer.category,
        [[call.name, call.arguments] for call in answer.calls], answer.scenario, answer.model,
    ]))


def wrong(answer):
    return {
        "nan": float("nan"), "two": 2.0, "text": "0.5", "none": None, "list": [1], "less": -0.1,
        "part": AnswerScore(1, {"a": 5}), "parts": AnswerScore(1, 5), "right": True,
        "many": AnswerScore(1, {str(n): 1 for n in range(21)}),
    }[answer.text]


def raises(answer):
    if answer.text == "good":
        return 1
    if answer.text == "exit":
        sys.exit(3)
    if answer.text == "end":
        os._exit(5)
    if answer.text == "deep":
        return raises(answer)
    raise RuntimeError("not today\\nnor tomorrow")


def hangs(answer):
    if answer.text == "spin":
        while True:
            pass
    if answer.text == "memory":
        return len(bytearray(4 << 30)) * 0
    if answer.text == "read":
        return float(not sys.stdin.read())
    if answer.text == "print":
        return all(stat.S_ISCHR(os.fstat(stream).st_mode) for stream in (0, 1, 2))
    return 1


def waits(answer):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    with open(answer.expected, "w") as file:
        file.write(str(child.pid))
    time.sleep(600)


class Checks:
    @staticmethod
    def one(answer):
        return 1


async def later(answer):
    return 1


def two(answer, other):
    return 1


NUMBER = 5
"""

OTHERS = {
    "broken.py": "raise RuntimeError('no\\nway')",
    "syntax.py": "def f(:",
    "leaving.py": "raise SystemExit(2)",
    "ending.py": "import os\n\nos._exit(9)",
    "json.py": "raise RuntimeError('this is not the json that anybody wants')",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with modules."""
    found = tmp_path_factory.mktemp("scorers")
    (found / "mine.py").write_text(textwrap.dedent(MODULE), encoding="utf-8")
    for name, text in OTHERS.items():
        (found / name).write_text(text, encoding="utf-8")
    return found


@pytest.fixture(scope="module")
def scoring() -> Iterator[Scoring]:
    """One for all tests of the module; limits that none of its good scorers comes near."""
    with Scoring(own_limits=Limits(time_s=1.0, memory_mb=1024)) as found:
        yield found


def scores(scoring: Scoring, folder: Path, expect: dict[str, Any], answers: list[str], **own: Any) -> list[Score]:
    """Scores by one expectation, and reasons in the scorer's count."""
    scorer = scoring.of(expect, own=OwnScoring("s", "m", str(folder), **own))
    assert scorer is not None
    found = scorer.scores(answers, list(range(len(answers))))
    missing = [each.reason for each in found if isinstance(each, NoResult)]
    assert sum(scorer.not_scored.values()) == len(missing)
    return found


def reasons(found: list[Score]) -> list[str]:
    """Why there is no score."""
    return [each.reason if isinstance(each, NoResult) else "" for each in found]


def test_a_number(scoring: Scoring, folder: Path) -> None:
    """Of the text alone, or of what is expected."""
    assert scores(scoring, folder, {"scorer": "mine:longer"}, ["", "12345", "x" * 50]) == [0, 0.5, 1]
    assert scores(scoring, folder, {"scorer": "mine:same", "expected": "b"}, ["a", "b"]) == [0, 1]
    assert scores(scoring, folder, {"scorer": "mine:Checks.one"}, ["a"]) == [1]


def test_beside_other_checks(scoring: Scoring, folder: Path) -> None:
    """With a weight, in one score; parts are named."""
    expect = {"checks": [{"scorer": "mine:known", "weight": 3}, {"contains": "x"}, {"scorer": "mine:longer"}]}
    (found,) = scores(scoring, folder, expect, ["x1234"])
    assert isinstance(found, PartedScore)
    assert found == pytest.approx((3 * 0.5 + 1 + 0.5) / 5)
    assert found.parts == (
        ("scorer", 0.5), ("contains", 1), ("scorer 2", 0.5), ("scorer: a", 1), ("scorer: b", 0),
    )  # fmt: skip


def test_what_it_is_given(scoring: Scoring, folder: Path) -> None:
    """Text, prompt, row and calls; the text is without the calls."""
    row = ScoredRow(id="r1", category="easy")
    messages = ({"role": "system", "content": "Be."}, {"role": "user", "content": "Hi?"})
    answer = enclosed("said", [SentCall("weather", '{"city": 1}')])
    expect = {"scorer": "mine:known", "expected": {"é": [1, None]}}
    (found,) = scores(scoring, folder, expect, [answer], rows=lambda _: row, messages_of=lambda _: messages)
    assert isinstance(found, PartedScore)
    assert found.reason == (
        '["said", {"\\u00e9": [1, null]}, "Hi?", 2, "r1", "easy", [["weather", "{\\"city\\": 1}"]], "s", "m"]'
    )
    assert found.parts == (("a", 1), ("b", 0))


def test_with_expected_calls(scoring: Scoring, folder: Path) -> None:
    """Outcomes of tool calls are known beside a scorer of one's own."""
    expect = {"checks": [{"calls": [], "tools": ["weather"]}, {"scorer": "mine:longer"}]}
    found = scores(scoring, folder, expect, ["1234567890", enclosed("", [SentCall("weather", "{}")])])
    assert found == [1, 0]
    assert [each.calls.outcome for each in found if isinstance(each, PartedScore) and each.calls] == [
        "abstained", "called",
    ]  # fmt: skip


def test_what_is_no_score(scoring: Scoring, folder: Path) -> None:
    """Each is a reason of that answer, and the others keep their scores."""
    kinds = ["nan", "right", "two", "text", "none", "list", "less", "part", "parts", "many", "right"]
    found = scores(scoring, folder, {"scorer": "mine:wrong"}, kinds)
    assert found[1] == found[-1] == 1
    told = dict(zip(kinds, reasons(found), strict=True))
    expected = ", expected a number from 0 to 1, a bool or an AnswerScore"
    assert told["nan"] == f"its scorer returned nan{expected}"
    assert told["two"] == f"its scorer returned 2.0{expected}"
    assert told["text"] == f"its scorer returned a str{expected}"
    assert told["none"] == f"its scorer returned None{expected}"
    assert told["list"] == f"its scorer returned a list{expected}"
    assert told["less"] == f"its scorer returned -0.1{expected}"
    assert told["part"] == f"its scorer returned a part of 5{expected}"
    assert told["parts"] == told["many"] == "its scorer returned parts that are not a mapping of at most 20 names"


def test_what_raises(scoring: Scoring, folder: Path) -> None:
    """An exception, an exit and an end of the process are reasons of that answer."""
    found = scores(scoring, folder, {"scorer": "mine:raises"}, ["good", "bad", "exit", "good", "end", "deep", "good"])
    assert [found[place] for place in (0, 3, 6)] == [1, 1, 1]
    told = reasons(found)
    assert told[1] == "RuntimeError: not today"
    assert told[2] == "ended its process with exit code 3"
    assert told[4] == "ended its process with exit code 5"
    assert told[5] == "it is nested too deep"


def test_what_takes_too_much(scoring: Scoring, folder: Path) -> None:
    """Time and memory are limited; a scorer reads and prints nothing of ours."""
    found = scores(scoring, folder, {"scorer": "mine:hangs"}, ["read", "spin", "good", "memory", "print"])
    assert [found[place] for place in (0, 2, 4)] == [1, 1, 1]
    assert reasons(found)[1] == "took longer than 1 s"
    assert reasons(found)[3] in ("needed more than 1024 MB", "MemoryError: ")


def test_three_that_take_too_much_are_enough(scoring: Scoring, folder: Path) -> None:
    """The rest of the case is then not scored."""
    found = scores(scoring, folder, {"scorer": "mine:hangs"}, ["spin"] * 3 + ["good"] * 2)
    assert reasons(found)[3:] == ["3 earlier answers took more time or memory than one may take"] * 2


def test_one_that_waits(folder: Path, tmp_path: Path) -> None:
    """It uses no processor time, and is ended all the same, with what it started."""
    told = tmp_path / "pid"
    with Scoring(own_limits=Limits(time_s=0.2, memory_mb=1024)) as scoring:
        found = scores(scoring, folder, {"scorer": "mine:waits", "expected": str(told)}, ["x"])
    assert reasons(found) == ["took longer than 0.2 s"]
    child = int(told.read_text(encoding="utf-8"))
    ends = time.monotonic() + 30
    while runs(child) and time.monotonic() < ends:
        time.sleep(0.02)
    assert not runs(child)


def runs(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for is over."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_rows_have_their_own(scoring: Scoring, folder: Path) -> None:
    """Other scorers, other expectations, plain checks; each in its place."""
    rows = [
        ScoredRow({"scorer": "mine:same", "expected": "a"}),
        ScoredRow({"contains": "a"}),
        ScoredRow({"scorer": "mine:longer"}),
        ScoredRow({"regex": "^b"}),
        ScoredRow(),
    ]
    scorer = scoring.of(
        {"scorer": "mine:same", "expected": "abc"}, rows=rows.__getitem__, own=OwnScoring("", "", str(folder))
    )
    assert scorer is not None
    assert scorer.scores(["a", "a", "aaaaa", "a", "abc"], range(5)) == [1, 1, 0.5, 0, 1]


def test_stored_runs_run_nobodys_code(scoring: Scoring) -> None:
    """A run's folder from somewhere else names modules, and none of them is imported."""
    scorer = scoring.of({"scorer": "antigravity:fly"})
    assert scorer is not None
    (found,) = scorer.scores(["x"], [0])
    assert reasons([found]) == ["a scorer of one's own runs only while its suite is measured"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mine:longer", ""),
        ("mine:Checks.one", ""),
        ("math:sqrt", ""),
        ("nowhere:f", "can't be imported: ModuleNotFoundError: No module named 'nowhere'"),
        ("broken:f", "can't be imported: RuntimeError: no"),
        ("syntax:f", "can't be imported: SyntaxError: invalid syntax"),
        ("leaving:f", "can't be imported: SystemExit: 2"),
        ("json:loads", ""),  # the interpreter's own, not the file beside the suite
        ("mine:nothing", "can't be found: module 'mine' has no attribute 'nothing'"),
        ("mine:NUMBER", "is no function: NUMBER is a int"),
        ("mine:later", "is an async function; expected a plain one"),
        ("mine:two", "doesn't take one argument, the answer: missing a required argument: 'other'"),
    ],
)
def test_what_can_not_be_used(folder: Path, name: str, words: str) -> None:
    """Known before anything is loaded; the interpreter's own modules go before those of a suite."""
    (problem,) = scorer_problems(str(folder), [name])
    assert problem.startswith(words)
    assert bool(problem) == bool(words)


def test_the_right_one_is_blamed(folder: Path) -> None:
    """A module that ends the process is named, not the one that was imported before it."""
    found = scorer_problems(str(folder), ["mine:same", "ending:f", "mine:longer"])
    assert found[:2] == ["", "can't be imported: ended its process with exit code 9"]


@pytest.mark.parametrize("value", [0, 1, 0.25, True, False, Decimal("0.5"), AnswerScore(1)])
def test_scores(value: Any) -> None:
    """Any real number will do."""
    score = read_score(value)
    assert type(score.score) is float
    assert score.score == (value.score if isinstance(value, AnswerScore) else float(value))


@pytest.mark.parametrize("value", [math.nan, math.inf, -0.01, 1.01, "1", None, [1], {"score": 1}, object(), 1j])
def test_no_scores(value: Any) -> None:
    """Anything else is none."""
    with pytest.raises(ImpossibleError, match="expected a number from 0 to 1"):
        read_score(value)


def test_what_is_told_is_bounded() -> None:
    """Names, and the reason."""
    score = read_score(AnswerScore(1, {"n" * 500: 0.5}, "r\ud800" * 500))
    assert [len(name) for name in score.parts] == [60]
    assert len(score.reason) == 500
    score.reason.encode()


def hooked(hook: Callable[[AnswerToScore], object], limit_s: float = 20) -> list[Any]:
    """What the hook says of three answers."""
    answers = [AnswerToScore(text) for text in ("a", "b", "c")]
    return HookCalls(Hook(hook), limit_s).scores(answers, go_on)


def test_the_hook() -> None:
    """A score, or None; exceptions and nonsense are reasons."""
    assert hooked(lambda answer: answer.text == "a" or None) == [AnswerScore(1), None, None]
    assert reasons(hooked(lambda answer: {"a": 2}.get(answer.text, 1)))[0].startswith(
        "pytest_flperf_score returned 2, expected"
    )
    assert reasons(hooked(lambda _: 1 / 0)) == ["pytest_flperf_score: ZeroDivisionError: division by zero"] * 3


def test_a_hook_that_ends_the_session() -> None:
    """What is no Exception is raised where the scores are wanted."""

    def leave(answer: AnswerToScore) -> object:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hooked(leave)


def test_a_hook_whose_exception_ends_the_session() -> None:
    """As that of ``pytest.exit`` does, which is an Exception."""
    with pytest.raises(ZeroDivisionError):
        HookCalls(Hook(lambda _: 1 / 0, (ZeroDivisionError,))).scores([AnswerToScore("a")], go_on)


def test_a_hook_that_hangs() -> None:
    """Its thread is given up, and ends where it runs Python; the answers after it are not scored."""
    ended = threading.Event()

    def spin(answer: AnswerToScore) -> object:
        if answer.text == "a":
            return 1
        try:
            while True:
                time.sleep(0.001)
        finally:
            ended.set()

    found = hooked(spin, limit_s=0.3)
    assert found[0] == AnswerScore(1)
    assert reasons(found)[1:] == [
        "pytest_flperf_score took longer than 0.3 s",
        "an earlier call of pytest_flperf_score took longer than 0.3 s",
    ]
    assert ended.wait(20)


def test_a_hook_whose_time_is_up() -> None:
    """The run's end ends it."""
    calls = HookCalls(Hook(lambda _: time.sleep(0.05)))
    ends = time.monotonic() + 0.1
    found = calls.scores([AnswerToScore("a")] * 1_000, lambda: "over" * (time.monotonic() > ends))
    assert found[-1] == NoResult("over")


def test_the_hook_before_the_expectation(scoring: Scoring) -> None:
    """What it doesn't take is scored by what is expected."""
    own = OwnScoring("s", "m", hook=Hook(lambda answer: 0.5 if answer.text == "mine" else None))
    scorer = scoring.of({"equals": "right"}, own=own)
    assert scorer is not None
    assert scorer.scores_case
    assert scorer.scores(["mine", "right", "else"], [0, 1, 2]) == [0.5, 1, 0]
    assert not scorer.not_scored


@pytest.mark.parametrize("in_turns", [False, True])
def test_the_hook_before_a_function(scoring: Scoring, folder: Path, in_turns: bool) -> None:
    """An answer that the hook leaves has the function's score, also where scores are looked at again."""
    hook = Hook(lambda answer: 0.5 if answer.text == "mine" else None)
    own = OwnScoring("s", "m", str(folder), hook=hook, remembered={} if in_turns else None)
    for _ in range(2):
        scorer = scoring.of({"scorer": "mine:same", "expected": "right"}, own=own)
        assert scorer is not None
        assert scorer.scores(["mine", "right", "else"], [0, 1, 2]) == [0.5, 1, 0]
        assert not scorer.not_scored


def test_the_hook_without_an_expectation(scoring: Scoring) -> None:
    """Some answers of a case or all of them: a part of it is no quality."""
    own = OwnScoring("s", "m", hook=Hook(lambda answer: None if answer.text == "else" else 1))
    scorer = scoring.of(None, own=own)
    assert scorer is not None
    assert scorer.scores(["else"], [0]) == [None]
    assert not scorer.scores_case
    assert not scorer.not_scored
    assert scorer.scores(["mine"], [1]) == [1]
    assert scorer.scores_case
    assert dict(scorer.not_scored) == {"pytest_flperf_score took other answers of the case, but not this one": 1}


def test_each_answer_is_scored_once(scoring: Scoring) -> None:
    """Both looks at a case that is measured in turns see one score."""
    given: list[str] = []

    def hook(answer: AnswerToScore) -> object:
        given.append(answer.text)
        return len(given) / 10

    remembered: dict[ScoreKey, Any] = {}
    for _ in range(2):
        scorer = scoring.of(None, own=OwnScoring("s", "m", hook=Hook(hook), remembered=remembered))
        assert scorer is not None
        assert scorer.scores(["a", "b"], [0, 1]) == [0.1, 0.2]
    assert given == ["a", "b"]
