"""A typed function becomes a verb of studies, of the command line and of the docs.

The signature of the function is the schema: positional parameters are *inputs* (artefacts of upstream tasks),
keyword-only parameters are *settings* (validated by pydantic), and the fields of the returned
:class:`~weightscape.results.Result` are the *outputs*. This module and every ``operations.py`` load no torch:
artefact types stand in annotations by name only.

A package makes its operations known through the entry-point group ``weightscape.operations`` (name = module); a study
may also name one by its dotted path.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, TypeAlias, get_type_hints

from pydantic import BaseModel, ConfigDict, create_model

from weightscape.earlier import Continues, Earlier
from weightscape.errors import ModelError, Problem, SpecificationError, WeightscapeError, did_you_mean
from weightscape.expansion import Expansion
from weightscape.fingerprints import Fingerprinted as Fingerprinted
from weightscape.fingerprints import fingerprinted as fingerprinted
from weightscape.parameters import ARTEFACTS, Input, input_of, is_artefact
from weightscape.rehearsal import Rehearsal
from weightscape.results import Result
from weightscape.source import import_dotted
from weightscape.together import Stack, Together

Keeps: TypeAlias = Callable[[Mapping[str, Any]], Collection[str] | None]
"""Which steps a trajectory will have, from settings as plain data; None where these do not say."""
ArchitectureOf: TypeAlias = Callable[[Mapping[str, Any]], Mapping[str, Any] | None]
"""The architecture of weights that were made, from settings as plain data; None where they are of no network."""

Fits: TypeAlias = Callable[[BaseModel], Sequence[Problem]]
"""What is wrong with validated settings taken together; the place of a problem is a setting, or empty for all."""


@dataclass
class Context:
    """What an operation may use besides its inputs and settings; nothing here changes the result.

    Attributes:
        device: Torch device.
        data_root: Folder of data sets; the default place when None.
        partial: Folder for resumable state, kept until the task is published.
        progress: Called with the share done in [0, 1] and a short text.
        should_stop: Becomes true when the user asked to stop; long loops save their state and raise
            :class:`~weightscape.errors.Interrupted`.
        stack: Whether tasks that can be computed together are: by a fixed rule, always or never.
        earlier: The result of a shorter task to go on from, for an operation that says how.
    """

    device: str = "cpu"
    data_root: Path | None = None
    partial: Path | None = None
    progress: Callable[[float, str], None] = lambda share, text: None
    should_stop: Callable[[], bool] = lambda: False
    stack: Stack = "auto"
    earlier: Earlier | None = None


@dataclass(frozen=True)
class Operation:
    """A registered function with its schema.

    Attributes:
        name: The verb.
        version: Raised whenever the meaning of the result or a default changes; part of every key.
        function: The function itself.
        together: How several tasks are computed at once; None if one by one.
        continues: How a task goes on from the result of a shorter one; None if it does not.
        expansion: How its settings become several rows; None if they are one.
        keeps: Which steps its trajectory will have; a reference to another one is an error of planning. None if that is
            known only when it has run.
        architectures: By output, which architecture its weights have, where that is not the setting ``model``. What is
            computed on them inherits it.
        fits: What is wrong with settings taken together, each of which is right; found when a study is planned.
        rehearsal: How a run tries out, before it computes anything, what settings ask of networks; None if it does not.
    """

    name: str
    version: int
    function: Callable[..., Result]
    together: Together | None = None
    continues: Continues | None = None
    expansion: Expansion | None = None
    keeps: Keeps | None = None
    architectures: Mapping[str, ArchitectureOf] = field(default_factory=dict)
    fits: Fits | None = None
    rehearsal: Rehearsal | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Result:
        """Run the function."""
        return self.function(*args, **kwargs)

    @property
    def summary(self) -> str:
        """The first line of the docstring."""
        return (inspect.getdoc(self.function) or "").split("\n", 1)[0]

    @functools.cached_property
    def inputs(self) -> dict[str, Input]:
        """The positional parameters by name."""
        return {
            parameter.name: input_of(self.name, parameter, self._hints[parameter.name])
            for parameter in inspect.signature(self.function).parameters.values()
            if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        }

    @functools.cached_property
    def settings(self) -> type[BaseModel]:
        """The pydantic model of the keyword-only parameters, without ``context``."""
        declared: dict[str, Any] = {
            parameter.name: (
                self._hints[parameter.name],
                ... if parameter.default is parameter.empty else parameter.default,
            )
            for parameter in inspect.signature(self.function).parameters.values()
            if parameter.kind is parameter.KEYWORD_ONLY and parameter.name != "context"
        }
        config = ConfigDict(extra="forbid", frozen=True)
        return create_model(f"{self.name} settings", __config__=config, __doc__=self.summary, **declared)

    @functools.cached_property
    def outputs(self) -> dict[str, str]:
        """The artefact fields of the result: type by field name. The other fields are metrics."""
        hints = get_type_hints(self._hints["return"], localns=dict(ARTEFACTS))
        names = [declared.name for declared in fields(self._hints["return"])]
        return {name: hints[name].__name__ for name in names if is_artefact(hints[name])}

    def made(self, output: str, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is known of an output from the settings of its row: these, with its architecture as ``model``.

        Weights that are of no network, such as what was measured of one and stored, say neither ``model`` nor ``data``:
        what takes them needs none. They stand for that network, and say its other settings too, such as its seed.

        Args:
            output: Name of the output.
            settings: The settings as plain data.
        """
        if output not in self.architectures:
            return dict(settings)
        architecture = self.architectures[output](settings)
        if architecture is not None:
            return {**settings, "model": dict(architecture)}
        (of, *others) = [settings.get(name) for name in self.inputs] or [None]
        network = of if isinstance(of, Mapping) and not others else {}
        return {name: value for name, value in {**network, **settings}.items() if name not in {"model", "data"}}

    @property
    def takes_context(self) -> bool:
        """Whether the function has a parameter ``context``."""
        return "context" in inspect.signature(self.function).parameters

    @property
    def is_bundled(self) -> bool:
        """Whether the function belongs to this package, so that its version says all about its code."""
        return self.function.__module__.startswith("weightscape.")

    @functools.cached_property
    def _hints(self) -> dict[str, Any]:
        return get_type_hints(self.function, localns=dict(ARTEFACTS), include_extras=True)


