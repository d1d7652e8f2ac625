"""Merged run: joins runs of one suite (shards, hosts), and judges the whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeAlias

from pytest_flperf._text import printable
from pytest_flperf.answers.answer import answer
from pytest_flperf.gates.budget_grammar import BudgetError
from pytest_flperf.gates.run_budgets import RunBudget, parse_run_budget
from pytest_flperf.gates.run_status import RunEnd, after_rerun, is_judged, run_status
from pytest_flperf.history.clocks import moment_of
from pytest_flperf.results.absent import absent_lines
from pytest_flperf.results.records import BudgetVerdict, CaseResult, HostInfo, Run
from pytest_flperf.results.run_metrics import JUDGE_METRIC
from pytest_flperf.session.merge_checks import MergeError, check_alike
from pytest_flperf.stats.descriptive.clock_quality import merge_clocks

__all__ = ["MergeError", "MergedRun", "Part", "merge"]

_NAMED: Final = 20
"""Missing cases that are named one by one."""
_Key: TypeAlias = tuple[str, str]
_Cases: TypeAlias = Mapping[_Key, CaseResult]


@dataclass(frozen=True, slots=True)
class Part:
    """A run to be joined with others."""

    run: Run
    where: str
    """For people: file or store."""
    samples: Path | None = None
    """Its ``samples.jsonl``, where it is at hand."""


@dataclass(frozen=True, slots=True)
class MergedRun:
    """The joined run, and which run each of its cases is from."""

    run: Run
    """Without an id of its own."""
    parts: tuple[Part, ...]
    """The runs that were joined, oldest first, each once; hosts of the same name have been told apart."""
    taken: tuple[frozenset[str], ...]
    """Of each part the node ids of the cases that were taken from it."""


def merge(parts: Sequence[Part], *, other_versions: bool = False, allow_missing: bool = False) -> MergedRun:
    """Join runs of the same suites to one, and judge it.

    A case is known by node id and host.  Where several runs have it, the newest that was not cut short counts, and is
    shown as a rerun.  What no run has is a fault, and so is an end of a run that its cases don't explain.  An
    interrupted run leaves the whole interrupted, unless a run of the same host that ended has all cases.

    Args:
        parts: Runs in any order; the same run twice counts once.
        other_versions: Whether to join runs that were measured with different versions.
        allow_missing: Whether cases of the suites may be in none of the runs.

    Raises:
        MergeError: The runs can't be joined: what differs, or is there twice.

    """
    distinct = _told_apart(_distinct(parts))
    differing = check_alike([(part.run, part.where) for part in distinct], other_versions=other_versions)
    of_parts = [_cases_of(part.run) for part in distinct]
    owners = _owners(of_parts)
    cases = tuple(_case_of(key, of_parts, owner) for key, owner in owners.items())
    taken = tuple(
        frozenset(nodeid for (nodeid, _), owner in owners.items() if owner == number) for number in range(len(distinct))
    )
    runs = [part.run for part in distinct]
    missing = _missing(runs, cases)
    cut_off = [run.id for run in runs if _is_cut_off(run) and not _is_made_up_for(run, runs)]
    faults = (
        *(f"run {run.id}: {fault}" for run in runs for fault in run.faults),
        *_unexplained(runs),
        *(() if allow_missing else missing),
    )
    verdicts = (*_run_budgets(runs, cases), *_judge_gates(runs, taken))
    end = RunEnd(interrupted=bool(cut_off), faults=faults)
    joined = replace(
        runs[0],
        id="",
        started_at=min(filter(None, (run.started_at for run in runs)), default=""),
        finished_at=max((run.finished_at for run in runs if run.finished_at is not None), default=None),
        status=run_status(cases, verdicts, end),
        command=(),
        host=hosts[0] if len(hosts := _hosts(runs)) == 1 else None,
        hosts=hosts if len(hosts) > 1 else (),
        versions=_common(run.versions for run in runs),
        clock=merge_clocks(case.clock for case in cases),
        notes=(*_notes(runs, cases, cut_off), *differing, *(missing if allow_missing else ())),
        faults=faults,
        budgets=verdicts,
        partial=bool(cut_off) or any(case.partial for case in cases),
        suite_digests={ref: digest for run in runs for ref, digest in run.suite_digests.items()},
        suite_cases=_suite_cases(runs),
        merged=tuple(run.id for run in runs),
        cases=cases,
    )
    return MergedRun(replace(joined, answer=answer(joined)), tuple(distinct), taken)


# ---- the runs


def _distinct(parts: Sequence[Part]) -> list[Part]:
    """Each run once, oldest first; raises MergeError."""
    if not parts:
        raise MergeError("found no run, expected one at least")
    found: dict[tuple[str, str], Part] = {}
    for part in parts:
        if part.run.merged:
            raise MergeError(f"{part.where} joins other runs itself: name these ({', '.join(part.run.merged[:5])} …)")
        key = part.run.id, part.run.started_at
        other = found.setdefault(key, part)
        if other.run != part.run:
            found[key] = _more_complete(other, part)
        elif other.samples is None:
            found[key] = part
    ids = [run_id for run_id, _ in found]
    if twice := {run_id for run_id in ids if ids.count(run_id) > 1}:
        raise MergeError(f"two runs have the id {min(twice)} and began at different times: one of them was edited")
    return sorted(found.values(), key=lambda part: (part.run.started_at, part.run.id))


def _more_complete(one: Part, other: Part) -> Part:
    """The results of a run that ended, where the others are of the run under way."""
    ended = [part for part in (one, other) if part.run.finished_at is not None]
    if len(ended) == 1:
        return ended[0]
    raise MergeError(f"run {one.run.id} has different results in {one.where} and {other.where}: name only one of them")


def _told_apart(parts: Sequence[Part]) -> list[Part]:
    """The runs, with hosts of one name that are different machines renamed."""
    known: dict[str, list[tuple[object, ...]]] = {}
    found = []
    for part in parts:
        host = part.run.host
        if host is None:
            found.append(part)
            continue
        machines = known.setdefault(host.name, [])
        if _machine(host) not in machines:
            machines.append(_machine(host))
        number = machines.index(_machine(host)) + 1
        found.append(part if number == 1 else replace(part, run=_renamed(part.run, host, f"{host.name} ({number})")))
    return found


def _machine(host: HostInfo) -> tuple[object, ...]:
    return host.cpu, host.cores, host.ram_mb >> 10, host.gpus, host.machine


def _renamed(run: Run, host: HostInfo, name: str) -> Run:
    cases = tuple(replace(case, host=name) if case.host == host.name else case for case in run.cases)
    return replace(run, host=replace(host, name=name), cases=cases)


def _hosts(runs: Iterable[Run]) -> tuple[HostInfo, ...]:
    return tuple({run.host.name: run.host for run in runs if run.host is not None}.values())


def _common(mappings: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """What all have with the same value."""
    first, *others = mappings
    return {key: value for key, value in first.items() if all(other.get(key) == value for other in others)}


def _suite_cases(runs: Iterable[Run]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(nodeid for run in runs for nodeid in run.suite_cases))


# ---- their cases


def _cases_of(run: Run) -> _Cases:
    """Cases of a run, by node id and host."""
    found: dict[_Key, CaseResult] = {}
    for case in run.cases:
        found.setdefault((case.nodeid, case.host), case)
    return found


def _owners(of_parts: Sequence[_Cases]) -> dict[_Key, int]:
    """Which run each case is taken from, by node id and host."""
    found: dict[_Key, int] = {}
    for number, cases in enumerate(of_parts):
        for key, case in cases.items():
            if key not in found or _is_whole(case) or not _is_whole(of_parts[found[key]][key]):
                found[key] = number
    return found


def _is_whole(case: CaseResult) -> bool:
    """Whether a result is final: not cut short, and not skipped without a measurement."""
    return not case.partial and (case.outcome != "skipped" or is_judged(case))


def _case_of(key: _Key, of_parts: Sequence[_Cases], owner: int) -> CaseResult:
    """The result of a case, with a note for each other run that has it."""
    result = of_parts[owner][key]
    for number, cases in enumerate(of_parts):
        if number != owner and key in cases:
            result = after_rerun(cases[key], result)
    return result


def _missing(runs: Sequence[Run], cases: Iterable[CaseResult]) -> list[str]:
    """What is not known to have been measured, a line each."""
    lines = [
        f"run {run.id} doesn't say which cases its suites have: whether some are missing is not known"
        for run in runs
        if run.suites and not run.suite_cases
    ]
    known = {case.nodeid for case in cases}
    missing = [nodeid for nodeid in _suite_cases(runs) if nodeid not in known]
    lines += [f"{printable(nodeid, 300)} is in none of the runs" for nodeid in missing[:_NAMED]]
    if missing[_NAMED:]:
        lines.append(f"{len(missing) - _NAMED} more cases are in none of the runs")
    return lines


# ---- their ends


def _is_cut_off(run: Run) -> bool:
    return run.status == "interrupted" or run.finished_at is None


def _is_made_up_for(run: Run, runs: Sequence[Run]) -> bool:
    """Whether runs of the same host that ended have all cases of an interrupted one's suites."""
    if run.host is None or not run.suite_cases:
        return False
    ended = [other for other in runs if not _is_cut_off(other) and other.host is not None]
    known = {case.nodeid for other in ended for case in other.cases if case.host == run.host.name and _is_whole(case)}
    planned = {*run.suite_cases, *(case.nodeid for case in run.cases)}
    return planned <= known


