"""llama.cpp options, read from the configuration and validated."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar

from pytest_flperf.backends.base import BackendConfig, BackendError
from pytest_flperf.foundry_host.logs import clean

__all__ = ["OPTIONS", "LlamaOptions"]

OPTIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "server": "llama-server to start: a path, or a name on PATH (default llama-server)",
        "models_dir": "Folder with .gguf files for a router to serve (default: llama.cpp's own cache of downloads)",
        "models_max": "How many models a router keeps loaded at once (default 1)",
        "context": "Context in tokens, -c (default: the model's own)",
        "args": "More arguments for llama-server, such as [-ngl, 99] in a target or '-ngl 99'",
        "start_s": "Seconds to wait for its first answer (default 60)",
        "load_s": "Seconds to wait for a model to load (default 600)",
    }
)
_OF_STARTING: Final = ("server", "models_dir", "models_max", "context", "args", "start_s")
_SAID_OTHERWISE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "--host": "the server listens on 127.0.0.1",
        "--port": "a free port is chosen",
        "--model": "name the file as the target's model",
        "-m": "name the file as the target's model",
        "--alias": "the model's name is the file's",
        "-a": "the model's name is the file's",
        "--models-dir": "use the option models_dir",
        "--models-max": "use the option models_max",
        "--ctx-size": "use the option context",
        "-c": "use the option context",
        "--api-key": "a key does not belong on a command line, and the server listens on loopback only",
        "--api-key-file": "the server listens on loopback only",
        "--api-prefix": "a server on its own port does not need it",
        "--ssl-key-file": "the server listens on loopback only",
        "--ssl-cert-file": "the server listens on loopback only",
    }
)
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class LlamaOptions:
    """Start options and timeouts of llama-server."""

    server: str = "llama-server"
    models_dir: Path | None = None
    models_max: int = 1
    context: int | None = None
    args: tuple[str, ...] = ()
    start_s: float = 60.0
    load_s: float = 600.0

    @classmethod
    def of(cls, config: BackendConfig) -> LlamaOptions:
        """Options of a configuration; raises BackendError for invalid values."""
        given = {name: value for name, value in config.options.items() if value is not None}
        unknown = sorted(given.keys() - {each.name for each in fields(cls)})
        if unknown:
            raise BackendError(f"llamacpp: unknown option {clean(unknown[0])!r}, expected one of {', '.join(OPTIONS)}")
        if config.base_url is not None:
            for name in _OF_STARTING:
                if name in given:
                    raise BackendError(
                        f"llamacpp: option {name} is for a server that the run starts, but base_url names one that "
                        "is already running: remove one of them"
                    )
        readers: Mapping[str, Callable[[Any], Any]] = {
            "server": _text,
            "models_dir": _folder,
            "models_max": _whole,
            "context": _whole,
            "args": _arguments,
            "start_s": _seconds,
            "load_s": _seconds,
        }
        return cls(**{name: _read(name, value, readers[name]) for name, value in given.items()})

    def arguments(self) -> list[str]:
        """Arguments for every server that we start."""
        context = [] if self.context is None else ["--ctx-size", str(self.context)]
        return ["--metrics", *context, *self.args]


def _read(name: str, value: Any, reader: Callable[[Any], _Value]) -> _Value:
    try:
        return reader(value)
    except ValueError as error:
        raise BackendError(f"llamacpp: option {name}: found {clean(repr(value)[:300])}, expected {error}") from None


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise ValueError("a path or a name")
    return value.strip()


def _folder(value: Any) -> Path:
    path = Path(_text(str(value))).expanduser().absolute()
    if not path.is_dir():
        raise ValueError(f"an existing folder (there is none at {path})")
    return path


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1 << 30:
        raise ValueError("a whole number, 1 or more")
    return value


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 86_400:
        raise ValueError("seconds, more than 0 and at most a day")
    return float(value)


def _words(text: str) -> list[str]:
    """Split a text as a shell would."""
    try:
        return shlex.split(text)
    except ValueError:
        raise ValueError("matching quotes") from None


def _arguments(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = _words(value)
    if not isinstance(value, list | tuple):
        raise ValueError("a list of arguments, such as [-ngl, 99], or one string")  # noqa: TRY004 - one kind of error for _read
    found = []
    for each in value:
        if isinstance(each, bool) or not isinstance(each, str | int | float) or "\0" in str(each):
            raise ValueError("only strings and numbers in the list")
        name = str(each).partition("=")[0]
        if name in _SAID_OTHERWISE:
            # without the value: it may contain a key
            raise BackendError(f"llamacpp: option args: remove {name}: {_SAID_OTHERWISE[name]}")
        found.append(str(each))
    return tuple(found)
