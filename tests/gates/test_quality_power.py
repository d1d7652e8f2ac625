"""What a run says of falls in quality before it measures."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_flperf.gates.feasibility import Size, evidence_of
from pytest_flperf.gates.quality_power import power_of, power_words
from pytest_flperf.gates.rules import parse_rule

RULE = parse_rule("quality.mean < -2%")
IN_TURN = Size(in_turn=True, requests=200, pairs=200, comparisons=1)


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (IN_TURN, "finds a fall from 90 % right to 80 % in 27 of 100 runs, to 71 % in 90 (sides independent)"),
        (replace(IN_TURN, prompts=100, requests=400, pairs=400), "to 80 % in "),
        (Size(False, 200, None, 1), "finds a fall from 90 % right to 80 % in "),
        (replace(IN_TURN, requests=12, pairs=12, comparisons=66), "in 0 of 100 runs, and no fall in 90"),
        (replace(IN_TURN, requests=5, pairs=5), ""),
        (replace(IN_TURN, requests=None), ""),
        (replace(IN_TURN, has_expectation=False), ""),
        (replace(IN_TURN, requests=5_000, pairs=5_000), ""),
    ],
)
def test_words(size: Size, said: str) -> None:
    """Two numbers and what they hold for; nothing where nothing is known, or nearly all is found."""
    found = power_words(RULE, size)
    assert said in found
    assert bool(said) == bool(found)


def test_only_of_quality() -> None:
    """A latency has no such power, nor has an error rate."""
    assert power_words(parse_rule("ttft_ms.p50 > +10%"), IN_TURN) == ""
    assert power_words(parse_rule("error_rate > +1%"), IN_TURN) == ""


def test_looks_before_the_first_pass_find_nothing() -> None:
    """In the order of a file only the end decides, so less is found; of repeats answered alike as well."""
    shuffled, in_order = (power_of(RULE, replace(IN_TURN, first_pass=rows)) for rows in (0, 200))
    assert shuffled is not None
    assert in_order is not None
    assert in_order.of(0.9, 0.75) < shuffled.of(0.9, 0.75)
    fewer = power_of(RULE, replace(IN_TURN, prompts=60))
    assert fewer is not None
    assert fewer.of(0.9, 0.75) < in_order.of(0.9, 0.75)


def test_evidence() -> None:
    """Requests, and of prompts that are answered alike each once."""
    assert [evidence_of(replace(IN_TURN, prompts=prompts)) for prompts in (None, 40, 900)] == [200, 40, 200]
    assert evidence_of(replace(IN_TURN, requests=None)) is None
