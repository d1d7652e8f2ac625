"""Backend protocol: list models, make them ready, report health, release them.

The module also has native chat, which is inference inside the server's process without HTTP, and the memory warning
before a load.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias, runtime_checkable

from pytest_flperf.telemetry.memory import shortage
from pytest_flperf.telemetry.readings import ServerProcesses
from pytest_flperf.wire.endpoint import Endpoint
from pytest_flperf.wire.tls import TlsOptions

__all__ = [
    "About",
    "Backend",
    "BackendConfig",
    "BackendError",
    "Capabilities",
    "ListedModel",
    "LoadsModels",
    "NativeAnswer",
    "NativeChat",
    "OnProgress",
    "Served",
    "said_of_memory",
]

_TRUSTING_THE_SYSTEM: Final = TlsOptions()
OnProgress: TypeAlias = Callable[[str, float | None], None]
"""Called with the current step (``downloading NAME``) and percent, 0 to 100; None: unknown.

During ``waiting …``, which is reported often, it may raise BackendError to end the wait.
"""


class BackendError(Exception):
    """Backend failure: a model could not be made ready.

    The message says what was tried, what happened, and what to do.
    """


@dataclass(frozen=True, slots=True)
class BackendConfig:
    """Backend configuration: how to reach or start a server.

    Each kind of backend refuses the fields that it doesn't use.
    """

    base_url: str | None = None
    """URL of the OpenAI-compatible API, ``http://127.0.0.1:8080/v1``; None: the backend's default."""
    api_key: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Sent with every request, control requests included."""
    tls: TlsOptions = _TRUSTING_THE_SYSTEM
    logs_dir: Path | None = None
    """Folder for logs of started servers; None: a temporary folder, removed with the backend."""
    device: str = "auto"
    """``cpu``, ``gpu``, ``npu``, or ``auto``: the backend's own choice."""
    isolation: str = "shared"
    """``shared``: one process serves all models; ``process``: each model has one of its own."""
    transport: str = "http"
    """``http``, or ``native``: inside the server's process, without HTTP."""
    catalog_url: str | None = None
    """A catalog in place of the public one."""
    model_cache_dir: Path | None = None
    """Folder of downloaded models; None: the backend's default."""
    keep_loaded: bool = False
    """Whether models loaded on a server that ran before stay loaded after the run."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of this kind of backend only, by their documented names."""


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A model that a backend can serve."""

    alias: str
    model_id: str
    source: str
    """``embedded``, ``catalog``, ``folder`` or ``server``."""
    device: str = ""
    execution_provider: str = ""
    size_mb: int | None = None
    """In units of 2²⁰ bytes."""
    context_length: int | None = None
    """In tokens."""
    cached: bool | None = None
    loaded: bool | None = None
    root: str = ""
    """The underlying model, if the server reports it: entries with the same root are aliases of one model."""


@dataclass(frozen=True, slots=True)
class Served:
    """A ready model: its endpoint, and its id in requests."""

    backend: str
    model: str
    """The name that the user gave."""
    model_id: str
    """The name that requests must use."""
    endpoint: Endpoint
    api_key: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    tls: TlsOptions = _TRUSTING_THE_SYSTEM
    request_defaults: Mapping[str, Any] = field(default_factory=dict)
    """Keys of each measured request's JSON, unless the suite sets them or wants ``prompt_cache: reuse``."""
    native: NativeChat | None = None
    """Takes the requests in place of the endpoint, for ``transport: native``."""
    variant: str | None = None
    device: str | None = None
    execution_provider: str | None = None
    context_length: int | None = None
    """In tokens; None where the backend doesn't say."""
    max_output_tokens: int | None = None
    size_mb: int | None = None
    """Size of the model's files, in units of 2²⁰ bytes."""
    download_s: float | None = None
    """Download time in seconds; None: the files were there already."""
    load_s: float | None = None
    """Load time in seconds; None: we loaded nothing."""
    generation: int = 0
    """Counts the loads of a backend: a new number means that the next request is the first after a load."""
    listed: bool | None = None
    """Whether the server lists it; None: the server has no list, or it was not checked."""
    others: tuple[ListedModel, ...] = ()
    """All models that the server lists, this one included."""
    alternatives: tuple[Endpoint, ...] = ()
    """Endpoints to try if this one has no such path: first the URL as given, then with ``/v1`` appended."""
    load_timeout_s: float = 600.0
    """How long to wait, in seconds, while a server answers the first request with 503: it loads the model."""
    reloaded: bool = False
    """Whether it had been ready before and was gone: evicted, idle for too long, or its process had exited."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Server capabilities: accepted parameters, limits and usage, as far as known."""

    parameters: frozenset[str] | None = None
    """Accepted keys of a request's JSON, apart from ``model``, ``messages`` and ``stream``; None: unknown, so that
    all are sent."""
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Lowest and highest value of a parameter; values outside are clamped."""
    default_max_tokens: int | None = None
    """Token limit of an answer if the request sets none; None: no limit, or unknown."""
    streaming: bool = True
    usage: bool | None = None
    """Whether a streamed answer ends with the server's own token counts; None: unknown."""
    tools: bool | None = None


