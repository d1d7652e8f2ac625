"""Upper bounds of failure rates, given the failures that were seen."""

from __future__ import annotations

import math
from typing import Final

__all__ = ["requests_needed", "upper_bound"]

_HOPELESS: Final = 1e-9


def upper_bound(failed: int, total: int, confidence: float = 0.95) -> float:
    """Exact one-sided upper confidence bound of a failure rate.

    It is the highest rate at which so few would fail now and then.

    The rate at which ``failed`` of ``total`` or fewer fail with the probability 1 - confidence (Clopper and Pearson,
    "The use of confidence or fiducial limits illustrated in the case of the binomial", Biometrika 26(4), 1934).  Of
    none of n it is 1 - (1 - confidence)^(1/n).  Requests are taken to fail independently.  Raises ValueError for no
    request, or for more failures than requests.
    """
    if not 0 <= failed <= total or not total:
        raise ValueError(f"found {failed} of {total} requests, expected at least one, and no more failures than that")
    tail = 1 - confidence
    if failed == total:
        return 1.0
    if not failed:
        return -math.expm1(math.log(tail) / total)
    from scipy.special import betaincinv  # late: few budgets ask for it

    return float(betaincinv(failed + 1, total - failed, confidence))


def requests_needed(limit: float, confidence: float = 0.95) -> int | None:
    """Requests without a failure that prove a rate of ``limit``.

    The rate is then at most that; None for more requests than any run has.
    """
    if limit < _HOPELESS:
        return None
    if limit >= confidence:
        return 1
    count = max(math.floor(math.log(1 - confidence) / math.log1p(-limit)), 1)
    while upper_bound(0, count, confidence) > limit:
        count += 1
    return count
