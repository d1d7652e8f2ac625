"""Slugs: names made fit for node ids.

They are short, printable, and the same on every machine and in every order.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

__all__ = ["ascii_slug", "slug", "unique_slugs", "without_clashes"]

_KEPT: Final = frozenset("._-+=,@")
_MAX: Final = 80
_DIGITS: Final = 8
_PYTESTS_OWN: Final = re.compile(r"pytest(?:mark|_.*)|__.*__|(?:setup_|setUp|teardown_|tearDown)(?i:module|function)")
"""Names that pytest looks for, or ignores, in a test module."""


def slug(name: str) -> str:
    """Return *name* for the part of a node id before the bracket.

    Letters, digits and their marks of any script stay, and ``._-+=,@``; format characters (joiners, bidirectional
    controls) go; every run of anything else becomes one ``-``.  At most 80 characters; a longer name is cut and gets
    eight digits of its hash, and so does a name that means something to pytest (``setup_module``).  A name of which
    nothing is left becomes ``x-`` and the hash.
    """
    text = _bounded(_letters(unicodedata.normalize("NFC", name)), name)
    return _with_hash(text, name, _DIGITS) if _PYTESTS_OWN.fullmatch(text) else text


def ascii_slug(name: str) -> str:
    """Return *name* for the brackets of a node id, ASCII only.

    Pytest would escape other characters there.

    As :func:`slug`, but accents are removed, other letters become ``-``, and a name that was not ASCII gets its hash.
    """
    decomposed = name if name.isascii() else unicodedata.normalize("NFKD", name)
    return _bounded(_letters(decomposed, ascii_only=True), name, hashed=not name.isascii())


def unique_slugs(names: Iterable[str], *, ascii_only: bool = False) -> dict[str, str]:
    """Return unique slugs of the *names*, even where case is ignored.

    As with ``-k`` and in file systems.

    All names that would share a slug get their hash, so that none depends on the order of the names.
    """
    make = ascii_slug if ascii_only else slug
    return without_clashes({name: make(name) for name in names})


def without_clashes(slugs: Mapping[str, str]) -> dict[str, str]:
    """Return *slugs*, with a hash on those that clash.

    They are by full name, and clash if they are equal with case ignored.  The hash is of the name.
    """
    unique = dict(slugs)
    digits = _DIGITS
    while clashing := _clashing(unique):
        for name in clashing:
            unique[name] = _with_hash(slugs[name], name, digits)
        digits *= 2  # two equal hashes: a chance of one in 2**32, or an attack
    return unique


def _clashing(slugs: dict[str, str]) -> list[str]:
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for name, text in slugs.items():
        groups[text.casefold()].append(name)
    return [name for group in groups.values() if len(group) > 1 for name in group]


def _letters(name: str, *, ascii_only: bool = False) -> Iterator[str]:
    """Yield the characters of the slug, ``-`` for each other run."""
    gap = False
    marks_stay = False
    for character in name:
        category = unicodedata.category(character)
        if category == "Cf" or (ascii_only and category[0] == "M"):
            continue
        letter = category[0] in "LN" and (character.isascii() or not ascii_only)
        # a mark belongs to the letter before it; on its own it would be invisible
        if letter or character in _KEPT or (category[0] == "M" and marks_stay):
            if gap:
                yield "-"
            yield character
            gap = False
            marks_stay = letter or marks_stay
        else:
            gap = True
            marks_stay = False


def _bounded(characters: Iterator[str], name: str, *, hashed: bool = False) -> str:
    text = ""
    for character in characters:
        text += character
        if len(text) > 2 * _MAX:  # long enough to know that it will be cut; names may be of 100 kB
            break
    text = text.strip("-.")  # also: never the folder "." or ".."
    if not text or hashed or len(text) > _MAX:
        return _with_hash(text, name, _DIGITS)
    return text


def _with_hash(text: str, name: str, digits: int) -> str:
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=32).hexdigest()[:digits]
    if text.endswith(f"-{digest}"):
        return text
    return f"{text[: max(_MAX - 1 - digits, 1)].rstrip('-.') or 'x'}-{digest}"
