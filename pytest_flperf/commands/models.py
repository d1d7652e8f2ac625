"""``flperf models``: what could be measured."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from pytest_flperf.commands.common import FAILED, Commands, Parsed, add_json, print_json, refuse

if TYPE_CHECKING:
    from pytest_flperf.backends.several import Place

__all__ = ["add_models", "add_place", "place_of"]


def add_models(commands: Commands) -> None:
    """The command ``models``."""
    parser = commands.add_parser(
        "models",
        help="List catalog, cached and loaded models",
        description="Models for --flperf-model: Foundry Local's, or those of a server.",
    )
    add_place(parser)
    add_json(parser, "them")
    parser.set_defaults(run=_list, usage=parser)


def add_place(parser: argparse.ArgumentParser) -> None:
    """The options that say which backend is meant."""
    parser.add_argument("--backend", metavar="KIND", help="Kind of server; default: foundry, with a URL openai")
    parser.add_argument("--base-url", metavar="URL", help="Ask the server at this URL")
    parser.add_argument("--api-key-env", metavar="NAME", help="Environment variable that holds the key for --base-url")
    parser.add_argument(
        "--backend-option", metavar="KIND.KEY=VALUE", action="append", default=[],
        help="What only one kind of backend knows (repeatable)",
    )  # fmt: skip
    parser.add_argument("--catalog-url", metavar="URL", help="Model catalog in place of Foundry Local's public one")
    parser.add_argument(
        "--model-cache", metavar="DIR", help="Folder of downloaded models; default: Foundry Local's own"
    )


def place_of(parsed: Parsed) -> Place:
    """The backend that is meant; ends the command where there is none such."""
    from pytest_flperf.backends.base import BackendError
    from pytest_flperf.backends.placing import Defaults, Placing, PlacingError
    from pytest_flperf.backends.registry import registry
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
        placing = Placing(defaults, registry())
        placing.check_defaults()
        anywhere = TargetSpec("any")
        placing.check([anywhere])
        return placing.place(anywhere)
    except (PlacingError, SuiteError, BackendError) as error:
        refuse(parsed, str(error))


def _list(parsed: Parsed) -> int:
    from dataclasses import asdict

    from pytest_flperf.backends.base import BackendError
    from pytest_flperf.backends.discovery import discover_models
    from pytest_flperf.report.listings import NO_CATALOG, models_table, say
    from pytest_flperf.results.redaction import Redactor, environment_secrets

    place = place_of(parsed)
    masked = Redactor([place.config.api_key, *environment_secrets(os.environ)])
    try:
        models = discover_models(place.kind, place.config)
    except BackendError as error:
        say(f"{parsed.usage.prog}: error: {masked.text(str(error))}", sys.stderr)
        return FAILED
    if parsed.json:
        return print_json(masked.value([asdict(each) for each in models]))
    for line in models_table(models, masked.text):
        say(line)
    if place.kind.name == "foundry" and not any(each.source == "catalog" for each in models):
        say(NO_CATALOG)
    return 0
