"""Our scores of answers to BFCL's questions against its own checker's: ``python benchmarks/bfcl/run.py PYTHON``.

PYTHON is the interpreter of an environment that has bfcl-eval 2026.3.23; CONTRIBUTING.md says how to make it.  Exits
with 1 where the two disagree on an answer, but for calls that can't be decoded where none is right: it credits them as
abstained, we call them malformed.  Those are listed one by one.  ``--record FILE`` keeps what the slow test reads.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tabulate import tabulate

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.bfcl.answer_set import Answer, Question, answers_to, questions_of
from pytest_flperf.quality.tools.answered import SentCall, enclosed
from pytest_flperf.quality.tools.definitions import tool_names
from pytest_flperf.quality.tools.expected import CallScore, score_calls, with_tools
from pytest_flperf.quality.tools.understood import CallOutcome
from pytest_flperf.suite.tool_imports.bfcl import rows_of_bfcl

CATEGORIES: Final = ("simple_python", "live_simple", "irrelevance", "live_irrelevance")
"""Those whose questions have one function to call, or none; with the types of Python."""
NO_QUESTION: Final = CallScore(0.0, 0.0, 0.0, CallOutcome.CALLED)
"""Of questions that the importer leaves out, since no answer to them is right."""
RECORDED_QUESTIONS: Final = 5
"""One of so many questions is kept for the test."""
RECORDED_ANSWERS: Final = 8
"""Of each so many answers."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One answer, with both verdicts."""

    answer: Answer
    theirs: bool
    ours: CallScore

    @property
    def agrees(self) -> bool:
        """Whether the scores are the same."""
        return self.ours.score == float(self.theirs)

    @property
    def is_declared(self) -> bool:
        """Whether it differs in the way that is known: malformed where no call is right."""
        return self.theirs and self.ours.arguments is None and self.ours.outcome is CallOutcome.MALFORMED


def our_scores(questions: Sequence[Question], answers: Iterable[Answer]) -> list[CallScore]:
    """Scores of the answers by what ``flperf import-tools`` makes of the questions."""
    lines = [(each.id, each.line) for each in questions]
    truths = [(each.id, each.truth) for each in questions if each.truth is not None]
    rows, _ = rows_of_bfcl(lines, truths)
    scorers = {row["id"]: score_calls(with_tools(row["expect"], tool_names(row["tools"]))) for row in rows}
    return [
        scorers[each.id](enclosed(each.text, [SentCall(name, arguments) for name, arguments in each.calls]))
        if each.id in scorers
        else NO_QUESTION
        for each in answers
    ]


def judged(questions: Sequence[Question], answers: Sequence[Answer], theirs: Sequence[bool]) -> list[Judged]:
    """Answers with both verdicts."""
    ours = our_scores(questions, answers)
    return [Judged(*each) for each in zip(answers, theirs, ours, strict=True)]


def recorded(path: Path) -> list[Judged]:
    """Answers of a file that :func:`record` wrote, scored by this version."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    questions = [Question(each["question"]["id"], each["question"], each["truth"]) for each in lines]
    pairs = [pair for each in lines for pair in each["answers"]]
    return judged(questions, [Answer.from_record(answer) for answer, _ in pairs], [right for _, right in pairs])


def record(path: Path, questions: Sequence[Question], found: Sequence[Judged]) -> None:
    """Keep some answers of some questions, as drawn."""
    by_question: dict[str, list[Judged]] = {each.id: [] for each in questions}
    for each in found:
        by_question[each.answer.id].append(each)
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, 0) as file:
        for question in questions[::RECORDED_QUESTIONS]:
            rng = random.Random(f"{question.id}/recorded")
            some = rng.sample(by_question[question.id], min(RECORDED_ANSWERS, len(by_question[question.id])))
            pairs = [(each.answer.to_record(), each.theirs) for each in some]
            line = {"question": question.line, "truth": question.truth, "answers": pairs}
            file.write(f"{json.dumps(line, ensure_ascii=False, separators=(',', ':'))}\n".encode())


def asked_theirs(python: str, answers: Sequence[Answer]) -> tuple[Path, list[bool]]:
    """Folder of BFCL's data, and its checker's verdicts."""
    found = subprocess.run(
        [python, "-c", "import bfcl_eval; print(bfcl_eval.__path__[0])"], check=True, capture_output=True, text=True
    )
    folder = Path(found.stdout.strip()) / "data"
    if not answers:
        return folder, []
    with tempfile.TemporaryDirectory() as place:
        file = Path(place, "answers.jsonl")
        file.write_text("".join(f"{json.dumps(each.to_record())}\n" for each in answers), encoding="utf-8")
        program = Path(__file__).with_name("theirs.py")
        done = subprocess.run(
            [python, str(program), str(file), str(folder)], check=True, stdout=subprocess.PIPE, text=True, cwd=place
        )
    return folder, [json.loads(line) for line in done.stdout.splitlines()]


def table_of(found: Sequence[Judged]) -> str:
    """Agreement by category."""
    rows: list[list[Any]] = []
    for name in CATEGORIES:
        some = [each for each in found if each.answer.id.rsplit("_", 1)[0] == name]
        rows.append(
            [
                name,
                len({each.answer.id for each in some}),
                len(some),
                sum(each.theirs for each in some),
                sum(each.ours.score == 1 for each in some),
                sum(not each.agrees and each.is_declared for each in some),
                sum(not each.agrees and not each.is_declared for each in some),
            ]
        )
    head = ["", "questions", "answers", "right: theirs", "ours", "undecodable, credited", "other differences"]
    return tabulate(rows, headers=head)


def main() -> int:
    """Compare, and tell every difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("python", help="interpreter of the environment with bfcl-eval")
    parser.add_argument("--record", type=Path, help="file to keep some of the answers in")
    parser.add_argument("--short", action="store_true", help="count the declared differences, don't list them")
    parsed = parser.parse_args()
    folder, _ = asked_theirs(parsed.python, [])
    questions: list[Question] = []
    for name in CATEGORIES:
        truths = folder / "possible_answer" / f"BFCL_v4_{name}.json"
        texts = (
            (folder / f"BFCL_v4_{name}.json").read_text("utf-8"),
            (truths.read_text("utf-8") if truths.exists() else None),
        )
        questions += questions_of(*texts)
    answers = [answer for question in questions for answer in answers_to(question)]
    found = judged(questions, answers, asked_theirs(parsed.python, answers)[1])
    others = [each for each in found if not each.agrees and not each.is_declared]
    declared = [each for each in found if not each.agrees and each.is_declared]
    if not parsed.short:
        for each in declared:
            print(
                f"credited as abstained: {each.answer.id}: {each.answer.kind}: {each.answer.calls or each.answer.text}"
            )
    for each in others:
        said = f"theirs {each.theirs}, ours {each.ours.score:g} ({each.ours.outcome})"
        print(f"DIFFERENT: {each.answer.id}: {each.answer.kind}: {said}: {each.answer.calls or each.answer.text}")
    print(table_of(found))
    for kind, count in Counter(each.answer.kind for each in declared).most_common():
        print(f"credited as abstained, {kind}: {count}")
    if parsed.record is not None:
        record(parsed.record, questions, found)
    return 1 if others else 0


if __name__ == "__main__":
    sys.exit(main())
