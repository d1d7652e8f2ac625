"""Finish reasons: which words mean that an answer is complete."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["ELSEWHERE", "Finish", "reason_of"]

_LIMIT: Final = 64
_WORDS_LIMIT: Final = 1_000
_OTHER: Final = re.compile(r"[^a-z0-9]+")
_PREFIX: Final = re.compile(r"\A(?:finish|stop)?reason(?=.)")

# Letters and digits only, so that END_TURN, endTurn and end-turn are one.
_WHOLE: Final = frozenset({
    # OpenAI and all that follow it, and the Responses API
    "stop", "length", "toolcalls", "toolcall", "functioncall", "functioncalls", "completed", "maxoutputtokens",
    # TGI, watsonx, Together, MiniMax, xAI
    "eostoken", "eos", "stopsequence", "stopsequences", "maxtokens", "tokenlimit", "maxoutput", "maxlen", "maxlength",
    # Anthropic, Bedrock, Cohere, AI21, Mistral, Baidu
    "endturn", "tooluse", "finish", "finished", "stopcriteriamet", "complete", "endoftext", "modellength", "normal",
    # llama.cpp's own API, LM Studio's
    "stoppedeos", "stoppedlimit", "stoppedword", "limit", "word", "eosfound", "maxpredictedtokensreached",
    "stopstringfound", "stopstring", "stopword", "stoptoken", "endofturn", "eot", "done",
    # TensorRT-LLM and Triton, Aleph Alpha, and what others call the same
    "end", "endid", "endtoken", "endofsequence", "endofmessage", "endofstream", "eom", "eosid", "eostokenid",
    "eosreached", "eostokenreached", "eottoken", "stopid", "stopids", "stopwords", "stopstr", "stopstrs",
    "stopstrings", "stoptokens", "stoptokenid", "stoptokenids", "stopsequencereached", "stopsequencefound",
    "stopsequencehit", "stopphrase", "stopcriteria", "stopcriterion", "stopcondition", "lengthlimit",
    "lengthlimitreached", "maxnewtokens", "maxnewtokensreached", "maxcompletiontokens", "maxcompletiontokensreached",
    "maximumtokens", "maximumtokensreached", "maximumlength", "maxtokensreached", "maxtokenreached",
    "maxlengthreached", "maxgeneratedtokens", "maxgenlen", "tokenlimitreached", "outputlimit", "outputtokenlimit",
})  # fmt: skip
_CONTEXT_FULL: Final = frozenset({
    "modelcontextwindowexceeded", "contextlengthreached", "contextlength", "contextlimit", "contextlimitreached",
    "contextlengthexceeded", "contextwindowexceeded", "contextfull", "contextwindowfull", "contextoverflow",
    "contextsizereached", "contextsizeexceeded", "maxmodellen", "maxcontextlength", "maxcontextlengthreached",
})  # fmt: skip
"""The context ended before the answer (Anthropic, Z.ai, LM Studio): ``length`` by another name, if there is text."""
_NOT_YET: Final = frozenset(
    {"", "null", "none", "nil", "undefined", "unspecified", "notfinished", "unfinished", "inprogress", "running"}
)
"""Sent in place of null while an answer goes on (DashScope, watsonx, Gemini's FINISH_REASON_UNSPECIFIED)."""
_FAILED: Final = frozenset({
    "contentfilter", "contentfiltered", "safety", "sensitive", "recitation", "blocklist", "prohibitedcontent", "spii",
    "guardrailintervened", "refusal", "abort", "aborted", "cancel", "cancelled", "canceled", "usercancel", "timeout",
    "timelimit", "error", "networkerror", "insufficientsystemresource", "failed", "modelunloaded", "userstopped",
    "malformedfunctioncall", "filtered", "interrupted", "exception", "servererror", "internalerror", "unknownerror",
})  # fmt: skip
"""Not undone by a later ``stop``, which gateways append to whatever ended."""
_KNOWN: Final = _WHOLE | _CONTEXT_FULL | _FAILED
ELSEWHERE: Final = frozenset({"stop_reason", "finish_details", "finishReason", "stopReason"})
"""Where a choice may have its reason if it has none in ``finish_reason``."""


@dataclass(slots=True)
class Finish:
    """Finish reason of an answer, as far as it is known."""

    reason: str | None = None
    """Word for word, 64 characters at most; None where it said nothing."""
    words: str = ""
    """What a server added to the reason (SGLang's abort has a message)."""
    followed: bool = False
    """Answer text came after the reason, and no further reason since."""

    _guessed: bool = False
    """It stood in another field than ``finish_reason``."""

    def say(self, value: Any) -> None:
        """Record the ``finish_reason`` of a chunk.

        A later one counts, but a word for "not yet" never undoes a reason, and ``stop`` undoes no failure.
        """
        reason, words = reason_of(value)
        if reason is None:
            return
        plain = _plain(reason)
        if self.reason is None or (plain not in _NOT_YET and (self._guessed or _plain(self.reason) not in _FAILED)):
            self.reason, self.words, self._guessed = reason, words, False
        if plain not in _NOT_YET:
            self.followed = False

    def say_elsewhere(self, value: Any) -> None:
        """Record a possible finish reason from another field.

        It counts where no ``finish_reason`` was said, and if it is a known word: vLLM's ``stop_reason``, which stands
        beside a good reason, is a number or a stop sequence.
        """
        if not (self.is_open or self._guessed):
            return
        reason, _ = reason_of(value)
        if reason is not None and _plain(reason) in _KNOWN:
            if not self.is_failure:
                self.say(value)
                self._guessed = True
            self.followed = False

    def text_came(self) -> None:
        """Record answer text, before its own chunk's reason."""
        self.followed = not self.is_open

    @property
    def is_open(self) -> bool:
        """Whether no end was announced: no reason, or "not yet"."""
        return self.reason is None or _plain(self.reason) in _NOT_YET

    @property
    def is_whole(self) -> bool:
        """Whether the last reason means that the answer is complete."""
        return self.reason is not None and _plain(self.reason) in (_WHOLE | _CONTEXT_FULL) and not self.followed

    @property
    def is_failure(self) -> bool:
        """Whether the reason is known to be a failure."""
        return self.reason is not None and _plain(self.reason) in _FAILED

    @property
    def is_context_full(self) -> bool:
        """Whether the answer ended because the context was full."""
        return self.reason is not None and _plain(self.reason) in _CONTEXT_FULL


def reason_of(value: Any) -> tuple[str | None, str]:
    """Word of a ``finish_reason`` in any form, with its explanation.

    SGLang's is an object with a ``type``, others are numbers or lists of one.
    """
    if isinstance(value, list) and value:
        value = value[0]
    words = ""
    if isinstance(value, dict):
        said = value.get("message")
        words = said[:_WORDS_LIMIT] if isinstance(said, str) else ""
        keys = ("type", "reason", "finish_reason", "name", "code")
        value = next(
            (value[key] for key in keys if isinstance(value.get(key), str | int)), "an object" if value else ""
        )
    if value is True:
        return "true", words
    if type(value) in (int, float):
        value = str(value) if type(value) is float or abs(value) < 1 << 62 else "a number"
    if not isinstance(value, str) or not value:
        return None, words
    return value[:_LIMIT].encode("utf-8", "replace").decode(), words


def _plain(reason: str) -> str:
    return _PREFIX.sub("", _OTHER.sub("", reason.lower()))
