"""Runtime host process: runs Foundry Local, executes its parent's commands.

Started as ``python -m pytest_flperf.foundry_host.host`` by :mod:`pytest_flperf.foundry_host.client`, never by hand.
Commands come in on standard input and answers leave on standard output, one JSON object per line
(:mod:`pytest_flperf.foundry_host.protocol`).  Native code prints to standard output, so the pipes move to descriptors
of our own at the very start, and 1 goes to the log like 2.  When the input ends, for whatever reason, so does this
process.
"""

from __future__ import annotations

import faulthandler
import os
import platform
import queue
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NoReturn

from pytest_flperf.foundry_host.child import find_prctl, follow_parent
from pytest_flperf.foundry_host.manager import HostError, Runtime
from pytest_flperf.foundry_host.protocol import (
    Cancel,
    Command,
    Failure,
    FailureKind,
    Message,
    Progress,
    ProtocolError,
    Result,
    Start,
    Verb,
    decode,
    encode,
)

if TYPE_CHECKING:
    from pytest_flperf.foundry_host.chat import Chat

__all__ = ["main"]

_UNLOAD_S: Final = 0.25
"""Longest wait for unloading at shutdown: the end of the process frees the memory anyway."""
_BEAT_S: Final = 1.0


class _Channel:
    """Message channel to and from the parent."""

    def __init__(self) -> None:
        self._input: BinaryIO = os.fdopen(os.dup(0), "rb")
        self._output = os.dup(1)
        self._lock = threading.Lock()
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.dup2(2, 1)

    def receive(self) -> Message:
        """Next message; ends the process at end of input.

        It also ends at an invalid message.
        """
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
    """End with the parent, even if a fork keeps the pipe open."""
    if start.die_with_parent and (prctl := find_prctl()) is not None:
        # Bound to the parent's *thread* that started us: the client asks for it only on the main thread.
        follow_parent(prctl)
    if hasattr(os, "getppid") and sys.platform != "win32" and os.getppid() != start.parent_pid:
        _exit("the parent is gone")


class _Host:
    """Command loop; downloads and chats run in parallel."""

    def __init__(self, channel: _Channel) -> None:
        self._channel = channel
        self._runtime: Runtime | None = None
        self._unloaded = threading.Event()
        self._commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._cancelled: dict[int, threading.Event] = {}
        self._chats: dict[int, Chat] = {}

    def read(self) -> None:
        """Reader thread: sees the end of input while the runtime works."""
        while True:
            message = self._channel.receive()
            if isinstance(message, Cancel):
                self._cancel(message.id)
            elif not isinstance(message, Command):
                _exit(f"unexpected message {message.TYPE}", 1)
            elif message.verb is Verb.SHUTDOWN:
                self._shut_down(message)
            elif message.verb is Verb.DOWNLOAD:
                self._cancelled.setdefault(message.id, threading.Event())
                threading.Thread(target=self._do, args=(message,), daemon=True).start()
            elif message.verb is Verb.CHAT:
                self._begin_chat(message)
            else:
                self._commands.put(message)

    def work(self, runtime: Runtime) -> NoReturn:
        """Main thread: executes the commands in order."""
        self._runtime = runtime
        while True:
            self._do(self._commands.get())

    def _cancel(self, command_id: int) -> None:
        chat = self._chats.get(command_id)
        if chat is not None:
            threading.Thread(target=chat.cancel, daemon=True).start()
        else:
            self._cancelled.setdefault(command_id, threading.Event()).set()

    def _begin_chat(self, command: Command) -> None:
        from pytest_flperf.foundry_host.chat import Chat

        chat = self._chats[command.id] = Chat(command)
        threading.Thread(target=self._chat, args=(chat,), daemon=True).start()

    def _chat(self, chat: Chat) -> None:
        """Run a chat; logs and sends nothing before its end.

        Other chats are being stamped meanwhile.
        """
        command = chat.command
        try:
            answer: Message = chat.answer(self._started().find(command.model_id or ""))
        except Exception as error:  # noqa: BLE001 - whatever it is, the parent has to know
            answer = Failure(command.id, FailureKind.FAILED, f"{type(error).__name__}: {error}")
        finally:
            self._chats.pop(command.id, None)
        self._channel.send(answer)

    def _do(self, command: Command) -> None:
        _log(f"{command.verb} {command.model_id or ''}")
        done = threading.Event()
        threading.Thread(target=self._beat, args=(command.id, done), daemon=True).start()
        began = time.perf_counter()
        try:
            result = self._answer(command, self._started())
        except HostError as error:
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

    def _started(self) -> Runtime:
        if self._runtime is None:
            raise HostError(FailureKind.FAILED, "the runtime has not started yet")
        return self._runtime

    def _answer(self, command: Command, runtime: Runtime) -> dict[str, Any]:
        model_id = command.model_id or ""
        match command.verb:
            case Verb.LIST:
                return {"models": runtime.list(command.model_id)}
            case Verb.PROVIDERS:
                here, failed = runtime.providers(self._provider_progress(command.id))
                return {"providers": here, "failed": failed}
            case Verb.ADD:
                runtime.add(model_id, command.body or "")
            case Verb.REMOVE:
                runtime.remove(model_id)
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

    def _provider_progress(self, command_id: int) -> Callable[[str, float], None]:
        reports: dict[str, float] = {}

        def report(name: str, percent: float) -> None:
            percent = min(max(percent, 0.0), 100.0)
            if percent - reports.get(name, -1.0) >= 1.0:
                reports[name] = percent
                self._channel.send(Progress(command_id, percent, name))

        return report

    def _kind(self, command: Command) -> FailureKind:
        cancelled = self._cancelled.get(command.id)
        if cancelled is not None and cancelled.is_set():
            return FailureKind.CANCELLED
        kinds = {Verb.LOAD: FailureKind.LOAD_FAILED, Verb.DOWNLOAD: FailureKind.DOWNLOAD_FAILED}
        return kinds.get(command.verb, FailureKind.FAILED)

    def _beat(self, command_id: int, done: threading.Event) -> None:
        """Signs of life, which tell a busy host from a hung one."""
        while not done.wait(_BEAT_S):
            self._channel.send(Progress(command_id))

    def _shut_down(self, command: Command) -> NoReturn:
        if self._runtime is not None:
            threading.Thread(target=self._unload_all, args=(self._runtime,), daemon=True).start()
            self._unloaded.wait(_UNLOAD_S)
        self._channel.send(Result(command.id, 0.0))
        _exit("shut down")

    def _unload_all(self, runtime: Runtime) -> None:
        try:
            runtime.unload_all()
        except Exception as error:  # noqa: BLE001 - the process ends now
            _log(f"unloading: {error}")
        self._unloaded.set()


def main() -> NoReturn:
    """Run the host until stopped, or until the parent is gone."""
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
        runtime = Runtime(start, began)
        ready = runtime.ready()
    except HostError as error:
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
