"""Prompt sources of scenarios: files read, templates rendered on trial."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from pytest_flperf.quality.expectations import scorers_in
from pytest_flperf.suite.errors import SuiteError, shown, suggestion
from pytest_flperf.suite.expectations import expectation_of
from pytest_flperf.suite.files import SuiteFiles
from pytest_flperf.suite.prompts.rows import Row
from pytest_flperf.suite.prompts.sources import PromptSource, TracedRequest, Variable
from pytest_flperf.suite.prompts.templates import PromptTemplate
from pytest_flperf.suite.row_scoring import RowExpectations
from pytest_flperf.suite.schema.scenario import ScenarioForm

__all__ = ["source_of"]

_KEYS: Final = (
    "template", "variables", "dataset", "dataset_column", "dataset_order", "input_tokens", "turns", "trace",
    "output_tokens", "shared_prefix_tokens", "tokenizer", "context_tokens", "filler",
)  # fmt: skip
_TRIED_ROWS: Final = 1_000
"""Rows for which a template is rendered on trial, before any measurement."""


def source_of(
    form: ScenarioForm, values: Mapping[str, Any], files: SuiteFiles, add: Callable[[str, str], None]
) -> PromptSource | None:
    """Build the prompt source of a scenario, or None.

    None where the prompts are in the suite as they are.

    Args:
        form: the scenario.
        values: its settings, those of the suite's defaults included.
        files: the suite's.
        add: called with the key and the words of each problem.

    """
    own = {key for key in form.model_fields_set if getattr(form, key) not in (None, "")}
    used = {key for key in _KEYS if key in own or values.get(key) is not None}
    if not used:
        return None
    _refuse_without(own, add)
    rows: tuple[Row, ...] = ()
    trace: tuple[TracedRequest, ...] = ()
    tokenizer = None
    if form.dataset:
        rows = _read(lambda: _rows(form, files), "dataset", add) or ()
    if form.trace:
        trace = _read(lambda: files.trace(form.trace), "trace", add) or ()
        _check_trace(form, trace, add)
    if values.get("tokenizer"):
        tokenizer = _read(lambda: files.tokenizer(values["tokenizer"]), "tokenizer", add)
    variables: dict[str, Variable] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in form.variables.items()
    }
    template = (
        _read(lambda: _checked(files.template(form.template), variables, rows), "template", add)
        if form.template
        else None
    )
    return PromptSource(
        rows=rows,
        expects=any(row.scored.expect is not None for row in rows),
        shuffled=form.dataset_order == "shuffled",
        template=template,
        variables=variables,
        input_tokens=form.input_tokens,
        output_tokens=values.get("output_tokens"),
        tokenizer=tokenizer,
        filler=values.get("filler", "prose"),
        shared_prefix_tokens=values.get("shared_prefix_tokens") or 0,
        trace=trace,
        turns=tuple(form.turns),
    )


def _rows(form: ScenarioForm, files: SuiteFiles) -> tuple[Row, ...]:
    """Rows of the data set, with what their answers shall be."""
    column, for_all = form.expect_column, form.expect is not None
    if column is None and "expect_column" in form.model_fields_set:
        return files.dataset(form.dataset, form.dataset_column)
    named = column if "expect_column" in form.model_fields_set else None
    expect = None if form.expect is None else expectation_of(form.expect)
    scored_by = expect if expect is not None and scorers_in(expect) else None

    def scoring() -> RowExpectations:
        return RowExpectations(named, for_all=for_all, scored_by=scored_by)

    return files.dataset(form.dataset, form.dataset_column, scoring, (named, for_all, json.dumps(scored_by)))


def _read(read: Callable[[], Any], key: str, add: Callable[[str, str], None]) -> Any:
    try:
        return read()
    except SuiteError as error:
        add(key, str(error))
        return None


def _refuse_without(own: set[str], add: Callable[[str, str], None]) -> None:
    needs = {"variables": "template"} | dict.fromkeys(("dataset_column", "dataset_order", "expect_column"), "dataset")
    for key, needed in needs.items():
        if key in own and needed not in own:
            add(key, f"found it without {needed}, expected both")


def _check_trace(form: ScenarioForm, trace: tuple[TracedRequest, ...], add: Callable[[str, str], None]) -> None:
    """Check that a trace, or else its scenario, has prompts."""
    if any(key in form.model_fields_set for key in ("prompt", "prompt_file", "messages", "template", "dataset")):
        return
    if form.input_tokens is not None:
        return
    silent = sum(each.messages is None and each.input_tokens is None for each in trace)
    if silent:
        add(
            "trace",
            f"found {silent:,} of {len(trace):,} requests without prompt, messages or input_length, expected these "
            "or a prompt next to the trace",
        )


def _checked(template: PromptTemplate, variables: Mapping[str, Variable], rows: tuple[Row, ...]) -> PromptTemplate:
    known = {"index", *variables}
    for name in sorted(template.variables - known):
        missing = next((row for row in rows if name not in row.fields), None)
        if not rows or missing is not None:
            columns = set(missing.fields) if missing is not None else set()
            hint = suggestion(name, known | columns)
            where = " in some rows of the dataset" if rows and any(name in row.fields for row in rows) else ""
            raise SuiteError(f"found the variable {shown(name)}, which is not defined{where}; {hint}")
    fixed = {name: value[0] if isinstance(value, tuple) else value for name, value in variables.items()}
    tried = [
        {"index": index, **(dict(row.fields) if row is not None else {}), **fixed}
        for index, row in enumerate(rows[:_TRIED_ROWS] or (None,))
    ]
    if not all(text.strip() for text in template.render_all(tried)):
        raise SuiteError("found a template that renders to nothing, expected a prompt")
    return template
