"""Which parameters of a request a server says it does not take."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from pytest_flperf.wire.sample import Evidence, Outcome, Sample

__all__ = ["names", "refused", "words_of_refusal"]

_MOST: Final = 4_000
"""Characters of an answer that are looked at."""
_NEAR: Final = 80
"""Most characters between a name and what is said of it."""
_NO_REFUSAL: Final = frozenset({401, 403, 407, 408, 413, 429, 502, 503, 504})
_OTHER_TROUBLE: Final = frozenset({Outcome.CONTEXT_EXCEEDED, Outcome.RATE_LIMITED})

_STRONG: Final = (
    r"unsupported|un(?:known|expected|recogni[sz]ed)|extraneous|extra[ _](?:inputs?|fields?|propert|forbidden)"
    r"|additional propert|forbidden|disallowed|no such|deprecated|removed"
    r"|invalid (?:parameter|argument|field|key|property)"
    r"|(?:not?|never|n['’]t|cannot)(?: both)?(?: be| been| yet| currently| a)? ?"
    r"(?:support|permit|allow|accept|recogni[sz]|take\b|taken|know|available|valid|used|set\b|specified|defined)"
)
"""Says that a parameter is not taken, whatever its value."""
_WEAK: Final = (
    r"invalid|illegal|must|has to|have to|should|needs? to|only|out of range|in range|strictly|positive|greater|less"
    r"|at least|at most|too (?:low|small|high|large)"
)
"""Says that its value is not."""
_SENTENCE_END: Final = r"[.!?;](?:\s|$)"
_SUGGESTED: Final = re.compile(
    r"\b(?:use(?! of)|using|instead|try|expect\w*|mean|allowed (?:values|parameters|fields)|known|one of|such as"
    r"|example)\b",
    re.IGNORECASE,
)
_QUOTED: Final = r"[\"'`][A-Za-z_][\w.]{0,80}[\"'`]"
_ESCAPED: Final = re.compile(r"\\u00([2-7][0-9a-fA-F])")
_HOLDS_A_NAME: Final = (
    r"[\"'](?:param(?:eter)?|argument|field|property|additionalProperty|propertyName|path|pointer|key)[\"']\s*:\s*"
    r"[\"'](?:[\w$./]{0,60}[./])?"
)
"""Begin of a member of an error object whose value is the name of a parameter: ``"param": "…``."""
_HOLDS_A_PLACE: Final = r"[\"'](?:loc|location|path)[\"']\s*:\s*[\[(][^\])}{:]{0,80}?"
"""Begin of a member that says where in the request something was found: ``"loc": ["body", "…``."""


def words_of_refusal(sample: Sample) -> str:
    """What a server said where it may have refused a parameter; empty where it hasn't.

    A status is no guide to who is to blame, so that all count but those that are known to mean something else.
    """
    if sample.evidence is None or sample.outcome in _OTHER_TROUBLE:
        return ""
    in_answer = sample.outcome is Outcome.ERROR_IN_STREAM
    if not in_answer and (sample.status is None or sample.status < 400 or sample.status in _NO_REFUSAL):
        return ""
    return _plain(sample.evidence)


def _plain(evidence: Evidence) -> str:
    """Its text in one line, with quotes as they were before they were written as JSON."""
    text = (evidence.body_head or evidence.detail)[:_MOST]
    text = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)
    text = re.sub(r"\\[nrt]", " ", text).replace("\\", "")
    return " ".join(text.split())


def names(text: str, name: str) -> bool:
    """Whether a text has the name of a parameter as a whole word, in snake or in camel case."""
    return re.search(_word(name), text) is not None


def refused(text: str, sent: Collection[str], limits: Collection[str] = ()) -> frozenset[str]:
    """Which parameters are those that a server refuses.

    A name counts as the subject of the refusal only: what else the server knows, or would have in its place, is named
    in the same sentence.

    Args:
        text: From :func:`words_of_refusal`.
        sent: Names that the request had, as far as they are of interest.
        limits: Those of them whose value, be it too large or too small, is no reason to take them for refused.

    """
    every = frozenset(name for name in sent if names(text, name))
    return frozenset(name for name in every if _is_refused(text, name, every - {name}, strong_only=name in limits))


def _is_refused(text: str, name: str, others: frozenset[str], *, strong_only: bool) -> bool:
    said = re.compile(_STRONG if strong_only else f"{_STRONG}|{_WEAK}", re.IGNORECASE)
    word = _word(name)
    if re.search(f"(?:{_HOLDS_A_NAME}|{_HOLDS_A_PLACE}){word}", text) is not None and said.search(text) is not None:
        return True
    ends = re.compile("|".join([_SENTENCE_END, _QUOTED, *map(_word, sorted(others))]))
    return any(_is_subject(text, found, ends, said) for found in re.finditer(f"[\"'`]?{word}[\"'`]?", text))


def _is_subject(text: str, found: re.Match[str], ends: re.Pattern[str], said: re.Pattern[str]) -> bool:
    """Whether the words around a name, up to the next name or the end of the sentence, refuse it."""
    before = text[max(found.start() - _NEAR, 0) : found.start()]
    before = before[max((end.end() for end in ends.finditer(before)), default=0) :]
    if _SUGGESTED.search(before) is not None:
        return False
    behind = text[found.end() : found.end() + _NEAR]
    for end in filter(None, (ends.search(behind), _SUGGESTED.search(behind))):
        behind = behind[: end.start()]
    return said.search(before) is not None or said.search(behind) is not None


def _word(name: str) -> str:
    """A pattern for a parameter's name, in snake or in camel case."""
    first, *rest = name.split("_")
    camel = first + "".join(part.capitalize() for part in rest)
    return rf"\b(?:{re.escape(name)}|{re.escape(camel)})\b"
