"""``flperf serve-reference``: the reference server."""

from __future__ import annotations

from pytest_flperf.commands.common import Commands

__all__ = ["add_reference"]


def add_reference(commands: Commands) -> None:
    """Add the ``serve-reference`` command."""
    from pytest_flperf.reference_server.command import add_arguments
    from pytest_flperf.reference_server.command import run as serve_reference

    parser = commands.add_parser(
        "serve-reference",
        help="Serve an OpenAI-compatible API that streams on a known schedule and logs the truth",
        description="A server whose true times are known, to check a client or a set-up against.",
    )
    add_arguments(parser)
    parser.set_defaults(run=serve_reference)
