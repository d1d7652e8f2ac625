"""The README against the code."""

from __future__ import annotations

from pathlib import Path

from pytest_flperf.options import OPTIONS
from pytest_flperf.results.metrics import METRICS, RESOURCE_METRICS, RUN_METRICS

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def test_every_option_is_in_the_readme_word_for_word() -> None:
    """Each option stands in the table with its ini twin and its help."""
    for option in OPTIONS:
        value = f"={option.metavar}" if option.metavar else ""
        twin = f"`{option.dest}`" if option.ini else ""
        assert f"| `{option.flag}{value}` | {twin} | {option.text.replace('%%', '%')} |" in README


def test_metrics_are_defined_word_for_word() -> None:
    """The definitions in the README are those of the code."""
    requests = ("ttft_ms", "ttfat_ms", "itl_ms", "tpot_ms", "gen_tps", "tps", "prompt_tps", "e2e_ms")
    for name in (*requests, *RESOURCE_METRICS):
        assert f"| `{name}` | {METRICS[name].definition} |" in README


def test_metrics_of_runs_are_defined_word_for_word() -> None:
    """What a budget of a run can limit stands in the README with its definition."""
    for name, metric in RUN_METRICS.items():
        assert f"| `{name}` | {metric.definition} |" in README


def test_no_placeholder_is_left() -> None:
    """Every figure has been filled in."""
    assert "@@" not in README
