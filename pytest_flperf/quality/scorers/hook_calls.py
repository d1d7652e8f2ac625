"""Hook ``pytest_flperf_score``: called in a thread, with a deadline."""

from __future__ import annotations

import ctypes
import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeAlias

from pytest_flperf._text import printable
from pytest_flperf.bounded.process import NoResult, Stop
from pytest_flperf.bounded.worker import ImpossibleError
from pytest_flperf.quality.scorers.answers import AnswerScore, AnswerToScore, read_score

__all__ = ["HOOK_LIMIT_S", "Hook", "HookCalls", "HookScore"]

HookScore: TypeAlias = AnswerScore | NoResult | None

HOOK_LIMIT_S: Final = 20.0
"""Longest time of one call."""
_TICK_S: Final = 0.1
_NAME: Final = "pytest_flperf_score"


@dataclass(frozen=True, slots=True)
class Hook:
    """The hook as a function."""

    call: Callable[[AnswerToScore], object]
    """Returns what an implementation returned first; None: no one scores this answer."""
    ends: tuple[type[BaseException], ...] = ()
    """Exceptions that end the session, whatever they derive from."""


class _TooLongError(BaseException):
    """Raised in a thread whose call took too long."""


class HookCalls:
    """Calls of the hook for the answers of one case.

    A process that can be ended has no conftest.  So it is called in a thread, which is given up after the limit: code
    in Python ends there, code that waits outside of Python may go on.  After that the case has no further calls.
    """

    def __init__(self, hook: Hook, limit_s: float = HOOK_LIMIT_S) -> None:
        """Call nothing yet."""
        self._hook = hook
        self._limit_s = limit_s
        self._hung = False

    def scores(self, answers: Sequence[AnswerToScore], stop: Stop) -> list[HookScore]:
        """What the hook says of each answer, in order; raises what ends the session.

        Args:
            answers: The answers.
            stop: Returns why no more answers shall be scored; empty: go on.

        """
        found: list[HookScore] = []
        if not self._hung and answers and not stop():
            calls = _Calls(self._hook, answers)
            why = self._take(calls, len(answers), found, stop)
            if not why:
                return found
            calls.give_up()
            if self._hung:
                found.append(NoResult(f"{_NAME} took longer than {self._limit_s:g} s"))
        why = f"an earlier call of {_NAME} took longer than {self._limit_s:g} s" if self._hung else stop()
        return [*found, *[NoResult(why)] * (len(answers) - len(found))]

    def _take(self, calls: _Calls, count: int, found: list[HookScore], stop: Stop) -> str:
        """Take results until there are so many; why it ended before that, else empty."""
        heard = time.monotonic()
        while len(found) < count:
            try:
                told = calls.replies.get(timeout=_TICK_S)
            except queue.Empty:
                self._hung = time.monotonic() - heard > self._limit_s
            else:
                if isinstance(told, BaseException):
                    raise told
                found.append(told)
                heard = time.monotonic()
            if self._hung or (len(found) < count and stop()):
                return "given up"
        return ""


class _Calls:
    """Calls of the hook in a thread of their own."""

    def __init__(self, hook: Hook, answers: Sequence[AnswerToScore]) -> None:
        self.replies: queue.SimpleQueue[HookScore | BaseException] = queue.SimpleQueue()
        self._hook = hook
        self._answers = answers
        self._given_up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="flperf-score", daemon=True)
        self._thread.start()

    def give_up(self) -> None:
        """Ask the thread to end, also in the middle of a call."""
        self._given_up.set()
        if self._thread.is_alive() and self._thread.ident is not None:
            raised = ctypes.pythonapi.PyThreadState_SetAsyncExc
            raised(ctypes.c_ulong(self._thread.ident), ctypes.py_object(_TooLongError))

    def _run(self) -> None:
        with suppress(_TooLongError):
            for answer in self._answers:
                if self._given_up.is_set():
                    return
                self.replies.put(self._one(answer))

    def _one(self, answer: AnswerToScore) -> HookScore | BaseException:
        try:
            returned = self._hook.call(answer)
            return None if returned is None else read_score(returned)
        except _TooLongError:
            raise
        except self._hook.ends as error:
            return error
        except ImpossibleError as error:
            return NoResult(str(error).replace("its scorer", _NAME, 1))
        except Exception as error:  # noqa: BLE001 - somebody else's code
            return NoResult(f"{_NAME}: {type(error).__name__}: {printable(str(error).partition(chr(10))[0], 200)}")
        except BaseException as error:  # noqa: BLE001 - it is raised in the thread that waits
            return error
