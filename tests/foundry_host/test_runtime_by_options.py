"""``--flperf-model`` with a model of a catalog: resolved, downloaded, loaded, measured, beside an embedded one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from runtime_doubles import DownloadDouble, make_certificate

from pytest_flperf.foundry_host.catalog import CatalogEntry, CatalogServer
from pytest_flperf.foundry_host.embedded import embedded_models

ENTRIES = (CatalogEntry(name="noise-2-generic-cpu", alias="noise-2", size_bytes=3 << 20, context_length=4096),)
pytestmark = pytest.mark.skipif(
    sys.platform == "win32" or not shutil.which("openssl"), reason="the double needs a certificate, and its trust"
)


def run_pytest(folder: Path, catalog_url: str, env: dict[str, str], *arguments: str) -> tuple[int, str]:
    """A pytest of its own in the folder, with a model cache of its own."""
    suite = {"name": "tiny", "scenarios": [{"name": "one", "prompt": "Hello", "max_tokens": 2, "iterations": 2}]}
    (folder / "tiny.json").write_text(json.dumps(suite), encoding="utf-8")
    options = [f"--flperf-catalog-url={catalog_url}", f"--flperf-model-cache={folder / 'cache'}"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir=.", *options, *arguments],
        cwd=folder,
        env={**os.environ, "COLUMNS": "120", **env},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_from_the_catalog_to_the_table(tmp_path: Path) -> None:
    """An alias is resolved, downloaded and measured, and an embedded model after it in the same run."""
    with (
        CatalogServer(ENTRIES) as catalog,
        DownloadDouble(embedded_models()[0].folder, make_certificate(tmp_path)) as double,
    ):
        env = {"HTTPS_PROXY": double.url, "SSL_CERT_FILE": str(tmp_path / "cert.pem"), "NO_PROXY": "127.0.0.1"}
        arguments = ["--flperf-suite=tiny.json", "--flperf-model=noise-2,flperf-nano"]
        status, output = run_pytest(tmp_path, catalog.url, env, *arguments)
        assert status == 0, output
        assert any("/modelregistry/" in line for line in double.seen)
        downloads = sum(line.startswith("GET /files") for line in double.seen)
        again, output = run_pytest(tmp_path, catalog.url, env, *arguments)
        assert again == 0, output
        again_seen = sum(line.startswith("GET /files") for line in double.seen)
        assert again_seen == downloads, "what is in the cache is not downloaded again"
        listed, output = run_pytest(tmp_path, catalog.url, env, "--flperf-list-models")
        assert listed == 0, output
        (line,) = [line for line in output.splitlines() if "noise-2" in line]
        assert "cached" in line.lower() or "yes" in line.lower(), output
    cases: list[dict[str, Any]] = json.loads((tmp_path / "reports" / "latest" / "results.json").read_text())["cases"]
    assert [case["nodeid"] for case in cases] == ["tiny.json::one[noise-2]", "tiny.json::one[flperf-nano]"]
    target = cases[0]["target"]
    assert (target["model_id"], target["device"]) == ("noise-2-generic-cpu:1", "CPU")
    assert all(case["load_s"] is not None and case["cold_ttft_ms"] is not None for case in cases)


def test_a_name_that_the_catalog_lacks(tmp_path: Path) -> None:
    """A misspelt alias is an error of set-up with the nearest name; the other model is measured."""
    with CatalogServer(ENTRIES) as catalog:
        status, output = run_pytest(
            tmp_path, catalog.url, {}, "--flperf-suite=tiny.json", "--flperf-model=noise-3,flperf-nano"
        )
    assert status == 1
    assert "No model 'noise-3' in Foundry Local's catalog" in output
    assert "Nearest: noise-2" in output
    assert "Traceback" not in output
    cases = json.loads((tmp_path / "reports" / "latest" / "results.json").read_text())["cases"]
    assert [case["outcome"] for case in cases] == ["error", "passed"]
