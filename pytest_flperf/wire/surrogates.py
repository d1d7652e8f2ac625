"""Text with halves of surrogate pairs, as a server sends it that splits one over two chunks."""

from __future__ import annotations

__all__ = ["repair_text"]


def repair_text(text: str) -> str:
    """Join surrogate pairs that were split over chunks and replace lone halves: no file could hold them."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
