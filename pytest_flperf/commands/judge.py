"""``flperf judge``: another model scores or compares a run's stored answers."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_flperf.commands.common import (
    FAILED,
    INTERRUPTED,
    Commands,
    Parsed,
    add_json,
    clear_line,
    print_json,
    refuse,
    told,
)
from pytest_flperf.commands.stored_runs import RUN_HELP, add_places, failed, run_names, tell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_flperf.backends.router import Place
    from pytest_flperf.measurement.judge_client import AskJudge, JudgeReply
    from pytest_flperf.results.judged import Judged, Rubric
    from pytest_flperf.results.redaction import Redactor
    from pytest_flperf.session.judge.judging import JudgedFolder
    from pytest_flperf.session.judge.labels import Labels

__all__ = ["add_judge"]

_MOST_LABEL_LINES: Final = 200
_MOST_ANSWERS: Final = 1_000


def add_judge(commands: Commands) -> None:
    """Add the ``judge`` command."""
    parser = commands.add_parser(
        "judge",
        help="Let another model score the answers of a stored run, or compare two models",
        description="The judge scores each answer from 1 to 5 by a rubric, or compares two answers to each prompt in "
        "both orders.  It sees neither who answered nor other scores.  What was measured stays as it is: judged.json "
        "and judgements.jsonl are written beside results.json.",
    )
    parser.add_argument("name", metavar="RUN", nargs="?", default="latest", help=f"{RUN_HELP}; default: latest")
    parser.add_argument(
        "--judge", metavar="TARGET",
        help="The judge: model=NAME,base_url=URL or any other keys of a suite's target, such as "
        "backend=ollama,model=NAME",
    )  # fmt: skip
    parser.add_argument(
        "--rubric", metavar="FILE", help="What each score means, as text; default: one for any question"
    )
    parser.add_argument("--labels", metavar="FILE", help="What people say of answers, as JSON lines: tries the judge")
    parser.add_argument(
        "--write-labels", metavar="FILE",
        help=f"Ask no judge: write up to {_MOST_LABEL_LINES} answers, without names, for people to label",
    )  # fmt: skip
    parser.add_argument("--pairwise", action="store_true", help="Compare every two models of the run with each other")
    parser.add_argument("--against", metavar="RUN2", help="Compare the run with another, case by case")
    parser.add_argument(
        "--fail-under", metavar="N%",
        help="Exit with 1 unless every model's corrected pass rate is at least this, at its lower end; needs --labels",
    )  # fmt: skip
    parser.add_argument(
        "--answers", metavar="N", type=int, default=1, help="Answers to each prompt that are scored; default: 1"
    )
    parser.add_argument(
        "--max-requests", metavar="N", type=int, default=1_000, help="Requests to the judge at most; default: 1000"
    )
    parser.add_argument(
        "--max-tokens", metavar="N", type=int, default=512, help="Longest reply of the judge, in tokens; default: 512"
    )
    parser.add_argument(
        "--concurrency", metavar="N", type=int, default=1, help="Requests to the judge at a time; default: 1"
    )
    parser.add_argument(
        "--timeout", metavar="S", type=float, default=120.0, help="Seconds that one reply may take; default: 120"
    )
    parser.add_argument("--max-time", metavar="S", type=float, help="Seconds after which the judge is asked no more")
    add_places(parser)
    add_json(parser, "what was judged, as in judged.json,")
    parser.set_defaults(run=_run, usage=parser)


@dataclass(frozen=True, slots=True)
class _Work:
    """All that is checked before the judge is asked."""

    folder: JudgedFolder
    rubric: str
    labels: Labels | None
    against: JudgedFolder | None
    fail_under: float | None


def _run(parsed: Parsed) -> int:
    from pytest_flperf.errors import FlperfError
    from pytest_flperf.session.judge.judging import judge_of

    fail_under = _checked_options(parsed)
    if parsed.write_labels is not None:
        return _write_labels(parsed)
    place, redactor = _judge(parsed)
    work = _work(parsed, fail_under)
    judge = judge_of(redactor.text(place.model), place.kind.name, work.rubric)
    ask = _asker(parsed, place, redactor)
    pairwise = parsed.pairwise or work.against is not None
    try:
        if pairwise:
            judged = work.folder.pairwise(judge, work.rubric, ask, against=work.against, most=parsed.max_requests)
        else:
            judged = work.folder.by_rubric(
                judge, work.rubric, ask, labels=work.labels, answers=parsed.answers, most=parsed.max_requests
            )
    except (FlperfError, OSError) as error:
        return _ended(parsed, error, redactor)
    finally:
        clear_line()
    _print(parsed, judged, pairwise=pairwise)
    status = _status(parsed, judged, work, pairwise=pairwise)
    return INTERRUPTED if _was_interrupted(judged, pairwise=pairwise) else status


def _was_interrupted(judged: Judged, *, pairwise: bool) -> bool:
    from pytest_flperf.measurement.judge_client import WAS_INTERRUPTED

    now = judged.pairwise if pairwise else judged.rubric
    return now is not None and any(WAS_INTERRUPTED in reason for reason in now.errors)


def _ended(parsed: Parsed, error: Exception, redactor: Redactor) -> int:
    """Say why nothing was judged; what can be mended on the command line is bad usage."""
    from pytest_flperf.session.judge.answers import AnswersError
    from pytest_flperf.session.judge.asking import TooManyError

    text = redactor.text(str(error))
    if isinstance(error, AnswersError | TooManyError):
        refuse(parsed, text)
    return failed(parsed, text)


def _checked_options(parsed: Parsed) -> float | None:
    """Check options that need no file; the limit of ``--fail-under``."""
    limits = {
        "--answers": (parsed.answers, 1, _MOST_ANSWERS),
        "--max-requests": (parsed.max_requests, 1, 10_000_000),
        "--max-tokens": (parsed.max_tokens, 1, 1_000_000),
        "--concurrency": (parsed.concurrency, 1, 1_000),
        "--timeout": (parsed.timeout, 0.001, 86_400),
    }
    if parsed.max_time is not None:
        limits["--max-time"] = (parsed.max_time, 0.001, 10_000_000)
    for flag, (value, least, most) in limits.items():
        if not (math.isfinite(value) and least <= value <= most):
            refuse(parsed, f"{flag}: found {value:g}, expected {least:g} to {most:,g}")
    if parsed.write_labels is not None:
        _check_without_judge(parsed)
    elif parsed.judge is None:
        refuse(parsed, "no judge, expected --judge model=NAME,base_url=URL")
    pairwise = "--against" if parsed.against is not None else "--pairwise" if parsed.pairwise else ""
    if parsed.against is not None and parsed.pairwise:
        refuse(parsed, "found --pairwise and --against, expected one of them")
    for flag, value in (("--labels", parsed.labels), ("--fail-under", parsed.fail_under)):
        if pairwise and value is not None:
            refuse(parsed, f"{flag}: found with {pairwise}, but labels are of single answers: leave one of them out")
    if pairwise and parsed.answers != 1:
        refuse(parsed, f"--answers: found with {pairwise}, which compares the first answers: leave one of them out")
    if parsed.fail_under is None:
        return None
    if parsed.labels is None:
        refuse(
            parsed,
            "--fail-under: found no --labels, without which nobody knows how often this judge is wrong; --write-labels "
            "FILE writes answers for people to label",
        )
    return _share(parsed, parsed.fail_under)


def _check_without_judge(parsed: Parsed) -> None:
    """Refuse what has no use where only answers are written for people."""
    for name in ("judge", "rubric", "labels", "fail_under", "pairwise", "against"):
        if getattr(parsed, name):
            refuse(parsed, f"--{name.replace('_', '-')}: found with --write-labels, which asks no judge: leave one out")


def _share(parsed: Parsed, text: str) -> float:
    from pytest_flperf.suite.judges import share_of

    share = share_of(text)
    if share is None:
        refuse(parsed, f"--fail-under: found {text!r}, expected a share above 0 %, such as 90%")
    return share


def _judge(parsed: Parsed) -> tuple[Place, Redactor]:
    """Place of the judge, and the mask of its keys; exits where it can't be used."""
    import os

    from pytest_flperf.backends.base import BackendError
    from pytest_flperf.backends.registry import installed, registry
    from pytest_flperf.backends.resolver import Defaults, Placing, secrets_of
    from pytest_flperf.results.redaction import Redactor, environment_secrets
    from pytest_flperf.suite.errors import SuiteError
    from pytest_flperf.suite.loader import parse_target

    try:
        target = parse_target(parsed.judge, "--judge")
        placing = Placing(Defaults(flags="--"), registry(installed()))
        placing.check([target])
        place = placing.place(target)
    except (ValueError, SuiteError, BackendError) as error:
        refuse(parsed, str(error))
    return place, Redactor([place.config.api_key, *secrets_of(None, [target]), *environment_secrets(os.environ)])


