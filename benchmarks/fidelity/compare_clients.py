"""The clients that are compared: how each is told to play a setting, and what it says afterwards."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.fidelity.compare_truth import Said
from benchmarks.fidelity.compare_words import CACHED_NAME, write_cached_tokenizer, write_tokenizer
from pytest_flperf.stats.descriptive.summary import quantile

MODEL = "reference"
BOOK = "a-book-of-numbers"
PROMPT_TOKENS = 16


@dataclass(frozen=True, slots=True)
class Job:
    """What a client is to play."""

    base_url: str
    """``http://127.0.0.1:PORT/v1``."""
    streams: int
    requests: int
    """Measured ones, in all."""
    tokens: int
    """Of an answer, reasoning included."""
    folder: Path
    """Its own, and its home."""

    @property
    def url(self) -> str:
        """Without the path, as some clients want it."""
        return self.base_url.removesuffix("/v1")

    @property
    def prompts(self) -> list[str]:
        """One for each request, those of a warm-up included; all different, all equally long."""
        return [f"{number:06} How fast are you?" for number in range(self.requests + 2 * self.streams)]


@dataclass(frozen=True, slots=True)
class Client:
    """A client."""

    name: str
    distribution: str
    """By which pip knows it."""
    program: str
    arguments: Callable[[Job], list[str]]
    """Writes what the client reads, returns its arguments."""
    read: Callable[[Job], Said]
    """Reads the client's own files; raises OSError, LookupError, TypeError or ValueError where they lack something."""
    ours: bool = False


def find(client: Client, given: Mapping[str, str]) -> str | None:
    """The client's executable: as given, beside this Python where the client is ours, or on PATH."""
    if client.name in given:
        return shutil.which(Path(given[client.name]).expanduser())
    beside = Path(sys.executable).with_name(client.program)
    return shutil.which(beside if client.ours and beside.exists() else client.program)


def version(client: Client, executable: str) -> str:
    """Of the client, asked of the Python that it is installed for; empty: nobody knows."""
    code = f"import importlib.metadata as m; print(m.version({client.distribution!r}))"
    python = Path(executable).with_name("python")
    try:
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def environment(client: Client, folder: Path) -> dict[str, str]:
    """The client's environment: a home of its own, nothing fetched, nothing sent."""
    kept = {
        name: value for name, value in os.environ.items() if client.ours or name not in ("PYTHONPATH", "PYTHONHOME")
    }
    return kept | {
        "HOME": str(folder),
        "HF_HOME": str(folder / "huggingface"),
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "DO_NOT_TRACK": "1",
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        "NO_COLOR": "1",
        "COLUMNS": "200",
    }


def flperf_arguments(job: Job) -> list[str]:
    """A suite with one scenario, as a user writes it."""
    scenario = {"name": "closed", "prompt": "How fast are you?", "iterations": job.requests, "concurrency": job.streams}
    write_json(job.folder / "suite.json", {"name": "compare", "models": [MODEL], "scenarios": [scenario]})
    options = [f"--flperf-base-url={job.base_url}", "--flperf-suite=suite.json", "--flperf-report-dir=reports"]
    return ["-p", "no:cacheprovider", "--rootdir=.", *options]


def flperf_said(results: Mapping[str, Any]) -> Said:
    """From ``results.json``."""
    case = results["cases"][0]
    requests, metrics = case["requests"], case["metrics"]
    return Said(
        n=requests["ok"],
        failed=requests["failed"],
        ttft_p50=metrics["ttft_ms"]["p50"],
        ttft_p99=metrics["ttft_ms"]["p99"],
        itl_p99=metrics["itl_ms"]["p99"],
        tpot_p50=metrics["tpot_ms"]["p50"],
        ttfat_p50=metrics["ttfat_ms"]["p50"],
        late_reads=requests["late_reads"],
        coalesced_pct=case["coalesced_pct"] or 0.0,
    )


def aiperf_arguments(job: Job) -> list[str]:
    """Prompts from a file, tokens as the server counts them, as many warm-up requests as streams."""
    write_lines(job.folder / "prompts.jsonl", [{"text": prompt} for prompt in job.prompts])
    write_cached_tokenizer(job.folder / "huggingface")
    return [
        *("profile", "--model", MODEL, "--url", job.url, "--endpoint-type", "chat", "--streaming"),
        *("--concurrency", str(job.streams), "--request-count", str(job.requests)),
        *("--warmup-request-count", str(job.streams), "--input-file", "prompts.jsonl"),
        *("--custom-dataset-type", "single-turn", "--tokenizer", CACHED_NAME, "--use-server-token-count"),
        *("--ui", "none", "--no-gpu-telemetry", "--no-server-metrics", "--artifact-dir", str(job.folder / "out")),
    ]


