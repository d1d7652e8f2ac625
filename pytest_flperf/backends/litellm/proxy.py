"""LiteLLM proxy process: configuration, start, and a clean environment."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pytest_flperf.backends.admin_api import Control
from pytest_flperf.backends.base import BackendError
from pytest_flperf.backends.litellm.options import FROM_ENVIRONMENT, LiteLlmOptions, variables_in
from pytest_flperf.backends.server_process import ServerCommand, ServerProcess, find_command, free_port
from pytest_flperf.foundry_host.logs import tail
from pytest_flperf.results.redaction import environment_secrets
from pytest_flperf.wire.endpoint import Endpoint

__all__ = ["LiteLlmProxy"]

_LOOK_S: Final = 2.0
_VERSION_S: Final = 10.0
_NEWS_S: Final = 1.0
_GRACE_S: Final = 1.0
"""Short: the proxy has no state that it must save."""
_KEY_VARIABLE: Final = "FLPERF_PROVIDER_KEY"
_ADVICE: Final = (
    "install LiteLLM's proxy (pip install 'pytest-flperf[litellm]'), or name its command with the option server"
)
_NOT_OURS: Final = (
    # databases, caches and configuration of a company's proxy
    "DATABASE_",
    "DIRECT_URL",
    "REDIS_",
    "STORE_MODEL_IN_DB",
    "CONFIG_FILE_PATH",
    "WORKER_CONFIG",
    "LITELLM_CONFIG_",
    "LITELLM_MASTER_KEY",
    "LITELLM_SALT_KEY",
    "LITELLM_LOG",
    # command-line options that can also be set by a variable
    "NUM_WORKERS",
    "DEBUG",
    "DETAILED_DEBUG",
    "SSL_KEYFILE_PATH",
    "SSL_CERTFILE_PATH",
    "MAX_REQUESTS_BEFORE_RESTART",
    "LIMIT_CONCURRENCY",
    "PROMETHEUS_METRICS_PORT",
)


class LiteLlmProxy:
    """LiteLLM proxy for some models, protected by a key.

    Runs ``litellm --config …``.
    """

    def __init__(self, options: LiteLlmOptions, models: tuple[str, ...], logs_dir: Path | None) -> None:
        """Start the proxy without waiting; raises BackendError without the command."""
        self._command = find_command(options.server, _ADVICE)
        self.master_key = f"sk-{secrets.token_hex(32)}"
        port = free_port()
        self.endpoint = Endpoint.parse(f"http://127.0.0.1:{port}/v1")
        self._control = Control(self.endpoint, patience_s=_LOOK_S)
        entries = _entries(options, models)
        self._temporary = tempfile.TemporaryDirectory(prefix="flperf-litellm-", ignore_cleanup_errors=True)
        folder = Path(self._temporary.name)
        config = folder / "config.yaml"
        config.write_text(json.dumps(_configuration(entries)), encoding="utf-8")  # JSON is YAML
        environment = _environment(os.environ, self.master_key, options.api_key)
        named = [os.environ.get(name, "") for name in variables_in([options.params, options.models])]
        try:
            self._process = ServerProcess(
                ServerCommand(
                    name="LiteLLM's proxy",
                    arguments=(
                        self._command,
                        *("--config", str(config), "--host", "127.0.0.1", "--port", str(port)),
                        *("--num_workers", "1", "--telemetry", "False"),
                    ),
                    environment=environment,
                    folder=folder,
                    logs_dir=logs_dir,
                    log_name="litellm",
                    start_s=options.start_s,
                    grace_s=_GRACE_S,
                    secrets=(self.master_key, options.api_key or "", *named, *environment_secrets(os.environ)),
                )
            )
        except BackendError:
            self._temporary.cleanup()
            raise

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.alive

    def has_ended(self) -> bool:
        """Whether the process has ended, or does within a moment.

        For a proxy that didn't answer: its end is reported a moment later.
        """
        return self._process.wait_end(_NEWS_S)

    def answers(self) -> bool:
        """Whether the proxy answers now."""
        try:
            return self.alive and self._control.raw("GET", "/health/liveliness")[0] == 200
        except BackendError:
            return False

    def wait_ready(self) -> None:
        """Wait until the proxy answers; raises BackendError if it doesn't.

        Raises PortTakenError as ServerProcess does.
        """
        self._process.wait_ready(self.answers)

    def version(self) -> str:
        """Version of the LiteLLM package; empty if unknown.

        Read with the Python in the command's folder.
        """
        # -I: nothing of the current folder; the import of LiteLLM itself would take seconds.
        ask = "import importlib.metadata as m; print(m.version('litellm'))"
        try:
            done = subprocess.run(
                [_python_of(self._command), "-I", "-c", ask],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_VERSION_S,
                check=True,
            )
        except (OSError, subprocess.SubprocessError, ValueError):
            return ""
        return done.stdout.strip()[:40]

    def obituary(self) -> str:
        """How the proxy ended, with the last lines of its log."""
        return self._process.obituary()

    def complaint(self, model: str) -> str:
        """Log line on a refused model; empty if there is none.

        Worded as the rest of a sentence.
        """
        said = [line for line in tail(self._process.log_path, 400) if model in line and "Error" in line]
        return f"; its log says: {said[-1]}" if said else ""

    def end(self) -> None:
        """Stop the proxy; may be called again."""
        self._process.end()
        self._temporary.cleanup()


def _entries(options: LiteLlmOptions, models: tuple[str, ...]) -> list[dict[str, Any]]:
    entries = []
    for model in models:
        key = {"api_key": FROM_ENVIRONMENT + _KEY_VARIABLE} if options.takes_the_key(model) else {}
        params = {"max_retries": 0, **options.of_model(model), **key, "model": model}
        entries.append({"model_name": model, "litellm_params": params})
    return entries


def _configuration(entries: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "model_list": entries,
        # Unsupported parameters are errors, not silently dropped; no retries: one request is one request.
        "litellm_settings": {"drop_params": False, "num_retries": 0, "telemetry": False},
        # With cooldowns, LiteLLM answers 429 itself for seconds after some errors.
        "router_settings": {"num_retries": 0, "disable_cooldowns": True},
    }


def _environment(surroundings: Mapping[str, str], master_key: str, api_key: str | None) -> dict[str, str]:
    """Environment of the proxy: provider keys, no database, no telemetry.

    It also prevents a download at the start.
    """
    kept = {name: value for name, value in surroundings.items() if not name.startswith(_NOT_OURS)}
    kept |= {
        "LITELLM_MASTER_KEY": master_key,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_MODE": "PRODUCTION",  # ignores a .env in the folder
        "NO_COLOR": "1",
        "PYTHONUTF8": "1",
        "PYTHONUNBUFFERED": "1",
    }
    for name in ("PYTHONPATH", "PYTHONHOME"):  # meant for our Python; the proxy may use another
        kept.pop(name, None)
    if api_key:
        kept[_KEY_VARIABLE] = api_key
    return kept


def _python_of(command: str) -> str:
    """Python interpreter in the command's folder, where installers put both."""
    folder = Path(command).resolve().parent
    for name in ("python.exe", "python3", "python"):
        if (folder / name).is_file():
            return str(folder / name)
    return sys.executable
