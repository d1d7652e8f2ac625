"""Answers as scoring takes them: one text, with the tool calls where there are some."""

from __future__ import annotations

from pytest_flperf.quality.tools.answered import SentCall, enclosed
from pytest_flperf.wire.sample import Sample

__all__ = ["scored_text"]


def scored_text(sample: Sample) -> str:
    """Text of a sample with its tool calls in it; the output text where there are none."""
    calls = (SentCall(call.name, call.arguments, call.cut) for call in sample.tool_calls)
    return enclosed(sample.output_text, calls, sample.tool_calls_left_out)
