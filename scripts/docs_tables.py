"""Renew the tables of the documentation that come from the code: options and metrics.

``python scripts/docs_tables.py`` writes them between ``<!-- table: NAME -->`` and ``<!-- end of table -->``.  The tests
fail where a committed table is not the code's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from pytest_flperf.options import OPTIONS
from pytest_flperf.results.metrics import METRICS, RUN_METRICS, Metric

DOCS = Path(__file__).parents[1] / "docs"
_PLACE = re.compile(r"(<!-- table: (.+?) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def renewed(page: str) -> str:
    """Return a page with its tables as the code has them; raises KeyError for a table that there isn't."""
    return _PLACE.sub(lambda place: f"{place[1]}\n{table(place[2])}\n\n{place[3]}", page)


def table(name: str) -> str:
    """Return a table in Markdown: ``options``, or the metrics that are measured per *name*."""
    if name == "options":
        return _options()
    metrics = [*METRICS.values(), *RUN_METRICS.values()]
    chosen = [metric for metric in metrics if metric.per == name]
    if not chosen:
        raise KeyError(name)
    return _metrics(chosen)


def _options() -> str:
    rows = []
    for option in OPTIONS:
        value = f"={option.metavar}" if option.metavar else ""
        twin = f"`{option.dest}`" if option.ini else ""
        rows.append((f"`{option.flag}{value}`", twin, _cell(option.text.replace("%%", "%"))))
    return _table(("option", "ini key", "meaning"), rows)


def _metrics(metrics: Iterable[Metric]) -> str:
    rows = [(f"`{metric.name}`", metric.unit, _cell(metric.definition)) for metric in metrics]
    return _table(("metric", "unit", "definition"), rows)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def main() -> None:
    """Renew every page."""
    for path in sorted(DOCS.glob("*.md")):
        text = path.read_text(encoding="utf-8")
        new = renewed(text)
        if new != text:
            path.write_text(new, encoding="utf-8")
            print(f"renewed {path.name}")


if __name__ == "__main__":
    main()
