"""Permutations of hidden units and their action on weights.

An index vector indexes the *source*: ``(π W)[i] = W[π[i]]``. The action is exact for parameters, buffers and anything
that has their shape, such as gradients and displacements.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from weightscape.errors import StoreError, SymmetryError
from weightscape.symmetry._checks import check_fits, check_links, checked_index
from weightscape.symmetry.groups import Symmetry
from weightscape.weights.algebra import Weights

if TYPE_CHECKING:
    import pandas

    from weightscape.batches import BatchSource
    from weightscape.symmetry.verification import Verification


class Permutation:
    """One index vector per group of a symmetry. Immutable.

    Attributes:
        symmetry: The groups.
        indices: Group name -> int64 index vector ``(size,)``; groups that were not given stay in place.
    """

    def __init__(self, symmetry: Symmetry, indices: Mapping[str, Tensor]) -> None:
        """Check the index vectors and keep copies of them, on the CPU.

        Raises:
            SymmetryError: If a vector is not a permutation of its group, breaks the group's blocks, or sends blocks
                elsewhere than a linked group does.
        """
        self.symmetry = symmetry
        given = {symmetry.group(name).name: index for name, index in indices.items()}
        self.indices: dict[str, Tensor] = {
            group.name: checked_index(group, given[group.name]) if group.name in given else torch.arange(group.size)
            for group in symmetry.groups
        }
        check_links(symmetry, self.indices)
        self._plans: dict[tuple[str, torch.Size, torch.device], list[tuple[int, int, Tensor]]] = {}
        self._axes = symmetry.by_tensor()
        self._still = {name for name, index in self.indices.items() if torch.equal(index, torch.arange(len(index)))}

    def __getitem__(self, name: str) -> Tensor:
        return self.indices[self.symmetry.group(name).name]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Permutation):
            return NotImplemented
        return self.indices.keys() == other.indices.keys() and all(
            torch.equal(index, other.indices[name]) for name, index in self.indices.items()
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        groups = "1 group" if len(self.indices) == 1 else f"{len(self.indices)} groups"
        return f"Permutation({groups}, {self.moved():.1%} of the units moved)"

    def apply(self, weights: Mapping[str, Tensor]) -> Weights:
        """Return the permuted weights, parameters and buffers alike.

        Tensors that `weights` lacks are skipped, so that parameters alone or gradients can be given; a tensor that does
        not move is returned as it is, not copied.

        Raises:
            SymmetryError: If a tensor has another shape than the symmetry was found for.
        """
        return {name: self.apply_to(name, tensor) for name, tensor in weights.items()}

    def apply_to(self, name: str, tensor: Tensor) -> Tensor:
        """Return one permuted tensor of the state dict; see :meth:`apply`.

        Raises:
            SymmetryError: If the tensor has another shape than the symmetry was found for.
        """
        if name not in self._axes:
            return tensor
        key = (name, tensor.shape, tensor.device)
        if key not in self._plans:
            self._plans[key] = self._plan(name, tensor)
        for axis, grouped, index in self._plans[key]:
            tensor = tensor.index_select(axis, index) if grouped == 1 else _select_in_rows(tensor, index)
        return tensor

    def _plan(self, name: str, tensor: Tensor) -> list[tuple[int, int, Tensor]]:
        """Return what to do to a tensor: axis, number of convolution groups, index; grouped axes last."""
        steps: dict[tuple[int, int], Tensor] = {}
        for group, axis in self._axes[name]:
            check_fits(group, axis, tensor)
            if group.name in self._still:
                continue
            key = (axis.grouped, axis.axis)
            full = steps.setdefault(key, torch.arange(tensor.shape[axis.axis] * axis.grouped))
            within = torch.arange(axis.repeat)
            destination = axis.offset + torch.arange(group.size)[:, None] * axis.repeat + within
            full[destination] = axis.offset + self.indices[group.name][:, None] * axis.repeat + within
        # The rows of a grouped weight come first: which block a row belongs to is known once it is in its new place.
        return [(axis, grouped, steps[grouped, axis].to(tensor.device)) for grouped, axis in sorted(steps)]

    def inverse(self) -> Permutation:
        """Return the permutation that undoes this one."""
        return Permutation(self.symmetry, {name: torch.argsort(index) for name, index in self.indices.items()})

    def compose(self, other: Permutation) -> Permutation:
        """Return ``self ∘ other``: its action is that of `other` followed by that of `self`.

        Raises:
            SymmetryError: If the two permute different groups.
        """
        if self.symmetry.groups != other.symmetry.groups:
            raise SymmetryError(
                f"Expected two permutations of the same groups, received {list(self.indices)} and "
                f"{list(other.indices)}. Discover the symmetry once and use it for both."
            )
        return Permutation(self.symmetry, {name: other.indices[name][index] for name, index in self.indices.items()})

    def replace(self, indices: Mapping[str, Tensor]) -> Permutation:
        """Return this permutation with other index vectors for some of the groups."""
        return Permutation(self.symmetry, {**self.indices, **indices})

    def moved(self, since: Permutation | None = None) -> float:
        """Return the share of all units that are not where they were, 0 when there are no groups.

        Args:
            since: The permutation of the same groups to compare with; the identity by default.
        """
        before = (identity(self.symmetry) if since is None else since).indices
        total = sum(len(index) for index in self.indices.values())
        changed = sum(int((index != before[name]).sum()) for name, index in self.indices.items())
        return changed / total if total else 0.0

    def verify(
        self,
        model: nn.Module,
        inputs: Tensor | tuple[Tensor, ...] | BatchSource | None = None,
        *,
        tolerance: float = 1e-9,
    ) -> Verification:
        """Prove that this permutation preserves the model's function, at its own weights and at a generic point.

        Args:
            model: The network; it is not changed.
            inputs: Inputs to compare outputs on, or batches whose first one is taken; random ones of the traced shape
                by default.
            tolerance: Largest allowed difference, relative to the norm of the outputs, in float64.

        Raises:
            SymmetryError: Naming the group, tensor and axis, if the outputs differ.
        """
        from weightscape.symmetry.verification import verify_permutation

        return verify_permutation(model, self, inputs, tolerance=tolerance)

    def save(self, path: str | Path) -> None:
        """Write the index vectors and the symmetry to a safetensors file."""
        save_file(self.indices, str(path), metadata={"symmetry": self.symmetry.to_json()})

    @classmethod
    def load(cls, path: str | Path) -> Permutation:
        """Read a permutation written by :meth:`save`.

        Raises:
            StoreError: If the file is missing, damaged or holds no permutation.
        """
        try:
            with safe_open(str(path), framework="pt") as file:
                metadata = file.metadata() or {}
                indices = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        except (OSError, SafetensorError) as error:
            raise StoreError(f"{path} cannot be read as safetensors: {error}") from error
        if "symmetry" not in metadata:
            raise StoreError(
                f"{path} holds tensors, but not the groups of a permutation; expected a saved permutation."
            )
        return cls(Symmetry.from_json(metadata["symmetry"]), indices)

    def to_frame(self) -> pandas.DataFrame:
        """Return one row per unit: group, unit (its new place) and source (its place before)."""
        import pandas

        return pandas.DataFrame(
            [
                {"group": name, "unit": unit, "source": source}
                for name, index in self.indices.items()
                for unit, source in enumerate(index.tolist())
            ],
            columns=["group", "unit", "source"],
        )


def identity(symmetry: Symmetry) -> Permutation:
    """Return the permutation that moves nothing."""
    return Permutation(symmetry, {})


def random_permutation(symmetry: Symmetry, generator: torch.Generator) -> Permutation:
    """Return a permutation drawn uniformly from those that the groups, blocks and links allow."""
    indices: dict[str, Tensor] = {}
    block_orders: dict[str, Tensor] = {}
    for group in symmetry.groups:
        device = generator.device
        if group.name not in block_orders:
            order = torch.randperm(group.blocks, generator=generator, device=device)
            block_orders |= dict.fromkeys((group.name, *group.linked), order)
        length = group.size // group.blocks
        inside = [torch.randperm(length, generator=generator, device=device) for _ in range(group.blocks)]
        indices[group.name] = (block_orders[group.name][:, None] * length + torch.stack(inside)).reshape(-1).cpu()
    return Permutation(symmetry, indices)


def _select_in_rows(tensor: Tensor, index: Tensor) -> Tensor:
    """Reorder axis 1 of a grouped convolution's weight ``(out, m, ...)`` inside each block of rows.

    `index` ``(G * m,)`` permutes the input axis of the block-diagonal weight; the rows are already in their new place.
    """
    rows, length = tensor.shape[:2]
    blocks = len(index) // length
    local = (index % length).reshape(blocks, length).repeat_interleave(rows // blocks, dim=0)
    shape = (rows, length, *[1] * (tensor.ndim - 2))
    return tensor.gather(1, local.reshape(shape).expand(tensor.shape))
