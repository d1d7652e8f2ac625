"""Validation of prices, before anything is measured."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence

from pytest_flperf.session.errors import OptionsError
from pytest_flperf.suite.bounded_files import display_path
from pytest_flperf.suite.errors import key_path, shown, suggestion
from pytest_flperf.suite.model import Case, Suite
from pytest_flperf.suite.price_table import PriceTableError, table_price
from pytest_flperf.suite.prices import PriceSpec
from pytest_flperf.suite.targets import TargetSpec

__all__ = ["check_prices", "check_prices_of_targets"]


def check_prices(suite: Suite, cases: Sequence[Case], others: Iterable[TargetSpec] = ()) -> None:
    """Refuse prices for models that the suite doesn't have, and names that the table of prices lacks.

    A suite that names its models may have prices for these and for the measured ones.  Where it names none, the
    command line chooses, and the suite may have prices for any model.  Raises OptionsError.

    Args:
        suite: The suite.
        cases: Its cases.
        others: Targets that its cases are compared with.

    """
    where = display_path(suite.path)
    for name, spec in suite.prices.items():
        _check_table(spec, f"{where}: {key_path(('prices', name))}")
    named = [*suite.models, *(name for each in suite.targets for name in (each.label, each.model))]
    if not named:
        return
    measured = [case.target_spec for case in cases]
    names = [*named, *(name for each in (*measured, *others) for name in (each.label, each.model))]
    for name in suite.prices:
        if name not in names and not any(fnmatch.fnmatchcase(each, name) for each in names):
            raise OptionsError(
                f"{where}: prices: found {shown(name)}, expected a model of the suite or a pattern of models; "
                f"{suggestion(name, list(dict.fromkeys(names)))}"
            )


def check_prices_of_targets(targets: Iterable[TargetSpec]) -> None:
    """Refuse prices of targets that the table of prices lacks; raises OptionsError."""
    for target in targets:
        if target.price is not None:
            _check_table(target.price, f"target {shown(target.label)}: price")


def _check_table(spec: PriceSpec, where: str) -> None:
    if spec.price is None:
        try:
            table_price(spec.table)
        except PriceTableError as error:
            raise OptionsError(f"{where}: genai_prices: {error}") from error
