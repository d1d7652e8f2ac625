"""``flperf doctor``: check what this machine can measure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Final

from pytest_flperf.commands.common import FAILED, Commands, Parsed, add_json, clear_line, print_json, redactor_of, told
from pytest_flperf.commands.models import add_place, place_of

if TYPE_CHECKING:
    from pytest_flperf.backends.router import Place
    from pytest_flperf.measurement.doctor import Finding

__all__ = ["add_doctor"]

_LOG_LINES: Final = 4


def add_doctor(commands: Commands) -> None:
    """Add the ``doctor`` command."""
    parser = commands.add_parser(
        "doctor",
        help="Check step by step what can be measured on this machine",
        description="Tries every kind of backend: does it answer, what does it list, does one real token arrive, "
        "what stamps it.  The exit status is 1 if the chosen one can't work; without --backend or --base-url that is "
        "Foundry Local.",
    )
    add_place(parser)
    parser.add_argument("--model", metavar="NAME", help="Model to ask; default: a loaded, embedded or small one")
    add_json(parser, "the findings")
    parser.set_defaults(run=_run, usage=parser)


def _run(parsed: Parsed) -> int:
    from pytest_flperf.report.terminal.listings import say

    chosen = place_of(parsed)
    masked = redactor_of(chosen)
    found = [_examined(place, parsed.model if place is chosen else None) for place in _places(parsed, chosen)]
    if parsed.json:
        print_json(masked.value([_as_dict(each) for each in found]))
    else:
        for line in _lines(found, chosen.kind.name):
            say(masked.text(line))
    return 0 if next(each for each in found if each.backend == chosen.kind.name).works else FAILED


def _places(parsed: Parsed, chosen: Place) -> list[Place]:
    """Backends to check: the named one, else every kind with defaults."""
    if parsed.backend is not None or parsed.base_url is not None:
        return [chosen]
    from pytest_flperf.backends.base import BackendConfig
    from pytest_flperf.backends.registry import installed, registry
    from pytest_flperf.suite.targets import backend_options

    options = backend_options(parsed.backend_option, "--backend-option")
    others = [
        replace(chosen, kind=kind, config=BackendConfig(options=options.get(kind.name, {})))
        for kind in registry(installed()).values()
    ]
    return [chosen, *(each for each in others if each.kind.name not in (chosen.kind.name, "openai"))]


def _examined(place: Place, model: str | None) -> Finding:
    from pytest_flperf.measurement.doctor import examine

    name, masked = place.kind.name, redactor_of(place).text
    try:
        return examine(place, model, lambda step: told(f"{name}: {masked(step)} …", None))
    finally:
        clear_line()


def _lines(found: Sequence[Finding], chosen: str) -> list[str]:
    from pytest_flperf.report.terminal.listings import fitted_table, wrapped
    from pytest_flperf.results.host import host_info
    from pytest_flperf.results.notes import Note

    rows = [
        (
            each.backend,
            _state(each),
            " ".join(filter(None, (each.about.runtime, each.about.version))) if each.about else "–",
            _address(each),
            "–" if each.models is None else str(each.models),
            "–" if each.ttft_ms is None else f"{each.ttft_ms:.3g} ms",
        )
        for each in found
    ]
    lines = fitted_table(("backend", "state", "runtime", "address", "models", "one token"), rows, names=4)
    for each in found:
        first, *more = each.problem.removeprefix(f"{each.backend}: ").splitlines() or [""]
        if first:
            lines += wrapped(f"{each.backend}: {first}")
        lines += [f"  {line}" for line in more[:_LOG_LINES] if each.backend == chosen]
        for note in each.notes:
            if Note.of(note).level == "warning":
                lines += wrapped(f"{each.backend}: {note}")
    works = [each for each in found if each.works]
    gpus = tuple(dict.fromkeys(gpu for each in works for gpu in each.gpus)) or host_info().gpus
    none = "no NVIDIA GPU found" if works else "unknown, nothing was measured"
    lines.append(f"GPU: {', '.join(gpus) or none}")
    sources = dict.fromkeys(each.clock_source for each in works if each.clock_source)
    lines.append(f"clock: {', '.join(f'{source} stamps' for source in sources) or 'unknown, nothing was measured'}")
    return lines


def _state(found: Finding) -> str:
    if found.works:
        return "works"
    return "no model" if found.steps and found.steps[-1].ok is None else "no"


def _address(found: Finding) -> str:
    """Host and port only; a run's results hold the full URL."""
    address = found.about.address if found.about else ""
    return address.partition("://")[2].partition("/")[0] or address or "–"


def _as_dict(found: Finding) -> Mapping[str, Any]:
    return {**asdict(found), "works": found.works, "problem": found.problem}
