"""Command-line options and their ini twins.  Imported at plugin load: nothing heavy here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import pytest

__all__ = ["FlperfOptions", "add_options"]

_IniType: TypeAlias = Literal["string", "args", "linelist", "bool", "int", "float"]


@dataclass(frozen=True, slots=True)
class _Option:
    """An option and how its ini twin is typed; None: it has none."""

    flag: str
    ini: _IniType | None
    help: str
    metavar: str | None = None
    kind: type | None = None
    repeatable: bool = False
    switch: bool = False

    @property
    def dest(self) -> str:
        return self.flag.lstrip("-").replace("-", "_")


_OPTIONS: Final = (
    _Option("--flperf-suite", None, "Suite to run: a name or the path of a suite file (repeatable)", "SUITE",
            None, True),
    _Option(
        "--flperf-model", "args",
        "Model to measure, by alias or id (repeatable, or several with commas); default: the suite's models, else the "
        "embedded ones", "MODEL", None, True,
    ),
    _Option(
        "--flperf-base-url", "string", "Measure the OpenAI-compatible server at this URL, such as "
        "http://127.0.0.1:8080/v1, in place of Foundry Local; nothing is loaded or unloaded", "URL",
    ),
    _Option("--flperf-api-key-env", "string", "Environment variable that holds the key for --flperf-base-url", "NAME"),
    _Option("--flperf-iterations", "int", "Measured requests per case, over all streams", "N", int),
    _Option("--flperf-warmup", "int", "Requests before the measured ones; default: one per stream, four at most", "N",
            int),
    _Option("--flperf-concurrency", "int", "Streams per case, each sending when its last request has ended", "N", int),
    _Option("--flperf-timeout", "float", "Deadline of a whole request in seconds", "SECONDS", float),
    _Option("--flperf-max-tokens", "int", "Longest answer in tokens", "N", int),
    _Option("--flperf-temperature", "float", "Sampling temperature", "T", float),
    _Option("--flperf-no-stream", "bool", "Ask for whole answers: no TTFT, ITL or TPOT", switch=True),
    _Option(
        "--flperf-budget", "linelist", "Limit for every case, such as 'ttft_ms.p95 <= 500', 'tps.p50 >= 20' or "
        "'error_rate <= 1%%' (repeatable); default: 'error_rate <= 0'", "BUDGET", None, True,
    ),
    _Option("--flperf-report-dir", "string", "Folder for the runs' files; default: reports", "DIR"),
    _Option("--flperf-catalog-url", "string", "Model catalog in place of Foundry Local's public one", "URL"),
    _Option("--flperf-model-cache", "string", "Folder of downloaded models; default: Foundry Local's own", "DIR"),
    _Option("--flperf-list-suites", None, "List the suites that can be asked for and exit", switch=True),
    _Option("--flperf-list-models", None, "List catalog, cached and loaded models and exit", switch=True),
    _Option("--flperf-dry-run", None, "Print the cases, their requests and the estimated time and exit", switch=True),
)  # fmt: skip


def add_options(parser: pytest.Parser) -> None:
    """Register every option and its ini twin."""
    group = parser.getgroup("flperf", "benchmarks of local language models (pytest-flperf)")
    for option in _OPTIONS:
        if option.switch:
            group.addoption(option.flag, action="store_true", default=None, help=option.help)
        elif option.repeatable:
            group.addoption(option.flag, action="append", metavar=option.metavar, help=option.help)
        else:
            group.addoption(option.flag, type=option.kind or str, metavar=option.metavar, help=option.help)
        if option.ini is not None:
            text = f"{option.help.replace('%%', '%')} (as {option.flag})"
            parser.addini(option.dest, text, type=option.ini, default=None)


@dataclass(frozen=True, slots=True)
class FlperfOptions:
    """What was asked for: the command line, else the ini file.  None or empty: nothing."""

    suites: tuple[str, ...]
    models: tuple[str, ...]
    base_url: str | None
    api_key_env: str | None
    iterations: int | None
    warmup: int | None
    concurrency: int | None
    timeout_s: float | None
    max_tokens: int | None
    temperature: float | None
    no_stream: bool
    budgets: tuple[str, ...]
    report_dir: str
    catalog_url: str | None
    model_cache: str | None
    list_suites: bool
    list_models: bool
    dry_run: bool

    @classmethod
    def from_pytest_config(cls, config: pytest.Config) -> FlperfOptions:
        """Read options and ini values; the command line wins."""
        values: dict[str, Any] = {option.dest: _value(config, option) for option in _OPTIONS}
        models = [name.strip() for text in values["flperf_model"] or () for name in text.split(",")]
        return cls(
            suites=tuple(values["flperf_suite"] or ()),
            models=tuple(dict.fromkeys(name for name in models if name)),
            base_url=values["flperf_base_url"],
            api_key_env=values["flperf_api_key_env"],
            iterations=values["flperf_iterations"],
            warmup=values["flperf_warmup"],
            concurrency=values["flperf_concurrency"],
            timeout_s=values["flperf_timeout"],
            max_tokens=values["flperf_max_tokens"],
            temperature=values["flperf_temperature"],
            no_stream=bool(values["flperf_no_stream"]),
            budgets=tuple(values["flperf_budget"] or ()),
            report_dir=values["flperf_report_dir"] or "reports",
            catalog_url=values["flperf_catalog_url"],
            model_cache=values["flperf_model_cache"],
            list_suites=bool(values["flperf_list_suites"]),
            list_models=bool(values["flperf_list_models"]),
            dry_run=bool(values["flperf_dry_run"]),
        )


def _value(config: pytest.Config, option: _Option) -> Any:
    given = config.getoption(option.dest)
    if given is None and option.ini is not None:
        given = config.getini(option.dest)
    return None if given in ("", []) else given
