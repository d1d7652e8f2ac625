"""Options of a run, from the command line and ini file.

Imported only when a suite or the fixture is used.
"""

from __future__ import annotations

from typing import Any

import pytest

from pytest_flperf.options import NULL, OPTIONS, Option
from pytest_flperf.session.errors import OptionsError
from pytest_flperf.session.options import RunOptions, options_from

__all__ = ["options_of"]


def options_of(config: pytest.Config) -> RunOptions:
    """Read options and ini values; the command line wins.

    Raises OptionsError.
    """
    values = {option.dest.removeprefix("flperf_"): _value(config, option) for option in OPTIONS}
    left_out = [name for name, value in values.items() if value == NULL]
    return options_from({**values, **dict.fromkeys(left_out), "left_out": left_out})


def _value(config: pytest.Config, option: Option) -> Any:
    given = config.getoption(option.dest)
    if isinstance(given, str) and not given.strip():
        # most likely an unset variable: without the option, something else would be measured
        raise OptionsError(f"{option.flag}: found {given[:80]!r}, expected {option.metavar}")
    if given is None and option.ini is not None:
        try:
            given = config.getini(option.dest)
        except (ValueError, TypeError, pytest.UsageError) as error:
            raise OptionsError(f"{config.inipath}: {option.dest}: {error}") from error
    return None if given in ("", []) else given
