"""The pages as axe-core sees them: contrast, names, landmarks, what a keyboard reaches; light and dark."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import pytest
from headless import look
from report_doubles import HOSTILE, case, hostile_run, measured, run

from pytest_flperf.report.html.pages import Pages
from pytest_flperf.results.records import Run

pytestmark = pytest.mark.slow

SAMPLES = sorted((Path(__file__).parents[2] / "docs" / "samples").glob("*.html"))
_SECURITY_POLICY = re.compile(r"<meta[^>]*Content-Security-Policy[^>]*>", re.IGNORECASE)
_REPORT = """
axe.run().then(found => {
  const said = document.createElement("pre")
  said.id = "axe"
  said.textContent = JSON.stringify(found.violations.flatMap(
    rule => rule.nodes.map(node => [rule.id, rule.impact, node.html.slice(0, 200), node.failureSummary])))
  document.body.appendChild(said)
})
"""


def findings(page: str, folder: Path, *flags: str) -> list[list[str]]:
    """Rule, impact, element and reason of each violation; no script runs in a page as it is, so the policy goes."""
    axe = files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    safe = axe.replace("</script", r"<\/script")
    scripts = f"<script>{safe}</script><script>{_REPORT}</script>"
    path = folder / "page.html"
    path.write_text(_SECURITY_POLICY.sub("", page).replace("</body>", f"{scripts}</body>"), encoding="utf-8")
    seen = look(path, folder, "--virtual-time-budget=20000", *flags)
    said = re.search(r'<pre id="axe">(.*?)</pre>', seen.dom, re.DOTALL)
    assert said is not None, seen.console
    found: list[list[str]] = json.loads(html.unescape(said[1]))
    return found


def two_models() -> Run:
    """Two models in two scenarios, the second many times slower."""
    slow = {"ttft_ms": measured([400.0 + n for n in range(11)])}
    cases = [
        case(scenario, model, **({"metrics": slow} if model == "micro" else {}))
        for scenario in ("short", "long")
        for model in ("nano", "micro")
    ]
    return run(*cases)


def many_cases() -> Run:
    """So many that each is one text."""
    return run(*(case(f"s{number}", outcome="failed" if number % 2 else "passed") for number in range(30)))


def test_that_axe_looks(tmp_path: Path) -> None:
    """A grey text on grey and a picture without a name are found."""
    bad = '<main><h1 style="color:#aaa;background:#999">Hello there</h1><img></main>'
    page = f'<html lang="en"><title>t</title><body>{bad}</body></html>'
    assert {"color-contrast", "image-alt"} <= {rule for rule, *_ in findings(page, tmp_path)}


@pytest.mark.parametrize("scheme", ["1", "0"], ids=["light", "dark"])
@pytest.mark.parametrize(
    "made",
    [run, two_models, many_cases, lambda: hostile_run("\n".join(text[:200] for text in HOSTILE.values()))],
    ids=["one-case", "two-models", "many-cases", "hostile"],
)
def test_a_page(made: Callable[[], Run], scheme: str, tmp_path: Path) -> None:
    """No violation at all, of whatever impact."""
    page = Pages().run(made(), {})
    assert findings(page, tmp_path, f"--blink-settings=preferredColorScheme={scheme}") == []


@pytest.mark.parametrize("scheme", ["1", "0"], ids=["light", "dark"])
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_a_sample_page(sample: Path, scheme: str, tmp_path: Path) -> None:
    """The documentation's pages of real runs."""
    page = sample.read_text(encoding="utf-8")
    assert findings(page, tmp_path, f"--blink-settings=preferredColorScheme={scheme}") == []
