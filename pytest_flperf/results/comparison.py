"""Comparison of a case with a stored run, or an interleaved measurement."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal, TypeAlias

from pytest_flperf.results.measured import Distribution, Requests
from pytest_flperf.results.serialize import Interval, Reader, Record, interval_of, many
from pytest_flperf.results.serving import Target
from pytest_flperf.results.sides import Sides

__all__ = ["DEFAULT_SCOPE", "IMPLIED_SCOPE", "Against", "Comparison", "Missing", "ReferenceLoad", "Word"]


def _open_interval(value: Any) -> Interval:
    """The two ends of an interval; a null upper end is infinite."""
    low, high = value
    return interval_of((low, math.inf if high is None else high))


Word: TypeAlias = Literal["regressed", "improved", "unchanged", "undecided"]
Missing: TypeAlias = Literal["", "first", "not_accepted", "not_in_baseline", "unreadable", "candidate"]
"""Why there is nothing to compare with.

``first``: nothing was measured before under these conditions; ``not_accepted``: something was, but no measurement may
be a baseline; ``not_in_baseline``: the run that was named has no such case, or did not measure it to its end;
``unreadable``: the baseline can't be read; ``candidate``: the case itself was not measured to its end.
"""
DEFAULT_SCOPE: Final = "default"
"""Scope of the rules that apply where none was written; they fail nothing."""
IMPLIED_SCOPE: Final = "implied"
"""Scope of the rule on the error rate that comes with every written rule."""


@dataclass(frozen=True, slots=True)
class Comparison(Record):
    """One rule, such as ``ttft_ms.p50 > +10%``, and its verdict."""

    rule: str
    """As written, white space joined."""
    metric: str
    statistic: str | None
    """None for a metric that is one number for the case."""
    verdict: Word
    fails: bool = False
    """Whether it fails the case: a gate has the rule, and it regressed, or is undecided where that fails."""
    reason: str = ""
    """Why it is undecided; why it is unchanged though the interval shows an improvement; or why it regressed: it rose
    from 0, or whatever the latencies say."""
    baseline: float | None = None
    """In the metric's own unit."""
    candidate: float | None = None
    change_pct: float | None = None
    """By how much the number grew, as the method estimates it; None where the baseline is 0.  Of a share or a score
    (``error_rate``, ``quality.mean``) in percentage points, from 0 as well."""
    change_ci95_pct: Interval | None = None
    """Its upper end may be infinite (null in a file) while pairs are few."""
    probability: float | None = None
    """That the change is beyond the threshold for the worse, 0 to 1."""
    threshold_pct: float | None = None
    """From which change on it is a regression; negative for rates, whose fall is one."""
    threshold_floor: float | None = None
    """… and by how much at least, in the metric's own unit; None: no floor."""
    p_value: float | None = None
    """Of the test behind ``regressed``, before any correction."""
    comparisons: int = 1
    """Number of comparisons that share the run's error rate."""
    n_baseline: int = 0
    n_candidate: int = 0
    pairs: int | None = None
    """Pairs of turns that were measured interleaved; None where the sides were measured one after the other."""
    method: str = ""
    raw_change_pct: float | None = None
    """Of a change that is judged relative to a reference load: the change as measured."""
    raw_change_ci95_pct: Interval | None = None
    scope: str = ""
    """Where the rule was written: ``--flperf-fail-on``, ``scenario``, ``default`` …"""
    category: str = ""
    """Of quality: that of the prompts of one category; empty: of all."""

    _readers: ClassVar[Mapping[str, Reader]] = {
        "change_ci95_pct": _open_interval,
        "raw_change_ci95_pct": _open_interval,
    }


@dataclass(frozen=True, slots=True)
class ReferenceLoad(Record):
    """Reference load: a fixed load measured interleaved with a case.

    It makes runs of different days comparable.
    """

    target: Target | None = None
    requests: Requests = field(default_factory=Requests)
    metrics: Mapping[str, Distribution] = field(default_factory=dict)
    pairs: int = 0
    """Pairs of turns: one of the case, one of this load."""

    _readers: ClassVar[Mapping[str, Reader]] = {
        "target": Target.from_dict,
        "requests": Requests.from_dict,
        "metrics": lambda value: {name: Distribution.from_dict(item) for name, item in value.items()},
    }


@dataclass(frozen=True, slots=True)
class Against(Record):
    """The other side of a case's comparisons: the baseline."""

    kind: Literal["pairs", "run"]
    """``pairs``: measured interleaved with the case; ``run``: a stored run."""
    label: str
    """Name for people: the baseline as written, with the run's id where it is a run."""
    run_id: str | None = None
    started_at: str | None = None
    """Of a stored run; ISO 8601, UTC."""
    differs: tuple[str, ...] = ()
    """Differences other than the measured numbers, a line each: ``device: CPU → GPU``."""
    target: Target | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What its requests asked for."""
    requests: Requests = field(default_factory=Requests)
    error_rate: float | None = None
    metrics: Mapping[str, Distribution] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    pairs: int | None = None
    """How many pairs of turns were measured."""
    max_pairs: int | None = None
    sides: Mapping[str, Sides] = field(default_factory=dict)
    """Quantiles of the compared metrics of requests, on both sides; empty where single values were not known, and in
    files of earlier versions."""
    comparisons: tuple[Comparison, ...] = ()
    missing: Missing = ""
    """Why there is nothing to compare with, which makes every comparison ``undecided``; empty where there is."""

    _readers: ClassVar[Mapping[str, Reader]] = {
        "differs": tuple,
        "target": Target.from_dict,
        "settings": dict,
        "requests": Requests.from_dict,
        "metrics": lambda value: {name: Distribution.from_dict(item) for name, item in value.items()},
        "notes": tuple,
        "sides": lambda value: {name: Sides.from_dict(item) for name, item in value.items()},
        "comparisons": many(Comparison.from_dict),
    }
