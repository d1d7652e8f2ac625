"""The child process: runs the Foundry Local runtime and does what its parent says.

Started as ``python -m pytest_flperf.runtime.host`` by :mod:`pytest_flperf.runtime.client`, never by hand.  Commands
come in on standard input and answers leave on standard output, one JSON object per line
(:mod:`pytest_flperf.runtime.protocol`).  Native code prints; so the pipes move to descriptors of our own at the very
start, and 1 goes to the log like 2.  When the input ends, for whatever reason, so does this process.
"""

from __future__ import annotations

import faulthandler
import os
import platform
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, BinaryIO, Final, NoReturn

from pytest_flperf.runtime.protocol import (
    Cancel,
    Command,
    Failure,
    FailureKind,
    Message,
    Mode,
    ModelInfo,
    Progress,
    ProtocolError,
    Ready,
    Result,
    Start,
    Verb,
    decode,
    encode,
)
from pytest_flperf.runtime.sdk import SdkUnavailableError, import_sdk

__all__ = ["main"]

_STILL_USED_S: Final = 3.0
_UNLOAD_S: Final = 0.25
"""Shutting down does not wait longer for unloading: the end of the process frees the memory anyway."""
_BEAT_S: Final = 1.0
_OUT_OF_REACH_S: Final = 3.5
_PR_SET_PDEATHSIG: Final = 1


