"""JUnit XML: properties and text of each case.

Properties are for tools that read them (Jenkins), the text is for the others (GitLab).
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from pytest_flperf._text import harmless_lines, printable
from pytest_flperf.gates.format import change, interval, limit, of_medians, probability, raw, sides, word
from pytest_flperf.report.terminal.summary import case_lines
from pytest_flperf.results.atomic_write import write_file
from pytest_flperf.results.bounds import bounded_case
from pytest_flperf.results.comparison import Against
from pytest_flperf.results.judged import ModelScore
from pytest_flperf.results.records import CaseResult

__all__ = ["NODEID_PROPERTY", "STATUS_PROPERTY", "case_text", "complete", "judged_properties", "properties"]

NODEID_PROPERTY: Final = "flperf.nodeid"
"""The property that identifies the test of a case."""
STATUS_PROPERTY: Final = "flperf.status"
"""The property of the test suite that has the run's status."""
_STATISTICS: Final = ("n", "mean", "p50", "p90", "p95", "p99", "max")
_LOAD: Final = ("shape", "rate", "concurrency", "iterations", "duration_s", "stream")
_NUMBERS: Final = (
    "error_rate", "wall_s", "request_rate", "goodput", "offered_rate", "sent_rate", "tps_total", "load_s",
    "cold_ttft_ms", "download_s", "model_rss_mb", "tool_right", "argument_right", "abstained", "malformed",
    "cost_total", "cost_per_1k", "cost_per_right", "quality_per_1k_reasoning", "energy_per_answer_j",
    "energy_per_right_j",
)  # fmt: skip
_NOTHING: Final[Mapping[str, Sequence[tuple[str, str]]]] = MappingProxyType({})
_VALUE: Final = 500
_LONGEST_TEXT: Final = 60_000
_LARGEST_FILE: Final = 256 << 20


def properties(case: CaseResult) -> list[tuple[str, str]]:
    """JUnit properties of a case, as names and values.

    All are text: what was measured where, every number, budget and comparison.
    """
    case = bounded_case(case)
    target, load = case.target, case.load
    found: list[tuple[str, object]] = [
        (NODEID_PROPERTY, case.nodeid),
        ("suite", case.suite),
        ("scenario", case.scenario),
        ("model", case.model),
        ("host", case.host),
        ("partial", "true" if case.partial else None),
    ]
    if target is not None:
        names = ("backend", "base_url", "transport", "model_id", "device", "execution_provider", "context_length")
        found += [(f"target.{name}", getattr(target, name)) for name in names]
    if load is not None:
        found += [(f"load.{name}", getattr(load, name)) for name in _LOAD]
    found += [(name, value) for name, value in case.parameters.items()]
    found += [(f"requests.{name}", getattr(case.requests, name)) for name in ("total", "ok", "failed", "timeouts")]
    found += [(name, getattr(case, name)) for name in _NUMBERS]
    for name, metric in case.metrics.items():
        found += [(f"{name}.{statistic}", metric.statistic(statistic)) for statistic in _STATISTICS]
    found += _quality(case)
    found += _cost(case)
    for name, use in case.resources.items():
        found += [(f"{name}.{statistic}", use.statistic(statistic)) for statistic in ("mean", "max")]
    found.append(("clock.source", case.clock.source))
    for budget in case.budgets:
        met = "met" if budget.met else "MISSED"
        value = "not measured" if budget.value is None else _text(budget.value)
        found.append(
            (f"budget {budget.expression}", f"{met}, value {value}, limit {_text(budget.limit)}, n {budget.n}")
        )
    for against in case.against:
        found += _compared(against)
    return [(printable(name, _VALUE), _text(value)) for name, value in found if value is not None]


def _quality(case: CaseResult) -> list[tuple[str, object]]:
    """Properties of quality over prompts, and by category."""
    quality = case.answer_quality
    if quality is None:
        return []
    low, high = quality.ci95 or (None, None)
    return [
        ("quality.prompts", quality.prompts),
        ("quality.ci95_low", low),
        ("quality.ci95_high", high),
        ("quality.lower95", quality.lower95),
        ("quality.answered", quality.answered),
        *((f"quality of {each.category or '(no category)'}", each.mean) for each in quality.categories),
    ]


def _cost(case: CaseResult) -> list[tuple[str, object]]:
    """Properties of the price, and of how certain the cost is."""
    price, cost = case.price, case.cost
    found: list[tuple[str, object]] = [("price", price.words)] if price is not None else []
    if cost is not None:
        found += [("cost.currency", cost.currency), ("cost.spent", cost.spent), ("cost.reason", cost.reason or None)]
        found += [("cost.at_most", "true" if cost.at_most else None)]
    return found


