"""Order of models: one after the other, or in turns from scenario to scenario."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import TYPE_CHECKING, Final, TypeVar

from pytest_flperf.session.planning import pulled_together

if TYPE_CHECKING:
    from pytest_flperf.session.options import RunOptions
    from pytest_flperf.suite.model import Case
    from pytest_flperf.suite.targets import TargetSpec

__all__ = ["ordered", "take_turns"]

_LOADS_NOTHING: Final = "openai"
_T = TypeVar("_T")


def take_turns(options: RunOptions, cases: Iterable[Case]) -> bool:
    """Whether models take turns from scenario to scenario.

    Without ``--flperf-order``: where it costs no load and no memory, because each model has a server of its own that
    runs already, or is one of the embedded ones.  A server with several models may load each when it is asked for.
    """
    if options.order in ("model", "scenario"):
        return options.order == "scenario"
    found = tuple({case.model: case.target_spec for case in cases}.values())
    if len(found) < 2 or options.parallel_targets:
        return False
    urls = [each.base_url or options.base_url for each in found if _runs_already(each, options)]
    embedded = sum(_is_embedded(each, options) for each in found)
    return len(urls) + embedded == len(found) and len(set(urls)) == len(urls)


def _backend(target: TargetSpec, options: RunOptions) -> str:
    url = target.base_url or options.base_url
    return target.backend or options.backend or (_LOADS_NOTHING if url else "foundry")


def _runs_already(target: TargetSpec, options: RunOptions) -> bool:
    return _backend(target, options) == _LOADS_NOTHING


def _is_embedded(target: TargetSpec, options: RunOptions) -> bool:
    from pytest_flperf.foundry_host.embedded import find_embedded

    shared = "process" not in (target.isolation, options.isolation)
    return shared and _backend(target, options) == "foundry" and find_embedded(target.model) is not None


def ordered(items: Iterable[_T], case_of: Callable[[_T], Case | None], *, turns: bool) -> list[_T]:
    """Order the cases of suites; everything else stays where it is.

    In turns: scenario by scenario in the place of the first case, and in each the next model first, so that what the
    machine does meanwhile is no model's.  Else model by model, so that each is loaded once.
    """
    if not turns:
        return pulled_together(items, lambda item: None if (case := case_of(item)) is None else case.model)
    before: list[_T] = []
    scenarios: dict[Hashable, list[tuple[int, _T]]] = {}
    after: list[_T] = []
    models: dict[str, int] = {}
    for item in items:
        case = case_of(item)
        if case is not None:
            place = models.setdefault(case.model, len(models))
            scenarios.setdefault((case.suite_ref, case.scenario.name, case.parameters), []).append((place, item))
        else:
            (after if scenarios else before).append(item)
    in_turns: list[_T] = []
    for number, group in enumerate(scenarios.values()):
        in_one_order = [item for _, item in sorted(group, key=lambda each: each[0])]
        first = number % len(group)
        in_turns += in_one_order[first:] + in_one_order[:first]
    return [*before, *in_turns, *after]
