"""Servers that are there and not ready yet: 503 while a model loads, and ``Retry-After``."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Final, TypeVar

from pytest_flperf.backends.admin_api import ControlError
from pytest_flperf.backends.base import BackendError, OnProgress
from pytest_flperf.foundry_host.logs import clean
from pytest_flperf.wire.retry_after import retry_after_s

__all__ = ["LOAD_TIMEOUT_S", "Patience", "Readiness", "Watched", "readiness", "when_loaded", "words_of"]

LOAD_TIMEOUT_S: Final = 600.0
"""How long a server is waited for by default."""
_LOADING: Final = re.compile(
    r"\bloading\b|being loaded|not yet (?:been )?loaded|not loaded yet|not (?:yet )?ready|warming|warm-?up|starting up"
    r"|\bstarting\b|\binitiali[sz]|unavailable_error|no (?:ready|healthy) (?:upstream|replica|endpoint)"
    r"|model_?not_?ready|is cold\b|cold start",
    re.IGNORECASE,
)
"""What a server says that isn't ready yet, where its status says that it can't serve now."""
_MODEL_LOADING: Final = re.compile(
    r"\bmodel\b[^\n]{0,80}?(?:\b(?:is|be|being|still|currently|yet)\b[^\n]{0,20}?(?:\bloading\b|warming up"
    r"|being loaded|not (?:yet )?ready|\bcold\b)|not yet (?:been )?loaded|not loaded yet)|\bloading (?:the )?model\b"
    r"|model_?not_?ready|\bmodel[^\n]{0,40}(?:loading|warming up)\W{0,3}\Z",
    re.IGNORECASE,
)
"""The same where the status alone says that the request, or the server, is bad."""
_QUOTED: Final = re.compile(r"\"[^\"]{0,2000}\"|`[^`]{0,2000}`|(?<![A-Za-z])'[^']{0,2000}'")
_BROKEN: Final = re.compile(
    r"fail(?:ed|ure|s)?(?: to| while| during| in| when)?(?: the)? (?:load|start|initiali|allocat|compil|download|warm)"
    r"|\b(?:load(?:ing)?|model|engine(?: core)?|worker|start-?up|initiali[sz]ation)"
    r"(?: (?!health)\S{1,80})? ?(?:has |have |is |was )?(?:failed|failure|crashed)\b"
    r"(?! (?:the |its )?(?:health|readi|live))"
    r"|crash|\bdied\b|\bdead\b|out of memory"
    r"|(?:error|exception|unable|cannot|can['’]t|could not)(?: to| while| when| during| in)?(?: the)?"
    r" (?:load|initiali)",
    re.IGNORECASE,
)
"""A load that has failed: waiting mends nothing."""
_WORDS: Final = 2_000
_NOT_NOW: Final = frozenset({409, 424, 425, 503})
"""Status codes that say that the request can't be served now: words alone count."""
_MAY_BE_LOADING: Final = frozenset({400, 429, 500})
"""Status codes with which some servers say that a model loads; most often they mean something else."""
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
        words: What the answer says (:func:`words_of`), as long as it may be.
        asked_s: Its ``Retry-After`` in seconds.

    """
    words = words[:_WORDS]
    if status in _NOT_NOW:
        loading = _LOADING.search(words) is not None
    elif status in _MAY_BE_LOADING:
        words = _QUOTED.sub(" ", words)  # a part of the request, as likely as not
        loading = _MODEL_LOADING.search(words) is not None
    else:
        return Readiness.NO_USE
    if _BROKEN.search(words):
        return Readiness.NO_USE
    if loading or (asked_s is not None and status == 503):
        return Readiness.LOADING
    if asked_s is not None and status == 429:
        return Readiness.LIMITED
    return Readiness.UNCLEAR if status == 503 else Readiness.NO_USE


def words_of(body: str) -> str:
    """What an error's body says to a person: the message of its JSON, else all of it."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return body
    inner = answer.get("error", answer) if isinstance(answer, Mapping) else answer
    said: Any = inner
    if isinstance(inner, Mapping):
        said = next(filter(None, (inner.get(name) for name in ("message", "detail", "error", "msg"))), None)
    return said if isinstance(said, str) else body


class Watched:
    """What is told of progress, and may end a wait."""

    def __init__(self, on_progress: OnProgress, check: Callable[[str], None]) -> None:
        """Pass all on.

        Args:
            on_progress: Told of everything.
            check: Called with what is waited for, again and again; raises BackendError where nobody waits any longer.

        """
        self._on_progress = on_progress
        self.check = check

    def __call__(self, what: str, percent: float | None) -> None:
        """Something goes on."""
        self._on_progress(what, percent)

    @staticmethod
    def like(other: OnProgress, on_progress: OnProgress) -> OnProgress:
        """One that is told in place of another, and ends a wait where that would."""
        return Watched(on_progress, other.check) if isinstance(other, Watched) else on_progress


_T = TypeVar("_T")


class Patience:
    """The time that a server is given to get ready, counted from the first answer that says that it isn't."""

    def __init__(
        self, name: str, limit_s: float, on_progress: OnProgress, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Wait for nothing yet.

        Args:
            name: What is waited for, for people.
            limit_s: The longest wait in all.
            on_progress: Told ten times a second; ends the wait by raising BackendError, itself or in its check.
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
        why = "asked to be left alone for a while" if self._limited else "was not ready"
        return f"the server {why} ({self._said}) and was waited for: {self.waited_s:.1f} s"

    def wait(self, status: int | None, words: str, asked_s: float | None) -> bool:
        """Wait until it is worth asking again; False where it isn't.

        Arguments as of :func:`readiness`; people are shown the first line of ``words``.
        """
        found = readiness(status, words, asked_s)
        self._limited += found is Readiness.LIMITED
        if found is Readiness.NO_USE or self._limited > _MOST_LIMITED:
            return False
        limit_s = self._limit_s if found is Readiness.LOADING else min(self._limit_s, _UNCLEAR_S)
        if limit_s <= 0:
            self.gave_up = "it is not waited for again"
            return False
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
            what = f"waiting for {clean(self._name, 80)} ({self._said}), {self.waited_s:.0f} s"
            self._on_progress(what, None)
            if isinstance(self._on_progress, Watched):
                self._on_progress.check(what)
            time.sleep(min(left_s, _STEP_S))


def when_loaded(ask: Callable[[], _T], patience: Patience) -> _T:
    """What a control request finds, also of a server that says that it is loading.

    A 503 that doesn't say why is not waited for: it may be of this request alone, and the first that is measured tells.

    Args:
        ask: Makes the request.
        patience: How long it is waited for.

    Raises:
        BackendError: As ``ask`` raises it.

    """
    while True:
        try:
            return ask()
        except BackendError as error:
            said = error if isinstance(error, ControlError) else error.__cause__
            if not isinstance(said, ControlError):
                raise
            words, asked_s = words_of(said.body), retry_after_s(said.headers)
            if readiness(said.status, words, asked_s) is not Readiness.LOADING:
                raise
            if not patience.wait(said.status, words, asked_s):
                raise
