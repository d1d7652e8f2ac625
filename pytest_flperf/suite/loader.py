"""Suite loader: reads and validates a suite, or reports all problems."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from pytest_flperf.suite.bounded_files import display_path
from pytest_flperf.suite.errors import SuiteError, key_path, printable, shown
from pytest_flperf.suite.expectations import check_expectations, expectation_of
from pytest_flperf.suite.files import SuiteFiles
from pytest_flperf.suite.judges import JudgeSpec, share_of
from pytest_flperf.suite.matrix import joined
from pytest_flperf.suite.messages import Message
from pytest_flperf.suite.model import Scenario, Settings, Suite
from pytest_flperf.suite.parser import KeyPath, Source, read_source
from pytest_flperf.suite.price_building import price_of, prices_of
from pytest_flperf.suite.problems import MAX_PROBLEMS, Problems, as_written, described, validated
from pytest_flperf.suite.schema.base import TargetForm
from pytest_flperf.suite.schema.document import SuiteForm
from pytest_flperf.suite.schema.judge import JudgeForm
from pytest_flperf.suite.schema.scenario import PROMPT_KEYS, ScenarioForm
from pytest_flperf.suite.setting_limits import MAX_CASES, OUTPUT_LENGTHS
from pytest_flperf.suite.settings import SETTING_KEYS, SWEEP_KEYS, with_values
from pytest_flperf.suite.source_building import source_of
from pytest_flperf.suite.targets import TargetSpec, distinct, mapping_of
from pytest_flperf.suite.tool_checks import check_tools, with_named_tools

__all__ = ["load_suite", "parse_target", "scenario_of", "target_of"]

_PLACE_OF_A_PROMPT: Final = "-"
"""Placeholder in the messages where each request has its own text."""


def load_suite(path: Path, ref: str) -> Suite:
    """Read the suite file *path* (YAML, JSON or TOML by its ending).

    Values come from a scenario, else from the suite's defaults, else from
    :class:`~pytest_flperf.suite.model.Settings`; ``extra`` is merged key by key, all else is replaced as a whole.
    The suite's own budgets come in front of a scenario's.  Lone surrogates in names and descriptions are escaped; in
    text that would be sent to a server they are refused.

    Args:
        path: the file.
        ref: stem of the suite's node ids, see :func:`pytest_flperf.suite.discovery.find_suite`.

    Raises:
        SuiteError: the file or something in it is wrong; a line for each of the first ten problems.

    """
    source = read_source(path)
    problems = Problems(display_path(path), source)
    data = _printable_names(source.data)
    _check_names(data, problems)
    form = validated(data, problems)
    if form is None:
        raise problems.error()
    files = SuiteFiles(path.parent)
    defaults = _default_values(form)
    judge = None if form.judge is None else _judge(form.judge, ("judge",), files, problems)
    scenarios = tuple(
        with_named_tools(_scenario(scenario, index, form, defaults, files, problems, judge))
        for index, scenario in enumerate(form.scenarios)
    )
    check_expectations(scenarios, problems.add)
    check_tools(scenarios, problems.add)
    prices = prices_of(form, problems.add)
    matrix = _matrix(data, form)
    cases = sum(math.prod(len(values) for _, values in joined(matrix, scenario.sweep)) for scenario in scenarios)
    if cases > MAX_CASES:
        problems.add(
            ("matrix",) if matrix else ("scenarios",), f"found {cases:,} cases, expected {MAX_CASES:,} at most"
        )
    if problems.texts:
        raise problems.error()
    return Suite(
        name=form.name or printable(path.stem),
        ref=ref,
        path=path,
        description=form.description,
        version=form.version,
        scenarios=scenarios,
        models=tuple(form.models),
        matrix=matrix,
        targets=_targets(form, problems),
        prices=prices,
    )


def scenario_of(values: Mapping[str, Any], base: Scenario | None = None) -> Scenario:
    """Build a scenario from *values*, in a suite's keys.

    This is what a test's own ``flperf.run`` uses.

    Args:
        values: keys and values as in a suite file.
        base: the scenario to start from; without one, *values* must have a prompt.

    Raises:
        SuiteError: a value is wrong or a key unknown.

    """
    asks = set(PROMPT_KEYS) & values.keys()
    written = dict(values) if asks or base is None else {**values, "prompt": "-"}
    problems = Problems("settings", Source({}, lambda _path: None))
    form = validated({"name": "tests", "scenarios": [written]}, problems)
    if form is None:
        raise problems.error_of_a_test()
    if form.scenarios[0].against:
        problems.add(("scenarios", 0, "against"), "found another side, expected none: tests have --flperf-against")
    scenario = _scenario(form.scenarios[0], 0, form, {}, SuiteFiles(Path.cwd()), problems)
    if "judge" in values:
        problems.add(("judge",), "found in the settings of a test, expected in a suite: answers are judged at the end")
    check_expectations((scenario,), problems.add)
    check_tools((scenario,), problems.add)
    if problems.texts:
        raise problems.error_of_a_test()
    if base is None:
        return with_named_tools(scenario)
    own = _with_length(_given(form.scenarios[0]))
    messages = scenario.messages if asks else base.messages
    if "system" in own and not asks:
        messages = (scenario.messages[0], *(message for message in messages if message.role != "system"))
    made = replace(
        base,
        name=scenario.name,
        messages=messages,
        source=scenario.source if asks or scenario.source is not None else base.source,
        settings=with_values(base.settings, _first_of_sweeps(own)[0]),
        sweep=scenario.sweep or tuple((key, each) for key, each in base.sweep if key not in own),
        expect=scenario.expect if form.scenarios[0].expect is not None else base.expect,
        budgets=scenario.budgets if "budgets" in own else base.budgets,
        fail_on=scenario.fail_on if "fail_on" in own else base.fail_on,
        tool_results=scenario.tool_results if "tool_results" in own else base.tool_results,
        tool_turns=scenario.tool_turns if "tool_turns" in own else base.tool_turns,
        against="",
        given=base.given | scenario.given,
    )
    return with_named_tools(made)


def parse_target(text: str, where: str) -> TargetSpec:
    r"""Parse a target: ``backend=ollama,model=qwen2.5:0.5b,options.pull=true``.

    Keys are those of a suite's targets, with a dot before those of a mapping.  Values are texts, numbers, true and
    false; a comma in a value is written as ``\,``.

    Raises:
        SuiteError: The text is no target; the message begins with *where*.

    """
    return target_of(mapping_of(text, where), where)


def target_of(values: Mapping[str, Any], where: str) -> TargetSpec:
    """Build a target from *values*, in a suite's keys.

    Raises SuiteError beginning with *where*.
    """
    try:
        return _target(TargetForm.model_validate(dict(values)))
    except ValidationError as error:
        lines = []
        for detail in error.errors(include_url=False)[:MAX_PROBLEMS]:
            path: KeyPath = ("targets", 0, *as_written(detail["loc"], values))
            key = key_path(path).removeprefix("targets[0].").removeprefix("targets[0]")
            lines.append(f"{where}: {key}: {described(detail['type'], path, detail['input'], detail['msg'])}")
        raise SuiteError("\n".join(lines)) from None


def _target(form: TargetForm) -> TargetSpec:
    """The target of a form; missing fields keep the dataclass's defaults."""
    given = {key: value for key, value in _given(form).items() if key not in ("tls", "price") and value is not None}
    tls = {} if form.tls is None else _given(form.tls)
    if form.price is not None:
        given["price"] = price_of(form.price, "target")
    return TargetSpec(**given, **tls)


