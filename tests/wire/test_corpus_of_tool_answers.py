"""Answers to requests with tools, from the wire to their outcome: each with what it is, written beside it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from wire_doubles import DONE, STOP, chunked, event, exchange, sized

from pytest_flperf.quality.tools.expected import score_calls
from pytest_flperf.quality.tools.understood import CallOutcome
from pytest_flperf.wire.decode import decode
from pytest_flperf.wire.sample import Outcome
from pytest_flperf.wire.scored import scored_text

CORPUS = Path(__file__).parents[1] / "corpus" / "tool_answers.jsonl"
ANSWERS = [json.loads(line) for line in CORPUS.read_text(encoding="utf-8").splitlines()]
TOOLS = ["get_weather", "search", "math.factorial"]
WORDS = {
    "called": (CallOutcome.CALLED, False),
    "abstained": (CallOutcome.ABSTAINED, False),
    "malformed": (CallOutcome.MALFORMED, False),
    "malformed, JSON": (CallOutcome.MALFORMED, True),
}
"""Outcomes as the corpus writes them; ``no answer`` is a request that failed."""


def test_it_is_large_enough() -> None:
    """Over 200 answers, none twice, some of each outcome and each form."""
    assert len(ANSWERS) == len({each["what"] for each in ANSWERS}) >= 200
    contents = {json.dumps({**each, "what": ""}, sort_keys=True) for each in ANSWERS}
    assert len(contents) == len(ANSWERS)
    counts = Counter(each["outcome"] for each in ANSWERS)
    assert counts.keys() == {*WORDS, "no answer"}
    assert min(counts[word] for word in WORDS) >= 40
    text = CORPUS.read_text(encoding="utf-8")
    assert min(text.count(f'"{form}"') for form in ("deltas", "message", "function_call", "tool_calls")) > 10


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda each: each["what"])
def test_each_is_what_it_is(answer: dict[str, Any]) -> None:
    """Whether a call or none was right: a malformed answer is never taken for an abstention, nor the other way."""
    if "deltas" in answer:
        received = exchange(chunked(*map(event, answer["deltas"]), STOP, DONE))
    else:
        body = {"choices": [{"index": 0, "message": answer["message"], "finish_reason": "stop"}]}
        received = exchange(sized(json.dumps(body).encode(), kind="application/json"), stream=False)
    sample = decode(received)
    if answer["outcome"] == "no answer":
        assert sample.outcome is Outcome.LENGTH_ZERO
        return
    assert sample.ok
    outcome, as_json = WORDS[answer["outcome"]]
    abstained = float(outcome is CallOutcome.ABSTAINED)
    for expected, right in (([], abstained), ([{"name": "no_such_call"}], 0.0)):
        found = score_calls({"calls": expected, "tools": TOOLS})(scored_text(sample))
        assert (found.outcome, found.as_json, found.score) == (outcome, as_json, right)