def _folder(parsed: Parsed, name: str) -> JudgedFolder:
    """Folder of a run with its answers; exits where there is none to judge."""
    from pytest_flperf.session.judge.answers import AnswersError
    from pytest_flperf.session.judge.judging import JudgedFolder

    with run_names(parsed, [name]) as names:
        ref = names.find(name)
        run, where = names.read(ref), names.where(ref)
    if ref.path is None:
        refuse(parsed, f"{where}: its folder is gone, and the answers with it; expected a run whose folder is there")
    try:
        return JudgedFolder.open(ref.path.parent, run)
    except AnswersError as error:
        refuse(parsed, str(error))


def _labels(parsed: Parsed, folder: JudgedFolder) -> Labels | None:
    if parsed.labels is None:
        return None
    from pytest_flperf.session.judge.labels import matched, read_labels
    from pytest_flperf.session.judge.rubric import LEAST_LABELS
    from pytest_flperf.suite.errors import SuiteError

    try:
        labels = matched(read_labels(Path(parsed.labels)), folder.cases)
    except SuiteError as error:
        refuse(parsed, f"--labels: {error}")
    if parsed.fail_under is not None and min(labels.passes, labels.fails) < LEAST_LABELS:
        refuse(
            parsed,
            f"--fail-under: found labels of {labels.passes} good and {labels.fails} bad answers of this run, expected "
            f"{LEAST_LABELS} of each at least: with fewer, how often the judge is wrong is a guess",
        )
    return labels


