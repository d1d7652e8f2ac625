"""A real model on the real Foundry Local runtime, where ``FLPERF_REAL_MODEL`` names its folder.

``scripts/build_real_model.py`` builds it.  Its answers are right or wrong, end by themselves and differ in length: what
random weights can't show.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import Done, Tiny

NAMED = os.environ.get("FLPERF_REAL_MODEL", "")
FOLDER = Path(NAMED).absolute()
QUESTIONS = Path(__file__).parents[2] / "docs" / "examples" / "questions"
pytestmark = pytest.mark.skipif(
    not NAMED, reason="no real model: scripts/build_real_model.py builds one, FLPERF_REAL_MODEL names its folder"
)


def run(tiny: Tiny, *options: str, **scenario: Any) -> Done:
    """Ask each question of an example once, as it stands."""
    asked = {"name": "capitals", "dataset": "capitals.jsonl", "max_tokens": 24, "warmup": 0, "prompt_cache": "reuse"}
    (tiny.folder / "capitals.jsonl").write_bytes((QUESTIONS / "capitals.jsonl").read_bytes())
    (tiny.folder / "tiny.json").write_text(json.dumps({"scenarios": [asked | scenario]}), encoding="utf-8")
    return tiny.run("--flperf-suite=tiny.json", f"--flperf-model={FOLDER}", *options)


def test_its_answers_are_sensible(tiny: Tiny) -> None:
    """It knows most capitals, not all; answers end by themselves, in words."""
    done = run(tiny)
    assert done.ret == 0, done.text
    samples = [each for each in done.journal("samples.jsonl") if each["phase"] == "measured"]
    ended = [each for each in samples if each["finish_reason"] == "stop"]
    assert len(samples) == 25
    assert len(ended) >= 10
    assert any("Berlin" in each["output_text"] for each in ended)
    assert len({each["output_tokens"] for each in ended}) > 1
    quality = done.case["answer_quality"]
    assert 0.5 <= quality["mean"] < 1
    low, high = quality["ci95"]
    assert low < quality["mean"] < high


def test_a_setting_that_spoils_answers_is_a_regression(tiny: Tiny) -> None:
    """A temperature at which it talks nonsense, against none: decided by the answers alone."""
    against = ("--flperf-against=temperature=0", "--flperf-fail-on=quality.mean < -10%")
    done = run(tiny, *against, temperature=2, top_p=1)
    comparisons = done.case["against"][0]["comparisons"]
    (compared,) = [each for each in comparisons if each["rule"] == "quality.mean < -10%"]
    assert (done.ret, compared["verdict"]) == (1, "regressed"), done.text
    assert compared["baseline"] > compared["candidate"] + 0.1
