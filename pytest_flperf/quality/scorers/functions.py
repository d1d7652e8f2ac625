"""Functions named as ``module:function``: imported, and checked."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from pytest_flperf._text import printable
from pytest_flperf.bounded.worker import ImpossibleError

__all__ = ["Function", "function_named"]

Function: TypeAlias = Callable[[Any], object]
_SHOWN: Final = 200


def function_named(name: str) -> Function:
    """Import a function by its name.

    Raises ImpossibleError, whose words follow ``which``, for a module that can't be imported, and for what can't be
    called with an answer.
    """
    module, _, place = name.partition(":")
    try:
        found = importlib.import_module(module)
    except (Exception, SystemExit) as error:  # whatever the module does when it is imported
        raise ImpossibleError(f"can't be imported: {type(error).__name__}: {_first_line(error)}") from error
    try:
        function: Any = functools.reduce(getattr, place.split("."), found)
    except AttributeError as error:
        raise ImpossibleError(f"can't be found: {_first_line(error)}") from error
    if not callable(function):
        raise ImpossibleError(f"is no function: {printable(place, 60)} is a {type(function).__name__}")
    if inspect.iscoroutinefunction(function):
        raise ImpossibleError("is an async function; expected a plain one")
    try:
        inspect.signature(function).bind(None)
    except TypeError as error:
        raise ImpossibleError(f"doesn't take one argument, the answer: {_first_line(error)}") from error
    except ValueError:  # of some built-in functions nothing is known
        pass
    return function  # type: ignore[no-any-return]


def _first_line(error: BaseException) -> str:
    return printable(str(error).partition("\n")[0], _SHOWN)
