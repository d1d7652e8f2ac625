"""Stored answers of a run, for judges: from its samples and prompts."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pytest_flperf.errors import FlperfError
from pytest_flperf.quality.judge_prompts import ANSWER_CHARACTERS, QUESTION_CHARACTERS
from pytest_flperf.results.journal import JournalReader
from pytest_flperf.results.records import CaseResult, Run
from pytest_flperf.results.run_folder import PROMPTS, SAMPLES
from pytest_flperf.wire.exchange import Phase
from pytest_flperf.wire.sample import Outcome

__all__ = ["AnswersError", "CaseAnswers", "StoredAnswer", "answer_id", "read_answers"]

_BEFORE: Final = frozenset({Phase.VERIFY.value, Phase.COLD.value, Phase.CALIBRATE.value, Phase.WARMUP.value})
_ID_BYTES: Final = 6
_MOST_OF_A_CASE: Final = 100_000
_LONGEST_LABEL: Final = 200
_RUNS_NAMED: Final = 5


class AnswersError(FlperfError):
    """A run whose answers can't be judged: why, and what to do."""


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """Measured request with its answer."""

    nodeid: str
    index: int
    prompt: str
    """Id of its prompt."""
    text: str
    """Empty where the request failed or brought no text."""
    row: str = ""
    """Id of its row of the data set; empty: it has none."""
    category: str = ""
    """Category of its row."""

    @property
    def id(self) -> str:
        """Id that doesn't tell who answered, for labels."""
        return answer_id(self.nodeid, self.index)


@dataclass(frozen=True, slots=True)
class CaseAnswers:
    """Answers of one case, by index."""

    case: CaseResult
    answers: tuple[StoredAnswer, ...]
    questions: Mapping[str, str]
    """By the id of the prompt."""

    @property
    def scenario(self) -> str:
        """Scenario and point of the matrix."""
        values = ", ".join(f"{key}={value}" for key, value in self.case.parameters.items())
        return f"{self.case.scenario} ({values})" if values else self.case.scenario

    @property
    def place(self) -> tuple[str, str]:
        """Suite and scenario: cases of other models at the same place were asked the same."""
        return self.case.suite, self.scenario

    def by_prompt(self, most: int) -> dict[str, list[StoredAnswer]]:
        """The first ``most`` answers to each prompt."""
        found: dict[str, list[StoredAnswer]] = {}
        for answer in self.answers:
            of_prompt = found.setdefault(answer.prompt, [])
            if len(of_prompt) < most:
                of_prompt.append(answer)
        return found


def answer_id(nodeid: str, index: int) -> str:
    """Id of an answer: the same for the same request of a case."""
    text = f"{nodeid}\0{index}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=_ID_BYTES).hexdigest()


def read_answers(folder: Path, run: Run) -> tuple[CaseAnswers, ...]:
    """Read the answers of a run whose prompts are known, in the order of its cases.

    Raises AnswersError where there are none.
    """
    for name in (SAMPLES, PROMPTS):
        if not (folder / name).is_file():
            raise AnswersError(_why_missing(folder, name, run))
    counts = Counter(case.nodeid for case in run.cases)
    cases = {_written(case): case for case in run.cases if counts[case.nodeid] == 1}
    try:
        asked = _asked(folder / PROMPTS, cases)
        answers = _answers(folder / SAMPLES, cases, asked)
    except OSError as error:
        raise AnswersError(f"{folder}: its answers can't be read: {error.strerror or error}") from error
    found = tuple(
        CaseAnswers(case, tuple(answers[name][index] for index in sorted(answers[name])), asked[name].questions)
        for name, case in cases.items()
        if answers.get(name)
    )
    if not found:
        raise AnswersError(
            f"{folder}: found no measured answer whose prompt is known, expected some: chats and prompts of filler "
            "alone are not judged"
        )
    return found


