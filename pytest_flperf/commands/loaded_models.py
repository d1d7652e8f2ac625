"""``flperf models load``, ``unload``, ``status`` and ``test``: models of a running server."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_flperf.commands.common import FAILED, Parsed, clear_line, print_json, redactor_of, refuse, told

if TYPE_CHECKING:
    from pytest_flperf.backends.base import About, Backend, ListedModel, LoadsModels, OnProgress, Served
    from pytest_flperf.backends.router import Place

__all__ = ["load", "status", "test", "unload"]

_STARTED: Final = frozenset({"litellm", "llamacpp"})
"""Kinds that start a server of their own where no URL is given."""


def load(parsed: Parsed, place: Place) -> int:
    """Load a model into a running server, where it stays."""
    from pytest_flperf.report.terminal.listings import say

    _check_runs(parsed, place)
    served: Served | None = None
    with _backend(parsed, place) as backend:
        _check_loads(parsed, place, backend)
        served = backend.ensure(parsed.model, _told(place))
    if served is None:
        return FAILED
    masked = redactor_of(place)
    if parsed.json:
        return print_json(masked.value(_as_dict(served)))
    took = "was already loaded" if served.load_s is None else f"loaded in {served.load_s:.3g} s"
    got = "" if served.download_s is None else f"downloaded in {served.download_s:.3g} s, "
    say(masked.text(f"{served.model_id}: {got}{took}{_placed(served)}"))
    for note in served.notes:
        say(masked.text(f"  {note}"))
    return 0


def unload(parsed: Parsed, place: Place) -> int:
    """Unload a model of a running server, whoever loaded it."""
    from pytest_flperf.report.terminal.listings import say

    _check_runs(parsed, place)
    gone: str | None = None
    with _backend(parsed, place) as backend:
        gone = _check_loads(parsed, place, backend).unload(parsed.model)
    if gone is None:
        return FAILED
    masked = redactor_of(place)
    if parsed.json:
        return print_json(masked.value({"model": parsed.model, "model_id": gone or None, "unloaded": bool(gone)}))
    say(masked.text(f"{gone or parsed.model}: {'unloaded' if gone else 'was not loaded'}"))
    return 0


def status(parsed: Parsed, place: Place) -> int:
    """Tell which server answers, whether it is well, and what it has loaded.

    With a model, the exit status is 1 unless it is loaded.
    """
    from pytest_flperf.backends.discovery import listed_when_ready
    from pytest_flperf.report.terminal.listings import models_table, say, wrapped

    _check_runs(parsed, place)
    found: _Status | None = None
    with _backend(parsed, place) as backend:
        about = backend.about()
        listed = listed_when_ready(backend, place.config, _told(place))
        found = _Status(about, backend.health(), listed, _loaded_of(backend, parsed.model, listed))
    if found is None:
        return FAILED
    masked = redactor_of(place)
    failed = bool(found.problem) or (parsed.model is not None and not found.loaded)
    if parsed.json:
        shown = {"server": asdict(found.about), "problem": found.problem, "models": list(map(asdict, found.loaded))}
        print_json(masked.value({**shown, "loaded": None if found.unknown else len(found.loaded)}))
        return FAILED if failed else 0
    for line in wrapped(masked.text(found.words)):
        say(line)
    if found.loaded:
        for line in models_table(found.loaded, masked.text):
            say(line)
    elif found.unknown:
        say(f"the server lists {_count(len(found.listed))} and does not say which are loaded")
    elif parsed.model is not None:
        say(masked.text(f"{parsed.model}: not loaded"))
    else:
        say(f"no model is loaded, of {_count(len(found.listed))}")
    return FAILED if failed else 0


@dataclass(frozen=True, slots=True)
class _Status:
    """A server that answers, and its models."""

    about: About
    problem: str
    """What is wrong with it; empty: nothing."""
    listed: tuple[ListedModel, ...]
    loaded: tuple[ListedModel, ...]
    """Of those that were asked for."""

    @property
    def unknown(self) -> bool:
        """Whether the server doesn't say what is loaded."""
        return bool(self.listed) and all(each.loaded is None for each in self.listed)

    @property
    def words(self) -> str:
        """Runtime, version, address and health in one line."""
        server = " ".join(filter(None, (self.about.runtime, self.about.version)))
        where = f" at {self.about.address}" if self.about.address else ""
        return f"{server}{where}: {self.problem or 'it answers'}"


