from __future__ import annotations

import pytest
import torch

from tests.symmetry.matching_examples import (
    ALL,
    CONV,
    DEPTHWISE,
    GROUPED,
    MLP,
    ONE_GROUP,
    RESIDUAL,
    Example,
    naive_cost,
    true_objective,
)
from weightscape.errors import ModelError, SymmetryError
from weightscape.seeds import stream
from weightscape.symmetry._couplings import Coupling
from weightscape.symmetry.costs import PairCosts
from weightscape.symmetry.groups import Symmetry
from weightscape.symmetry.permutation import Permutation
from weightscape.weights.algebra import norm


def every(*examples: Example) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("example", examples, ids=lambda example: example.name)


def filled(example: Example, count: int) -> PairCosts:
    costs = PairCosts(example.symmetry)
    for target, source in example.pairs(count):
        costs.add(target, source)
    return costs


def shuffled(symmetry: Symmetry, seed: int = 0) -> Permutation:
    return symmetry.random(stream(seed, "match", "test"))


@every(*ALL)
def test_examples_are_symmetries_of_their_networks(example: Example) -> None:
    model, inputs = example.model(0).double(), example.inputs().double()
    permuted = shuffled(example.symmetry).apply(model.state_dict())
    outputs = torch.func.functional_call(model, permuted, (inputs,))
    torch.testing.assert_close(outputs, model(inputs))


@every(*[example for example in ALL if example is not DEPTHWISE])
@pytest.mark.parametrize("count", [1, 3])
def test_costs_equal_the_definition(example: Example, count: int) -> None:
    costs, pairs = filled(example, count), example.pairs(count)
    for seed in range(2):
        permutation = shuffled(example.symmetry, seed)
        for name in example.symmetry.names:
            expected = naive_cost(name, permutation, pairs)
            torch.testing.assert_close(costs.group_cost(name, permutation).double(), expected, rtol=1e-4, atol=1e-4)


@every(*ALL)
def test_the_objective_equals_the_definition(example: Example) -> None:
    costs, pairs = filled(example, 3), example.pairs(3)
    for permutation in (example.symmetry.identity(), shuffled(example.symmetry)):
        assert costs.objective(permutation) == pytest.approx(true_objective(permutation, pairs), rel=1e-5, abs=1e-4)
        everything = costs._value(example.symmetry.names, permutation.indices) + costs._constant
        assert everything == pytest.approx(costs.objective(permutation), rel=1e-5, abs=1e-4)


@every(*[example for example in ALL if example.name != "recurrent"])
def test_the_cost_of_a_group_gives_the_change_of_the_objective(example: Example) -> None:
    """Also for the block-diagonal weights of depthwise convolutions, where a group owns both axes."""
    costs, pairs = filled(example, 2), example.pairs(2)
    start = shuffled(example.symmetry)
    for group in example.symmetry:
        if group.linked:
            length = group.size // group.blocks
            index = start.indices[group.name].reshape(group.blocks, length).flip(1).reshape(-1)
        elif group.blocks > 1:
            index = start.indices[group.name].reshape(group.blocks, -1).flip(0).reshape(-1)
        else:
            index = start.indices[group.name].roll(1)
        moved = start.replace({group.name: index})
        cost = costs.group_cost(group.name, start)
        rows = torch.arange(group.size)
        change = cost[rows, index].sum() - cost[rows, start.indices[group.name]].sum()
        expected = true_objective(moved, pairs) - true_objective(start, pairs)
        assert float(change) == pytest.approx(expected, rel=1e-3, abs=1e-4)


