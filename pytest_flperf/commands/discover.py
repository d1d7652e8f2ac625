"""``flperf discover``: model servers that answer on this machine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from pytest_flperf.commands.common import FAILED, Commands, Parsed, add_json, print_json, refuse

if TYPE_CHECKING:
    from pytest_flperf.backends.local_servers import FoundServer

__all__ = ["add_discover"]

_NONE: Final = (
    "no server answers at the usual addresses on this machine; name the port of yours with --port=N; 'flperf doctor' "
    "says what you could start"
)
_SHOWN: Final = 20
_LAST_PORT: Final = 65_535
_LONGEST: Final = 4_000


def add_discover(commands: Commands) -> None:
    """Add the ``discover`` command."""
    parser = commands.add_parser(
        "discover",
        help="List the model servers that answer on this machine",
        description="Asks the usual loopback addresses of llama.cpp, Ollama, LM Studio, Foundry Local, vLLM, LiteLLM "
        "and others what they are and which models they have.  This loads nothing.",
    )
    parser.add_argument(
        "--port", metavar="N", type=int, action="append", default=[],
        help="Also ask this port (repeatable); exits with 1 if nothing listens there",
    )  # fmt: skip
    add_json(parser, "them")
    parser.set_defaults(run=_run, usage=parser)


def _run(parsed: Parsed) -> int:
    from pytest_flperf.backends.local_servers import find_servers
    from pytest_flperf.backends.registry import installed, registry
    from pytest_flperf.report.terminal.listings import say
    from pytest_flperf.results.redaction import Redactor, environment_secrets

    for port in parsed.port:
        if not 1 <= port <= _LAST_PORT:
            refuse(parsed, f"--port: found {port}, expected a port from 1 to {_LAST_PORT}")
    found = find_servers(registry(installed()), parsed.port)
    missing = any(each.problem and each.url == f"http://127.0.0.1:{port}/v1" for each in found for port in parsed.port)
    masked = Redactor(environment_secrets(os.environ))
    if parsed.json:
        return print_json(masked.value([asdict(each) for each in found])) or missing * FAILED
    for line in _lines(found):
        say(masked.text(line))
    return missing * FAILED


def _lines(found: Sequence[FoundServer]) -> list[str]:
    from pytest_flperf._text import printable
    from pytest_flperf.report.terminal.listings import fitted_table, wrapped

    if not found:
        return wrapped(_NONE)
    head = ("backend", "runtime", "version", "models", "base URL")
    rows = [(_kind(each), each.runtime or "unknown", each.version or "–", _count(each), each.url) for each in found]
    lines = fitted_table(head, rows, names=5)
    for each in found:
        said = each.problem or ", ".join(_names(each))
        if said:
            lines += wrapped(f"{each.url}: {printable(said, _LONGEST)}")
    return lines


def _kind(server: FoundServer) -> str:
    return server.kind or "–"


def _count(server: FoundServer) -> str:
    return "–" if server.problem else str(len(server.models))


def _names(server: FoundServer) -> list[str]:
    names = [f"{each.model_id} (loaded)" if each.loaded else each.model_id for each in server.models[:_SHOWN]]
    more = len(server.models) - _SHOWN
    return [*names, f"and {more} more"] if more > 0 else names
