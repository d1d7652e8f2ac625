"""``flperf discover``: the servers that answer on this machine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from pytest_flperf.commands.common import Commands, Parsed, add_json, print_json

if TYPE_CHECKING:
    from pytest_flperf.backends.local_servers import FoundServer

__all__ = ["add_discover"]

_NONE: Final = "no server answers at the usual addresses of this machine; flperf doctor says what could be started"
_SHOWN: Final = 20


def add_discover(commands: Commands) -> None:
    """The command ``discover``."""
    parser = commands.add_parser(
        "discover",
        help="List the model servers that answer on this machine",
        description="Asks the usual loopback addresses of llama.cpp, Ollama, LM Studio, Foundry Local, vLLM, LiteLLM "
        "and others what they are and which models they have.  Nothing is loaded by that.",
    )
    add_json(parser, "them")
    parser.set_defaults(run=_run, usage=parser)


def _run(parsed: Parsed) -> int:
    from pytest_flperf.backends.local_servers import find_servers
    from pytest_flperf.backends.registry import BUILT_IN
    from pytest_flperf.report.listings import say
    from pytest_flperf.results.redaction import Redactor, environment_secrets

    found = find_servers(BUILT_IN)
    masked = Redactor(environment_secrets(os.environ))
    if parsed.json:
        return print_json(masked.value([asdict(each) for each in found]))
    for line in _lines(found):
        say(masked.text(line))
    return 0


def _lines(found: Sequence[FoundServer]) -> list[str]:
    from pytest_flperf.report.listings import fitted_table

    if not found:
        return [_NONE]
    rows: list[tuple[str, ...]] = []
    for server in found:
        place = (server.kind or "–", server.runtime or "unknown", server.version or "–", server.url)
        if not server.models:
            rows.append((*place, server.problem or "no model", "–"))
        for number, model in enumerate(server.models[:_SHOWN]):
            state = "loaded" if model.loaded else "–" if model.loaded is None else "not loaded"
            rows.append((*(place if not number else ("", "", "", "")), model.model_id, state))
        if len(server.models) > _SHOWN:
            rows.append(("", "", "", "", f"and {len(server.models) - _SHOWN} more", ""))
    return fitted_table(("backend", "runtime", "version", "base URL", "model", "state"), rows, names=6)
