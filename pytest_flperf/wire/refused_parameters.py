"""Refused parameters: which request parameters a server rejects."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Final

from pytest_flperf.wire.sample import Evidence, Outcome, Sample

__all__ = ["is_of_value", "may_be_bounded", "names", "only_streams", "refused", "words_of_refusal"]

_MOST: Final = 4_000
"""Characters of an answer that are looked at."""
_NEAR: Final = 80
"""Most characters between a name and what is said of it."""
_NO_REFUSAL: Final = frozenset({401, 403, 407, 408, 413, 429, 502, 503, 504})
_OTHER_TROUBLE: Final = frozenset({Outcome.CONTEXT_EXCEEDED, Outcome.RATE_LIMITED})

_STRONG: Final = (
    r"unsupported|un(?:known|expected|recogni[sz]ed)|extraneous|extra[ _](?:inputs?|fields?|propert|forbidden)"
    r"|(?:additional|unevaluated) propert|forbidden|disallowed|disabled|no such|deprecated|obsolete|discontinued"
    r"|retired|removed?\b|omit\b|replaced|renamed|incompatible|illegal(?! value)"
    r"|invalid (?:parameter|argument|field|key|property)"
    r"|(?:not?|never|n['’]t|cannot)(?: both)?(?: be| been| yet| currently| a| an| in(?: the)?(?: list of)?)? ?"
    r"(?:support|permit|allow|accept|recogni[sz]|take\b|taken|know|available|valid|used|set\b|specified|defined"
    r"|implemented|applicable|compatible|enabled|present\b)"
    r"|不支持|不允许|不接受|未知|不存在"
)
"""Says that a parameter is not taken, whatever its value."""
_WEAK: Final = (
    r"invalid|illegal|must|has to|have to|should|needs? to|only|out of range|in range|strictly|positive|greater|less"
    r"|at least|at most|too (?:low|small|high|large)|非法|无效|必须|错误|有误|超出|只能"
)
"""Says that its value is not."""
_BOUNDS: Final = re.compile(
    r"\b(?:max|min)(?:imum)?\b|at (?:least|most)|up to|[≤≥<>]"
    r"|too (?:small|large|low|high|long|short|big|many|few)"
    r"|(?:less|greater|more|fewer|lower|higher|larger|smaller) than|or (?:more|less|higher|lower)\b|exceed|\brange\b"
    r"|between|最大|最小|超过|超出|大于|小于",
    re.IGNORECASE,
)
"""Says how large a value may be."""
_SAYS_STRONGLY: Final = re.compile(_STRONG, re.IGNORECASE)
_SAYS_IT: Final = re.compile(f"{_STRONG}|{_WEAK}", re.IGNORECASE)
_SENTENCE_END: Final = r"[.!?;](?:\s|$)|[。！？；]"
_SUGGESTED: Final = re.compile(
    r"(?<!not in )(?<!not in the )(?<!not in the list of )"
    r"\b(?:use(?! of)|using|instead|try|expect\w*|mean|allowed (?:values|parameters|fields)|known|one of|such as"
    r"|example)\b",
    re.IGNORECASE,
)
_QUOTED: Final = r"[\"'`][A-Za-z_][\w.]{0,80}[\"'`]"
_JOINED: Final = re.compile(
    r"(?>[\"'`][A-Za-z_][\w.$-]{0,80}[\"'`]|[\s,:=&/+|'\"`()\[\]{}]|-?[0-9]+(?:\.[0-9]+)?"
    r"|(?:and|or|nor|true|false|null|none)\b|(?<=, )[A-Za-z_]\w{0,80}(?=,| and\b| or\b)|[和、，及或与])*+",
    re.IGNORECASE,
)
"""What stands between the names of one list: signs, values, and names that are not ours."""
_LONGEST_JOINT: Final = 200
_LISTED_BEFORE: Final = re.compile(
    r"(?:[\"'`][A-Za-z_][\w.$-]{0,80}[\"'`]\s?(?:,\s?(?:and |or )?|and |or )){1,20}[\"'`]?\Z"
)
_LISTED_BEHIND: Final = re.compile(
    r"(?:\s?(?:,\s?(?:and |or )?|and |or )[\"'`][A-Za-z_][\w.$-]{0,80}[\"'`](?!\s?:)){1,20}"
)
_ONLY_STREAMS: Final = re.compile(
    r"\bonly\b[^.!?;]{0,60}\bstream|\bstream(?:ing)?\b[^.!?;]{0,40}\b(?:only\b|mandatory|required)"
    r"|\bstream(?:ing)?\b[^.!?;]{0,40}\b(?:must|should|has to|needs? to|to)\b[^.!?;]{0,20}"
    r"\b(?:true|enabled|on|set(?! to (?:false|off)))\b"
    r"|(?<!not )(?<!n['’]t )\b(?:enable|turn on|set(?! stream(?:ing)? to (?:false|off))|use)\s"
    r"[^.!?;]{0,20}\bstream|non[- ]?stream|without stream"
    r"|(?:仅|只)支持[^。；]{0,10}(?:流式|stream)|非流式",
    re.IGNORECASE,
)
_ESCAPED: Final = re.compile(r"\\u(?!00[01]|[dD][89a-fA-F])([0-9a-fA-F]{4})")
_HOLDS_A_NAME: Final = (
    r"[\"'](?:param(?:eter)?|argument|field|property|additionalProperty|propertyName|path|pointer|key)[\"']\s*:\s*"
    r"[\"'](?:[\w$./]{0,60}[./])?"
)
"""Begin of a member of an error object whose value is the name of a parameter: ``"param": "…``."""
_HOLDS_A_PLACE: Final = r"[\"'](?:loc|location|path)[\"']\s*:\s*[\[(][^\])}{:]{0,80}?"
"""Begin of a member that says where in the request something was found: ``"loc": ["body", "…``."""


