"""What was asked for, read from pytest's configuration.  Not imported before a suite or the fixture is used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from pytest_flperf.integration.options import OPTIONS, Option

__all__ = ["FlperfOptions"]


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
        values: dict[str, Any] = {option.dest: _value(config, option) for option in OPTIONS}
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


def _value(config: pytest.Config, option: Option) -> Any:
    given = config.getoption(option.dest)
    if given is None and option.ini is not None:
        try:
            given = config.getini(option.dest)
        except (ValueError, TypeError, pytest.UsageError) as error:
            raise pytest.UsageError(f"{config.inipath}: {option.dest}: {error}") from error
    return None if given in ("", []) else given
