"""llama-server admin API: models, properties, health, loading and unloading."""

from __future__ import annotations

import difflib
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, Final
from urllib.parse import quote, urlsplit

from pytest_flperf.backends.admin_api import Control, ControlError
from pytest_flperf.backends.base import BackendConfig, BackendError, OnProgress
from pytest_flperf.foundry_host.logs import clean
from pytest_flperf.wire.endpoint import Endpoint

__all__ = ["LlamaControl", "LlamaModel", "Loaded", "NotReadyError", "load", "some_names", "wait_healthy"]

_MOST_LOADS: Final = 3
_FIRST_LOOK_S: Final = 0.005
_SLOWEST_LOOK_S: Final = 0.25
_PROPS_S: Final = 10.0
_HEALTH_S: Final = 3.0
_HEALTH_PAUSE_S: Final = 0.02
_NAMES_SHOWN: Final = 8
_GAUGES: Final = re.compile(r"^llamacpp:requests_(processing|deferred) (\d{1,9})(?:\.0*)?\s*$", re.MULTILINE)
_LOADING: Final = frozenset({"loading", "downloading", "downloaded"})


class NotReadyError(BackendError):
    """A llama-server or its model did not become ready.

    The server's log says why.
    """


@dataclass(frozen=True, slots=True)
class LlamaModel:
    """A model as the server lists it."""

    name: str
    aliases: tuple[str, ...] = ()
    state: str = "loaded"
    """``unloaded``, ``loading``, ``loaded``, ``sleeping``, ``downloading``, ``downloaded``, or a newer state."""
    failed: bool = False
    exit_code: int | None = None
    port: int | None = None
    """Port of the router's child that serves it, new for each load; None: not loaded."""
    path: str = ""
    """Path of its file on the server's machine; empty if unknown."""
    size_bytes: int | None = None
    """Size of its tensors; known once it is loaded."""

    @property
    def ready(self) -> bool:
        """Whether the model answers requests."""
        return self.state in ("loaded", "sleeping")

    def is_called(self, asked: str) -> bool:
        """Whether a user's name means this model.

        It may be its id, an alias, or its file's name, with or without ``.gguf``.
        """
        files = {PurePosixPath(self.path).name, PureWindowsPath(self.path).name} if self.path else set()
        known = {self.name, *self.aliases, *files}
        return asked in known or asked.removesuffix(".gguf") in {each.removesuffix(".gguf") for each in known}


