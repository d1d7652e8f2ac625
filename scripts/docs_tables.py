"""Renew the tables of the documentation that come from the code: options, metrics, keys of suites, results, store.

``python scripts/docs_tables.py`` writes them between ``<!-- table: NAME -->`` and ``<!-- end of table -->``.  The tests
fail where a committed table is not the code's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from pytest_flperf.history.tables import METADATA
from pytest_flperf.options import OPTIONS
from pytest_flperf.results.metrics import METRICS, Metric
from pytest_flperf.results.records import load_schema
from pytest_flperf.results.run_metrics import RUN_METRICS
from pytest_flperf.suite.schema.document import json_schema

_LARGE = 10**12
_SCHEMAS: Mapping[str, Callable[[], Mapping[str, Any]]] = {"suite": json_schema, "results": load_schema}
DOCS = Path(__file__).parents[1] / "docs"
_PLACE = re.compile(r"(<!-- table: (.+?) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def renewed(page: str) -> str:
    """Return a page with its tables as the code has them; raises KeyError for a table that there isn't."""
    return _PLACE.sub(lambda place: f"{place[1]}\n{table(place[2])}\n\n{place[3]}", page)


def table(name: str) -> str:
    """Return a table in Markdown; raises KeyError where there is none of that name.

    ``options``; ``suite.NAME`` and ``results.NAME``: the keys of that object of the schema; ``store``: its columns; any
    other: the metrics that are measured per *name*.
    """
    if name == "options":
        return _options()
    if name == "store":
        return _store()
    kind, _, part = name.partition(".")
    if kind in _SCHEMAS:
        return _keys(_SCHEMAS[kind](), part, with_defaults=kind == "suite")
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


def _store() -> str:
    rows = [
        (f"`{each.name}`", ", ".join(f"`{column.name}`" for column in each.columns))
        for each in METADATA.sorted_tables
        if each.name != "flperf_schema"
    ]
    return _table(("table", "columns"), sorted(rows))


def _keys(schema: Mapping[str, Any], part: str, *, with_defaults: bool) -> str:
    """Keys of one object of a JSON Schema; those that scenarios share with the defaults stand once."""
    known = schema["$defs"]
    keys = dict((known[part] if part else schema)["properties"])
    if part == "ScenarioForm":
        keys = {name: value for name, value in keys.items() if name not in known["DefaultsForm"]["properties"]}
    required = (known[part] if part else schema).get("required", ())
    rows = []
    for name, value in keys.items():
        default = "required" if name in required else _shown(value["default"]) if "default" in value else ""
        rows.append((f"`{name}`", _cell(_values(value)), default, _cell(value.get("description", ""))))
    if with_defaults:
        return _table(("key", "values", "default", "meaning"), rows)
    return _table(("key", "values", "meaning"), [(row[0], row[1], row[3]) for row in rows])


def _values(value: Mapping[str, Any]) -> str:
    """What a key may hold, in words."""
    if "$ref" in value:
        anchor = _anchor(value["$ref"].rpartition("/")[2])
        return f"[{anchor.replace('-', ' ')}](#{anchor})"
    for several in ("anyOf", "oneOf"):
        if several in value:
            return ", ".join(dict.fromkeys(_values(each) for each in value[several]))
    if "enum" in value or "const" in value:
        return ", ".join(f"`{_json(each)}`" for each in value.get("enum", [value.get("const")]))
    kinds = value.get("type", "object")
    words = [_kind(value, kind) for kind in ([kinds] if isinstance(kinds, str) else kinds)]
    return ", ".join(dict.fromkeys(words))


def _kind(value: Mapping[str, Any], kind: str) -> str:
    if kind == "array":
        items = {name: each for name, each in value.get("items", {}).items() if name not in ("minimum", "maximum")}
        return f"list of {_values(items)}" if items else "list"
    if kind == "object":
        each = value.get("additionalProperties")
        return f"mapping to {_values(each)}" if isinstance(each, dict) and each else "mapping"
    word = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}.get(kind, kind)
    low, high = value.get("minimum"), value.get("maximum")
    if kind in ("integer", "number") and (low is not None or high is not None):
        most = high is not None and abs(high) < _LARGE
        if low is not None and abs(low) < _LARGE:
            word += f" {low:g} to {high:,}" if most else f" from {low:g}"
    return word


def _shown(default: Any) -> str:
    return f"`{_json(default)}`"


def _json(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _anchor(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower().replace("_", "-").removesuffix("-form")


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