def aiperf_said(summary: Mapping[str, Any], records: Sequence[Mapping[str, Any]]) -> Said:
    """From ``profile_export_aiperf.json`` and ``profile_export.jsonl``."""
    good = [
        each["metadata"]["x_request_id"]
        for each in records
        if each["metadata"]["benchmark_phase"] == "profiling" and not each.get("error")
    ]
    failed = summary.get("error_request_count") or {"avg": 0}
    itl = summary["inter_token_latency"]
    return Said(
        n=round(summary["request_count"]["avg"]),
        failed=round(failed["avg"]),
        ttft_p50=summary["time_to_first_token"]["p50"],
        ttft_p99=summary["time_to_first_token"]["p99"],
        itl_p99=itl["p99"],
        tpot_p50=itl["p50"],
        ttfat_p50=summary["time_to_first_output_token"]["p50"],
        gap_p99=summary["inter_chunk_latency"]["p99"],
        ids=frozenset(good),
    )


def guidellm_arguments(job: Job) -> list[str]:
    """Prompts from a file, as many warm-up requests as streams."""
    write_lines(job.folder / "prompts.jsonl", [{"prompt": prompt} for prompt in job.prompts])
    write_tokenizer(job.folder / "tokenizer")
    return [
        *("run", "--backend", f"kind=openai_http,target={job.url},model={MODEL}"),
        *("--profile", f"kind=concurrent,streams={job.streams},warmup={job.streams}"),
        # what is under way when its warm-up ends is not measured either
        *("--constraint", f"kind=max_requests,count={job.requests + 2 * job.streams}"),
        *("--tokenizer", f"kind=huggingface_auto,model={job.folder / 'tokenizer'}"),
        *("--data", f"kind=json_file,path={job.folder / 'prompts.jsonl'}"),
        *("--output", f"kind=json,path={job.folder / 'out.json'}", "--disable-console"),
    ]


def guidellm_said(report: Mapping[str, Any]) -> Said:
    """From its JSON file."""
    benchmark = report["benchmarks"][0]
    metrics = benchmark["metrics"]
    # its list has those of the warm-up, too; its TTFT is of the requests whose first token came in the measured part
    good = [
        each["response_id"]
        for each in benchmark["requests"]["successful"]
        if (each["info"]["timings"]["first_token_iteration"] or 0) >= benchmark["start_time"]
    ]

    def of(name: str, percentile: str) -> float:
        return float(metrics[name]["successful"]["percentiles"][percentile])

    return Said(
        n=metrics["time_to_first_token_ms"]["successful"]["count"],
        failed=metrics["request_totals"]["errored"],
        ttft_p50=of("time_to_first_token_ms", "p50"),
        ttft_p99=of("time_to_first_token_ms", "p99"),
        itl_p99=of("inter_token_latency_ms", "p99"),
        tpot_p50=of("time_per_output_token_ms", "p50"),
        ttfat_p50=of("time_to_first_output_token_ms", "p50"),
        ids=frozenset(good),
    )


def inference_perf_arguments(job: Job) -> list[str]:
    """Two stages, of which the first is the warm-up."""
    write_tokenizer(job.folder / "tokenizer")
    stages = [{"num_requests": requests, "concurrency_level": job.streams} for requests in (job.streams, job.requests)]
    prefix = {"num_groups": 1, "num_prompts_per_group": job.requests + job.streams, "system_prompt_len": 1}
    config = {
        "api": {"type": "chat", "streaming": True},
        "data": {
            "type": "shared_prefix",
            "shared_prefix": {**prefix, "question_len": PROMPT_TOKENS, "output_len": job.tokens},
            # with this key, empty as it is, these prompts go to the chat endpoint and ask for output_len tokens
            "multimodal": {},
        },
        # 100 unless said otherwise: less than our streams, which would then not be closed loops
        # a worker without a stream would keep a core busy
        "load": {
            "type": "concurrent",
            "interval": 0,
            "num_workers": min(job.streams, os.cpu_count() or 1),
            "worker_max_concurrency": job.streams,
            "stages": stages,
        },
        "server": {"type": "vllm", "model_name": MODEL, "base_url": job.url, "ignore_eos": False},
        "tokenizer": {"pretrained_model_name_or_path": str(job.folder / "tokenizer")},
        "storage": {"local_storage": {"path": str(job.folder / "out")}},
    }
    write_json(job.folder / "config.yml", config)  # JSON is YAML
    return ["--config_file", "config.yml"]