class LlamaControl:
    """Control requests to one llama-server, router or not."""

    def __init__(self, endpoint: Endpoint, config: BackendConfig) -> None:
        """Prepare control requests; ``endpoint`` may end in ``/v1`` or not."""
        self._root = urlsplit(endpoint.base_url).path.rstrip("/").removesuffix("/v1")
        self._control = Control(endpoint, api_key=config.api_key, headers=config.headers, tls=config.tls)

    def props(self, model: str = "") -> Mapping[str, Any]:
        """``GET /props``, of a router's child if ``model`` is given.

        Never loads the model.
        """
        query = f"?model={quote(model, safe='')}&autoload=false" if model else ""
        try:
            answer = self._control.get(f"{self._root}/props{query}", _PROPS_S)
        except ControlError as error:
            if error.status == 404:
                raise ControlError(f"{error}. Is this a llama-server?", error.status, error.body) from None
            raise
        if not isinstance(answer, dict) or "default_generation_settings" not in answer:
            raise ControlError(f"GET {self._root}/props: {_shown(answer)}. Is this a llama-server?", 200)
        return answer

    def models(self) -> tuple[LlamaModel, ...]:
        """``GET /models``: all models of a router, or the served one."""
        answer = self._control.get(f"{self._root}/models")
        entries = answer.get("data") if isinstance(answer, dict) else None
        if not isinstance(entries, list):
            raise ControlError(f"GET {self._root}/models did not answer with a list of models: {_shown(answer)}", 200)
        found = (_model_of(entry) for entry in entries if isinstance(entry, dict))
        # Skip names with control characters.
        return tuple(model for model in found if model.name and model.name.isprintable())

    def health(self) -> tuple[int, str]:
        """``GET /health``: status (200: healthy) and the server's message."""
        status, text = self._control.raw("GET", f"{self._root}/health", patience_s=_HEALTH_S)
        return status, _words(text)

    def busy(self, model: str = "") -> tuple[int, int] | None:
        """Running and waiting requests from ``/metrics``; None if not available."""
        query = f"?model={quote(model, safe='')}&autoload=false" if model else ""
        try:
            status, text = self._control.raw("GET", f"{self._root}/metrics{query}", patience_s=_HEALTH_S)
        except ControlError:
            return None
        found = {name: int(value) for name, value in _GAUGES.findall(text)}
        return (found["processing"], found["deferred"]) if status == 200 and len(found) == 2 else None

    def ask_to_load(self, model: str, patience_s: float) -> int:
        """``POST /models/load``: returns the status.

        200: accepted, not loaded yet.  400: it is running.  500: there is no room.  A router may unload another model
        first, and answers after that.

        Raises:
            ControlError: Any other answer.

        """
        status, text = self._control.raw("POST", f"{self._root}/models/load", {"model": model}, patience_s)
        if status == 200 or (status == 400 and "already" in text) or (status == 500 and "limit" in text):
            return status
        raise ControlError(f"POST {self._root}/models/load answered {status}: {_words(text)}", status, text)

    def unload(self, model: str) -> None:
        """Tell a router to unload a model; it follows soon after."""
        self._control.post(f"{self._root}/models/unload", {"model": model})

    def wake(self, model: str, patience_s: float) -> None:
        """Reload the weights of a sleeping model.

        A request that needs its tokenizer waits for them.
        """
        self._control.post(f"{self._root}/tokenize?autoload=false", {"model": model, "content": ""}, patience_s)


@dataclass(frozen=True, slots=True)
class Loaded:
    """Result of :func:`load`."""

    model: LlamaModel
    props: Mapping[str, Any]
    load_s: float | None
    """Seconds from the accepted load until the model was ready; None: we requested no load."""


def load(
    control: LlamaControl,
    find: Callable[[], LlamaModel],
    patience_s: float,
    on_progress: OnProgress,
) -> Loaded:
    """Load a router's model if needed, and wait until ready.

    Args:
        control: The router.
        find: Looks up the model; may raise.
        patience_s: Deadline in seconds.
        on_progress: Called with each step of the wait.

    Raises:
        NotReadyError: The load failed, the model was unloaded again and again, or the deadline passed.

    """
    give_up = time.monotonic() + patience_s
    asked_at: float | None = None
    asked, told, full, pause_s = 0, "", False, _FIRST_LOOK_S
    while True:
        model = find()
        what = _what_goes_on(model, full=full)
        if what != told and not model.ready:
            on_progress(what, None)
            told = what
        if model.ready:
            props = _props_of(control, model.name)
            if props is not None:
                return Loaded(model, props, None if asked_at is None else time.monotonic() - asked_at)
        elif model.failed and asked_at is not None:
            code = "" if model.exit_code is None else f" (its process ended with exit code {model.exit_code})"
            raise NotReadyError(f"{model.name}: llama-server could not load it{code}")
        elif model.state not in _LOADING:
            if asked == _MOST_LOADS:
                raise NotReadyError(
                    f"{model.name}: unloaded again after each of {asked} loads: does another client use this router?"
                )
            status = control.ask_to_load(model.name, max(give_up - time.monotonic(), 1.0))
            full = status == 500
            if status == 200:
                asked, asked_at, pause_s = asked + 1, time.monotonic(), _FIRST_LOOK_S
                time.sleep(pause_s)
                continue  # the next look shows what became of the load, also where the deadline passed meanwhile
        if time.monotonic() >= give_up:
            late = f"{model.name}: not ready within {patience_s:g} s (option load_s)"
            raise NotReadyError(f"{late}: {_why_late(model, full=full)}")
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, _SLOWEST_LOOK_S)