def _compared(against: Against) -> list[tuple[str, object]]:
    """Properties of the baseline, its differences, and each comparison."""
    found: list[tuple[str, object]] = [
        ("against", against.label),
        ("against.kind", against.kind),
        ("against.run_id", against.run_id),
        ("against.missing", against.missing or None),
        ("against.pairs", against.pairs),
        *(("against.differs", line) for line in against.differs),
    ]
    for each in against.comparisons:
        baseline, candidate = sides(each)
        grown = " ".join(filter(None, (change(each), interval(each))))
        parts = [word(each), f"baseline {baseline}", f"candidate {candidate}"]
        parts += [f"change {grown}"] * bool(grown)
        parts += [f"limit {limit(each)}", *filter(None, (probability(each), raw(each), of_medians(each), each.reason))]
        parts.append(f"n {each.n_baseline} and {each.n_candidate}")
        found.append((f"comparison {each.rule}", ", ".join(parts)))
    return found


def judged_properties(score: ModelScore) -> list[tuple[str, str]]:
    """JUnit properties of what a judge said of a case, as names and values."""
    low, high = score.mean_score_ci95 or (None, None)
    found: list[tuple[str, object]] = [
        ("judge.score", score.mean_score),
        ("judge.score_low", low),
        ("judge.score_high", high),
        ("judge.prompts", score.prompts),
        ("judge.passed", score.passed),
        ("judge.marginal", score.marginal),
        ("judge.failed", score.failed),
        ("judge.no_answer", score.no_answer),
        ("judge.errors", score.judge_errors),
        ("judge.pass_rate", score.pass_rate),
        ("judge.pass_rate_corrected", score.corrected_pass_rate),
        ("judge.pass_rate_lower", score.pass_rate_lower),
    ]
    return [(name, _text(value)) for name, value in found if value is not None]


def case_text(case: CaseResult) -> str:
    """Text of a case for people, as ``-vv`` prints it."""
    text = harmless_lines("\n".join(case_lines(bounded_case(case))))
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}\n… the rest is left out for its length"


def complete(
    path: Path,
    texts: Mapping[tuple[str, str], Sequence[str]],
    status: str,
    more: Mapping[str, Sequence[tuple[str, str]]] = _NOTHING,
) -> str:
    """Add status and texts to a JUnit file that pytest wrote.

    The run's status becomes a property, the text of a case its ``system-out``.  pytest writes the output of passed
    tests only with ``junit_logging`` set, for all tests at once, and writes its file only when the session has ended.

    Args:
        path: The file; replaced whole, or left as it is.
        texts: Texts of cases, by the values of the properties :data:`NODEID_PROPERTY` and ``host``.  Where there are
            several hosts, the name of a test gets its own.
        status: The run's status, for a property of the test suite.
        more: Properties of cases that were known only after their tests, by the value of :data:`NODEID_PROPERTY`.

    Returns:
        Why nothing was added; empty where all is well.

    """
    try:
        if path.stat().st_size > _LARGEST_FILE:
            return "it is too large to read again"
        tree = ET.parse(path)  # noqa: S314 - pytest wrote it a moment ago; expat expands no entities from outside
    except OSError as error:
        return error.strerror or str(error)
    except ET.ParseError as error:
        return f"it is not XML: {error}"
    hosts = len({host for _, host in texts}) > 1
    for test in tree.iter("testcase"):
        _add(test, texts, hosts=hosts)
        _add_properties(test, more)
    for suite in tree.iter("testsuite"):
        _add_status(suite, status)
    return write_file(path, ET.tostring(tree.getroot(), encoding="utf-8", xml_declaration=True))


def _add_status(suite: ET.Element, status: str) -> None:
    found = suite.find("properties")
    if found is None:
        found = ET.Element("properties")
        suite.insert(0, found)
    ET.SubElement(found, "property", name=STATUS_PROPERTY, value=status)


def _add(test: ET.Element, texts: Mapping[tuple[str, str], Sequence[str]], *, hosts: bool) -> None:
    cases = list(_cases(test))
    if hosts and cases:
        test.set("name", f"{test.get('name')} ({cases[0][1]})")
    said = [text for case in cases for text in texts.get(case, ())]
    if not said:
        return
    out = test.find("system-out")
    if out is None:
        out = ET.SubElement(test, "system-out")
    out.text = "\n\n".join([*_filled([out.text]), *said])


def _add_properties(test: ET.Element, more: Mapping[str, Sequence[tuple[str, str]]]) -> None:
    found = test.find("properties")
    if found is None:
        return
    of_case = next((each.get("value") for each in found if each.get("name") == NODEID_PROPERTY), None)
    for name, value in more.get(of_case or "", ()):
        ET.SubElement(found, "property", name=name, value=value)


def _cases(test: ET.Element) -> Iterator[tuple[str, str]]:
    """Node id and host of each case of a test."""
    nodeid: str | None = None
    for each in test.iter("property"):
        name, value = each.get("name"), each.get("value") or ""
        if name == NODEID_PROPERTY:
            nodeid = value
        elif name == "host" and nodeid is not None:
            yield nodeid, value
            nodeid = None


def _filled(texts: Iterable[str | None]) -> list[str]:
    return [text for text in texts if text]


def _text(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else printable(str(value), _VALUE)
