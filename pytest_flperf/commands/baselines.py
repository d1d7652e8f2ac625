"""``flperf baseline``: names for runs that others are compared with."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_flperf.commands.common import Commands, Parsed, add_json, print_json, refuse
from pytest_flperf.commands.stores import RUN_HELP, add_places, open_store, tell_taken, unusable

if TYPE_CHECKING:
    from pytest_flperf.history.run_names import RunNames
    from pytest_flperf.history.store import Store

__all__ = ["add_baseline"]

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")


def add_baseline(commands: Commands) -> None:
    """The command ``baseline`` with its own commands."""
    parser = commands.add_parser(
        "baseline",
        help="Name runs that others are compared with",
        description="Names for stored runs: 'flperf baseline set release RUN' makes RUN the baseline 'release', which "
        "stays when others are pruned.",
    )
    actions = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    adding = actions.add_parser("set", help="Give a run a name", description="Gives a stored run a name.")
    adding.add_argument("name", metavar="NAME", help="Letters, digits, '.', '_' and '-'; one that is there is moved")
    adding.add_argument("of", metavar="RUN", help=f"{RUN_HELP}; it must be in the store")
    listing = actions.add_parser("list", help="List the names", description="Lists baselines and their runs.")
    removing = actions.add_parser("remove", help="Take a name away", description="Takes a name away; the run stays.")
    removing.add_argument("name", metavar="NAME", help="One of 'flperf baseline list'")
    for each, run, what in (
        (adding, _set, "the baseline"),
        (listing, _list, "the baselines"),
        (removing, _remove, "what was removed"),
    ):
        add_places(each)
        add_json(each, what)
        each.set_defaults(run=run, usage=each)


def _set(parsed: Parsed) -> int:
    from pytest_flperf.history.run_names import RunNames
    from pytest_flperf.history.store import StoreError
    from pytest_flperf.report.listings import say

    if not _NAME.match(parsed.name):
        refuse(parsed, f"NAME: found {parsed.name[:80]!r}, expected up to 64 letters, digits, '.', '_' and '-'")
    try:
        with open_store(parsed) as store:
            run_id = _stored_id(parsed, RunNames(store, Path(parsed.report_dir)))
            before = store.baseline(parsed.name)
            store.set_baseline(parsed.name, run_id)
            now = store.baseline(parsed.name)
    except StoreError as error:
        return unusable(parsed, error)
    assert now is not None
    if parsed.json:
        return print_json({**asdict(now), "before": None if before is None else before.run_id})
    moved = f" (before: {before.run_id})" if before is not None and before.run_id != run_id else ""
    say(f"baseline {parsed.name}: {run_id}{moved}")
    return 0


def _stored_id(parsed: Parsed, names: RunNames) -> str:
    """The stored run that is to have the name; ends the command where there is none, or the name means another."""
    from pytest_flperf.history.run_names import RunNameError
    from pytest_flperf.results.stored import RunError

    if why := names.why_no_name(parsed.name):
        refuse(parsed, f"NAME: {why}; expected a name that means nothing else")
    try:
        ref = names.find(parsed.of)
        run_id = ref.id or names.read(ref).id
    except (RunNameError, RunError) as error:
        refuse(parsed, f"RUN: {error}")
    if not names.is_stored(run_id):
        refuse(parsed, f"RUN: {names.where(ref, run_id)} is not in the store: 'flperf import' stores it")
    tell_taken(names.where(ref, run_id))
    return run_id


def _list(parsed: Parsed) -> int:
    from pytest_flperf.history.store import StoreError
    from pytest_flperf.report.listings import say
    from pytest_flperf.report.tables import render

    try:
        with open_store(parsed) as store:
            found = store.baselines()
            there = {each.name: store.stored(each.run_id) is not None for each in found}
    except StoreError as error:
        return unusable(parsed, error)
    if parsed.json:
        return print_json([{**asdict(each), "stored": there[each.name]} for each in found])
    if not found:
        say("no run has a name: 'flperf baseline set NAME RUN' gives one")
        return 0
    rows = [[each.name, each.run_id + ("" if there[each.name] else " (gone)"), each.set_at] for each in found]
    for line in render(("name", "run", "set at"), rows, (True, True, True)):
        say(line)
    return 0


def _remove(parsed: Parsed) -> int:
    from pytest_flperf.history.store import StoreError
    from pytest_flperf.report.listings import say

    try:
        with open_store(parsed) as store:
            if not store.remove_baseline(parsed.name):
                refuse(parsed, _unknown(store, parsed.name))
    except StoreError as error:
        return unusable(parsed, error)
    if parsed.json:
        return print_json({"removed": parsed.name})
    say(f"removed: {parsed.name}")
    return 0


def _unknown(store: Store, name: str) -> str:
    import difflib

    known = [each.name for each in store.baselines()]
    near = difflib.get_close_matches(name[:80], known, n=3, cutoff=0.3) or known[:5]
    hint = f"nearest: {', '.join(near)}" if near else "there are none"
    return f"no baseline {name[:80]!r}: {hint}"
