"""``flperf compare``: compare two runs, case by case."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_flperf.commands.common import BAD_USAGE, FAILED, Commands, Parsed, add_json, print_json, refuse
from pytest_flperf.commands.stored_runs import add_places, failed, store_there, unusable

if TYPE_CHECKING:
    from pytest_flperf.gates.baseline_gate import BaselineGate, ComparedRun
    from pytest_flperf.gates.rules import Rule
    from pytest_flperf.history.baseline import FoundBaseline
    from pytest_flperf.history.rows import CaseValues
    from pytest_flperf.history.store import Store
    from pytest_flperf.results.records import Run

__all__ = ["add_compare"]

_BRANCH: Final = "branch:"
_REASONS: Final = 3
_WHAT: Final = "a run's id, latest, last, branch:NAME, a name of 'flperf baseline', a results.json or a run's folder"


def add_compare(commands: Commands) -> None:
    """Add the ``compare`` command."""
    parser = commands.add_parser(
        "compare",
        help="Compare two runs, case by case",
        description="Shows what got worse from one run to another, and how certain that is. Exits with 1 if "
        "something regressed that --fail-on names, and with 4 if no case can be compared. As A, 'last' and "
        "'branch:NAME' mean, for each case, its newest measurement before B that may be a baseline; as B, the newest "
        "whole run of A's suites.",
    )
    parser.add_argument("baseline", metavar="A", help=f"The baseline: {_WHAT}")
    parser.add_argument("candidate", metavar="B", help="The candidate, named the same way")
    parser.add_argument(
        "--fail-on", metavar="RULE", action="append", default=[],
        help="What counts as worse, such as 'ttft_ms.p50 > +10%%' (repeatable); default: 'ttft_ms.p50 > +5%%' and "
        "'tpot_ms.p50 > +5%%', which don't change the exit status",
    )  # fmt: skip
    parser.add_argument("--fail-undecided", action="store_true", help="Exit with 1 for an undecided comparison as well")
    parser.add_argument(
        "--require-baseline", action="store_true", help="Exit with 1 for a case of B that A lacks or did not measure"
    )
    parser.add_argument("--markdown", metavar="FILE", help="Write the comparison as Markdown to this file as well")
    parser.add_argument("-v", "--verbose", action="count", default=0, help="Print all rows, and a block per case")
    add_places(parser)
    add_json(parser, "the comparison")
    parser.set_defaults(run=_compare, usage=parser)


def _compare(parsed: Parsed) -> int:
    from pytest_flperf.gates.baseline_gate import compared_run
    from pytest_flperf.history.baseline import BaselineError

    rules = _rules(parsed)
    try:
        with _store(parsed) as store:
            from pytest_flperf.history.place import StoreError

            try:
                found, candidate = _found(parsed, store)
                _check_scopes(parsed, rules, candidate.run)
                compared = compared_run(_gate(parsed, store, found, candidate), candidate, rules)
            except StoreError as error:
                return unusable(parsed, error)
    except BaselineError as error:
        refuse(parsed, str(error))
    if not compared.compared:
        refuse(parsed, _nothing_compared(parsed, compared))
    fails = any(each.fails for case in compared.run.cases for against in case.against for each in against.comparisons)
    problem = _write_markdown(parsed.markdown, compared.run)
    if parsed.json:
        print_json(_as_json(parsed, found, candidate, compared, fails))
    else:
        _print(parsed, found, candidate, compared)
    if problem:
        failed(parsed, problem)
    return FAILED if fails else BAD_USAGE if problem else 0


def _gate(parsed: Parsed, store: Store | None, found: FoundBaseline | None, candidate: FoundBaseline) -> BaselineGate:
    from pytest_flperf.gates.baseline_gate import BaselineGate
    from pytest_flperf.gates.counterparts import Query
    from pytest_flperf.history.baseline import branch_of
    from pytest_flperf.history.case_history import CaseHistory, FolderHistory, StoreHistory
    from pytest_flperf.history.clocks import latest_start

    run = candidate.run
    history: CaseHistory = FolderHistory(Path(parsed.report_dir), _values_beside, run.started_at, run.id)
    if store is not None:
        history = StoreHistory(store, run.started_at, run.id)
    query = Query(latest_start(), branch_of(parsed.baseline))
    return BaselineGate(parsed.baseline, found, history, query, parsed.fail_undecided, parsed.require_baseline)


def _nothing_compared(parsed: Parsed, compared: ComparedRun) -> str:
    """Reason why no case could be compared."""
    from pytest_flperf._text import printable
    from pytest_flperf.results.notes import Note

    run = compared.run
    reasons = [note.text for note in map(Note.of, run.notes) if note.code == "not_compared"]
    shown = "; ".join(printable(each, 400) for each in reasons[:_REASONS]) or "the run has no case"
    more = f"; and {len(reasons) - _REASONS} more" if len(reasons) > _REASONS else ""
    return f"nothing was compared with {printable(parsed.baseline, 80)}: {shown}{more}"


def _rules(parsed: Parsed) -> tuple[Rule, ...]:
    from pytest_flperf.gates.rules import RuleError, parse_rules

    try:
        return parse_rules(parsed.fail_on, "--fail-on")
    except RuleError as error:
        refuse(parsed, f"--fail-on: {error}")


def _check_scopes(parsed: Parsed, rules: Sequence[Rule], run: Run) -> None:
    """Refuse rules that match no scenario.

    Such a rule would never apply, and no one would notice.
    """
    from pytest_flperf.gates.rules import without_scenario

    problem = without_scenario(rules, (case.scenario for case in run.cases))
    if problem:
        refuse(parsed, f"--fail-on: {problem}")


@contextlib.contextmanager
def _store(parsed: Parsed) -> Any:
    """Open the store, or yield None if there is none.

    Without a store, runs are found by their files.
    """
    store = store_there(parsed)
    with store or contextlib.nullcontext():
        yield store


def _found(parsed: Parsed, store: Store | None) -> tuple[FoundBaseline | None, FoundBaseline]:
    """Baseline and candidate; baseline is None if each case has its own.

    What ``last`` and ``branch:`` mean as the candidate depends on the suites of the baseline.
    """
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
    if _depends(parsed.baseline):
        _check_branch(parsed, store)
        return None, candidate
    return found(parsed.baseline, candidate), candidate


def _check_branch(parsed: Parsed, store: Store | None) -> None:
    """Refuse a branch without runs; raises BaselineError.

    The error names the nearest branches.
    """
    from pytest_flperf.history.baseline import BaselineError, MissingBaselineError, branch_of
    from pytest_flperf.history.case_history import StoreHistory, no_baseline

    branch = branch_of(parsed.baseline)
    if branch is None:
        return
    if store is None:
        raise BaselineError(
            f"found {parsed.baseline[:80]!r}, but branches are known only from a store, and there is none"
        )
    if problem := no_baseline(StoreHistory(store), (), branch):
        raise MissingBaselineError(problem)


def _values_beside(path: Path, run: Run) -> CaseValues:
    from pytest_flperf.report.samples import values_beside  # takes 30 ms, not needed for stored runs

    return values_beside(path, run)


def _depends(text: str) -> bool:
    return text == "last" or text.startswith(_BRANCH)


def _newest_suites(store: Store | None) -> tuple[str, ...]:
    newest = store.runs(1) if store is not None else []
    return newest[0].suites if newest else ()


def _print(parsed: Parsed, found: FoundBaseline | None, candidate: FoundBaseline, compared: ComparedRun) -> None:
    from pytest_flperf._text import printable
    from pytest_flperf.gates.format import against_lines
    from pytest_flperf.report.sentences import when
    from pytest_flperf.report.terminal.comparisons import compared_lines
    from pytest_flperf.report.terminal.listings import say

    run = compared.run
    if found is not None:
        say(printable(f"baseline:  {found.where}, {when(found.run.started_at)}", 500))
    for each in compared.baselines if found is None else ():
        say(printable(f"baseline:  {parsed.baseline[:80]}: run {each.id}, {when(each.started_at)}", 500))
    say(printable(f"candidate: {candidate.where}, {when(candidate.run.started_at)}", 500))
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
    """Notes of this comparison, without those of the run itself."""
    return run.notes[: len(run.notes) - len(candidate.run.notes)]


def _as_json(
    parsed: Parsed, found: FoundBaseline | None, candidate: FoundBaseline, compared: ComparedRun, fails: bool
) -> dict[str, Any]:
    def side(run: Run, where: str) -> dict[str, Any]:
        return {"id": run.id, "started_at": run.started_at, "where": where}

    run, cases = compared.run, []
    for case in run.cases:
        record = case.to_dict()
        names = ("nodeid", "host", "suite", "scenario", "model", "parameters")
        against = [each.to_dict() for each in case.against]
        cases.append({**{name: record.get(name, "") for name in names}, "against": against})
    baselines = [side(each, parsed.baseline if found is None else found.where) for each in compared.baselines]
    return {
        "baseline": baselines[0],
        "baselines": baselines,
        "candidate": side(candidate.run, candidate.where),
        "failed": fails,
        "notes": list(_own_notes(candidate, run)),
        "cases": cases,
    }


def _write_markdown(path: str | None, run: Run) -> str:
    """Write the Markdown file; returns why it failed, or an empty string."""
    if path is None:
        return ""
    from pytest_flperf.report.markdown import markdown
    from pytest_flperf.results.atomic_write import write_file

    problem = write_file(Path(path), markdown(run).encode("utf-8", "backslashreplace"))
    return f"{path} was not written: {problem}" if problem else ""
