"""Find the weights of a network in whatever a training loop saved, and what else is known of it there.

Understood are a state dict, a state dict under any name (``model``, ``state_dict``, ``net``, ...) at any depth, a whole
module, and the wrappers ``module.`` (DataParallel), ``_orig_mod.`` (torch.compile) and ``model.`` (Lightning). Headers
alone are read, without torch; :meth:`Checkpoint.load` maps the tensors into memory.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weightscape.errors import StoreError, did_you_mean
from weightscape.weights.archives import WIDTHS, Archive, open_archive
from weightscape.weights.inert import Inert, TensorRef

if TYPE_CHECKING:
    from weightscape.weights.algebra import Weights

_NAMES = (
    *("state_dict", "model_state_dict", "model_state", "model", "net_state_dict", "net", "network", "weights"),
    *("params", "parameters", "module"),
)
_OTHERS = re.compile(r"optim|sched|scaler|rng|random|amp$|momentum|teacher|callbacks|loops", re.IGNORECASE)
_SETTINGS = ("args", "hyper_parameters", "hparams", "hyperparameters", "config", "cfg", "settings", "options")
_EPOCHS = ("epoch", "epochs")
_ITERATIONS = ("global_step", "iteration", "iterations", "iter", "it", "step", "steps")
_LIGHTNING = "pytorch-lightning_version"
_DEPTH = 5
_MOST_MEMBERS = 100
_TIE = "tie:"


@dataclass(frozen=True)
class Checkpoint:
    """A file of weights whose headers were read.

    Attributes:
        archive: The file.
        member: Where in the file the weights are, such as ``model`` or ``state.net``; empty when they are all of it.
        tensors: Types, shapes and places by name, as the network calls them, in the order of the file.
        prefix: What was taken off all names.
    """

    archive: Archive
    member: str
    tensors: Mapping[str, TensorRef]
    prefix: str = ""

    @property
    def path(self) -> Path:
        """The file."""
        return self.archive.path

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each tensor by name."""
        return {name: tensor.shape for name, tensor in self.tensors.items()}

    @property
    def epoch(self) -> int | None:
        """The epochs done that the file mentions beside the weights.

        None for Lightning's files: their ``epoch`` is the number of the one that was running, 0 after one epoch, and
        only their ``global_step`` says how far the run is.
        """
        return None if _LIGHTNING in self._around else self._count(_EPOCHS)

    @property
    def iteration(self) -> int | None:
        """The iteration that the file mentions beside the weights."""
        return self._count(_ITERATIONS)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Settings that lie beside the weights (``args``, ``hyper_parameters``, ``config``, ...): numbers and texts."""
        found: dict[str, Any] = {}
        for name in _SETTINGS:
            found |= _plain(_mapping(self._around.get(name)))
        return found

    @property
    def _around(self) -> Mapping[Any, Any]:
        return _mapping(self.archive.content) if self.member else {}

    def _count(self, names: tuple[str, ...]) -> int | None:
        values = (self._around.get(name) for name in names)
        return next((value for value in values if isinstance(value, int) and value >= 0), None)

    def load(self, device: str = "cpu", names: Collection[str] | None = None) -> Weights:
        """Return the weights, or the named ones of them, mapped into memory where the format allows it.

        The numbers are read from the disk when they are looked at. Writing to them does not change the file.

        Raises:
            StoreError: If the file is damaged or holds tensors of an unknown kind.
        """
        from weightscape.weights.mapping import load_tensors

        chosen = self.tensors if names is None else {name: self.tensors[name] for name in names}
        return load_tensors(self.archive, chosen, device)


def read_checkpoint(
    path: str | Path, *, member: str | None = None, expected: Mapping[str, tuple[int, ...]] | None = None
) -> Checkpoint:
    """Read the headers of a file of weights.

    Args:
        path: The file: ``torch.save`` of any age, or safetensors.
        member: Which part of the file is meant, such as ``generator`` or ``ema.model``; found by itself by default.
        expected: Shapes by name of the network, to know what to take off the names. Without it the wrappers
            ``module.`` and ``_orig_mod.`` are taken off, and of a Lightning file the attribute that all names share.

    Raises:
        StoreError: If the file is missing, unfinished or damaged, holds no weights, or more than one set of them.
    """
    archive = open_archive(path)
    candidates = {where: found for where, found in _candidates(archive.content) if found}
    place = _chosen(archive.path, candidates, member)
    tensors = tied(archive, candidates[place])
    if expected is not None and tensors.keys() == expected.keys():  # a network may call its own parts "module"
        return Checkpoint(archive, place, tensors)
    tensors = _without_wrappers(tensors)
    prefix = _prefix(tensors, expected, lightning=_LIGHTNING in _mapping(archive.content))
    kept = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    return Checkpoint(archive, place, kept, prefix)


def _candidates(value: Any, where: str = "", depth: int = 0) -> Iterator[tuple[str, dict[str, TensorRef]]]:
    """Yield what may be weights: mappings with tensors, and modules, by the names that lead to them."""
    if depth > _DEPTH:
        return
    if isinstance(value, Inert) and "_modules" in value.attributes:
        yield where, dict(_of_module(value))
        return
    if isinstance(value, list | tuple):  # an ensemble
        for number, member in enumerate(value[:_MOST_MEMBERS]):
            yield from _candidates(member, f"{where}.{number}".lstrip("."), depth + 1)
        return
    entries = _mapping(value)
    yield where, {name: tensor for name, tensor in entries.items() if isinstance(name, str) and _is_tensor(tensor)}
    for name, entry in entries.items():
        if isinstance(name, str) and not _OTHERS.search(name) and not _is_tensor(entry):
            yield from _candidates(entry, f"{where}.{name}" if where else name, depth + 1)


def _of_module(module: Inert, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, TensorRef]]:
    attributes = module.attributes
    transient = attributes.get("_non_persistent_buffers_set") or ()
    own = {**_mapping(attributes.get("_parameters")), **_mapping(attributes.get("_buffers"))}
    yield from ((prefix + name, value) for name, value in own.items() if _is_tensor(value) and name not in transient)
    for name, child in _mapping(attributes.get("_modules")).items():
        if isinstance(child, Inert) and depth < 100:
            yield from _of_module(child, f"{prefix}{name}.", depth + 1)


def _chosen(path: Path, candidates: Mapping[str, dict[str, TensorRef]], member: str | None) -> str:
    if member is not None:
        if member not in candidates:
            raise StoreError(f"{path} has no weights under {member!r}. {did_you_mean(member, candidates)}")
        return member
    if not candidates:
        raise StoreError(
            f"{path} holds no tensors by name: expected a state dict, alone or under a name such as 'model'. "
            "Write it with torch.save(model.state_dict(), path), or as safetensors."
        )
    # Tensors beside a state dict (a best loss, say) are no weights.
    inner = {where: found for where, found in candidates.items() if where} if len(candidates) > 1 else candidates
    outermost = [where for where in inner if not any(where.startswith(f"{other}.") for other in inner)]
    if len(outermost) == 1:
        return outermost[0]
    for name in _NAMES:
        named = [where for where in outermost if where.rpartition(".")[2] == name]
        if len(named) == 1:
            return named[0]
    listed = ", ".join(f"{where!r} ({len(inner[where])} tensors)" for where in outermost)
    raise StoreError(
        f"{path} holds more than one set of weights: {listed}. Say which one is meant: member={outermost[0]!r}."
    )


def tied(archive: Archive, tensors: dict[str, TensorRef]) -> dict[str, TensorRef]:
    """Return tensors in the order in which this package wrote them, with those that it wrote once under all names."""
    ties = {name.removeprefix(_TIE): source for name, source in archive.metadata.items() if name.startswith(_TIE)}
    tensors = {**tensors, **{name: tensors[source] for name, source in ties.items() if source in tensors}}
    order = archive.metadata.get("order", "").split("\n")
    return {**{name: tensors[name] for name in order if name in tensors}, **tensors}


def _without_wrappers(tensors: dict[str, TensorRef]) -> dict[str, TensorRef]:
    plain = {name.replace("_orig_mod.", ""): tensor for name, tensor in tensors.items()}
    plain = plain if len(plain) == len(tensors) else tensors
    while plain and all(name.startswith("module.") for name in plain):
        plain = {name.removeprefix("module."): tensor for name, tensor in plain.items()}
    return plain


def _prefix(
    tensors: Mapping[str, TensorRef], expected: Mapping[str, tuple[int, ...]] | None, *, lightning: bool
) -> str:
    if expected is not None:
        found = [prefix for prefix in ("", *_prefixes(tensors)) if expected.keys() == _under(prefix, tensors)]
        return found[0] if found else _closest(tensors, expected)
    heads = {name.partition(".")[0] for name in tensors}
    attribute = next(iter(heads), "") + "."
    return attribute if lightning and len(heads) == 1 and all("." in name for name in tensors) else ""


def _prefixes(tensors: Mapping[str, TensorRef]) -> list[str]:
    parts = [name.split(".") for name in tensors]
    prefixes = (".".join(part[:length]) + "." for part in parts for length in range(1, min(4, len(part))))
    return list(dict.fromkeys(prefixes))


def _under(prefix: str, tensors: Mapping[str, TensorRef]) -> set[str]:
    return {name.removeprefix(prefix) for name in tensors if name.startswith(prefix)}


def _closest(tensors: Mapping[str, TensorRef], expected: Collection[str]) -> str:
    # Nothing fits; what fits best makes the clearest message.
    overlaps = {prefix: len(_under(prefix, tensors) & set(expected)) for prefix in ("", *_prefixes(tensors))}
    return max(overlaps, key=lambda prefix: overlaps[prefix])


def _is_tensor(value: Any) -> bool:
    return isinstance(value, TensorRef) and value.dtype in WIDTHS


def _mapping(value: Any) -> Mapping[Any, Any]:
    if isinstance(value, Mapping):
        return value
    if not isinstance(value, Inert):
        return {}
    return value.attributes or {entry[0]: entry[1] for entry in value.items if isinstance(entry, tuple)}


def _plain(values: Mapping[Any, Any], depth: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        if not isinstance(name, str) or name.startswith("_") or depth > _DEPTH:
            continue
        if value is None or isinstance(value, bool | int | float | str):
            found[name] = value
        elif inner := _plain(_mapping(value), depth + 1):
            found[name] = inner
    return found