def words_of_refusal(sample: Sample) -> str:
    """Server's words where it may have refused a parameter; else empty.

    The status doesn't tell who is to blame, so all count except those that are known to mean something else.
    """
    if sample.evidence is None or sample.outcome in _OTHER_TROUBLE:
        return ""
    in_answer = sample.outcome is Outcome.ERROR_IN_STREAM
    if not in_answer and (sample.status is None or sample.status < 400 or sample.status in _NO_REFUSAL):
        return ""
    return _plain(sample.evidence)


def _plain(evidence: Evidence) -> str:
    """Error text in one line, with quotes unescaped."""
    text = (evidence.body_head or evidence.detail)[:_MOST]
    text = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)
    text = re.sub(r"\\[nrt]", " ", text).replace("\\", "")
    return " ".join(text.split())


def names(text: str, name: str) -> bool:
    """Whether a text names a parameter as a whole word.

    In snake or in camel case.
    """
    return re.search(_word(name), text) is not None


def refused(text: str, sent: Collection[str], limits: Collection[str] = ()) -> frozenset[str]:
    """Parameters that a server refuses.

    A name counts as the subject of the refusal only: what else the server knows, or would have in its place, is named
    in the same sentence.  What is said of a list of names is said of each.

    Args:
        text: From :func:`words_of_refusal`.
        sent: Names that the request had, as far as they are of interest.
        limits: Those of them whose value, be it too large or too small, is no reason to take them for refused.

    """
    every = frozenset(name for name in sent if names(text, name))
    if not every:
        return every
    weak = every - frozenset(limits)
    of_value = frozenset(name for name in every - weak if is_of_value(text, name))
    found = {name for name in every if _is_held(text, name, _SAYS_IT if name in weak else _SAYS_STRONGLY)}
    ends = re.compile("|".join([_SENTENCE_END, _QUOTED, *map(_word, sorted(every))]))
    for start, end, group in _groups(text, every):
        found |= group & weak if _is_subject(text, start, end, ends, _SAYS_IT) else frozenset()
        found |= group - weak if _is_subject(text, start, end, ends, _SAYS_STRONGLY) else frozenset()
    return frozenset(found) - of_value


def is_of_value(text: str, name: str) -> bool:
    """Whether the refusal is about a parameter's value.

    Then a number is right behind it, or how large it may be.

    A number behind a name in quotes and a colon is a value of a list of parameters, and says nothing.
    """
    for found in re.finditer(f"([\"'])?{_word(name)}(?(1)[\"'](?!\\s?:))", text):
        behind = text[found.end() : found.end() + 2 * _NEAR]
        if re.match(r"`?\s?(?:[=:(]|value|of|to|is)?\s?-?[0-9]", behind) is not None:
            return True
    return may_be_bounded(text, name)


def may_be_bounded(text: str, name: str) -> bool:
    """Whether a text says how large or small a parameter may be."""
    for found in re.finditer(_word(name), text):
        before = text[max(found.start() - _NEAR, 0) : found.start()]
        behind = text[found.end() : found.end() + 2 * _NEAR]
        if _BOUNDS.search(before) is not None or _BOUNDS.search(behind) is not None:
            return True
    return False


def only_streams(text: str) -> bool:
    """Whether a server says that it only gives streamed answers."""
    return _ONLY_STREAMS.search(text) is not None


def _is_held(text: str, name: str, said: re.Pattern[str]) -> bool:
    """Whether an error object names the parameter in its own member."""
    return re.search(f"(?:{_HOLDS_A_NAME}|{_HOLDS_A_PLACE}){_word(name)}", text) is not None and bool(said.search(text))


def _groups(text: str, every: frozenset[str]) -> Iterator[tuple[int, int, frozenset[str]]]:
    """Positions of names, those of one list together.

    Each has what it is called.
    """
    spelled = {spelling: name for name in every for spelling in (name, _camel(name))}
    start, end, group = 0, 0, set[str]()
    for found in re.finditer(f"[\"'`]?({'|'.join(map(_word, sorted(every)))})[\"'`]?", text):
        gap = text[end : found.start()] if group else ""
        if group and (len(gap) > _LONGEST_JOINT or _JOINED.fullmatch(gap) is None):
            yield start, end, frozenset(group)
            group = set()
        start = start if group else found.start()
        end = found.end()
        group.add(spelled[found[1]])
    if group:
        yield start, end, frozenset(group)


def _is_subject(text: str, start: int, end: int, ends: re.Pattern[str], said: re.Pattern[str]) -> bool:
    """Whether the words around a list of names refuse it.

    The words up to the next name or the end of the sentence.
    """
    listed = _LISTED_BEFORE.search(text[max(start - _LONGEST_JOINT, 0) : start])
    start -= len(listed[0]) if listed is not None else 0
    listed = _LISTED_BEHIND.match(text, end)
    end = listed.end() if listed is not None else end
    before = text[max(start - _NEAR, 0) : start]
    before = before[max((found.end() for found in ends.finditer(before)), default=0) :]
    if _SUGGESTED.search(before) is not None:
        return False
    behind = text[end : end + _NEAR]
    for found in filter(None, (ends.search(behind), _SUGGESTED.search(behind))):
        behind = behind[: found.start()]
    return said.search(before) is not None or said.search(behind) is not None


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def _word(name: str) -> str:
    """Pattern for a parameter name, in snake or camel case.

    Letters of other scripts may touch it.
    """
    return rf"(?<![A-Za-z0-9_])(?:{re.escape(name)}|{re.escape(_camel(name))})(?![A-Za-z0-9_])"