def _unexplained(runs: Iterable[Run]) -> list[str]:
    """Runs that ended red for a reason that none of their cases shows."""
    found = []
    for run in runs:
        outcomes = {case.outcome for case in run.cases}
        if run.status == "error" and "error" not in outcomes and not run.faults:
            found.append(f"run {run.id} ended with an error that is of no case")
        if run.status == "failed" and "failed" not in outcomes and all(each.met for each in run.budgets):
            found.append(f"run {run.id} failed, and none of its cases did")
    return found


def _run_budgets(runs: Sequence[Run], cases: Sequence[CaseResult]) -> tuple[BudgetVerdict, ...]:
    """Budgets of the runs, judged over all cases; ``run.wall_s`` is that of the longest run."""
    verdicts = [verdict for run in runs for verdict in run.budgets]
    texts = dict.fromkeys(verdict.expression for verdict in verdicts if verdict.metric != JUDGE_METRIC)
    try:
        budgets: list[RunBudget] = [parse_run_budget(text) for text in texts]
    except BudgetError as error:
        raise MergeError(f"a budget of the runs can't be read: {error}") from error
    wall_s = max((known for run in runs if (known := _wall_s(run)) is not None), default=0.0)
    return tuple(budget.judge(cases, wall_s) for budget in budgets)


