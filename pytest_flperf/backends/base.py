"""What every backend does: list models, make one ready, say how it is, let go of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

from pytest_flperf.backends.native import NativeChat
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
    "OnProgress",
    "Served",
]

_TRUSTING_THE_SYSTEM: Final = TlsOptions()
OnProgress: TypeAlias = Callable[[str, float | None], None]
"""Called with what is going on (``downloading NAME``) and percent, 0 to 100, or None where it can't be known.

Of ``waiting …``, which is called often, it may raise BackendError: nobody wants to wait any longer.
"""


class BackendError(Exception):
    """A model could not be made ready.  The text says what was tried, what came of it, and what to do."""


@dataclass(frozen=True, slots=True)
class BackendConfig:
    """How a backend is to be reached or run.  What a kind of backend has no use for, it refuses."""

    base_url: str | None = None
    """Of the OpenAI-compatible API, ``http://127.0.0.1:8080/v1``; None: the kind's own default."""
    api_key: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Sent with every request, control requests included."""
    tls: TlsOptions = _TRUSTING_THE_SYSTEM
    logs_dir: Path | None = None
    """Where logs of what is started go; None: a temporary folder that goes with the backend."""
    device: str = "auto"
    """``cpu``, ``gpu``, ``npu``, or ``auto``: the backend's own choice."""
    isolation: str = "shared"
    """``shared``: one process serves all models; ``process``: each model has one of its own."""
    transport: str = "http"
    """``http``, or ``native``: inside the server's process, without HTTP."""
    catalog_url: str | None = None
    """A catalog in place of the public one."""
    model_cache_dir: Path | None = None
    """Where downloaded models lie; None: the kind's own place."""
    keep_loaded: bool = False
    """Whether what was loaded in somebody else's server stays there when the run is over."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What only this kind of backend knows, by the names in its documentation."""


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
    """What it is made of, where the server says so: models with the same root are one under several names."""


@dataclass(frozen=True, slots=True)
class Served:
    """A model that is ready: where and under which name."""

    backend: str
    model: str
    """As asked for."""
    model_id: str
    """As requests must name it."""
    endpoint: Endpoint
    api_key: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    tls: TlsOptions = _TRUSTING_THE_SYSTEM
    request_defaults: Mapping[str, Any] = field(default_factory=dict)
    """Keys of each measured request's JSON, unless the suite sets them or wants ``prompt_cache: reuse``."""
    native: NativeChat | None = None
    """Where requests go in place of the endpoint, for ``transport: native``."""
    variant: str | None = None
    device: str | None = None
    execution_provider: str | None = None
    context_length: int | None = None
    """In tokens; None where the backend doesn't say."""
    max_output_tokens: int | None = None
    size_mb: int | None = None
    """Of the model's files, in units of 2²⁰ bytes."""
    download_s: float | None = None
    """Time that its files took to come; None where they were there."""
    load_s: float | None = None
    """Time that loading into memory took; None where nothing was loaded by us."""
    generation: int = 0
    """Counts the loads of a backend: a new number means that the next request is the first after a load."""
    listed: bool | None = None
    """Whether the server lists it; None: it lists nothing, or nobody looked."""
    others: tuple[ListedModel, ...] = ()
    """What the server lists, itself included."""
    alternatives: tuple[Endpoint, ...] = ()
    """Where to ask if the endpoint has no such path: the URL as given comes first, ``/v1`` behind it next."""
    load_timeout_s: float = 600.0
    """How long a server is waited for that answers a first request with 503: it loads the model."""
    reloaded: bool = False
    """Whether it had been ready before, and was found gone: evicted, idle for too long, or its process had ended."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a server takes and gives, as far as it is known of its kind."""

    parameters: frozenset[str] | None = None
    """Keys of a request's JSON that are taken, beside ``model``, ``messages`` and ``stream``; None: not known, and
    everything is sent."""
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Lowest and highest value of a parameter; what is asked beyond is clamped."""
    default_max_tokens: int | None = None
    """Where an answer is cut if a request says nothing of its length; None: nowhere, or not known."""
    streaming: bool = True
    usage: bool | None = None
    """Whether a streamed answer ends with the server's own token counts; None: not known."""
    tools: bool | None = None


@dataclass(frozen=True, slots=True)
class About:
    """What runs where."""

    runtime: str
    """``Foundry Local``, ``llama.cpp`` …"""
    version: str = ""
    """As it says itself; empty where it doesn't."""
    address: str = ""
    """Of its API; empty where there is none yet."""


class Backend(Protocol):
    """A kind of server.  Every method may raise BackendError unless it says otherwise.

    Models are named as a person does; methods that ask about one work where ``ensure`` has made it ready.
    """

    name: str

    def prepare(self, models: tuple[str, ...]) -> None:
        """Begin what takes time before ``models`` can be asked for; returns at once."""

    def about(self) -> About:
        """What runs, and where; connects, and raises where nobody answers."""

    def discover(self) -> tuple[ListedModel, ...]:
        """The models that could be measured."""

    def ensure(self, model: str, on_progress: OnProgress) -> Served:
        """Make a model ready: find it, download and load what is missing; at once where it is ready already.

        A model that was ready and is gone is loaded again, with a new ``generation``, ``reloaded`` and a note.
        """

    def endpoint(self, model: str) -> Endpoint:
        """Where requests for a model go; raises where it isn't ready."""

    def capabilities(self, model: str) -> Capabilities:
        """What requests for a model may hold and what answers hold; never raises."""

    def health(self) -> str:
        """What is wrong with the server, for a person; empty if nothing is.  Never raises."""

    def processes(self, model: str) -> ServerProcesses:
        """The processes that serve a model which is ready, or why they can't be told; never raises."""

    def release(self, model: str) -> None:
        """Unload what ``ensure`` loaded; nothing if it is gone already, or if others had loaded it."""

    def close(self) -> None:
        """End what the backend started; never raises."""
