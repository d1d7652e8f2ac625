"""Models in folders of the user's own: what is read, what is said of broken ones, and that nothing is written."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from runtime_doubles import MakeConfig

from pytest_flperf.backend_contract import answer_of
from pytest_flperf.backends.base import BackendConfig, BackendError
from pytest_flperf.backends.foundry.backend import FoundryBackend
from pytest_flperf.foundry_host.client import Mode, RuntimeHost
from pytest_flperf.foundry_host.embedded import embedded_models
from pytest_flperf.foundry_host.folders import UnusableFolderError, folder_of, read_folder
from pytest_flperf.foundry_host.workspace import Workspace


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of an embedded model as a person would have it: without what is ours alone."""
    target = tmp_path / "My Model (1)"
    shutil.copytree(embedded_models()[0].folder, target)
    for name in ("inference_model.json", "model.json"):
        (target / name).unlink()
    return target


def state_of(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """All that could have been touched."""
    return {
        str(path): (path.stat().st_mtime_ns, path.stat().st_mode, path.read_bytes() if path.is_file() else b"")
        for path in [folder, *folder.rglob("*")]
    }


def change(folder: Path, edit: Callable[[dict[str, object]], object]) -> None:
    """Change the folder's configuration."""
    path = folder / "genai_config.json"
    values = json.loads(path.read_text())
    edit(values["model"])
    path.write_text(json.dumps(values))


def test_what_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A text with a path separator, one that begins with ~, or the name of a folder that is here."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "here").mkdir()
    (tmp_path / "file").write_text("")
    assert folder_of("./not-there") == Path("not-there")
    assert folder_of(str(tmp_path / "x")) == tmp_path / "x"
    assert folder_of("a\\b") == Path("a\\b")
    assert folder_of("~/models/x") == tmp_path / "models" / "x"
    assert folder_of("here") == Path("here")
    for name in ("file", "qwen2.5-0.5b", "qwen2.5-0.5b-instruct-generic-cpu:4", "", "nul\0byte"):
        assert folder_of(name) is None


def test_what_is_read(folder: Path) -> None:
    """Name, context and size; a name that no other folder has, and that requests and folders can hold."""
    model = read_folder(folder)
    assert model.context_length == 4096
    assert model.size_bytes == sum(path.stat().st_size for path in folder.iterdir())
    assert (model.device, model.execution_provider) == ("cpu", "CPUExecutionProvider")
    assert model.name.startswith("my-model-1-")
    other = folder.parent / "elsewhere" / folder.name
    shutil.copytree(folder, other)
    assert read_folder(other).name != model.name
    assert read_folder(folder).name == model.name


@pytest.mark.parametrize(
    ("provider", "device", "name"),
    [
        ("cuda", "gpu", "CUDAExecutionProvider"),
        ("QNN", "npu", "QNNExecutionProvider"),
        ("unheard-of", "cpu", "CPUExecutionProvider"),
    ],
)
def test_which_device_it_is_for(folder: Path, provider: str, device: str, name: str) -> None:
    """As its configuration names the execution provider."""
    change(folder, lambda model: model["decoder"]["session_options"].update(provider_options=[{provider: {}}]))  # type: ignore[index]
    model = read_folder(folder)
    assert (model.device, model.execution_provider) == (device, name)


def unlink(name: str) -> Callable[[Path], object]:
    """Take a file away."""
    return lambda folder: (folder / name).unlink()


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (unlink("genai_config.json"), "no genai_config.json in it"),
        (unlink("tokenizer.json"), "no tokenizer, expected one of tokenizer.json"),
        (unlink("model.onnx"), "no .onnx file"),
        (lambda folder: (folder / "model.onnx").rename(folder / "other.onnx"), "names model.onnx as the model"),
        (lambda folder: (folder / "genai_config.json").write_text("{"), "genai_config.json is not JSON"),
        (lambda folder: (folder / "genai_config.json").write_text("[" * 100_000), "genai_config.json is not JSON"),
        (lambda folder: (folder / "genai_config.json").write_text("[]"), "is not a JSON object"),
        (lambda folder: change(folder, lambda model: model.pop("decoder")), "no model.decoder"),
        (shutil.rmtree, "There is no folder"),
    ],
)
def test_what_is_broken(folder: Path, broken: Callable[[Path], object], words: str) -> None:
    """Said in words, with the folder's name, before anything is started."""
    broken(folder)
    with pytest.raises(UnusableFolderError) as caught:
        read_folder(folder)
    assert words in str(caught.value)
    assert "My Model (1)" in str(caught.value)