def _what_goes_on(model: LlamaModel, *, full: bool) -> str:
    if full:
        return f"waiting for room for {model.name}: other models are busy"
    return f"{'loading' if model.state == 'unloaded' else model.state} {model.name}"


def _why_late(model: LlamaModel, *, full: bool) -> str:
    if full:
        return "the router has no room, its other models are busy"
    return "its process does not answer" if model.ready else f"it is still {model.state}"


def wait_healthy(
    control: LlamaControl,
    check: Callable[[], None],
    start_s: float,
    load_s: float,
    on_loading: Callable[[], None],
) -> None:
    """Wait until a server reports that it is healthy.

    Args:
        control: The server.
        check: Raises if waiting is pointless, because the process has ended.
        start_s: Deadline of the first answer; 0: the server must answer at once.
        load_s: Deadline of the load, during which a server with one model answers 503.
        on_loading: Called once if the server is loading.

    Raises:
        NotReadyError: A deadline passed.
        BackendError: Raised by ``check``; or there was no answer.

    """
    began = time.monotonic()
    loading = False
    while True:
        try:
            status, words = control.health()
        except ControlError as error:
            if start_s == 0:
                raise
            status, words = 0, str(error)
        check()  # also after a 200: another server may have the port of one that has ended
        if status == 200:
            return
        if status == 503 and not loading:
            loading = True
            on_loading()
        if status not in (0, 503):
            raise BackendError(f"GET /health answered {status}: {words}. Is this a llama-server?")
        patience_s = load_s if loading else start_s
        if time.monotonic() - began >= patience_s:
            which = f"within {load_s:g} s (option load_s)" if loading else f"within {start_s:g} s (option start_s)"
            raise NotReadyError(f"llama-server was not ready {which}: {words}")
        time.sleep(_HEALTH_PAUSE_S)


def some_names(models: Sequence[LlamaModel], asked: str) -> str:
    """Model names for a message, those most like the requested first."""
    names = [model.name for model in models]
    near = difflib.get_close_matches(asked, names, _NAMES_SHOWN, 0.4)
    shown = list(dict.fromkeys([*near, *names]))[:_NAMES_SHOWN]
    more = len(names) - len(shown)
    return (", ".join(clean(name, 80) for name in shown) or "none") + (f" and {more} more" if more > 0 else "")


def _props_of(control: LlamaControl, model: str) -> Mapping[str, Any] | None:
    """Properties of a router's child; None if the child is dead.

    The router will soon notice that.
    """
    try:
        return control.props(model)
    except ControlError as error:
        if error.status in (None, 401, 403):
            raise
        return None


def _model_of(entry: Mapping[str, Any]) -> LlamaModel:
    status, meta = entry.get("status"), entry.get("meta")
    status = status if isinstance(status, dict) else {"value": "loaded"}
    args = status.get("args")
    args = [str(each) for each in args] if isinstance(args, list) else []
    aliases = entry.get("aliases")
    exit_code = status.get("exit_code")
    state = clean(str(status.get("value", "")), 40)
    return LlamaModel(
        name=str(entry.get("id", ""))[:500],
        aliases=tuple(str(each)[:500] for each in aliases) if isinstance(aliases, list) else (),
        state=state,
        failed=status.get("failed") is True,
        exit_code=exit_code if isinstance(exit_code, int) else None,
        # An unloaded model is still listed with its old port.
        port=None if state == "unloaded" else _port_of(_after("--port", args)),
        path=_after("--model", args),
        size_bytes=_count(meta.get("size")) if isinstance(meta, dict) else None,
    )


def _after(name: str, args: Sequence[str]) -> str:
    return args[args.index(name) + 1] if name in args[:-1] else ""


def _port_of(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[1-9]\d{0,4}", text, re.ASCII) else None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and value > 0 else None


def _words(text: str) -> str:
    """Message of an error, however it is wrapped."""
    try:
        error = json.loads(text)["error"]
        return clean(str(error["message"] if isinstance(error, dict) else error))
    except (ValueError, KeyError, TypeError, RecursionError):
        return clean(text)


def _shown(answer: Any) -> str:
    return clean(repr(answer)[:600], 200)
