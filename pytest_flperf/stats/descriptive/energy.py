"""Energy per answer: power over time, shared among the answers of a case."""

from __future__ import annotations

from pytest_flperf.results.cost import Energy
from pytest_flperf.results.records import Measured
from pytest_flperf.wire.endpoint import Endpoint, EndpointError

__all__ = ["energy_of"]

_POWER = "gpu_power_w"


def energy_of(case: Measured, *, in_turns: bool) -> Energy | None:
    """Energy of a case's answers; None where no power was measured.

    Joules per answer are the mean power over the time of the rates, divided by the answers per second in that time.

    Args:
        case: With its resources.
        in_turns: Whether another side was measured in the same time, so that the power is of both.

    """
    power = case.resources.get(_POWER)
    if power is None:
        return None
    if in_turns:
        return Energy(reason="two sides were measured in turns, and the power is of both")
    if not _is_here(case):
        return Energy(reason="the power is this machine's, and the server is on another one")
    if not case.request_rate:
        return Energy(reason="no request ended ok in the time of the measurement")
    per_answer = power.mean / case.request_rate
    quality = case.answer_quality
    right = quality.right if quality is not None and not case.not_scored else None
    # Of the measured requests, as a share: the rate counts what arrived in a steady window.
    per_right = per_answer * case.requests.ok / right if right else None
    return Energy(per_answer, per_right)


def _is_here(case: Measured) -> bool:
    """Whether the server runs on this machine: its processes are known, or its address is this machine's own."""
    if "server_rss_mb" in case.resources or case.target is None or case.target.base_url is None:
        return True
    try:
        return Endpoint.parse(case.target.base_url).loopback
    except EndpointError:
        return False
