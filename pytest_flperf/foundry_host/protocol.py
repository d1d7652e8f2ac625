"""Host protocol: JSON messages between the parent and the runtime host.

One JSON object per line, each a frozen dataclass.

The parent sends :class:`Start` once, then any number of :class:`Command` and :class:`Cancel`.  The host answers
:class:`Ready` once, then for each command :class:`Progress` as often as it likes and one :class:`Result`,
:class:`Answered` or :class:`Failure`.  Both ends are the same version of this package, so that an unknown key is an
error.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any, ClassVar, Final, TypeAlias

__all__ = [
    "MAX_LINE_BYTES",
    "Answered",
    "Cancel",
    "Command",
    "Failure",
    "FailureKind",
    "Message",
    "Mode",
    "ModelInfo",
    "Progress",
    "ProtocolError",
    "Ready",
    "Result",
    "Start",
    "Verb",
    "decode",
    "encode",
]

MAX_LINE_BYTES: Final = 16 * 1024 * 1024
"""A catalog of ten thousand models is about 4 MB."""


class ProtocolError(ValueError):
    """Protocol error: a line that is no valid message."""


class Mode(StrEnum):
    """Where the host's models come from."""

    EMBEDDED = "embedded"
    PUBLIC = "public"
    FOLDER = "folder"


class Verb(StrEnum):
    """Commands of the host."""

    LIST = "list"
    PROVIDERS = "providers"
    """Download and register the execution providers for this machine."""
    ADD = "add"
    """List a model whose folder has been put into the model cache."""
    DOWNLOAD = "download"
    REMOVE = "remove"
    """Remove a model's files from the cache."""
    LOAD = "load"
    UNLOAD = "unload"
    CHAT = "chat"
    STATUS = "status"
    SHUTDOWN = "shutdown"


class FailureKind(StrEnum):
    """Kinds of failure of a command."""

    SDK_MISSING = "sdk_missing"
    START_FAILED = "start_failed"
    MODEL_NOT_FOUND = "model_not_found"
    LOAD_FAILED = "load_failed"
    DOWNLOAD_FAILED = "download_failed"
    CANCELLED = "cancelled"
    FAILED = "failed"


def _is(value: object, kind: type, name: str) -> None:
    # bool is an int to isinstance, and 1 is no answer to a yes-or-no question.
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        raise ProtocolError(f"{name}: expected {kind.__name__}, found {value!r:.100}")


def _optional(value: object, kind: type, name: str) -> None:
    if value is not None:
        _is(value, kind, name)


def _whole(value: object, name: str) -> None:
    _is(value, int, name)
    if isinstance(value, int) and value < 0:
        raise ProtocolError(f"{name}: expected 0 or more, found {value}")


def _each(values: object, kind: type, name: str) -> None:
    _is(values, tuple, name)
    for value in values if isinstance(values, tuple) else ():
        _is(value, kind, name)