def _targets(form: SuiteForm, problems: Problems) -> tuple[TargetSpec, ...]:
    try:
        return distinct(map(_target, form.targets), problems.where)
    except SuiteError as error:
        problems.add(("targets",), str(error).removeprefix(f"{problems.where}: "))
        raise problems.error() from None


def _check_names(data: object, problems: Problems) -> None:
    """Note scenarios with the same name.

    Checked on the raw data, so that it is reported together with other problems.
    """
    scenarios = data.get("scenarios") if isinstance(data, dict) else None
    first: dict[str, int] = {}
    for index, scenario in enumerate(scenarios if isinstance(scenarios, list) else ()):
        name = scenario.get("name") if isinstance(scenario, dict) else None
        if isinstance(name, str) and first.setdefault(name, index) != index:
            path: KeyPath = ("scenarios", index, "name")
            problems.add(path, f"found {shown(name)} again (scenarios[{first[name]}]), expected a unique name")


def _printable_names(data: object) -> object:
    """Return *data* with lone surrogates escaped in names, descriptions and tags.

    These are shown, not sent.
    """

    def clean(mapping: dict[str, Any]) -> dict[str, Any]:
        changed: dict[str, Any] = {
            key: _clean_text(mapping[key]) for key in ("name", "description", "tags") if key in mapping
        }
        return {**mapping, **changed}

    if not isinstance(data, dict):
        return data
    cleaned = clean(data)
    scenarios = data.get("scenarios")
    if isinstance(scenarios, list):
        cleaned["scenarios"] = [clean(item) if isinstance(item, dict) else item for item in scenarios]
    return cleaned


def _clean_text(value: object) -> object:
    if isinstance(value, list):
        return [printable(item) if isinstance(item, str) else item for item in value]
    return printable(value) if isinstance(value, str) else value


