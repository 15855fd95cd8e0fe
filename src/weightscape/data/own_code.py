"""Functions of the user's own: found by their dotted path, and checked before they are called."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from weightscape.errors import DataError, ModelError, did_you_mean
from weightscape.source import import_dotted


def own_function(path: str, arguments: Mapping[str, Any], *, given: int = 0) -> Callable[..., Any]:
    """Return the function that a dotted path names, which takes these arguments.

    Args:
        path: Module, dot, function.
        arguments: Keyword arguments it will be called with.
        given: Number of positional arguments before them.

    Raises:
        DataError: If there is no such function, or it does not take the arguments.
    """
    try:
        function = import_dotted(path)
    except ModelError as error:
        raise DataError(str(error)) from error
    if not callable(function):
        raise DataError(f"{path} should be a function, it is {function!r}.")
    try:
        parameters = inspect.signature(function).parameters
    except ValueError:  # some functions written in C have no signature
        return function  # type: ignore[no-any-return]
    kinds = [parameter.kind for parameter in parameters.values()]
    if inspect.Parameter.VAR_KEYWORD not in kinds:
        named = [name for place, name in enumerate(parameters) if place >= given]
        for name in arguments.keys() - set(named):
            raise DataError(f"{path} takes no argument {name!r}. {did_you_mean(name, named)}")
    return function  # type: ignore[no-any-return]
