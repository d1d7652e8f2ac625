"""Public mode: the runtime's own way from a catalog to a served model, against doubles on loopback."""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from runtime_doubles import DownloadDouble, MakeConfig, make_certificate

from pytest_flperf.foundry_host.catalog import CatalogEntry, CatalogServer
from pytest_flperf.foundry_host.client import Mode, RuntimeHost
from pytest_flperf.foundry_host.embedded import embedded_models
from pytest_flperf.foundry_host.errors import DownloadCancelled, DownloadFailed, LoadFailed, ModelNotFound

ENTRIES = (
    CatalogEntry(name="noise-2-generic-cpu", alias="noise-2", version=1, size_bytes=3 << 20, context_length=4096),
    CatalogEntry(name="noise-2-generic-cpu", alias="noise-2", version=2, size_bytes=3 << 20, context_length=4096),
    CatalogEntry(name="noise-2-other-cpu", alias="noise-2", license="Apache-2.0", max_output_tokens=99),
    CatalogEntry(name="noise-2-cuda-gpu", alias="noise-2", device="gpu", execution_provider="CUDAExecutionProvider"),
    CatalogEntry(name="whisper-generic-cpu", alias="whisper", task="automatic-speech-recognition"),
)
needs_openssl = pytest.mark.skipif(
    sys.platform == "win32" or not shutil.which("openssl"), reason="the double needs a certificate, and its trust"
)
StartPublic = Callable[..., RuntimeHost]


@pytest.fixture
def catalog() -> Iterator[CatalogServer]:
    """A public catalog of a few models."""
    with CatalogServer(ENTRIES) as server:
        yield server


@pytest.fixture
def start_public(make_config: MakeConfig, catalog: CatalogServer, tmp_path: Path) -> Iterator[StartPublic]:
    """Start a public-mode host whose folders are the test's own."""
    hosts: list[RuntimeHost] = []

    def start(**values: object) -> RuntimeHost:
        folders = {"app_data_dir": tmp_path / "app", "model_cache_dir": tmp_path / "cache"}
        config = make_config(**{"mode": Mode.PUBLIC, "catalog_url": catalog.url, **folders, **values})
        hosts.append(RuntimeHost.start(config))
        return hosts[-1]

    yield start
    for host in hosts:
        host.stop()


def put_in_cache(tmp_path: Path, name: str, version: int = 1) -> Path:
    """Leave a model in the cache as a download would."""
    target = tmp_path / "cache" / "flperf" / f"{name}-{version}"
    shutil.copytree(embedded_models()[0].folder, target)
    (target / "inference_model.json").write_text(json.dumps({"Name": f"{name}:{version}", "PromptTemplate": None}))
    return target


def test_list(start_public: StartPublic) -> None:
    """The listing holds the newest version of each variant for this machine's devices, and what the catalog says."""
    models = {model.id: model for model in start_public().list_models()}
    assert set(models) == {"noise-2-generic-cpu:2", "noise-2-other-cpu:1", "whisper-generic-cpu:1"}
    generic = models["noise-2-generic-cpu:2"]
    assert (generic.alias, generic.name, generic.size_mb) == ("noise-2", "noise-2-generic-cpu", 3)
    assert (generic.context_length, generic.max_output_tokens) == (4096, None)
    assert (generic.cached, generic.loaded) == (False, False)
    other = models["noise-2-other-cpu:1"]
    assert (other.license, other.max_output_tokens) == ("Apache-2.0", 99)
    assert models["whisper-generic-cpu:1"].task == "automatic-speech-recognition"
    assert sum(model.default for model in models.values() if model.alias == "noise-2") == 1


def test_resolve(start_public: StartPublic) -> None:
    """An alias, a name without version, a listed id, and the id of an older version all mean a variant."""
    host = start_public()
    by_alias = host.resolve("noise-2")
    assert by_alias.default
    assert host.resolve("noise-2-generic-cpu").id == "noise-2-generic-cpu:2"
    assert host.resolve("noise-2-other-cpu:1").id == "noise-2-other-cpu:1"
    assert host.resolve("noise-2-generic-cpu:1").id == "noise-2-generic-cpu:1"
    host.list_models()
    assert host.resolve("noise-2-generic-cpu:1").id == "noise-2-generic-cpu:1"


def test_cached_variant_is_preferred(start_public: StartPublic, tmp_path: Path) -> None:
    """An alias means the variant that is already on this machine."""
    default = start_public().resolve("noise-2").name
    cached = next(name for name in ("noise-2-other-cpu", "noise-2-generic-cpu") if name != default)
    put_in_cache(tmp_path, cached, 2 if cached == "noise-2-generic-cpu" else 1)
    host = start_public()
    model = host.resolve("noise-2")
    assert (model.name, model.cached) == (cached, True)
    host.load(model.id)
    assert host.status().loaded == (model.id,)


