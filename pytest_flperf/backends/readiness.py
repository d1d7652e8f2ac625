"""Server readiness: waiting while a model loads (503, ``Retry-After``)."""

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
"""Default limit of the wait for a server, in seconds."""
_LOADING: Final = re.compile(
    r"\bloading\b|being loaded|not yet (?:been )?loaded|not loaded yet|not (?:yet )?ready|warming|warm-?up|starting up"
    r"|\bstarting\b|\binitiali[sz]|unavailable_error|no (?:ready|healthy) (?:upstream|replica|endpoint)"
    r"|model_?not_?ready|is cold\b|cold start",
    re.IGNORECASE,
)
"""Words of a server that isn't ready yet, with a status that means "not now" (``_NOT_NOW``)."""
_MODEL_LOADING: Final = re.compile(
    r"\bmodel\b[^\n]{0,80}?(?:\b(?:is|be|being|still|currently|yet)\b[^\n]{0,20}?(?:\bloading\b|warming up"
    r"|being loaded|not (?:yet )?ready|\bcold\b)|not yet (?:been )?loaded|not loaded yet)|\bloading (?:the )?model\b"
    r"|model_?not_?ready|\bmodel[^\n]{0,40}(?:loading|warming up)\W{0,3}\Z",
    re.IGNORECASE,
)
"""The same, with a status that usually means a bad request or a broken server (``_MAY_BE_LOADING``)."""
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
"""Words of a load that has failed: waiting doesn't help."""
_WORDS: Final = 2_000
_NOT_NOW: Final = frozenset({409, 424, 425, 503})
"""Status codes for a request that can't be served now: the words decide."""
_MAY_BE_LOADING: Final = frozenset({400, 429, 500})
"""Status codes that some servers use while a model loads; most often they mean something else."""
_UNCLEAR_S: Final = 60.0
"""Wait for a 503 that doesn't mention a load: a load balancer has no server yet, or for good."""
_MOST_LIMITED: Final = 2
"""How often to wait after a 429: a client that is still refused after ``Retry-After`` has no quota."""
_FIRST_PAUSE_S: Final = 0.25
_LONGEST_PAUSE_S: Final = 5.0
_STEP_S: Final = 0.1


class Readiness(Enum):
    """Readiness of a server, as its error answer reports it."""

    LOADING = "loading"
    """The answer says so, or says when to retry."""
    UNCLEAR = "unclear"
    """A 503 that doesn't say why."""
    LIMITED = "limited"
    """A 429 that says when to retry."""
    NO_USE = "no use"


def readiness(status: int | None, words: str, asked_s: float | None) -> Readiness:
    """Classify an error answer: whether waiting for the server is worthwhile.

    Args:
        status: HTTP status; None where there was no answer.
        words: Message of the answer (:func:`words_of`), of any length.
        asked_s: Its ``Retry-After`` in seconds.

    """
    words = words[:_WORDS]
    if status in _NOT_NOW:
        loading = _LOADING.search(words) is not None
    elif status in _MAY_BE_LOADING:
        words = _QUOTED.sub(" ", words)  # quoted text is often part of the request
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
    """Error message in a body: from its JSON, else all text."""
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
    """Progress callback that can end a wait."""

    def __init__(self, on_progress: OnProgress, check: Callable[[str], None]) -> None:
        """Forward all progress to ``on_progress``.

        Args:
            on_progress: Receives all progress.
            check: Called repeatedly during a wait, with its reason; raises BackendError to end the wait.

        """
        self._on_progress = on_progress
        self.check = check

    def __call__(self, what: str, percent: float | None) -> None:
        """Report progress."""
        self._on_progress(what, percent)

    @staticmethod
    def like(other: OnProgress, on_progress: OnProgress) -> OnProgress:
        """Wrap ``on_progress``, so that it ends a wait as ``other`` would."""
        return Watched(on_progress, other.check) if isinstance(other, Watched) else on_progress


_T = TypeVar("_T")


class Patience:
    """Wait budget for a server that is not ready yet.

    It counts from the first answer that says so.
    """

    def __init__(
        self, name: str, limit_s: float, on_progress: OnProgress, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Set the limit; nothing is waited for yet.

        Args:
            name: Name of the server, for messages.
            limit_s: The longest wait in all.
            on_progress: Called ten times a second; it or its check may raise BackendError to end the wait.
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
        """Why the wait was given up; empty if it wasn't."""

    @property
    def waited_s(self) -> float:
        """Seconds since the first not-ready answer; 0 if there was none."""
        return 0.0 if self._began is None else self._clock() - self._began

    @property
    def note(self) -> str:
        """Note on the wait, for the result; empty without a wait."""
        if self._began is None:
            return ""
        why = "asked to be left alone for a while" if self._limited else "was not ready"
        return f"waited {self.waited_s:.1f} s for the server, which {why} ({self._said})"

    def wait(self, status: int | None, words: str, asked_s: float | None) -> bool:
        """Wait until a retry makes sense; False if it doesn't.

        Arguments as for :func:`readiness`; users see the first line of ``words``.
        """
        found = readiness(status, words, asked_s)
        self._limited += found is Readiness.LIMITED
        if found is Readiness.NO_USE or self._limited > _MOST_LIMITED:
            return False
        limit_s = self._limit_s if found is Readiness.LOADING else min(self._limit_s, _UNCLEAR_S)
        if limit_s <= 0:
            self.gave_up = "the run does not wait for it again"
            return False
        left_s = limit_s - self.waited_s
        pause_s = max(self._pause_s, asked_s or 0.0)
        if (asked_s or 0.0) > max(left_s, 0.0):
            self.gave_up = f"it asks to wait {asked_s:,.0f} s, longer than the limit of {limit_s:g} s"
            return False
        if left_s <= 0:
            self.gave_up = f"the run waited {self.waited_s:.0f} s for it"
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
    """Make a control request, waiting while the server loads its model.

    A 503 without a reason is not waited for: it may concern this request alone, and the first measured request will
    show it.

    Args:
        ask: Makes the request.
        patience: Limit of the wait.

    Raises:
        BackendError: Raised by ``ask``.

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
