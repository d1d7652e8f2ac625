"""Tables of the store in their current version.

``migrations`` has the steps that lead to it.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Double, Integer, LargeBinary, MetaData, Table, Text

__all__ = ["ACCEPTED", "BASELINES", "CASES", "DOCUMENTS", "LOGS", "METADATA", "METRICS", "MODELS", "OF_RUNS",
           "RESOURCES", "RUNS", "SCHEMA", "VALUES"]  # fmt: skip

METADATA = MetaData()

SCHEMA = Table(
    "flperf_schema",
    METADATA,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("applied_at", Text, nullable=False),
)
"""A row per migration that was made."""

RUNS = Table(
    "flperf_runs",
    METADATA,
    Column("run_key", BigInteger, primary_key=True, autoincrement=False),
    Column("id", Text, nullable=False, unique=True),
    Column("started_at", Text, nullable=False),
    Column("finished_at", Text),
    Column("status", Text, nullable=False),
    Column("partial", Boolean, nullable=False),
    Column("suites", Text, nullable=False),
    Column("command", Text, nullable=False),
    Column("cases", Integer, nullable=False),
    Column("cases_passed", Integer, nullable=False),
    Column("host", Text),
    Column("fingerprint", Text, nullable=False),
    Column("versions", Text, nullable=False),
    Column("git_commit", Text),
    Column("git_branch", Text),
    Column("ci_system", Text),
    Column("ci_job", Text),
    Column("ci_url", Text),
    Column("folder", Text),
    Column("stored_at", Text, nullable=False),
)
"""``suites``, ``host`` and ``versions`` are JSON; times are ISO 8601, UTC, and sort as texts."""

DOCUMENTS = Table(
    "flperf_documents",
    METADATA,
    Column("run_key", BigInteger, primary_key=True, autoincrement=False),
    Column("encoding", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("content", LargeBinary, nullable=False),
)
"""The whole results: JSON (``json``), or that compressed (``zlib``); ``digest`` is the SHA-256 of the JSON."""

CASES = Table(
    "flperf_cases",
    METADATA,
    Column("run_key", BigInteger, primary_key=True, autoincrement=False),
    Column("case_no", Integer, primary_key=True, autoincrement=False),
    Column("nodeid", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("suite", Text, nullable=False),
    Column("scenario", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("parameters", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("partial", Boolean, nullable=False),
    Column("requests", Integer, nullable=False),
    Column("requests_ok", Integer, nullable=False),
    Column("error_rate", Double),
    Column("wall_s", Double),
    Column("request_rate", Double),
    Column("goodput", Double),
    Column("tps_total", Double),
    Column("conditions", Text),
    Column("standing", Text),
    Column("compared_with", Text),
    Column("improved", Boolean),
)
"""``conditions``: see ``conditions.conditions_of``; null in rows of an earlier version whose results could not be read
again.  ``standing``: see ``standing.standing_of``.  ``compared_with``, ``improved``: see ``standing.compared_with``;
null in rows of an earlier version."""

METRICS = Table(
    "flperf_metrics",
    METADATA,
    Column("run_key", BigInteger, primary_key=True, autoincrement=False),
    Column("case_no", Integer, primary_key=True, autoincrement=False),
    Column("name", Text, primary_key=True),
    Column("n", Integer, nullable=False),
    *(Column(name, Double) for name in ("mean", "p50", "p90", "p95", "p99", "min", "max")),
)

RESOURCES = Table(
    "flperf_resources",
    METADATA,
    Column("run_key", BigInteger, primary_key=True, autoincrement=False),
    Column("case_no", Integer, primary_key=True, autoincrement=False),
    Column("name", Text, primary_key=True),
    Column("n", Integer, nullable=False),
    *(Column(name, Double) for name in ("mean", "min", "max")),
)

MODELS = Table(
    "flperf_models",
    METADATA,
    Column("run_key", BigInteger, primary_key=True, autoincrement=False),
    Column("model_no", Integer, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
    Column("backend", Text),
    Column("base_url", Text),
    Column("model_id", Text),
    Column("variant", Text),
    Column("device", Text),
    Column("execution_provider", Text),
    Column("transport", Text),
    Column("size_mb", Integer),
    Column("load_s", Double),
    Column("model_rss_mb", Double),
)

LOGS = Table(
    "flperf_logs",
    METADATA,
    Column("run_key", BigInteger, primary_key=True, autoincrement=False),
    Column("line_no", Integer, primary_key=True, autoincrement=False),
    Column("case_no", Integer),
    Column("kind", Text, nullable=False),
    Column("text", Text, nullable=False),
)
"""Lines for a person: ``note``, ``warning`` or ``failure``; of the whole run where ``case_no`` is null."""

VALUES = Table(
    "flperf_values",
    METADATA,
    Column("run_key", BigInteger, primary_key=True, autoincrement=False),
    Column("case_no", Integer, primary_key=True, autoincrement=False),
    Column("name", Text, primary_key=True),
    Column("n", Integer, nullable=False),
    Column("content", LargeBinary, nullable=False),
)
"""A metric's values of single requests, in the order in which they were sent: those of the first of the ``n`` requests,
as float32 (little-endian), compressed (zlib)."""

BASELINES = Table(
    "flperf_baselines",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("run_id", Text, nullable=False),
    Column("set_at", Text, nullable=False),
)
"""Runs that people gave a name."""

ACCEPTED = Table(
    "flperf_accepted",
    METADATA,
    Column("run_id", Text, primary_key=True),
    Column("accepted_at", Text, nullable=False),
)
"""Runs whose red and undecided cases a person accepted as a baseline."""

OF_RUNS = (VALUES, LOGS, MODELS, RESOURCES, METRICS, CASES, DOCUMENTS, RUNS)
"""All tables with rows of a run, the run's own table last."""
