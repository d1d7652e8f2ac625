"""Terms of a comparison in turns, as a recovery reads them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_flperf.gates.paired_results import PairTerms
from pytest_flperf.gates.rules import parse_rules

TERMS = PairTerms("same", parse_rules(["quality.mean < -2%"], "x"), 3, fail_undecided=True, first_pass=200)


def test_there_and_back() -> None:
    """By JSON; journals of before don't say in which order prompts came."""
    record: dict[str, Any] = json.loads(json.dumps(TERMS.to_record()))
    assert PairTerms.from_record(record) == TERMS
    del record["first_pass"]
    assert PairTerms.from_record(record).first_pass == 0


@pytest.mark.parametrize("changed", [{"first_pass": -1}, {"first_pass": "200"}, {"first_pass": True},
                                     {"comparisons": 0}, {"kind": "reference"}])  # fmt: skip
def test_no_terms(changed: dict[str, Any]) -> None:
    """What nobody wrote is refused."""
    with pytest.raises(ValueError, match="no terms"):
        PairTerms.from_record(TERMS.to_record() | changed)
