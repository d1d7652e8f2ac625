"""Known truths: what two sides answer to the same prompts, drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["AT_LIMIT", "FOUND", "NOTHING_LOST", "SORTED", "Floats", "Scores", "World", "independent"]

Floats: TypeAlias = NDArray[np.float64]
Scores: TypeAlias = tuple[Floats, Floats]
"""Of the candidate and of the baseline, request by request."""
Draw: TypeAlias = Callable[[np.random.Generator, int], Scores]
"""Scores of so many prompts, each asked once."""

LIMIT: Final = 0.02
PARTS: Final = 4
TURNED: Final = 20


@dataclass(frozen=True, slots=True)
class World:
    """Known truth of the cases of a run."""

    name: str
    draw: Draw
    prompts: int
    repeats: int = 1
    """How often each is asked, one pass after the other; the draw sees every request."""
    cases: int = 1
    """Cases of a run, each with a rule of its own; they share the run's error rate."""
    greedy: bool = False
    """Whether a repeat is answered alike."""
    in_order: bool = False
    """Whether prompts are asked in the order of a file."""
    rights: tuple[float, float] | None = None
    """Chances that the baseline and the candidate are right, independently, where that is the whole truth."""

    def scores(self, chance: np.random.Generator) -> Scores:
        """Scores of all requests of one case."""
        if self.greedy:
            candidate, baseline = self.draw(chance, self.prompts)
            return np.tile(candidate, self.repeats), np.tile(baseline, self.repeats)
        drawn = [self.draw(chance, self.prompts) for _ in range(self.repeats)]
        return np.concatenate([mine for mine, _ in drawn]), np.concatenate([theirs for _, theirs in drawn])


def independent(right: float, candidate: float) -> Draw:
    """Each side is right by its own chance."""

    def draw(chance: np.random.Generator, n: int) -> Scores:
        return _right(chance.random(n) < candidate), _right(chance.random(n) < right)

    return draw


def _right(is_so: NDArray[np.bool_]) -> Floats:
    return is_so.astype(np.float64)


def turned(chance: np.random.Generator, n: int) -> Scores:
    """Twenty prompts turn from right to wrong, none back; a tenth of the others is wrong on both sides."""
    places = chance.permutation(n)
    baseline = np.ones(n)
    baseline[places[TURNED : TURNED + (n - TURNED) // 10]] = 0
    candidate = baseline.copy()
    candidate[places[:TURNED]] = 0
    return candidate, baseline


def rare(chance: np.random.Generator, n: int) -> Scores:
    """All is right but for two prompts in a hundred, which only the baseline answers."""
    return _right(chance.random(n) >= LIMIT), np.ones(n)


def uneven(loss: float) -> Draw:
    """Prompts of different difficulty, one in ten of which becomes harder, so that the mean falls by ``loss``."""

    def draw(chance: np.random.Generator, n: int) -> Scores:
        easy = np.linspace(0.4, 1.0, n)
        harder = np.where(np.arange(n) % 10 == 3, 10 * loss, 0.0)
        return _right(chance.random(n) < easy - harder), _right(chance.random(n) < easy)

    return draw


def parts(right: float, candidate: float) -> Draw:
    """Scores of four checks, each passed by a side's own chance."""

    def draw(chance: np.random.Generator, n: int) -> Scores:
        found = (chance.binomial(PARTS, each, n) / PARTS for each in (candidate, right))
        mine, theirs = found
        return mine, theirs

    return draw


def few_differ(loss: float) -> Draw:
    """One score in ten differs, by up to 0.6 either way; all fall by ``loss``."""

    def draw(chance: np.random.Generator, n: int) -> Scores:
        return 0.7 - loss + chance.uniform(-0.28, 0.28, n) * (chance.random(n) < 0.1), np.full(n, 0.7)

    return draw


def sorted_file(chance: np.random.Generator, n: int) -> Scores:
    """The first tenth of a file turns wrong, the last tenth right: nothing is lost."""
    del chance
    at = np.arange(n)
    return _right(at >= n // 10), _right(at < n - n // 10)


FOUND: Final = (
    World("20 of 200 prompts turn wrong, none back", turned, 200),
    World("right in 90 % against 80 %, independently", independent(0.9, 0.8), 50, rights=(0.9, 0.8)),
    World("right in 90 % against 80 %, independently", independent(0.9, 0.8), 100, rights=(0.9, 0.8)),
    World("right in 90 % against 80 %, independently", independent(0.9, 0.8), 200, rights=(0.9, 0.8)),
    World("right in 90 % against 70 %, independently", independent(0.9, 0.7), 100, rights=(0.9, 0.7)),
)
"""What a rule shall find; the first one in 95 of 100 runs."""
NOTHING_LOST: Final = (
    World("90 % right", independent(0.9, 0.9), 200),
    World("90 % right", independent(0.9, 0.9), 50),
    World("90 % right", independent(0.9, 0.9), 20),
    World("50 % right", independent(0.5, 0.5), 50),
    World("9 cases in a run, 90 % right", independent(0.9, 0.9), 20, cases=9),
    World("uneven prompts, each asked 4 times", uneven(0.0), 50, repeats=4),
    World("greedy, each asked twice", independent(0.8, 0.8), 50, repeats=2, greedy=True),
    World("parts: 4 checks, 90 % passed", parts(0.9, 0.9), 50),
    World("parts, each prompt asked twice", parts(0.9, 0.9), 25, repeats=2),
    World("one score in ten differs", few_differ(0.0), 50),
)
"""The candidate is as good as the baseline."""
AT_LIMIT: Final = (
    World("90 % against 88 %", independent(0.9, 0.88), 200),
    World("90 % against 88 %", independent(0.9, 0.88), 50),
    World("90 % against 88 %", independent(0.9, 0.88), 20),
    World("all right against 98 %", rare, 200),
    World("50 % against 48 %", independent(0.5, 0.48), 50),
    World("9 cases in a run, 90 % against 88 %", independent(0.9, 0.88), 20, cases=9),
    World("uneven prompts, each asked 4 times", uneven(LIMIT), 50, repeats=4),
    World("greedy, each asked twice", independent(0.8, 0.78), 50, repeats=2, greedy=True),
    World("parts: 4 checks, 90 % against 88 %", parts(0.9, 0.88), 50),
    World("parts, each prompt asked twice", parts(0.9, 0.88), 25, repeats=2),
    World("one score in ten differs, all fall", few_differ(LIMIT), 50),
    World("parts: 4 checks, 90 % against 88 %", parts(0.9, 0.88), 200),
)
"""The candidate is worse by just the two points that the rule allows."""
SORTED: Final = World("a sorted file: first 20 rows lost, last 20 won", sorted_file, 200, in_order=True)
