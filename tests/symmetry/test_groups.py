from __future__ import annotations

import pytest
import torch

from weightscape.errors import SymmetryError
from weightscape.symmetry.groups import Axis, ExampleInput, Fixed, Group, Symmetry
from weightscape.symmetry.permutation import Permutation

SYMMETRY = Symmetry(
    groups=(
        Group("first", 4, (Axis("a.weight", 0), Axis("b.weight", 1, offset=2, repeat=3))),
        Group("second", 6, (Axis("b.weight", 0), Axis("c.weight", 1, grouped=3)), blocks=3, linked=("third",)),
        Group("third", 9, (Axis("c.weight", 0),), blocks=3, linked=("second",)),
    ),
    fixed=(Fixed("a.weight", 1, 5, "network input"),),
    inputs=(ExampleInput((2, 5), "float32"),),
)


def test_json_round_trip_keeps_everything() -> None:
    assert Symmetry.from_json(SYMMETRY.to_json()) == SYMMETRY


def test_the_table_has_one_row_per_axis_and_names_the_reason_of_fixed_ones() -> None:
    table = SYMMETRY.to_frame()
    assert len(table) == 5 + 1
    assert list(table[table.group == "first"].tensor) == ["a.weight", "b.weight"]
    fixed = table[table.group == ""].iloc[0]
    assert (fixed.tensor, fixed.axis, fixed["size"], fixed.reason) == ("a.weight", 1, 5, "network input")


def test_a_misspelt_group_is_answered_with_the_closest_name() -> None:
    with pytest.raises(SymmetryError, match=r"no permutation group 'frist'. Did you mean 'first'\?"):
        SYMMETRY.group("frist")


def test_identity_moves_nothing_and_random_moves_something() -> None:
    assert SYMMETRY.identity().moved() == 0
    drawn = SYMMETRY.random(torch.Generator().manual_seed(0))
    assert 0 < drawn.moved() <= 1


def test_random_draws_every_allowed_permutation_equally_often() -> None:
    blocks = Symmetry((Group("g", 4, (), blocks=2),))
    generator = torch.Generator().manual_seed(0)
    counts: dict[tuple[int, ...], int] = {}
    for _ in range(1600):
        drawn = tuple(blocks.random(generator)["g"].tolist())
        counts[drawn] = counts.get(drawn, 0) + 1
    assert len(counts) == 8  # 2 orders of blocks, 2 orders inside each
    assert all(120 < count < 290 for count in counts.values())  # 200 expected, standard deviation 13


def test_moved_units_are_counted_from_the_identity_or_from_another_permutation() -> None:
    symmetry = Symmetry((Group("hidden", 4, ()), Group("more", 6, ())))
    one = Permutation(symmetry, {"hidden": torch.tensor([1, 0, 2, 3])})
    two = Permutation(symmetry, {"hidden": torch.tensor([1, 2, 0, 3])})
    assert (one.moved(), two.moved(), two.moved(since=one), one.moved(since=one)) == (0.2, 0.3, 0.2, 0)
    assert Permutation(Symmetry(()), {}).moved() == 0


def test_axes_are_found_by_tensor_and_named_by_layer() -> None:
    found = {name: [(group.name, axis.axis) for group, axis in uses] for name, uses in SYMMETRY.by_tensor().items()}
    assert found == {
        "a.weight": [("first", 0)],
        "b.weight": [("first", 1), ("second", 0)],
        "c.weight": [("second", 1), ("third", 0)],
    }
    assert [axis.layer for axis in SYMMETRY.group("first").axes] == ["a", "b"]
    assert Axis("scale", 0).layer == ""
