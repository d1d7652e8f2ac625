"""Validation of own scorers, before anything is loaded: they are imported, not called."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pytest_flperf.quality.expectations import SCORER, scorers_in
from pytest_flperf.session.errors import OptionsError
from pytest_flperf.suite.bounded_files import display_path
from pytest_flperf.suite.errors import key_path, shown
from pytest_flperf.suite.model import Suite
from pytest_flperf.suite.parser import KeyPath, read_source

__all__ = ["check_scorers"]

_SEVERAL: Final = "checks"


def check_scorers(suite: Suite) -> None:
    """Refuse scorers that can't be imported or called; raises OptionsError.

    Modules are imported in a process with limits.
    """
    places: dict[str, KeyPath] = {}
    for name, place in _named(suite):
        places.setdefault(name, place)
    if not places:
        return
    from pytest_flperf.quality.scorers.process import scorer_problems

    source = read_source(suite.path)
    for name, problem in zip(places, scorer_problems(str(suite.path.parent), tuple(places)), strict=True):
        if problem:
            line = source.line_of(places[name])
            where = f"{display_path(suite.path)}{'' if line is None else f':{line}'}: {key_path(places[name])}"
            raise OptionsError(f"{where}: found {shown(name)}, which {problem}")


def _named(suite: Suite) -> Iterator[tuple[str, KeyPath]]:
    """Each scorer of a suite, with its place."""
    for index, scenario in enumerate(suite.scenarios):
        at: KeyPath = ("scenarios", index, "expect")
        several = (scenario.expect or {}).get(_SEVERAL)
        for number, name in enumerate(scorers_in(scenario.expect or {})):
            named = [place for place, each in enumerate(several or ()) if SCORER in each]
            yield name, (*at, _SEVERAL, named[number], SCORER) if several else (*at, SCORER)
        for row in scenario.source.rows if scenario.source is not None else ():
            for name in scorers_in(row.scored.expect or {}):
                yield name, ("scenarios", index, "dataset")
