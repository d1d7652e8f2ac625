"""Conditions of a measurement, as a digest.

Runs of the same case under other conditions can't be compared with it.
"""

from __future__ import annotations

import hashlib
import json
from typing import Final

from pytest_flperf.results.records import Measured

__all__ = ["conditions_of"]

_NOT_THE_LOAD: Final = ("iterations", "warmup", "duration_s")
"""How long it was measured: that changes how certain the numbers are, not what they describe."""
_TARGET: Final = ("backend", "transport", "device", "execution_provider", "variant")
_BYTES: Final = 8


def conditions_of(case: Measured) -> str:
    """Digest of load, settings, prompts, target, and whether measured in turns."""
    left_out = _NOT_THE_LOAD if case.search is None else (*_NOT_THE_LOAD, case.search.over)  # that is a result
    load = {} if case.load is None else {k: v for k, v in case.load.to_dict().items() if k not in left_out}
    target = {} if case.target is None else case.target.to_dict()
    in_turns = case.reference is not None or any(side.kind == "pairs" for side in case.against)
    known = [load, dict(case.settings), case.prompts_digest, [target.get(name) for name in _TARGET], in_turns]
    if case.search is not None:
        known.append(case.search.over)
    text = json.dumps(known, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode("utf-8", "backslashreplace"), digest_size=_BYTES).hexdigest()