def _work(parsed: Parsed, fail_under: float | None) -> _Work:
    from pytest_flperf.session.judge.judging import read_rubric
    from pytest_flperf.suite.errors import SuiteError

    try:
        rubric = read_rubric(None if parsed.rubric is None else Path(parsed.rubric))
    except SuiteError as error:
        refuse(parsed, f"--rubric: {error}")
    folder = _folder(parsed, parsed.name)
    against = None if parsed.against is None else _folder(parsed, parsed.against)
    return _Work(folder, rubric, _labels(parsed, folder), against, fail_under)


def _asker(parsed: Parsed, place: Place, redactor: Redactor) -> AskJudge:
    import time

    from pytest_flperf.measurement.judge_client import JudgeSettings, ask_judge

    stop_at = None if parsed.max_time is None else time.monotonic() + parsed.max_time
    settings = JudgeSettings(parsed.max_tokens, parsed.concurrency, parsed.timeout, stop_at=stop_at)

    def progress(what: str, percent: float | None) -> None:
        told(redactor.text(what), percent)

    def count(done: int, total: int) -> None:
        told(f"judge: {done} of {total} replies", None)

    def ask(prompts: Sequence[str]) -> Sequence[JudgeReply]:
        return ask_judge(place, prompts, settings, redactor, progress, count)

    return ask


def _write_labels(parsed: Parsed) -> int:
    from pytest_flperf.report.terminal.listings import say
    from pytest_flperf.results.atomic_write import write_file
    from pytest_flperf.session.judge.labels import labels_template

    folder, path = _folder(parsed, parsed.name), Path(parsed.write_labels)
    if path.exists():
        refuse(parsed, f"--write-labels: found {path}, which may hold labels; expected a new file")
    text = labels_template(folder.cases, _MOST_LABEL_LINES)
    problem = write_file(path, text.encode())
    if problem:
        return failed(parsed, f"{path} was not written: {problem}")
    lines = text.count("\n")
    if parsed.json:
        return print_json({"written": str(path), "answers": lines})
    say(f'written: {path}, {lines} answers; put "pass" or "fail" in place of null, then: flperf judge --labels {path}')
    return 0


def _print(parsed: Parsed, judged: Judged, *, pairwise: bool) -> None:
    from pytest_flperf.report.terminal.judged import pairwise_lines, rubric_lines
    from pytest_flperf.report.terminal.listings import say

    if parsed.json:
        print_json(judged.to_dict())
        return
    width = shutil.get_terminal_size().columns
    if pairwise and judged.pairwise is not None:
        lines = pairwise_lines(judged.pairwise, width)
    else:
        lines = [] if judged.rubric is None else rubric_lines(judged.rubric, width)
    for line in lines:
        say(line)


def _status(parsed: Parsed, judged: Judged, work: _Work, *, pairwise: bool) -> int:
    """Exit status: 1 without any verdict, and where a model misses the limit."""
    if pairwise:
        scores = judged.pairwise.scores if judged.pairwise is not None else ()
        if any(row.judge_errors for row in scores) and not any(row.wins + row.ties + row.losses for row in scores):
            return failed(parsed, "the judge gave no verdict on any pair")
        return 0
    rubric = judged.rubric
    assert rubric is not None
    if not any(row.prompts for row in rubric.scores):
        return failed(parsed, "the judge gave no verdict on any answer")
    return 0 if work.fail_under is None else _gate(parsed, rubric, work.fail_under)


def _gate(parsed: Parsed, rubric: Rubric, limit: float) -> int:
    """Whether the lower end of every model's corrected pass rate reaches the limit."""
    status = 0
    for row in rubric.scores:
        if row.scenario:
            continue
        if row.pass_rate_lower is None:
            failed(parsed, f"{row.model}: MISSED --fail-under {limit:.4g}: by the labels this judge can't tell good "
                   "answers from bad ones, so no pass rate can be corrected")  # fmt: skip
            status = FAILED
        elif row.pass_rate_lower < limit:
            failed(parsed, f"{row.model}: MISSED --fail-under {limit:.1%}: at least {row.pass_rate_lower:.1%} of its "
                   "answers pass, what was not judged counted as failed")  # fmt: skip
            status = FAILED
        else:
            tell(parsed, f"{row.model}: met --fail-under {limit:.1%}: at least {row.pass_rate_lower:.1%} pass")
    return status
