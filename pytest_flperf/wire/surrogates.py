"""Surrogate repair: text whose surrogate pairs were split or broken.

A server sends such halves when it splits a pair over two chunks.
"""

from __future__ import annotations

__all__ = ["repair_text"]


def repair_text(text: str) -> str:
    """Join split surrogate pairs and replace lone halves.

    No file could hold lone halves.
    """
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
