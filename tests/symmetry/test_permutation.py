from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from weightscape.errors import StoreError, SymmetryError
from weightscape.symmetry.groups import Axis, Group, Symmetry
from weightscape.symmetry.permutation import Permutation
from weightscape.weights.algebra import Weights

SYMMETRY = Symmetry(
    (
        Group("plain", 4, (Axis("a", 0), Axis("bias", 0), Axis("b", 1, offset=1, repeat=2))),
        Group("inputs", 6, (Axis("b", 0), Axis("g", 1, grouped=3)), blocks=3, linked=("outputs",)),
        Group("outputs", 9, (Axis("g", 0), Axis("head", 1)), blocks=3, linked=("inputs",)),
        Group("inside", 2, (Axis("x", 0, offset=2), Axis("y", 1, offset=2, grouped=2))),
    )
)
SHAPES = {"a": (4, 3), "bias": (4,), "b": (6, 10), "g": (9, 2, 3), "head": (5, 9), "x": (4,), "y": (4, 2)}
seeds = st.integers(0, 10_000)


def drawn(seed: int) -> Permutation:
    return SYMMETRY.random(torch.Generator().manual_seed(seed))


def weights(seed: int = 0) -> Weights:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()} | {
        "count": torch.tensor(3),
        "other": torch.randn(7, generator=generator),
    }


def same(left: Weights, right: Weights) -> bool:
    return left.keys() == right.keys() and all(torch.equal(tensor, right[name]) for name, tensor in left.items())


def block_diagonal(weight: Tensor, groups: int) -> Tensor:
    """Return the dense weight ``(out, in)`` that a grouped 1x1 weight stands for."""
    return torch.block_diag(*weight.chunk(groups))


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_the_inverse_undoes(seed: int) -> None:
    permutation, start = drawn(seed), weights()
    assert same(permutation.inverse().apply(permutation.apply(start)), start)
    assert permutation.compose(permutation.inverse()) == SYMMETRY.identity()


@given(seeds, seeds, seeds)
@settings(max_examples=30, deadline=None)
def test_composition_acts_like_one_after_the_other_and_is_associative(first: int, second: int, third: int) -> None:
    p, q, r, start = drawn(first), drawn(second), drawn(third), weights()
    assert same(p.compose(q).apply(start), p.apply(q.apply(start)))
    assert p.compose(q).compose(r) == p.compose(q.compose(r))
    assert p.compose(SYMMETRY.identity()) == p


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_a_grouped_weight_moves_like_the_block_diagonal_weight_it_stands_for(seed: int) -> None:
    permutation, start = drawn(seed), weights()
    moved = permutation.apply(start)
    for position in range(3):
        dense = block_diagonal(start["g"][:, :, position], 3)
        expected = dense[permutation["outputs"]][:, permutation["inputs"]]
        assert torch.equal(block_diagonal(moved["g"][:, :, position], 3), expected)
    dense = block_diagonal(start["y"], 2)
    inside = torch.cat([torch.arange(2), 2 + permutation["inside"]])
    assert torch.equal(block_diagonal(moved["y"], 2), dense[:, inside])


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_the_action_is_linear_and_preserves_norms(seed: int) -> None:
    permutation, left, right = drawn(seed), weights(1), weights(2)
    total = permutation.apply({name: left[name] + right[name] for name in SHAPES})
    parts = permutation.apply(left), permutation.apply(right)
    for name, tensor in total.items():
        assert torch.equal(tensor, parts[0][name] + parts[1][name])
        assert torch.equal(tensor.flatten().sort().values, (left[name] + right[name]).flatten().sort().values)


