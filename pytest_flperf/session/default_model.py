"""Default model: an embedded one, or a server's only one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pytest_flperf._text import printable
from pytest_flperf.session.errors import OptionsError
from pytest_flperf.session.options import RunOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_flperf.backends.registry import BackendType
    from pytest_flperf.backends.resolver import Placing
    from pytest_flperf.session.progress import Progress

__all__ = ["DefaultModels"]

_HOW: Final = "add --flperf-model=NAME"
_LONGEST: Final = 1_500


class DefaultModels:
    """Default models of a run; queries a server only once."""

    def __init__(self, known: Mapping[str, BackendType], progress: Progress) -> None:
        """Query no server yet.

        ``known``: kinds of backends by name.
        """
        self._known = known
        self._progress = progress
        self._found: tuple[str, ...] = ()
        self._problem = ""

    def models(self, options: RunOptions, where: str = "") -> tuple[str, ...]:
        """Default models: the embedded ones, or the server's only one.

        Args:
            options: Options of the run; they name no model.
            where: What else names none (`` and suite.yaml names none``), for the error.

        Raises:
            UsageError: The server lists no model or more than one, or can't be queried.

        """
        if options.base_url is None and options.backend in (None, "foundry"):
            from pytest_flperf.foundry_host.embedded import embedded_models

            return tuple(model.alias for model in embedded_models())
        if not self._found and not self._problem:
            self._ask(options)
        if self._problem:
            flag = "--flperf-base-url" if options.base_url is not None else "--flperf-backend"
            raise OptionsError(f"{flag} needs a model{where}: {self._problem}")
        return self._found

    def _ask(self, options: RunOptions) -> None:
        from pytest_flperf.backends.base import BackendError
        from pytest_flperf.backends.model_lists import short_name, some_names
        from pytest_flperf.backends.resolver import PlacingError, secrets_of
        from pytest_flperf.results.redaction import Redactor
        from pytest_flperf.session.placing import placing_of

        masked = Redactor(secrets_of(options.api_key_env, (), options.base_url)).text
        try:
            listed = self._listed(placing_of(options, self._known), options)
        except (BackendError, PlacingError) as error:
            said = printable(masked(str(error)), _LONGEST)
            self._problem = f"{_HOW}; the server could not be asked what it has: {said}"
            return
        if listed is None:
            self._problem = f"{_HOW}; --flperf-list-models shows what there is"
        elif len(listed) == 1 and masked(listed[0]) != listed[0]:  # it would stand in the names of all tests
            self._problem = f"{_HOW}; the only one that the server lists has a key of this run in its name"
        elif len(listed) == 1:
            self._found = tuple(map(short_name, listed)) if self._finds_files(options) else listed
        elif listed:
            names = printable(masked(some_names(listed)), _LONGEST)
            self._problem = f"{_HOW}; the server lists {len(listed)}: {names}"
        else:
            self._problem = f"{_HOW}; the server lists none"

    def _finds_files(self, options: RunOptions) -> bool:
        """Whether the server's models are found by the name of their file, so that one model has one name."""
        return options.backend in (None, "openai")

    def _listed(self, placing: Placing, options: RunOptions) -> tuple[str, ...] | None:
        """Model ids listed by a server that already runs.

        None if it would have to be started first.
        """
        from pytest_flperf.backends.discovery import discover_models
        from pytest_flperf.suite.targets import TargetSpec

        anywhere = TargetSpec("any")
        placing.check([anywhere])
        place = placing.place(anywhere)
        if options.base_url is None and place.kind.programs:
            return None
        with self._progress.of("") as progress:
            models = discover_models(place.kind, place.config, progress.stage)
        return tuple(each.model_id for each in models)
