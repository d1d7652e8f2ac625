"""Search for secrets in any encoding that a server may use."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from pytest_flperf.results.encodings import View, levels, packed, parts_of

__all__ = ["SHORTEST_SECRET", "WIDEST", "SecretSearch", "Span"]

Span = tuple[int, int]
SHORTEST_SECRET: Final = 8
"""Shorter values are placeholders (``none``, ``EMPTY``): masking them would damage ordinary text."""
_LEAST_HALF: Final = 6
"""Least characters of a secret to mask at a cut, or where the rest of it looks like escapes."""
_PACKED_DEPTH: Final = 3
"""Most levels of base64 or hex inside each other."""
_WINDOW: Final = 1 << 20
_OVERLAP: Final = 1 << 14
WIDEST: Final = 24
"""Characters that one character of a secret takes in the widest encoding."""
_SPACES: Final = re.compile(rb"[ \t]+")
_HALF_ESCAPE: Final = re.compile(
    rb"(?:\\{1,64}(?:u[0-9a-fA-F]{0,3}|x[0-9a-fA-F]?|[0-3][0-7]?)?|%(?:25){0,8}[0-9a-fA-F]?"
    rb"|&(?:amp;){0,8}#?[0-9A-Za-z]{0,10})\Z"
)
_TAIL: Final = "… \r\n".encode()


class SecretSearch:
    """Secret search: finds secrets as they are and encoded.

    Covers every encoding that :mod:`encodings` undoes, nested ones included.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        """``secrets``: each of at least ``SHORTEST_SECRET`` characters."""
        forms = {form for secret in secrets for form in _forms(secret)}
        # The longest first: a secret may be the beginning of another.
        ordered = sorted(forms, key=lambda form: (-len(form), form))
        self._plain = tuple(form for form in ordered if not _SPACES.search(form))
        self._spaced = tuple(_with_any_space(form) for form in ordered if _SPACES.search(form))
        self._forms = tuple(ordered)
        self._objects = any(b'{"' in form for form in ordered)
        self._least = min(map(len, ordered), default=0)
        self._longest = max(map(len, ordered), default=0)

    def __bool__(self) -> bool:
        return bool(self._forms)

    @property
    def longest(self) -> int:
        """Length of the longest secret, in bytes."""
        return self._longest

    def spans(self, view: View) -> list[Span]:
        """Spans of secrets in the original text: ascending, not touching.

        The original is the text from which the view was derived.
        """
        if not self._forms:
            return []
        found: list[Span] = []
        for window in self._windows(view):
            for each in self._views(window, _PACKED_DEPTH):
                for start, end in self._matches(each.text):
                    found += each.origin(start, end)
        return _merged(found)

    def half_at_end(self, content: bytes) -> Span | None:
        """Span of a secret's beginning at the end of cut content."""
        if not self._forms:
            return None
        end = len(content.rstrip(_TAIL))
        start = max(0, end - WIDEST * self._longest)
        tail = content[start:end]
        tail = tail[: len(tail) - len(half[0])] if (half := _HALF_ESCAPE.search(tail)) else tail
        for view in levels(View(tail)):
            for form in self._forms:
                length = _common(view.text, form)
                if length >= _LEAST_HALF:
                    first = min(span[0] for span in view.origin(len(view.text) - length, len(view.text)))
                    return start + first, end
        return None

    def _windows(self, view: View) -> Iterator[View]:
        """The text in overlapping windows.

        Decoding a text takes several times its memory.
        """
        size = len(view.text)
        if size <= _WINDOW + _OVERLAP:
            yield view
            return
        for start in range(0, size, _WINDOW):
            yield parts_of(view, [(start, min(start + _WINDOW + _OVERLAP, size))])

    def _views(self, view: View, depth: int) -> Iterator[View]:
        last = view
        for last in levels(view, objects=self._objects):
            yield last
        inside = packed(last, self._least) if depth else None
        if inside is not None:
            yield from self._views(inside, depth - 1)

    def _matches(self, text: bytes) -> Iterator[Span]:
        for form in self._plain:
            at = text.find(form)
            while at >= 0:
                yield at, at + len(form)
                at = text.find(form, at + len(form))
        for pattern in self._spaced:
            for found in pattern.finditer(text):
                yield found.span()


def _forms(secret: str) -> Iterator[bytes]:
    """A secret's bytes, also unescaped where they look escaped."""
    encoded = [secret.encode("utf-8", "surrogatepass")]
    if not secret.isascii():
        encoded.append(secret.encode("latin-1", "replace") if max(secret) <= "\xff" else encoded[0])
    for quote in (b'"', b"'"):
        encoded += [each.replace(quote, quote * 2) for each in encoded if quote in each]  # of SQL and CSV
    for each in encoded:
        for view in levels(View(each)):
            if view.text == each or len(view.text) >= _LEAST_HALF:
                yield view.text


def _with_any_space(form: bytes) -> re.Pattern[bytes]:
    """A pattern of the form in which spaces vary.

    An HTML form writes a space as a plus sign, and folding removes it.
    """
    return re.compile(rb"[ \t+]{0,16}".join(re.escape(word) for word in _SPACES.split(form)))


def _common(text: bytes, form: bytes) -> int:
    """Bytes of the form's beginning that end the text."""
    at = text.find(form[:_LEAST_HALF], max(0, len(text) - len(form) + 1))
    while at >= 0:
        if form.startswith(text[at:]):
            return len(text) - at
        at = text.find(form[:_LEAST_HALF], at + 1)
    return 0


def _merged(spans: Iterable[Span]) -> list[Span]:
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
