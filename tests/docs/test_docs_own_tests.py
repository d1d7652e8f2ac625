"""The scripted client as the page shows it: the page's command has the page's times."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "own-tests.md"


def test_the_scripted_client_of_the_page(tmp_path: Path) -> None:
    """Its conftest, command and numbers."""
    text = PAGE.read_text(encoding="utf-8").partition("## Without a server")[2]
    (conftest,) = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    (command,) = re.findall(r"`pytest (--flperf-suite=[^`]*)`", text)
    ttft_ms, tpot_ms = map(float, re.findall(r"TTFT of (\d+) ms and a TPOT of (\d+) ms", text)[0])
    (tmp_path / "conftest.py").write_text(conftest, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *command.split(), "--flperf-iterations=2"],
        cwd=tmp_path, env={**os.environ, "COLUMNS": "100"}, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((tmp_path / "reports" / "latest" / "results.json").read_text(encoding="utf-8"))
    for case in results["cases"]:
        assert case["metrics"]["ttft_ms"]["p50"] == pytest.approx(ttft_ms, abs=1e-9)
        assert case["metrics"]["tpot_ms"]["p50"] == pytest.approx(tpot_ms, abs=1e-9)