@every(MLP, CONV, RESIDUAL, GROUPED)
def test_incremental_costs_equal_recomputed_ones(example: Example) -> None:
    """A walk of small changes, with pairs added on the way, against costs that never saw another permutation."""
    generator = stream(0, "match", "walk")
    walking, pairs = PairCosts(example.symmetry), example.pairs(5)
    permutation = example.symmetry.identity()
    for step in range(40):
        if step % 10 == 0:
            walking.add(*pairs[step // 10])
        group = example.symmetry.groups[step % len(example.symmetry)]
        index = permutation.indices[group.name].reshape(group.blocks, -1).clone()
        one, two = torch.randperm(index.shape[1], generator=generator)[:2].tolist()
        index[0, [one, two]] = index[0, [two, one]]
        permutation = permutation.replace({group.name: index.reshape(-1)})
        fresh = PairCosts(example.symmetry)
        for pair in pairs[: step // 10 + 1]:
            fresh.add(*pair)
        for name in example.symmetry.names:
            torch.testing.assert_close(
                walking.group_cost(name, permutation), fresh.group_cost(name, permutation), rtol=1e-4, atol=1e-4
            )


def test_only_what_changed_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for name in ("_add_products", "_exchanged"):
        original = getattr(Coupling, name)
        monkeypatch.setattr(
            Coupling, name, lambda self, *rest, _name=name, _run=original: (calls.append(_name), _run(self, *rest))[1]
        )
    costs, permutation = filled(MLP, 2), MLP.symmetry.identity()
    calls.clear()
    costs.group_cost("h0", permutation)
    assert calls == []  # the identity grows with the pairs
    index = permutation.indices["h1"].clone()
    index[[0, 1]] = index[[1, 0]]
    few = permutation.replace({"h1": index})
    costs.group_cost("h0", few)
    costs.group_cost("h0", few)
    assert calls == ["_exchanged"]
    costs._settle()
    costs.group_cost("h0", shuffled(MLP.symmetry))
    assert calls == ["_exchanged", "_add_products"]
    costs.group_cost("h0", few)  # the end of the last match is remembered
    costs.group_cost("h0", permutation)
    assert calls == ["_exchanged", "_add_products"]


def test_a_network_of_one_group_stores_no_pairs() -> None:
    costs = filled(ONE_GROUP, 5)
    assert not costs._couplings
    assert {name: cost.shape for name, cost in costs._linear.items()} == {"h0": (5, 5)}


def test_pairs_are_kept_in_few_stacks() -> None:
    costs = filled(MLP, 13)
    assert len(costs) == 13
    for coupling in costs._couplings:
        assert [target.shape[-2] for target, _ in coupling._stacks] == [8, 4, 1]


def test_pairs_are_copied_when_they_are_added() -> None:
    target, source = CONV.pairs(1)[0]
    costs = PairCosts(CONV.symmetry)
    costs.add(target, source)
    permutation = shuffled(CONV.symmetry)
    expected = naive_cost("a", permutation, CONV.pairs(1))
    for tensor in (*target.values(), *source.values()):
        tensor.zero_()
    torch.testing.assert_close(costs.group_cost("a", permutation).double(), expected, rtol=1e-4, atol=1e-4)


def test_a_returned_cost_belongs_to_the_caller() -> None:
    costs, permutation = filled(CONV, 2), shuffled(CONV.symmetry)
    first = costs.group_cost("b", permutation)
    kept = first.clone()
    first.zero_()
    assert torch.equal(costs.group_cost("b", permutation), kept)


def test_the_scale_bounds_the_objective() -> None:
    costs, pairs = filled(CONV, 1), CONV.pairs(1)
    assert costs.scale() == pytest.approx(norm(pairs[0][0]) * norm(pairs[0][1]))
    own = {"c1.weight", "c1.bias", "b1.weight", "b1.bias", "c2.weight"}
    sides = [norm({name: side[name] for name in own}) for side in pairs[0]]
    assert costs.scale("a") == pytest.approx(sides[0] * sides[1])


def test_neighbours_share_a_tensor() -> None:
    costs = filled(CONV, 1)
    assert [costs.neighbours(name) for name in ("a", "b", "f")] == [{"b"}, {"a", "f"}, {"b"}]


@pytest.mark.parametrize("side", ["target", "source"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused_by_name(side: str, value: float) -> None:
    target, source = MLP.pairs(1)[0]
    {"target": target, "source": source}[side]["layers.1.weight"][0, 0] = value
    costs = PairCosts(MLP.symmetry)
    with pytest.raises(SymmetryError, match=f"'layers.1.weight' of the {side}"):
        costs.add(target, source)
    assert len(costs) == 0


def test_products_beyond_the_range_of_float32_are_refused_by_name() -> None:
    target, source = MLP.pairs(1)[0]
    target["layers.1.weight"] *= 1e25
    source["layers.1.weight"] *= 1e25
    with pytest.raises(SymmetryError, match=r"'layers\.1\.weight'.*float32"):
        PairCosts(MLP.symmetry).add(target, source)


def test_pairs_of_other_networks_are_refused() -> None:
    costs = filled(MLP, 1)
    target, source = MLP.pairs(1)[0]
    with pytest.raises(ModelError, match=r"layers\.0\.bias"):
        costs.add(target, {name: tensor for name, tensor in source.items() if name != "layers.0.bias"})
    with pytest.raises(SymmetryError, match=r"layers\.0\.bias"):
        costs.add(*({name: side[name] for name in side if name != "layers.0.bias"} for side in (target, source)))
    with pytest.raises(SymmetryError, match="Discover"):
        PairCosts(MLP.symmetry).add(*({"layers.0.weight": torch.ones(3, 12)} for _ in range(2)))


def test_nothing_can_be_asked_before_the_first_pair() -> None:
    costs = PairCosts(MLP.symmetry)
    with pytest.raises(SymmetryError, match="at least one pair"):
        costs.group_cost("h0", MLP.symmetry.identity())
    with pytest.raises(SymmetryError, match="at least one pair"):
        costs.objective(MLP.symmetry.identity())
