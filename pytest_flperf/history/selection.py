"""Selection of a case's baseline and noise among its earlier measurements."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Final

from pytest_flperf.history.standing import Standing

__all__ = ["LOOK_BACK", "NOISE_RUNS", "Measurement", "Selection", "select"]

NOISE_RUNS: Final = 40
"""Newest measurements that say how much runs differ."""
LOOK_BACK: Final = 1_000
"""Newest measurements of a case among which its baseline is looked for."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """An earlier measurement of a case, as far as selecting needs it."""

    run_id: str
    host: str
    started_at: str
    """ISO 8601, UTC, milliseconds: sorts as text."""
    standing: Standing
    branch: str | None = None
    accepted: bool = False
    """Whether a person accepted its run."""
    compared_with: str | None = None
    """The id of the stored run that its gate compared it with."""
    improved: bool = False
    """Whether a rule of that gate called it improved."""
    key: tuple[int, int] = (0, 0)
    """Where a reader of histories finds its numbers."""

    @property
    def by_person(self) -> bool:
        """Whether it is a baseline only because a person accepted its run: the first of a new level."""
        return self.accepted and self.standing in ("undecided", "regressed", "failed")

    @property
    def may_be_baseline(self) -> bool:
        """Whether later runs may be compared with it."""
        return self.standing == "accepted" or self.by_person

    @property
    def is_noise(self) -> bool:
        """Whether it tells how much runs of the same thing differ."""
        return self.may_be_baseline or self.standing == "undecided"


@dataclass(frozen=True, slots=True)
class Selection:
    """What a case is compared with, and how much runs differ."""

    baseline: Measurement | None
    noise: tuple[Measurement, ...]
    """Newest first."""
    passed_over: tuple[Measurement, ...]
    """Newer than the baseline, of its branch, and none itself."""
    not_yet: tuple[Measurement, ...]
    """Dated in the future, and therefore left out."""

    @property
    def never_had_any(self) -> bool:
        """Whether there was no baseline before: nothing was measured yet, or all that was failed by itself.

        A measurement that regressed or was undecided was judged by a baseline, which must have been there.
        """
        failed = all(each.standing == "failed" for each in self.passed_over)
        return self.baseline is None and failed and not self.not_yet and len(self.passed_over) < LOOK_BACK


def select(
    earlier: Iterable[Measurement], latest: str, branch: str | None = None, *, baseline: bool = True
) -> Selection:
    """Select the newest measurement that may be a baseline, and those that are noise.

    A measurement that regressed or failed is neither, so that a run after it is judged as it was.

    Args:
        earlier: Measurements of the case under the same conditions, newest first; no more is read than needed.
        latest: What began later is left out: the clock of its machine was wrong.
        branch: Only a run of this branch may be the baseline; None: of any.
        baseline: Whether one is looked for.

    """
    found: Measurement | None = None
    noise: list[Measurement] = []
    passed_over: list[Measurement] = []
    not_yet: list[Measurement] = []
    for each in islice(earlier, LOOK_BACK):
        if each.standing == "unmeasured":
            continue
        if each.started_at > latest:
            not_yet.append(each)
            continue
        if len(noise) < NOISE_RUNS and each.is_noise:
            noise.append(each)
        if branch in (None, each.branch):
            if found is None and each.may_be_baseline:
                found = each
            elif found is None:
                passed_over.append(each)
        if len(noise) == NOISE_RUNS and (found is not None or not baseline):
            break
    return Selection(found, tuple(noise), tuple(passed_over), tuple(not_yet))
