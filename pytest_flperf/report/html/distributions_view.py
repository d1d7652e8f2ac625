"""Distributions in the HTML report: an ECDF per scenario, models overlaid."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from pytest_flperf._text import amount
from pytest_flperf.report.figures import counted
from pytest_flperf.report.html.axes import Axis, axis_of
from pytest_flperf.report.html.charts import legend
from pytest_flperf.report.html.content import Panel, PanelGroup, Panels
from pytest_flperf.report.html.ecdf_chart import FINEST, LEFT, LENGTH, Curve, Limit, ecdf
from pytest_flperf.report.html.models_view import Groups
from pytest_flperf.report.rivals import shown_models
from pytest_flperf.report.samples import DRAWN_METRICS, CaseSamples
from pytest_flperf.results.metrics import METRICS
from pytest_flperf.results.records import CaseResult

__all__ = ["distributions", "limits_of"]

MOST_PANELS: Final = 40
"""Scenarios that are drawn."""
_MOST_CURVES: Final = 240
"""Curves of one metric."""
_FEW_CURVES: Final = 120
"""Beyond these, a page has only the two metrics that matter most."""
_COARSE: Final = 2.5
"""Smallest step that is drawn then."""
_TITLES: Final = {"ttft_ms": "TTFT", "tpot_ms": "TPOT", "e2e_ms": "End to end"}
_MOST: Final = ("ttft_ms", "e2e_ms")
_SHARES: Final = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "max": 1.0}
_LIMITS: Final = 2
_NEAR: Final = 3.0
"""An axis makes room for a limit up to so many times beyond the values."""
_WHAT: Final = (
    "Share of the requests that took at most this long, a step per request. The charts of a metric share one axis; a "
    "model's shape is at its median."
)
_DOTTED: Final = "Dotted: through the percentiles of the results file; single requests (samples.jsonl) were missing."


def distributions(groups: Groups, samples: Mapping[str, CaseSamples], models: Sequence[str]) -> Panels | None:
    """The section of distributions; None where nothing was measured.

    Args:
        groups: The cases by scenario and model.
        samples: What is known of single requests, by the node id of their case.
        models: All models of the run; their order gives them their colours and shapes.

    """
    shown = dict(_first(groups))
    count = sum(map(len, groups.values()))
    metrics, finest = (_MOST, _COARSE) if count > _FEW_CURVES else (DRAWN_METRICS, FINEST)
    drawn = [group for name in metrics if (group := _group(name, shown, samples, models, finest)) is not None]
    if not drawn:
        return None
    cases = [case for by_model in shown.values() for case in by_model.values()]
    known = [samples.get(case.nodeid) for case in cases]
    notes = [
        _WHAT,
        _DOTTED if any(each is None or not each.values for each in known) else "",
        "Of some cases only the first 10,000 requests." if any(each and not each.complete for each in known) else "",
        _left_out(len(groups), len(shown)),
    ]
    return Panels(tuple(drawn), legend(models), " ".join(filter(None, notes)))


def _left_out(scenarios: int, shown: int) -> str:
    return f"{shown} of {scenarios} scenarios are drawn, those with failed cases first." if scenarios > shown else ""


def _first(groups: Groups) -> list[tuple[str, Mapping[str, CaseResult]]]:
    """The groups that are drawn, in their order: those with failed cases are preferred."""
    names = list(groups)
    preferred = sorted(names, key=lambda name: all(_went_well(case) for case in groups[name].values()))
    chosen: set[str] = set()
    compared = any(case.against for by_model in groups.values() for case in by_model.values())
    most = _FEW_CURVES if compared else _MOST_CURVES  # both sides of comparisons need room as well
    curves = 0
    for name in preferred[:MOST_PANELS]:
        curves += len(groups[name])
        if chosen and curves > most:
            break
        chosen.add(name)
    return [(name, groups[name]) for name in names if name in chosen]


def _went_well(case: CaseResult) -> bool:
    return case.outcome not in ("failed", "error")


def _group(
    metric: str, groups: Groups, samples: Mapping[str, CaseSamples], models: Sequence[str], finest: float
) -> PanelGroup | None:
    unit = METRICS[metric].unit
    curves = {label: _curves(metric, by_model, samples, models) for label, by_model in groups.items()}
    limits = {label: limits_of(metric, by_model.values()) for label, by_model in groups.items()}
    curves = {label: found for label, found in curves.items() if found}
    if not curves:
        return None
    axis = _axis([each for found in curves.values() for each in found], [limits[label] for label in curves])
    title = _TITLES[metric]
    panels = tuple(
        Panel(
            label,
            _requests([curve.found.n for curve in found]),
            ecdf(
                f"ecdf-{metric}-{number}",
                f"{label}: {title}",
                f"{title}, {unit}",
                unit,
                axis,
                found,
                limits[label],
                finest,
            ),
        )
        for number, (label, found) in enumerate(curves.items())
    )
    return PanelGroup(f"{title}, {unit}", panels)


def _curves(
    metric: str, by_model: Mapping[str, CaseResult], samples: Mapping[str, CaseSamples], models: Sequence[str]
) -> list[Curve]:
    names = shown_models(models)
    found = []
    for model, case in by_model.items():
        summary = case.metrics.get(metric)
        if summary is not None and summary.max > 0:
            known = samples.get(case.nodeid)
            values = known.values.get(metric, ()) if known is not None else ()
            found.append(Curve(names[model], models.index(model), summary, values))
    return found


def _requests(counts: Sequence[int]) -> str:
    least, most = min(counts), max(counts)
    if least != most:
        return f"{least} to {most} requests each"
    return counted(most, "request") + " each" * (len(counts) > 1)


def limits_of(metric: str, cases: Iterable[CaseResult]) -> tuple[Limit, ...]:
    """The budgets of a metric that an ECDF can show, strictest first."""
    found = {
        (verdict.limit, verdict.statistic): Limit(
            verdict.limit,
            f"{verdict.statistic} ≤ {amount(verdict.limit, METRICS[metric].unit)}",
            _SHARES[verdict.statistic],
        )
        for case in cases
        for verdict in case.budgets
        if verdict.metric == metric and verdict.statistic in _SHARES and verdict.limit > 0
    }
    return tuple(found[key] for key in sorted(found)[:_LIMITS])


def _axis(curves: Iterable[Curve], limits: Iterable[Sequence[Limit]]) -> Axis:
    ends = [end for curve in curves for end in (curve.found.min, curve.found.max)]
    low, high = min(ends), max(ends)
    near = [each.value for some in limits for each in some if low / _NEAR <= each.value <= high * _NEAR]
    return axis_of([*ends, *near], LEFT, LENGTH, ticks=5)
