"""``flperf compare``: two runs that have been measured, case by case."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_flperf.commands.common import FAILED, Commands, Parsed, add_json, print_json, refuse
from pytest_flperf.commands.stores import add_places, failed, store_there, unusable

if TYPE_CHECKING:
    from pytest_flperf.gates.rules import Rule
    from pytest_flperf.gates.stored import Earlier
    from pytest_flperf.history.baseline import FoundBaseline
    from pytest_flperf.history.rows import CaseValues
    from pytest_flperf.history.store import Store
    from pytest_flperf.results.records import CaseResult, Run

__all__ = ["add_compare"]

_HISTORY: Final = 20
"""Earlier runs that say how much runs differ."""
_WHAT: Final = "a run's id, latest, last, branch:NAME, a name of 'flperf baseline', a results.json or a run's folder"


def add_compare(commands: Commands) -> None:
    """The command ``compare``."""
    parser = commands.add_parser(
        "compare",
        help="Compare two runs, case by case",
        description="What became worse from one run to another, and how sure that is. Exits with 1 where something "
        "regressed that --fail-on asked for.",
    )
    parser.add_argument("baseline", metavar="A", help=f"The baseline: {_WHAT}")
    parser.add_argument("candidate", metavar="B", help="The candidate: likewise")
    parser.add_argument(
        "--fail-on", metavar="RULE", action="append", default=[],
        help="What counts as worse, such as 'ttft_ms.p50 > +10%%' (repeatable); default: 'ttft_ms.p50 > +5%%' and "
        "'tpot_ms.p50 > +5%%', which fail nothing",
    )  # fmt: skip
    parser.add_argument("--fail-undecided", action="store_true", help="Exit with 1 for what can't be decided, too")
    parser.add_argument("--markdown", metavar="FILE", help="Write the comparison as Markdown to this file, too")
    parser.add_argument("-v", "--verbose", action="count", default=0, help="All rows, also of many; a block per case")
    add_places(parser)
    add_json(parser, "the comparison")
    parser.set_defaults(run=_compare, usage=parser)


def _compare(parsed: Parsed) -> int:
    from pytest_flperf.gates.stored import Stored, compared_run
    from pytest_flperf.history.baseline import BaselineError

    rules = _rules(parsed)
    try:
        with _store(parsed) as store:
            from pytest_flperf.history.place import StoreError

            try:
                baseline, candidate = _found(parsed, store)
                _check_scopes(parsed, rules, candidate.run)
                label = f"{parsed.baseline[:80]} ({baseline.run.id})"
                label = baseline.run.id if parsed.baseline == baseline.run.id else label
                stored = Stored(baseline, label, _earlier(store, candidate.run), parsed.fail_undecided)
                run = compared_run(stored, candidate, rules)
            except StoreError as error:
                return unusable(parsed, error)
    except BaselineError as error:
        refuse(parsed, str(error))
    fails = any(each.fails for case in run.cases for against in case.against for each in against.comparisons)
    problem = _write_markdown(parsed.markdown, run)
    if parsed.json:
        print_json(_as_json(baseline, candidate, run, fails))
    else:
        _print(parsed, baseline, candidate, run)
    if problem:
        return failed(parsed, problem)
    return FAILED if fails else 0


def _rules(parsed: Parsed) -> tuple[Rule, ...]:
    from pytest_flperf.gates.rules import RuleError, parse_rules

    try:
        return parse_rules(parsed.fail_on, "--fail-on")
    except RuleError as error:
        refuse(parsed, f"--fail-on: {error}")


def _check_scopes(parsed: Parsed, rules: Sequence[Rule], run: Run) -> None:
    """Refuse rules that hold for no scenario: nobody would ever hear of them."""
    names = dict.fromkeys(case.scenario for case in run.cases)
    for rule in rules:
        if names and not any(map(rule.holds_for, names)):
            shown = ", ".join(list(names)[:5])
            refuse(
                parsed, f"--fail-on: rule {rule.expression[:120]!r} holds for no scenario of the run, such as {shown}"
            )


@contextlib.contextmanager
def _store(parsed: Parsed) -> Any:
    """The store; None where there is none: then runs are found by their files."""
    store = store_there(parsed)
    with store or contextlib.nullcontext():
        yield store


def _found(parsed: Parsed, store: Store | None) -> tuple[FoundBaseline, FoundBaseline]:
    """Both runs.  What ``last`` and ``branch:`` mean depends on the suites of the other one, which is found first."""
    from pytest_flperf.history.baseline import find_baseline

    folder = Path(parsed.report_dir)

    def found(text: str, other: FoundBaseline | None) -> FoundBaseline:
        suites = _newest_suites(store) if other is None else other.run.suites
        this = None if other is None else other.run.id
        return find_baseline(store, text, folder, suites=suites, this=this, read_values=_values_beside)

    if _depends(parsed.candidate) and not _depends(parsed.baseline):
        baseline = found(parsed.baseline, None)
        return baseline, found(parsed.candidate, baseline)
    candidate = found(parsed.candidate, None)
    return found(parsed.baseline, candidate), candidate


def _values_beside(path: Path, run: Run) -> CaseValues:
    from pytest_flperf.report.samples import values_beside  # takes 30 ms, for which no stored run shall wait

    return values_beside(path, run)


def _depends(text: str) -> bool:
    return text == "last" or text.startswith("branch:")


def _newest_suites(store: Store | None) -> tuple[str, ...]:
    newest = store.runs(1) if store is not None else []
    return newest[0].suites if newest else ()


def _earlier(store: Store | None, run: Run) -> Earlier:
    from pytest_flperf.history.conditions import conditions_of
    from pytest_flperf.history.surroundings import fingerprint

    machine = fingerprint(run.host)

    def earlier(case: CaseResult, metric: str, statistic: str | None) -> Sequence[float]:
        if store is None:
            return ()
        same = conditions_of(case)
        return store.earlier(
            case.nodeid, machine, metric, _HISTORY, before=run.id, statistic=statistic, conditions=same
        )

    return earlier


def _print(parsed: Parsed, baseline: FoundBaseline, candidate: FoundBaseline, run: Run) -> None:
    from pytest_flperf.gates.changes import against_lines
    from pytest_flperf.gates.text import printable
    from pytest_flperf.report.compared import compared_lines
    from pytest_flperf.report.listings import say
    from pytest_flperf.report.words import when

    for name, found in (("baseline: ", baseline), ("candidate:", candidate)):
        say(printable(f"{name} {found.where}, {when(found.run.started_at)}", 500))
    for line in compared_lines(run.cases, shutil.get_terminal_size().columns, parsed.verbose):
        say(line.text)
    for case in run.cases if parsed.verbose else ():
        say(printable(case.nodeid, 300))
        for against in case.against:
            for text in against_lines(against):
                say(text)
    for note in _own_notes(candidate, run):
        say(printable(note, 500))


def _own_notes(candidate: FoundBaseline, run: Run) -> tuple[str, ...]:
    """What was noted here; the run has notes of its own."""
    return run.notes[: len(run.notes) - len(candidate.run.notes)]


def _as_json(baseline: FoundBaseline, candidate: FoundBaseline, run: Run, fails: bool) -> dict[str, Any]:
    def side(found: FoundBaseline) -> dict[str, Any]:
        return {"id": found.run.id, "started_at": found.run.started_at, "where": found.where}

    cases = []
    for case in run.cases:
        record = case.to_dict()
        names = ("nodeid", "host", "suite", "scenario", "model", "parameters")
        against = [each.to_dict() for each in case.against]
        cases.append({**{name: record.get(name, "") for name in names}, "against": against})
    return {
        "baseline": side(baseline),
        "candidate": side(candidate),
        "failed": fails,
        "notes": list(_own_notes(candidate, run)),
        "cases": cases,
    }


def _write_markdown(path: str | None, run: Run) -> str:
    """Write the file that was asked for; why it is not written."""
    if path is None:
        return ""
    from pytest_flperf.report.markdown import markdown
    from pytest_flperf.results.files import write_file

    problem = write_file(Path(path), markdown(run).encode("utf-8", "backslashreplace"))
    return f"{path} is not written: {problem}" if problem else ""
