"""Which output of an upstream task fills which parameter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from weightscape.errors import Problem, did_you_mean
from weightscape.parameters import Input
from weightscape.studies.reference import Reference

# Types of output that can fill a parameter, with and without a step chosen by '@'.
_WHOLE = {
    "Weights": ("Weights",),
    "Population": ("Weights", "Trajectory", "Population"),
    "Trajectory": ("Trajectory",),
    "Permutation": ("Permutation",),
    "Table": ("Table",),
}
_AT_STEP = {"Weights": ("Trajectory",), "Population": ("Trajectory",)}


@dataclass(frozen=True)
class Bound:
    """An input of one task: an output of another.

    Attributes:
        key: Key of the upstream task, or ``file:HASH`` of a file of weights.
        field: Name of the output.
        step: Step of a trajectory whose weights are meant; None for the whole output.
        path: The file, for weights that come from a file.
    """

    key: str
    field: str
    step: str | None = None
    path: str | None = None

    def identity(self) -> list[str | None]:
        """Return what of it enters the key of the task."""
        return [self.key, self.field, self.step]


def identities(inputs: Mapping[str, Bound | tuple[Bound, ...]]) -> dict[str, Any]:
    """Return what of all inputs of a task enters its key, by parameter."""
    return {
        name: [member.identity() for member in value] if isinstance(value, tuple) else value.identity()
        for name, value in inputs.items()
    }


def bind(parameter: Input, reference: Reference, outputs: Mapping[str, str], where: str) -> str | Problem:
    """Return the name of the output that fills a parameter, or the reason why none does.

    Args:
        parameter: What the operation takes.
        reference: What the study gives.
        outputs: Artefact types of the upstream operation by field.
        where: Where the reference was written.
    """
    accepted = (_AT_STEP if reference.step else _WHOLE).get(parameter.artefact, ())
    if reference.field is None and "Trajectory" in outputs.values():
        # Which weights of a run are meant is said by a step or by name: its best are not taken unasked.
        accepted = tuple(artefact for artefact in accepted if artefact != "Weights")
    fitting = [name for name, artefact in outputs.items() if artefact in accepted]
    needed = f"{parameter.artefact} for {parameter.name!r}"
    if reference.field is not None:
        return _check_named(reference, outputs, fitting, needed, where)
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        choices = ", ".join(f"{reference.name}.{name}" for name in fitting)
        return Problem(where, f"one output of type {needed}", f"{len(fitting)} that fit", f"Write one of: {choices}.")
    return Problem(where, needed, _describe(outputs), _remedy(parameter, reference, outputs))


def _check_named(
    reference: Reference, outputs: Mapping[str, str], fitting: list[str], needed: str, where: str
) -> str | Problem:
    field = str(reference.field)
    if field not in outputs:
        return Problem(where, f"an output of {reference.name!r}", repr(field), did_you_mean(field, outputs))
    if field in fitting:
        return field
    step = f"@{reference.step}" if reference.step else ""
    remedy = "Choose a step of the trajectory: add '@last', '@first' or a step such as '@15ep'."
    return Problem(
        where, needed, f"{field}{step} of type {outputs[field]}", remedy if outputs[field] == "Trajectory" else ""
    )


def _describe(outputs: Mapping[str, str]) -> str:
    listed = ", ".join(f"{name} ({artefact})" for name, artefact in outputs.items())
    return f"outputs {listed}" if listed else "a stage without outputs"


def _remedy(parameter: Input, reference: Reference, outputs: Mapping[str, str]) -> str:
    trajectories = [name for name, artefact in outputs.items() if artefact == "Trajectory"]
    if parameter.artefact == "Weights" and trajectories and not reference.step:
        name = f"{reference.study}/{reference.name}" if reference.study else reference.name
        field = f".{trajectories[0]}" if len(trajectories) > 1 else ""
        return f"Choose a step of the trajectory: '{name}{field}@last'."
    return ""
