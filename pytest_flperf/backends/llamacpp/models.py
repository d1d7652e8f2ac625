"""llama.cpp models: request parameters, files, and list entries."""

from __future__ import annotations

import glob
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pytest_flperf.backends.base import ListedModel
from pytest_flperf.backends.llamacpp.admin_api import LlamaModel
from pytest_flperf.foundry_host.logs import clean

__all__ = [
    "PARAMETERS",
    "alias_of",
    "context_of",
    "file_of",
    "is_file_name",
    "listed",
    "listed_file",
    "quantization_of",
    "size_mb_of",
    "tools_of",
]

_PARAMETERS: Final = """
    temperature top_p top_k min_p top_n_sigma typical_p xtc_probability xtc_threshold dynatemp_range dynatemp_exponent
    mirostat mirostat_tau mirostat_eta seed stop max_tokens max_completion_tokens n_predict n n_keep min_keep samplers
    repeat_penalty repeat_last_n frequency_penalty presence_penalty dry_multiplier dry_base dry_allowed_length
    dry_penalty_last_n dry_sequence_breakers logit_bias logprobs top_logprobs n_probs post_sampling_probs ignore_eos
    cache_prompt n_cache_reuse id_slot t_max_predict_ms timings_per_token return_progress return_tokens stream_options
    response_format json_schema grammar tools tool_choice parallel_tool_calls parse_tool_calls chat_template_kwargs
    reasoning_format reasoning_effort reasoning_budget_tokens thinking_budget_tokens add_generation_prompt
    continue_final_message lora
"""
PARAMETERS: Final = frozenset(_PARAMETERS.split())
"""Parameters of ``POST /v1/chat/completions`` in the server's documentation and schema; others are ignored."""
_SHARD: Final = re.compile(r"-\d{5}-of-(\d{5})\.gguf$")


def is_file_name(model: str) -> bool:
    """Whether a name means a file, existing or not."""
    return model.lower().endswith(".gguf")


def file_of(model: str) -> Path | None:
    """The model's file, if the name is that of an existing file."""
    if not is_file_name(model):
        return None
    try:
        path = Path(model).expanduser().absolute()
        return path if path.is_file() else None
    except (OSError, ValueError, RuntimeError):  # not a possible file name, or an unknown ~user
        return None


def alias_of(path: Path) -> str:
    """Alias of a file: its name without ``.gguf``.

    Commas are replaced, for they separate aliases.
    """
    return path.stem.replace(",", "-")


def listed(model: LlamaModel, *, ours: bool) -> ListedModel:
    """List entry for a model of a server's list.

    ``ours``: the server runs on this machine, so that its files can be read.
    """
    return ListedModel(
        alias=model.aliases[0] if model.aliases else model.name,
        model_id=model.name,
        source="server",
        size_mb=size_mb_of(model, model.path, ours=ours),
        cached=True,
        loaded=model.ready,
    )


def listed_file(model: str, path: Path) -> ListedModel:
    """List entry for a requested file."""
    return ListedModel(alias=model, model_id=alias_of(path), source="folder", size_mb=_file_mb(path), cached=True)


def context_of(props: Mapping[str, Any]) -> int | None:
    """Context length of one request, in tokens."""
    settings = props.get("default_generation_settings")
    context = settings.get("n_ctx") if isinstance(settings, dict) else None
    return context if isinstance(context, int) and context > 0 else None


def quantization_of(props: Mapping[str, Any]) -> str | None:
    """Quantization of the weights, such as ``Q4_K - Medium``.

    Older builds don't report it.
    """
    found = props.get("model_ftype")
    return clean(found, 60) or None if isinstance(found, str) else None


def tools_of(props: Mapping[str, Any]) -> bool | None:
    """Whether the model's chat template supports tools; None if unknown."""
    caps = props.get("chat_template_caps")
    tools = caps.get("supports_tools") if isinstance(caps, dict) else None
    return tools if isinstance(tools, bool) else None


def size_mb_of(model: LlamaModel, path: str, *, ours: bool) -> int | None:
    """Size of the model's file, else of its tensors.

    The file counts where it is on this machine, the tensors where the server reports them.
    """
    size_mb = _file_mb(Path(path)) if ours and path else None
    return size_mb if size_mb is not None or model.size_bytes is None else _mb(model.size_bytes)


def _file_mb(path: Path) -> int | None:
    """Size of a file, or of all parts of a split one."""
    parts = _SHARD.search(path.name)
    files = [path]
    if parts:
        files = list(path.parent.glob(f"{glob.escape(path.name[: parts.start()])}-?????-of-{parts[1]}.gguf"))
    try:
        return _mb(sum(file.stat().st_size for file in files))
    except (OSError, ValueError):
        return None


def _mb(size_bytes: int) -> int:
    return max(round(size_bytes / 2**20), 1)
