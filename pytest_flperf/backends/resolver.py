"""Target resolver: turns targets into backend configurations.

Everything is checked, and every error is named.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pytest_flperf.backends.base import BackendConfig, BackendError
from pytest_flperf.backends.litellm.options import variables_in
from pytest_flperf.backends.registry import BackendType, UnknownBackendError, backend_type
from pytest_flperf.backends.router import Place
from pytest_flperf.results.redaction import environment_secrets, url_secrets
from pytest_flperf.suite.errors import shown, suggestion
from pytest_flperf.suite.targets import TargetSpec
from pytest_flperf.wire.endpoint import Endpoint, EndpointError
from pytest_flperf.wire.tls import TlsOptions

__all__ = ["Defaults", "Placing", "PlacingError", "secrets_of"]

_BY_URL: Final = "openai"
_LOCAL: Final = "foundry"
_URL: Final = "the server's, such as http://127.0.0.1:8080/v1"


class PlacingError(ValueError):
    """Invalid target: no machine could measure it.

    The message says what was found, where, and what was expected.
    """


@dataclass(frozen=True, slots=True)
class Defaults:
    """Run-wide defaults for targets; None: not set."""

    backend: str | None = None
    base_url: str | None = None
    api_key_env: str | None = None
    device: str | None = None
    isolation: str | None = None
    transport: str | None = None
    catalog_url: str | None = None
    model_cache: str | None = None
    backend_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By kind and key."""
    keep_loaded: bool = False
    flags: str = "--flperf-"
    """Prefix of the command-line options, for error messages."""


