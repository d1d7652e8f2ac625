"""The pages in a real browser."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from headless import look
from report_doubles import HOSTILE, hostile_run, run

from pytest_flperf.report.html.pages import Pages

pytestmark = pytest.mark.slow


def test_that_the_watching_works(tmp_path: Path) -> None:
    """A page that logs an error and fetches something is caught at both."""
    page = tmp_path / "bad.html"
    page.write_text("<script>console.error('oh')</script><img src=http://127.0.0.1:9/x.png>", encoding="utf-8")
    seen = look(page, tmp_path)
    assert any("oh" in line for line in seen.console), seen
    assert any("127.0.0.1:9" in url for url in seen.asked_for), seen


def test_quiet_page(tmp_path: Path) -> None:
    """The report logs nothing and asks for nothing; its parts are there."""
    page = tmp_path / "report.html"
    page.write_text(Pages().run(run(), {}), encoding="utf-8")
    seen = look(page, tmp_path)
    assert seen.console == []
    assert seen.asked_for == []
    assert "PASSED" in seen.dom
    assert seen.dom.count("<svg") == 3, "a distribution for each metric"


def test_hostile_page(tmp_path: Path) -> None:
    """Whatever the texts of a run hold: no script, no image, no handler, no request, no complaint."""
    together = "\n".join(text[:200] for text in HOSTILE.values())
    for name, text in {"every": together, "long": HOSTILE["long"]}.items():
        folder = tmp_path / name
        folder.mkdir()
        page = folder / "report.html"
        page.write_text(Pages().run(hostile_run(text), {}), encoding="utf-8")
        seen = look(page, folder)
        assert seen.console == []
        assert seen.asked_for == []
        assert not re.search(r"<(?:script|img|iframe)\b", seen.dom, re.IGNORECASE)
        # As the browser writes it out: attributes in double quotes, within which a text may say what it likes.
        tags = re.findall(r'<\w+((?:\s+[^\s=>]+(?:="[^"]*")?)*)\s*>', seen.dom)
        names = re.sub(r'="[^"]*"', "=", "".join(tags))
        assert " class=" in names
        assert not re.search(r"\son\w+=", names, re.IGNORECASE)
        assert seen.dom.count("<style") == 1
