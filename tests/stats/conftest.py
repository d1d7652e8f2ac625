"""A sample whose every field can be chosen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pytest_flperf.suite.messages import Message
from pytest_flperf.suite.model import Case, Scenario, Settings
from pytest_flperf.wire.exchange import Phase
from pytest_flperf.wire.sample import Evidence, Outcome, Sample

MS = 1_000_000
START = 10**15


def build_sample(**changes: Any) -> Sample:
    """Sent at START, first token after 50 ms, then one each 5 ms, ten in all; anything can be changed."""
    sent = changes.pop("sent_ns", START)
    chunks = changes.pop("chunk_ns", tuple(sent + 50 * MS + i * 5 * MS for i in range(10)) if sent is not None else ())
    share = chunks.count(chunks[0]) / len(chunks) if chunks else 0.0
    outcome = changes.get("outcome", Outcome.OK)
    ok = outcome is Outcome.OK
    fields: dict[str, Any] = {
        "index": 0,
        "phase": Phase.MEASURED,
        "target": 0,
        "stream": True,
        "slot": 0,
        "outcome": outcome,
        "evidence": None if ok else Evidence(None, "why", "body"),
        "status": 200 if ok else None,
        "due_ns": None,
        "connect_ns": None,
        "started_ns": START if sent is None else sent,
        "sent_ns": sent,
        "headers_ns": None if sent is None else sent + MS,
        "first_token_ns": chunks[0] if chunks else None,
        "first_answer_token_ns": chunks[0] if chunks else None,
        "last_token_ns": chunks[-1] if chunks else None,
        "end_ns": chunks[-1] if chunks else None,
        "finished_ns": (chunks[-1] if chunks else START) + MS,
        "chunk_ns": chunks,
        "coalesced_chunks": 0,
        "first_read_surplus": 0.0,
        "first_arrival_share": share if share * len(chunks) > 1 else 0.0,
        "first_read_window_ns": None,
        "output_text": "x",
        "reasoning_text": "",
        "finish_reason": "stop" if ok else None,
        "output_tokens": len(chunks) or None,
        "prompt_tokens": 20,
        "cached_tokens": None,
        "reasoning_tokens": None,
        "tokens_source": "usage",
        "prompt_tokens_source": "usage",
        "visible_tokens": changes.get("output_tokens", len(chunks) or None),
        "tool_calls": (),
        "tagged": False,
        "unknown_fields": (),
        "server_timings": None,
        "model_echoed": "m",
        "clock_source": "kernel",
        "clock_step": False,
        "lag_ns": (),
    }
    return Sample(**{**fields, **changes})


@pytest.fixture(scope="session")
def make_sample() -> Callable[..., Sample]:
    """Build a sample; see ``build_sample``."""
    return build_sample


@pytest.fixture(scope="session")
def case() -> Case:
    """A case of one plain scenario."""
    scenario = Scenario(
        "chat", "a chat", (Message("user", "hi"),), Settings(), tags=("t",), expected_output_length="short"
    )
    return Case("s", "flperf:s", scenario, "m", (("temperature", 0.5),), "chat", "m-temperature=0.5")
