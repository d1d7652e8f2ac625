"""Metric aliases: names that other tools and people use."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

__all__ = ["OTHER_NAMES"]

OTHER_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "accuracy": "quality", "cost": "cost_per_1k", "cost_per_thousand": "cost_per_1k",
        "cpu": "server_cpu_pct", "cpu_usage": "server_cpu_pct", "decode_tps": "gen_tps",
        "duration": "e2e_ms", "energy": "energy_per_answer_j", "joules": "energy_per_answer_j",
        "joules_per_answer": "energy_per_answer_j", "price": "cost_per_1k", "thinking_tokens": "reasoning_tokens",
        "e2e": "e2e_ms", "e2e_latency": "e2e_ms", "end_to_end_latency": "e2e_ms",
        "errors": "error_rate", "failure_rate": "error_rate", "failures": "error_rate",
        "first_token_latency": "ttft_ms", "first_token_ms": "ttft_ms", "generation_speed": "gen_tps",
        "generation_tps": "gen_tps", "gpu": "gpu_util_pct", "gpu_memory": "gpu_mem_mb", "input_tokens": "prompt_tokens",
        "inter_token_latency": "itl_ms", "latency": "e2e_ms", "latency_ms": "e2e_ms", "load_time": "load_s",
        "malformed_rate": "malformed", "memory": "server_rss_mb", "memory_mb": "server_rss_mb",
        "model_load_time": "load_s",
        "output_throughput": "tps_total", "output_tokens_per_second": "tps", "power": "gpu_power_w",
        "prefill_tps": "prompt_tps", "qps": "request_rate", "ram": "server_rss_mb", "request_latency": "e2e_ms",
        "request_throughput": "request_rate", "requests_per_second": "request_rate", "response_time": "e2e_ms",
        "rps": "request_rate", "rss": "server_rss_mb", "score": "quality", "speed": "tps",
        "throughput": "tps_total", "time_per_output_token": "tpot_ms",
        "time_to_first_token": "ttft_ms", "tok_per_s": "tps", "tok_s": "tps", "tokens_per_s": "tps",
        "tokens_per_second": "tps", "tokens_s": "tps", "total_time": "e2e_ms", "total_tps": "tps_total",
        "toks": "tps", "vram": "gpu_mem_mb",
    }
)  # fmt: skip
"""Metrics by the names that other tools and people use, for hints."""
