"""Options of a run, from the command line and ini file.

Imported only when a suite or the fixture is used.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pytest

from pytest_flperf.gates.run_budgets import is_run_budget
from pytest_flperf.integration.option_types import load_settings, lock_timeout_s, max_time_s
from pytest_flperf.options import NULL, OPTIONS, Option

if TYPE_CHECKING:
    from pytest_flperf.suite.targets import TargetSpec

__all__ = ["FlperfOptions"]

_LOCK_TIMEOUT_S: Final = 600.0
_MOST_PROCESSES: Final = 64
_FEWEST_PAIRS: Final = 12
"""With fewer, nothing is ever decided."""
_MOST_ITERATIONS: Final = 100_000


@dataclass(frozen=True, slots=True)
class FlperfOptions:
    """Options of a run: command line, else ini file.

    None or empty: not given.
    """

    suites: tuple[str, ...]
    models: tuple[str, ...]
    base_url: str | None
    api_key_env: str | None
    backend: str | None
    targets: tuple[TargetSpec, ...]
    device: str | None
    isolation: str | None
    transport: str | None
    backend_options: Mapping[str, Mapping[str, Any]]
    """By kind and key."""
    keep_loaded: bool
    parallel_targets: bool
    iterations: int | None
    warmup: int | None
    concurrency: int | None
    load: Mapping[str, Any]
    """Settings of the load, by their keys in a suite."""
    load_processes: int
    seed: str | None
    timeout_s: float | None
    max_answer_mb: float | None
    max_tokens: int | None
    temperature: float | None
    left_out: frozenset[str]
    """Request settings that are not sent."""
    no_stream: bool
    budgets: tuple[str, ...]
    against: str | None
    """What every case is measured against, as written."""
    baseline: str | None
    """The stored run that every case is compared with, as written."""
    require_baseline: bool
    reference: bool
    fail_on: tuple[str, ...]
    fail_undecided: bool
    max_iterations: int | None
    max_time: str | None
    """As written."""
    max_time_s: float | None
    lock_timeout_s: float | None
    """None: measure beside other runs."""
    report_dir: str
    store: str | None
    """As written; None: ``history.db`` in ``report_dir``."""
    html: str | None
    markdown: str | None
    code_quality: str | None
    csv: str | None
    json: str | None
    catalog_url: str | None
    model_cache: str | None
    list_suites: bool
    list_models: bool
    dry_run: bool

    @property
    def compares(self) -> bool:
        """Whether any comparison option is given."""
        return bool(
            self.against
            or self.baseline
            or self.require_baseline
            or self.reference
            or self.fail_on
            or self.fail_undecided
            or self.max_iterations
        )

    @property
    def case_budgets(self) -> tuple[str, ...]:
        """Budgets for every case."""
        return tuple(text for text in self.budgets if not is_run_budget(text))

    @property
    def run_budgets(self) -> tuple[str, ...]:
        """Budgets of the whole run."""
        return tuple(text for text in self.budgets if is_run_budget(text))

    @classmethod
    def from_pytest_config(cls, config: pytest.Config) -> FlperfOptions:
        """Read options and ini values; the command line wins."""
        values: dict[str, Any] = {option.dest: _value(config, option) for option in OPTIONS}
        return cls(
            suites=tuple(values["flperf_suite"] or ()),
            models=_models(values["flperf_model"] or ()),
            base_url=values["flperf_base_url"],
            api_key_env=values["flperf_api_key_env"],
            backend=values["flperf_backend"],
            targets=_targets(values["flperf_target"] or ()),
            device=_one_of("--flperf-device", values["flperf_device"], ("auto", "cpu", "gpu", "npu")),
            isolation=_one_of("--flperf-isolation", values["flperf_isolation"], ("shared", "process")),
            transport=_one_of("--flperf-transport", values["flperf_transport"], ("http", "native")),
            backend_options=_backend_options(values["flperf_backend_option"] or ()),
            keep_loaded=bool(values["flperf_keep_loaded"]),
            parallel_targets=bool(values["flperf_parallel_targets"]),
            iterations=values["flperf_iterations"],
            warmup=values["flperf_warmup"],
            concurrency=values["flperf_concurrency"],
            load=load_settings(values["flperf_load"]),
            load_processes=_processes(values["flperf_load_processes"]),
            seed=values["flperf_seed"],
            timeout_s=values["flperf_timeout"],
            max_answer_mb=values["flperf_max_answer_mb"],
            max_tokens=_unless_null(values["flperf_max_tokens"]),
            temperature=_unless_null(values["flperf_temperature"]),
            left_out=frozenset(key for key in ("max_tokens", "temperature") if values[f"flperf_{key}"] == NULL),
            no_stream=bool(values["flperf_no_stream"]),
            budgets=tuple(values["flperf_budget"] or ()),
            against=values["flperf_against"],
            baseline=values["flperf_baseline"],
            require_baseline=bool(values["flperf_require_baseline"]),
            reference=bool(values["flperf_reference"]),
            fail_on=tuple(values["flperf_fail_on"] or ()),
            fail_undecided=bool(values["flperf_fail_undecided"]),
            max_iterations=_max_iterations(values["flperf_max_iterations"]),
            max_time=values["flperf_max_time"],
            max_time_s=max_time_s(values["flperf_max_time"]),
            lock_timeout_s=lock_timeout_s(values["flperf_lock_timeout"], _LOCK_TIMEOUT_S),
            report_dir=values["flperf_report_dir"] or "reports",
            store=values["flperf_store"],
            html=values["flperf_html"],
            markdown=values["flperf_markdown"],
            code_quality=values["flperf_code_quality"],
            csv=values["flperf_csv"],
            json=values["flperf_json"],
            catalog_url=values["flperf_catalog_url"],
            model_cache=values["flperf_model_cache"],
            list_suites=bool(values["flperf_list_suites"]),
            list_models=bool(values["flperf_list_models"]),
            dry_run=bool(values["flperf_dry_run"]),
        )


def _processes(given: int | None) -> int:
    """Number of load processes; raises UsageError."""
    if given is not None and not 1 <= given <= _MOST_PROCESSES:
        raise pytest.UsageError(
            f"--flperf-load-processes: found {given}, expected a whole number from 1 to {_MOST_PROCESSES}"
        )
    return given or 1


def _max_iterations(given: int | None) -> int | None:
    """Maximum requests per side; raises UsageError."""
    if given is not None and not _FEWEST_PAIRS <= given <= _MOST_ITERATIONS:
        raise pytest.UsageError(
            f"--flperf-max-iterations: found {given}, expected a whole number from {_FEWEST_PAIRS} to "
            f"{_MOST_ITERATIONS:,}"
        )
    return given


def _one_of(flag: str, given: str | None, known: tuple[str, ...]) -> str | None:
    if given is not None and given not in known:
        raise pytest.UsageError(f"{flag}: found {given[:80]!r}, expected {', '.join(known[:-1])} or {known[-1]}")
    return given


def _targets(texts: Iterable[str]) -> tuple[TargetSpec, ...]:
    """The targets; raises UsageError."""
    if not texts:
        return ()
    from pytest_flperf.suite.errors import SuiteError
    from pytest_flperf.suite.loader import parse_target
    from pytest_flperf.suite.targets import distinct

    try:
        return distinct((parse_target(text, "--flperf-target") for text in texts), "--flperf-target")
    except SuiteError as error:
        raise pytest.UsageError(str(error)) from error


def _backend_options(texts: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Options by kind of backend; raises UsageError."""
    if not texts:
        return {}
    from pytest_flperf.suite.errors import SuiteError
    from pytest_flperf.suite.targets import backend_options

    try:
        return backend_options(texts, "--flperf-backend-option")
    except SuiteError as error:
        raise pytest.UsageError(str(error)) from error


def _models(texts: Iterable[str]) -> tuple[str, ...]:
    """Model names without duplicates; raises UsageError for an empty text."""
    names: list[str] = []
    for text in texts:
        found = [name.strip() for name in text.split(",") if name.strip()]
        if not found:
            raise pytest.UsageError(f"--flperf-model: found {text[:80]!r}, expected the name of a model")
        names += found
    return tuple(dict.fromkeys(names))


def _unless_null(given: Any) -> Any:
    return None if given == NULL else given


def _value(config: pytest.Config, option: Option) -> Any:
    given = config.getoption(option.dest)
    if isinstance(given, str) and not given.strip():
        # most likely an unset variable: without the option, something else would be measured
        raise pytest.UsageError(f"{option.flag}: found {given[:80]!r}, expected {option.metavar}")
    if given is None and option.ini is not None:
        try:
            given = config.getini(option.dest)
        except (ValueError, TypeError, pytest.UsageError) as error:
            raise pytest.UsageError(f"{config.inipath}: {option.dest}: {error}") from error
    return None if given in ("", []) else given
