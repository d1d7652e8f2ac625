"""``flperf budgets``: suggest budgets from measured runs."""

from __future__ import annotations

import json
import shlex
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING, Final

from pytest_flperf.commands.common import FAILED, Commands, Parsed, add_json, print_json, refuse
from pytest_flperf.commands.stored_runs import RUN_HELP, add_places, run_names, tell_taken

if TYPE_CHECKING:
    from pytest_flperf.gates.suggestions import LeftOut, Suggestion
    from pytest_flperf.results.records import Run

__all__ = ["add_budgets"]

_WIDTH: Final = 80
_NAME: Final = 100
_MARGINS: Final = (1.0, 100.0)


def add_budgets(commands: Commands) -> None:
    """Add the ``budgets`` command."""
    parser = commands.add_parser(
        "budgets",
        help="Suggest budgets from measured runs",
        description="Budgets that the runs themselves meet, with room for their noise: for each scenario and model, "
        "as YAML for a suite. Three or more runs show how much runs differ; one or two don't, and get a fixed margin.",
    )
    parser.add_argument("action", choices=("suggest",), help="What to do")
    parser.add_argument(
        "names", metavar="RUN", nargs="*", default=[],
        help=f"{RUN_HELP}; default: latest; several: of the same on the same machine",
    )  # fmt: skip
    add_places(parser)
    parser.add_argument(
        "--margin", metavar="FACTOR", type=float,
        help="Room beyond the 95 %% interval, a factor such as 1.3, instead of what the runs show; default for one "
        "or two: 1.5",
    )  # fmt: skip
    parser.add_argument(
        "--format", choices=("suite", "option"), default="suite",
        help="YAML for a suite (the default), or options for pytest's command line",
    )  # fmt: skip
    add_json(parser, "the budgets, and the metrics without one")
    parser.set_defaults(run=_suggest, usage=parser)


def _suggest(parsed: Parsed) -> int:
    from pytest_flperf.gates.suggestions import suggest
    from pytest_flperf.report.terminal.listings import say

    least, most = _MARGINS
    if parsed.margin is not None and not least <= parsed.margin <= most:
        refuse(parsed, f"--margin: found {parsed.margin:g}, expected a factor from {least:g} to {most:g}")
    runs = _runs(parsed)
    found, left = suggest((case for run in runs for case in run.cases), parsed.margin)
    if parsed.json:
        print_json(
            {
                "runs": [run.id for run in runs],
                "budgets": [asdict(each) for each in found],
                "left_out": [asdict(each) for each in left],
            }
        )
    elif parsed.format == "option":
        for each in found:
            say(f"--flperf-budget={shlex.quote(each.budget)}")
    else:
        for line in _yaml(runs, found, left, parsed.margin):
            say(line)
    return 0 if found else FAILED


def _runs(parsed: Parsed) -> list[Run]:
    """Read the named runs; exits if one is missing or named twice."""
    found: dict[str, Run] = {}
    texts = parsed.names or ["latest"]
    with run_names(parsed, texts) as names:
        for ref in map(names.find, texts):
            run = names.read(ref)
            tell_taken(names.where(ref, run.id))
            if run.id in found:
                twice = f"found run {run.id[:_NAME]!r} twice"
                refuse(parsed, f"{twice}, expected different runs: their spread is the margin")
            found[run.id] = run
    return list(found.values())


def _yaml(
    runs: Sequence[Run], found: Sequence[Suggestion], left: Sequence[LeftOut], margin: float | None
) -> Iterator[str]:
    """A suite's budgets as YAML, with reasons; one document per suite."""
    from pytest_flperf._text import printable

    yield from _comment(_head(runs, margin), "")
    suites = list(dict.fromkeys([*(each.suite for each in found), *(each.suite for each in left)]))
    for number, suite in enumerate(suites):
        if len(suites) > 1:
            yield from ["---"] * bool(number)
            yield from _comment(f"suite {printable(suite, _NAME)}", "")
        mine = [each for each in found if each.suite == suite]
        yield "budgets:" if mine else "budgets: []"
        for (scenario, model), group in groupby(mine, lambda each: (each.scenario, each.model)):
            yield from _comment(f"{printable(scenario, _NAME)} on {printable(model, _NAME)}", "  ")
            for each in group:
                yield from _comment(f"  {each.why}", "  ")
                yield f"  - {json.dumps(each.budget, ensure_ascii=False)}"
        for gone in left:
            if gone.suite == suite:
                what = f"{gone.number} of " * bool(gone.number)
                of = f"{printable(gone.scenario, _NAME)} on {printable(gone.model, _NAME)}"
                yield from _comment(f"none for {what}{of}: {gone.reason}", "  ")
    if not suites:
        yield "budgets: []"


def _head(runs: Sequence[Run], margin: float | None) -> str:
    from pytest_flperf._text import printable
    from pytest_flperf.gates.suggestions import CONFIDENCE, FEWEST_RUNS, ONE_RUN_MARGIN

    hosts = dict.fromkeys(run.host.name for run in runs if run.host is not None)
    where = f" on {' and '.join(printable(name, _NAME) for name in hosts)}" if hosts else ""
    of = f"From {len(runs)} run{'s' * (len(runs) > 1)}{where}: {', '.join(printable(run.id, _NAME) for run in runs)}."
    if margin is not None:
        room = f"Room: a factor of {margin:g} beyond the 95 % interval, as requested."
    elif len(runs) < FEWEST_RUNS:
        room = (
            f"Room: a factor of {ONE_RUN_MARGIN:g} beyond the 95 % interval, because so few runs can't show how much "
            f"runs differ; give {FEWEST_RUNS} or more."
        )
    else:
        room = (
            f"Room: the bound that {100 * CONFIDENCE:g} % of further runs keep, from the spread of these (Student's t "
            f"of the logarithms); a factor of {ONE_RUN_MARGIN:g} where fewer than {FEWEST_RUNS} have enough requests."
        )
    return f"{of} {room} Rounded to two digits, away from what was measured."


def _comment(text: str, indent: str) -> list[str]:
    lead = f"{indent}# {' ' * (len(text) - len(text.lstrip()))}"
    return textwrap.wrap(text.strip(), _WIDTH, initial_indent=lead, subsequent_indent=lead, break_on_hyphens=False)
