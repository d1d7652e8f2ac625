"""Decoding level by level: JSON, percent, HTML, base64, hex."""

from __future__ import annotations

import binascii
import contextlib
import functools
import html
import itertools
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple, TypeAlias

__all__ = ["View", "levels", "packed", "parts_of"]

_LEVELS: Final = 10
"""Most levels of nested encodings that are undone; a text may have more (thousands of backslashes)."""
_REPLACED: Final = 0xFFFD
_DEPTH: Final = 5
"""Most levels of encodings that are undone in every possible order."""
_WORK_BYTES: Final = 1 << 21
"""Most bytes to search for that."""
# JSON, JavaScript, C, Python, Markdown; both halves of a surrogate pair.
_AFTER_BACKSLASH: Final = (
    rb"(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|u\{[0-9a-fA-F]{1,6}\}"
    rb"|U[0-9a-fA-F]{8}|x[0-9a-fA-F]{2}|[0-3][0-7]{2}|[rn](?:data: ?|[ \t]{0,16})|[^\r\n])"
)
_BACKSLASH: Final = rb"\\" + _AFTER_BACKSLASH
# Not before another escape: the backslash may be part of the text itself.
_BACKSLASH_OF_ALL: Final = rb"\\(?!%[0-9a-fA-F]{2}|&#?[0-9A-Za-z]{1,31};)" + _AFTER_BACKSLASH
# URLs, and JavaScript's escape().  An HTML form writes the blanks of a folded line as plus signs.
_PERCENT: Final = (
    rb"%(?:0[aA]\+{0,16}|[0-9a-fA-F]{2}|u[dD][89abAB][0-9a-fA-F]{2}%u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4})"
)
_ENTITY: Final = rb"&(?:#[0-9]{1,10}|#[xX][0-9a-fA-F]{1,8}|[A-Za-z][A-Za-z0-9]{1,31});?"
_EACH: Final = tuple(map(re.compile, (_BACKSLASH, _PERCENT, _ENTITY)))
_MARKS: Final = (b"\\", b"%", b"&")
# A folded line: of a header, of base64, of an event's data.  A pattern that begins with one character is fastest.
_FOLD: Final = re.compile(rb"\n(?:data: ?|[ \t]{0,16})")
_FOLD_OR_RETURN: Final = re.compile(rb"\r|\n(?:data: ?|[ \t]{0,16})")
# Where no secret has a brace and a quote, none continues in another event of a stream: thousands of line ends less.
_FOLD_IN_STREAM: Final = re.compile(rb"\n(?!\n?data: \{\x22)(?:data: ?|[ \t]{0,16})")
_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")
_BETWEEN: Final = b"\x00"
_PAIR_GAP: Final = re.compile(rb"[ \t:,+-]{1,2}(?:0x)?")


_Plain: TypeAlias = Callable[[re.Match[bytes]], bytes]


class _Stretch(NamedTuple):
    """A part of a view and its origin.

    With equal lengths, they correspond byte by byte.
    """

    at: int
    start: int
    end: int
    copies: Sequence[int] = (0,)
    """Distances at which the same bytes occur again: 0 for the place itself."""