class _HostError(Exception):
    def __init__(self, kind: FailureKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class _Channel:
    """Both directions of the conversation with the parent."""

    def __init__(self) -> None:
        self._input: BinaryIO = os.fdopen(os.dup(0), "rb")
        self._output = os.dup(1)
        self._lock = threading.Lock()
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.dup2(2, 1)

    def receive(self) -> Message:
        """The next message; ends the process at the end of input, or when the parent talks nonsense."""
        try:
            line = self._input.readline()
            if line:
                return decode(line)
        except (OSError, ProtocolError) as error:
            _log(f"unreadable command: {error}")
        _exit("end of input")

    def send(self, message: Message) -> None:
        data = encode(message)
        with self._lock:
            try:
                while data:
                    data = data[os.write(self._output, data) :]
            except OSError:
                _exit("nobody listens")


def _log(text: str) -> None:
    line = f"{time.strftime('%H:%M:%S')} host: {' '.join(text.split())[:1000]}\n".encode(errors="backslashreplace")
    try:
        os.write(2, line)
    except OSError:
        # A full disk is no reason to stop serving.
        return


def _exit(reason: str, code: int = 0) -> NoReturn:
    # No finalizers: FoundryLocalManager.close() takes two seconds, and native threads may hang in it.
    _log(reason)
    os._exit(code)


def _follow_parent(start: Start) -> None:
    """End with the parent even where the pipe's other end lives on in a fork of it."""
    if sys.platform == "linux" and start.die_with_parent:
        import ctypes

        # Bound to the parent's *thread* that started us: the client asks for it only on the main thread.
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if hasattr(os, "getppid") and sys.platform != "win32" and os.getppid() != start.parent_pid:
        _exit("the parent is gone")


class _Runtime:
    """The SDK's manager, and the models of its catalog by id."""

    def __init__(self, start: Start, began: float) -> None:
        self._began = began
        catalog_url = start.catalog_url
        serving: queue.SimpleQueue[str | Exception] = queue.SimpleQueue()
        if start.mode is Mode.EMBEDDED:
            # Beside the import of the SDK: half of what it costs is the same standard library.
            threading.Thread(target=_serve_embedded, args=(serving,), daemon=True).start()
        try:
            sdk = import_sdk()
        except SdkUnavailableError as error:
            raise _HostError(FailureKind.SDK_MISSING, str(error)) from error
        if start.mode is Mode.EMBEDDED:
            served = serving.get()
            if isinstance(served, Exception):
                raise served
            catalog_url = served
        configuration = sdk.configuration(
            app_name=start.app_name,
            app_data_dir=start.app_data_dir,
            model_cache_dir=start.model_cache_dir,
            logs_dir=start.logs_dir,
            log_level=sdk.log_level[start.log_level.upper()],
            web=sdk.configuration.WebService(urls="http://127.0.0.1:0"),
            catalog_urls=[(catalog_url, None)] if catalog_url else None,
            disable_nonessential_telemetry=True,
        )
        sdk.manager.initialize(configuration)
        self._manager: Any = sdk.manager.instance
        self._sdk_version = sdk.version
        self._models: dict[str, Any] = {}
        self._unknown: set[str] = set()
        # Seconds that the catalog took when it was asked first; None before that.
        self._catalog_s: float | None = None
        self._manager.start_web_service()

    def ready(self) -> Ready:
        urls = self._manager.urls or []
        if not urls:
            raise _HostError(FailureKind.START_FAILED, "the web service started without an address")
        return Ready(
            url=str(urls[0]).rstrip("/"),
            pid=os.getpid(),
            sdk_version=self._sdk_version,
            start_s=time.perf_counter() - self._began,
        )

    def list(self, model_id: str | None = None) -> tuple[ModelInfo, ...]:
        """All variants, and the one that is asked for by id even if the catalog shows a newer version."""
        described = []
        models: dict[str, Any] = {}
        began = time.perf_counter()
        listed = self._manager.catalog.list_models()
        if self._catalog_s is None:
            self._catalog_s = time.perf_counter() - began
        for model in listed:
            default = model.id
            for variant in model.variants:
                info = _describe(variant, default)
                models[info.id] = variant
                described.append(info)
        self._models = models
        if model_id is not None and model_id not in models:
            variant = self._fetch(model_id)
            if variant is not None:
                described.append(_describe(variant, ""))
        return tuple(described)

    def find(self, model_id: str) -> Any:
        if model_id not in self._models:
            self.list()
        model = self._models.get(model_id) or self._fetch(model_id)
        if model is None:
            raise _HostError(FailureKind.MODEL_NOT_FOUND, f"the catalog has no model {model_id}")
        return model

    def _fetch(self, model_id: str) -> Any:
        # The runtime asks the catalog anew for every unknown id: four tries in four seconds where it is out of reach,
        # as the first listing has shown.
        out_of_reach = self._catalog_s is None or self._catalog_s > _OUT_OF_REACH_S
        if out_of_reach or ":" not in model_id or model_id in self._unknown or "\0" in model_id:
            return None
        variant = self._manager.catalog.get_model_variant(model_id)
        if variant is None:
            self._unknown.add(model_id)
        else:
            self._models[model_id] = variant
        return variant

    def loaded(self) -> tuple[str, ...]:
        return tuple(str(model.id) for model in self._manager.catalog.get_loaded_models())

    def unload(self, model_id: str) -> None:
        """Unload a model; the session of an answer that has just ended may hold on to it for a moment."""
        give_up = time.monotonic() + _STILL_USED_S
        while True:
            try:
                self.find(model_id).unload()
            except Exception as error:
                if "still using" not in str(error) or time.monotonic() > give_up:
                    raise
            else:
                return
            time.sleep(0.02)

    def unload_all(self) -> None:
        for model in self._manager.catalog.get_loaded_models():
            model.unload()


def _serve_embedded(serving: queue.SimpleQueue[str | Exception]) -> None:
    try:
        from pytest_flperf.runtime.catalog import CatalogEntry, CatalogServer
        from pytest_flperf.runtime.embedded import embedded_models

        entries = [
            CatalogEntry(
                name=model.name,
                version=model.version,
                alias=model.alias,
                size_bytes=model.size_bytes,
                context_length=model.context_length,
                max_output_tokens=model.max_output_tokens,
                license=model.license,
            )
            for model in embedded_models()
        ]
        serving.put(CatalogServer(entries).url)
    except Exception as error:  # noqa: BLE001 - it is raised again by the thread that waits
        serving.put(error)


def _describe(variant: Any, default_id: str) -> ModelInfo:
    info = variant.info
    runtime = info.runtime
    return ModelInfo(
        id=info.id,
        alias=info.alias,
        device=str(runtime.device_type or "") if runtime else "",
        execution_provider=runtime.execution_provider if runtime else "",
        size_mb=info.file_size_mb,
        context_length=info.context_length,
        max_output_tokens=info.max_output_tokens,
        cached=variant.is_cached,
        loaded=variant.is_loaded,
        default=info.id == default_id,
        task=info.task or "",
        license=info.license or "",
    )


class _Host:
    """Takes commands in order; downloads run beside them."""

    def __init__(self, channel: _Channel) -> None:
        self._channel = channel
        self._runtime: _Runtime | None = None
        self._unloaded = threading.Event()
        self._commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._cancelled: dict[int, threading.Event] = {}

    def read(self) -> None:
        """The reader thread: also where the end of input is seen while the runtime is busy."""
        while True:
            message = self._channel.receive()
            if isinstance(message, Cancel):
                self._cancelled.setdefault(message.id, threading.Event()).set()
            elif not isinstance(message, Command):
                _exit(f"unexpected message {message.TYPE}", 1)
            elif message.verb is Verb.SHUTDOWN:
                self._shut_down(message)
            elif message.verb is Verb.DOWNLOAD:
                self._cancelled.setdefault(message.id, threading.Event())
                threading.Thread(target=self._do, args=(message,), daemon=True).start()
            else:
                self._commands.put(message)

    def work(self, runtime: _Runtime) -> NoReturn:
        """The main thread."""
        self._runtime = runtime
        while True:
            self._do(self._commands.get())

    def _do(self, command: Command) -> None:
        _log(f"{command.verb} {command.model_id or ''}")
        done = threading.Event()
        threading.Thread(target=self._beat, args=(command.id, done), daemon=True).start()
        began = time.perf_counter()
        try:
            result = self._answer(command, self._runtime)
        except _HostError as error:
            answer: Message = Failure(command.id, error.kind, str(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, the parent has to know
            answer = Failure(command.id, self._kind(command), f"{type(error).__name__}: {error}")
        else:
            answer = Result(command.id, time.perf_counter() - began, **result)
        finally:
            done.set()
        if isinstance(answer, Failure):
            _log(f"{command.verb} failed: {answer.message}")
        self._channel.send(answer)

    def _answer(self, command: Command, runtime: _Runtime | None) -> dict[str, Any]:
        if runtime is None:
            raise _HostError(FailureKind.FAILED, "the runtime has not started yet")
        model_id = command.model_id or ""
        match command.verb:
            case Verb.LIST:
                return {"models": runtime.list(command.model_id)}
            case Verb.LOAD:
                runtime.find(model_id).load()
            case Verb.UNLOAD:
                runtime.unload(model_id)
            case Verb.DOWNLOAD:
                runtime.find(model_id).download(self._progress(command.id), self._cancelled[command.id])
            case _:
                return {"loaded": runtime.loaded()}
        return {}

    def _progress(self, command_id: int) -> Callable[[float], None]:
        last = -1.0

        def report(percent: float) -> None:
            nonlocal last
            percent = min(max(percent, 0.0), 100.0)
            if percent - last >= 0.1 or percent >= 100.0 > last:
                last = percent
                self._channel.send(Progress(command_id, percent))

        return report

    def _kind(self, command: Command) -> FailureKind:
        cancelled = self._cancelled.get(command.id)
        if cancelled is not None and cancelled.is_set():
            return FailureKind.CANCELLED
        kinds = {Verb.LOAD: FailureKind.LOAD_FAILED, Verb.DOWNLOAD: FailureKind.DOWNLOAD_FAILED}
        return kinds.get(command.verb, FailureKind.FAILED)

    def _beat(self, command_id: int, done: threading.Event) -> None:
        """Signs of life: the parent can tell a host that is busy from one that hangs."""
        while not done.wait(_BEAT_S):
            self._channel.send(Progress(command_id))

    def _shut_down(self, command: Command) -> NoReturn:
        if self._runtime is not None:
            threading.Thread(target=self._unload_all, args=(self._runtime,), daemon=True).start()
            self._unloaded.wait(_UNLOAD_S)
        self._channel.send(Result(command.id, 0.0))
        _exit("shut down")

    def _unload_all(self, runtime: _Runtime) -> None:
        try:
            runtime.unload_all()
        except Exception as error:  # noqa: BLE001 - the process ends now
            _log(f"unloading: {error}")
        self._unloaded.set()


def main() -> NoReturn:
    """Be the host until told to stop, or until the parent is gone."""
    began = time.perf_counter()
    faulthandler.enable(all_threads=False)
    channel = _Channel()
    start = channel.receive()
    if not isinstance(start, Start):
        _exit(f"expected start, found {start.TYPE}", 1)
    _follow_parent(start)
    _log(f"start, pid {os.getpid()}, {start.mode}, Python {platform.python_version()}")
    host = _Host(channel)
    threading.Thread(target=host.read, daemon=True).start()
    try:
        runtime = _Runtime(start, began)
        ready = runtime.ready()
    except _HostError as error:
        failure = Failure(None, error.kind, str(error))
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent has to know
        failure = Failure(None, FailureKind.START_FAILED, f"{type(error).__name__}: {error}")
    else:
        _log(f"ready at {ready.url} after {ready.start_s:.3f} s")
        channel.send(ready)
        host.work(runtime)
    _log(f"start failed: {failure.message}")
    channel.send(failure)
    _exit("nothing to serve", 1)


if __name__ == "__main__":
    main()
