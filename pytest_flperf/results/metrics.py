"""Metrics: name, unit, title, direction and exact definition of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

__all__ = [
    "CASE_METRICS",
    "METRICS",
    "OF_CALLS",
    "RATIOS",
    "REQUEST_METRICS",
    "RESOURCE_METRICS",
    "VALUES_KEPT",
    "Better",
    "Metric",
]

Better = Literal["lower", "higher", "neither"]


VALUES_KEPT: Final = 2_000
"""Most values of single requests kept for a case and metric: those of the requests that were sent first."""


OF_CALLS: Final = ("tool_right", "argument_right", "abstained", "malformed")
"""Numbers of a case about its tool calls: means or shares over scored answers."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric, with its unit and definition."""

    name: str
    unit: str
    """``ms``, ``s``, ``tokens/s``, ``requests/s``, ``tokens``, ``fraction``, ``ratio``, ``%``, ``count``,
    ``tokens/chunk``, ``MB`` (2²⁰ bytes), ``W``, ``J``, ``°C``, ``currency`` (the price's) or ``per 1k tokens``."""
    title: str
    """Short heading for a column, without the unit."""
    better: Better
    definition: str
    per: Literal["request", "case", "resource", "run"]
    """``request``: a distribution over the requests of a case; ``case``: one number for the case; ``resource``: mean,
    min and max over the time of a case; ``run``: one number for the whole run."""
    over_100: bool = False
    """Whether a percentage may be more than 100."""

    @property
    def heading(self) -> str:
        """Column heading: the title with its unit, such as ``TTFT ms``."""
        return self.title if self.unit in {"count", "tokens", "fraction", "currency"} else f"{self.title} {self.unit}"


def _request(name: str, unit: str, title: str, better: Better, definition: str) -> Metric:
    return Metric(name, unit, title, better, definition, "request")


def _case(name: str, unit: str, title: str, better: Better, definition: str) -> Metric:
    return Metric(name, unit, title, better, definition, "case")


def _resource(name: str, unit: str, title: str, better: Better, definition: str, *, over_100: bool = False) -> Metric:
    return Metric(name, unit, title, better, definition, "resource", over_100)


_TOKENS: Final = (
    "from `usage`; else the server's `timings`; else a local tokenizer; else the number of content chunks. "
    "`tokens_source` says which"
)