def test_the_index_vector_indexes_the_source() -> None:
    permutation = Permutation(SYMMETRY, {"plain": torch.tensor([2, 0, 3, 1])})
    moved = permutation.apply({"bias": torch.tensor([10.0, 11, 12, 13]), "b": torch.arange(10.0).repeat(6, 1)})
    assert moved["bias"].tolist() == [12, 10, 13, 11]
    assert moved["b"][0].tolist() == [0, 5, 6, 1, 2, 7, 8, 3, 4, 9]  # pairs from position 1 on; 0 and 9 stay


def test_missing_tensors_are_skipped_and_untouched_ones_are_not_copied() -> None:
    permutation, start = drawn(1), weights()
    moved = permutation.apply({"a": start["a"], "other": start["other"]})
    assert set(moved) == {"a", "other"}
    assert moved["other"] is start["other"]
    assert torch.equal(moved["a"], start["a"][permutation["plain"]])


def test_the_arguments_are_never_changed() -> None:
    index = torch.tensor([1, 0, 2, 3])
    permutation, start = Permutation(SYMMETRY, {"plain": index}), weights()
    before = {name: tensor.clone() for name, tensor in start.items()}
    permutation.apply(start)
    index[0] = 3
    assert same(start, before)
    assert permutation["plain"].tolist() == [1, 0, 2, 3]


def test_moved_is_the_share_of_units_that_changed_place() -> None:
    assert Permutation(SYMMETRY, {"plain": torch.tensor([1, 0, 2, 3])}).moved() == pytest.approx(2 / 21)
    assert Permutation(Symmetry(()), {}).moved() == 0


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ([0, 1, 2], r"permutation of 0 to 3, received a vector of shape \(3,\)"),
        ([0, 1, 1, 3], "in which 1 occurs more than once"),
        ([0, 1, 2, 4], "permutation of 0 to 3"),
    ],
)
def test_what_is_not_a_permutation_is_refused(index: list[int], message: str) -> None:
    with pytest.raises(SymmetryError, match=message):
        Permutation(SYMMETRY, {"plain": torch.tensor(index)})


def test_what_breaks_blocks_or_links_is_refused() -> None:
    with pytest.raises(SymmetryError, match="3 blocks of 2 units as wholes"):
        Permutation(SYMMETRY, {"inputs": torch.tensor([0, 2, 1, 3, 4, 5])})
    with pytest.raises(SymmetryError, match="'inputs' and 'outputs' are linked"):
        Permutation(SYMMETRY, {"inputs": torch.tensor([2, 3, 0, 1, 4, 5])})


def test_an_unknown_group_is_refused() -> None:
    with pytest.raises(SymmetryError, match="Did you mean 'plain'"):
        Permutation(SYMMETRY, {"plein": torch.arange(4)})


def test_weights_of_another_architecture_are_refused() -> None:
    with pytest.raises(SymmetryError, match=r"a\[axis 0\], but that tensor has the shape \(3, 3\)"):
        drawn(0).apply({"a": torch.zeros(3, 3)})


def test_permutations_of_different_groups_do_not_compose() -> None:
    other = Symmetry((Group("plain", 4, (Axis("a", 0),)),))
    with pytest.raises(SymmetryError, match="same groups"):
        drawn(0).compose(other.identity())


def test_save_and_load_return_the_same_permutation(tmp_path: Path) -> None:
    permutation = drawn(5)
    permutation.save(tmp_path / "p.safetensors")
    loaded = Permutation.load(tmp_path / "p.safetensors")
    assert loaded == permutation
    assert loaded.symmetry == permutation.symmetry


def test_other_files_are_not_taken_for_permutations(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be read"):
        Permutation.load(tmp_path / "absent.safetensors")
    save_file({"w": torch.zeros(2)}, tmp_path / "weights.safetensors")
    with pytest.raises(StoreError, match="not the groups of a permutation"):
        Permutation.load(tmp_path / "weights.safetensors")


def test_the_table_has_one_row_per_unit() -> None:
    table = drawn(3).to_frame()
    assert len(table) == 21
    assert table[table.group == "plain"].source.tolist() == drawn(3)["plain"].tolist()
