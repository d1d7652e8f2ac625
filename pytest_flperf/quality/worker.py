"""Worker of the scoring process: scores answers, checks expectations."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any, Final

from pytest_flperf.bounded.worker import Work
from pytest_flperf.quality.expectations import parts_by, problem_of

__all__ = ["CHECK", "ROWS", "prepare"]

CHECK: Final = ""
"""The task whose items are expectations, as JSON."""
ROWS: Final = "rows"
"""The task whose items are pairs of an expectation, as JSON, and an answer.

Any other task is an expectation, and its items are answers.
"""


def prepare(task: str) -> Work:
    """Return the work of one task; raises what makes it impossible.

    It scores answers, or checks expectations (:data:`CHECK`).
    """
    if task == CHECK:
        return lambda item: problem_of(json.loads(item))
    if task == ROWS:
        return _of_rows()
    return parts_by(json.loads(task))


def _of_rows() -> Work:
    import jsonschema  # here, where it costs no answer its time
    import regex

    assert jsonschema
    assert regex
    scorer = lru_cache(1_024)(lambda expected: parts_by(json.loads(expected)))

    def score(item: Any) -> float | list[float]:
        expected, answer = item
        found: float | list[float] = scorer(expected)(answer)
        return found

    return score
