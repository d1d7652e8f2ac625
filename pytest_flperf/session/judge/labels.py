"""Human labels of answers: JSON lines, and the answers that they mean."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pytest_flperf.quality.judge_prompts import ANSWER_CHARACTERS
from pytest_flperf.session.judge.answers import CaseAnswers, StoredAnswer
from pytest_flperf.suite.bounded_files import decoded, display_path, read_bytes
from pytest_flperf.suite.errors import SuiteError, shown

__all__ = ["Label", "Labels", "labels_template", "matched", "read_labels"]

_LARGEST: Final = 16_000_000
_VERDICTS: Final = {"pass": True, "fail": False}
_FORMS: Final = (
    'a row and its answer, an id, a nodeid and an index, or a prompt, such as {"row": "…", "answer": "…", "verdict": '
    '"pass"}'
)
_NAMES: Final = ("id", "nodeid", "prompt", "row", "scenario", "answer")
_SEED: Final = 20261121
_OF_LABEL: Final = "label "


@dataclass(frozen=True, slots=True)
class Label:
    """One line: which answer, and what a person says of it."""

    passed: bool
    where: str
    """File and line, for messages."""
    id: str | None = None
    """Of the answer, as ``--write-labels`` writes it."""
    nodeid: str | None = None
    index: int | None = None
    prompt: str | None = None
    """Id of the prompt; without the answer, its first one is meant."""
    row: str | None = None
    """Id of the row of the data set; with the answer."""
    scenario: str | None = None
    """Scenario of the row, where several have one of this id."""
    answer: str | None = None
    """Text of the answer: another text is another answer, whatever else is alike."""


@dataclass(frozen=True, slots=True)
class Labels:
    """Labels with the answers that they are of."""

    passed: dict[str, bool]
    """By the id of the answer."""
    answers: tuple[StoredAnswer, ...]
    """Those of the run."""
    total: int
    """All labels of the file that have a verdict."""
    earlier: tuple[tuple[CaseAnswers, StoredAnswer], ...] = ()
    """Other answers to questions of the run, with a case that asks the same: those of earlier runs."""

    @property
    def passes(self) -> int:
        """Answers that people passed."""
        return sum(self.passed.values())

    @property
    def fails(self) -> int:
        """Answers that people failed."""
        return len(self.passed) - self.passes


def read_labels(path: Path) -> tuple[Label, ...]:
    """Read labels; a line whose verdict is null or missing is none yet.

    Raises SuiteError that names file and line.
    """
    where = display_path(path)
    text = decoded(read_bytes(path, "file of labels", _LARGEST), where, "file of labels")
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            label = _label(line, f"{where}:{number}")
            found += [] if label is None else [label]
    if not found:
        raise SuiteError(f"{where}: found no label, expected lines with a verdict, pass or fail")
    return tuple(found)


def matched(labels: Sequence[Label], cases: Sequence[CaseAnswers]) -> Labels:
    """The labels with the answers that they are of: the run's, and earlier ones to the same questions.

    Raises SuiteError where none is of any answer, where a label means several, and where two contradict each other.
    """
    known = _Known(cases)
    passed: dict[str, bool] = {}
    answers: dict[str, StoredAnswer] = {}
    earlier: dict[str, tuple[CaseAnswers, StoredAnswer]] = {}
    for label in labels:
        case, answer = known.find(label)
        if answer is None or not answer.text:
            continue
        if passed.setdefault(answer.id, label.passed) != label.passed:
            raise SuiteError(f"{label.where}: found another verdict than before on the same answer, expected one")
        if case is None:
            answers[answer.id] = answer
        else:
            earlier[answer.id] = case, answer
    if not passed:
        raise SuiteError(
            f"{labels[0].where.rpartition(':')[0]}: found {len(labels)} labels, none of which is of an answer to a "
            "question of this run; expected some: flperf judge RUN --write-labels FILE writes lines to fill in"
        )
    return Labels(passed, tuple(answers.values()), len(labels), tuple(earlier.values()))


def labels_template(cases: Sequence[CaseAnswers], most: int) -> str:
    """JSON lines for a person to fill in: question, answer, an empty verdict.

    In random order, without the names of models, so that people judge as blindly as the judge does.  The same answer
    to the same question is there once.
    """
    found: dict[tuple[str, str], dict[str, str | None]] = {}
    for case in cases:
        for answers in case.by_prompt(1).values():
            for answer in answers:
                if answer.text:
                    found.setdefault((answer.prompt, answer.text.strip()), _line(case, answer))
    lines = list(found.values())
    random.Random(_SEED).shuffle(lines)  # noqa: S311
    return "".join(json.dumps(line, ensure_ascii=True) + "\n" for line in lines[:most])


def _line(case: CaseAnswers, answer: StoredAnswer) -> dict[str, str | None]:
    """What a person reads, and what finds the answer again: its row, which outlives the run, else its prompt."""
    row = {"row": answer.row, "scenario": case.case.scenario} if answer.row else {"prompt": answer.prompt}
    return {**row, "question": case.questions[answer.prompt], "answer": answer.text, "verdict": None}


class _Known:
    """Answers of a run, by all that labels name them by."""

    def __init__(self, cases: Sequence[CaseAnswers]) -> None:
        self._by_id: dict[str, StoredAnswer] = {}
        self._by_place: dict[tuple[str, int | None], StoredAnswer] = {}
        self._firsts: dict[str, list[StoredAnswer]] = {}
        self._asked: dict[str, CaseAnswers] = {}
        """The first case with each prompt."""
        self._by_text: dict[tuple[str, str], StoredAnswer] = {}
        """By prompt and text."""
        self._prompts: dict[str, dict[str, set[str]]] = {}
        """Prompts of a row by scenario."""
        for case in cases:
            for answer in case.answers:
                self._by_id[answer.id] = answer
                self._by_place[answer.nodeid, answer.index] = answer
                self._asked.setdefault(answer.prompt, case)
                self._by_text.setdefault((answer.prompt, answer.text.strip()), answer)
                if answer.row:
                    of_row = self._prompts.setdefault(answer.row, {})
                    of_row.setdefault(case.case.scenario, set()).add(answer.prompt)
            for prompt, answers in case.by_prompt(1).items():
                self._firsts.setdefault(prompt, []).extend(answers)

    def find(self, label: Label) -> tuple[CaseAnswers | None, StoredAnswer | None]:
        """The answer that a label is of; with a case that asks the same where it is of another run.

        Raises SuiteError where it means several.
        """
        named = None
        if label.id is not None:
            named = self._by_id.get(label.id)
        elif label.index is not None:
            named = self._by_place.get((label.nodeid or "", label.index))
        elif label.answer is None:
            return None, self._first(label)
        if label.answer is None:
            return None, named
        text = label.answer.strip()
        if named is not None and named.text.strip() == text:
            return None, named
        prompt = label.prompt if label.row is None else self._prompt_of_row(label)
        if prompt is None or prompt not in self._asked:
            return None, None
        if (found := self._by_text.get((prompt, text))) is not None:
            return None, found
        case = self._asked[prompt]
        of_label = StoredAnswer(f"{_OF_LABEL}{prompt} {text}", 0, prompt, label.answer[: ANSWER_CHARACTERS + 1])
        return case, of_label

    def _prompt_of_row(self, label: Label) -> str | None:
        by_scenario = self._prompts.get(label.row or "", {})
        found = {
            prompt
            for scenario, prompts in by_scenario.items()
            if label.scenario in (None, scenario)
            for prompt in prompts
        }
        if len(found) > 1:
            raise SuiteError(
                f"{label.where}: found the row {shown(label.row)}, of which this run asks {len(found)} questions; "
                "expected its scenario, too, or its prompt instead"
            )
        return next(iter(found), None)

    def _first(self, label: Label) -> StoredAnswer | None:
        found = [each for each in self._firsts.get(label.prompt or "", ()) if label.nodeid in (None, each.nodeid)]
        if len(found) > 1:
            raise SuiteError(
                f"{label.where}: found the prompt {shown(label.prompt)}, which {len(found)} cases asked; expected its "
                "answer or its nodeid, too"
            )
        return found[0] if found else None


def _label(line: str, where: str) -> Label | None:
    try:
        value: Any = json.loads(line)
    except (ValueError, RecursionError):
        raise SuiteError(f"{where}: found no JSON, expected an object in each line") from None
    if not isinstance(value, dict):
        raise SuiteError(f"{where}: found {shown(value)}, expected an object in each line")
    verdict = value.get("verdict")
    if verdict is None:
        return None
    if not isinstance(verdict, str) or verdict not in _VERDICTS:
        raise SuiteError(f"{where}: found the verdict {shown(verdict)}, expected pass or fail")
    texts = {name: value.get(name) for name in _NAMES}
    index = value.get("index")
    if any(not isinstance(each, str) for each in texts.values() if each is not None) or not (
        index is None or type(index) is int
    ):
        raise SuiteError(
            f"{where}: found a name that is not a string or an index that is not a number, expected {_FORMS}"
        )
    by_place = texts["nodeid"] is not None and index is not None
    by_row = texts["row"] is not None and texts["answer"] is not None
    if texts["id"] is None and texts["prompt"] is None and not by_place and not by_row:
        raise SuiteError(f"{where}: found a label of no answer, expected {_FORMS}")
    return Label(_VERDICTS[verdict], where, index=index if by_place else None, **texts)
