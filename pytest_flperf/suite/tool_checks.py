"""Tools of scenarios and rows, checked before any request."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from pytest_flperf.quality.tools.definitions import choice_problem, parameters_of, tool_names
from pytest_flperf.quality.tools.expected import FEWEST, expects_calls, with_results, with_tools
from pytest_flperf.quality.tools.played import MOST_RESULTS, PlayedResults
from pytest_flperf.suite.errors import shown
from pytest_flperf.suite.model import Scenario
from pytest_flperf.suite.parser import KeyPath
from pytest_flperf.suite.prompts.rows import Row

__all__ = ["check_tools", "with_named_tools"]

_SHOWN: Final = 10
_MOST_NAMES: Final = 1_000
_Schema = tuple[KeyPath, str, Mapping[str, Any]]


def with_named_tools(scenario: Scenario) -> Scenario:
    """The scenario, whose expected calls know the tools that it offers.

    An answer that writes a call as text is known by their names.
    """
    if not scenario.is_scored:
        return scenario
    own, source, expect = tool_names(scenario.settings.tools), scenario.source, scenario.expect
    results, plays = scenario.tool_results, scenario.plays_tools
    if source is not None and source.expects:
        source = replace(
            source, rows=tuple(_with_named_tools(row, own, row.tool_results or results, plays) for row in source.rows)
        )
    if expect is not None:
        rows = source.rows if source is not None else ()
        names = dict.fromkeys((*own, *(name for row in rows for name in tool_names(row.tools))))
        expect = with_tools(expect, tuple(names)[:_MOST_NAMES])
        if plays:
            all_results = (*results, *(each for row in rows for each in row.tool_results))
            expect = with_results(expect, all_results[:MOST_RESULTS])
    return replace(scenario, source=source, expect=expect)


def _with_named_tools(row: Row, own: Sequence[str], results: Sequence[Mapping[str, Any]], plays: bool) -> Row:
    """A row, whose expected calls know its own tools, or else those of all rows; likewise the results."""
    expect = row.scored.expect
    if expect is None:
        return row
    expect = with_tools(expect, tool_names(row.tools) or own)
    return replace(row, scored=replace(row.scored, expect=with_results(expect, results) if plays else expect))


def check_tools(scenarios: Iterable[Scenario], add: Callable[[KeyPath, str], None]) -> None:
    """Note choices of tools that aren't there, and parameters that are not JSON Schema.

    References to other documents are refused, and never fetched.
    """
    found: dict[str, _Schema] = {}
    for index, scenario in enumerate(scenarios):
        for key, words in _problems_of_playing(scenario):
            add(("scenarios", index, *key), words)
        _check_choice(scenario, ("scenarios", index, "tool_choice"), add)
        source = scenario.source
        if scenario.settings.load.kind == "session" and source is not None and any(row.tools for row in source.rows):
            words = "found rows with tools, which chats (load: session) don't offer, expected tools of the scenario"
            add(("scenarios", index, "dataset"), words)
        for each in _schemas(scenario, index):
            found.setdefault(json.dumps(each[2], sort_keys=True), each)
    if not found:
        return
    from pytest_flperf.quality.scoring import problems_of

    problems = problems_of([{"json_schema": schema} for _, _, schema in found.values()])
    told = [(each, problem) for each, problem in zip(found.values(), problems, strict=True) if problem]
    for (place, tool, schema), problem in told[:_SHOWN]:
        add(place, f"the parameters of {tool}: found {shown(schema)}, which {problem}")


def _problems_of_playing(scenario: Scenario) -> Iterator[tuple[KeyPath, str]]:
    """Keys and words of what doesn't go together with played tool results."""
    expect = scenario.expect
    if not scenario.plays_tools:
        if expect is not None and any(FEWEST in group for group in (expect, *expect.get("checks", ()))):
            yield ("expect",), "found turns without tool_results, expected both: without results there is one turn"
        return
    settings = scenario.settings
    if settings.load.kind != "closed":
        yield ("tool_results",), f"found it with load: {settings.load.kind}, expected load: closed"
    if settings.tool_choice not in (None, "auto"):
        words = f"found {shown(settings.tool_choice)} with tool_results, expected auto: the model must be able to end"
        yield ("tool_choice",), words
    rows = scenario.source.rows if scenario.source is not None else ()
    tools = [(scenario.tool_results, settings.tools, "")]
    tools += [
        (row.tool_results, row.tools or settings.tools, f" (row {shown(row.turns[0][:40])})")
        for row in rows
        if row.tool_results
    ]
    for results, offered, where in tools:
        unknown = set(PlayedResults(results, ()).names) - set(tool_names(offered))
        if unknown:
            key: KeyPath = ("dataset",) if where else ("tool_results",)
            yield key, f"found a result of {shown(min(unknown))}{where}, expected the name of one of the tools"
            return
    if expect is not None and not expects_calls(expect):
        yield ("expect",), "found no calls beside tool_results, expected the calls that the conversation takes"
    for row in rows:
        if row.scored.expect is not None and not expects_calls(row.scored.expect):
            where = f"(row {shown(row.turns[0][:40])})"
            yield ("dataset",), f"found no calls in an expectation {where} beside tool_results, expected some"
            return


def _check_choice(scenario: Scenario, place: KeyPath, add: Callable[[KeyPath, str], None]) -> None:
    choice, tools = scenario.settings.tool_choice, scenario.settings.tools
    if choice is None:
        return
    rows = scenario.source.rows if scenario.source is not None else ()
    offered: list[Sequence[Any]] = list({id(row.tools): row.tools for row in rows if row.tools}.values())
    for each in offered if offered and not tools else [tools, *offered]:
        problem = choice_problem(choice, each)
        if problem:
            add(place, problem)
            return


def _schemas(scenario: Scenario, index: int) -> Iterator[_Schema]:
    for number, parameters in parameters_of(scenario.settings.tools):
        name = scenario.settings.tools[number]["function"]["name"]
        yield ("scenarios", index, "tools", number), shown(name), parameters
    for row in scenario.source.rows if scenario.source is not None else ():
        for number, parameters in parameters_of(row.tools):
            name = row.tools[number]["function"]["name"]
            yield ("scenarios", index, "dataset"), f"{shown(name)} (row {shown(row.turns[0][:40])})", parameters
