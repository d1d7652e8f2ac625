"""Paired results: comparisons of two sides, ratios to a reference load."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, Final

from pytest_flperf._text import printable
from pytest_flperf.gates.comparison import compare_pairs
from pytest_flperf.gates.rules import Rule, parse_rule, rules_for
from pytest_flperf.history.run_differences import sides_differ
from pytest_flperf.measurement.paired_turns import BASELINE, CANDIDATE
from pytest_flperf.measurement.standings import OtherSide, Standings
from pytest_flperf.results.comparison import Against, Comparison, ReferenceLoad
from pytest_flperf.results.measured import Distribution
from pytest_flperf.results.metrics import RATIOS
from pytest_flperf.results.records import Measured
from pytest_flperf.results.sides import Sides, drawn_metric
from pytest_flperf.stats.descriptive.summary import distribution
from pytest_flperf.stats.inference.findings import ErrorRates

__all__ = ["REFERENCE_TERMS", "PairTerms", "compares_gaps", "differences_of", "with_other_side"]

REFERENCE_TERMS: Final[Mapping[str, Any]] = {"kind": "reference"}
"""Terms of a reference load, which decides nothing."""
_PAIRS: Final = "pairs"
_SHARED_CACHE: Final = (
    "both sides share the server's prompt cache, so each prompt has nine digits of its own in front, drawn by chance; "
    "that alone can make answers differ"
)


@dataclass(frozen=True, slots=True)
class PairTerms:
    """Terms of an interleaved comparison of two sides."""

    label: str
    """Name of the other side, for people."""
    rules: tuple[Rule, ...]
    comparisons: int = 1
    """Number of comparisons that share the run's error rate."""
    fail_undecided: bool = False
    first_pass: int = 0
    """Requests of a side that ask each prompt of a file once, in its order; 0: prompts have no such order."""

    def to_record(self) -> dict[str, Any]:
        """The terms as plain data."""
        rules = [[rule.expression, rule.scope] for rule in self.rules]
        return {
            "kind": _PAIRS,
            "label": self.label,
            "rules": rules,
            "comparisons": self.comparisons,
            "fail_undecided": self.fail_undecided,
            "first_pass": self.first_pass,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> PairTerms:
        """The inverse of :meth:`to_record`; raises KeyError, TypeError or ValueError."""
        comparisons, first_pass = record["comparisons"], record.get("first_pass", 0)
        counts = type(comparisons) is int and comparisons >= 1 and type(first_pass) is int and first_pass >= 0
        if record["kind"] != _PAIRS or not counts:
            raise ValueError("no terms of a comparison by pairs")
        rules = tuple(parse_rule(str(text), str(scope)) for text, scope in record["rules"])
        return cls(str(record["label"]), rules, comparisons, record["fail_undecided"] is True, first_pass)

    def compared(self, case: Measured, other: Measured, standings: Standings) -> tuple[Comparison, ...]:
        """Compare both sides, rule by rule."""
        rules = rules_for(case.scenario, self.rules)
        pairs = {rule.measure: standings.pairs(rule.metric, rule.category) for rule in rules}
        return compare_pairs(
            case,
            other,
            pairs,
            self.rules,
            ErrorRates(comparisons=self.comparisons),
            max(standings.look, 1),
            standings.looks,
            first_pass=self.first_pass,
            fail_undecided=self.fail_undecided,
        )

    def sides(self, scenario: str, standings: Standings) -> dict[str, Sides]:
        """Quantiles of both sides, of each metric that a rule names."""
        metrics = {rule.metric for rule in rules_for(scenario, self.rules) if drawn_metric(rule.metric)}
        both = {
            metric: Sides.of_values(standings.values(metric, BASELINE), standings.values(metric, CANDIDATE))
            for metric in sorted(metrics)
        }
        return {metric: found for metric, found in both.items() if found is not None}


def compares_gaps(terms: Mapping[str, Any], scenario: str) -> bool:
    """Whether the terms compare the gaps between arrivals."""
    if terms == REFERENCE_TERMS:
        return False
    return any(rule.metric == "itl_ms" for rule in rules_for(scenario, PairTerms.from_record(terms).rules))


def with_other_side(result: Measured, other: OtherSide, terms: Mapping[str, Any]) -> Measured:
    """Add the other side of a paired measurement to a result.

    Args:
        result: Of the case.
        other: The other side.
        terms: :data:`REFERENCE_TERMS`, or those of :class:`PairTerms`.

    Raises:
        ValueError: The terms are neither; also KeyError and TypeError.

    """
    if terms == REFERENCE_TERMS:
        return _with_reference(result, other)
    return _with_pairs(result, other, PairTerms.from_record(terms))


def _with_pairs(result: Measured, other: OtherSide, terms: PairTerms) -> Measured:
    theirs, standings = other.result, other.standings
    notes = tuple(note for note in theirs.notes if note not in result.notes)  # the case has what holds for both
    against = Against(
        kind="pairs",
        label=terms.label,
        target=theirs.target,
        settings=theirs.settings,
        differs=differences_of(theirs, result, terms.label),
        requests=theirs.requests,
        error_rate=theirs.error_rate,
        metrics=theirs.metrics,
        notes=(*notes, _SHARED_CACHE) if other.shared_cache else notes,
        pairs=len(standings.turns),
        sides=terms.sides(result.scenario, standings),
        comparisons=terms.compared(result, theirs, standings),
    )
    return replace(result, against=(*result.against, against))


def differences_of(theirs: Measured, result: Measured, label: str) -> tuple[str, ...]:
    """Differences of the two sides, one line each.

    Options of a backend stand in the label alone: each side has a server of its own then, whose port says nothing.
    """
    lines = sides_differ(theirs, result)
    if "options." not in label or "base_url=" in label:
        return lines
    return (f"baseline: {printable(label, 200)}", *(line for line in lines if not line.startswith("base_url: ")))


def _with_reference(result: Measured, other: OtherSide) -> Measured:
    theirs, standings = other.result, other.standings
    load = ReferenceLoad(theirs.target, theirs.requests, theirs.metrics, len(standings.turns))
    return replace(result, reference=load, metrics={**result.metrics, **_ratios(standings)})


def _ratios(standings: Standings) -> dict[str, Distribution]:
    """Per pair, the case's median time over the reference load's."""
    found = {}
    for metric, ratio in RATIOS.items():
        both = ((pair.candidate, pair.baseline) for pair in standings.pairs(metric))
        values = [median(ours) / median(theirs) for ours, theirs in both if ours and theirs and median(theirs) > 0]
        summary = distribution(values)
        if summary is not None:
            found[ratio] = summary
    return found
