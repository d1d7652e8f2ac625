"""``--flperf-transport``: the real runtime over HTTP and inside its process."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
from tiny_runs import PLAIN, Tiny

from pytest_flperf.results.records import load_schema

HTTP, NATIVE = "foundry:over-http", "foundry:inside"


def test_native(tiny: Tiny) -> None:
    """Tokens, counts and stamps without HTTP between; results, page, table and JUnit say so."""
    tiny.suite({"iterations": 3, "max_tokens": 8})
    done = tiny.run(
        "--flperf-suite=tiny.json",
        "--flperf-model=flperf-nano",
        "--flperf-transport=native",
        "--flperf-html=page.html",
        "--flperf-csv=table.csv",
        "--junitxml=junit.xml",
    )
    assert done.ret == 0, done.text
    assert done.case["target"]["transport"] == "native"
    assert done.case["requests"]["ok"] == 3
    assert done.case["metrics"]["output_tokens"]["p50"] == 8
    assert done.case["tokens_source"] == "usage"
    assert 0 < done.case["metrics"]["ttft_ms"]["p50"] <= done.case["metrics"]["e2e_ms"]["p50"]
    jsonschema.validate(done.results, load_schema())
    page = (tiny.folder / "page.html").read_text(encoding="utf-8")
    assert "foundry, flperf-nano:1 inside its process, without HTTP" in page
    assert 'name="target.transport" value="native"' in (tiny.folder / "junit.xml").read_text(encoding="utf-8")
    head, row = (tiny.folder / "table.csv").read_text(encoding="utf-8").splitlines()
    assert dict(zip(head.split(","), row.split(","), strict=False))["transport"] == "native"


def test_both_in_one_run(tiny: Tiny) -> None:
    """The same model twice, by two targets: the same answers, each with its own transport."""
    both: list[dict[str, Any]] = [
        {"model": "flperf-nano", "name": HTTP, "transport": "http"},
        {"model": "flperf-nano", "name": NATIVE, "transport": "native"},
    ]
    scenario = {**PLAIN, "iterations": 2, "max_tokens": 6, "temperature": 0, "prompt_cache": "reuse"}
    (tiny.folder / "tiny.json").write_text(json.dumps({"name": "tiny", "scenarios": [scenario], "targets": both}))
    done = tiny.run("--flperf-suite=tiny.json")
    assert done.ret == 0, done.text
    assert [(case["model"], case["target"]["transport"]) for case in done.cases] == [(HTTP, "http"), (NATIVE, "native")]
    assert {case["target"]["model_id"] for case in done.cases} == {"flperf-nano:1"}
    texts = [line["output_text"] for line in done.journal("samples.jsonl") if line["phase"] == "measured"]
    assert len(texts) == 4
    assert len(set(texts)) == 1


def test_native_side_by_side(tiny: Tiny) -> None:
    """Streams at a time, warm-up, a budget: as over HTTP."""
    tiny.suite({"iterations": 8, "warmup": 2, "concurrency": 4, "max_tokens": 60})
    at = ("--flperf-model=flperf-nano", "--flperf-transport=native")
    done = tiny.run("--flperf-suite=tiny.json", *at, "--flperf-budget=ttft_ms.p50 <= 60000")
    assert done.ret == 0, done.text
    assert done.case["requests"]["ok"] == 8
    assert done.case["requests"]["warmup"] == 2
    assert {line["slot"] for line in done.journal("samples.jsonl") if line["phase"] == "measured"} == {0, 1, 2, 3}
    assert done.case["budgets"][0]["met"]


def test_what_the_runtime_refuses(tiny: Tiny) -> None:
    """An error inside the process is a failed request with the runtime's own words."""
    tiny.suite({"prompt": "word " * 9_000})
    done = tiny.run("--flperf-suite=tiny.json", "--flperf-model=flperf-nano", "--flperf-transport=native")
    assert done.ret == 1
    assert done.case["requests"]["failed"] == 1
    assert "context length" in done.case["failures"][0]["detail"]


def test_refused(tiny: Tiny) -> None:
    """Another word, and a backend that does not use it: exit 4, nothing measured."""
    tiny.suite()
    message = tiny.refused("--flperf-suite=tiny.json", "--flperf-transport=pigeon")
    assert "--flperf-transport: found 'pigeon', expected http or native" in message
    message = tiny.refused("--flperf-suite=tiny.json", *tiny.at, "--flperf-transport=native")
    assert "--flperf-transport: the backend openai does not use it" in message
