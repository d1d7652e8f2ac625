"""Filler: meaningless text like prose, code or JSON, reproducible by seed.

A piece is the text between two white spaces, for every kind, so that the length in tokens grows evenly with the number
of pieces.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

__all__ = ["FILLERS", "filler_words"]

FILLERS: Final = ("prose", "code", "json")
"""Kinds of filler."""

# Frequent words: nearly every tokenizer has each of them, with the space before it, as one token.
_WORD_LIST: Final = """
    about above across after again air all along also always and animal answer another any around ask back because been
    before began begin being below best better between big black blue board body book both box boy bring build business
    call came can car carry change children city clear close cold come common could country course cross cut dark day
    different door down dry during each early earth east easy eat end enough even ever every example eye face fact fall
    family far farm fast father few field fight figure final find fire first fish five food foot form found four free
    friend from front full game gave general girl give glass gold good great green ground group grow half hand hard
    have head hear heart heat heavy help here high hold home horse hot hour house hundred idea inch into island just
    keep kind king knew know land language large last late laugh law lead learn leave left less letter life light like
    line list listen little live long look love low machine made main make many map mark matter measure men might mile
    mind minute money moon more morning most mother mountain move much music must name near need never new next night
    north note nothing notice number object ocean off often old once one only open order other out over own page paper
    part pass past pattern people perhaps person picture piece place plain plan plane plant play point power problem
    product pull question quick rain ran reach read ready real red remember rest right river road rock room round rule
    run said same saw school science sea second see seem sentence set several shape ship short should show side simple
    since sing sit six size sleep slow small snow some song soon sound south space special stand star start state stay
    step still stone stood stop story street strong study such summer sun sure surface system table take talk teach tell
    ten test than that their them then there these thing think this those though thought thousand three through time
    together told took top toward town travel tree true try turn two under unit until use usual very voice wait walk
    want war warm watch water week well went west wheel where which while white whole wind winter with without wonder
    wood word work world write year young
"""
_WORDS: Final = tuple(_WORD_LIST.split())
_NAME_LIST: Final = "count data index item key line name node path price rows size state text total user value"
_NAMES: Final = tuple(_NAME_LIST.split())
_CALL_LIST: Final = "append check close find load merge parse read render reset save send sort split update"
_CALLS: Final = tuple(_CALL_LIST.split())
_OPERATORS: Final = ("+", "-", "*", "//", "%")


def filler_words(count: int, rng: random.Random, filler: str = "prose") -> str:
    """Return *count* pieces of filler: ``len(text.split())`` is *count*.

    None, an empty text, for 0.

    Args:
        count: number of pieces.
        rng: source of randomness; the same state gives the same text.
        filler: ``prose`` (sentences and paragraphs), ``code`` (lines that look like Python; the last may be cut) or
            ``json`` (one object, complete).

    Raises:
        ValueError: *filler* is none of them.

    """
    if filler not in _MAKERS:
        raise ValueError(f"unknown filler {filler!r}, expected one of {', '.join(FILLERS)}")
    return _MAKERS[filler](count, rng) if count > 0 else ""


def _prose(count: int, rng: random.Random) -> str:
    words = rng.choices(_WORDS, k=count)
    end, sentences = 0, 0
    while end < count:
        begin, end = end, min(end + 5 + int(rng.random() * 12), count)
        words[begin] = words[begin].capitalize()
        if end - begin > 9:
            words[begin + 4] += ","
        sentences += 1
        # a paragraph is six sentences; no white space ends the text
        words[end - 1] += "." if sentences % 6 or end == count else ".\n"
    return " ".join(words).replace("\n ", "\n\n")


def _code(count: int, rng: random.Random) -> str:
    lines: list[str] = []
    made = 0
    while made < count:
        one, other, call = rng.choice(_NAMES), rng.choice(_NAMES), rng.choice(_CALLS)
        number = rng.randrange(2, 100)
        block = rng.choice(
            (
                ((0, f"def {call}_{one}({other}, limit={number}):"), (1, f"return {other}.{call}(limit)")),
                ((0, f"for {one} in {other}s:"), (1, f"{call}({one})")),
                ((0, f"if {one} > {number}:"), (1, f"{one} = {call}({other}, {number})")),
                ((0, f"{one} = {other} {rng.choice(_OPERATORS)} {number}"),),
                ((0, f"{one}s = [{call}({other}) for {other} in {one}s]"),),
                ((0, f"# {call} {one} and {other}"),),
                ((0, f'print("{one}", {other}, {call}({one}))'),),
            )
        )
        for depth, line in block:
            pieces = line.split(" ")[: count - made]
            made += len(pieces)
            if pieces:
                lines.append("    " * depth + " ".join(pieces))
    return "\n".join(lines)


def _json(count: int, rng: random.Random) -> str:
    if count == 1:
        return "{}"
    lines: list[str] = []
    left = count - 2  # the braces
    while left:
        name = f'"{rng.choice(_NAMES)}_{len(lines) + 1}"'
        if left == 1:
            lines.append(f"{name}:{rng.randrange(1000)}")
            break
        chance = rng.random()
        # never leave one piece for the last line, which needs two
        pieces = 2 if chance < 0.7 or left in (2, 4) else 3
        if pieces == 3:
            value = f'"{rng.choice(_WORDS)} {rng.choice(_WORDS)}"'
        elif chance < 0.35:
            value = str(rng.randrange(10_000))
        else:
            value = f'"{rng.choice(_WORDS)}"'
        lines.append(f"{name}: {value}")
        left -= pieces
    return "{\n  " + ",\n  ".join(lines) + "\n}" if lines else "{ }"


_MAKERS: Final[Mapping[str, Callable[[int, random.Random], str]]] = MappingProxyType(
    {"prose": _prose, "code": _code, "json": _json}
)
