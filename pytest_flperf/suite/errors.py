"""Suite errors: :class:`SuiteError`, and formatting for its messages."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable, Sequence
from typing import Final

from pytest_flperf._text import encodable as printable
from pytest_flperf.errors import FlperfError

__all__ = ["SuiteError", "key_path", "nearest", "printable", "shown", "suggestion"]

_SHOWN_CHARACTERS: Final = 80


class SuiteError(FlperfError):
    """A suite or a setting that can't be used.

    Its text is complete: file, line or key path, what was found, what was expected; one line per problem.
    """


def shown(value: object) -> str:
    """Return *value* for an error message: its repr, bounded.

    Length and depth are bounded, whatever the value is.
    """
    short = reprlib.Repr()
    short.maxlevel, short.maxdict, short.maxlist, short.maxtuple = 2, 3, 3, 3
    short.maxstring = short.maxother = _SHOWN_CHARACTERS
    short.maxlong = 40
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return "true" if value else "false"
    try:
        text = short.repr(value)
    except ValueError:  # Python refuses to write integers of more than 4,300 digits, and YAML's hex can hold them
        return f"a value too large to show ({type(value).__name__})"
    if len(text) > 2 * _SHOWN_CHARACTERS:
        text = text[: 2 * _SHOWN_CHARACTERS] + "…"
    return printable(text)


def key_path(parts: Sequence[str | int]) -> str:
    """Return ``scenarios[2].max_tokens`` for ``("scenarios", 2, "max_tokens")``."""
    text = ""
    for part in parts:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            name = part if len(part) <= _SHOWN_CHARACTERS else part[:_SHOWN_CHARACTERS] + "…"
            name = name if name.isprintable() else repr(name)[1:-1]
            text += f".{name}" if text else name
    return printable(text)


def nearest(name: str, known: Iterable[str], count: int = 3) -> tuple[str, ...]:
    """Return at most *count* known names like *name*, best first."""
    # difflib takes quadratic time, and no misspelt name has 100 kB
    by_folded = {candidate.casefold(): candidate for candidate in known}
    matches = difflib.get_close_matches(name[:100].casefold(), by_folded, n=count, cutoff=0.5)
    return tuple(by_folded[match] for match in matches)


def suggestion(name: str, known: Iterable[str], count: int = 1) -> str:
    """Return ``did you mean 'x'?``, else the known names.

    ``""`` where no name is known.
    """
    names = sorted(known)
    close = nearest(name, names, count)
    if close:
        return f"did you mean {' or '.join(repr(match) for match in close)}?"
    return f"known: {', '.join(names)}" if names else ""
