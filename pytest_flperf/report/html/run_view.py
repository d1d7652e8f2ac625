"""HTML report of a run: page contents from its record and samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from pytest_flperf.gates.severity import failed_cases
from pytest_flperf.history.earlier_runs import EarlierRuns
from pytest_flperf.report.answer_sentence import answer_of, answer_sentence
from pytest_flperf.report.efficiency_words import MIXED, cost_cell, cost_heading, run_cost_words
from pytest_flperf.report.figures import NOTHING, counted, errors, number, point, statistic
from pytest_flperf.report.html.case_view import case_section, failed_case, tone_of
from pytest_flperf.report.html.comparisons_view import compared_section
from pytest_flperf.report.html.content import Cell, Fact, Page, Table
from pytest_flperf.report.html.distributions_view import distributions
from pytest_flperf.report.html.front_chart import pareto_front
from pytest_flperf.report.html.history_view import history_panels
from pytest_flperf.report.html.load_chart import load_charts
from pytest_flperf.report.html.models_view import cards_table, heat_maps, model_cards
from pytest_flperf.report.html.moments_view import moments
from pytest_flperf.report.html.plain_text import plain_failure, plain_section
from pytest_flperf.report.quality_words import mean_quality
from pytest_flperf.report.rerun import command_line
from pytest_flperf.report.rivals import rivals_together, scenario_of
from pytest_flperf.report.samples import CaseSamples
from pytest_flperf.report.sentences import (
    clock_words,
    doubts,
    duration,
    models_of,
    run_budgets,
    run_reasons,
    when,
)
from pytest_flperf.report.terminal.comparisons import rows_of
from pytest_flperf.report.verdict_words import heading, sentence, tone
from pytest_flperf.results.metrics import CASE_METRICS, METRICS
from pytest_flperf.results.records import CaseResult, HostInfo, Run
from pytest_flperf.results.serving import Target

__all__ = ["COMPARED", "run_page"]

_OPEN_LOOPS: Final = (
    "Offered: due; sent: less where this client was late or requests were cut off; served: ended ok; within budget: "
    "those of them that kept every latency budget (goodput)."
)
_SECTIONS: Final = 500
_WHOLE: Final = 24
"""Cases up to which each has tables of its own; more are plain text, so that a large page opens at once."""
_WHOLE_COMPARISONS: Final = 100
"""Comparisons up to which they have."""
_DEFINED: Final = (
    "ttft_ms",
    "itl_ms",
    "tpot_ms",
    "tps",
    "tps_total",
    "e2e_ms",
    "cold_ttft_ms",
    "error_rate",
    "late_reads",
)
COMPARED: Final[tuple[tuple[str, Callable[[CaseResult], str]], ...]] = (
    ("TTFT p50, ms", lambda case: statistic(case, "ttft_ms", "p50")),
    ("TTFT p95, ms", lambda case: statistic(case, "ttft_ms", "p95")),
    ("TPOT p50, ms", lambda case: statistic(case, "tpot_ms", "p50")),
    ("Tokens per second of one request, p50", lambda case: statistic(case, "tps", "p50")),
    ("End to end p50, ms", lambda case: statistic(case, "e2e_ms", "p50")),
    ("End to end p95, ms", lambda case: statistic(case, "e2e_ms", "p95")),
    ("Throughput of the case, tokens/s", lambda case: number(case.tps_total)),
    ("Failed requests", errors),
)
"""Tables that compare models, and runs: caption and cell."""


def run_page(run: Run, samples: Mapping[str, CaseSamples], earlier: EarlierRuns) -> Page:
    """The page contents of a run's report.

    Args:
        run: What was measured.
        samples: What is known of single requests, by the node id of their case.
        earlier: The earlier runs of cases, by node id.

    """
    cases, models = run.cases, models_of(run.cases)
    host = len({case.host for case in cases}) > 1
    detailed = _detailed(cases)
    anchors = {index: f"case-{index + 1}" for index in detailed}
    sections = tuple(
        case_section(
            run, cases[index], samples.get(cases[index].nodeid), anchors[index], host=host, open_=len(cases) == 1
        )
        for index in detailed
    )
    indices = {id(case): index for index, case in enumerate(cases)}
    bad = [indices[id(case)] for case in failed_cases(cases)]
    failures = tuple(failed_case(run, cases[index], anchors.get(index, ""), host=host) for index in bad)
    if len(cases) > _WHOLE or len(rows_of(cases)) > _WHOLE_COMPARISONS:
        sections, failures = tuple(map(plain_section, sections)), tuple(map(plain_failure, failures))
    groups = _groups(rivals_together(cases))
    cards = model_cards(run)
    return Page(
        title=f"{heading(run)}: {', '.join(run.suites) or 'tests'}, {when(run.started_at)}",
        heading=heading(run),
        tone=tone(run),
        answer=answer_sentence(run),
        sentence=sentence(run),
        reasons=run_reasons(run),
        causes=_causes(run),
        doubts=doubts(run),
        conditions=_conditions(run),
        facts=_facts(run),
        command=command_line(run),
        failures=failures,
        results=_results(cases, anchors),
        cards=() if (table := cards_table(cards)) is not None else cards,
        cards_table=table,
        front=pareto_front(run),
        load_charts=load_charts(cases),
        heat_maps=heat_maps(run, groups),
        open_loops=_open_loops(cases),
        compared=compared_section(cases, anchors),
        distributions=distributions(groups, samples, models),
        history=history_panels(groups, earlier, models),
        moments=moments(cases, samples, models, host=host),
        cases=sections,
        cases_note=_left_out(len(cases), len(sections), "have a section, failed ones first"),
        environment=tuple(table for table in (_machine(run), _targets(cases), _versions(run)) if table is not None),
        definitions=_definitions(cases),
    )


def _left_out(count: int, shown: int, what: str) -> str:
    return f"{shown} of {count} cases {what}; the table of results has all." if count > shown else ""


def _detailed(cases: Sequence[CaseResult]) -> list[int]:
    """Indices of the cases with a section, failed ones preferred."""
    order = sorted(range(len(cases)), key=lambda index: cases[index].outcome not in ("failed", "error"))
    return sorted(order[:_SECTIONS])


def _causes(run: Run) -> tuple[str, ...]:
    """Causes of failure with their number of cases, where there are several; each case says the rest."""
    found = answer_of(run).causes
    if len(found) < 2:
        return ()
    return tuple(f"{counted(each.cases, 'case')}: {each.words}" for each in found)


def _conditions(run: Run) -> str:
    host = run.host
    parts = (
        ", ".join(run.suites),
        f"{host.cpu}, {host.cores} cores" if host is not None else "",
        run.clock.source and f"{run.clock.source} stamps",
        when(run.started_at),
        duration(run),
    )
    return " · ".join(filter(None, parts))


def _facts(run: Run) -> tuple[Fact, ...]:
    facts = [
        ("Suite", ", ".join(run.suites)),
        ("Models", ", ".join(models_of(run.cases))),
        ("Machines" if run.hosts else "Machine", "; ".join(map(_machine_words, run.machines))),
        ("Budgets of the run", "; ".join(run_budgets(run))),
        ("Cost of the run", run_cost_words(run.cases).removeprefix("cost of the run: ")),
        ("Clock", clock_words(run.clock)),
        ("Started", when(run.started_at)),
        ("Took", duration(run)),
        ("Run", run.id),
    ]  # fmt: skip
    return tuple(Fact(term, text) for term, text in facts if text)


def _machine_words(host: HostInfo) -> str:
    gpus = f", {', '.join(host.gpus)}" if host.gpus else ""
    return f"{host.name}: {host.cpu}, {host.cores} cores, {_gb(host.ram_mb)}{gpus}"


def _gb(ram_mb: int) -> str:
    return f"{number(ram_mb / 1024)} GB memory"


def _results(cases: Sequence[CaseResult], anchors: dict[int, str]) -> Table:
    suites = len({case.suite for case in cases}) > 1
    hosts = len({case.host for case in cases}) > 1
    late = any(case.requests.late_reads for case in cases)
    scored = any("quality" in case.metrics for case in cases)
    priced = cost_heading(cases)
    names = ["model", "scenario", *["suite"] * suites, *["host"] * hosts]
    head = [
        *names, "verdict", "n", *["quality"] * scored, *[f"cost {priced}"] * bool(priced), "TTFT p50 ms",
        "TTFT p95 ms", "TPOT p50 ms", "tokens/s p50", "e2e p50 ms", "e2e p95 ms", "tokens/s of the case", "errors",
        *["late reads"] * late,
    ]  # fmt: skip
    rows = []
    indices = {id(case): index for index, case in enumerate(cases)}
    for case in rivals_together(cases):
        index = indices[id(case)]
        label = f"{case.scenario} {point(case.parameters)}".strip()
        rows.append(
            (
                Cell(case.model),
                Cell(label, link=anchors.get(index, "")),
                *[Cell(case.suite)] * suites,
                *[Cell(case.host)] * hosts,
                Cell(case.outcome, tone_of(case)),
                Cell(str(case.requests.ok)),
                *[Cell(mean_quality(case), tight=True)] * scored,
                *[Cell(cost_cell(case, with_currency=priced == MIXED))] * bool(priced),
                *(Cell(cell(case)) for _, cell in COMPARED[:-1]),
                Cell(errors(case), "bad" if case.requests.failed or case.outcome == "error" else ""),
                *[Cell(str(case.requests.late_reads), "doubt" if case.requests.late_reads else "")] * late,
            )
        )
    return Table(
        "All cases", tuple(head), tuple(rows), len(names),
        note="n: measured requests that ended ok; only these are in latencies.",
    )  # fmt: skip


def _definitions(cases: Sequence[CaseResult]) -> tuple[Fact, ...]:
    """Definitions of the metrics that every page speaks of, and of all that this run has."""
    found = {name for case in cases for name in (*case.metrics, *case.resources)}
    found |= {name for name in CASE_METRICS if any(_has(case, name) for case in cases)}
    return tuple(
        Fact(f"{metric.title} ({name})", metric.definition.replace("`", ""))
        for name, metric in METRICS.items()
        if name in _DEFINED or name in found
    )


def _has(case: CaseResult, name: str) -> bool:
    """Whether a case has a number of its own; what is counted of its requests, where there are any."""
    return getattr(case, name, None) is not None or bool(getattr(case.requests, name, 0))


def _groups(cases: Sequence[CaseResult]) -> dict[str, dict[str, CaseResult]]:
    suites = len({case.suite for case in cases}) > 1
    hosts = len({case.host for case in cases}) > 1
    groups: dict[str, dict[str, CaseResult]] = {}
    for case in cases:
        label = f"{case.scenario} {point(case.parameters)}".strip()
        label += f" ({case.suite})" * suites + f" ({case.host})" * hosts
        while case.model in groups.get(label, {}):  # calls of the fixture within one test
            label += " again"
        groups.setdefault(label, {})[case.model] = case
    return groups


def _is_open_loop(case: CaseResult) -> bool:
    """Whether its throughput is that of the requests that were offered."""
    return case.load is not None and case.load.rate is not None


def _open_loops(cases: Sequence[CaseResult]) -> Table | None:
    """Rates of open loops: what was offered, and what became of it."""
    found = [case for case in rivals_together(cases) if _is_open_loop(case)]
    if not found:
        return None
    head = ("model", "scenario", "offered", "sent", "served", "within budget", "tokens/s served")
    rows = tuple(
        (
            Cell(case.model),
            Cell(scenario_of(case)),
            *(
                Cell(number(rate))
                for rate in (case.offered_rate, case.sent_rate, case.request_rate, case.goodput, case.tps_total)
            ),
        )
        for case in found
    )
    return Table("Open loops, requests/s", head, rows, 2, note=_OPEN_LOOPS)


def _machine(run: Run) -> Table | None:
    hosts = run.machines
    if not hosts:
        return None
    facts = [
        ("name", *(host.name for host in hosts)),
        ("operating system", *(host.os for host in hosts)),
        ("processor", *(host.cpu for host in hosts)),
        ("cores", *map(_cores, hosts)),
        ("memory", *(_gb(host.ram_mb) for host in hosts)),
        ("GPUs", *(", ".join(host.gpus) or "none found" for host in hosts)),
        ("architecture", *(host.machine or NOTHING for host in hosts)),
        ("clock", *[clock_words(run.clock)] * len(hosts)),
    ]
    rows = tuple(tuple(map(Cell, fact)) for fact in facts)
    if len(hosts) > 1:
        return Table("The machines that measured", ("what", *map(str, range(1, len(hosts) + 1))), rows[:-1], words=True)
    return Table("The machine that measured", ("what", "found"), rows, words=True)


def _cores(host: HostInfo) -> str:
    physical = f", {host.physical_cores} physical" if host.physical_cores else ""
    return f"{host.cores} logical{physical}" + (f", {host.usable_cores} usable" if host.usable_cores else "")


def _versions(run: Run) -> Table | None:
    if not run.versions:
        return None
    return Table("Versions", ("what", "version"), _pairs(run.versions.items()), words=True)


def _pairs(pairs: Iterable[tuple[str, str]]) -> tuple[tuple[Cell, ...], ...]:
    return tuple((Cell(term), Cell(text)) for term, text in pairs)


def _targets(cases: Sequence[CaseResult]) -> Table | None:
    """A table of targets, one row for each model and server."""
    found: dict[tuple[str, Target], CaseResult] = {}
    for case in cases:
        if case.target is not None:
            found.setdefault((case.model, case.target), case)
    if not found:
        return None
    rows = tuple(
        tuple(
            Cell(text or NOTHING)
            for text in (
                model,
                target.backend,
                target.model_id,
                "inside its process" if target.transport == "native" else target.base_url,
                target.device,
                target.execution_provider,
                None if target.context_length is None else str(target.context_length),
                None if case.load_s is None else number(case.load_s),
                None if case.cold_ttft_ms is None else number(case.cold_ttft_ms),
                None if case.model_rss_mb is None else number(case.model_rss_mb),
            )
        )
        for (model, target), case in found.items()
    )
    head = (
        "model", "backend", "model id", "server", "device", "execution provider", "context, tokens", "loaded in, s",
        "cold TTFT, ms", "memory, MB",
    )  # fmt: skip
    return Table("What answered", head, rows, words=True)
