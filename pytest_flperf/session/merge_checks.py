"""Merge checks: runs are joined only where they measured the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from pytest_flperf._text import printable
from pytest_flperf.errors import FlperfError
from pytest_flperf.results.records import CaseResult, Run

__all__ = ["MergeError", "check_alike"]

_SHOWN: Final = 5
_OF_THE_CLIENT: Final = ("processes",)
"""Parts of a load that say how it was made, and not what it is."""


class MergeError(FlperfError):
    """Runs that can't be joined: what differs, where, what to do."""


def check_alike(runs: Sequence[tuple[Run, str]], *, other_versions: bool) -> list[str]:
    """Check that runs have the same suites, versions, prompts, settings and loads.

    Args:
        runs: Runs, and where they are, for people.
        other_versions: Whether versions may differ.

    Returns:
        Notes: the versions that differ.

    Raises:
        MergeError: Something else differs.

    """
    (first, where), *others = runs
    versions: list[str] = []
    for run, place in others:
        pair = f"between {where} and {place}"
        if set(run.suites) != set(first.suites):
            raise MergeError(f"the suites differ {pair}: {_names(first.suites)} and {_names(run.suites)}")
        for ref in first.suite_digests.keys() & run.suite_digests.keys():
            if first.suite_digests[ref] != run.suite_digests[ref]:
                raise MergeError(
                    f"the suite {printable(ref, 200)} differs {pair} (scenarios, prompts, settings or budgets): "
                    "measure all with the same file"
                )
        versions += [line for line in _versions(first, run) if line not in versions]
    if versions and not other_versions:
        raise MergeError(
            f"the runs were measured with different versions: {'; '.join(versions[:_SHOWN])}: measure with the same, "
            "or join them all the same with --other-versions"
        )
    _check_cases(runs)
    return [f"measured with different versions: {line}" for line in versions]


def _names(suites: Sequence[str]) -> str:
    return ", ".join(printable(each, 100) for each in suites[:_SHOWN]) or "none"


def _versions(one: Run, other: Run) -> Iterator[str]:
    for name in sorted({*one.versions, *other.versions}):
        found = one.versions.get(name), other.versions.get(name)
        if found[0] != found[1]:
            yield f"{printable(name, 60)} {' and '.join(printable(each or 'missing', 60) for each in found)}"


def _check_cases(runs: Sequence[tuple[Run, str]]) -> None:
    """Check that cases of one node id were measured in the same way; raises MergeError."""
    known: dict[str, tuple[CaseResult, str]] = {}
    for run, where in runs:
        for case in run.cases:
            if case.load is None or not case.prompts_digest:
                continue  # nothing was sent
            other, place = known.setdefault(case.nodeid, (case, where))
            for what, a, b in _compared(other, case):
                if a != b:
                    raise MergeError(
                        f"{printable(case.nodeid, 200)}: {what} differ between {place} and {where}"
                        f"{_difference(a, b)}: measure it in the same way everywhere"
                    )


def _compared(one: CaseResult, other: CaseResult) -> Iterator[tuple[str, Any, Any]]:
    yield "the prompts", one.prompts_digest, other.prompts_digest
    yield "the settings", dict(one.settings), dict(other.settings)
    if one.search is None and other.search is None:  # the load that a search finds is a result
        yield "the loads", _load(one), _load(other)


def _load(case: CaseResult) -> dict[str, Any]:
    assert case.load is not None
    return {key: value for key, value in case.load.to_dict().items() if key not in _OF_THE_CLIENT}


def _difference(one: Any, other: Any) -> str:
    """The first setting that differs, in words."""
    if not isinstance(one, dict):
        return ""
    for key in sorted({*one, *other}):
        if one.get(key) != other.get(key):
            return (
                f" ({printable(key, 60)}: {printable(repr(one.get(key)), 80)}, {printable(repr(other.get(key)), 80)})"
            )
    return ""
