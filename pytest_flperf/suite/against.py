"""The other side of a comparison: parsing, and its cases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

from pytest_flperf.suite.errors import SuiteError, shown, suggestion
from pytest_flperf.suite.model import Case
from pytest_flperf.suite.setting_limits import NULLABLE, check_setting
from pytest_flperf.suite.settings import REQUEST_KEYS, with_values
from pytest_flperf.suite.targets import TargetSpec, mapping_of

__all__ = ["SAME", "AgainstSpec", "opposite", "opposite_target", "parse_against", "parse_own_against", "turn_streams"]

SAME: Final = "same"
"""Compares a case with itself, which measures noise."""
_PARAMETERS: Final = (*REQUEST_KEYS, "extra", "concurrency")
"""Settings in which the two sides may differ: those of a request, and the streams; the rest is the same for both."""
_TYPED: Final = frozenset(
    {*_PARAMETERS, "options", "price"} - {"reasoning_effort", "stop", "prompt_cache", "max_tokens_key"}
)
_OF_TLS: Final = ("ca_file", "verify", "client_cert")
_TARGET_KEYS: Final = tuple(
    dict.fromkeys("tls" if each.name in _OF_TLS else each.name for each in fields(TargetSpec) if each.name != "name")
)
_ELSEWHERE: Final = frozenset({"backend", "base_url"})


@dataclass(frozen=True, slots=True)
class AgainstSpec:
    """Differences of the other side."""

    text: str
    """As written."""
    target: Mapping[str, Any] = field(default_factory=dict)
    """Fields of a target."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the requests, by their keys in a suite."""


def parse_against(text: str, where: str) -> AgainstSpec:
    """Parse the other side from the command line.

    Args:
        text: ``same``, the name of a model, or KEY=VALUE with commas between: keys of a target (``model``,
            ``backend``, ``base_url``, ``options.threads`` …), settings of a request (``max_tokens`` …), and
            ``concurrency``.
        where: Begins the text of an error.

    Raises:
        SuiteError: The text is none of these.

    """
    text = text.strip()
    if text == SAME:
        return AgainstSpec(text)
    if "=" not in text:
        return AgainstSpec(text, {"model": text})
    values = mapping_of(text, where, _TYPED)
    known = (*_TARGET_KEYS, *_PARAMETERS)
    for key in values:
        if key not in known:
            raise SuiteError(
                f"{where}: found {shown(key)}, expected a key of a target or of a request; {suggestion(key, known)}"
            )
    settings: dict[str, Any] = {key: _or_null(key, values.pop(key)) for key in _PARAMETERS if key in values}
    if "stop" in settings:
        settings["stop"] = (str(settings["stop"]),)
    for key, value in settings.items():
        check_setting(key, value, f"{where}: {key}")
    return AgainstSpec(text, _target_fields(values, where), settings)


def parse_own_against(text: str, where: str) -> AgainstSpec:
    """Parse the other side that a suite names: the same model, asked in another way.

    Raises:
        SuiteError: As of :func:`parse_against`, or it names another target, which only the command line can.

    """
    found = parse_against(text, where)
    if found.target:
        raise SuiteError(
            f"{where}: found {shown(text)}, expected settings of the requests or concurrency; another model or server "
            f"is named by --flperf-against"
        )
    return found


def _or_null(key: str, value: Any) -> Any:
    """The value, or None for ``null`` where the setting allows it."""
    return None if value == "null" and key in NULLABLE else value


def _target_fields(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    if not values:
        return {}
    from pytest_flperf.suite.loader import target_of

    spec = target_of({"model": "any", **values}, where)
    names = [name for key in values for name in (_OF_TLS if key == "tls" else (key,))]
    return {name: getattr(spec, name) for name in names}


def opposite(case: Case, spec: AgainstSpec) -> Case:
    """The case on the other side, with the same prompts."""
    scenario = replace(
        case.scenario,
        settings=with_values(case.scenario.settings, spec.settings),
        given=case.scenario.given | spec.settings.keys(),
    )
    former = case.target_spec
    target = opposite_target(former, spec)
    if target == former:
        return replace(case, scenario=scenario)
    return replace(case, scenario=scenario, model=target.label, target=target)


def turn_streams(case: Case, spec: AgainstSpec) -> int:
    """Streams of the side that has more of them: so many requests does each turn have."""
    own = case.scenario.settings.concurrency
    return max(own, int(spec.settings.get("concurrency", own)))


def opposite_target(former: TargetSpec, spec: AgainstSpec) -> TargetSpec:
    """The target of the other side, under a label of its own.

    The same target where nothing differs.
    """
    base, changes = former, dict(spec.target)
    if _ELSEWHERE & changes.keys():
        base = TargetSpec(base.model)  # one server's settings don't apply to another
    elif "options" in changes:
        changes["options"] = {**base.options, **changes["options"]}
    if not changes.keys().isdisjoint({"model", *_ELSEWHERE}):
        changes.setdefault("price", None)  # a price is of one model at one place
    target = replace(base, name="", **changes)
    if target == replace(former, name=""):
        return former
    return replace(target, name=f"{target.label} (against)")
