"""The documentation against the code: examples load, workflows run, tables are whole, links lead somewhere."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from pytest_flperf.gates.budgets import parse_budget
from pytest_flperf.gates.rules import parse_rule
from pytest_flperf.gates.run_budgets import is_run_budget, parse_run_budget
from pytest_flperf.gates.verdict import judge, without_name
from pytest_flperf.options import OPTIONS
from pytest_flperf.results.comparison import Against, Comparison
from pytest_flperf.results.metrics import METRICS
from pytest_flperf.results.records import CaseResult, Requests
from pytest_flperf.results.run_metrics import RUN_METRICS
from pytest_flperf.suite.loader import load_suite
from pytest_flperf.wire.sample import Outcome

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def page(name: str) -> str:
    """The text of a page."""
    return (DOCS / name).read_text(encoding="utf-8")


def blocks(name: str, language: str) -> list[str]:
    """The code of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page(name), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize(
    ("name", "language"), [("suites.md", "yaml"), ("suites.md", "json"), ("suites.md", "toml"), ("quality.md", "yaml")]
)
def test_suites_load(tmp_path: Path, name: str, language: str) -> None:
    """Every suite that is shown is one."""
    found = blocks(name, language)
    assert found
    for text in found:
        path = tmp_path / f"example.{language}"
        path.write_text(text, encoding="utf-8")
        assert load_suite(path, "example").scenarios


@pytest.mark.parametrize("path", sorted((DOCS / "examples").rglob("*.yaml")), ids=lambda path: path.stem)
def test_examples_load(path: Path) -> None:
    """Every example is a suite, its data sets among it, and asks nothing twice."""
    assert load_suite(path, path.stem).scenarios
    rows = [json.loads(line) for file in path.parent.glob("*.jsonl") for line in file.read_text("utf-8").splitlines()]
    assert len({row["prompt"] for row in rows}) == len(rows)


def test_the_example_is_shown_as_it_is() -> None:
    """The suite on the page is the file, and its data sets have the row that is shown."""
    folder = DOCS / "examples" / "questions"
    assert blocks("quality-and-speed.md", "yaml") == [(folder / "questions.yaml").read_text("utf-8")]
    (row,) = blocks("quality-and-speed.md", "json")
    assert row in (folder / "facts.jsonl").read_text("utf-8")


def test_budgets_are_budgets() -> None:
    """Every budget that is shown can be read."""
    (shown,) = [text for text in blocks("budgets.md", "text") if text.startswith("ttft_ms.p95 <= 500\n")]
    for line in shown.splitlines():
        assert parse_run_budget(line) if is_run_budget(line) else parse_budget(line)


def test_budgets_for_models_in_a_suite(tmp_path: Path) -> None:
    """The mapping that is shown is a suite whose budgets can be read."""
    (text,) = blocks("budgets.md", "yaml")
    path = tmp_path / "example.yaml"
    path.write_text(text, encoding="utf-8")
    (scenario,) = load_suite(path, "example").scenarios
    assert {parse_budget(each).models for each in scenario.budgets} == {None, "flperf-pico", "qwen*"}


def test_rules_are_rules() -> None:
    """Every rule that is shown can be read, and the text that is shown is what a failed case says."""
    rules, shown = blocks("gates.md", "text")
    assert len([parse_rule(line) for line in rules.splitlines()]) == 11
    gates = [command for command in blocks("gates.md", "console") if "--flperf-fail-on" in command]
    assert len(gates) >= 4
    for command in gates:
        (rule,) = (word.partition("=")[2] for word in shlex.split(command) if word.startswith("--flperf-fail-on="))
        assert parse_rule(rule)
    compared = [
        Comparison("ttft_ms.p50 > +10%", "ttft_ms", "p50", "regressed", True, "", 50.124, 56.289, 12.3, (8.1, 16.9),
                   0.983, 10.0, pairs=20, scope="--flperf-fail-on"),
        Comparison("tpot_ms.p50 > +10% and +2ms", "tpot_ms", "p50", "unchanged", False, "", 5.02, 5.01, -0.2,
                   (-1.4, 1.1), 0.0, 10.0, 2.0, pairs=20, scope="--flperf-fail-on"),
    ]  # fmt: skip
    against = Against("pairs", "main", pairs=20, differs=("device: CPU → GPU",), comparisons=tuple(compared))
    requests = Requests(20, 20, 0, 0, {"ok": 20})
    case = CaseResult("n", "s", "short-chat", "flperf-nano", requests=requests, error_rate=0.0, against=(against,))
    assert without_name(judge(case, [])) == shown.rstrip("\n")


def test_tables_are_whole() -> None:
    """The committed tables are the code's, word for word: python scripts/docs_tables.py renews them."""
    script = ROOT / "scripts" / "docs_tables.py"
    namespace: dict[str, Any] = {"__name__": "docs_tables", "__file__": str(script)}
    exec(script.read_text(encoding="utf-8"), namespace)  # noqa: S102 - our own script
    renewed = namespace["renewed"]
    pages = {path.name: page(path.name) for path in DOCS.glob("*.md")}
    assert {name: renewed(text) for name, text in pages.items()} == pages
    assert all(text.count("<!-- table:") == text.count("<!-- end of table -->") for text in pages.values())
    assert all(f"| `{option.flag}" in pages["options.md"] for option in OPTIONS)
    metrics = pages["metrics.md"] + pages["budgets.md"]
    for name, metric in {**METRICS, **RUN_METRICS}.items():
        assert f"| `{name}` | {metric.unit} | {metric.definition.replace('|', chr(92) + '|')} |" in metrics
    with pytest.raises(KeyError):
        renewed("<!-- table: nosuch -->\n<!-- end of table -->")