def test_unknown_model_asks_the_catalog_once(start_public: StartPublic, catalog: CatalogServer) -> None:
    """An unknown name costs no request after the listing, an unknown id one, however often it is asked for."""
    host = start_public()
    host.list_models()
    listed = len(catalog.requests)
    for _ in range(3):
        with pytest.raises(ModelNotFound) as caught:
            host.resolve("noize-2")
        assert caught.value.nearest[0] == "noise-2"
    assert len(catalog.requests) == listed
    for _ in range(3):
        with pytest.raises(ModelNotFound):
            host.resolve("noise-2-generic-cpu:77")
        with pytest.raises(ModelNotFound):
            host.load("noise-2-generic-cpu:77")
    assert len(catalog.requests) == listed + 1


def test_empty_catalog(start_public: StartPublic) -> None:
    """An empty catalog, which is what no internet looks like, is named as the reason, with the log."""
    with CatalogServer([]) as empty:
        host = start_public(catalog_url=empty.url)
        assert host.list_models() == ()
        with pytest.raises(ModelNotFound, match="catalog is empty: is there a connection to the internet") as caught:
            host.resolve("qwen2.5-0.5b")
        assert caught.value.log
        with pytest.raises(ModelNotFound, match="among the embedded flperf-nano, flperf-micro") as caught:
            host.resolve("flperf-nanoo")
        assert caught.value.nearest[0] == "flperf-nano"


def test_not_downloaded(start_public: StartPublic) -> None:
    """Loading a model that is not downloaded fails with a word on that."""
    host = start_public()
    with pytest.raises(LoadFailed, match="Is it downloaded"):
        host.load("noise-2-other-cpu:1")
    assert host.alive


def test_broken_model(start_public: StartPublic, tmp_path: Path) -> None:
    """A damaged model file is LoadFailed with the runtime's reason, and the host serves other models."""
    broken = put_in_cache(tmp_path, "noise-2-other-cpu")
    (broken / "model.onnx").write_bytes(b"no model\x1b[31m")
    put_in_cache(tmp_path, "noise-2-generic-cpu", 2)
    host = start_public()
    with pytest.raises(LoadFailed, match="could not load noise-2-other-cpu:1"):
        host.load("noise-2-other-cpu:1")
    host.load("noise-2-generic-cpu:2")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for the registry's name."""
    return make_certificate(tmp_path_factory.mktemp("certificate"))


def through(double: DownloadDouble, certificate: Path) -> dict[str, str]:
    """Send the runtime's HTTPS through the double, and let it trust the double's certificate."""
    trust = {"SSL_CERT_FILE": str(certificate), "CURL_CA_BUNDLE": str(certificate)}
    return {**os.environ, "https_proxy": double.url, "HTTPS_PROXY": double.url, **trust}


@needs_openssl
def test_download_and_load(start_public: StartPublic, certificate: Path) -> None:
    """A download reports progress up to 100 %, and the model loads; a second one finds it there."""
    with DownloadDouble(embedded_models()[0].folder, certificate) as double:
        host = start_public(environment=through(double, certificate))
        model = host.resolve("noise-2-other-cpu")
        assert not model.cached
        percents: list[float] = []
        assert host.download(model.id, percents.append) > 0
        assert percents == sorted(percents)
        assert percents[0] == 0
        assert percents[-1] == 100
        assert len(percents) > 2
        assert host.resolve("noise-2-other-cpu").cached
        host.load(model.id)
        assert host.status().loaded == (model.id,)
        asked = len(double.seen)
        host.download(model.id)
        assert len(double.seen) == asked


@needs_openssl
def test_cancel(start_public: StartPublic, certificate: Path) -> None:
    """A cancelled download ends soon, the host lives on, and the next download completes it."""
    with DownloadDouble(embedded_models()[1].folder, certificate, delay_s=0.1) as double:
        host = start_public(environment=through(double, certificate))
        cancel = threading.Event()
        began = time.monotonic()
        with pytest.raises(DownloadCancelled, match="was cancelled"):
            host.download("noise-2-other-cpu:1", lambda percent: cancel.set() if percent else None, cancel)
        assert time.monotonic() - began < 60
        assert not host.resolve("noise-2-other-cpu").cached
        double.delay_s = 0
        host.download("noise-2-other-cpu:1")
        assert host.resolve("noise-2-other-cpu").cached


@needs_openssl
def test_callback_that_raises(start_public: StartPublic, certificate: Path) -> None:
    """A progress callback that raises is the caller's own; the host stays in order."""
    with DownloadDouble(embedded_models()[0].folder, certificate, delay_s=0.05) as double:
        host = start_public(environment=through(double, certificate))

        def complain(percent: float) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            host.download("noise-2-other-cpu:1", complain)
        assert host.status().loaded == ()


@needs_openssl
def test_files_missing(start_public: StartPublic, certificate: Path) -> None:
    """A download that the registry refuses is DownloadFailed with the runtime's reason."""
    with DownloadDouble(None, certificate) as double:
        host = start_public(environment=through(double, certificate))
        with pytest.raises(DownloadFailed, match="could not download noise-2-other-cpu:1"):
            host.download("noise-2-other-cpu:1", deadline_s=60)
        assert host.alive
