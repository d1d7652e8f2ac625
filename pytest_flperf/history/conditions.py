"""Under what conditions a case was measured, as one short text: runs of the same case under others tell nothing."""

from __future__ import annotations

import hashlib
import json
from typing import Final

from pytest_flperf.results.records import CaseResult

__all__ = ["conditions_of"]

_NOT_THE_LOAD: Final = ("iterations", "warmup", "duration_s")
"""How long it was measured; that changes how sure its numbers are, and not what they are of."""
_TARGET: Final = ("backend", "transport", "device", "execution_provider", "variant")
_BYTES: Final = 8


def conditions_of(case: CaseResult) -> str:
    """A digest of the load, the prompts, what the requests asked for, what served them, and whether in turns."""
    left_out = _NOT_THE_LOAD if case.search is None else (*_NOT_THE_LOAD, case.search.over)  # that is a result
    load = {} if case.load is None else {k: v for k, v in case.load.to_dict().items() if k not in left_out}
    target = {} if case.target is None else case.target.to_dict()
    in_turns = case.reference is not None or any(side.kind == "pairs" for side in case.against)
    known = [load, dict(case.settings), case.prompts_digest, [target.get(name) for name in _TARGET], in_turns]
    if case.search is not None:
        known.append(case.search.over)
    text = json.dumps(known, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode("utf-8", "backslashreplace"), digest_size=_BYTES).hexdigest()
