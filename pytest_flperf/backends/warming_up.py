"""Servers that are there and not ready yet: 503 while a model loads, and ``Retry-After``."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from enum import Enum
from typing import Final

from pytest_flperf.backends.base import OnProgress
from pytest_flperf.runtime.logs import clean

__all__ = ["Patience", "Readiness", "readiness"]

_LOADING: Final = re.compile(
    r"\bloading\b|being loaded|not yet (?:been )?loaded|not loaded yet|not (?:yet )?ready|warming|warm-?up|starting up"
    r"|is starting|still starting|initiali[sz]|unavailable_error|no (?:ready|healthy) (?:upstream|replica|endpoint)"
    r"|model_?not_?ready|is cold\b|cold start",
    re.IGNORECASE,
)
_BROKEN: Final = re.compile(
    r"fail(?:ed|ure)|crash|\bdead\b|\bdied\b|out of memory|(?:error|unable|cannot|can't|could not)(?: to| while)? load",
    re.IGNORECASE,
)
_WORDS: Final = 2_000
_NEVER: Final = frozenset({401, 402, 403, 404, 405, 413, 422})
"""Whatever their words are: nothing that waiting mends."""
_UNCLEAR_S: Final = 60.0
"""How long a 503 is waited for that says nothing of a load: a load balancer has no server yet, or for good."""
_MOST_LIMITED: Final = 2
"""Times that a 429 is waited for: who is still refused after the pause that was asked for has no quota."""
_FIRST_PAUSE_S: Final = 0.25
_LONGEST_PAUSE_S: Final = 5.0
_STEP_S: Final = 0.1


class Readiness(Enum):
    """What an answer says of whether the next one may be better."""

    LOADING = "loading"
    """It says so, or says when to ask again."""
    UNCLEAR = "unclear"
    """A 503 that doesn't say why."""
    LIMITED = "limited"
    """A 429 that says when to ask again."""
    NO_USE = "no use"


def readiness(status: int | None, words: str, asked_s: float | None) -> Readiness:
    """Whether it is worth waiting for a server that has answered with an error.

    Args:
        status: HTTP status; None where there was no answer.
        words: What the answer says, as long as it may be.
        asked_s: Its ``Retry-After`` in seconds.

    """
    if status is None or status < 400 or status in _NEVER:
        return Readiness.NO_USE
    words = words[:_WORDS]
    if _BROKEN.search(words):
        return Readiness.NO_USE
    if _LOADING.search(words) or (asked_s is not None and status == 503):
        return Readiness.LOADING
    if asked_s is not None and status == 429:
        return Readiness.LIMITED
    return Readiness.UNCLEAR if status == 503 else Readiness.NO_USE


class Patience:
    """The time that a server is given to get ready, counted from the first answer that says that it isn't."""

    def __init__(
        self, name: str, limit_s: float, on_progress: OnProgress, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Wait for nothing yet.

        Args:
            name: What is waited for, for people.
            limit_s: The longest wait in all.
            on_progress: Told ten times a second; ends the wait by raising BackendError.
            clock: Monotonic, in seconds.

        """
        self._name = name
        self._limit_s = limit_s
        self._on_progress = on_progress
        self._clock = clock
        self._began: float | None = None
        self._pause_s = _FIRST_PAUSE_S
        self._said = ""
        self._limited = 0
        self.gave_up = ""
        """Why it is not waited for any longer; empty where that was never the question."""

    @property
    def waited_s(self) -> float:
        """Since the first answer that said it; 0: there was none."""
        return 0.0 if self._began is None else self._clock() - self._began

    @property
    def note(self) -> str:
        """What is to be said where the server was waited for; empty where it wasn't."""
        if self._began is None:
            return ""
        return f"the server was not ready ({self._said}) and was waited for: {self.waited_s:.1f} s"

    def wait(self, status: int | None, words: str, asked_s: float | None) -> bool:
        """Wait until it is worth asking again; False where it isn't.

        Arguments as of :func:`readiness`; people are shown the first line of ``words``.
        """
        found = readiness(status, words, asked_s)
        self._limited += found is Readiness.LIMITED
        if found is Readiness.NO_USE or self._limited > _MOST_LIMITED:
            return False
        limit_s = self._limit_s if found is Readiness.LOADING else min(self._limit_s, _UNCLEAR_S)
        left_s = limit_s - self.waited_s
        pause_s = max(self._pause_s, asked_s or 0.0)
        if (asked_s or 0.0) > max(left_s, 0.0):
            self.gave_up = f"it asks to wait {asked_s:,.0f} s, longer than the {limit_s:g} s that it is waited for"
            return False
        if left_s <= 0:
            self.gave_up = f"it was waited for {self.waited_s:.0f} s"
            return False
        if self._began is None:
            self._began = self._clock()
        said = clean(words.partition("\n")[0], 120)
        self._said = said if said.startswith("HTTP") else ": ".join(filter(None, (f"HTTP {status}", said)))
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
        self._sleep(min(pause_s, left_s))
        return True

    def _sleep(self, pause_s: float) -> None:
        until = self._clock() + pause_s
        while (left_s := until - self._clock()) > 0:
            self._on_progress(f"waiting for {clean(self._name, 80)} ({self._said}), {self.waited_s:.0f} s", None)
            time.sleep(min(left_s, _STEP_S))
