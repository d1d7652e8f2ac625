"""``flperf models download`` and ``remove``: the real runtime, doubles of the catalog and of where models come from."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from runtime_doubles import DownloadDouble, make_certificate

from pytest_flperf import cli
from pytest_flperf.foundry_host.catalog import CatalogEntry, CatalogServer
from pytest_flperf.foundry_host.embedded import embedded_models

needs_openssl = pytest.mark.skipif(
    sys.platform == "win32" or not shutil.which("openssl"), reason="the double needs a certificate, and its trust"
)
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A model cache of one's own."""
    return tmp_path / "cache"


@pytest.fixture
def run(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Run]:
    """Run ``flperf models`` on a small catalog; exit status, output, errors."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "80")
    entries = (CatalogEntry("noise-a", "noise", size_bytes=3 << 20), CatalogEntry("noise-b", "noise"))
    with CatalogServer(entries) as catalog:

        def call(*arguments: str) -> tuple[int, str, str]:
            at = (f"--catalog-url={catalog.url}", f"--model-cache={cache}")
            try:
                status = cli.main(["models", *arguments, *at])
            except SystemExit as ending:
                status = int(ending.code or 0)
            said = capsys.readouterr()
            assert "Traceback" not in said.out + said.err
            return status, said.out, said.err

        yield call


@pytest.fixture
def downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DownloadDouble]:
    """What downloads go to."""
    certificate = make_certificate(tmp_path)
    with DownloadDouble(embedded_models()[1].folder, certificate) as double:
        for name in ("https_proxy", "HTTPS_PROXY"):
            monkeypatch.setenv(name, double.url)
        for name in ("SSL_CERT_FILE", "CURL_CA_BUNDLE"):
            monkeypatch.setenv(name, str(certificate))
        yield double


def put_in(cache: Path, name: str) -> None:
    """Leave a model in the cache as a download would."""
    target = cache / "flperf" / f"{name}-1"
    shutil.copytree(embedded_models()[0].folder, target)
    (target / "inference_model.json").write_text(json.dumps({"Name": f"{name}:1", "PromptTemplate": None}))


@needs_openssl
def test_there_and_back(run: Run, downloads: DownloadDouble, cache: Path) -> None:
    """Downloaded, there already, removed, nothing to remove: a line each, and the list says the same."""
    status, out, err = run("download", "noise-a")
    assert (status, err) == (0, "")
    assert out.startswith("noise-a:1: downloaded in ")
    assert list(cache.rglob("*.onnx"))
    asked = len(downloads.seen)
    assert run("download", "noise-a") == (0, "noise-a:1: was already there\n", "")
    assert len(downloads.seen) == asked
    _, out, _ = run()
    assert next(line for line in out.splitlines() if "noise-a:1" in line).split()[-1] == "cached"
    assert all(len(line) <= 80 for line in out.splitlines())
    assert run("remove", "noise") == (0, "noise-a:1: removed\n", "")
    assert not list(cache.rglob("*.onnx"))
    status, out, err = run("remove", "noise")
    assert (status, out) == (1, "")
    assert err == "flperf models: error: noise: not downloaded; there is nothing to remove\n"


@needs_openssl
def test_as_json(run: Run, downloads: DownloadDouble) -> None:
    """For programs: which variant it was, and how long it took."""
    del downloads
    _, out, _ = run("download", "noise-a", "--json")
    found = json.loads(out)
    assert found["download_s"] > 0
    assert (found["model"]["model_id"], found["model"]["cached"]) == ("noise-a:1", True)
    _, out, _ = run("download", "noise-a", "--json")
    assert json.loads(out)["download_s"] is None
    _, out, _ = run("remove", "noise-a", "--json")
    assert json.loads(out)["model"]["cached"] is False


@needs_openssl
def test_a_download_that_fails(run: Run, downloads: DownloadDouble) -> None:
    """The registry knows no such files: one line, exit 1."""
    downloads.files = None
    status, out, err = run("download", "noise-a")
    assert (status, out) == (1, "")
    assert err.startswith("flperf models: error: noise-a: ")
    assert "could not download noise-a:1" in err


@needs_openssl
def test_given_up(run: Run, downloads: DownloadDouble, cache: Path, tmp_path: Path) -> None:
    """Ctrl-C in the middle: status 130, no traceback, nothing left running; the next download goes on."""
    downloads.delay_s = 0.2
    with CatalogServer((CatalogEntry("noise-a", "noise", size_bytes=3 << 20),)) as catalog:
        at = (f"--catalog-url={catalog.url}", f"--model-cache={cache}")
        code = "import sys; from pytest_flperf import cli; sys.exit(cli.main(sys.argv[1:]))"
        with subprocess.Popen(
            [sys.executable, "-c", code, "models", "download", "noise-a", *at],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            give_up_at = time.monotonic() + 120
            while not any("/files/" in path for path in downloads.seen) and time.monotonic() < give_up_at:
                time.sleep(0.02)
            started = psutil.Process(process.pid).children(recursive=True)
            assert started
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=120)
    assert "Traceback" not in err
    assert process.returncode == 130
    assert out == ""
    _, left = psutil.wait_procs(started, timeout=120)
    assert not left
    downloads.delay_s = 0
    assert run("download", "noise-a")[0] == 0


def test_which_one(run: Run, cache: Path) -> None:
    """Of several variants none is removed unasked; a name that there isn't has its nearest."""
    put_in(cache, "noise-a")
    put_in(cache, "noise-b")
    status, _, err = run("remove", "noise")
    assert status == 1
    assert "name one by its id: noise-a:1, noise-b:1" in err
    status, _, err = run("remove", "noize")
    assert status == 1
    assert "Nearest: noise" in err
    assert run("remove", "noise-b")[:2] == (0, "noise-b:1: removed\n")


def test_of_a_device(run: Run) -> None:
    """A variant for a device that there is none for; the list of such a device is empty, which is no failure."""
    status, _, err = run("download", "noise", "--device=npu")
    assert status == 1
    assert "'noise' runs on 'npu' here; there are variants for: cpu" in err
    status, out, _ = run("list", "--device=npu")
    assert status == 0
    assert "noise" not in out


@pytest.mark.parametrize(("action", "done"), [("download", "downloaded"), ("remove", "removed")])
def test_what_is_not_of_the_catalog(run: Run, tmp_path: Path, action: str, done: str) -> None:
    """An embedded model, a folder of one's own: exit 1, and nothing is touched."""
    status, _, err = run(action, "flperf-nano")
    assert status == 1
    assert f"flperf-nano: part of this package and always available; it can't be {done}" in err
    status, _, err = run(action, str(tmp_path))
    assert status == 1
    assert "a folder of your own" in err


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["download"], "download: no model, expected the alias or id of one"),
        (["remove"], "remove: no model, expected the alias or id of one"),
        (["list", "noise"], "list: found 'noise', expected nothing: it lists all models"),
        (["fetch"], "'fetch'"),
        (["download", "m", "--device=tpu"], "'tpu'"),
        (["download", "m", "--backend=ollama"], "download: the backend ollama manages its models itself"),
        (["remove", "m", "--base-url=http://127.0.0.1:9/v1"], "remove: the backend openai manages its models itself"),
        (["download", "m", "--backend=olama"], "--backend: found 'olama', expected one of foundry"),
    ],
)
def test_bad_usage(run: Run, arguments: list[str], fault: str) -> None:
    """Refused before anything is asked, exit 4."""
    status, out, err = run(*arguments)
    assert (status, out) == (int(pytest.ExitCode.USAGE_ERROR), "")
    assert fault in err
