"""Line breaks of a page: long names at sensible places, options nowhere."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["breakable"]

_OPTION: Final = re.compile(r"(?<![\w-])--[a-z][a-z-]{1,38}[a-z]")
_SHORTEST: Final = 16
"""Characters of a word that may be broken."""
_LONG_WORD: Final = re.compile(rf"\S{{{_SHORTEST},}}")
_PLACE: Final = re.compile(r"(?<=[/\\=])(?=\w)|(?<=\w)(?=\.[A-Za-z])|(?<=\w-)(?=\w)|(?<=[A-Za-z]_)(?=[A-Za-z]{2})")
"""Behind a slash, a hyphen or an underscore between words, before a file's ending; never in ``Q4_1`` or ``1.25``."""


def breakable(text: str) -> Markup | str:
    """Text that breaks within long names only where their parts meet, and never within an option's name.

    Returns markup with the text escaped, or the text itself where there is nothing to say.
    """
    if "--" not in text and _LONG_WORD.search(text) is None:
        return text
    from markupsafe import Markup

    parts, end = [], 0
    for option in _OPTION.finditer(text):
        parts += [_broken(text[end : option.start()]), Markup('<span class="whole">{}</span>').format(option[0])]
        end = option.end()
    return Markup("").join([*parts, _broken(text[end:])])


def _broken(text: str) -> Markup:
    from markupsafe import Markup, escape

    parts, end = [], 0
    for word in _LONG_WORD.finditer(text):
        parts += [escape(text[end : word.start()]), Markup("<wbr>").join(_PLACE.split(word[0]))]
        end = word.end()
    return Markup("").join([*parts, escape(text[end:])])