class View:
    """View: a text derived from another, with positions mapped back."""

    __slots__ = ("_ats", "_made_of", "_parent", "_stretches", "text")

    def __init__(
        self, text: bytes, parent: View | None = None, made_of: Callable[[], Iterable[_Stretch]] | None = None
    ) -> None:
        """``made_of`` gives the stretches of the parent, in text order.

        It is called only when a position is looked up.
        """
        self.text = text
        self._parent = parent
        self._made_of = made_of
        self._stretches: list[_Stretch] | None = None
        self._ats: list[int] = []

    def origin(self, start: int, end: int) -> list[tuple[int, int]]:
        """Positions of the bytes ``start`` to ``end`` in the original text."""
        if self._parent is None:
            return [(start, end)]
        found: list[tuple[int, int]] = []
        for part in self._in_parent(start, end):
            found += self._parent.origin(*part)
        return found

    def _in_parent(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        if self._stretches is None:
            assert self._made_of is not None
            self._stretches = list(self._made_of())
            self._ats = [stretch.at for stretch in self._stretches]
        number = max(bisect_right(self._ats, start) - 1, 0)
        while number < len(self._stretches) and self._ats[number] < end:
            at, source, source_end, copies = self._stretches[number]
            number += 1
            after = self._ats[number] if number < len(self._ats) else len(self.text)
            if after - at == source_end - source:
                source, source_end = source + max(start - at, 0), source + min(end, after) - at
            for shift in copies:
                yield source + shift, source_end + shift


def parts_of(view: View, parts: Iterable[tuple[int, int]]) -> View:
    """A view of joined parts of a text."""
    kept = [part for part in parts if part[0] < part[1]]
    text = view.text

    def stretches() -> Iterator[_Stretch]:
        at = 0
        for start, end in kept:
            yield _Stretch(at, start, end)
            at += end - start

    return View(b"".join([text[start:end] for start, end in kept]), view, stretches)


def levels(view: View, *, objects: bool = True) -> Iterator[View]:
    """The text, and the text after each level of decoding.

    Each level undoes folds and all kinds of escapes at once.  Where there are several kinds, they are also undone one
    at a time in every order, because what looks like an escape may be part of the text.  The last view has all kinds
    undone to the end.  ``objects``: whether a folded line may continue with the beginning of a JSON object.
    """
    at_once, kinds = [view], 0
    for _ in range(_LEVELS):
        before = at_once[-1]
        _add(at_once, _unfolded(before, objects))
        there = _kinds_in(at_once[-1].text)
        kinds |= there
        if there:
            _add(at_once, _substituted(at_once[-1], _at_once(there), _unescaped))
        if at_once[-1] is before:
            break
    if kinds & (kinds - 1):
        yield from _in_each_order(view, objects)
    yield from at_once


def _add(views: list[View], view: View) -> None:
    if view.text != views[-1].text:
        views.append(view)


def _kinds_in(text: bytes) -> int:
    """A bit for each kind of escape in the text."""
    return sum(
        1 << number
        for number, (mark, pattern) in enumerate(zip(_MARKS, _EACH, strict=True))
        if mark in text and pattern.search(text)
    )


@functools.cache
def _at_once(kinds: int) -> re.Pattern[bytes]:
    every = (_BACKSLASH_OF_ALL, _PERCENT, _ENTITY)
    return re.compile(b"|".join(each for number, each in enumerate(every) if kinds >> number & 1))


def _unfolded(view: View, objects: bool) -> View:
    if b"\n" not in view.text:
        return view
    if b"\r" in view.text:
        return _substituted(view, _FOLD_OR_RETURN, b"")
    return _substituted(view, _FOLD if objects else _FOLD_IN_STREAM, b"")


def _in_each_order(view: View, objects: bool) -> Iterator[View]:
    seen, generation, work = {view.text}, [view], 0
    for _ in range(_DEPTH):
        following = []
        for each, (mark, pattern) in itertools.product(generation, zip(_MARKS, _EACH, strict=True)):
            if mark not in each.text:
                continue
            work += len(each.text)
            if work > _WORK_BYTES:
                return
            peeled = _substituted(_unfolded(each, objects), pattern, _unescaped)
            if peeled.text not in seen:
                seen.add(peeled.text)
                following.append(peeled)
                yield peeled
        generation = following


def _substituted(view: View, pattern: re.Pattern[bytes], plain_of: _Plain | bytes) -> View:
    def stretches() -> Iterator[_Stretch]:
        at = done = 0
        for found in pattern.finditer(view.text):
            if found.start() > done:
                yield _Stretch(at, done, found.start())
                at += found.start() - done
            plain = plain_of if isinstance(plain_of, bytes) else plain_of(found)
            if plain:
                yield _Stretch(at, found.start(), found.end())
                at += len(plain)
            done = found.end()
        if done < len(view.text):
            yield _Stretch(at, done, len(view.text))

    return View(pattern.sub(plain_of, view.text), view, stretches)


def _unescaped(found: re.Match[bytes]) -> bytes:
    return _plain(found[0])


@functools.lru_cache(4_096)
def _plain(escape: bytes) -> bytes:
    """The bytes that an escape stands for; empty for a line end."""
    kind = escape[:1]
    if kind == b"%":
        return _after_backslash(escape[1:]) if escape[1:2] == b"u" else bytes((int(escape[1:3], 16),))
    if kind == b"&":
        return html.unescape(escape.decode("ascii")).encode("utf-8", "surrogatepass")
    return _after_backslash(escape[1:])


def _after_backslash(escape: bytes) -> bytes:
    kind = escape[:1]
    if len(escape) == 1:
        return b"" if kind in b"rn" else escape
    if kind in b"rn":
        return b""
    if kind == b"x":
        return bytes((int(escape[1:], 16),))
    if kind in b"0123":
        return bytes((int(escape, 8),))
    if len(escape) == len(rb"uD83D\uDE00"):
        high, low = int(escape[1:5], 16), int(escape[7:], 16)
        return _utf8(0x10000 + ((high & 0x3FF) << 10) + (low & 0x3FF))
    return _utf8(int(escape[1:].strip(b"{}"), 16))


def _utf8(code: int) -> bytes:
    return chr(code if code <= 0x10FFFF else _REPLACED).encode("utf-8", "surrogatepass")


def packed(view: View, least: int) -> View | None:
    """Decode base64, hex and numbers of ``least`` bytes or more; or None.

    Where a text begins within a run is unknown: each of the four offsets of base64 and the two of hex are tried.
    """
    runs: dict[tuple[_Unpack, bytes], list[int]] = {}
    for pattern, unpack in _kinds_of_runs(view.text, least):
        for found in pattern.finditer(view.text):
            runs.setdefault((unpack, found[0]), []).append(found.start())
    if not runs:
        return None
    pieces = [piece.content for unpack, run in runs for piece in unpack(run)]

    def stretches() -> Iterator[_Stretch]:
        at = 0
        for (unpack, run), starts in runs.items():
            copies = [start - starts[0] for start in starts]
            for piece in unpack(run):
                for place in range(0, len(piece.content), piece.bytes):
                    source = starts[0] + piece.offset + place // piece.bytes * piece.chars
                    yield _Stretch(at + place, source, min(source + piece.chars, starts[0] + len(run)), copies)
                at += len(piece.content) + len(_BETWEEN)

    return View(_BETWEEN.join(pieces), view, stretches)


class _Piece(NamedTuple):
    """Decoded content of a run, and its ratio of bytes to characters."""

    offset: int
    content: bytes
    bytes: int
    chars: int


def _from_base64(run: bytes) -> Iterator[_Piece]:
    coded = run.translate(_URL_SAFE)
    for offset in range(4):
        cut = coded[offset:]
        yield _Piece(offset, binascii.a2b_base64(cut + b"A" * (-len(cut) % 4)), 3, 4)


def _from_hex(run: bytes) -> Iterator[_Piece]:
    text = run.decode("ascii")
    for offset in range(2):
        yield _Piece(offset, bytes.fromhex(text[offset : offset + (len(text) - offset) // 2 * 2]), 1, 2)


def _from_pairs(run: bytes) -> Iterator[_Piece]:
    content = bytes.fromhex(_PAIR_GAP.sub(b" ", run).decode("ascii"))
    yield _Piece(0, content, len(content), len(run))


def _from_numbers(run: bytes) -> Iterator[_Piece]:
    with contextlib.suppress(ValueError):  # more than 255
        content = bytes(map(int, run.replace(b"+", b" ").split(b",")))
        yield _Piece(0, content, len(content), len(run))


_Unpack: TypeAlias = Callable[[bytes], Iterator[_Piece]]


def _kinds_of_runs(text: bytes, least: int) -> Iterator[tuple[re.Pattern[bytes], _Unpack]]:
    """The patterns that may match.

    Translating and searching is ten times as fast as a regular expression.
    """
    letters, numbers = _patterns_of_runs(least)
    if b"\1" * -(-least * 4 // 3) in text.translate(_LETTERS):
        yield from letters
    if b"\1" * (2 * least - 1) in text.translate(_NUMBERS):
        yield from numbers


def _class_of(characters: bytes) -> bytes:
    return bytes(byte in characters for byte in range(256))


_HEX_DIGITS: Final = b"0123456789abcdefABCDEF"
_LETTERS: Final = _class_of(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_")
_NUMBERS: Final = _class_of(_HEX_DIGITS + b"x \t:,+-")


@functools.cache
def _patterns_of_runs(least: int) -> tuple[tuple[tuple[re.Pattern[bytes], _Unpack], ...], ...]:
    letters = (
        (re.compile(rb"[A-Za-z0-9+/_-]{%d,}" % -(-least * 4 // 3)), _from_base64),
        (re.compile(rb"[0-9a-fA-F]{%d,}" % (2 * least)), _from_hex),
    )
    numbers = (
        (re.compile(rb"[0-9a-fA-F]{2}(?:[ :,+-]{1,2}(?:0x)?[0-9a-fA-F]{2}){%d,}" % (least - 1)), _from_pairs),
        (re.compile(rb"[0-9]{1,3}(?:,[ \t+]?[0-9]{1,3}){%d,}" % (least - 1)), _from_numbers),
    )
    return letters, numbers
