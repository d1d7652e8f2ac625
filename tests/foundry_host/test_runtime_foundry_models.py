"""List, download and remove: the real runtime, with doubles of the catalog and of what a download goes to."""

from __future__ import annotations

import json
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from runtime_doubles import DownloadDouble, make_certificate

from pytest_flperf.backends.base import BackendConfig, BackendError
from pytest_flperf.backends.foundry.backend import FoundryBackend
from pytest_flperf.backends.foundry.models import CancelledError, FoundryModels
from pytest_flperf.foundry_host.catalog import CatalogEntry, CatalogServer
from pytest_flperf.foundry_host.embedded import embedded_models

ENTRIES = (CatalogEntry("noise-a", "noise", size_bytes=3 << 20), CatalogEntry("noise-b", "noise"))
needs_openssl = pytest.mark.skipif(
    sys.platform == "win32" or not shutil.which("openssl"), reason="the double needs a certificate, and its trust"
)
Open = Callable[..., FoundryModels]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A model cache of one's own."""
    return tmp_path / "cache"


@pytest.fixture
def open_models(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Models of a small catalog and an own cache."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    opened: list[FoundryModels] = []
    with CatalogServer(ENTRIES) as catalog:

        def build(**values: Any) -> FoundryModels:
            config = {"catalog_url": catalog.url, "model_cache_dir": cache, "logs_dir": tmp_path / "logs", **values}
            opened.append(FoundryModels(BackendConfig(**config)))
            return opened[-1]

        yield build
        for each in opened:
            each.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for the registry's name."""
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def downloads(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DownloadDouble]:
    """What downloads go to."""
    with DownloadDouble(embedded_models()[1].folder, certificate) as double:
        for name in ("https_proxy", "HTTPS_PROXY"):
            monkeypatch.setenv(name, double.url)
        for name in ("SSL_CERT_FILE", "CURL_CA_BUNDLE"):
            monkeypatch.setenv(name, str(certificate))
        yield double


def put_in(cache: Path, name: str) -> Path:
    """Leave a model in the cache as a download would."""
    target = cache / "flperf" / f"{name}-1"
    shutil.copytree(embedded_models()[0].folder, target)
    (target / "inference_model.json").write_text(json.dumps({"Name": f"{name}:1", "PromptTemplate": None}))
    return target


def ignore(what: str, percent: float | None) -> None:
    """For where progress is not what the test is about."""
    del what, percent


def test_list(open_models: Open, cache: Path) -> None:
    """The embedded models and the catalog's, with what is on this machine."""
    put_in(cache, "noise-b")
    listed = {each.model_id: each for each in open_models().list()}
    assert set(listed) == {"flperf-nano:1", "flperf-micro:1", "noise-a:1", "noise-b:1"}
    assert (listed["noise-a:1"].cached, listed["noise-b:1"].cached) == (False, True)
    assert (listed["noise-a:1"].size_mb, listed["noise-a:1"].source) == (3, "catalog")
    assert listed["flperf-nano:1"].source == "embedded"
    assert {each.loaded for each in listed.values()} == {False}


def test_list_of_a_device(open_models: Open) -> None:
    """Only what runs on it."""
    assert len(open_models(device="cpu").list()) == 4
    assert open_models(device="gpu").list() == ()


@needs_openssl
def test_download_and_remove(open_models: Open, downloads: DownloadDouble, cache: Path) -> None:
    """A download comes with progress, the second at once; after the removal its files have gone."""
    told: list[tuple[str, float | None]] = []
    models = open_models()
    first = models.download("noise-a", lambda what, percent: told.append((what, percent)))
    assert first.model.model_id == "noise-a:1"
    assert first.model.cached
    assert first.download_s
    assert {what for what, _ in told} == {"downloading noise-a:1"}
    assert told[-1][1] == 100
    assert list(cache.rglob("*.onnx"))
    asked = len(downloads.seen)
    assert models.download("noise-a", ignore).download_s is None
    assert len(downloads.seen) == asked
    assert not models.remove("noise").cached
    assert not list(cache.rglob("*.onnx"))
    with pytest.raises(BackendError, match="noise: not downloaded"):
        models.remove("noise")


@needs_openssl
def test_a_model_that_a_run_downloads(open_models: Open, downloads: DownloadDouble, cache: Path) -> None:
    """The time that its files took is told once, apart from the load's; the next load finds them there."""
    del downloads
    told: list[tuple[str, float | None]] = []
    config = open_models()._config
    backend = FoundryBackend(config)
    try:
        first = backend.ensure("noise-a", lambda *each: told.append(each))
        again = backend.ensure("noise-a", ignore)
        backend.release("noise-a")
        later = backend.ensure("noise-a", ignore)
    finally:
        backend.close()
    assert first.download_s is not None
    assert first.load_s is not None
    assert (again.download_s, again.generation) == (None, first.generation)
    assert (later.download_s, later.generation) == (None, first.generation + 1)
    assert list(cache.rglob("*.onnx"))
    words = [what for what, _ in told]
    assert words[0] == "downloading noise-a:1"
    assert words[-1] == "loading noise-a:1"
    percents = [percent for what, percent in told if what.startswith("downloading") and percent is not None]
    assert percents == sorted(percents)
    assert percents[-1] == 100


@needs_openssl
def test_cancel(open_models: Open, downloads: DownloadDouble) -> None:
    """A download that is given up is that, and no failure; the next one ends it."""
    downloads.delay_s = 0.1
    cancel = threading.Event()
    models = open_models()
    with pytest.raises(CancelledError, match="was cancelled"):
        models.download("noise-a", lambda _, percent: cancel.set() if percent else None, cancel)
    downloads.delay_s = 0
    assert models.download("noise-a", ignore).model.cached


@needs_openssl
def test_download_that_fails(open_models: Open, downloads: DownloadDouble) -> None:
    """A registry that knows no such files is an error for a person."""
    downloads.files = None
    with pytest.raises(BackendError, match="could not download noise-a:1"):
        open_models().download("noise-a", ignore)


def test_remove_which(open_models: Open, cache: Path) -> None:
    """Of an alias with several downloaded variants none is removed unasked; by its id one is."""
    put_in(cache, "noise-a")
    other = put_in(cache, "noise-b")
    models = open_models()
    with pytest.raises(BackendError, match="name one by its id: noise-a:1, noise-b:1"):
        models.remove("noise")
    assert models.remove("noise-a").model_id == "noise-a:1"
    assert (other / "model.onnx").is_file()
    assert models.remove("noise").model_id == "noise-b:1"


@pytest.mark.parametrize("name", ["flperf-nano", "flperf-nano:1"])
def test_embedded_models_stay(open_models: Open, name: str) -> None:
    """They are part of the package: neither downloaded nor removed, and nothing is started to say so."""
    models = open_models()
    with pytest.raises(BackendError, match=f"{name}: part of this package"):
        models.remove(name)
    with pytest.raises(BackendError, match="can't be downloaded"):
        models.download(name, ignore)
    assert not list(embedded_models()[0].folder.parent.glob("**/foundry.modelinfo.json"))


def test_a_folder_stays(open_models: Open, tmp_path: Path) -> None:
    """What lies in a folder of one's own is nobody's to remove."""
    with pytest.raises(BackendError, match="a folder of your own"):
        open_models().remove(str(tmp_path))


@pytest.mark.parametrize("act", ["remove", "download"])
def test_unknown(open_models: Open, act: str) -> None:
    """The nearest names are told."""
    models = open_models()
    with pytest.raises(BackendError, match="Nearest: noise"):
        models.remove("noize") if act == "remove" else models.download("noize", ignore)


def test_no_such_device(open_models: Open) -> None:
    """A variant for a device that there isn't one for."""
    with pytest.raises(BackendError, match="'noise' runs on 'npu' here; there are variants for: cpu"):
        open_models(device="npu").download("noise", ignore)
