"""``flperf baseline``: named baselines and accepted changes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_flperf.commands.common import Commands, Parsed, add_json, print_json, refuse
from pytest_flperf.commands.stored_runs import RUN_HELP, add_places, open_store, tell_taken, unusable

if TYPE_CHECKING:
    from pytest_flperf.history.run_names import RunNames
    from pytest_flperf.history.store import Store

__all__ = ["add_baseline"]

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
_ACCEPTED: Final = "(accepted)"


def add_baseline(commands: Commands) -> None:
    """Add the ``baseline`` command with its subcommands."""
    parser = commands.add_parser(
        "baseline",
        help="Name runs to compare with, and accept changes",
        description="Names for stored runs: 'flperf baseline set release RUN' makes RUN the baseline 'release', which "
        "stays when others are pruned. 'flperf baseline accept RUN' accepts a change: later runs are compared with RUN "
        "although it regressed, missed a budget or was undecided.",
    )
    actions = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    adding = actions.add_parser("set", help="Give a run a name", description="Gives a stored run a name.")
    adding.add_argument(
        "name", metavar="NAME", help="Letters, digits, '.', '_' and '-'; a name in use moves to this run"
    )
    adding.add_argument("of", metavar="RUN", help=f"{RUN_HELP}; it must be in the store")
    listing = actions.add_parser(
        "list", help="List names and accepted runs", description="Lists baselines, their runs, and the accepted runs."
    )
    removing = actions.add_parser("remove", help="Remove a name", description="Removes a name; the run stays.")
    removing.add_argument("name", metavar="NAME", help="One of 'flperf baseline list'")
    accepting = actions.add_parser(
        "accept",
        help="Accept what changed in a run",
        description="Accepts a change: all cases that RUN fully measured may be the baseline of later runs.",
    )
    accepting.add_argument("of", metavar="RUN", help=f"{RUN_HELP}; it must be in the store")
    taking_back = actions.add_parser(
        "unaccept",
        help="Withdraw an acceptance",
        description="Withdraws an acceptance: RUN's own results decide again what may be a baseline.",
    )
    taking_back.add_argument("of", metavar="RUN", help="One of 'flperf baseline list'")
    for each, run, what in (
        (adding, _set, "the baseline"),
        (listing, _list, "the baselines"),
        (removing, _remove, "what was removed"),
        (accepting, _accept, "what was accepted"),
        (taking_back, _unaccept, "what was taken back"),
    ):
        add_places(each)
        add_json(each, what)
        each.set_defaults(run=run, usage=each)


def _set(parsed: Parsed) -> int:
    from pytest_flperf.history.run_names import RunNames
    from pytest_flperf.history.store import StoreError
    from pytest_flperf.report.terminal.listings import say

    if not _NAME.match(parsed.name):
        refuse(parsed, f"NAME: found {parsed.name[:80]!r}, expected up to 64 letters, digits, '.', '_' and '-'")
    try:
        with open_store(parsed) as store:
            names = RunNames(store, Path(parsed.report_dir))
            if why := names.why_no_name(parsed.name):
                refuse(parsed, f"NAME: {why}; expected a name that means nothing else")
            run_id = _stored_id(parsed, names)
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
    """Id of the stored run that RUN names; exits without one."""
    from pytest_flperf.history.run_names import RunNameError
    from pytest_flperf.results.reader import RunError

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
    from pytest_flperf.report.terminal.listings import say
    from pytest_flperf.report.terminal.tables import render

    try:
        with open_store(parsed) as store:
            named, accepted = store.baselines(), store.acceptances()
            ids = {*(each.run_id for each in named), *(each.run_id for each in accepted)}
            there = {run_id: store.stored(run_id) is not None for run_id in ids}
    except StoreError as error:
        return unusable(parsed, error)
    if parsed.json:
        return print_json(
            [
                *({**asdict(each), "kind": "name", "stored": there[each.run_id]} for each in named),
                *({**asdict(each), "kind": "accepted", "stored": there[each.run_id]} for each in accepted),
            ]
        )
    if not there:
        say("no run has a name: 'flperf baseline set NAME RUN' gives one")
        return 0
    rows = [[each.name, _shown(each.run_id, there), each.set_at] for each in named]
    rows += [[_ACCEPTED, _shown(each.run_id, there), each.accepted_at] for each in accepted]
    for line in render(("name", "run", "set at"), rows, (True, True, True)):
        say(line)
    return 0


def _shown(run_id: str, there: Mapping[str, bool]) -> str:
    return run_id + ("" if there[run_id] else " (gone)")


def _accept(parsed: Parsed) -> int:
    from pytest_flperf.history.run_names import RunNames
    from pytest_flperf.history.store import StoreError
    from pytest_flperf.report.terminal.listings import say

    try:
        with open_store(parsed) as store:
            run_id = _stored_id(parsed, RunNames(store, Path(parsed.report_dir)))
            changed = store.accept(run_id)
    except StoreError as error:
        return unusable(parsed, error)
    if parsed.json:
        return print_json({"run_id": run_id, "cases": changed})
    if changed:
        cases = "1 case that was" if changed == 1 else f"{changed} cases that were"
        say(f"accepted: {run_id}, with {cases} red or undecided: later runs are compared with it")
    else:
        say(f"accepted: {run_id}, whose cases were a baseline already")
    return 0


def _unaccept(parsed: Parsed) -> int:
    from pytest_flperf.history.run_names import RunNames
    from pytest_flperf.history.store import StoreError
    from pytest_flperf.report.terminal.listings import say

    try:
        with open_store(parsed) as store:
            run_id = _stored_id(parsed, RunNames(store, Path(parsed.report_dir)))
            if not store.unaccept(run_id):
                accepted = ", ".join(each.run_id for each in store.acceptances()[:5])
                refuse(
                    parsed, f"run {run_id} was not accepted ({f'accepted: {accepted}' if accepted else 'no run is'})"
                )
    except StoreError as error:
        return unusable(parsed, error)
    if parsed.json:
        return print_json({"run_id": run_id, "accepted": False})
    say(f"no longer accepted: {run_id}")
    return 0


def _remove(parsed: Parsed) -> int:
    from pytest_flperf.history.store import StoreError
    from pytest_flperf.report.terminal.listings import say

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