def _judge_gates(runs: Sequence[Run], taken: Sequence[frozenset[str]]) -> tuple[BudgetVerdict, ...]:
    """Gates of the runs' judges, for each model the worst one: answers can't be judged again here.

    An interrupt may have come before a judge had judged a run: cases that are taken from it miss the gate.
    """
    gates: dict[str, BudgetVerdict] = {}
    for verdict in (each for run in runs for each in run.budgets if each.metric == JUDGE_METRIC):
        former = gates.setdefault(verdict.expression, verdict)
        gates[verdict.expression] = min(former, verdict, key=lambda each: (each.met, each.value or 0.0))
    for run, nodeids in zip(runs, taken, strict=True):
        judged = {verdict.expression for verdict in run.budgets}
        asked = {case.model for case in run.cases if case.nodeid in nodeids and case.requests.total}
        models = tuple(f"@{printable(model, 80)}:{JUDGE_METRIC} " for model in asked)
        for text in gates if _is_cut_off(run) else ():
            if text not in judged and text.startswith(models):
                reason = f"run {run.id} was interrupted before its judge had judged it"
                gates[text] = replace(gates[text], met=False, value=None, n=0, reason=reason)
    return tuple(gates.values())


def _wall_s(run: Run) -> float | None:
    begun, ended = moment_of(run.started_at), moment_of(run.finished_at or "")
    return (ended - begun).total_seconds() if begun is not None and ended is not None else None


def _notes(runs: Sequence[Run], cases: Sequence[CaseResult], cut_off: Sequence[str]) -> list[str]:
    """Notes of the runs, each once, and those on the joined run."""
    lines = [
        f"run {run_id} was interrupted, and no run of the same host that ended has all its cases: measure these again, "
        "or leave the run out where another has them"
        for run_id in cut_off
    ]
    again = sum(case.reruns > 0 for case in cases)
    if again:
        lines.append(
            f"{again} of {len(cases)} cases were measured more than once: the newest that was not cut short counts"
        )
    absent = set(absent_lines(cases))
    by_note: dict[str, list[str]] = {}
    for run in runs:
        for note in run.notes:
            by_note.setdefault(note, []).append(run.id)
    for note, ids in by_note.items():
        if note not in absent:
            lines.append(note if len(ids) == len(runs) else f"run {', '.join(ids)}: {note}")
    return lines
