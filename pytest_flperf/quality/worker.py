"""Worker of the scoring process: scores answers, checks expectations."""

from __future__ import annotations

import json
from typing import Final

from pytest_flperf.bounded.worker import Work
from pytest_flperf.quality.expectations import problem_of, score_by

__all__ = ["CHECK", "prepare"]

CHECK: Final = ""
"""The task whose items are expectations, as JSON; any other task is an expectation, and its items are answers."""


def prepare(task: str) -> Work:
    """Return the work of one task; raises what makes it impossible.

    It scores answers by an expectation, or checks expectations (:data:`CHECK`).
    """
    if task == CHECK:
        return lambda item: problem_of(json.loads(item))
    return score_by(json.loads(task))
