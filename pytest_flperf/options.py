"""All that pytest is told when it starts: options with their ini twins, and where our state lies in its stashes.

One module, and nothing heavy in it: each module that is imported at the start costs every run of pytest half a
millisecond, whether it measures anything or not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "BEGUN",
    "FLEET",
    "ITEM_RESULTS",
    "MEASURES",
    "NULL",
    "ONLY_COLLECTS",
    "OPTIONS",
    "STARTED",
    "SUITE_NAMES",
    "SUITE_REFS",
    "TOLD_PROPERTIES",
    "FlperfWarning",
    "Option",
    "add_options",
]

_IniType: TypeAlias = Literal["string", "args", "linelist", "bool", "int", "float"]

SUITE_REFS: Final[pytest.StashKey[tuple[str, ...]]] = pytest.StashKey()
"""On the config: with what the node ids of the selected suites begin; there as soon as a suite is selected."""
SUITE_NAMES: Final[pytest.StashKey[tuple[str, ...]]] = pytest.StashKey()
"""On the config: the names of the selected suites, once they are loaded."""
ONLY_COLLECTS: Final[pytest.StashKey[bool]] = pytest.StashKey()
"""On the config: this session collects for the ``--flperf-dry-run`` of another."""
ITEM_RESULTS: Final[pytest.StashKey[list[dict[str, Any]]]] = pytest.StashKey()
"""On an item: its case results as plain dicts, until a report takes them along."""
MEASURES: Final[pytest.StashKey[bool]] = pytest.StashKey()
"""On an item: it has taken our fixture, though no list of its fixtures says so (``getfixturevalue``)."""
TOLD_PROPERTIES: Final[pytest.StashKey[dict[str, list[tuple[str, str]]]]] = pytest.StashKey()
"""On an item: the properties that its report got, by the node id of the case."""
BEGUN: Final[pytest.StashKey[tuple[float, str]]] = pytest.StashKey()
"""On the config of xdist's controller: when the run began and the end of its id, the same in all workers."""
FLEET: Final[pytest.StashKey[dict[str, Any]]] = pytest.StashKey()
"""On the config of xdist's controller: the machines of its workers, by the worker's id."""
NULL: Final = "null"
"""Takes a parameter out of requests, as in a suite."""
STARTED: Final[pytest.StashKey[float]] = pytest.StashKey()
"""On the config: when the session began, in seconds of the monotonic clock."""


class FlperfWarning(pytest.PytestWarning):
    """Something about a measurement that a person should know."""


def whole_number_or_null(text: str) -> int | str:
    """A whole number, or :data:`NULL`; raises ValueError."""
    return text if text == NULL else int(text)


def number_or_null(text: str) -> float | str:
    """A number, or :data:`NULL`; raises ValueError."""
    return text if text == NULL else float(text)


class Option:
    """An option and how its ini twin is typed; None: it has none.

    No dataclass and no named tuple: making one of these takes as long as importing a module.
    """

    __slots__ = ("dest", "flag", "ini", "kind", "metavar", "repeatable", "switch", "text")

    def __init__(
        self,
        flag: str,
        ini: _IniType | None,
        text: str,
        metavar: str | None = None,
        kind: Callable[[str], Any] | None = None,
        repeatable: bool = False,
        *,
        switch: bool = False,
    ) -> None:
        """``dest`` follows from the flag: the name among the parsed options and in the ini file."""
        self.flag = flag
        self.ini = ini
        self.text = text
        self.metavar = metavar
        self.kind = kind
        self.repeatable = repeatable
        self.switch = switch
        self.dest = flag.lstrip("-").replace("-", "_")