def inference_perf_said(stage: Mapping[str, Any]) -> Said:
    """From ``stage_1_lifecycle_metrics.json``."""
    latency = stage["successes"]["latency"]

    def of(name: str, statistic: str) -> float | None:
        return 1000 * float(latency[name][statistic]) if latency.get(name) else None

    return Said(
        n=stage["successes"]["count"],
        failed=stage["failures"]["count"],
        ttft_p50=of("time_to_first_token", "median"),
        ttft_p99=of("time_to_first_token", "p99"),
        itl_p99=of("inter_token_latency", "p99"),
        tpot_p50=of("time_per_output_token", "median"),
    )


def benchy_arguments(job: Job) -> list[str]:
    """As many runs as each stream has requests; it has a warm-up run of its own."""
    write_tokenizer(job.folder / "tokenizer")
    # its book, where it looks for what it has fetched before
    cache = job.folder / ".cache" / "llama-benchy"
    cache.mkdir(parents=True)
    name = hashlib.md5(BOOK.encode(), usedforsecurity=False).hexdigest()
    (cache / f"{name}.txt").write_text(" ".join(f"{number % 1000:03}" for number in range(20_000)), encoding="utf-8")
    return [
        *("--base-url", job.base_url, "--model", MODEL, "--tokenizer", str(job.folder / "tokenizer")),
        *("--book-url", BOOK, "--pp", str(PROMPT_TOKENS), "--tg", str(job.tokens), "--no-adapt-prompt"),
        *("--concurrency", str(job.streams), "--runs", str(job.requests // job.streams)),
        *("--skip-coherence", "--latency-mode", "none", "--format", "json", "--save-result", "out.json"),
    ]


def benchy_said(report: Mapping[str, Any], requests: int) -> Said:
    """From its JSON file, which holds means and every request's value; the percentiles are ours."""
    found = report["benchmarks"][0]
    ttft = sorted(found["e2e_ttft"]["values"])
    rates = [rate for rate in found["tg_req_throughput"]["values"] if rate]
    return Said(
        n=len(ttft),
        failed=requests - len(ttft),
        ttft_p50=quantile(ttft, 0.5),
        ttft_p99=quantile(ttft, 0.99),
        itl_p99=None,
        tpot_p50=1000 / median(rates) if rates else None,
    )


def clients() -> tuple[Client, ...]:
    """All of them, ours first."""
    return (
        Client(
            "pytest-flperf",
            "pytest_flperf",
            "pytest",
            flperf_arguments,
            lambda job: flperf_said(read_json(next((job.folder / "reports").glob("*/results.json")))),
            ours=True,
        ),
        Client(
            "aiperf",
            "aiperf",
            "aiperf",
            aiperf_arguments,
            lambda job: aiperf_said(
                read_json(job.folder / "out" / "profile_export_aiperf.json"),
                read_lines(job.folder / "out" / "profile_export.jsonl"),
            ),
        ),
        Client(
            "guidellm",
            "guidellm",
            "guidellm",
            guidellm_arguments,
            lambda job: guidellm_said(read_json(job.folder / "out.json")),
        ),
        Client(
            "inference-perf",
            "inference-perf",
            "inference-perf",
            inference_perf_arguments,
            lambda job: inference_perf_said(read_json(job.folder / "out" / "stage_1_lifecycle_metrics.json")),
        ),
        Client(
            "llama-benchy",
            "llama-benchy",
            "llama-benchy",
            benchy_arguments,
            lambda job: benchy_said(read_json(job.folder / "out.json"), job.requests),
        ),
    )


def write_json(path: Path, value: object) -> None:
    """One JSON value."""
    path.write_text(json.dumps(value), encoding="utf-8")


def write_lines(path: Path, values: Sequence[object]) -> None:
    """One JSON value a line."""
    path.write_text("".join(f"{json.dumps(value)}\n" for value in values), encoding="utf-8")


def read_json(path: Path) -> Any:
    """One JSON value."""
    return json.loads(path.read_text(encoding="utf-8"))


def read_lines(path: Path) -> list[Any]:
    """One JSON value a line."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
