"""Parquet export of runs: the CSV columns with types.

pyarrow is imported only when it is needed.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from pytest_flperf.report.csv import COLUMNS, COUNT_COLUMNS, NOBODY_JUDGED, SWITCH_COLUMNS, TEXT_COLUMNS, case_values

if TYPE_CHECKING:
    from pytest_flperf.results.judged import Judged
    from pytest_flperf.results.records import Run

__all__ = ["PARQUET_EXTRA", "ParquetType", "can_write_parquet", "parquet", "parquet_of"]

ParquetType: TypeAlias = Literal["string", "bool_", "int64", "float64"]

PARQUET_EXTRA: Final = "pip install 'pytest-flperf[parquet]'"


def can_write_parquet() -> bool:
    """Whether pyarrow can be imported."""
    try:
        import pyarrow.parquet
    except ImportError:
        return False
    del pyarrow
    return True


def parquet(runs: Iterable[Run], judged: Mapping[str, Judged] = NOBODY_JUDGED) -> bytes:
    """Parquet file of runs: a row per case, null where not measured.

    Rows are in the order of the runs.  Texts are those of the results, not those of the CSV, which are made safe for
    spreadsheets.  ``judged``: what judges said, by the id of the run.
    """
    types = {name: _type_of(name) for name in COLUMNS}
    return parquet_of(types, [case_values(run, case, judged.get(run.id)) for run in runs for case in run.cases])


def parquet_of(types: Mapping[str, ParquetType], rows: Sequence[Sequence[Any]]) -> bytes:
    """Parquet file of any rows.

    Args:
        types: Of each column, by name and in order.
        rows: With a value for each column; None: null.

    """
    import pyarrow
    import pyarrow.parquet

    arrays = [
        pyarrow.array([_plain(row[number], kind) for row in rows], getattr(pyarrow, kind)())
        for number, kind in enumerate(types.values())
    ]
    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(arrays, names=list(types)), out)
    return out.getvalue()


def _type_of(name: str) -> ParquetType:
    if name in TEXT_COLUMNS:
        return "string"
    if name in SWITCH_COLUMNS:
        return "bool_"
    return "int64" if name in COUNT_COLUMNS else "float64"


def _plain(value: Any, kind: ParquetType) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()  # lone surrogates are no UTF-8
    if isinstance(value, float) and math.isnan(value):
        return None
    return int(value) if value is not None and kind == "int64" else value
