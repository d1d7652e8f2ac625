"""Model folders of the user: read and check them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from pytest_flperf.foundry_host.errors import RuntimeHostError
from pytest_flperf.foundry_host.logs import clean

__all__ = ["FolderModel", "UnusableFolderError", "folder_of", "read_folder"]

_MOST_BYTES: Final = 4 << 20
_CONFIG: Final = "genai_config.json"
_TOKENIZERS: Final = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")
_CPU: Final = ("cpu", "CPUExecutionProvider")
_PROVIDERS: Final = {
    "cuda": ("gpu", "CUDAExecutionProvider"),
    "dml": ("gpu", "DmlExecutionProvider"),
    "webgpu": ("gpu", "WebGpuExecutionProvider"),
    "nvtensorrtrtx": ("gpu", "NvTensorRTRTXExecutionProvider"),
    "migraphx": ("gpu", "MIGraphXExecutionProvider"),
    "qnn": ("npu", "QNNExecutionProvider"),
    "openvino": ("npu", "OpenVINOExecutionProvider"),
    "vitisai": ("npu", "VitisAIExecutionProvider"),
}
"""Device and provider name in the catalog, by onnxruntime-genai's name in ``provider_options``."""


class UnusableFolderError(RuntimeHostError):
    """Folder without a model that the runtime could load.

    The message says what is missing or broken.
    """


@dataclass(frozen=True, slots=True)
class FolderModel:
    """A model in a folder, as the runtime sees it."""

    folder: Path
    """Only read from."""
    name: str
    """The folder's name, in characters that a model id may have; unique to this folder."""
    context_length: int | None
    """In tokens; None where the configuration doesn't say."""
    size_bytes: int
    """Of all files."""
    device: str
    execution_provider: str
    prompt_template: Any = None
    """From ``inference_model.json``, where there is one."""
    version: int = 1

    @property
    def id(self) -> str:
        """``name:version``, as requests name it."""
        return f"{self.name}:{self.version}"

    def entry_json(self) -> str:
        """Catalog entry of the model, as JSON."""
        from pytest_flperf.foundry_host.catalog import CatalogEntry

        entry = CatalogEntry(
            name=self.name,
            alias=self.name,
            version=self.version,
            device=self.device,
            execution_provider=self.execution_provider,
            size_bytes=self.size_bytes,
            context_length=self.context_length,
            license="",
            publisher="folder",
        )
        return json.dumps(asdict(entry))


def folder_of(model: str) -> Path | None:
    """Folder that a model's text names, else None.

    The text must have a path separator, or be the name of a folder.
    """
    path = Path(model)
    if model.startswith("~"):
        try:
            path = path.expanduser()
        except RuntimeError:  # no such user
            return path
    if "/" in model or "\\" in model or model.startswith("~"):
        return path
    try:
        return path if model and path.is_dir() else None
    except (OSError, ValueError):
        return None


def read_folder(folder: Path) -> FolderModel:
    """Read the model in a folder; raises UnusableFolderError."""
    path = _existing(folder)
    config = _json(
        path / _CONFIG, "it is not a model for onnxruntime-genai: convert it, or give the folder that holds one"
    )
    model = config.get("model")
    if not isinstance(model, dict) or not isinstance(model.get("decoder"), dict):
        raise _unusable(path, f"{_CONFIG} has no model.decoder in it")
    if not any((path / name).is_file() for name in _TOKENIZERS):
        raise _unusable(
            path, f"no tokenizer, expected one of {', '.join(_TOKENIZERS)}: copy it from the original model"
        )
    if not any(path.rglob("*.onnx")):
        raise _unusable(path, "no .onnx file: is the copy or the conversion complete?")
    decoder = model["decoder"].get("filename")
    if isinstance(decoder, str) and not (path / decoder).is_file():
        raise _unusable(path, f"{_CONFIG} names {clean(decoder, 100)} as the model, but there is no such file")
    device, provider = _device_of(model["decoder"])
    context = model.get("context_length")
    return FolderModel(
        folder=path,
        name=_name_of(path),
        context_length=context if type(context) is int and context > 0 else None,
        size_bytes=sum(file.stat().st_size for file in path.rglob("*") if file.is_file()),
        device=device,
        execution_provider=provider,
        prompt_template=_template_of(path),
    )


def _existing(folder: Path) -> Path:
    try:
        path = folder.resolve(strict=True)
    except (OSError, ValueError, RuntimeError):
        raise UnusableFolderError(
            f"There is no folder {clean(str(folder))} (from {clean(str(Path.cwd()))}): a model name with a path "
            "separator is taken as a folder."
        ) from None
    if not path.is_dir():
        raise _unusable(path, "it is a file: give the folder that holds it")
    return path


def _unusable(path: Path, problem: str) -> UnusableFolderError:
    return UnusableFolderError(f"{clean(str(path))} can't be served as a model: {problem}.")


def _json(path: Path, missing: str) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            raw = file.read(_MOST_BYTES)
    except FileNotFoundError:
        raise _unusable(path.parent, f"no {path.name} in it: {missing}") from None
    except OSError as error:
        raise _unusable(path.parent, f"{path.name} can't be read ({error.strerror or type(error).__name__})") from None
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise _unusable(path.parent, f"{path.name} is not JSON ({clean(str(error), 100)})") from None
    if not isinstance(found, dict):
        raise _unusable(path.parent, f"{path.name} is not a JSON object")
    return found


def _device_of(decoder: dict[str, Any]) -> tuple[str, str]:
    """Device and name of the first non-CPU provider.

    In onnxruntime-genai's order.
    """
    names = [name for options in _provider_options(decoder) for name in options]
    return next((_PROVIDERS[name.casefold()] for name in names if name.casefold() in _PROVIDERS), _CPU)


def _provider_options(decoder: dict[str, Any]) -> Iterator[dict[str, Any]]:
    options = decoder.get("session_options")
    found = options.get("provider_options") if isinstance(options, dict) else None
    yield from (each for each in found if isinstance(each, dict)) if isinstance(found, list) else ()


def _template_of(path: Path) -> Any:
    if not (path / "inference_model.json").is_file():
        return None
    return _json(path / "inference_model.json", "").get("PromptTemplate")


def _name_of(path: Path) -> str:
    """Model name for a folder, with a hash of its path.

    Folders of the same name in different places must not be confused.
    """
    readable = re.sub(r"[^a-z0-9._-]+", "-", path.name.casefold()).strip("-._")[:60]
    return f"{readable or 'model'}-{hashlib.sha256(str(path).encode('utf-8', 'surrogatepass')).hexdigest()[:6]}"