_ALL: Final = (
    _request("ttft_ms", "ms", "TTFT", "lower", "first_token − sent"),
    _request("ttfat_ms", "ms", "TTFAT", "lower", "first_answer_token − sent"),
    _request("itl_ms", "ms", "ITL", "lower", "gaps between successive content arrivals (all of them pooled per case)"),
    _request(
        "tpot_ms",
        "ms",
        "TPOT",
        "lower",
        "(last_token − first_token) / (visible_tokens − 1), where visible tokens are those that the seen arrivals "
        "carry: output tokens less hidden reasoning (counted in `usage`, no text came), plus streamed reasoning that "
        "`completion_tokens` left out. Unmeasured for fewer than 2 tokens, where all text shares one arrival, and "
        "where the count contradicts the text (fewer tokens than words that arrived): never 0. More chunks than tokens "
        "is noted, not refused: some servers cut text every three characters",
    ),
    _request("gen_tps", "tokens/s", "gen", "higher", "1000 / tpot_ms"),
    _request(
        "tps",
        "tokens/s",
        "per stream",
        "higher",
        "output_tokens / (last_token − sent)",
    ),
    _request(
        "prompt_tps",
        "tokens/s",
        "prompt",
        "higher",
        "prompt_tokens / ttft, and the server's own figure where it reports one",
    ),
    _request(
        "server_prompt_tps",
        "tokens/s",
        "prompt (server)",
        "higher",
        "the server's own figure of prompt_tps, from its `timings`: prompt_n / prompt_ms",
    ),
    _request(
        "server_prompt_ms",
        "ms",
        "prompt (server)",
        "lower",
        "the server's own time for the prompt: prompt_ms of llama.cpp's `timings`, prompt_eval_duration of Ollama",
    ),
    _request(
        "server_tpot_ms",
        "ms",
        "TPOT (server)",
        "lower",
        "the server's own time per token, whose clock starts with the first one, too: predicted_ms / (predicted_n − 1) "
        "of llama.cpp's `timings`, eval_duration / (eval_count − 1) of Ollama; null for fewer than 2 tokens",
    ),
    _request("e2e_ms", "ms", "e2e", "lower", "last_token − sent (streaming) or end − sent (not streaming)"),
    _request("output_tokens", "tokens", "output tokens", "neither", _TOKENS),
    _request("prompt_tokens", "tokens", "prompt tokens", "neither", _TOKENS),
    _request("cached_tokens", "tokens", "cached tokens", "neither", _TOKENS),
    _request(
        "reasoning_tokens",
        "tokens",
        "reasoning tokens",
        "neither",
        "from `usage`; else, where reasoning came as text, output_tokens × chunks with reasoning / content chunks. "
        "`reasoning_tokens_source` says which",
    ),
    _request("answer_tokens", "tokens", "answer tokens", "neither", "output_tokens − reasoning_tokens"),
    _request(
        "request_cost",
        "currency",
        "cost",
        "lower",
        "(uncached prompt tokens × input_per_1m + cached_tokens × cached_input_per_1m + answer tokens × output_per_1m "
        "+ reasoning_tokens × reasoning_per_1m) / 1,000,000, by the server's own counts; never of estimates",
    ),
    _request("connect_ms", "ms", "connect", "lower", "connecting, stamped apart; not part of TTFT"),
    _request(
        "quality",
        "fraction",
        "quality",
        "higher",
        "score of the answer against what is expected of it, 0 to 1; failed requests score 0. The mean is over "
        "prompts, whose repeats are averaged first",
    ),
    _request(
        "dispatch_delay_ms", "ms", "dispatch delay", "lower", "sent − due; open loop only, whose times count from due"
    ),
    _request("ttft_sent_ms", "ms", "TTFT (sent)", "lower", "first_token − sent; open loop only"),
    _request("e2e_sent_ms", "ms", "e2e (sent)", "lower", "last_token − sent or end − sent; open loop only"),
    *(
        _request(
            f"{name}_ratio", "ratio", f"{title} / ref.", "lower", f"{name}_ms / that of the reference load beside it"
        )
        for name, title in (("ttft", "TTFT"), ("tpot", "TPOT"), ("e2e", "e2e"))
    ),
    _case("error_rate", "fraction", "errors", "lower", "measured requests that did not end ok / all measured requests"),
    _case(
        "tool_right",
        "fraction",
        "tools right",
        "higher",
        "mean over scored answers of: right tools / the larger of expected and made calls; where no call is expected, "
        "1 for abstaining and 0 else",
    ),
    _case(
        "argument_right",
        "fraction",
        "arguments right",
        "higher",
        "mean over scored answers that should call of: shares of right arguments, summed over matched calls / the "
        "larger of expected and made calls",
    ),
    _case(
        "abstained",
        "fraction",
        "abstained",
        "neither",
        "scored answers to requests with expected (or unwanted) calls that hold nothing like a call / all of them",
    ),
    _case(
        "malformed",
        "fraction",
        "malformed calls",
        "lower",
        "scored answers with arguments that are not a JSON object, a call without a name, or a call as text / all of "
        "those to requests with expected (or unwanted) calls",
    ),
    _case(
        "cost_total",
        "currency",
        "cost",
        "lower",
        "sum of request_cost over the measured requests; failed ones count as far as the server said what they used, "
        "retries not at all",
    ),
    _case("cost_per_1k", "currency", "cost / 1k answers", "lower", "1,000 × cost_total / requests that ended ok"),
    _case("cost_per_right", "currency", "cost / right answer", "lower", "cost_total / answers with a score of 1"),
    _case(
        "quality_per_1k_reasoning",
        "per 1k tokens",
        "quality / 1k reasoning",
        "higher",
        "1,000 × quality.mean / reasoning_tokens.mean",
    ),
    _case(
        "energy_per_answer_j",
        "J",
        "energy / answer",
        "lower",
        "gpu_power_w.mean / request_rate: what all GPUs of this machine draw, idle power included",
    ),
    _case(
        "energy_per_right_j",
        "J",
        "energy / right answer",
        "lower",
        "energy_per_answer_j × requests that ended ok / answers with a score of 1",
    ),
    _case(
        "timeout_rate",
        "fraction",
        "timeouts",
        "lower",
        "measured requests that ended in a timeout of any kind / all measured requests",
    ),
    _case("timeouts", "count", "timeouts", "lower", "measured requests that ended in a timeout of any kind"),
    _case(
        "recovered",
        "count",
        "recovered",
        "neither",
        "failed requests of which a further try (`retries`) ended ok; they stay in the error rate",
    ),
    _case(
        "request_rate",
        "requests/s",
        "requests",
        "higher",
        "requests that ended ok within wall_s, whenever they began, further tries included / wall_s",
    ),
    _case(
        "goodput",
        "requests/s",
        "goodput",
        "higher",
        "requests per second that ended ok within wall_s and met every latency budget of the case, each taken as a "
        "limit on every request; one that has no such metric by its nature meets it",
    ),
    _case(
        "offered_rate",
        "requests/s",
        "offered",
        "neither",
        "measured requests due before the last one, also those that could not be sent / time from the first due time "
        "to the last; open loop only",
    ),
    _case(
        "sent_rate",
        "requests/s",
        "sent",
        "higher",
        "the same of those that were sent, by when they were, a burst's requests counted as one moment",
    ),
    _case(
        "max_concurrency",
        "count",
        "max streams",
        "higher",
        "highest concurrency that met the other budgets of a search (`load: search`), or a budget's own conditions; "
        "0 where none did",
    ),
    _case(
        "max_rate",
        "requests/s",
        "max rate",
        "higher",
        "highest rate that met the other budgets of a search (`search_over: rate`), or a budget's own conditions; "
        "0 where none did",
    ),
    _case(
        "tps_total",
        "tokens/s",
        "throughput",
        "higher",
        "output tokens that arrived within wall_s, whenever their requests began, further tries and requests that "
        "failed included / wall_s",
    ),
    _case(
        "wall_s",
        "s",
        "wall",
        "lower",
        "from the start of the first measured request to the end of the last; with ramp-up or cool-down the steady "
        "window, from the end of the one to the begin of the other",
    ),
    _case("load_s", "s", "load", "lower", "time to make the model ready"),
    _case(
        "cold_ttft_ms",
        "ms",
        "cold TTFT",
        "lower",
        "ttft_ms of the very first request after a load; a result of its own, never a warm-up",
    ),
    _case("download_s", "s", "download", "lower", "time that the model's files took to come"),
    _case(
        "model_rss_mb",
        "MB",
        "model memory",
        "lower",
        "what loading the model added to the resident memory of the processes that serve it, in units of 2²⁰ bytes",
    ),
    _case(
        "late_reads",
        "count",
        "late reads",
        "lower",
        "requests whose first-token read holds more content chunks than this stream's reads usually do, with a doubt "
        "of (surplus × tpot_ms) over 1 ms and over 1 % of the TTFT: its TTFT is an upper bound and stays out of the "
        "statistics",
    ),
    _case(
        "clock_steps",
        "count",
        "clock steps",
        "lower",
        "requests during which realtime moved against monotonic by more than 1 ms: left out of timing",
    ),
    _case("stalls", "count", "stalls", "lower", "gaps over 5 × their stream's median gap and over 50 ms"),
    _case("coalesced_pct", "%", "coalesced", "lower", "share of content chunks that shared a read"),
    _case("tokens_per_chunk", "tokens/chunk", "tokens per chunk", "neither", "output tokens / content chunks"),
    _resource(
        "server_cpu_pct",
        "%",
        "server CPU",
        "neither",
        "processor time of the server's processes (all that hold its listening socket) and of all that they start / "
        "time; 100 is one core, fully used",
        over_100=True,
    ),
    _resource(
        "server_rss_mb",
        "MB",
        "server memory",
        "lower",
        "resident memory of the server's processes and of all that they start, summed, in units of 2²⁰ bytes",
    ),
    _resource(
        "other_cpu_pct",
        "%",
        "other CPU",
        "neither",
        "processor time of this machine that neither the server's processes nor this run's used, over 250 ms at least "
        "/ time; 100 is one core, fully used",
        over_100=True,
    ),
    _resource(
        "cpu_pct", "%", "CPU", "neither", "share of the machine's processor time that was used, over 50 ms at least"
    ),
    _resource("ram_pct", "%", "memory", "lower", "share of the machine's memory that was not available"),
    _resource(
        "gpu_util_pct",
        "%",
        "GPU",
        "neither",
        "share of the driver's last sampling period (1/6 to 1 s) in which a GPU worked; of several, the busiest",
    ),
    _resource("gpu_mem_mb", "MB", "GPU memory", "lower", "used memory of all GPUs, in units of 2²⁰ bytes"),
    _resource("gpu_power_w", "W", "GPU power", "lower", "power that all GPUs draw"),
    _resource("gpu_temp_c", "°C", "GPU temperature", "lower", "temperature of a GPU; of several, the hottest"),
)

METRICS: Final[Mapping[str, Metric]] = MappingProxyType({metric.name: metric for metric in _ALL})
"""All metrics by name, in the order in which they are shown."""

RATIOS: Final[Mapping[str, str]] = MappingProxyType({f"{name}_ms": f"{name}_ratio" for name in ("ttft", "tpot", "e2e")})
"""Metrics of requests, and the metric that is the same relative to a reference load (``--flperf-reference``)."""

REQUEST_METRICS: Final = tuple(metric.name for metric in _ALL if metric.per == "request")
CASE_METRICS: Final = tuple(metric.name for metric in _ALL if metric.per == "case")
RESOURCE_METRICS: Final = tuple(metric.name for metric in _ALL if metric.per == "resource")
