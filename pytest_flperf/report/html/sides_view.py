"""Both sides of comparisons in the HTML report: their distributions, overlaid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pytest_flperf.gates.format import change, name, word
from pytest_flperf.report.html.axes import axis_of
from pytest_flperf.report.html.charts import legend
from pytest_flperf.report.html.content import Panel, PanelGroup, Panels, Tone
from pytest_flperf.report.html.ecdf_chart import LEFT, LENGTH, Curve, ecdf
from pytest_flperf.report.terminal.comparisons import Compared
from pytest_flperf.results.comparison import Comparison
from pytest_flperf.results.metrics import METRICS
from pytest_flperf.results.sides import drawn_metric

__all__ = ["seriousness", "sides_panels", "tone_of"]

_FINEST: Final = 1.0
_SERIOUS: Final = ("regressed", "undecided", "improved", "unchanged")
_WHAT: Final = (
    "Both sides: the baseline grey and dashed. Share of the requests that took at most this long, or were at most "
    "this fast."
)


def tone_of(comparison: Comparison) -> Tone:
    """Tone of a comparison: bad only where it fails."""
    if comparison.fails:
        return "bad"
    found: dict[str, Tone] = {"regressed": "doubt", "improved": "good", "undecided": "doubt"}
    return found.get(comparison.verdict, "")


def sides_panels(rows: Sequence[Compared], models: Sequence[str], most: int = 24) -> Panels | None:
    """A chart for each metric of requests that was compared; None where no single values are known.

    Args:
        rows: The comparisons.
        models: All models of the run; their order gives them their colours and shapes.
        most: How many charts are drawn, the most serious ones.

    """
    worst: dict[tuple[int, int, str], Compared] = {}
    for row in sorted(rows, key=seriousness):
        metric = row.comparison.metric
        if drawn_metric(metric) and metric in row.against.sides and metric in row.case.metrics:
            worst.setdefault((id(row.case), id(row.against), metric), row)
    if not worst:
        return None
    chosen = list(worst.values())[:most]
    several = len({row.case.model for row in rows}) > 1
    panels = tuple(_panel(f"sides-{number}", row, models, named=several) for number, row in enumerate(chosen))
    more = f" {most} of {len(worst)} are drawn, those that fail first." if len(worst) > most else ""
    return Panels((PanelGroup("", panels),), legend(models), _WHAT + more)


def seriousness(row: Compared) -> tuple[bool, int]:
    """Sort key of comparisons: those that fail first, then regressed, undecided, improved, unchanged ones."""
    return not row.comparison.fails, _SERIOUS.index(row.comparison.verdict)


def _panel(key: str, row: Compared, models: Sequence[str], *, named: bool) -> Panel:
    metric = row.comparison.metric
    title, unit = METRICS[metric].title, METRICS[metric].unit
    sides, theirs = row.against.sides[metric], row.against.metrics.get(metric)
    ours = row.case.metrics[metric]
    curves = [Curve("this run", models.index(row.case.model), ours, sides.candidate)]
    if theirs is not None:
        curves.append(Curve("baseline", 0, theirs, sides.baseline, faint=True))
    axis = axis_of([*sides.baseline, *sides.candidate], LEFT, LENGTH, ticks=5)
    caption = f"{row.scenario}{f' on {row.case.model}' * named}: {title}"
    said = " ".join(filter(None, (name(row.comparison), change(row.comparison), word(row.comparison))))
    drawn = ecdf(key, f"{caption}, both sides", f"{title}, {unit}", unit, axis, curves, finest=_FINEST)
    return Panel(caption, said, drawn, tone_of(row.comparison))
