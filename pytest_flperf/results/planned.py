"""Planned cases: what is known of a case before its first request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias

from pytest_flperf.results.calibration import Calibration
from pytest_flperf.results.cost import Price
from pytest_flperf.results.load import Load
from pytest_flperf.results.serialize import Reader, Record, many
from pytest_flperf.results.serving import Adjustment, Target

__all__ = ["PlannedCase", "Scalar"]

Scalar: TypeAlias = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class PlannedCase(Record):
    """A case before its first request: what will be measured, where, and what its load cost."""

    nodeid: str
    suite: str
    scenario: str
    model: str
    """As requested."""
    parameters: Mapping[str, Scalar] = field(default_factory=dict)
    """The point of the matrix, in suite order."""
    host: str = ""
    """Name of the machine; with the node id it is the key of the case."""
    target: Target | None = None
    load: Load | None = None
    load_s: float | None = None
    """Time to make the model ready; None where nothing was loaded."""
    cold_ttft_ms: float | None = None
    """TTFT of the very first request after a load."""
    download_s: float | None = None
    """Time to download the model's files; None where they were there."""
    rss_before_load_mb: float | None = None
    """Resident memory of the server's processes right before the load, in units of 2²⁰ bytes; None without a load."""
    rss_after_load_mb: float | None = None
    model_rss_mb: float | None = None
    """Resident memory that the load added."""
    reloaded: bool = False
    """Whether the model was loaded again: it had been ready and was gone (evicted, idle too long, process ended)."""
    adjusted: tuple[Adjustment, ...] = ()
    """Parameters that were not sent as requested, because the server doesn't accept them that way."""
    description: str = ""
    expected_output_length: str | None = None
    tags: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the requests: max_tokens, temperature …"""
    prompts_digest: str = ""
    """Digest of the scenario's prompts; empty in results of older versions."""
    notes: tuple[str, ...] = ()
    """Lines for a person; ``Note.of`` reads their level and code."""
    calibration: Calibration | None = None
    """What this client adds to the times at this load on this machine; None with few streams, where it adds almost
    nothing."""
    price: Price | None = None
    """Price of the model's tokens; None: none is known, as for most local models."""

    _readers: ClassVar[Mapping[str, Reader]] = {
        "parameters": dict,
        "target": Target.from_dict,
        "load": Load.from_dict,
        "adjusted": many(Adjustment.from_dict),
        "tags": tuple,
        "settings": dict,
        "notes": tuple,
        "calibration": Calibration.from_dict,
        "price": Price.from_dict,
    }
