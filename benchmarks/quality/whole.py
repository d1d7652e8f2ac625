"""Whole runs of pytest against servers that are right as often as they are told."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.quality.decisions import RULE
from pytest_flperf.gates.feasibility import Size
from pytest_flperf.gates.quality_power import power_of
from pytest_flperf.gates.rules import parse_rule
from pytest_flperf.reference_server import ReferenceConfig, ReferenceServer, Schedule
from pytest_flperf.stats.inference.proportions import Counts

__all__ = ["KINDS", "Kind", "comparison_of", "whole_runs"]

SEED: Final = 20261130
COMPARISONS: Final = 2
"""Of a run with one rule: the error rate is always compared as well."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Kind of run: what both sides know."""

    name: str
    prompts: int
    wrong: tuple[float, float] = (0.0, 0.0)
    """Chance that the candidate, and that the baseline, answers a prompt wrongly."""
    turned: int = 0
    """Prompts that the candidate alone answers wrongly."""
    shuffled: bool = True


KINDS: Final = (
    Kind("20 of 200 prompts turn wrong, none back", 200, turned=20, shuffled=False),
    Kind("right in 90 % against 70 %, independently", 100, (0.3, 0.1)),
    Kind("90 % right on both sides", 100, (0.1, 0.1)),
)


def said(kind: Kind) -> float:
    """Power that such a run tells before it measures."""
    size = Size(True, kind.prompts, kind.prompts, COMPARISONS, prompts=kind.prompts)
    power = power_of(parse_rule(RULE), size)
    assert power is not None
    return power.of(1 - kind.wrong[1], 1 - kind.wrong[0])


def comparison_of(kind: Kind, seed: int) -> dict[str, Any]:
    """What came of the rule on quality in one run of pytest."""
    prompts = [f"What is {number}?" for number in range(kind.prompts)]
    lost = random.Random(f"{SEED}/{seed}").sample(prompts, kind.turned)
    common = {"text": "yes ", "wrong_text": "no  ", "ttft_ms": 0.2, "itl_ms": 0.1, "tokens": 2, "wrong_by": "prompt"}
    with tempfile.TemporaryDirectory() as place, ExitStack() as servers:
        folder, urls = Path(place), []
        for side, wrong in enumerate(kind.wrong):
            answers = [{"prompt": each, "text": "no"} for each in lost] if not side else []
            truth = Schedule(wrong_share=wrong, seed=2 * seed + side, **common)
            config = ReferenceConfig(truth, answers=answers)
            urls.append(servers.enter_context(ReferenceServer(config, in_thread=True)).base_url)
        rows = "".join(json.dumps({"prompt": each, "expect": {"contains": "yes"}}) + "\n" for each in prompts)
        (folder / "rows.jsonl").write_text(rows, encoding="utf-8")
        scenario = {"name": "asked", "dataset": "rows.jsonl", "max_tokens": 2, "warmup": 0,
                    "dataset_order": "shuffled" if kind.shuffled else "sequential"}  # fmt: skip
        (folder / "suite.json").write_text(json.dumps({"scenarios": [scenario]}), encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--flperf-suite=suite.json",
                   f"--flperf-base-url={urls[0]}", "--flperf-model=reference", f"--flperf-against=base_url={urls[1]}",
                   f"--flperf-fail-on={RULE}", f"--flperf-seed={seed}"]  # fmt: skip
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=dict(os.environ))
        try:
            written = (folder / "reports" / "latest" / "results.json").read_text(encoding="utf-8")
            (against,) = json.loads(written)["cases"][0]["against"]
        except (OSError, LookupError, ValueError) as error:
            raise RuntimeError(f"no comparison came of this run:\n{done.stdout}\n{done.stderr}") from error
        (found,) = [each for each in against["comparisons"] if each["metric"] == "quality"]
        if done.returncode != (found["verdict"] == "regressed"):
            raise RuntimeError(f"exit status {done.returncode} of {found['verdict']}:\n{done.stdout}")
        return dict(found)


def whole_runs(runs: int, named: str = "") -> Iterator[tuple[tuple[str, ...], Sequence[Any]]]:
    """How often a whole run says ``regressed``, beside what is bound or was said."""
    from benchmarks.quality.run import FALSE_ALARM, TURNED_FOUND, Rate

    yield ("truth", "prompts", "said before measuring", "`regressed` in % of runs"), ()
    for kind in KINDS:
        if named not in f"{kind.name}, {kind.prompts}":
            continue
        verdicts = [comparison_of(kind, seed)["verdict"] for seed in range(runs)]
        counts = Counts(verdicts.count("regressed"), runs)
        if kind.turned:
            rate, told = Rate(kind.name, "found by whole runs", counts, least=TURNED_FOUND), ""
        elif kind.wrong[0] > kind.wrong[1]:
            power = said(kind)
            rate, told = Rate(kind.name, "whole runs, as was said", counts, least=power, most=power), f"{power:.1%}"
        else:
            rate, told = Rate(kind.name, "false alarms of whole runs", counts, most=FALSE_ALARM), ""
        yield (kind.name, str(kind.prompts), told.replace("%", " %"), str(rate)), [rate]
