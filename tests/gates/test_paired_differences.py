"""What differs between two sides of one run."""

from __future__ import annotations

from dataclasses import replace

from pytest_flperf.gates.paired_results import differences_of
from pytest_flperf.results.records import CaseResult
from pytest_flperf.results.serving import Target


def side(port: int, **more: str) -> CaseResult:
    """A case on a server of this machine."""
    return CaseResult(
        "n", "s", "a", "m", target=replace(Target("llamacpp", f"http://127.0.0.1:{port}/v1", "m"), **more)
    )


def test_options_and_not_the_ports_that_they_lead_to() -> None:
    """Two servers were started: what was asked for differs, and their ports say nothing."""
    assert differences_of(side(40_001), side(40_002), "options.threads=2") == ("baseline: options.threads=2",)
    more = differences_of(side(40_001, device="CPU"), side(40_002, device="GPU"), "options.threads=2")
    assert more == ("baseline: options.threads=2", "device: CPU → GPU")


def test_addresses_that_were_asked_for() -> None:
    """Without options, and where the address is what differs, it is named."""
    port = "base_url: http://127.0.0.1:40001/v1 → http://127.0.0.1:40002/v1"
    for label in ("other", "base_url=http://127.0.0.1:40001/v1", "options.a=1,base_url=http://127.0.0.1:40001/v1"):
        assert differences_of(side(40_001), side(40_002), label) == (port,)
