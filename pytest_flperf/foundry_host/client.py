"""Runtime host client: start it, send commands, detect hangs, stop it.

Every call has a deadline and raises one of :mod:`pytest_flperf.foundry_host.errors`.  A handle may be used from several
threads, one call at a time.
"""

from __future__ import annotations

import contextlib
import itertools
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn, Self

from pytest_flperf.foundry_host import logs
from pytest_flperf.foundry_host.errors import (
    DownloadCancelled,
    HostDied,
    HostHung,
    ModelNotFound,
    RuntimeHostError,
    RuntimeUnavailable,
    ServiceUnreachable,
)
from pytest_flperf.foundry_host.messages import (
    no_such_device,
    not_found,
    refusal,
    refused_start,
    too_late,
    unreachable,
    words_of,
)
from pytest_flperf.foundry_host.process import HostConfig, HostProcess
from pytest_flperf.foundry_host.protocol import (
    Answered,
    Cancel,
    Command,
    Failure,
    FailureKind,
    Mode,
    ModelInfo,
    Progress,
    ProtocolError,
    Ready,
    Result,
    Verb,
)
from pytest_flperf.foundry_host.reachability import check_answers
from pytest_flperf.foundry_host.reports import HostStatus, Providers
from pytest_flperf.foundry_host.variants import devices_of, pick

if TYPE_CHECKING:
    from pytest_flperf.foundry_host.folders import FolderModel

__all__ = ["Answered", "HostConfig", "HostStatus", "Mode", "ModelInfo", "Providers", "RuntimeHost"]

_STOP_S: Final = 0.45
_CANCEL_S: Final = 10.0
"""How long the runtime may take to cancel a download before the host is ended, in seconds."""


