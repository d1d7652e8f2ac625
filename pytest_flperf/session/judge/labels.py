"""Human labels of answers: JSON lines, and the answers that they mean."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pytest_flperf.session.judge.answers import CaseAnswers, StoredAnswer
from pytest_flperf.suite.bounded_files import decoded, display_path, read_bytes
from pytest_flperf.suite.errors import SuiteError, shown

__all__ = ["Label", "Labels", "labels_template", "matched", "read_labels"]

_LARGEST: Final = 16_000_000
_VERDICTS: Final = {"pass": True, "fail": False}
_FORMS: Final = 'an id, a nodeid and an index, or a prompt, such as {"id": "…", "verdict": "pass"}'
_SEED: Final = 20261121


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
    """Id of the prompt: its first answer is meant."""


@dataclass(frozen=True, slots=True)
class Labels:
    """Labels with the answers that they are of."""

    passed: dict[str, bool]
    """By the id of the answer."""
    answers: tuple[StoredAnswer, ...]
    total: int
    """All labels of the file that have a verdict."""

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
    """The labels with the answers of a run that they are of.

    Raises SuiteError where none is of any answer, where a label means several, and where two contradict each other.
    """
    by_id = {answer.id: answer for case in cases for answer in case.answers}
    by_place: dict[tuple[str, int | None], StoredAnswer] = {
        (answer.nodeid, answer.index): answer for answer in by_id.values()
    }
    firsts: dict[str, list[StoredAnswer]] = {}
    for case in cases:
        for prompt, answers in case.by_prompt(1).items():
            firsts.setdefault(prompt, []).extend(answers)
    passed: dict[str, bool] = {}
    for label in labels:
        place = label.nodeid or "", label.index
        answer = by_id.get(label.id) if label.id is not None else by_place.get(place)
        if label.id is None and label.index is None:
            answer = _of_prompt(label, firsts)
        if answer is None or not answer.text:
            continue
        if passed.setdefault(answer.id, label.passed) != label.passed:
            raise SuiteError(f"{label.where}: found another verdict than before on the same answer, expected one")
    if not passed:
        raise SuiteError(
            f"{labels[0].where.rpartition(':')[0]}: found {len(labels)} labels, none of which is of an answer of this "
            "run; expected those of its own answers: flperf judge RUN --write-labels FILE writes lines to fill in"
        )
    return Labels(passed, tuple(by_id[each] for each in passed), len(labels))


def labels_template(cases: Sequence[CaseAnswers], most: int) -> str:
    """JSON lines for a person to fill in: question, answer, an empty verdict.

    In random order, without the names of models, so that people judge as blindly as the judge does.
    """
    lines = [
        {"id": answer.id, "question": case.questions[answer.prompt], "answer": answer.text, "verdict": None}
        for case in cases
        for answers in case.by_prompt(1).values()
        for answer in answers
        if answer.text
    ]
    random.Random(_SEED).shuffle(lines)  # noqa: S311
    return "".join(json.dumps(line, ensure_ascii=True) + "\n" for line in lines[:most])


def _of_prompt(label: Label, firsts: dict[str, list[StoredAnswer]]) -> StoredAnswer | None:
    found = [each for each in firsts.get(label.prompt or "", ()) if label.nodeid in (None, each.nodeid)]
    if len(found) > 1:
        raise SuiteError(
            f"{label.where}: found the prompt {shown(label.prompt)}, which {len(found)} cases asked; expected its "
            "nodeid, too"
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
    texts = {name: value.get(name) for name in ("id", "nodeid", "prompt")}
    index = value.get("index")
    if any(not isinstance(each, str) for each in texts.values() if each is not None) or not (
        index is None or type(index) is int
    ):
        raise SuiteError(
            f"{where}: found a name that is not a string or an index that is not a number, expected {_FORMS}"
        )
    by_place = texts["nodeid"] is not None and index is not None
    if texts["id"] is None and texts["prompt"] is None and not by_place:
        raise SuiteError(f"{where}: found a label of no answer, expected {_FORMS}")
    return Label(_VERDICTS[verdict], where, texts["id"], texts["nodeid"], index if by_place else None, texts["prompt"])
