"""Duration estimates of cases: from the newest run, else from max_tokens."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from pytest_flperf.foundry_host.embedded import find_embedded
from pytest_flperf.results.run_folder import LATEST
from pytest_flperf.session.time_left import Expected
from pytest_flperf.suite.model import Case

__all__ = ["estimated_seconds", "expected_durations", "known_seconds"]

_EMBEDDED_TPS: Final = 3_000.0
"""Tokens per second of the embedded models on two cores; the smaller one is three times as fast."""
_TPS: Final = 30.0
"""Tokens per second of a real model of a few billion parameters on a laptop."""
_TOKENS: Final = 256
_TTFT_S: Final = 0.5
_LARGEST_BYTES: Final = 64 << 20


def known_seconds(report_dir: Path) -> dict[str, float]:
    """Mean seconds per request by node id, from the newest run.

    Empty without a run.
    """
    path = report_dir / LATEST / "results.json"
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            return {}
        record: Any = json.loads(path.read_text(encoding="utf-8"))
        means = {case["nodeid"]: case.get("metrics", {}).get("e2e_ms", {}).get("mean") for case in record["cases"]}
        return {
            nodeid: mean / 1000
            for nodeid, mean in means.items()
            if isinstance(mean, int | float) and 0 < mean < math.inf
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError):
        return {}  # an estimate is not worth an error


def estimated_seconds(case: Case, known: Mapping[str, float]) -> tuple[float, bool]:
    """Estimated seconds of a case, and whether they are known.

    Known: from an earlier run, or from the duration or rate of the load.  Otherwise they are a guess.
    """
    settings = case.scenario.settings
    load = settings.load
    if load.duration_s is not None and settings.iterations is None:
        return load.duration_s, True
    if load.kind == "search":
        steps = 2 * math.log2((load.search_to or 2.0) / load.search_from) + 1
        return steps * (load.duration_s or 10.0), False
    if load.kind == "trace" and case.scenario.source is not None:
        return case.scenario.source.trace[: settings.iterations][-1].due_s, True
    if load.is_open and load.rate is not None:
        return (settings.iterations or 0) / load.rate + load.ramp_up_s / 2, True
    measured = known.get(case.nodeid)
    embedded = find_embedded(case.model) is not None
    tokens = settings.max_tokens or _TOKENS
    guess = tokens / _EMBEDDED_TPS if embedded else _TTFT_S + tokens / _TPS
    count = settings.iterations or 0
    rounds = -(-count // settings.concurrency) + -(-settings.warmup_requests // settings.concurrency)
    each_s = (guess if measured is None else measured) + load.think_time_s
    return rounds * each_s + load.ramp_up_s, measured is not None


def expected_durations(
    cases: Mapping[str, Case], report_dir: Path, in_turns: Callable[[Case], bool]
) -> dict[str, Expected]:
    """How long each case may take, by node id.

    Args:
        cases: The cases by node id, in order.
        report_dir: Where the newest run is.
        in_turns: Whether a case is measured in turns with another side.

    """
    known = known_seconds(report_dir)
    found = {}
    for nodeid, case in cases.items():
        load = case.scenario.settings.load
        by_time = in_turns(case) or load.kind == "search" or load.duration_s is not None
        found[nodeid] = Expected(estimated_seconds(case, known)[0], by_time)
    return found