class RuntimeHost:
    """Handle of a running host process."""

    def __init__(self, config: HostConfig) -> None:
        """Start the process without waiting; call :meth:`wait_ready` next.

        Do this on the main thread: on Linux the host then also dies with the parent if a fork keeps the pipe open.
        (That kernel feature watches the *thread* that started the host, so it is not used on other threads.)
        """
        self.config = config
        self._deadline = time.monotonic() + config.start_s
        self._process = HostProcess(config)
        self._calling = threading.RLock()
        self._ids = itertools.count(1)
        self._ready: Ready | None = None
        self._models: dict[str, ModelInfo] | None = None
        """The last listing; None: not listed yet, or something has changed since."""
        self._asked_by_id: set[str] = set()
        self._ended = False

    @classmethod
    def start(cls, config: HostConfig) -> Self:
        """Start a host and wait until its web service answers."""
        host = cls(config)
        host.wait_ready()
        return host

    def wait_ready(self) -> None:
        """Wait until the web service answers; ends the host if it doesn't."""
        with self._calling:
            self._check_not_stopped()
            if self._ready is not None:
                return
            try:
                ready = self._await_ready()
                within_s = max(0.5, self._deadline - time.monotonic())
                problem = check_answers(ready.url, within_s, lambda: self.alive)
                if problem and not self.alive:
                    self._died("before its web service had answered")
                if problem:
                    self._fail(ServiceUnreachable, unreachable(ready.url, problem, self.config.start_s))
            except BaseException:
                self.kill()
                raise
            self._ready = ready

    def list_models(self, deadline_s: float = 60.0) -> tuple[ModelInfo, ...]:
        """Variants for this machine, with what is cached and loaded now."""
        models = self._ask(Verb.LIST, None, deadline_s).models
        self._models = {model.id: model for model in models}
        return models

    def register_providers(
        self, on_progress: Callable[[str, float], None] | None = None, deadline_s: float = 3600.0
    ) -> Providers:
        """Download and register execution providers, before models are listed.

        Registers those that exist for this machine.  ``on_progress`` gets a provider's name and percent.  Returns at
        once if there are none, or all are here.
        """
        found = self._ask(Verb.PROVIDERS, None, deadline_s, on_named_progress=on_progress)
        self._models = None
        return Providers(found.providers, found.failed)

    def add_folder(self, model: FolderModel, deadline_s: float = 60.0) -> None:
        """Folder mode: register a folder as a model.

        Its files are linked, or copied where links aren't possible.
        """
        self._process.workspace.link_folder(model)
        self._ask(Verb.ADD, model.id, deadline_s, body=model.entry_json())
        self._models = None

    def resolve(self, name: str, device: str = "auto", deadline_s: float = 60.0) -> ModelInfo:
        """Resolve an alias, id or name to a variant for ``device``.

        The name has no version.

        Of an alias: a loaded variant before a cached one, a cached one before the runtime's own choice.
        """
        if self._models is None:
            self.list_models(deadline_s)
        known = self._models or {}
        found = pick(name, tuple(known.values()), device)
        if found is None and ":" in name and name not in self._asked_by_id:
            # The catalog lists the newest version only; an older one can be had by its id.
            self._asked_by_id.add(name)
            known = self._models = {model.id: model for model in self._ask(Verb.LIST, name, deadline_s).models}
            found = pick(name, tuple(known.values()), device)
        if found is None:
            others = devices_of(name, tuple(known.values()))
            raise no_such_device(name, device, others) if others else self._not_found(name)
        return found

    def download(
        self,
        model_id: str,
        on_progress: Callable[[float], None] | None = None,
        cancel: threading.Event | None = None,
        deadline_s: float = 24 * 3600.0,
    ) -> float:
        """Download a model's files if missing; returns the seconds it took.

        ``on_progress`` gets percent, 0 to 100, on the calling thread.  Setting ``cancel`` stops the download; partial
        files stay, and the next download resumes from there.
        """
        seconds = self._ask(Verb.DOWNLOAD, model_id, deadline_s, on_progress, cancel).seconds
        self._models = None
        return seconds

    def remove(self, model_id: str, deadline_s: float = 60.0) -> None:
        """Remove a model's files from the cache; it mustn't be loaded."""
        self._ask(Verb.REMOVE, model_id, deadline_s)
        self._models = None

    def load(self, model_id: str, deadline_s: float = 600.0) -> float:
        """Load a model into memory; returns the host's load time (s)."""
        seconds = self._ask(Verb.LOAD, model_id, deadline_s).seconds
        self._models = None
        return seconds

    def unload(self, model_id: str, deadline_s: float = 60.0) -> None:
        """Unload a model from memory."""
        self._ask(Verb.UNLOAD, model_id, deadline_s)
        self._models = None

    def chat(self, model_id: str, body: str, deadline_s: float) -> Answered:
        """Run a chat-completions request in the host, without HTTP; thread-safe.

        ``body``: the request's JSON.  A refusal of the runtime is the answer's ``error``.  An answer that has not ended
        after ``deadline_s`` is cancelled, and returned as far as it came.  Raises if the host has died or hangs.
        """
        if self._ready is None:
            self.wait_ready()
        command = Command(next(self._ids), Verb.CHAT, model_id, body)
        try:
            heard = self._process.converse(command, deadline_s, _CANCEL_S)
        except TimeoutError:
            self.kill()
            self._fail(
                HostHung,
                f"The runtime host (pid {self.pid}) did not finish a chat within {deadline_s:g} s or stop it within "
                f"another {_CANCEL_S:g} s, and was ended.",
            )
        if isinstance(heard, Answered):
            return heard
        if isinstance(heard, Failure):
            self._refused(command, heard)
        self._died(f"while it was told to {words_of(command)}")

    def status(self, deadline_s: float = 10.0) -> HostStatus:
        """Loaded models; raises if the host has died or hangs."""
        return HostStatus(loaded=self._ask(Verb.STATUS, None, deadline_s).loaded)

    @property
    def url(self) -> str:
        """Base URL of the OpenAI-compatible API, ``http://127.0.0.1:PORT/v1``."""
        if self._ready is None:
            raise RuntimeHostError("The runtime host has no address yet: wait_ready() has not returned.")
        return f"{self._ready.url}/v1"

    @property
    def sdk_version(self) -> str:
        """Version of the SDK in the host; empty before it's ready."""
        return self._ready.sdk_version if self._ready else ""

    @property
    def pid(self) -> int:
        """Process id of the host."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs (it may still hang: :meth:`status` tells)."""
        return self._process.alive

    @property
    def log_path(self) -> Path:
        """The host's log; native code also prints to it."""
        return self._process.log_path

    def log_tail(self, lines: int = 20) -> tuple[str, ...]:
        """Last lines of the log, limited and without control characters."""
        return logs.tail(self.log_path, lines)

    def stop(self) -> None:
        """Stop the host cleanly, within half a second; never raises.

        May be called again.
        """
        if not self._ended and self.alive:
            self._ended = True
            # Without the lock: a call that waits in another thread must not delay the end.
            with contextlib.suppress(OSError, ValueError):
                self._process.say(Command(next(self._ids), Verb.SHUTDOWN))
                self._process.wait(_STOP_S)
        self.kill()

    def kill(self) -> None:
        """Kill the host at once; never raises, may be called again."""
        self._ended = True
        self._process.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _check_not_stopped(self) -> None:
        if self._ended:
            raise RuntimeHostError(f"The runtime host (pid {self.pid}) has been stopped; start a new one.")

    def _await_ready(self) -> Ready:
        while True:
            try:
                heard = self._process.heard.get(timeout=max(0.0, self._deadline - time.monotonic()))
            except queue.Empty:
                self._fail(
                    HostHung,
                    f"The runtime host (pid {self.pid}) did not report ready within {self.config.start_s:g} s and was "
                    "ended. A machine under heavy load can cause that: try again, or give it longer.",
                )
            if isinstance(heard, Ready):
                return heard
            if isinstance(heard, Failure):
                self._refuse_start(heard)
            if heard is None:
                self._died("while it started")

    def _refuse_start(self, failure: Failure) -> NoReturn:
        self._fail(RuntimeUnavailable, refused_start(failure, str(self.log_path)))

    def _ask(
        self,
        verb: Verb,
        model_id: str | None,
        deadline_s: float,
        on_progress: Callable[[float], None] | None = None,
        cancel: threading.Event | None = None,
        *,
        on_named_progress: Callable[[str, float], None] | None = None,
        body: str | None = None,
    ) -> Result:
        with self._calling:
            self.wait_ready()
            command = Command(next(self._ids), verb, model_id, body)
            try:
                self._process.say(command)
            except OSError:
                self._died(f"before it could {words_of(command)}")
            report = None if on_progress is None else (lambda _name, percent: on_progress(percent))
            return self._await(command, deadline_s, on_named_progress or report, cancel)

    def _await(
        self,
        command: Command,
        deadline_s: float,
        on_progress: Callable[[str, float], None] | None,
        cancel: threading.Event | None,
    ) -> Result:
        began = last_sign = time.monotonic()
        deadline = began + deadline_s
        cancelling = False
        while True:
            if cancel is not None and cancel.is_set() and not cancelling:
                cancelling = True
                deadline = min(deadline, time.monotonic() + _CANCEL_S)
                with contextlib.suppress(OSError):
                    self._process.say(Cancel(command.id))
            left = min(deadline, last_sign + self.config.silence_s) - time.monotonic()
            if left <= 0:
                self._too_late(command, time.monotonic() - began, time.monotonic() - last_sign, cancelling=cancelling)
            try:
                heard = self._process.heard.get(timeout=left if cancel is None or cancelling else min(left, 0.1))
            except queue.Empty:
                continue
            last_sign = time.monotonic()
            match heard:
                case None:
                    self._died(f"while it was told to {words_of(command)}")
                case ProtocolError():
                    self.kill()
                    self._fail(
                        HostDied, f"The runtime host (pid {self.pid}) sent something that is not an answer: {heard}"
                    )
                case Progress(id=command.id, percent=float() as percent, what=what) if on_progress is not None:
                    on_progress(what, percent)
                case Result(id=command.id):
                    return heard
                case Failure(id=command.id):
                    self._refused(command, heard)
                case _:
                    # An answer to a call that was interrupted (Ctrl-C).
                    continue

    def _refused(self, command: Command, failure: Failure) -> NoReturn:
        if failure.kind is FailureKind.MODEL_NOT_FOUND:
            raise self._not_found(command.model_id or "")
        if failure.kind is FailureKind.CANCELLED:
            raise DownloadCancelled(
                f"The download of {logs.clean(command.model_id or '')} was cancelled; what has arrived is kept, and "
                "the next download resumes there."
            )
        self._fail(*refusal(command, failure))

    def _too_late(self, command: Command, waited_s: float, silent_s: float, *, cancelling: bool) -> NoReturn:
        self.kill()
        if cancelling:
            raise DownloadCancelled(
                f"The download of {logs.clean(command.model_id or '')} was cancelled; the runtime did not stop it "
                f"within {_CANCEL_S:g} s and was ended with it."
            )
        busy = silent_s < self.config.silence_s
        self._fail(*too_late(command, self.pid, waited_s=waited_s, silent_s=silent_s, busy=busy))

    def _died(self, when: str) -> NoReturn:
        if self._ended:
            raise RuntimeHostError(f"The runtime host (pid {self.pid}) was stopped {when}.")
        how = self._process.exit_words()
        self.kill()
        self._fail(
            HostDied,
            f"The runtime host (pid {self.pid}) {how} {when}. Nothing told it to. Usual causes are too little memory "
            "or a fault in the native runtime.",
        )

    def _not_found(self, name: str) -> ModelNotFound:
        log = () if self._models else self.log_tail(10)
        return not_found(name, tuple((self._models or {}).values()), self.config.mode, log, str(self.log_path))

    def _fail(self, kind: type[RuntimeHostError], message: str) -> NoReturn:
        raise kind(message, log=self.log_tail(15), log_path=str(self.log_path)) from None