def _number(value: object, name: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise ProtocolError(f"{name}: expected a finite number of 0 or more, found {value!r:.100}")


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One variant of a model, as the runtime's catalog describes it."""

    id: str
    """``name:version``; requests name this."""
    alias: str
    """The name that users write; several variants share it."""
    device: str
    """``CPU``, ``GPU``, ``NPU``, or empty where the catalog does not say."""
    execution_provider: str
    size_mb: int | None
    """Download size in MB of 1,048,576 bytes."""
    context_length: int | None
    """Prompt and answer together, in tokens."""
    max_output_tokens: int | None
    cached: bool
    """Whether its files are on this machine."""
    loaded: bool
    """Whether it is in memory and answers."""
    default: bool
    """Whether the runtime itself would choose this variant for the alias."""
    task: str
    license: str

    def __post_init__(self) -> None:
        for name in ("id", "alias", "device", "execution_provider", "task", "license"):
            _is(getattr(self, name), str, name)
        for name in ("size_mb", "context_length", "max_output_tokens"):
            _optional(getattr(self, name), int, name)
        for name in ("cached", "loaded", "default"):
            _is(getattr(self, name), bool, name)
        if not self.id:
            raise ProtocolError("id: expected a name, found nothing")

    @property
    def name(self) -> str:
        """Model id without its version."""
        name, colon, version = self.id.rpartition(":")
        return name if colon and version.isdigit() else self.id


@dataclass(frozen=True, slots=True)
class Start:
    """First message to the host: its configuration."""

    TYPE: ClassVar[str] = "start"
    mode: Mode
    logs_dir: str
    app_name: str
    parent_pid: int
    die_with_parent: bool
    """Whether to be killed together with the thread that started the host (Linux)."""
    app_data_dir: str | None
    model_cache_dir: str | None
    catalog_url: str | None
    log_level: str

    def __post_init__(self) -> None:
        if not isinstance(self.mode, Mode):
            raise ProtocolError(f"mode: expected a mode, found {self.mode!r:.100}")
        for name in ("logs_dir", "app_name", "log_level"):
            _is(getattr(self, name), str, name)
        for name in ("app_data_dir", "model_cache_dir", "catalog_url"):
            _optional(getattr(self, name), str, name)
        _whole(self.parent_pid, "parent_pid")
        _is(self.die_with_parent, bool, "die_with_parent")


_OF_A_MODEL: Final = frozenset({Verb.ADD, Verb.DOWNLOAD, Verb.REMOVE, Verb.LOAD, Verb.UNLOAD, Verb.CHAT})


@dataclass(frozen=True, slots=True)
class Command:
    """Command to the host; the answer carries the same id."""

    TYPE: ClassVar[str] = "command"
    id: int
    verb: Verb
    model_id: str | None = None
    body: str | None = None
    """``chat``: the request's JSON.  ``add``: the catalog's entry as JSON."""

    def __post_init__(self) -> None:
        _whole(self.id, "id")
        if not isinstance(self.verb, Verb):
            raise ProtocolError(f"verb: expected a verb, found {self.verb!r:.100}")
        for name in ("model_id", "body"):
            _optional(getattr(self, name), str, name)
        if self.verb in _OF_A_MODEL and not self.model_id:
            raise ProtocolError(f"{self.verb}: model_id is missing")
        if self.verb in {Verb.CHAT, Verb.ADD} and self.body is None:
            raise ProtocolError(f"{self.verb}: body is missing")


@dataclass(frozen=True, slots=True)
class Cancel:
    """Cancel the command with this id (a download, a chat)."""

    TYPE: ClassVar[str] = "cancel"
    id: int

    def __post_init__(self) -> None:
        _whole(self.id, "id")


@dataclass(frozen=True, slots=True)
class Ready:
    """The host reports that it is up.

    The parent connects before it believes that.
    """

    TYPE: ClassVar[str] = "ready"
    url: str
    """URL that the web service reports, without a path."""
    pid: int
    sdk_version: str
    start_s: float
    """Seconds from the start of the host's own code to this message."""

    def __post_init__(self) -> None:
        _is(self.url, str, "url")
        _whole(self.pid, "pid")
        _is(self.sdk_version, str, "sdk_version")
        _number(self.start_s, "start_s")


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a long command; also its sign of life."""

    TYPE: ClassVar[str] = "progress"
    id: int
    percent: float | None = None
    """0 to 100 of a download; None: only a sign of life."""
    what: str = ""
    """What is downloaded, where it is not the model of the command."""

    def __post_init__(self) -> None:
        _whole(self.id, "id")
        _is(self.what, str, "what")
        if self.percent is not None:
            _number(self.percent, "percent")


@dataclass(frozen=True, slots=True)
class Result:
    """Result of a command."""

    TYPE: ClassVar[str] = "result"
    id: int
    seconds: float
    """Time in the host."""
    models: tuple[ModelInfo, ...] = ()
    """``list``: all variants."""
    loaded: tuple[str, ...] = ()
    """``status``: ids of the loaded models."""
    providers: tuple[str, ...] = ()
    """``providers``: names of those that are registered."""
    failed: tuple[str, ...] = ()
    """``providers``: names of those that could not be registered."""

    def __post_init__(self) -> None:
        _whole(self.id, "id")
        _number(self.seconds, "seconds")
        for model in self.models:
            if not isinstance(model, ModelInfo):
                raise ProtocolError(f"models: expected models, found {model!r:.100}")
        for name in ("loaded", "providers", "failed"):
            _each(getattr(self, name), str, name)


@dataclass(frozen=True, slots=True)
class Answered:
    """End of a chat, successful or not.

    All stamps are CLOCK_MONOTONIC, in ns.
    """

    TYPE: ClassVar[str] = "answered"
    id: int
    sent_ns: int
    stamps_ns: tuple[int, ...]
    """When each chunk left the runtime."""
    chunks: tuple[str, ...]
    """The chunks' JSON, not parsed."""
    usage: str
    """JSON of the runtime's own counts; empty where it gave none."""
    ended_ns: int
    error: str = ""

    def __post_init__(self) -> None:
        for name in ("id", "sent_ns", "ended_ns"):
            _whole(getattr(self, name), name)
        for name in ("usage", "error"):
            _is(getattr(self, name), str, name)
        _each(self.stamps_ns, int, "stamps_ns")
        _each(self.chunks, str, "chunks")
        if len(self.stamps_ns) != len(self.chunks):
            raise ProtocolError(f"{len(self.stamps_ns)} stamps for {len(self.chunks)} chunks")


@dataclass(frozen=True, slots=True)
class Failure:
    """Failure of a command, or of the start (``id`` None)."""

    TYPE: ClassVar[str] = "failure"
    id: int | None
    kind: FailureKind
    message: str

    def __post_init__(self) -> None:
        if self.id is not None:
            _whole(self.id, "id")
        if not isinstance(self.kind, FailureKind):
            raise ProtocolError(f"kind: expected a kind of failure, found {self.kind!r:.100}")
        _is(self.message, str, "message")


Message: TypeAlias = Start | Command | Cancel | Ready | Progress | Result | Answered | Failure

_TYPES: Final[Mapping[str, type[Message]]] = {
    message.TYPE: message for message in (Start, Command, Cancel, Ready, Progress, Result, Answered, Failure)
}
_LISTS: Final = ("models", "loaded", "providers", "failed", "stamps_ns", "chunks")
_ENUMS: Final[Mapping[str, type[StrEnum]]] = {"mode": Mode, "verb": Verb, "kind": FailureKind}


def encode(message: Message) -> bytes:
    """Encode a message as one line of ASCII, with line end."""
    return json.dumps({"type": message.TYPE, **asdict(message)}, separators=(",", ":")).encode("ascii") + b"\n"


def decode(line: bytes) -> Message:
    """Decode the message in a line; raises :class:`ProtocolError` for anything else."""
    if len(line) > MAX_LINE_BYTES:
        raise ProtocolError(f"a line of {len(line)} bytes, expected at most {MAX_LINE_BYTES}")
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"not JSON: {line[:100]!r}") from error
    if not isinstance(values, dict):
        raise ProtocolError(f"expected an object, found {line[:100]!r}")
    kind = values.pop("type", None)
    message = _TYPES.get(kind) if isinstance(kind, str) else None
    if message is None:
        raise ProtocolError(f"type: unknown message {kind!r:.100}")
    return _build(message, values)


def _build(message: type[Message], values: dict[str, Any]) -> Message:
    _only_known(message, values)
    for name, enum in _ENUMS.items():
        if name in values:
            try:
                values[name] = enum(values[name])
            except ValueError as error:
                raise ProtocolError(f"{name}: unknown {values[name]!r:.100}") from error
    for name in _LISTS:
        if name in values:
            _is(values[name], list, name)
            values[name] = tuple(_model(each) if name == "models" else each for each in values[name])
    try:
        return message(**values)
    except TypeError as error:
        raise ProtocolError(f"{message.TYPE}: {error}") from error


def _model(values: object) -> ModelInfo:
    if not isinstance(values, dict):
        raise ProtocolError(f"models: expected objects, found {values!r:.100}")
    _only_known(ModelInfo, values)
    try:
        return ModelInfo(**values)
    except TypeError as error:
        raise ProtocolError(f"models: {error}") from error


def _only_known(kind: type[Message] | type[ModelInfo], values: Mapping[str, object]) -> None:
    unknown = values.keys() - {field.name for field in fields(kind)}
    if unknown:
        raise ProtocolError(f"unknown key {sorted(unknown)[0]!r:.100}")
