"""What networks take and answer, as the command line says it: a data set, a shape, a number of classes."""

from __future__ import annotations

from typing import TypeAlias

from weightscape.errors import Problem, SpecificationError

Inputs: TypeAlias = tuple[tuple[int, int, int], int]
"""Channels, height and width, and the number of classes."""
_DEFAULT_SHAPE = (3, 32, 32)
_DEFAULT_CLASSES = 10


def inputs_of(data: str | None, shape: str | None, classes: int | None) -> Inputs:
    """Return what a network takes and answers, from options that may be missing.

    Raises:
        SpecificationError: If there is no such data set, or the shape is none.
    """
    sizes, count = _DEFAULT_SHAPE, _DEFAULT_CLASSES
    if data is not None:
        sizes, count = inputs_of_data(data)
    if shape is not None:
        sizes = _parse_shape(shape)
    return sizes, classes or count


def inputs_of_data(text: str) -> Inputs:
    """Return what networks take and answer that learn from a data set, given by name or settings.

    Raises:
        SpecificationError: If there is no such data set.
    """
    from pydantic import TypeAdapter, ValidationError

    from weightscape.data.catalogue import shape_and_classes
    from weightscape.data.specification import DataSpec
    from weightscape.studies.document import read_value

    try:
        return shape_and_classes(TypeAdapter(DataSpec).validate_python(read_value(text)))
    except ValidationError as error:
        reasons = "; ".join(str(item["msg"]).removeprefix("Value error, ") for item in error.errors())
        raise SpecificationError([Problem("--data", "a data set", repr(text), reasons)]) from error


def _parse_shape(text: str) -> tuple[int, int, int]:
    parts = text.replace("x", ",").split(",")
    if len(parts) == 3 and all(part.strip().isdigit() and int(part) for part in parts):
        channels, height, width = (int(part) for part in parts)
        return channels, height, width
    raise SpecificationError([Problem("--shape", "channels, height and width such as 3,32,32", repr(text))])
