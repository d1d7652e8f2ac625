"""Prompt digest: tells runs with different prompts apart."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

from pytest_flperf.suite.model import Scenario, Suite

__all__ = ["prompts_digest", "suite_digest"]

_ROWS = 1_000
"""Rows of a data set or a trace in a digest, which then takes milliseconds for any length."""


def prompts_digest(scenario: Scenario) -> str:
    """Hash of a scenario's prompts and expectations, twelve hexadecimal digits.

    Settings are no part of it: results have them in full.  Of long data sets and traces it covers the first 1,000 rows
    and the number of rows.
    """
    digest = hashlib.blake2b(digest_size=6)
    for part in _parts(scenario):
        digest.update(f"{part!r}\0".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def suite_digest(suite: Suite) -> str:
    """Hash of a suite as it was understood, sixteen hexadecimal digits.

    Its layout and models are no part of it: machines may have other models.
    """
    digest = hashlib.blake2b(digest_size=8)
    known: list[object] = [suite.name, suite.version, suite.matrix]
    for scenario in suite.scenarios:
        known += [scenario.name, prompts_digest(scenario), scenario.settings, scenario.sweep]
        known += [scenario.budgets, scenario.fail_on, scenario.tags]
    for part in known:
        digest.update(f"{part!r}\0".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _parts(scenario: Scenario) -> Iterator[object]:
    yield scenario.messages
    yield sorted((scenario.expect or {}).items(), key=str)
    tools = [scenario.settings.tools, scenario.settings.tool_choice]
    if any(tools):  # digests of older versions stay what they are
        yield json.dumps(tools, sort_keys=True)
    if scenario.tool_results:
        yield json.dumps([scenario.tool_results, scenario.tool_turns], sort_keys=True, default=str)
    source = scenario.source
    if source is None:
        return
    if any(row.tools for row in source.rows[:_ROWS]):
        yield json.dumps([row.tools for row in source.rows[:_ROWS]], sort_keys=True)
    if any(row.tool_results for row in source.rows[:_ROWS]):
        results = [row.tool_results for row in source.rows[:_ROWS]]
        yield json.dumps([results, scenario.tool_turns], sort_keys=True, default=str)
    yield source.rows[:_ROWS], len(source.rows), source.shuffled
    if source.expects:
        yield [row.scored for row in source.rows[:_ROWS]]
    yield None if source.template is None else source.template.text
    yield sorted(source.variables.items())
    yield source.input_tokens, source.output_tokens, source.own_lengths
    yield source.filler, source.shared_prefix_tokens
    yield source.trace[:_ROWS], len(source.trace)
    yield source.turns