def _why_missing(folder: Path, name: str, run: Run) -> str:
    if run.merged:
        several = ", ".join(run.merged[:_RUNS_NAMED]) + " …" * (len(run.merged) > _RUNS_NAMED)
        return f"{folder}: found a run that joins others, which has no questions; expected one of these: {several}"
    if name == SAMPLES:
        return f"{folder}: found no {SAMPLES}, which holds the answers; expected the whole folder of a run"
    return (
        f"{folder}: found no {PROMPTS}, which holds the questions; a run of an earlier version has none, nor has one "
        "that only has chats or prompts of filler: measure again"
    )


def _written(case: CaseResult) -> str:
    """Name of a case in its files; of a search, the load that its results are of."""
    return case.nodeid if case.search is None else f"{case.nodeid} {case.search.played}"


@dataclass(slots=True)
class _Asked:
    """What the requests of a case asked."""

    questions: dict[str, str] = field(default_factory=dict)
    """By the id of the prompt."""
    prompts: dict[int, str] = field(default_factory=dict)
    """Ids of prompts, by the index of the request."""
    rows: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Id and category of the row, by the id of the prompt."""


def _asked(path: Path, cases: Mapping[str, CaseResult]) -> dict[str, _Asked]:
    found: dict[str, _Asked] = {}
    for record in JournalReader(path):
        nodeid, prompt = record.get("nodeid"), record.get("prompt")
        messages, indices = record.get("messages"), record.get("indices")
        if not isinstance(nodeid, str) or not isinstance(prompt, str) or nodeid not in cases:
            continue
        text = _as_text(messages) if isinstance(messages, list) else ""
        if text and isinstance(indices, list):
            of_case = found.setdefault(nodeid, _Asked())
            of_case.questions[prompt] = text
            of_case.rows[prompt] = _label(record.get("row")), _label(record.get("category"))
            of_case.prompts.update((index, prompt) for index in indices if type(index) is int)
    return found


def _label(value: object) -> str:
    return value[:_LONGEST_LABEL] if isinstance(value, str) else ""


def _as_text(messages: Sequence[Any]) -> str:
    """The messages as one text, roles named where there are several."""
    parts = [
        (each["role"], each["content"])
        for each in messages
        if isinstance(each, dict) and isinstance(each.get("role"), str) and isinstance(each.get("content"), str)
    ]
    if len(parts) == 1:
        return str(parts[0][1])[: QUESTION_CHARACTERS + 1]
    return "\n\n".join(f"[{role}]\n{content}" for role, content in parts)[: QUESTION_CHARACTERS + 1]


def _answers(
    path: Path, cases: Mapping[str, CaseResult], asked: Mapping[str, _Asked]
) -> dict[str, dict[int, StoredAnswer]]:
    found: dict[str, dict[int, StoredAnswer]] = {}
    for record in _valid(path):
        name, index, phase = record["nodeid"], record["index"], record["phase"]
        if name not in asked:
            continue
        if phase in _BEFORE:
            found.pop(name, None)  # what comes before the measured requests begins a case anew
        prompt = asked[name].prompts.get(index)
        if phase != Phase.MEASURED.value or prompt is None:
            continue
        of_case = found.setdefault(name, {})
        if index in of_case:  # another plugin ran it again
            of_case = found[name] = {}
        if len(of_case) < _MOST_OF_A_CASE:
            text = record.get("output_text")
            is_whole = record.get("outcome") == Outcome.OK.value and isinstance(text, str) and text.strip()
            shown = str(text)[: ANSWER_CHARACTERS + 1] if is_whole else ""
            of_case[index] = StoredAnswer(cases[name].nodeid, index, prompt, shown, *asked[name].rows[prompt])
    return found


def _valid(path: Path) -> Iterator[Mapping[str, Any]]:
    for record in JournalReader(path):
        texts = isinstance(record.get("nodeid"), str) and isinstance(record.get("phase"), str)
        if texts and type(record.get("index")) is int:
            yield record