_WHAT: Final = (
    Option(
        "--flperf-suite", None,
        "Run this suite: a name or the path of a suite file (repeatable)", "SUITE", None, True,
    ),
    Option(
        "--flperf-model", "args",
        "Measure this model, by alias or id (repeatable, or several with commas); default: the suite's models, else "
        "the embedded ones or the only one that a server lists", "MODEL", None, True,
    ),
    Option(
        "--flperf-base-url", "string",
        "Measure the OpenAI-compatible server at this URL, such as http://127.0.0.1:8080/v1, instead of Foundry "
        "Local; with --flperf-backend, the server of that kind", "URL",
    ),
    Option(
        "--flperf-api-key-env", "string",
        "Read the key for --flperf-base-url from this environment variable", "NAME",
    ),
    Option(
        "--flperf-max-time", "string",
        "Stop measuring when the session has run this long, such as 90s, 15m or 1h30m, and mark the run as partial",
        "DURATION",
    ),
    Option(
        "--flperf-lock-timeout", "string",
        "Wait this long for another run that measures on this machine (0: don't wait; none: measure at the same time); "
        "default: 600", "SECONDS",
    ),
    Option("--flperf-catalog-url", "string", "Use this model catalog instead of Foundry Local's public one", "URL"),
    Option(
        "--flperf-model-cache", "string",
        "Keep downloaded models in this folder; default: Foundry Local's own", "DIR",
    ),
    Option("--flperf-list-suites", None, "List the available suites and exit", switch=True),
    Option("--flperf-list-models", None, "List catalog, cached and loaded models and exit", switch=True),
    Option("--flperf-dry-run", None, "Print the cases, their requests and the estimated time, and exit", switch=True),
)  # fmt: skip
_BACKENDS: Final = (
    Option(
        "--flperf-backend", "string",
        "Measure models on this kind of server: foundry, llamacpp, ollama, openai … ('flperf discover' lists running "
        "ones); default: foundry, or openai with a base URL", "KIND",
    ),
    Option(
        "--flperf-target", "linelist",
        "Measure this model on its own server, such as 'backend=ollama,model=qwen2.5:0.5b' or "
        "'base_url=http://127.0.0.1:8080/v1,model=NAME' (repeatable, results side by side); keys as in a suite's "
        "targets",
        "TARGET", None, True,
    ),
    Option("--flperf-device", "string", "Run models on this device: cpu, gpu, npu or auto", "DEVICE"),
    Option(
        "--flperf-isolation", "string",
        "Run all models in one process (shared), or each in its own (process)", "HOW",
    ),
    Option(
        "--flperf-transport", "string",
        "Send requests over http, or native: inside the server's process, without HTTP", "HOW",
    ),
    Option(
        "--flperf-backend-option", "linelist",
        "Set an option of one kind of backend, such as 'llamacpp.models_dir=models' (repeatable)",
        "KIND.KEY=VALUE", None, True,
    ),
    Option(
        "--flperf-parallel-targets", "bool",
        "Measure targets of different providers at the same time; those of this machine still take turns",
        switch=True,
    ),
    Option(
        "--flperf-order", "string",
        "Measure models one after the other (model), or in turns from scenario to scenario, all loaded (scenario); "
        "default: in turns if every model is embedded or has its own running server (auto)", "HOW",
    ),
    Option("--flperf-keep-loaded", "bool", "Keep models loaded, side by side and after the run", switch=True),
)  # fmt: skip
_REQUESTS: Final = (
    Option("--flperf-iterations", "int", "Measure this many requests per case, over all streams", "N", int),
    Option(
        "--flperf-warmup", "int",
        "Send this many requests first, left out of all statistics; default: one per stream, four at most", "N", int,
    ),
    Option(
        "--flperf-concurrency", "int",
        "Use this many streams per case; each sends its next request when its last one ends", "N", int,
    ),
    Option(
        "--flperf-load", "string",
        "Send requests in this shape: closed, constant, poisson, gamma, burst, ramp, trace or search, with its "
        "settings, such as 'poisson,rate=8,duration_s=30', 'closed,concurrency=1,4,16' or 'search,search_to=64'",
        "SHAPE",
    ),
    Option(
        "--flperf-load-processes", "int",
        "Send each case's requests from this many processes, on one plan and one clock; default: 1", "N", int,
    ),
    Option(
        "--flperf-seed", "string",
        "Derive prompt prefixes and due times from this text, to repeat a run's plan; default: a new one each time",
        "TEXT",
    ),
    Option("--flperf-timeout", "float", "Limit a whole request to this many seconds", "SECONDS", float),
    Option(
        "--flperf-max-answer-mb", "float",
        "End an answer beyond this many MiB, head included, and count it as failed; default: 64", "MIB", float,
    ),
    Option(
        "--flperf-max-tokens", "int",
        "Limit answers to this many tokens; null: send no limit", "N", whole_number_or_null,
    ),
    Option("--flperf-temperature", "float", "Sample with this temperature; null: send none", "T", number_or_null),
    Option("--flperf-no-stream", "bool", "Request whole answers, which have no TTFT, ITL or TPOT", switch=True),
)  # fmt: skip
_COMPARISONS: Final = (
    Option(
        "--flperf-against", "string",
        "Measure each case in turns with another side, and compare the two: a model, KEY=VALUE,… of a target (model, "
        "backend, base_url, options.KEY …) or of requests (max_tokens …), or 'same'", "WHAT",
    ),
    Option(
        "--flperf-baseline", "string",
        "Compare each case with the same case of a stored run: last, latest, the id of a run, a name of 'flperf "
        "baseline', a results.json, or branch:NAME", "RUN",
    ),
    Option(
        "--flperf-reference", "bool",
        "Measure a fixed load of an embedded model in turns with each case, and compare runs of different days "
        "relative to it", switch=True,
    ),
    Option(
        "--flperf-require-baseline", "bool",
        "Measure nothing without that baseline, and fail cases that it lacks", switch=True,
    ),
    Option(
        "--flperf-fail-on", "linelist",
        "Fail a case that got worse by more than this, such as 'ttft_ms.p50 > +10%%', 'gen_tps.p50 < -10%%' or "
        "'short-*: tpot_ms.p50 > +10%% and +2ms' (repeatable)", "RULE", None, True,
    ),
    Option("--flperf-fail-undecided", "bool", "Also fail a case whose comparison is undecided", switch=True),
    Option(
        "--flperf-max-iterations", "int",
        "Measure at most this many requests per side of a compared case; default: 60 per stream, 100 where a rule "
        "names a mean, the whole data set where it names quality", "N", int,
    ),
)  # fmt: skip
_RESULTS: Final = (
    Option(
        "--flperf-budget", "linelist",
        "Fail a case beyond this limit, such as 'ttft_ms.p95 <= 500', 'tps.p50 >= 20' or 'error_rate <= 1%%' "
        "(repeatable); default: 'error_rate <= 0'", "BUDGET", None, True,
    ),
    Option("--flperf-report-dir", "string", "Write the runs' files to this folder; default: reports", "DIR"),
    Option(
        "--flperf-store", "string",
        "Store runs here: a SQLite file, postgresql+psycopg://USER@HOST/DATABASE or none; default: history.db in the "
        "folder of the runs' files", "URL",
    ),
    Option(
        "--flperf-html", "string",
        "Also write the report to this file; each run's folder has it as report.html", "FILE",
    ),
    Option(
        "--flperf-markdown", "string",
        "Write verdict, tables and failures as Markdown to this file; $GITHUB_STEP_SUMMARY gets them if it is set",
        "FILE",
    ),
    Option("--flperf-code-quality", "string", "Write what failed as a GitLab Code Quality report to this file", "FILE"),
    Option("--flperf-csv", "string", "Write a row per case as CSV to this file", "FILE"),
    Option("--flperf-json", "string", "Also write the contents of results.json to this file", "FILE"),
)  # fmt: skip
_GROUPS: Final = (
    ("flperf", "benchmarks of local language models (pytest-flperf)", _WHAT),
    ("flperf-backends", "flperf: where models run", _BACKENDS),
    ("flperf-requests", "flperf: how requests are sent", _REQUESTS),
    ("flperf-comparisons", "flperf: comparisons", _COMPARISONS),
    ("flperf-results", "flperf: results", _RESULTS),
)
# In groups for readers, and because pytest compares each option with all others of its group.
OPTIONS: Final = (*_WHAT, *_BACKENDS, *_REQUESTS, *_COMPARISONS, *_RESULTS)


def add_options(parser: pytest.Parser) -> None:
    """Register every option and its ini twin."""
    for name, title, options in _GROUPS:
        group = parser.getgroup(name, title)
        for option in options:
            _add(group, option)
            if option.ini is not None:
                text = f"{option.text.replace('%%', '%')} (as {option.flag})"
                parser.addini(option.dest, text, type=option.ini, default=None)


def _add(group: pytest.OptionGroup, option: Option) -> None:
    if option.switch:
        group.addoption(option.flag, action="store_true", default=None, help=option.text)
    elif option.repeatable:
        group.addoption(option.flag, action="append", metavar=option.metavar, help=option.text)
    else:
        group.addoption(option.flag, type=option.kind or str, metavar=option.metavar, help=option.text)
