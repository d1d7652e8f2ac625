"""Validation of own scorers, before anything is loaded: they are imported, not called."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from pytest_flperf.quality.expectations import SCORER, scorers_in
from pytest_flperf.session.errors import OptionsError
from pytest_flperf.suite.bounded_files import display_path
from pytest_flperf.suite.errors import key_path, shown
from pytest_flperf.suite.model import Scenario, Suite
from pytest_flperf.suite.parser import KeyPath, read_source

__all__ = ["CheckedScorers", "check_scorers"]

_SEVERAL: Final = "checks"


def check_scorers(suite: Suite) -> None:
    """Refuse scorers that can't be imported or called; raises OptionsError.

    Modules are imported in a process with limits.
    """
    named = (
        (name, ("scenarios", index, *place))
        for index, scenario in enumerate(suite.scenarios)
        for name, place in _named(scenario)
    )
    places = _first_places(named)
    if not places:
        return
    from pytest_flperf.quality.scorers.process import scorer_problems

    source = read_source(suite.path)
    for name, problem in zip(places, scorer_problems(str(suite.path.parent), tuple(places)), strict=True):
        if problem:
            line = source.line_of(places[name])
            where = f"{display_path(suite.path)}{'' if line is None else f':{line}'}: {key_path(places[name])}"
            raise OptionsError(f"{where}: found {shown(name)}, which {problem}")


class CheckedScorers:
    """Scorers of scenarios that tests measure, each checked once."""

    def __init__(self) -> None:
        """Nothing is checked yet."""
        self._good: set[tuple[Path, str]] = set()

    def check(self, scenario: Scenario, where: str) -> None:
        """Refuse scorers that can't be imported or called; raises OptionsError, whose text begins with ``where``."""
        folder = scenario.folder or Path.cwd()
        places = _first_places(each for each in _named(scenario) if (folder, each[0]) not in self._good)
        if not places:
            return
        from pytest_flperf.quality.scorers.process import scorer_problems

        for name, problem in zip(places, scorer_problems(str(folder), tuple(places)), strict=True):
            if problem:
                raise OptionsError(f"{where}: {key_path(places[name])}: found {shown(name)}, which {problem}")
        self._good |= {(folder, name) for name in places}


def _first_places(named: Iterable[tuple[str, KeyPath]]) -> dict[str, KeyPath]:
    """The first place of each scorer."""
    places: dict[str, KeyPath] = {}
    for name, place in named:
        places.setdefault(name, place)
    return places


def _named(scenario: Scenario) -> Iterator[tuple[str, KeyPath]]:
    """Each scorer of a scenario, with its place in it."""
    several = (scenario.expect or {}).get(_SEVERAL)
    for number, name in enumerate(scorers_in(scenario.expect or {})):
        named = [place for place, each in enumerate(several or ()) if SCORER in each]
        yield name, ("expect", _SEVERAL, named[number], SCORER) if several else ("expect", SCORER)
    for row in scenario.source.rows if scenario.source is not None else ():
        for name in scorers_in(row.scored.expect or {}):
            yield name, ("dataset",)
