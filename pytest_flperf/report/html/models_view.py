"""Models side by side: a card for each, and a heat map of scenarios."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

from pytest_flperf.report.answer_sentence import answer_of, goal_words
from pytest_flperf.report.efficiency_words import MIXED, cost_cell, cost_heading
from pytest_flperf.report.figures import NOTHING, errors, number, statistic
from pytest_flperf.report.html.charts import colour_class
from pytest_flperf.report.html.content import CardRow, Cell, HeatCell, HeatMap, ModelCard, Table
from pytest_flperf.report.rivals import shown_models
from pytest_flperf.report.sentences import models_of
from pytest_flperf.results.answer import GoalName, HeldLoad, Ranking
from pytest_flperf.results.capacity import load_unit
from pytest_flperf.results.records import CaseResult, Run

__all__ = ["MOST_CARDS", "Groups", "cards_table", "heat_maps", "model_cards"]

Groups = Mapping[str, Mapping[str, CaseResult]]
"""Cases by scenario (with its point of the matrix, its suite and host where there are several), then by model."""
MOST_CARDS: Final = 4
"""Models that have a card; more are a table."""
_DENSE: Final = 100
_SHADES: Final = (1.0, 1.1, 1.5, 3.0, inf)
"""Largest multiple of the best value of each shade."""
_POINTS: Final = (0.0, 2.0, 10.0, 30.0, inf)
"""Most percentage points behind the best value of each shade."""
_UNITS: Final[Mapping[GoalName, str]] = {
    "first_token": "ms",
    "whole_answer": "ms",
    "throughput": "tokens/s",
    "steadiness": "× the median gap",
    "memory": "MB",
    "quality": "%",
}


# ---- cards


def model_cards(run: Run) -> tuple[ModelCard, ...]:
    """A card for each model that was ranked by any goal; empty with a single one."""
    found = answer_of(run)
    models = models_of(run.cases)
    names = shown_models(models)
    return tuple(
        ModelCard(names[model], colour_class(series), rows)
        for series, model in enumerate(models)
        if (rows := _rows(model, found.rankings, found.loads, run.cases)) and len(models) > 1
    )


def cards_table(cards: Sequence[ModelCard]) -> Table | None:
    """The cards as a table, where there are too many; None for a few."""
    if len(cards) <= MOST_CARDS:
        return None
    labels = list(dict.fromkeys(row.label for card in cards for row in card.rows))
    rows = []
    for card in cards:
        by_label = {row.label: row for row in card.rows}
        cells = (by_label.get(label) for label in labels)
        rows.append(
            (
                Cell(card.name),
                *(Cell(NOTHING) if row is None else Cell(f"{row.value} {row.unit}", row.tone) for row in cells),
            )
        )
    return Table("Models", ("model", *labels), tuple(rows))


def _rows(
    model: str, rankings: Sequence[Ranking], loads: Sequence[HeldLoad], cases: Sequence[CaseResult]
) -> tuple[CardRow, ...]:
    rows = [row for ranking in rankings if (row := _ranked(model, ranking)) is not None]
    if not rows:
        return ()
    held = [each for each in loads if each.model == model]
    if held:
        rows.append(_held(held[0]))
    own = [case.requests for case in cases if case.model == model]
    failed = sum(each.failed for each in own)
    total = sum(each.total for each in own)
    return (*rows, CardRow("Failed requests", f"{failed} of {total}", tone="bad" if failed else ""))


def _ranked(model: str, ranking: Ranking) -> CardRow | None:
    standing = next((each for each in ranking.standings if each.model == model), None)
    if standing is None or len(ranking.standings) < 2:
        return None
    scale = 100 if ranking.goal == "quality" else 1
    largest = max(each.value for each in ranking.standings)
    return CardRow(
        goal_words(ranking.goal).capitalize(),
        number(scale * standing.value),
        _UNITS[ranking.goal],
        share=100 * standing.value / largest if largest else 0.0,
        tone="good" if ranking.winner == model else "",
    )


def _held(load: HeldLoad) -> CardRow:
    if load.highest is None:
        return CardRow("Load within budget", "none", tone="bad")
    return CardRow(
        "Load within budget", f"{load.highest:.4g}{'' if load.bounded else ' or more'}", load_unit(load.over)
    )


# ---- heat maps


@dataclass(frozen=True, slots=True)
class _Heat:
    caption: str
    value: Callable[[CaseResult], float | None]
    text: Callable[[CaseResult], str]
    higher_is_better: bool = False
    in_points: bool = False
    """Whether values are percentages, which differ by points."""


def _of(caption: str, metric: str, which: str, *, higher: bool = False) -> _Heat:
    def value(case: CaseResult) -> float | None:
        found = case.metrics.get(metric)
        return None if found is None else found.statistic(which)

    return _Heat(caption, value, lambda case: statistic(case, metric, which), higher)


def _mean_quality(case: CaseResult) -> float | None:
    found, quality = case.metrics.get("quality"), case.answer_quality
    mean = quality.mean if quality is not None else None if found is None else found.mean
    return None if mean is None else 100 * mean


def _quality_text(case: CaseResult) -> str:
    return number(_mean_quality(case))


_HEATS: Final = (
    _of("TTFT p50, ms", "ttft_ms", "p50"),
    _of("TTFT p95, ms", "ttft_ms", "p95"),
    _of("End to end p50, ms", "e2e_ms", "p50"),
    _of("TPOT p50, ms", "tpot_ms", "p50"),
    _of("Tokens/s of one request, p50", "tps", "p50", higher=True),
    _Heat("Tokens/s of the case", lambda case: case.tps_total, lambda case: number(case.tps_total), True),
    _Heat("Quality, %", _mean_quality, _quality_text, True, in_points=True),
    _Heat("Cost of 1,000 answers", lambda case: case.cost_per_1k, lambda case: cost_cell(case, with_currency=True)),
    _Heat("Energy per answer, J", lambda case: case.energy_per_answer_j, lambda case: number(case.energy_per_answer_j)),
    _Heat("Failed requests", lambda case: float(case.requests.failed) if case.requests.total else None, errors),
)


def heat_maps(run: Run, groups: Groups) -> tuple[HeatMap, ...]:
    """A map of scenarios × models for each metric that has values; none with a single model."""
    models = models_of(run.cases)
    if len(models) < 2:
        return ()
    names = shown_models(models)
    maps = []
    one_currency = cost_heading(run.cases) != MIXED
    for heat in (heat for heat in _HEATS if one_currency or not heat.caption.startswith("Cost")):
        rows = tuple(
            (label, _heat_row(heat, [by_model.get(model) for model in models])) for label, by_model in groups.items()
        )
        if any(cell.text not in (NOTHING, "0") for _, cells in rows for cell in cells):
            columns = tuple(names[model] for model in models)
            relation = "points to the best of the row" if heat.in_points else "times the best of the row"
            maps.append(HeatMap(heat.caption, columns, rows, len(rows) * len(models) > _DENSE, relation))
    return tuple(maps)


def _heat_row(heat: _Heat, cases: Sequence[CaseResult | None]) -> tuple[HeatCell, ...]:
    values = [None if case is None else heat.value(case) for case in cases]
    known = [value for value in values if value is not None]
    best = (max if heat.higher_is_better else min)(known, default=None)
    of = _points_cell if heat.in_points else _heat_cell
    return tuple(
        HeatCell(NOTHING) if case is None else of(heat.text(case), value, best, len(known))
        for case, value in zip(cases, values, strict=True)
    )


def _points_cell(text: str, value: float | None, best: float | None, rivals: int) -> HeatCell:
    if value is None or best is None or rivals < 2:
        return HeatCell(text)
    if value == best:
        return HeatCell(text, "best", 0)
    behind = abs(best - value)
    shade = next(place for place, most in enumerate(_POINTS) if behind <= most)
    return HeatCell(text, f"-{number(behind)}", max(shade, 1))


def _heat_cell(text: str, value: float | None, best: float | None, rivals: int) -> HeatCell:
    if value is None or best is None or rivals < 2:
        return HeatCell(text)
    if value == best:
        return HeatCell(text, "best" if best else "", 0 if best else None)
    if not 0 < value < inf or not 0 < best < inf:
        return HeatCell(text, "", len(_SHADES) - 1)
    times = max(value, best) / min(value, best)
    shade = next(place for place, most in enumerate(_SHADES) if times <= most)
    return HeatCell(text, f"{number(times)}×", max(shade, 1))
