"""Options of a run, whoever gives them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pytest_flperf.gates.run_budgets import is_run_budget
from pytest_flperf.session.errors import OptionsError
from pytest_flperf.session.option_types import load_settings, lock_timeout_s, max_time_s

if TYPE_CHECKING:
    from pytest_flperf.suite.targets import TargetSpec

__all__ = ["RunOptions", "options_from"]

_LOCK_TIMEOUT_S: Final = 600.0
_MOST_PROCESSES: Final = 64
_FEWEST_PAIRS: Final = 12
"""With fewer, nothing is ever decided."""
_MOST_ITERATIONS: Final = 100_000


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Options of a run.

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
    order: str
    """``auto``, ``model`` or ``scenario``."""
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


def options_from(values: Mapping[str, Any]) -> RunOptions:
    """Options from values as the command line has them; raises OptionsError.

    ``values``: by name without the prefix (``max_time``); None, or no such name: not given.
    """
    get = values.get
    return RunOptions(
        suites=tuple(get("suite") or ()),
        models=_models(get("model") or ()),
        base_url=get("base_url"),
        api_key_env=get("api_key_env"),
        backend=get("backend"),
        targets=_targets(get("target") or ()),
        device=_one_of("--flperf-device", get("device"), ("auto", "cpu", "gpu", "npu")),
        isolation=_one_of("--flperf-isolation", get("isolation"), ("shared", "process")),
        transport=_one_of("--flperf-transport", get("transport"), ("http", "native")),
        backend_options=_backend_options(get("backend_option") or ()),
        order=_one_of("--flperf-order", get("order"), ("auto", "model", "scenario")) or "auto",
        keep_loaded=bool(get("keep_loaded")),
        parallel_targets=bool(get("parallel_targets")),
        iterations=get("iterations"),
        warmup=get("warmup"),
        concurrency=get("concurrency"),
        load=load_settings(get("load")),
        load_processes=_processes(get("load_processes")),
        seed=get("seed"),
        timeout_s=get("timeout"),
        max_answer_mb=get("max_answer_mb"),
        max_tokens=get("max_tokens"),
        temperature=get("temperature"),
        left_out=frozenset(get("left_out") or ()),
        no_stream=bool(get("no_stream")),
        budgets=tuple(get("budget") or ()),
        against=get("against"),
        baseline=get("baseline"),
        require_baseline=bool(get("require_baseline")),
        reference=bool(get("reference")),
        fail_on=tuple(get("fail_on") or ()),
        fail_undecided=bool(get("fail_undecided")),
        max_iterations=_max_iterations(get("max_iterations")),
        max_time=get("max_time"),
        max_time_s=max_time_s(get("max_time")),
        lock_timeout_s=lock_timeout_s(get("lock_timeout"), _LOCK_TIMEOUT_S),
        report_dir=get("report_dir") or "reports",
        store=get("store"),
        html=get("html"),
        markdown=get("markdown"),
        code_quality=get("code_quality"),
        csv=get("csv"),
        json=get("json"),
        catalog_url=get("catalog_url"),
        model_cache=get("model_cache"),
        list_suites=bool(get("list_suites")),
        list_models=bool(get("list_models")),
        dry_run=bool(get("dry_run")),
    )


def _processes(given: int | None) -> int:
    """Number of load processes; raises OptionsError."""
    if given is not None and not 1 <= given <= _MOST_PROCESSES:
        raise OptionsError(
            f"--flperf-load-processes: found {given}, expected a whole number from 1 to {_MOST_PROCESSES}"
        )
    return given or 1


def _max_iterations(given: int | None) -> int | None:
    """Maximum requests per side; raises OptionsError."""
    if given is not None and not _FEWEST_PAIRS <= given <= _MOST_ITERATIONS:
        raise OptionsError(
            f"--flperf-max-iterations: found {given}, expected a whole number from {_FEWEST_PAIRS} to "
            f"{_MOST_ITERATIONS:,}"
        )
    return given


def _one_of(flag: str, given: str | None, known: tuple[str, ...]) -> str | None:
    if given is not None and given not in known:
        raise OptionsError(f"{flag}: found {given[:80]!r}, expected {', '.join(known[:-1])} or {known[-1]}")
    return given


def _targets(texts: Iterable[str]) -> tuple[TargetSpec, ...]:
    """The targets; raises OptionsError."""
    if not texts:
        return ()
    from pytest_flperf.suite.errors import SuiteError
    from pytest_flperf.suite.loader import parse_target
    from pytest_flperf.suite.targets import distinct

    try:
        return distinct((parse_target(text, "--flperf-target") for text in texts), "--flperf-target")
    except SuiteError as error:
        raise OptionsError(str(error)) from error


def _backend_options(texts: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Options by kind of backend; raises OptionsError."""
    if not texts:
        return {}
    from pytest_flperf.suite.errors import SuiteError
    from pytest_flperf.suite.targets import backend_options

    try:
        return backend_options(texts, "--flperf-backend-option")
    except SuiteError as error:
        raise OptionsError(str(error)) from error


def _models(texts: Iterable[str]) -> tuple[str, ...]:
    """Model names without duplicates; raises OptionsError for an empty text."""
    names: list[str] = []
    for text in texts:
        found = [name.strip() for name in text.split(",") if name.strip()]
        if not found:
            raise OptionsError(f"--flperf-model: found {text[:80]!r}, expected the name of a model")
        names += found
    return tuple(dict.fromkeys(names))
