"""Runs made up for the store, and databases to store them in."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import Any

import sqlalchemy
from sqlalchemy import select

from pytest_flperf.history.environment import CiJob, Commit, Surroundings
from pytest_flperf.history.place import StorePlace
from pytest_flperf.results.load import Load
from pytest_flperf.results.records import BudgetVerdict, CaseResult, Failure, HostInfo, Requests, ResourceUse, Run
from pytest_flperf.results.serving import Target
from pytest_flperf.stats.descriptive.summary import distribution

ABOUT = Surroundings(Commit("a" * 40, "main"), CiJob("github", "1/1/test", "https://x/1"), "/somewhere/run")
HOST = HostInfo("box", "Debian 12, kernel 6.1.0-18", "a processor", 8, 32_000, ("GPU B", "GPU A"), "3.11.7", "x86_64")


def case(number: int = 0, suite: str = "default", model: str = "m", **changes: Any) -> CaseResult:
    """A passed case of eleven requests, its values from its number."""
    source = random.Random(number)
    metrics = {
        name: distribution([source.gauss(50, 5) for _ in range(11)]) for name in ("ttft_ms", "tpot_ms", "e2e_ms")
    }
    whole = CaseResult(
        nodeid=f"flperf:{suite}::case-{number}[{model}]", suite=suite, scenario=f"case-{number}", model=model,
        host="box", outcome="passed", message="",
        target=Target("openai", "http://127.0.0.1:1/v1", f"{model}:1", device="CPU"),
        load=Load(iterations=11), requests=Requests(total=11, ok=11), error_rate=0.0, wall_s=1.5, load_s=1.25,
        metrics={name: found for name, found in metrics.items() if found is not None},
        resources={"server_rss_mb": ResourceUse(5, 100.0, 90.0, 110.0)},
        budgets=(BudgetVerdict("error_rate <= 0", 0.0, 0.0, 11, True, "default", "error_rate"),),
    )  # fmt: skip
    return replace(whole, **changes)


def run(number: int = 0, suite: str = "default", **changes: Any) -> Run:
    """A run, the higher its number the newer."""
    moment = f"2026-11-{1 + number // 1440:02d}T{number // 60 % 24:02d}:{number % 60:02d}"
    whole = Run(
        id=f"{moment.replace('-', '').replace(':', '')}00Z-{suite}-{number:04x}", started_at=f"{moment}:00.000+00:00",
        finished_at=f"{moment}:27.000+00:00", status="passed", suites=(f"flperf:{suite}",),
        command=("pytest", f"--flperf-suite={suite}"), host=HOST, versions={"python": "3.11.7"},
        cases=(case(0, suite), case(1, suite)),
    )  # fmt: skip
    return replace(whole, **changes)


def rows(place: StorePlace, table: sqlalchemy.Table) -> list[dict[str, Any]]:
    """What stands in a table."""
    url = place.url or f"sqlite:///{place.path}"
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(select(table)).mappings()]


def eventful_run() -> Run:
    """An interrupted run with everything that a database could choke on."""
    hostile = "a\0b \ud800 '; DROP TABLE flperf_runs; -- 模型 " + "x" * 10_000
    slow = replace(case().metrics["ttft_ms"], p99=math.inf, as_inf=1)
    bad = case(
        7, hostile, hostile, outcome="failed", message=hostile, parameters={"p": hostile}, partial=True,
        notes=("warning: hot", hostile), metrics={"ttft_ms": slow}, error_rate=1.0,
        requests=Requests(total=2**40, failed=2**40),
        failures=(Failure("http_error", 3, 500, hostile, hostile),),
    )  # fmt: skip
    return run(
        3, status="interrupted", partial=True, finished_at=None, host=None, notes=("a note", hostile),
        versions={}, cases=(case(), bad),
    )  # fmt: skip
