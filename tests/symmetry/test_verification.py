from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from weightscape.errors import SymmetryError
from weightscape.symmetry.discovery import discover
from weightscape.symmetry.groups import Axis, Symmetry
from weightscape.symmetry.verification import verify_symmetry
from weightscape.weights.algebra import weights_of

from .discovery_examples import VECTORS, Net, flattened, grouped, layer_norm

EXAMPLE = torch.zeros(2, 3, 6, 6)


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(24, 3)
    )


def with_axes(symmetry: Symmetry, name: str, axes: tuple[Axis, ...]) -> Symmetry:
    groups = tuple(dataclasses.replace(group, axes=axes) if group.name == name else group for group in symmetry.groups)
    return dataclasses.replace(symmetry, groups=groups)


AXES = [(group.name, axis) for group in discover(network(), EXAMPLE) for axis in group.axes]


@pytest.mark.parametrize(("name", "left_out"), AXES, ids=[str(axis) for _, axis in AXES])
def test_a_missing_axis_is_named(name: str, left_out: Axis) -> None:
    model = network()
    symmetry = discover(model, EXAMPLE)
    axes = tuple(axis for axis in symmetry.group(name).axes if axis != left_out)
    with pytest.raises(SymmetryError) as caught:
        verify_symmetry(model, with_axes(symmetry, name, axes))
    assert f"The group {name!r} changes the network's outputs" in str(caught.value)
    assert f"Look first at {left_out}: the group does not list it" in str(caught.value)


def test_an_axis_too_many_is_named() -> None:
    model = network()
    symmetry = discover(model, EXAMPLE)
    stray = Axis("3.weight", 0)
    with pytest.raises(SymmetryError, match=r"group '0'.*3\.weight\[axis 0\]: the group lists it, but should not"):
        verify_symmetry(model, with_axes(symmetry, "0", (*symmetry.group("0").axes, stray)))


def test_a_wrong_layout_is_named() -> None:
    model = network()
    symmetry = discover(model, EXAMPLE)
    wrong = tuple(
        dataclasses.replace(axis, repeat=1) if axis.repeat == 4 else axis for axis in symmetry.group("3").axes
    )
    with pytest.raises(SymmetryError, match=r"group '3' changes.*6\.weight\[axis 1\]: .* 4 per unit"):
        verify_symmetry(model, with_axes(symmetry, "3", wrong))


def test_a_mistake_that_initial_weights_hide_is_found_at_the_generic_point() -> None:
    model = network()
    symmetry = discover(model, EXAMPLE)
    axes = tuple(axis for axis in symmetry.group("0").axes if "running_mean" not in axis.tensor)
    hidden = with_axes(symmetry, "0", axes)
    permutation = hidden.random(torch.Generator().manual_seed(1))
    model.eval()
    data = torch.randn(2, 3, 6, 6)
    before = model(data)
    model.load_state_dict(permutation.apply(weights_of(model)))
    torch.testing.assert_close(model(data), before)  # all running means are 0
    with pytest.raises(SymmetryError, match=r"Look first at 1\.running_mean\[axis 0\]"):
        permutation.verify(model)


def test_a_permutation_is_verified_at_both_points_and_the_model_is_left_alone() -> None:
    model = network()
    before = weights_of(model)
    permutation = discover(model, EXAMPLE).random(torch.Generator().manual_seed(0))
    evidence = permutation.verify(model)
    assert evidence.checks.point.tolist() == ["own weights", "generic"]
    assert evidence.largest_error < 1e-12
    assert permutation.verify(model, torch.randn(3, 3, 6, 6)).largest_error < 1e-12
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_permutation_at_fault_names_its_group() -> None:
    model = network()
    symmetry = discover(model, EXAMPLE)
    wrong = with_axes(symmetry, "3", symmetry.group("3").axes[:-1])
    with pytest.raises(SymmetryError, match="The group '3' changes"):
        wrong.random(torch.Generator().manual_seed(0)).verify(model)


def test_the_evidence_reports_error_and_power_per_group() -> None:
    model = network()
    symmetry = discover(model, EXAMPLE)
    evidence = verify_symmetry(model, symmetry)
    assert evidence.groups == 2
    assert evidence.checks.group.tolist() == ["0", "3"]
    assert evidence.largest_error < 1e-12 < 1e-3 < evidence.smallest_effect


def test_the_proof_does_not_touch_the_global_generator() -> None:
    model = layer_norm()
    state = torch.get_rng_state()
    verify_symmetry(model, discover(model, VECTORS))
    assert torch.equal(torch.get_rng_state(), state)


def test_unequal_block_moves_of_linked_groups_break_the_function() -> None:
    """The links are needed: without them the proof fails."""
    model = grouped()
    symmetry = discover(model, EXAMPLE)
    unlinked = tuple(dataclasses.replace(group, linked=()) for group in symmetry.groups)
    with pytest.raises(SymmetryError, match="changes the network's outputs"):
        verify_symmetry(model, dataclasses.replace(symmetry, groups=unlinked))


def test_inner_moves_across_blocks_break_the_function() -> None:
    """The blocks are needed: without them the proof fails."""
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(4, 8), nn.ReLU(), nn.Flatten(), nn.Linear(128, 2))
    symmetry = discover(model, EXAMPLE)
    loose = tuple(dataclasses.replace(group, blocks=1) for group in symmetry.groups)
    with pytest.raises(SymmetryError, match="The group '0' changes"):
        verify_symmetry(model, dataclasses.replace(symmetry, groups=loose))


def test_without_inputs_or_their_shape_nothing_can_be_proved() -> None:
    symmetry = dataclasses.replace(discover(flattened(), EXAMPLE), inputs=())
    with pytest.raises(SymmetryError, match="does not record the shape"):
        verify_symmetry(flattened(), symmetry)
    assert verify_symmetry(flattened(), symmetry, torch.randn(2, 3, 6, 6)).largest_error < 1e-12


def test_random_networks_cannot_be_proved() -> None:
    model = Net(lambda net, x: net.head(x) + torch.rand(2, 3, dtype=x.dtype), head=nn.Linear(5, 3))
    with pytest.raises(SymmetryError, match="Two calls of the network on the same inputs gave different outputs"):
        verify_symmetry(model, discover(layer_norm(), VECTORS), torch.zeros(2, 5))