_REGISTERED: dict[str, Operation] = {}


def operation(
    name: str,
    *,
    version: int,
    together: Together | None = None,
    continues: Continues | None = None,
    expansion: Expansion | None = None,
    keeps: Keeps | None = None,
    architectures: Mapping[str, ArchitectureOf] | None = None,
    fits: Fits | None = None,
    rehearsal: Rehearsal | None = None,
) -> Callable[[Callable[..., Result]], Operation]:
    """Register the decorated function as an operation.

    Args:
        name: The verb, as studies and the command line write it.
        version: Raised whenever the meaning of the result or a default changes.
        together: How several tasks are computed at once, where that pays.
        continues: How a task goes on from the result of a shorter one.
        expansion: How its settings become several rows, where they stand for files.
        keeps: Which steps its trajectory will have, where its settings say it.
        architectures: By output, which architecture its weights have, where that is not the setting ``model``.
        fits: What is wrong with settings taken together, each of which is right.
        rehearsal: How a run tries out, before it computes anything, what settings ask of networks.

    Raises:
        WeightscapeError: If the signature cannot serve as a schema.
    """

    def register(function: Callable[..., Result]) -> Operation:
        networks = dict(architectures or {})
        made = Operation(name, version, function, together, continues, expansion, keeps, networks, fits, rehearsal)
        for parameter in inspect.signature(function).parameters.values():
            if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}:
                raise WeightscapeError(f"Operation {name!r}: the signature is the schema and cannot have {parameter}.")
            if parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
                input_of(name, parameter, made._hints[parameter.name])
        _REGISTERED[name] = made
        return made

    return register


@functools.cache
def _modules() -> dict[str, str]:
    return {point.name: point.value for point in entry_points(group="weightscape.operations")}


def operation_names() -> tuple[str, ...]:
    """Return the names of all operations that installed packages declare, without importing them."""
    return tuple(sorted(_modules().keys() | _REGISTERED.keys()))


def find_operation(name: str) -> Operation:
    """Return an operation by its name or dotted path.

    Raises:
        SpecificationError: If there is no such operation; the message has the closest name.
    """
    if name not in _REGISTERED and name in _modules():
        importlib.import_module(_modules()[name])
    if name in _REGISTERED:
        return _REGISTERED[name]
    expected = "the name of an operation, or the dotted path of one"
    try:
        found = import_dotted(name) if "." in name or ":" in name else None
    except ModelError as error:
        raise SpecificationError([Problem("run", expected, repr(name), str(error))]) from error
    if not isinstance(found, Operation):
        raise SpecificationError([Problem("run", expected, repr(name), did_you_mean(name, operation_names()))])
    return found