class Placing:
    """Resolves targets to places, from run options and suites."""

    def __init__(self, defaults: Defaults, known: Mapping[str, BackendType], logs: Path | None = None) -> None:
        """Keep the defaults and the known kinds.

        ``logs``: folder for logs of started servers; None: temporary folders.
        """
        self._defaults = defaults
        self._known = known
        self._logs = logs

    def check_defaults(self) -> None:
        """Check the run's URLs and key; raises PlacingError.

        Refuses invalid URLs, and a key that has no use or isn't set.
        """
        defaults = self._defaults
        for key in ("base_url", "catalog_url"):
            url = getattr(defaults, key)
            if url is not None:
                _check_url(url, self._flag(key))
        variable, flag = defaults.api_key_env, self._flag("api_key_env")
        if variable is None:
            return
        if not os.environ.get(variable):
            raise PlacingError(f"{flag}: the environment variable {variable!r} is not set; expected it to hold a key")
        if defaults.base_url is None and defaults.backend is None:
            raise PlacingError(f"{flag} is for {self._flag('base_url')} or {self._flag('backend')}, which are missing")

    def check(self, targets: Iterable[TargetSpec], suite: str = "") -> None:
        """Check targets; refuses those that can't be measured.

        Args:
            targets: Targets of the run.
            suite: Suite file that defines them, if any.

        Raises:
            PlacingError: A target is invalid; says what is wrong, and where.

        """
        for target in targets:
            where = f"{suite}: target {shown(target.label)}" if suite else f"target {shown(target.label)}"
            kind = self._kind(target, where)
            self._check_fields(target, kind, where)
            self._check_options(kind, target.options, where, suite)
            nowhere = target.base_url is None and (self._defaults.base_url is None or not self._mine(target))
            if kind.needs_url and nowhere:
                raise PlacingError(f"{where}: base_url is missing; {kind.name} needs {_URL}")
            for key in ("base_url", "catalog_url"):
                url = getattr(target, key)
                if url is not None:
                    _check_url(url, f"{where}: {key}")
        self._check_run_options()

    def check_run(self) -> None:
        """Refuse run options that no target could use; raises PlacingError."""
        anything = TargetSpec("any")
        self._check_fields(anything, self._kind(anything, ""), "")
        self._check_run_options()

    def check_used(self, targets: Iterable[TargetSpec]) -> None:
        """Refuse run options that no given target uses; raises PlacingError."""
        targets = tuple(targets)
        kinds = [self._kind(each, shown(each.label)) for each in targets]
        for key in ("device", "isolation", "transport"):
            if getattr(self._defaults, key) is not None and not any(key in kind.takes for kind in kinds):
                names = ", ".join(dict.fromkeys(kind.name for kind in kinds))
                raise PlacingError(f"{self._flag(key)}: no measured target uses it ({names})")
        if self._defaults.base_url is None or any(each.base_url is None and self._mine(each) for each in targets):
            return
        raise PlacingError(
            f"{self._flag('base_url')}: every target names its own server, so none would be measured there"
        )

    def place(self, target: TargetSpec) -> Place:
        """Place of a target; raises BackendError for a missing key."""
        kind = self._kind(target, shown(target.label))
        return Place(kind, self._config(target, kind), target.model)

    def _kind(self, target: TargetSpec, where: str) -> BackendType:
        if target.backend:
            return self._named(target.backend, f"{where}: backend")
        if self._defaults.backend is not None:
            return self._named(self._defaults.backend, self._flag("backend"))
        by_url = target.base_url is not None or self._defaults.base_url is not None
        return self._known[_BY_URL if by_url else _LOCAL]

    def _mine(self, target: TargetSpec) -> bool:
        """Whether a target uses the run's place."""
        return not target.backend or target.backend == self._defaults.backend

    def _flag(self, name: str) -> str:
        return f"{self._defaults.flags}{name.replace('_', '-')}"

    def _named(self, name: str, where: str) -> BackendType:
        try:
            return backend_type(name, self._known)
        except UnknownBackendError as error:
            raise PlacingError(f"{where}: {error}") from error

    def _check_fields(self, target: TargetSpec, kind: BackendType, where: str) -> None:
        defaults = self._defaults
        asked = {
            "base_url": target.base_url,
            "api_key_env": target.api_key_env,
            "headers": target.headers or target.headers_env,
            "tls": (target.ca_file, target.verify, target.client_cert) != (None, True, None),
            "device": target.device,
            "isolation": target.isolation,
            "transport": target.transport,
            "model_cache": target.model_cache,
            "catalog_url": target.catalog_url,
        }
        for key, value in asked.items():
            if value and _field_of(key) not in kind.takes:
                raise PlacingError(f"{where}: found {key}, which the backend {kind.name} does not use")
        if not target.backend:
            for key in ("base_url", "api_key_env", "device", "isolation", "transport"):
                if getattr(defaults, key) is not None and _field_of(key) not in kind.takes:
                    raise PlacingError(f"{self._flag(key)}: the backend {kind.name} does not use it")

    def _check_options(self, kind: BackendType, options: Mapping[str, Any], where: str, suite: str) -> None:
        for key in options:
            if key not in kind.options:
                hint = suggestion(key, kind.options) or "it has none"
                raise PlacingError(f"{where}: found {shown(key)}, expected an option of {kind.name}; {hint}")
            if suite and key in kind.programs:
                raise PlacingError(
                    f"{where}: options.{key}: names a program or its arguments, which a suite file must not do; give "
                    f"it on the command line: {self._flag('backend-option')}={kind.name}.{key}=…"
                )

    def _check_run_options(self) -> None:
        flag = self._flag("backend-option")
        for name, options in self._defaults.backend_options.items():
            self._check_options(self._named(name, flag), options, flag, "")

    def _config(self, target: TargetSpec, kind: BackendType) -> BackendConfig:
        defaults = self._defaults
        mine = self._mine(target)
        # The run's key is for the run's server: a suite file may be untrusted, and can't have it sent elsewhere.
        there = target.base_url is None or target.base_url == defaults.base_url
        key_env = target.api_key_env or (defaults.api_key_env if mine and there else None)
        headers = {**target.headers, **{name: _secret(variable) for name, variable in target.headers_env.items()}}
        cache = target.model_cache or defaults.model_cache
        found: dict[str, Any] = {
            "base_url": target.base_url or (defaults.base_url if mine else None),
            "api_key": _secret(key_env) if key_env else None,
            "headers": headers,
            "tls": TlsOptions(target.ca_file, target.verify, target.client_cert),
            "device": target.device or defaults.device,
            "isolation": target.isolation or defaults.isolation,
            "transport": target.transport or defaults.transport,
            "catalog_url": target.catalog_url or defaults.catalog_url,
            "model_cache_dir": Path(cache).expanduser().absolute() if cache else None,
        }
        taken = {key: value for key, value in found.items() if key in kind.takes and value is not None}
        own = {**defaults.backend_options.get(kind.name, {}), **target.options}
        return BackendConfig(logs_dir=self._logs, keep_loaded=defaults.keep_loaded, options=own, **taken)


def secrets_of(api_key_env: str | None, targets: Iterable[TargetSpec], base_url: str | None = None) -> list[str]:
    """Secrets to mask: keys in the environment, headers and URLs.

    They are masked wherever text is kept.  Variables that look like keys count even if no option names them: a proxy or
    a server that we start may use and print them.
    """
    names, in_urls = [api_key_env], list(url_secrets(base_url))
    for target in targets:
        in_urls += url_secrets(target.base_url)
        names += [target.api_key_env, *target.headers_env.values(), *variables_in(target.options)]
    named = [value for name in names if name and (value := os.environ.get(name))]
    return [*named, *in_urls, *environment_secrets(os.environ)]


def _field_of(key: str) -> str:
    """BackendConfig field for a key of a target."""
    return {"api_key_env": "api_key", "model_cache": "model_cache_dir"}.get(key, key)


def _secret(variable: str) -> str:
    value = os.environ.get(variable)
    if not value:
        raise BackendError(
            f"the environment variable {variable!r} is not set; expected it to hold a key or a header's value"
        )
    return value


def _check_url(url: str, where: str) -> None:
    try:
        Endpoint.parse(url)
    except EndpointError as error:
        raise PlacingError(f"{where}: {error}") from error
