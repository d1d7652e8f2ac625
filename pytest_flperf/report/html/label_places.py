"""Label placement: texts beside points of a chart, none over another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["Box", "placed"]

_GAPS: Final = (9.0, 16.0, 24.0, 34.0, 46.0)
"""Distances from the point that are tried."""


@dataclass(frozen=True, slots=True)
class Box:
    """Rectangle of a chart, in the units of the drawing; ``y`` grows downwards."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: Box) -> bool:
        """Whether both share some area."""
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )

    def inside(self, other: Box) -> bool:
        """Whether it lies in the other one."""
        return (
            other.left <= self.left
            and self.right <= other.right
            and other.top <= self.top
            and self.bottom <= other.bottom
        )


def placed(
    points: Sequence[tuple[float, float]],
    sizes: Sequence[tuple[float, float]],
    taken: Iterable[Box],
    frame: Box,
) -> list[Box | None]:
    """Boxes for the labels of points, near each, within the frame, over nothing else; None where there is no room.

    Args:
        points: Where the points are.
        sizes: Width and height of each label.
        taken: What no label may cover: marks and lines.
        frame: Where labels may be.

    """
    full = list(taken)
    found: list[Box | None] = []
    for (x, y), (width, height) in zip(points, sizes, strict=True):
        box = next(
            (
                each
                for each in _around(x, y, width, height)
                if each.inside(frame) and not any(each.meets(other) for other in full)
            ),
            None,
        )
        if box is not None:
            full.append(box)
        found.append(box)
    return found


def _around(x: float, y: float, width: float, height: float) -> Iterable[Box]:
    """Places beside, above and below a point, the nearest first."""
    for gap in _GAPS:
        for left, top in (
            (x + gap, y - height / 2),
            (x - gap - width, y - height / 2),
            (x + gap, y - gap - height),
            (x - gap - width, y - gap - height),
            (x + gap, y + gap),
            (x - gap - width, y + gap),
            (x - width / 2, y - gap - height),
            (x - width / 2, y + gap),
        ):
            yield Box(left, top, left + width, top + height)