def _default_values(form: SuiteForm) -> dict[str, Any]:
    """Return the suite's defaults, from either form, with our keys."""
    if form.default_config is not None:
        values = _given(form.default_config)
        if "timeout" in values:
            values["timeout_s"] = values.pop("timeout") / 1000
        if "streaming" in values:
            values["stream"] = values.pop("streaming")
        return values
    return _with_length(_given(form.defaults)) if form.defaults is not None else {}


def _given(form: BaseModel) -> dict[str, Any]:
    """Return the fields that are set in the file, in schema order."""
    return {name: getattr(form, name) for name in type(form).model_fields if name in form.model_fields_set}


def _with_length(values: dict[str, Any]) -> dict[str, Any]:
    """Return *values* with ``max_tokens`` from the expected length, if needed."""
    length = values.get("expected_output_length")
    return values if length is None or "max_tokens" in values else {**values, "max_tokens": OUTPUT_LENGTHS[length]}


def _scenario(
    form: ScenarioForm,
    index: int,
    suite: SuiteForm,
    defaults: dict[str, Any],
    files: SuiteFiles,
    problems: Problems,
    judge: JudgeSpec | None = None,
) -> Scenario:
    """The scenario of a form; ``judge`` is the suite's."""
    own = _with_length(_given(form))
    values = {**defaults, **own}
    values, sweep = _first_of_sweeps(values)
    settings = with_values(with_values(Settings(), _first_of_sweeps(defaults)[0]), _first_of_sweeps(own)[0])
    prompt = form.prompt
    if form.prompt_file:
        try:
            prompt = files.prompt(form.prompt_file)
        except SuiteError as error:
            problems.add(("scenarios", index, "prompt_file"), str(error))
    if form.messages:
        messages = tuple(Message(message.role, message.content) for message in form.messages)
    else:
        system = values.get("system")
        text = prompt or (form.turns[0] if form.turns else form.template) or _PLACE_OF_A_PROMPT
        messages = (*((Message("system", system),) if system else ()), Message("user", text))
    if "judge" in form.model_fields_set:
        judge = None if form.judge is None else _judge(form.judge, ("scenarios", index, "judge"), files, problems)
    source = source_of(form, values, files, lambda key, words: problems.add(_place(form, index, key), words))
    return Scenario(
        name=form.name,
        description=form.description,
        messages=messages,
        settings=settings,
        tags=tuple(dict.fromkeys(values.get("tags", ()))),
        expected_output_length=values.get("expected_output_length"),
        expect=None if form.expect is None else expectation_of(form.expect),
        budgets=tuple(dict.fromkeys([*suite.budgets, *values.get("budgets", ())])),
        fail_on=tuple(dict.fromkeys([*suite.fail_on, *values.get("fail_on", ())])),
        against=values.get("against", ""),
        source=source,
        sweep=sweep,
        tool_results=tuple(form.tool_results),
        tool_turns=form.tool_turns,
        given=frozenset(key for key in SETTING_KEYS if key in values),
        folder=files.folder,
        judge=judge,
    )


def _judge(form: JudgeForm, path: KeyPath, files: SuiteFiles, problems: Problems) -> JudgeSpec:
    values = _given(form)
    for key in ("rubric", "labels"):
        if values.get(key) is not None:
            try:
                values[key] = files.within(values[key])
            except SuiteError as error:
                problems.add((*path, key), str(error))
    if form.fail_under is not None:
        values["fail_under"] = share_of(form.fail_under)
    return JudgeSpec(**{**values, "target": _target(form.target)})


def _place(form: ScenarioForm, index: int, key: str) -> KeyPath:
    """Return the path of a key, in its scenario or the defaults."""
    return ("scenarios", index, key) if key in form.model_fields_set else ("defaults", key)


def _first_of_sweeps(values: dict[str, Any]) -> tuple[dict[str, Any], tuple[tuple[str, tuple[Any, ...]], ...]]:
    """Return *values* with one value per key, and the sweeps.

    A sweep is a key with all of its values, where it has more than one.
    """
    listed = {key: tuple(values[key]) for key in SWEEP_KEYS if isinstance(values.get(key), list)}
    sweep = tuple((key, each) for key, each in listed.items() if len(each) > 1)
    return {**values, **{key: each[0] for key, each in listed.items()}}, sweep


def _matrix(data: Any, form: SuiteForm) -> tuple[tuple[str, tuple[Any, ...]], ...]:
    """Return the matrix with its keys in file order.

    Pydantic doesn't keep that order.
    """
    if form.matrix is None:
        return ()
    return tuple((key, tuple(getattr(form.matrix, key))) for key in data["matrix"])
