"""``flperf models``: list, download, remove, load, unload and test models."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from pytest_flperf.commands.common import (
    FAILED,
    Commands,
    Parsed,
    add_json,
    clear_line,
    print_json,
    redactor_of,
    refuse,
    told,
)
from pytest_flperf.commands.loaded_models import load, status, test, unload

if TYPE_CHECKING:
    from pytest_flperf.backends.router import Place

__all__ = ["add_models", "add_place", "place_of"]

_LOCAL: Final = "foundry"
_GIVING_UP_S: Final = 10.0
"""How long the runtime may take to stop after Ctrl-C."""


def add_models(commands: Commands) -> None:
    """Add the ``models`` command."""
    parser = commands.add_parser(
        "models",
        help="List models, download, remove, load, unload and test them",
        description="Models for --flperf-model: Foundry Local's, or those of a server.  Download and remove are for "
        "Foundry Local's catalog; load, unload and status for running servers that load models on request; test asks "
        "any model for a few tokens.",
    )
    parser.add_argument("action", nargs="?", default="list", choices=tuple(_ACTIONS), help="What to do; default: list")
    parser.add_argument("model", metavar="MODEL", nargs="?", help="Alias or id of the model; required except for list")
    parser.add_argument(
        "--device", choices=("auto", "cpu", "gpu", "npu"), default="auto", help="Device of the variant; default: any"
    )
    add_place(parser)
    add_json(parser, "them")
    parser.set_defaults(run=_run, usage=parser)


def add_place(parser: argparse.ArgumentParser) -> None:
    """Add the options that select a backend."""
    parser.add_argument("--backend", metavar="KIND", help="Kind of server; default: foundry, or openai with a URL")
    parser.add_argument("--base-url", metavar="URL", help="Ask the server at this URL")
    parser.add_argument(
        "--api-key-env", metavar="NAME", help="Read the key for --base-url from this environment variable"
    )
    parser.add_argument(
        "--backend-option", metavar="KIND.KEY=VALUE", action="append", default=[],
        help="Set an option of one kind of backend (repeatable)",
    )  # fmt: skip
    parser.add_argument(
        "--catalog-url", metavar="URL", help="Use this model catalog instead of Foundry Local's public one"
    )
    parser.add_argument(
        "--model-cache", metavar="DIR", help="Keep downloaded models in this folder; default: Foundry Local's own"
    )


def place_of(parsed: Parsed) -> Place:
    """Selected backend; exits if there is none."""
    from pytest_flperf.backends.base import BackendError
    from pytest_flperf.backends.registry import installed, registry
    from pytest_flperf.backends.resolver import Defaults, Placing
    from pytest_flperf.suite.errors import SuiteError
    from pytest_flperf.suite.targets import TargetSpec, backend_options

    try:
        defaults = Defaults(
            backend=parsed.backend,
            base_url=parsed.base_url,
            api_key_env=parsed.api_key_env,
            catalog_url=parsed.catalog_url,
            model_cache=parsed.model_cache,
            backend_options=backend_options(parsed.backend_option, "--backend-option"),
            flags="--",
        )
        placing = Placing(defaults, registry(installed()))
        placing.check_defaults()
        anywhere = TargetSpec("any")
        placing.check([anywhere])
        return placing.place(anywhere)
    except (ValueError, SuiteError, BackendError) as error:
        refuse(parsed, str(error))


def _run(parsed: Parsed) -> int:
    place = place_of(parsed)
    action = parsed.action
    if parsed.model is None and action not in _WITHOUT_MODEL:
        refuse(parsed, f"{action}: no model, expected the alias or id of one")
    if parsed.model is not None and action == "list":
        refuse(parsed, f"list: found {parsed.model!r}, expected nothing: it lists all models")
    if action in _OF_CATALOG and place.kind.name != _LOCAL:
        refuse(parsed, f"{action}: the backend {place.kind.name} manages its models itself")
    return _ACTIONS[action](parsed, place)


def _list(parsed: Parsed, place: Place) -> int:
    from pytest_flperf.backends.base import BackendError
    from pytest_flperf.backends.discovery import discover_models
    from pytest_flperf.report.terminal.listings import NO_CATALOG, models_table, say

    masked = redactor_of(place)
    try:
        models = discover_models(place.kind, place.config, told)
        if parsed.device != "auto":
            models = tuple(each for each in models if each.device.casefold() == parsed.device)
    except BackendError as error:
        say(f"{parsed.usage.prog}: error: {masked.text(str(error))}", sys.stderr)
        return FAILED
    finally:
        clear_line()
    if parsed.json:
        return print_json(masked.value([asdict(each) for each in models]))
    for line in models_table(models, masked.text):
        say(line)
    if place.kind.name == _LOCAL and not any(each.source == "catalog" for each in models):
        say(NO_CATALOG)
    return 0


def _download(parsed: Parsed, place: Place) -> int:
    """Download a model with progress.

    Ctrl-C cancels the download and keeps what has arrived.
    """
    import threading

    from pytest_flperf.backends.foundry.models import Downloaded, FoundryModels
    from pytest_flperf.report.terminal.listings import say

    cancel, ended = threading.Event(), threading.Event()
    done: list[Downloaded | Exception] = []

    def work() -> None:
        try:
            with FoundryModels(replace(place.config, device=parsed.device)) as models:
                done.append(models.download(parsed.model, told, cancel))
        except Exception as error:  # noqa: BLE001 - in a thread: the main thread reports it
            done.append(error)
        finally:
            ended.set()

    threading.Thread(target=work, name="flperf-download", daemon=True).start()
    try:
        while not ended.wait(0.1):  # on Windows, Ctrl-C can't interrupt a wait without timeout
            pass
    except KeyboardInterrupt:
        cancel.set()
        ended.wait(_GIVING_UP_S)
        raise
    (found,) = done
    clear_line()
    if isinstance(found, Exception):
        say(f"{parsed.usage.prog}: error: {_sentence(found)}", sys.stderr)
        return FAILED
    took = "was already there" if found.download_s is None else f"downloaded in {found.download_s:.1f} s"
    if parsed.json:
        return print_json({"model": asdict(found.model), "download_s": found.download_s})
    say(f"{found.model.model_id}: {took}")
    return 0


def _sentence(error: Exception) -> str:
    """First line of an error, in terms of this command.

    Its other lines are the end of a log that no longer exists.
    """
    return str(error).partition("\n")[0].replace("--flperf-list-models", "flperf models")


def _remove(parsed: Parsed, place: Place) -> int:
    from pytest_flperf.backends.base import BackendError
    from pytest_flperf.backends.foundry.models import FoundryModels
    from pytest_flperf.report.terminal.listings import say

    try:
        with FoundryModels(replace(place.config, device=parsed.device)) as models:
            removed = models.remove(parsed.model)
    except BackendError as error:
        say(f"{parsed.usage.prog}: error: {_sentence(error)}", sys.stderr)
        return FAILED
    if parsed.json:
        return print_json({"model": asdict(removed)})
    say(f"{removed.model_id}: removed")
    return 0


_WITHOUT_MODEL: Final = frozenset({"list", "status"})
_OF_CATALOG: Final = frozenset({"download", "remove"})
_ACTIONS: Final[Mapping[str, Callable[[Parsed, Place], int]]] = MappingProxyType(
    {
        "list": _list,
        "download": _download,
        "remove": _remove,
        "load": load,
        "unload": unload,
        "status": status,
        "test": test,
    }
)