def test_outcomes_are_listed() -> None:
    """All of them, and no other."""
    (listed,) = re.findall(r"Every request ends in exactly one:\n\n(.*?)\n\n", page("metrics.md"), re.DOTALL)
    assert sorted(re.findall(r"`(\w+)`", listed)) == sorted(outcome.value for outcome in Outcome)


def commands(node: Any) -> list[str]:
    """Every pytest command in a workflow."""
    if isinstance(node, dict):
        return [each for value in node.values() for each in commands(value)]
    if isinstance(node, list):
        return [each for value in node for each in commands(value)]
    return [node] if isinstance(node, str) and " -m pytest " in node else []


def workflow_commands() -> list[str]:
    """Of the page on CI, the pipeline of Jenkins included."""
    found = [command for text in blocks("ci.md", "yaml")[:2] for command in commands(yaml.safe_load(text))]
    (pipeline,) = blocks("ci.md", "groovy")
    (jenkins,) = re.findall(r"sh '''(.*?)'''", pipeline, re.DOTALL)
    plain = blocks("ci.md", "console")[0].partition("\n")[2]
    return [command.replace("\\\n", " ") for command in (*found, jenkins, plain)]


def test_there_are_four_commands() -> None:
    """One for each service and the plain one; they ask for the same but for what only one service can show."""
    github, gitlab, jenkins, plain = (set(shlex.split(command)[3:]) for command in workflow_commands())
    models = {"--flperf-model=qwen2.5-0.5b", "--flperf-model-cache=.flperf-models"}
    assert github == jenkins == plain | models
    assert gitlab == github | {"--flperf-code-quality=reports/code-quality.json"}
    assert {"--flperf-suite=default", "--junitxml=reports/junit.xml", "--flperf-html=reports/flperf.html"} <= plain


def test_their_options_exist() -> None:
    """Every option of ours that the page on CI names."""
    named = set(re.findall(r"--flperf-[a-z-]+", page("ci.md")))
    assert len(named) > 5
    assert named <= {option.flag for option in OPTIONS}


def test_reports_are_kept() -> None:
    """Whatever comes of a run: each service keeps the folder that the command writes into, and reads JUnit."""
    github, gitlab, gate = (yaml.safe_load(text) for text in blocks("ci.md", "yaml"))
    for job in (github["jobs"]["flperf"], gate["jobs"]["gate"]):
        (upload,) = [step for step in job["steps"] if step.get("uses", "").startswith("actions/upload-artifact@")]
        assert (upload["if"], upload["with"]["path"]) == ("always()", "reports/")
    kept = gitlab["flperf"]["artifacts"]
    assert (kept["when"], kept["paths"]) == ("always", ["reports/"])
    assert kept["reports"] == {"junit": "reports/junit.xml", "codequality": "reports/code-quality.json"}
    assert re.fullmatch(r"[\w\s-]+", kept["expose_as"]), "GitLab takes nothing else"
    (pipeline,) = blocks("ci.md", "groovy")
    assert "junit 'reports/junit.xml'" in pipeline.partition("always {")[2]
    assert "archiveArtifacts artifacts: 'reports/**'" in pipeline.partition("always {")[2]
    assert pipeline.count("{") == pipeline.count("}")


@pytest.mark.slow
def test_the_commands_run(tmp_path: Path) -> None:
    """With the embedded models and a short suite: green; with a small limit: red, and it says why."""
    command = shlex.split(workflow_commands()[0])[3:]
    kept = [each for each in command if "suite" not in each and "model" not in each]
    env = {**os.environ, "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"), "COLUMNS": "100"}
    for more, status in (([], 0), (["--flperf-budget=ttft_ms.p50 <= 0.001"], 1)):
        options = ["--flperf-suite=quick", "-p", "no:cacheprovider", *kept, *more]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *options],
            cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        assert done.returncode == status, done.stdout + done.stderr
    summary = (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert "flperf: PASSED" in summary
    assert "flperf: FAILED" in summary
    assert "missed ttft" in summary
    assert (tmp_path / "reports" / "junit.xml").exists()
    assert (tmp_path / "reports" / "latest" / "report.html").exists()


def test_the_site_builds(tmp_path: Path) -> None:
    """Strictly: every link and anchor within the site leads somewhere.  Links to elsewhere are not followed.

    Not with ``--quiet``, with which MkDocs counts no warnings.
    """
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    options = (tmp_path / "site" / "options" / "index.html").read_text(encoding="utf-8")
    assert "--flperf-suite=SUITE" in options
    for html in (tmp_path / "site").rglob("*.html"):
        assert "fonts.googleapis" not in html.read_text(encoding="utf-8")


def test_the_tests_that_are_named_exist() -> None:
    """What the page on faults says was tried is there to be run."""
    names = set(re.findall(r"`((?:\w+/)*test_\w+\.py)`", page("faults.md")))
    assert len(names) > 10
    assert not {name for name in names if not list((ROOT / "tests").rglob(name))}
