"""Verdict of a run in words, the same in every report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final, Literal, TypeAlias

from pytest_flperf.report.figures import counted
from pytest_flperf.results.comparison import DEFAULT_SCOPE, IMPLIED_SCOPE
from pytest_flperf.results.records import CaseResult, Run, RunStatus

__all__ = ["heading", "not_made", "outcome_words", "sentence", "status_word", "tone", "verdict_of"]

_OUTCOMES: Final = ("passed", "failed", "error", "xfailed", "xpassed", "skipped")
_DEFAULT: Final = "default"
_UNWRITTEN: Final = (DEFAULT_SCOPE, IMPLIED_SCOPE)
_Tone: TypeAlias = Literal["good", "doubt", "bad"]


def not_made(cases: Iterable[CaseResult]) -> int:
    """Number of gate comparisons that had nothing to compare with."""
    return sum(
        each.scope != DEFAULT_SCOPE
        for case in cases
        for against in case.against
        if against.missing
        for each in against.comparisons
    )


def status_word(status: RunStatus | str) -> str:
    """Status in words: ``not measured``."""
    return status.replace("_", " ")


def heading(run: Run) -> str:
    """Heading of the verdict: ``PASSED``, ``NOT MEASURED``, ``FAILED (PARTIAL)``."""
    marks = " (PARTIAL)" if run.partial and run.status != "interrupted" else ""
    marks += " (ONLY EXPECTED FAILURES)" if _only_expected(run) else ""
    return f"{status_word(run.status).upper()}{marks}"


def verdict_of(run: Run) -> str:
    """The last line of a run in a terminal."""
    verdict = status_word(run.status).upper()
    if _only_expected(run):
        verdict += " (ONLY EXPECTED FAILURES)"
    if run.partial and run.status != "interrupted":
        verdict = f"PARTIAL, {verdict}" + (" as far as measured" if run.status == "passed" else "")
    return f"flperf: {verdict}: {', '.join([outcome_words(run), *_budgets_met(run), *_undecided(run)])}"


def _budgets_met(run: Run) -> list[str]:
    """Number of budgets that somebody wrote and a passed run met."""
    judged = [verdict for case in run.cases if _met_all(case) for verdict in case.budgets]
    met = sum(verdict.met and verdict.scope != _DEFAULT for verdict in (*judged, *run.budgets))
    return [f"{counted(met, 'budget')} met"] if met and run.status == "passed" else []


def _undecided(run: Run) -> list[str]:
    """Number of gate comparisons that were made and could not be decided."""
    found = sum(
        each.verdict == "undecided" and each.scope not in _UNWRITTEN
        for case in run.cases
        for against in case.against
        if not against.missing
        for each in against.comparisons
    )
    return [f"{counted(found, 'comparison')} undecided"] if found else []


def tone(run: Run) -> _Tone:
    """Tone of the verdict; good only where every part of it is.

    A gate that compared nothing is not green.
    """
    if run.status == "passed":
        return "doubt" if run.partial or _only_expected(run) or not_made(run.cases) else "good"
    if run.status == "not_measured":
        lost = run.faults or any(case.outcome in ("failed", "error") for case in run.cases)
        return "bad" if lost else "doubt"
    return "doubt" if run.status == "interrupted" else "bad"


def outcome_words(run: Run) -> str:
    """Counts of outcomes: ``20 passed, 2 failed``; ``no case was run``."""
    counts = Counter(case.outcome for case in run.cases)
    words = [f"{counts[word]} {word}" for word in _OUTCOMES if counts[word]]
    words = [f"{word}s" if word.endswith(" error") and word != "1 error" else word for word in words]
    reruns = sum(case.reruns for case in run.cases)
    if reruns:
        words.append(f"{reruns} {'rerun' if reruns == 1 else 'reruns'}")
    missed = sum(not verdict.met for verdict in run.budgets)
    if missed:
        words.append(f"{missed} of the run's {len(run.budgets)} budgets missed")
    unmade = not_made(run.cases)
    if unmade:
        words.append(f"{counted(unmade, 'comparison')} not made")
    if run.faults:
        words.append(counted(len(run.faults), "error") + " of pytest")
    return ", ".join(words) or "no case was run"


def sentence(run: Run) -> str:
    """The verdict in one sentence, which says what was judged."""
    models = len(dict.fromkeys(case.model for case in run.cases))
    words = f"{outcome_words(run)}, {counted(models, 'model')}." if run.cases else f"{outcome_words(run)}."
    if run.status == "interrupted":
        return f"The run was interrupted; what had been measured by then is here: {words}"
    if run.status == "not_measured":
        what = "judged" if any(case.requests.total for case in run.cases) else "measured"
        return f"Nothing was {what}: {words}"
    if run.partial:
        return f"The run is partial, as far as measured {run.status}: {words}"
    if run.status == "passed":
        return f"{_judged(run)}: {words}"
    return words[0].upper() + words[1:]


def _judged(run: Run) -> str:
    """Budgets that a passed run met, and in how many cases."""
    met = [case for case in run.cases if _met_all(case)]
    left = sum(case.outcome in ("passed", "xpassed") for case in run.cases) - len(met)
    if not met:
        return "No budget was met; every miss was expected" if not left else "The budgets were left to the tests"
    where = "" if len(met) == len(run.cases) else f" in {len(met)} of {len(run.cases)} cases"
    if any(map(_has_own, met)):
        return f"Every budget was met{where}"
    default = met[0].budgets[0].expression
    if any(map(_has_own, run.cases)):
        return f"The default budget, {default}, was met{where}"
    return f"The only budget of the cases was the default, {default}; it was met{where}"


def _has_own(case: CaseResult) -> bool:
    return any(verdict.scope != _DEFAULT for verdict in case.budgets)


def _met_all(case: CaseResult) -> bool:
    judged = case.outcome in ("passed", "xpassed") and bool(case.budgets)
    return judged and all(verdict.met for verdict in case.budgets)


def _only_expected(run: Run) -> bool:
    """Whether a run passed although no case did."""
    outcomes = {case.outcome for case in run.cases}
    return run.status == "passed" and "xfailed" in outcomes and outcomes.isdisjoint(("passed", "xpassed"))
