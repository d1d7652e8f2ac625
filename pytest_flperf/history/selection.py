"""Selection of a case's baseline and noise among its earlier measurements."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Final

from pytest_flperf.history.standing import BASELINES, BY_PERSON, NOISE, Standing

__all__ = ["LOOK_BACK", "NOISE_RUNS", "Measurement", "Selection", "select"]

NOISE_RUNS: Final = 40
"""How many of the newest measurements count as noise: they say how much runs differ."""
LOOK_BACK: Final = 1_000
"""How many of the newest measurements of a case are searched for its baseline."""


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
        """Whether it is a baseline only because a person accepted it.

        It is then the first of a new level.
        """
        return self.accepted and self.standing in BY_PERSON

    @property
    def may_be_baseline(self) -> bool:
        """Whether later runs may be compared with it."""
        return self.standing in BASELINES or self.by_person

    @property
    def is_noise(self) -> bool:
        """Whether it counts as noise between runs of the same thing."""
        return self.may_be_baseline or self.standing in NOISE


@dataclass(frozen=True, slots=True)
class Selection:
    """Selection: the baseline of a case, and the noise between runs."""

    baseline: Measurement | None
    noise: tuple[Measurement, ...]
    """Newest first."""
    passed_over: tuple[Measurement, ...]
    """Measurements of the branch that are newer than the baseline and can't be one."""
    not_yet: tuple[Measurement, ...]
    """Dated in the future, and therefore left out."""

    @property
    def never_had_any(self) -> bool:
        """Whether there was never a baseline before.

        Nothing was measured yet, or every measurement failed by itself.  A measurement that regressed or was undecided
        was judged by a baseline, which must have existed.
        """
        failed = all(each.standing == "failed" for each in self.passed_over)
        return self.baseline is None and failed and not self.not_yet and len(self.passed_over) < LOOK_BACK


def select(
    earlier: Iterable[Measurement], latest: str, branch: str | None = None, *, baseline: bool = True
) -> Selection:
    """Select the newest possible baseline, and the measurements that are noise.

    A measurement that regressed or failed is neither, so that later runs are judged by the same baseline.

    Args:
        earlier: Measurements of the case under the same conditions, newest first; no more is read than needed.
        latest: Measurements that began later are left out: the clock of their machine was wrong.
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
