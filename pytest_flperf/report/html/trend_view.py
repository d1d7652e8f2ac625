"""HTML page of trends: a panel per case, and a table of its numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_flperf.report.figures import counted
from pytest_flperf.report.html.content import Cell, Table, Tone
from pytest_flperf.report.html.trend_chart import LEGEND, TrendChart, trend_panels
from pytest_flperf.report.trend_words import UNLIKE, UNLIKE_WORDS, change_words, model_words, value_words

if TYPE_CHECKING:
    from markupsafe import Markup

    from pytest_flperf.history.trends import Trend

__all__ = ["TrendPage", "trend_page"]


@dataclass(frozen=True, slots=True)
class TrendPage:
    """The page contents of trends."""

    title: str
    sentence: str
    legend: str
    panels: tuple[Markup, ...]
    table: Table


def trend_page(chart: TrendChart, sentence: str) -> TrendPage:
    """Build the page; ``sentence`` says what the words rest on."""
    left = f" {counted(chart.left_out, 'more case')} in the table only." if chart.left_out else ""
    unlike = f" {UNLIKE}: {UNLIKE_WORDS}." if any(trend.unlike for trend in chart.trends) else ""
    return TrendPage(chart.title, sentence + unlike + left, LEGEND, trend_panels(chart), _table(chart))


def _table(chart: TrendChart) -> Table:
    head = ("scenario", "model", "host", "runs", UNLIKE, "from", "last", "change", "verdict")
    rows = [_row(trend, word, in_points=chart.in_points) for trend, word in zip(chart.trends, chart.words, strict=True)]
    return Table(chart.title, head, tuple(rows), names=3)


def _row(trend: Trend, word: str, *, in_points: bool) -> tuple[Cell, ...]:
    last = trend.last
    tone: Tone = "bad" if word in ("slower", "worse") else "good" if word else ""
    cells: Sequence[str] = (
        last.scenario, model_words(last), last.host, str(len(trend.points)), str(trend.unlike or ""),
        value_words(trend.start), value_words(last), change_words(trend, in_points=in_points),
    )  # fmt: skip
    return (*map(Cell, cells), Cell(word, tone))
