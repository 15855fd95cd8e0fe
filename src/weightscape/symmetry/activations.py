"""Match two networks by what their units respond to, on the same inputs (arXiv 1511.07543; 2209.04836, section 3.1).

For every group, the responses of each source unit are compared with those of each target unit, and one assignment pairs
the most similar ones. No group depends on another one, so there is nothing to iterate.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from weightscape.batches import Batch, Batches, BatchSource, Forward, as_batches
from weightscape.errors import SymmetryError
from weightscape.symmetry._blocks import solve_blocks
from weightscape.symmetry._descent import linked_groups
from weightscape.symmetry.assignment import solve_assignment
from weightscape.symmetry.groups import Axis, Group, Symmetry
from weightscape.symmetry.matching import MatchResult
from weightscape.weights.algebra import precise_dtype
from weightscape.weights.modes import evaluation_mode

Similarity: TypeAlias = Literal["correlation", "inner-product"]

_CHANNELS_LAST = (nn.Linear, nn.LayerNorm, nn.Bilinear)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def match_activations(
    symmetry: Symmetry,
    source: nn.Module,
    target: nn.Module,
    batches: BatchSource,
    *,
    forward: Forward | None = None,
    similarity: Similarity = "correlation",
) -> MatchResult:
    """Find the permutation of the source's units whose responses are most similar to the target's.

    The responses are the outputs of the linear and convolution layers that make the units of a group (of its norm
    layers where it has no other), summed over layers; positions of a feature map count as samples. Both networks run
    in evaluation mode without gradients; modes and hooks are restored whatever happens. Moments are streamed.

    Args:
        symmetry: The permutation groups.
        source: Network that the permutation acts on.
        target: Network of the same architecture.
        batches: Batches with inputs, in any form (:func:`~weightscape.batches.as_batches`). Read once: both networks
            see each batch before the next is read, so that their order does not matter.
        forward: ``forward(model, batch)`` runs a network; by default it is called with the inputs.
        similarity: Pearson's correlation, 0 for a unit that does not vary; or the mean product of the responses.

    Returns:
        The match; its objective is the sum of the similarities of paired units.

    Raises:
        SymmetryError: If there are no batches, or no layer makes the units of a group.
    """
    started = time.perf_counter()
    layers = {group.name: _layers(source, group) for group in symmetry.groups}
    moments = {
        (group, axis): _Moments(centred=similarity == "correlation") for group in layers for axis in layers[group]
    }
    sizes = {group.name: group.size for group in symmetry.groups}
    names = {axis.layer for axes in layers.values() for axis in axes}
    pairs = 0
    given = as_batches(batches, forward=forward)
    for batch in given:
        outputs = [_responses(model, names, given, batch) for model in (target, source)]
        for (group, axis), moment in moments.items():
            moment.add(*(_by_unit(output[axis.layer], axis, sizes[group], source) for output in outputs))
        pairs += 1
    if not pairs:
        raise SymmetryError("Expected at least one batch of inputs to compare activations on, received none.")
    costs = {
        group: torch.stack([moments[group, axis].similarity() for axis in axes]).sum(dim=0).cpu()
        for group, axes in layers.items()
    }
    energies = [moment.energies() for moment in moments.values()]
    return _assign(symmetry, costs, energies, pairs, started)


class _Moments:
    """Streamed first and second moments of the responses of two layers, in float64 where the device has it.

    Centred ones are taken around the mean of the first batch, which keeps the later subtraction accurate.
    """

    def __init__(self, *, centred: bool) -> None:
        self._centred = centred
        self._count = 0

    def add(self, target: Tensor, source: Tensor) -> None:
        """Add responses ``(units, samples)`` of both networks to the same inputs."""
        if not self._count:
            sides, dtype = (target, source), precise_dtype(target.device)
            self._shift = [side.mean(dim=1, keepdim=True) * float(self._centred) for side in sides]
            self._sums = [side.new_zeros(len(side), dtype=dtype) for side in sides]
            self._squares = [side.new_zeros(len(side), dtype=dtype) for side in sides]
            self._cross = target.new_zeros(len(target), len(source), dtype=dtype)
        moved = [side - shift for side, shift in zip((target, source), self._shift, strict=True)]
        for number, side in enumerate(moved):
            self._sums[number] += side.sum(dim=1, dtype=self._cross.dtype)
            self._squares[number] += torch.sum(side * side, dim=1, dtype=self._cross.dtype)
        self._cross += moved[0] @ moved[1].mT
        self._count += target.shape[1]

    def similarity(self) -> Tensor:
        """Return the similarity ``(n, n)`` of target units (rows) and source units."""
        if not self._centred:
            return self._cross / self._count
        means = [total / self._count for total in self._sums]
        covariance = self._cross / self._count - torch.outer(*means)
        inverse = [torch.where(deviation > 0, deviation.reciprocal(), 0.0) for deviation in self._deviations()]
        return covariance * torch.outer(*inverse)

    def energies(self) -> tuple[float, float]:
        """Return the similarity of target and source with themselves, summed over units."""
        if self._centred:
            one, two = (float((deviation > 0).sum()) for deviation in self._deviations())
        else:
            one, two = (float(squares.sum()) / self._count for squares in self._squares)
        return one, two

    def _deviations(self) -> list[Tensor]:
        """Return the standard deviations, exactly 0 where a unit varies by no more than rounding."""
        found = []
        for total, squares, shift in zip(self._sums, self._squares, self._shift, strict=True):
            variance = squares / self._count - (total / self._count) ** 2
            floor = (1e-6 * shift[:, 0].to(variance.dtype)) ** 2
            found.append(torch.where(variance > floor, variance, 0.0).sqrt())
        return found


def _assign(
    symmetry: Symmetry, costs: dict[str, Tensor], energies: list[tuple[float, float]], pairs: int, started: float
) -> MatchResult:
    """Solve every group, or set of linked groups, once."""
    start = symmetry.identity()
    began = time.perf_counter()
    found: dict[str, Tensor] = {}
    for groups in linked_groups(symmetry):
        if groups[0].blocks == 1:
            found[groups[0].name] = solve_assignment(costs[groups[0].name])
        else:
            found |= solve_blocks(groups, costs, start.indices)
    ended = time.perf_counter()
    permutation = start.replace(found)
    before, after = (
        math.fsum(float(cost.gather(1, one.indices[name][:, None]).sum()) for name, cost in costs.items())
        for one in (start, permutation)
    )
    target_energy, source_energy = (math.fsum(side) for side in zip(*energies, strict=True)) if energies else (0.0, 0.0)
    scale = math.sqrt(target_energy * source_energy)
    return MatchResult(
        permutation=permutation,
        objective_before=before,
        objective=after,
        relative_gain=(after - before) / scale if scale else 0.0,
        cosine=after / scale if scale else 0.0,
        squared_distance=max(0.0, target_energy + source_energy - 2 * after),
        pairs=pairs,
        sweeps=1,
        solves=len(found),
        moved=permutation.moved(),
        converged=True,
        solver_seconds=ended - began,
        cost_seconds=began - started,
    )


def _layers(model: nn.Module, group: Group) -> list[Axis]:
    """Return the axes of the weights whose layers make the units of a group, or of its norm layers.

    Raises:
        SymmetryError: If there are none.
    """
    makers: list[Axis] = []
    norms: list[Axis] = []
    for axis in group.axes:
        layer = model.get_submodule(axis.layer)
        if not axis.tensor.endswith("weight") or axis.axis != (1 if isinstance(layer, _TRANSPOSED) else 0):
            continue
        (makers if model.get_parameter(axis.tensor).ndim > 1 else norms).append(axis)
    if not makers and not norms:
        raise SymmetryError(
            f"No layer of the network makes the units of the group {group.name!r} (tensors: "
            f"{sorted({axis.tensor for axis in group.axes})}), so its activations cannot be compared; match by weights."
        )
    return makers or norms


@torch.no_grad()
def _responses(model: nn.Module, names: Iterable[str], given: Batches, batch: Batch) -> dict[str, list[Tensor]]:
    """Return the outputs of the named layers, one per call of the layer."""
    outputs: dict[str, list[Tensor]] = {name: [] for name in names}
    device = next((parameter.device for parameter in model.parameters()), None)
    with ExitStack() as stack:
        stack.enter_context(evaluation_mode(model))
        for name, found in outputs.items():
            handle = model.get_submodule(name).register_forward_hook(_keeper(found))
            stack.callback(handle.remove)
        given.run(model, batch.to(device))
    return outputs


def _keeper(found: list[Tensor]) -> Callable[[nn.Module, Any, Tensor], None]:
    def keep(_module: nn.Module, _arguments: Any, output: Tensor) -> None:
        # A copy, because an activation that works in place may follow.
        found.append(output.detach().clone())

    return keep


def _by_unit(outputs: list[Tensor], axis: Axis, size: int, model: nn.Module) -> Tensor:
    """Return outputs of a layer as ``(units, samples)``, in float32 or better.

    Raises:
        SymmetryError: If the layer was not called.
    """
    if not outputs:
        raise SymmetryError(f"The layer {axis.layer!r} took no part in the forward pass, so it has no activations.")
    position = -1 if isinstance(model.get_submodule(axis.layer), _CHANNELS_LAST) else 1
    parts = []
    for output in outputs:
        units = output.movedim(position, 0).narrow(0, axis.offset, size * axis.repeat)
        parts.append(units.reshape(size, -1))
    joined = torch.cat(parts, dim=1)
    return joined if joined.dtype == torch.float64 else joined.float()
