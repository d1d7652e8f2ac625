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
    "ITEM_RESULTS",
    "MEASURES",
    "NULL",
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
ITEM_RESULTS: Final[pytest.StashKey[list[dict[str, Any]]]] = pytest.StashKey()
"""On an item: its case results as plain dicts, until a report takes them along."""
MEASURES: Final[pytest.StashKey[bool]] = pytest.StashKey()
"""On an item: it has taken our fixture, though no list of its fixtures says so (``getfixturevalue``)."""
TOLD_PROPERTIES: Final[pytest.StashKey[dict[str, list[tuple[str, str]]]]] = pytest.StashKey()
"""On an item: the properties that its report got, by the node id of the case."""
BEGUN: Final[pytest.StashKey[tuple[float, str]]] = pytest.StashKey()
"""On the config of xdist's controller: when the run began and the end of its id, the same in all workers."""
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
    Option("--flperf-suite", None, "Suite to run: a name or the path of a suite file (repeatable)", "SUITE",
            None, True),
    Option(
        "--flperf-model", "args",
        "Model to measure, by alias or id (repeatable, or several with commas); default: the suite's models, else the "
        "embedded ones or the only one that a server lists", "MODEL", None, True,
    ),
    Option(
        "--flperf-base-url", "string", "Measure the OpenAI-compatible server at this URL, such as "
        "http://127.0.0.1:8080/v1, in place of Foundry Local; with --flperf-backend, the server of that kind", "URL",
    ),
    Option("--flperf-api-key-env", "string", "Environment variable that holds the key for --flperf-base-url", "NAME"),
    Option(
        "--flperf-max-time", "string", "Stop measuring when the session is that old, such as 90s, 15m or 1h30m; the "
        "run is marked partial", "DURATION",
    ),
    Option(
        "--flperf-lock-timeout", "string", "Wait so long for another run that measures on this machine (0: not at "
        "all), or 'none' to measure beside it; default: 600", "SECONDS",
    ),
    Option("--flperf-catalog-url", "string", "Model catalog in place of Foundry Local's public one", "URL"),
    Option("--flperf-model-cache", "string", "Folder of downloaded models; default: Foundry Local's own", "DIR"),
    Option("--flperf-list-suites", None, "List the suites that can be asked for and exit", switch=True),
    Option("--flperf-list-models", None, "List catalog, cached and loaded models and exit", switch=True),
    Option("--flperf-dry-run", None, "Print the cases, their requests and the estimated time and exit", switch=True),
)  # fmt: skip
_BACKENDS: Final = (
    Option("--flperf-backend", "string", "Kind of server that models are measured on: foundry, llamacpp, ollama, "
            "openai … ('flperf discover' shows what runs); default: foundry, with a base URL openai", "KIND"),
    Option(
        "--flperf-target", "linelist", "A model and where it lives, such as 'backend=ollama,model=qwen2.5:0.5b' or "
        "'base_url=http://127.0.0.1:8080/v1,model=NAME' (repeatable, side by side); keys as in a suite's targets",
        "TARGET", None, True,
    ),
    Option("--flperf-device", "string", "Where models shall run: cpu, gpu, npu or auto", "DEVICE"),
    Option("--flperf-isolation", "string", "shared (one process serves all models) or process (one for each model)",
            "HOW"),
    Option("--flperf-transport", "string", "http, or native: inside the server's process, without HTTP", "HOW"),
    Option("--flperf-backend-option", "linelist", "What only one kind of backend knows, such as "
            "'llamacpp.models_dir=models' (repeatable)", "KIND.KEY=VALUE", None, True),
    Option("--flperf-parallel-targets", "bool", "Measure the targets of different providers at the same time; those of "
            "this machine stay one after the other", switch=True),
    Option("--flperf-keep-loaded", "bool", "Leave models loaded, side by side and after the run", switch=True),
)  # fmt: skip
_REQUESTS: Final = (
    Option("--flperf-iterations", "int", "Measured requests per case, over all streams", "N", int),
    Option("--flperf-warmup", "int", "Requests before the measured ones; default: one per stream, four at most", "N",
            int),
    Option("--flperf-concurrency", "int", "Streams per case, each sending when its last request has ended", "N", int),
    Option(
        "--flperf-load", "string", "When requests are sent: closed, constant, poisson, gamma, burst, ramp, "
        "trace or search with its settings, such as 'poisson,rate=8,duration_s=30', 'closed,concurrency=1,4,16' or "
        "'search,search_to=64'",
        "SHAPE",
    ),
    Option("--flperf-load-processes", "int", "Processes that send each case's requests, with one plan and one clock; "
            "default: 1", "N", int),
    Option("--flperf-seed", "string", "Text from which prompts' prefixes and due times are made, to repeat a run's "
            "plan; default: another one each time", "TEXT"),
    Option("--flperf-timeout", "float", "Deadline of a whole request in seconds", "SECONDS", float),
    Option("--flperf-max-answer-mb", "float", "Longest answer in MiB, head included; a longer one ends there and has "
            "failed; default: 64", "MIB", float),
    Option("--flperf-max-tokens", "int", "Longest answer in tokens; null: not sent", "N", whole_number_or_null),
    Option("--flperf-temperature", "float", "Sampling temperature; null: not sent", "T", number_or_null),
    Option("--flperf-no-stream", "bool", "Ask for whole answers: no TTFT, ITL or TPOT", switch=True),
)  # fmt: skip
_COMPARISONS: Final = (
    Option(
        "--flperf-against", "string", "Measure each case interleaved with another side, pair by pair, and compare "
        "them: a model, KEY=VALUE,… of a target (model, backend, base_url, options.KEY …) or of requests "
        "(max_tokens …), or 'same'", "WHAT",
    ),
    Option(
        "--flperf-baseline", "string", "Compare each case with the same case of a stored run: last, latest, the id of "
        "a run, a name of 'flperf baseline', a results.json, or branch:NAME", "RUN",
    ),
    Option("--flperf-reference", "bool", "Measure a fixed load of an embedded model interleaved with each case: runs "
            "of different days are then compared relative to it", switch=True),
    Option("--flperf-require-baseline", "bool", "Refuse to measure without that baseline, and fail cases that it lacks",
            switch=True),
    Option(
        "--flperf-fail-on", "linelist", "Fail a case that got worse by more than this, such as 'ttft_ms.p50 > +10%%', "
        "'gen_tps.p50 < -10%%' or 'short-*: tpot_ms.p50 > +10%% and +2ms' (repeatable)", "RULE", None, True,
    ),
    Option("--flperf-fail-undecided", "bool", "Fail a case that could not be decided, too", switch=True),
    Option("--flperf-max-iterations", "int", "Most measured requests per side of a case that is compared; default: 60 "
            "per stream, 100 where a rule names a mean", "N", int),
)  # fmt: skip
_RESULTS: Final = (
    Option(
        "--flperf-budget", "linelist", "Limit for every case, such as 'ttft_ms.p95 <= 500', 'tps.p50 >= 20' or "
        "'error_rate <= 1%%' (repeatable); default: 'error_rate <= 0'", "BUDGET", None, True,
    ),
    Option("--flperf-report-dir", "string", "Folder for the runs' files; default: reports", "DIR"),
    Option("--flperf-store", "string", "Where runs are stored: a SQLite file, postgresql+psycopg://USER@HOST/DATABASE "
           "or none; default: history.db in the folder for the runs' files", "URL"),
    Option("--flperf-html", "string", "Write the report to this file, too; each run's folder has it as report.html",
            "FILE"),
    Option("--flperf-markdown", "string", "Write verdict, tables and failures as Markdown to this file; "
           "$GITHUB_STEP_SUMMARY gets them wherever it is set", "FILE"),
    Option("--flperf-code-quality", "string", "Write what failed as a GitLab Code Quality report to this file", "FILE"),
    Option("--flperf-csv", "string", "Write a row per case as CSV to this file", "FILE"),
    Option("--flperf-json", "string", "Write what is in results.json to this file, too", "FILE"),
)  # fmt: skip
_GROUPS: Final = (
    ("flperf", "benchmarks of local language models (pytest-flperf)", _WHAT),
    ("flperf-backends", "flperf: where models live", _BACKENDS),
    ("flperf-requests", "flperf: how requests are sent", _REQUESTS),
    ("flperf-comparisons", "flperf: what it is compared with", _COMPARISONS),
    ("flperf-results", "flperf: what is made of them", _RESULTS),
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
