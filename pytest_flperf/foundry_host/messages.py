"""Error messages for host failures, with what to do next.

They are whole sentences.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pytest_flperf.foundry_host import logs
from pytest_flperf.foundry_host.embedded import embedded_models
from pytest_flperf.foundry_host.errors import (
    DownloadFailed,
    HostHung,
    LoadFailed,
    ModelNotFound,
    RemoveFailed,
    RuntimeHostError,
    UnloadFailed,
)
from pytest_flperf.foundry_host.protocol import Command, Failure, FailureKind, Mode, ModelInfo, Verb
from pytest_flperf.foundry_host.variants import nearest_names

__all__ = ["BY_URL", "no_such_device", "not_found", "refusal", "refused_start", "too_late", "unreachable", "words_of"]

BY_URL: Final = "Or start a server yourself and measure it by URL: --flperf-base-url=http://HOST:PORT/v1"


def refused_start(failure: Failure, log_path: str) -> str:
    """Message: why the runtime can't run here."""
    reason = logs.clean(failure.message, 1000)
    if failure.kind is FailureKind.SDK_MISSING:
        return (
            f"Foundry Local can't run here: {reason}. foundry-local-sdk has wheels for Windows (x64, arm64), Linux "
            "with glibc (x64 from 2.28, arm64 from 2.34) and macOS from 14 (arm64), but none for Intel Macs or musl. "
            "On a supported machine: pip install --upgrade 'foundry-local-sdk>=2.2'. " + BY_URL
        )
    return f"The Foundry Local runtime did not start: {reason}. Its full log is {log_path}. " + BY_URL


def unreachable(url: str, problem: str, tried_s: float) -> str:
    """Message: why the web service does not answer, after ``tried_s`` seconds."""
    return (
        f"The Foundry Local runtime reported that it is up at {logs.clean(url)} but {problem}. It was tried for "
        f"{tried_s:g} s from the start of the host. This is known from Windows on ARM64; a firewall or a security "
        "program may also be in the way. " + BY_URL
    )


def not_found(name: str, models: Sequence[ModelInfo], mode: Mode, log: tuple[str, ...], log_path: str) -> ModelNotFound:
    """Error for an unknown model, with similar names from ``models``."""
    known = [each for model in models for each in (model.alias, model.id)]
    where = "among the embedded models" if mode is Mode.EMBEDDED else "among the folders"
    if mode is Mode.PUBLIC:
        # A name like an embedded model's that matches none was looked up in the public catalog.
        embedded = [model.alias for model in embedded_models()]
        known += embedded
        where = f"in Foundry Local's catalog for this machine or among the embedded {', '.join(embedded)}"
    nearest = nearest_names(name, dict.fromkeys(known))
    hints = []
    if nearest:
        hints.append(f"Nearest: {', '.join(map(logs.clean, nearest))}.")
    elif models:
        hints.append(f"No similar name among {len(models)}.")
    if not models:
        hints.append("The catalog is empty: is there a connection to the internet?")
    hint = " ".join(hints)
    return ModelNotFound(
        f"No model {logs.clean(name, 100)!r} {where}. {hint} --flperf-list-models shows all of them.",
        name=name,
        nearest=nearest,
        log=log,
        log_path=log_path,
    )


def no_such_device(name: str, device: str, others: Sequence[str]) -> ModelNotFound:
    """Error for a model without a variant for the device."""
    there = ", ".join(logs.clean(each, 20) for each in others)
    return ModelNotFound(
        f"No variant of {logs.clean(name, 100)!r} runs on {device!r} here; there are variants for: {there}. Use one "
        "of these, or auto.",
        name=name,
    )


def refusal(command: Command, failure: Failure) -> tuple[type[RuntimeHostError], str]:
    """Error class and message for a command that failed."""
    model = logs.clean(command.model_id or "")
    reason = logs.clean(failure.message, 1000)
    if failure.kind is FailureKind.LOAD_FAILED:
        return LoadFailed, (
            f"Foundry Local could not load {model}: {reason}. Is it downloaded and complete, and is there enough "
            "memory?"
        )
    if failure.kind is FailureKind.DOWNLOAD_FAILED:
        return DownloadFailed, (
            f"Foundry Local could not download {model}: {reason}. Is there a connection to the internet, and room on "
            "the disk? What has arrived is kept, and the next download resumes there."
        )
    kind = {Verb.UNLOAD: UnloadFailed, Verb.REMOVE: RemoveFailed}.get(command.verb, RuntimeHostError)
    return kind, f"Foundry Local could not {words_of(command)}: {reason}."


def too_late(
    command: Command, pid: int, *, waited_s: float, silent_s: float, busy: bool
) -> tuple[type[RuntimeHostError], str]:
    """Error class and message for a command that took too long.

    Args:
        command: The command.
        pid: Process id of the host.
        waited_s: How long it was waited for.
        silent_s: How long the host had said nothing.
        busy: Whether it still gave signs of life.

    """
    words = words_of(command)
    if command.verb in {Verb.LOAD, Verb.DOWNLOAD} and busy:
        kind = LoadFailed if command.verb is Verb.LOAD else DownloadFailed
        return kind, f"Foundry Local did not {words} within {waited_s:.1f} s; it was still busy and was ended."
    silence = f"gave no sign of life for {silent_s:.1f} s; it was ended."
    return HostHung, f"The runtime host (pid {pid}) was told to {words} and {silence}"


def words_of(command: Command) -> str:
    """Description of a command, for messages."""
    model = logs.clean(command.model_id or "", 100)
    match command.verb:
        case Verb.LIST:
            return "list its models"
        case Verb.STATUS:
            return "report its status"
        case Verb.PROVIDERS:
            return "get the execution providers for this machine"
        case Verb.CHAT:
            return f"chat with {model}"
        case _:
            return f"{command.verb} {model}".strip()