def _loaded_of(backend: Backend, model: str | None, listed: tuple[ListedModel, ...]) -> tuple[ListedModel, ...]:
    """The loaded ones of all models, or the one that a name means; raises BackendError for a name without one."""
    from pytest_flperf.backends.base import ListedModel, LoadsModels

    loaded = tuple(each for each in listed if each.loaded)
    if model is None:
        return loaded
    if not isinstance(backend, LoadsModels):
        return tuple(each for each in loaded if model in (each.alias, each.model_id))
    found = backend.loaded_id(model)
    known = tuple(each for each in listed if found and found == each.model_id)
    return known or ((ListedModel(model, found, "server", loaded=True),) if found else ())


def test(parsed: Parsed, place: Place) -> int:
    """Ask a model for a few tokens, and say whether and how fast they came."""
    from pytest_flperf.measurement.doctor import examine
    from pytest_flperf.report.terminal.listings import say

    masked = redactor_of(place)
    try:
        config = replace(place.config, device=parsed.device)
        found = examine(replace(place, config=config), parsed.model, lambda step: told(masked.text(step), None))
    finally:
        clear_line()
    if parsed.json:
        print_json(masked.value({**asdict(found), "works": found.works, "problem": found.problem}))
        return 0 if found.works else FAILED
    if not found.works:
        say(f"{parsed.usage.prog}: error: {masked.text(found.problem)}", sys.stderr)
        return FAILED
    speed = "" if found.tps is None else f", {found.tps:.3g} tokens/s"
    said = " ".join((found.answer or "").split())
    say(masked.text(f"{parsed.model}: works; first token after {found.ttft_ms:.3g} ms{speed}"))
    say(masked.text(f"  it said: {said}" if said else "  it said nothing printable"))
    return 0


def _told(place: Place) -> OnProgress:
    """Show progress, keys masked: a server may repeat them in the reason for a wait."""
    masked = redactor_of(place).text
    return lambda what, percent: told(masked(what), percent)


@contextlib.contextmanager
def _backend(parsed: Parsed, place: Place) -> Iterator[Backend]:
    """The backend; its errors are said, and end the block.

    Models that it loads stay loaded.
    """
    from pytest_flperf.backends.base import BackendError
    from pytest_flperf.report.terminal.listings import say

    with tempfile.TemporaryDirectory(prefix="flperf-logs-", ignore_cleanup_errors=True) as logs:
        config = replace(place.config, logs_dir=Path(logs), keep_loaded=True, device=parsed.device)
        try:
            backend = place.kind.make(config)
            try:
                yield backend
            finally:
                clear_line()
                backend.close()
        except (BackendError, ValueError) as error:
            say(f"{parsed.usage.prog}: error: {redactor_of(place).text(str(error))}", sys.stderr)


def _check_runs(parsed: Parsed, place: Place) -> None:
    """Refuse servers that this command would start: they, and what they load, end with it."""
    name = place.kind.name
    if name == "foundry" or (name in _STARTED and place.config.base_url is None):
        expected = "foundry-service, for a running one" if name == "foundry" else "--base-url of a running one"
        refuse(parsed, f"{parsed.action}: {name} is a server that a run starts and stops; expected {expected}")


def _check_loads(parsed: Parsed, place: Place, backend: Backend) -> LoadsModels:
    """The backend, if its server loads models on request; else exit."""
    from pytest_flperf.backends.base import LoadsModels

    if isinstance(backend, LoadsModels):
        return backend
    refuse(
        parsed,
        f"{parsed.action}: {place.kind.name} is not a running server that loads models on request; expected "
        "--backend of one that is: foundry-service, llamacpp (a router), lmstudio or ollama",
    )


def _placed(served: Served) -> str:
    """Where a loaded model runs, and with how much context; empty if unknown."""
    context = "" if served.context_length is None else f"{served.context_length:,} tokens of context"
    known = ", ".join(filter(None, (served.device, context)))
    return f" ({known})" if known else ""


def _as_dict(served: Served) -> dict[str, Any]:
    names = ("model", "model_id", "load_s", "download_s", "device", "variant", "context_length", "size_mb", "notes")
    return {name: getattr(served, name) for name in names}


def _count(number: int) -> str:
    return "1 model" if number == 1 else f"{number} models"
