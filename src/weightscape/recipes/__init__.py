"""The bundled studies: one YAML file per published figure."""

from __future__ import annotations

import re
from pathlib import Path

from weightscape.errors import Problem, SpecificationError, did_you_mean

_FOLDER = Path(__file__).parent


def recipe_names(pattern: str = "") -> tuple[str, ...]:
    """Return the names of the bundled studies that contain a match of a regular expression, sorted.

    Raises:
        SpecificationError: If the pattern is not a regular expression.
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise SpecificationError([Problem("recipes", "a regular expression", repr(pattern), str(error))]) from error
    names = sorted(path.relative_to(_FOLDER).with_suffix("").as_posix() for path in _FOLDER.rglob("*.yaml"))
    return tuple(name for name in names if expression.search(name))


def find_recipe(name: str, where: str = "recipe") -> Path:
    """Return the file of a bundled study.

    Args:
        name: Name such as ``learning-transfer/mnist-mlp``, or its number in the list of all recipes.
        where: Where the name was written, for the error.

    Raises:
        SpecificationError: If there is no such study; the message has the closest name.
    """
    names = recipe_names()
    if name.isdigit() and 0 < int(name) <= len(names):
        name = names[int(name) - 1]
    if name not in names:
        raise SpecificationError(
            [Problem(where, "a study file or the name of a bundled study", repr(name), did_you_mean(name, names))]
        )
    return _FOLDER / f"{name}.yaml"