def test_a_file_is_no_folder(folder: Path) -> None:
    """Whoever names the model's file is told to name the folder."""
    with pytest.raises(UnusableFolderError, match="give the folder that holds it"):
        read_folder(folder / "model.onnx")


def test_served_and_left_alone(folder: Path, make_config: MakeConfig) -> None:
    """The runtime serves it, and another one that comes later; nothing in the folder has changed or is left over."""
    before = state_of(folder)
    later = folder.parent / "later"
    shutil.copytree(embedded_models()[1].folder, later)
    config = make_config(mode=Mode.FOLDER)
    with RuntimeHost.start(config) as host:
        for path in (folder, later):
            model = read_folder(path)
            host.add_folder(model)
            info = host.resolve(model.id)
            assert (info.cached, info.context_length) == (True, 4096)
            host.load(info.id)
        assert len(host.status().loaded) == 2
    assert state_of(folder) == before
    assert config.temp_dir is not None
    assert list(config.temp_dir.iterdir()) == []


def refuse(*_: object, **__: object) -> None:
    """As Windows without the right to make links, or another volume."""
    raise OSError("no links")


@pytest.mark.parametrize("without", [(), ("symlink_to",), ("symlink_to", "link")])
def test_links_or_copies(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without: tuple[str, ...]
) -> None:
    """Symbolic links, else hard ones, else copies: the runtime finds the same files, and the folder outlives them."""
    (folder / "deep").mkdir()
    (folder / "deep" / "adapter.onnx_adapter").write_bytes(b"x")
    (folder / "inference_model.json").write_text('{"Name": "other:7", "PromptTemplate": {"system": "<s>"}}')
    before = state_of(folder)
    if "symlink_to" in without:
        monkeypatch.setattr(Path, "symlink_to", refuse)
    if "link" in without:
        monkeypatch.setattr(os, "link", refuse)
    workspace = Workspace(tmp_path)
    model = read_folder(folder)
    workspace.link_folder(model)
    workspace.link_folder(model)
    (target,) = (workspace.model_cache_dir / "folder").iterdir()
    assert (target / "model.onnx").read_bytes() == (folder / "model.onnx").read_bytes()
    assert (target / "deep" / "adapter.onnx_adapter").read_bytes() == b"x"
    card = json.loads((target / "inference_model.json").read_text())
    assert card == {"Name": model.id, "PromptTemplate": {"system": "<s>"}}
    workspace.remove()
    assert state_of(folder) == before


def test_through_the_backend(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model's text may be a relative path; requests name another id."""
    monkeypatch.chdir(folder.parent)
    before = state_of(folder)
    backend = FoundryBackend(BackendConfig())
    try:
        served = backend.ensure(f"./{folder.name}", lambda *_: None)
        assert served.model == f"./{folder.name}"
        assert served.size_mb is not None
        assert answer_of(served)
        assert backend.ensure(f"./{folder.name}", lambda *_: None).generation == served.generation
        with pytest.raises(BackendError, match=r"no genai_config\.json in it"):
            backend.ensure(str(folder.parent), lambda *_: None)
    finally:
        backend.close()
    assert state_of(folder) == before


def test_another_device_than_its_own(folder: Path) -> None:
    """A device that the folder is not for is refused before it is loaded."""
    backend = FoundryBackend(BackendConfig(device="gpu"))
    try:
        with pytest.raises(BackendError, match="device is 'gpu', and the folder's CPUExecutionProvider runs on 'cpu'"):
            backend.ensure(str(folder), lambda *_: None)
    finally:
        backend.close()


@pytest.mark.skipif(sys.platform == "win32", reason="the double of a GPU is a machine without one")
def test_a_provider_that_is_not_here(folder: Path) -> None:
    """A folder for a GPU on a machine without one is an error for a person, and the backend goes on."""
    change(folder, lambda model: model["decoder"]["session_options"].update(provider_options=[{"cuda": {}}]))  # type: ignore[index]
    backend = FoundryBackend(BackendConfig())
    try:
        with pytest.raises(BackendError, match="CUDAExecutionProvider"):
            backend.ensure(str(folder), lambda *_: None)
        assert answer_of(backend.ensure("flperf-nano", lambda *_: None))
    finally:
        backend.close()
