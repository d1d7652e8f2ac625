"""Foundry Local service address, from the ``foundry`` command."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import Final

from pytest_flperf.backends.base import BackendError
from pytest_flperf.foundry_host.logs import clean
from pytest_flperf.wire.endpoint import Endpoint, EndpointError

__all__ = ["service_url", "url_in"]

_COMMANDS: Final = (("server", "status", "-o", "json"), ("service", "status"))
"""Commands since 0.10, and before.  Neither starts a service."""
_PATIENCE_S: Final = 10.0
_MOST: Final = 1 << 16
_URL: Final = re.compile(r"https?://[^\s\"'<>\\,;()]{1,300}")
_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104
_HOW: Final = (
    "Start it with `foundry server start` (before 0.10: `foundry service start`), or give its base_url; backend "
    "foundry needs no service"
)


def service_url() -> str:
    """Address of the running service.

    Raises:
        BackendError: The command is missing, or prints no address of this machine.

    """
    command = shutil.which("foundry")
    if command is None:
        raise BackendError(
            "foundry-service: no base_url was given, and there is no `foundry` command on PATH to ask. " + _HOW
        )
    said = []
    for arguments in _COMMANDS:
        text = _output(command, arguments)
        url = url_in(text)
        if url is not None:
            return url
        said.append(f"`foundry {' '.join(arguments)}` said: {clean(text) or 'nothing'}")
    raise BackendError(f"foundry-service: no service is running. {'; '.join(said)}. {_HOW}")


def url_in(text: str) -> str | None:
    """First local URL in the command's output, without its path.

    The path is that of the status page.
    """
    for match in _URL.finditer(text):
        url = re.sub(r"(/openai)?(/status)?[/.!]*$", "", match[0])
        for everywhere, here in _EVERYWHERE.items():
            url = url.replace(f"//{everywhere}", f"//{here}")
        try:
            endpoint = Endpoint.parse(url)
        except EndpointError:
            continue
        if endpoint.loopback:
            return url
    return None


def _output(command: str, arguments: tuple[str, ...]) -> str:
    try:
        done = subprocess.run(
            [command, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PATIENCE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"nothing for {_PATIENCE_S:g} s"
    except OSError as error:
        return f"it could not be run ({error.strerror or error})"
    return (done.stdout[:_MOST] + b"\n" + done.stderr[:_MOST]).decode("utf-8", "replace")
