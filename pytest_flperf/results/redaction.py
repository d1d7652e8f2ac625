"""Redaction of secrets in everything that is kept or shown."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote, unquote_plus

from pytest_flperf.results.answer_parts import head_end, texts_of_events, unframed
from pytest_flperf.results.encodings import View
from pytest_flperf.results.secret_search import SHORTEST_SECRET, WIDEST, SecretSearch, Span

__all__ = ["MASK", "SHORTEST_SECRET", "Redactor", "environment_secrets", "masked_query", "url_secrets"]

MASK: Final = "***"
_SLACK: Final = 1 << 16
_ROUNDS: Final = 8
"""A mask can join the texts around a secret to a new one, so the search is repeated.  Where it never ends, the whole
text is masked."""
_KEY_VARIABLES: Final = re.compile(
    r"(?:^|_)(?:(?:API|ACCESS|SECRET|PRIVATE|MASTER|AUTH)_?KEY|TOKEN|SECRET|PASSWORD|PASSWD)\Z", re.IGNORECASE
)
_KEY_PARAMETERS: Final = re.compile(
    r"key|token|secret|sig\Z|signature|pass|pwd|auth|credential|session|jwt|sas|code\Z|ticket|bearer|hmac|assertion"
    r"|policy|(?:\A|[^A-Za-z])(?:pat|pin)\Z",
    re.IGNORECASE,
)
_PLAIN_PARAMETERS: Final = re.compile(
    r"(?:api[-_]?)?version|model(?:[-_]?(?:id|name))?|deployment(?:[-_]?(?:id|name))?|engine|provider|region|location"
    r"|tenant|env(?:ironment)?|format|stream|alt",
    re.IGNORECASE,
)
"""Names whose values say what was measured."""
_PLAIN_VALUE: Final = re.compile(r"(?!.*[A-Za-z0-9]{20})[A-Za-z0-9_.:/ -]{1,64}")
"""The form of such a value: words and numbers, none of them as long as a key."""
_TINY_VALUE: Final = re.compile(
    r"[A-Za-z]|[0-9]{1,3}|true|false|yes|no|on|off|stream|beta|preview|debug", re.IGNORECASE
)
"""Values that are never a key, whatever their name."""
_KEY_LIKE: Final = re.compile(r"(?=\S*[0-9])(?=\S*[A-Za-z])(?![A-Za-z]:\\)[^\s/]\S{11,}")

# Every repetition is bounded or over a class that what follows is not in, so that matching time stays linear.
_SHAPES: Final = (
    # scheme://user:password@host
    (re.compile(r"(?P<keep>\b[a-zA-Z][a-zA-Z0-9+.-]{0,20}://)[^\s/?#@'\"<>]{1,512}@"), rf"\g<keep>{MASK}@"),
    (re.compile(r"(?P<keep>\b(?:Bearer|Basic)[ \t]{1,4})[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE), rf"\g<keep>{MASK}"),
    # api_key=…, "x-api-key": "…", password: …
    (
        re.compile(
            r"(?P<keep>(?:api[_-]?key|access[_-]?key|access[_-]?token|auth[_-]?token|refresh[_-]?token|client[_-]?secret"
            r"|passwd|password|authorization)(?:\\?[\"'])?\s{0,4}[=:]\s{0,4}(?:\\?[\"'])?)"
            r"(?!(?:Bearer|Basic)\b|\*\*\*)[^\s\"'&,;<>)}\]\\]{4,}",
            re.IGNORECASE,
        ),
        rf"\g<keep>{MASK}",
    ),
    # …?key=…, …&sig=… and …&subscription-key=… in a URL
    (
        re.compile(
            r"(?P<keep>[?&](?:[\w.~-]{0,32}[_.~-])?(?:key|token|secret|sig|signature|pass|password|passwd|passphrase|pwd"
            r"|auth|code|pat|pin|bearer|hmac|assertion)=)"
            r"(?!\*\*\*)[^\s\"'&,;<>)}\]\\]{4,}",
            re.IGNORECASE,
        ),
        rf"\g<keep>{MASK}",
    ),
    # keys known by their prefix: OpenAI, Anthropic, Hugging Face, GitHub, GitLab, Slack, Google, AWS, Groq, xAI,
    # NVIDIA, Perplexity, Replicate
    (
        re.compile(
            r"(?<![A-Za-z0-9])(?:(?:sk|pk|rk)-[A-Za-z0-9_-]{12,}|hf_[A-Za-z0-9]{12,}|gh[pousr]_[A-Za-z0-9]{12,}"
            r"|github_pat_[A-Za-z0-9_]{12,}|glpat-[A-Za-z0-9_-]{12,}|xox[abprs]-[A-Za-z0-9-]{10,}"
            r"|AIza[A-Za-z0-9_-]{20,}|AKIA[A-Z0-9]{12,}|gsk_[A-Za-z0-9]{20,}|xai-[A-Za-z0-9]{20,}|nvapi-[A-Za-z0-9_-]{20,}"
            r"|pplx-[A-Za-z0-9]{20,}|r8_[A-Za-z0-9]{20,})"
        ),
        MASK,
    ),
)


class Redactor:
    """Redactor: masks given secrets, and texts that look like one.

    A secret is found as it is and in every encoding of :mod:`encodings`, nested ones included: escapes of JSON, URLs
    and HTML, base64 and hex, alone or after a user name.
    """

    def __init__(self, secrets: Iterable[str | None] = ()) -> None:
        """Take exact secrets, such as API keys.

        None and texts shorter than eight characters are ignored.
        """
        bare = {secret.strip() for secret in secrets if secret is not None and len(secret.strip()) >= SHORTEST_SECRET}
        self._search = SecretSearch(sorted(bare))

    @property
    def reach(self) -> int:
        """Bytes that the longest secret may take in a wide encoding."""
        return WIDEST * self._search.longest

    def text(self, text: str, limit: int | None = None) -> str:
        """``text`` without secrets, cut to ``limit`` characters.

        The limit also bounds the work.
        """
        slack = _SLACK + self.reach
        too_long = limit is not None and len(text) > limit + slack
        cut = self.exact(text[: limit + slack] if limit is not None else text)
        for shape, replacement in _SHAPES:
            cut = shape.sub(replacement, cut)
        if limit is None:
            return self._without_half(cut)
        # If the cut split a secret, its first part is near the end: masks may have moved it forward.
        if too_long:
            cut = cut[: max(0, len(cut) - self.reach - 512)]
        return cut[:limit]

    def _without_half(self, text: str) -> str:
        """The text with half a secret at its end masked.

        A text that was cut may end in the first part of a secret.
        """
        content = text.encode("utf-8", "surrogatepass")
        half = self._search.half_at_end(content)
        if half is None:
            return text
        return _characters(content[: half[0]]) + MASK + _characters(content[half[1] :])

    def exact(self, text: str) -> str:
        """``text`` without the exact secrets, and otherwise unchanged.

        In a model's output nothing is masked by its looks.
        """
        if not self._search:
            return text
        content, found = text.encode("utf-8", "surrogatepass"), False
        for _ in range(_ROUNDS):
            spans = self._search.spans(View(content))
            if not spans:
                return _characters(content) if found else text
            found = True
            content = _replaced(content, spans)
        return MASK

    def data(self, content: bytes) -> bytes:
        """``content`` with the exact secrets overwritten by ``*``.

        Offsets and lengths stay the same.
        """
        return self._starred(content, self._search.spans)

    def answer(self, raw: bytes, *, is_cut: bool = False) -> bytes:
        """:meth:`data` for a raw HTTP response, where secrets may be split.

        Secrets are also found where chunks, lines of an event's data, or the pieces of a streamed text split them.
        Texts that only look like a key are overwritten in the head, and in the body of any response but a 200: in a
        model's output nothing is masked by its looks.

        Args:
            raw: The answer.
            is_cut: Whether its end was cut off, maybe in the middle of a secret.

        """
        raw = self._starred(raw, self._in_answer)
        if is_cut:
            raw = self._starred(raw, self._half_at_end)
        end = head_end(raw) if raw[9:12] == b"200" else _SLACK
        masked = _shapes_starred(raw[:end])
        return raw if masked == raw[:end] else masked + raw[end:]

    def _half_at_end(self, raw: View) -> list[Span]:
        _frame, body = unframed(raw)
        half = self._search.half_at_end(body.text)
        return [] if half is None else body.origin(*half)

    def _in_answer(self, raw: View) -> list[Span]:
        frame, body = unframed(raw)
        spans = [*self._search.spans(frame), *self._search.spans(body)]
        for said in texts_of_events(body):
            spans += self._search.spans(said)
        return spans

    def _starred(self, content: bytes, search: Callable[[View], list[Span]]) -> bytes:
        if not self._search:
            return content
        for _ in range(_ROUNDS):
            spans = search(View(content))
            if not spans:
                return content
            masked = bytearray(content)
            for start, end in spans:
                masked[start:end] = b"*" * (end - start)
            content = bytes(masked)
        return b"*" * len(content)

    def value(self, value: Any) -> Any:
        """A nested structure of builtins with every text and key redacted."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, bytes):
            return self.data(value)
        if isinstance(value, Mapping):
            return {self.value(key): self.value(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(item) for item in value]
        return value


def _characters(content: bytes) -> str:
    # A secret in UTF-8 is whole characters; one in Latin-1 may be a part of one.
    try:
        return content.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return content.decode("utf-8", "replace")


def _replaced(content: bytes, spans: list[Span]) -> bytes:
    pieces, done = [], 0
    for start, end in spans:
        pieces += [content[done:start], MASK.encode()]
        done = end
    return b"".join([*pieces, content[done:]])


def _shapes_starred(content: bytes) -> bytes:
    text = content.decode("latin-1")  # one character per byte
    for shape, _ in _SHAPES:
        text = shape.sub(_starred, text)
    return text.encode("latin-1")


def _starred(found: re.Match[str]) -> str:
    kept = found.groupdict().get("keep") or ""
    return kept + "*" * (len(found[0]) - len(kept))


def environment_secrets(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Secrets in environment variables, by their names and values.

    The name says that it holds a key (``…_API_KEY``, ``…_TOKEN`` …), and the value looks like one.  A value of letters
    alone (``disabled``), a short one, or a path is none: masking it would damage ordinary text.
    """
    return tuple(
        value.strip()
        for name, value in environment.items()
        if _KEY_VARIABLES.search(name) and _KEY_LIKE.fullmatch(value.strip())
    )


def url_secrets(url: str | None) -> tuple[str, ...]:
    """Secrets in a URL's query (``?key=…``), as written and decoded."""
    query = (url or "").partition("?")[2].partition("#")[0]
    found: dict[str, None] = {}
    for name, _, value in _parameters(query):
        if _is_key(name, value):
            found.update(dict.fromkeys((value, unquote(value), unquote_plus(value))))
    return tuple(found)


def masked_query(query: str) -> str:
    """A URL's query for people: ``api-version=2024-10-21&key=***``."""
    return "&".join(
        f"{name}{sign}{MASK if _is_key(name, value) else value}" for name, sign, value in _parameters(query)
    )


def _parameters(query: str) -> Iterator[tuple[str, str, str]]:
    """Name, equals sign and value of each parameter.

    A part without an equals sign is a value: a key may stand alone.
    """
    for part in query.split("&"):
        name, sign, value = part.partition("=")
        yield (name, sign, value) if sign else ("", "", part)


def _is_key(name: str, value: str) -> bool:
    """Whether a parameter may hold a key.

    All may, except those that are known to be plain by their names and values.
    """
    name, value = unquote(name), unquote_plus(value).strip()
    if not value:
        return False
    if _KEY_PARAMETERS.search(name):
        return True
    if _TINY_VALUE.fullmatch(value):
        return False
    if not _PLAIN_PARAMETERS.fullmatch(name) or not _PLAIN_VALUE.fullmatch(value):
        return True
    return any(shape.search(value) for shape, _ in _SHAPES)
