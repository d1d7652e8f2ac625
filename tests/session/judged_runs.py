"""Run folders with answers that a judge can be asked about."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from pytest_flperf.results.records import CaseResult, Requests, Run

Answers = Sequence[str | None]
"""Of one model, in the order of the prompts; None: the request failed."""


def question(number: int) -> str:
    """What the tests ask."""
    return f"Question {number}?"


def a_run(
    folder: Path, answers: Mapping[str, Answers], *, run_id: str = "", scenario: str = "qa", rows: bool = False
) -> Run:
    """Write the folder of a run: a case per model, a prompt per answer; with ``rows``, of rows with ids."""
    folder.mkdir(parents=True, exist_ok=True)
    cases, samples, prompts = [], [], []
    for model, texts in answers.items():
        nodeid = f"s.json::{scenario}[{model}]"
        counts = Requests(len(texts), len(texts), 0, 0, {"ok": len(texts)})
        cases.append(CaseResult(nodeid, "s", scenario, model, requests=counts, error_rate=0.0, outcome="passed"))
        for number, text in enumerate(texts):
            prompt = f"p{number}"
            messages = [{"role": "user", "content": question(number)}]
            row = {"row": f"r{number}", "category": "odd" if number % 2 else "even"} if rows else {}
            prompts.append({"nodeid": nodeid, "prompt": prompt, **row, "messages": messages, "indices": [number]})
            sample = {"nodeid": nodeid, "index": number, "phase": "measured"}
            samples.append({**sample, "outcome": "http_5xx" if text is None else "ok", "output_text": text or ""})
    for name, lines in (("samples.jsonl", samples), ("prompts.jsonl", prompts)):
        (folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    run = Run(
        id=run_id or folder.name,
        started_at=datetime(2026, 11, 1, tzinfo=UTC).isoformat(),
        status="passed",
        suites=("s.json",),
        cases=tuple(cases),
    )
    (folder / "results.json").write_text(json.dumps(run.to_dict()), encoding="utf-8")
    return run


def ask_again(folder: Path, model: str, number: int, index: int, text: str) -> None:
    """Add another answer of a model to a prompt."""
    nodeid, prompt = f"s.json::qa[{model}]", f"p{number}"
    messages = [{"role": "user", "content": question(number)}]
    lines = {
        "prompts.jsonl": {"nodeid": nodeid, "prompt": prompt, "messages": messages, "indices": [index]},
        "samples.jsonl": {
            "nodeid": nodeid, "index": index, "phase": "measured", "outcome": "ok", "output_text": text,
        },
    }  # fmt: skip
    for name, line in lines.items():
        with (folder / name).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
