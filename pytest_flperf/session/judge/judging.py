"""Judging of a stored run: reads its answers, asks a judge, writes what it said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pytest_flperf.errors import FlperfError
from pytest_flperf.measurement.judge_client import AskJudge, JudgeReply
from pytest_flperf.quality.judge_prompts import DEFAULT_RUBRIC
from pytest_flperf.results.journal import JournalReader, journal_line
from pytest_flperf.results.judged import Judge, Judged, JudgedError, read_judged
from pytest_flperf.results.records import Run
from pytest_flperf.results.run_folder import JUDGED, JUDGEMENTS, RunFolder
from pytest_flperf.session.judge.answers import AnswersError, CaseAnswers, read_answers
from pytest_flperf.session.judge.labels import Labels
from pytest_flperf.session.judge.pairwise import Sides, judge_pairwise, sides_of_run, sides_of_runs
from pytest_flperf.session.judge.rubric import judge_by_rubric
from pytest_flperf.suite.bounded_files import decoded, display_path, read_bytes
from pytest_flperf.suite.errors import SuiteError

__all__ = ["JudgedFolder", "NoVerdictError", "judge_of", "read_rubric"]

_LARGEST_RUBRIC: Final = 20_000
_RUBRIC_SHOWN: Final = 2_000


class NoVerdictError(FlperfError):
    """The judge gave no verdict at all: nothing was written."""


def read_rubric(path: Path | None) -> str:
    """Text of a rubric; None: the default one.  Raises SuiteError where it can't be used."""
    if path is None:
        return DEFAULT_RUBRIC
    where = display_path(path)
    text = decoded(_read(path, where), where, "rubric")
    if not text.strip():
        raise SuiteError(f"{where}: found an empty file, expected a rubric: what each score from 1 to 5 means")
    return text


def _read(path: Path, where: str) -> bytes:
    raw = read_bytes(path, "rubric", 1_000_000)
    if len(raw) > _LARGEST_RUBRIC:
        raise SuiteError(
            f"{where}: found {len(raw):,} bytes, expected a rubric of {_LARGEST_RUBRIC:,} at most: it is sent with "
            "every answer"
        )
    return raw


def judge_of(model: str, backend: str, rubric: str) -> Judge:
    """The judge as results show it, as of now."""
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return Judge(model, backend, rubric[:_RUBRIC_SHOWN], rubric == DEFAULT_RUBRIC, now)


@dataclass(frozen=True, slots=True)
class JudgedFolder:
    """Run folder whose answers are judged.

    Nothing that was measured is changed: ``judged.json`` and ``judgements.jsonl`` are written beside it.
    """

    path: Path
    run: Run
    cases: tuple[CaseAnswers, ...]

    @classmethod
    def open(cls, path: Path, run: Run) -> JudgedFolder:
        """Read the answers of a run; raises AnswersError where there are none to judge."""
        return cls(path, run, read_answers(path, run))

    def by_rubric(
        self, judge: Judge, rubric: str, ask: AskJudge, *, labels: Labels | None, answers: int, most: int
    ) -> Judged:
        """Judge by a rubric, and write it down; see :func:`judge_by_rubric`.

        Raises NoVerdictError, TooManyError, JudgeNotReadyError, and OSError where it can't be written.
        """
        found, records = judge_by_rubric(
            self.cases, judge, rubric, _checked(ask), labels=labels, answers=answers, most=most
        )
        return self._kept(replace(self._before(), rubric=found), "rubric", records)

    def pairwise(self, judge: Judge, rubric: str, ask: AskJudge, *, against: JudgedFolder | None, most: int) -> Judged:
        """Compare models of the run, or the run with another, and write it down.

        Raises AnswersError where there is nothing to compare, and as :meth:`by_rubric`.
        """
        sides = self._sides(against)
        other = "" if against is None else against.run.id
        found, records = judge_pairwise(sides, judge, rubric, _checked(ask), most=most, against=other)
        if not records:
            raise AnswersError("the two sides have no prompt in common, so there is nothing to compare")
        return self._kept(replace(self._before(), pairwise=found), "pairwise", records)

    def _sides(self, against: JudgedFolder | None) -> Sequence[Sides]:
        if against is None:
            sides = sides_of_run(self.cases)
            problem = "no scenario of the run was answered by two models: --against RUN2 compares it with another run"
        else:
            names = (self.run.id, against.run.id) if self.run.id != against.run.id else ("this run", "the other")
            sides = sides_of_runs(self.cases, against.cases, names)
            problem = f"run {self.run.id} and run {against.run.id} have no case in common"
        if not sides:
            raise AnswersError(problem)
        return sides

    def _before(self) -> Judged:
        """What was judged before, of the other kind; a damaged file is replaced."""
        try:
            before = read_judged(self.path / JUDGED)
        except JudgedError:
            before = None
        return before or Judged(self.run.id)

    def _kept(self, judged: Judged, kind: str, records: Sequence[dict[str, Any]]) -> Judged:
        """Write both files, each whole or not at all."""
        lines = [*self._other_lines(kind), *(journal_line(each) for each in records)]
        folder = RunFolder(self.path)
        if not folder.write_bytes(JUDGEMENTS, b"".join(lines)) or not folder.write_json(JUDGED, judged.to_dict()):
            raise OSError(f"{self.path}: {folder.problems[0]}")
        return judged

    def _other_lines(self, kind: str) -> list[bytes]:
        """Lines of earlier judgements that are not replaced."""
        try:
            return [journal_line(each) for each in JournalReader(self.path / JUDGEMENTS) if each.get("kind") != kind]
        except OSError:
            return []


def _checked(ask: AskJudge) -> AskJudge:
    """Asks the judge; raises NoVerdictError where not one request brought a reply."""

    def checked(prompts: Sequence[str]) -> Sequence[JudgeReply]:
        replies = ask(prompts)
        if replies and all(reply.error for reply in replies):
            raise NoVerdictError(f"the judge gave no reply to any of {len(replies)} requests: {replies[0].error}")
        return replies

    return checked
