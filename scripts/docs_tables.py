"""A hook of MkDocs: puts tables from the code, and sections of the README, where a page asks for them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pytest_flperf.options import OPTIONS
from pytest_flperf.results.metrics import METRICS, RUN_METRICS, Metric

_PLACE = re.compile(r"<!-- (table|readme): (.+?) -->")
_LINK = re.compile(r"\[([^\]]+)\]\((?!https?:|#)([^)]+)\)")
_README = Path(__file__).parents[1] / "README.md"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill a page in; raises KeyError for a table or a section that there isn't."""
    return _PLACE.sub(lambda found: (table if found[1] == "table" else section)(found[2]), markdown)


def section(name: str) -> str:
    """The text of a section of the README, without its heading; its links are those of a page in ``docs``."""
    found = re.search(rf"^## {re.escape(name)}\n(.*?)(?=^## |\Z)", _README.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    if found is None:
        raise KeyError(name)
    return _LINK.sub(_link_of_page, found[1].strip())


def _link_of_page(link: re.Match[str]) -> str:
    """A link of the README on a page: to another page, else its text, since the site has nothing else."""
    text, target = link.groups()
    return f"[{text}]({target.removeprefix('docs/')})" if target.startswith("docs/") else text


def table(name: str) -> str:
    """A table in Markdown: ``options``, or metrics by what they are measured per."""
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
    return _table(("option", "ini twin", "meaning"), rows)


def _metrics(metrics: Iterable[Metric]) -> str:
    rows = [(f"`{metric.name}`", metric.unit, _cell(metric.definition)) for metric in metrics]
    return _table(("metric", "unit", "definition"), rows)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