@dataclass(frozen=True, slots=True)
class About:
    """Runtime, version and address of a server."""

    runtime: str
    """``Foundry Local``, ``llama.cpp`` …"""
    version: str = ""
    """As the server reports it; empty if it doesn't."""
    address: str = ""
    """URL of its API; empty if there is none yet."""


class Backend(Protocol):
    """Backend protocol: one kind of server.

    Every method may raise BackendError unless it says otherwise.  Models go by the names that users write.  Methods
    about one model need ``ensure`` first.
    """

    name: str

    def prepare(self, models: tuple[str, ...]) -> None:
        """Start slow preparations for ``models``; returns at once."""

    def about(self) -> About:
        """Runtime and address; connects, and raises if the server doesn't answer."""

    def discover(self) -> tuple[ListedModel, ...]:
        """List the models that could be measured."""

    def ensure(self, model: str, on_progress: OnProgress) -> Served:
        """Make a model ready: find, download and load it as needed.

        Returns at once if it is ready.  A model that was ready and is gone is loaded again, with a new ``generation``,
        ``reloaded`` and a note.
        """

    def endpoint(self, model: str) -> Endpoint:
        """Endpoint for requests to a model; raises if it isn't ready."""

    def capabilities(self, model: str) -> Capabilities:
        """Capabilities of a model: request parameters and answers; never raises."""

    def health(self) -> str:
        """Describe what is wrong with the server; empty if healthy.

        Never raises.
        """

    def processes(self, model: str) -> ServerProcesses:
        """Server processes of a ready model, or why unknown; never raises."""

    def release(self, model: str) -> None:
        """Unload what ``ensure`` loaded.

        Does nothing if the model is gone already, or if others had loaded it.
        """

    def close(self) -> None:
        """Stop what the backend started; never raises."""


@runtime_checkable
class LoadsModels(Protocol):
    """Backend of a running server that loads and unloads models."""

    def loaded_id(self, model: str) -> str:
        """Id of a model, whoever loaded it; empty if it is not loaded.

        Downloads and loads nothing.  Raises BackendError if the server lacks the model.
        """

    def unload(self, model: str) -> str:
        """Unload a model, whoever loaded it, and wait until it is gone.

        Returns its id; empty if it was not loaded.  Raises BackendError if the server lacks the model, has no way to
        unload it, or keeps it loaded.
        """


@dataclass(frozen=True, slots=True)
class NativeAnswer:
    """Native answer, with CLOCK_MONOTONIC timestamps in ns.

    Stamped where it was made.
    """

    sent_ns: int
    """When inference was requested."""
    chunks: tuple[tuple[int, Mapping[str, Any]], ...]
    """When each chunk came, and what it held: a ``chat.completion.chunk`` as an OpenAI-compatible server sends it."""
    ended_ns: int
    error: str = ""
    """Error message of the runtime, in place of an answer or of its end."""
    timed_out: bool = False
    """Whether it was cancelled because the deadline had passed."""


class NativeChat(Protocol):
    """Native chat: a loaded model that answers without HTTP."""

    def chat(self, body: Mapping[str, Any], deadline_s: float) -> NativeAnswer:
        """Answer a chat-completions request; returns when the answer has ended.

        Raises:
            BackendError: The process that runs the model has died or hangs.

        """


def said_of_memory(size_mb: float | None, on_progress: OnProgress, device: str | None = None) -> tuple[str, ...]:
    """Warn if a model will hardly fit into this machine's memory.

    The warning is also returned, as a note for the result.

    Args:
        size_mb: Size of its files; None: unknown, so no warning.
        on_progress: Called with the warning, before the load.
        device: Where it will run: a GPU or NPU may have its own memory, whose size is unknown here.

    """
    if (device or "cpu").casefold().split()[0] != "cpu":
        return ()
    words = shortage(size_mb)
    if not words:
        return ()
    on_progress(words, None)
    return (words,)
