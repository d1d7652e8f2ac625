"""Custom HTTP headers: validation, and merging with the default ones."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

__all__ = ["check_headers", "check_key", "joined"]

_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,200}")
_OURS: Final = frozenset({"content-length", "transfer-encoding", "expect", "upgrade", "te", "trailer"})
"""They frame the request, so only the sender may set them."""


def check_headers(headers: Mapping[str, str]) -> None:
    """Raise ValueError for an invalid header name or value.

    The text never shows a value.
    """
    for name, value in headers.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            # A whole line may have been given as the name, with the secret in it: nothing behind the colon is shown.
            shown = ascii(str(name).partition(":")[0][:40])
            raise ValueError(f"found {shown} as the name of a header, expected letters, digits and dashes")
        if name.lower() in _OURS:
            raise ValueError(f"header {name}: it controls how the request is framed and can't be set")
        if not isinstance(value, str):
            raise ValueError(f"header {name}: found a {type(value).__name__}, expected text")  # noqa: TRY004
        if not _fits(value):
            raise ValueError(
                f"header {name}: its value has a character that a header can't have (a line break, a space around it …)"
            )


def check_key(api_key: str | None) -> None:
    """Raise ValueError for an API key that no header can hold.

    The text never shows the key.
    """
    if api_key is not None and not (api_key.isascii() and api_key.isprintable() and api_key.strip() == api_key):
        raise ValueError("the API key has a character that a header can't have (a line break, a space around it …)")


def joined(defaults: Mapping[str, str], headers: Mapping[str, str]) -> dict[str, str]:
    """Merge headers; one of ``headers`` replaces its default, ignoring case."""
    asked = {name.lower() for name in headers}
    return {name: value for name, value in defaults.items() if name.lower() not in asked} | dict(headers)


def _fits(value: str) -> bool:
    try:
        raw = value.encode("latin-1")
    except UnicodeEncodeError:
        return False
    return value.strip() == value and not any((byte < 0x20 and byte != 0x09) or byte == 0x7F for byte in raw)
