from __future__ import annotations

import itertools

import pytest
import torch

from tests.symmetry.matching_examples import (
    ALL,
    CONV,
    DEPTHWISE,
    GROUP_NORMED,
    GROUPED,
    MLP,
    ONE_GROUP,
    RECURRENT,
    RESIDUAL,
    Example,
    Pairs,
    plain_descent,
    true_objective,
)
from weightscape.errors import SymmetryError
from weightscape.models.building import build_model
from weightscape.seeds import stream
from weightscape.symmetry import _descent
from weightscape.symmetry.costs import PairCosts
from weightscape.symmetry.discovery import discover
from weightscape.symmetry.groups import Group, Symmetry
from weightscape.symmetry.matching import MatchResult, match_pairs, match_weights
from weightscape.symmetry.permutation import Permutation
from weightscape.weights.algebra import Weights, norm, scale, subtract, weights_of


def every(*examples: Example) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("example", examples, ids=lambda example: example.name)


def collected(symmetry: Symmetry, pairs: Pairs) -> PairCosts:
    costs = PairCosts(symmetry)
    for target, source in pairs:
        costs.add(target, source)
    return costs


def matched(symmetry: Symmetry, pairs: Pairs, **options: float) -> MatchResult:
    return match_pairs(collected(symmetry, pairs), **options)  # type: ignore[arg-type]


def drawn(symmetry: Symmetry, seed: int = 0) -> Permutation:
    return symmetry.random(stream(seed, "match", "planted"))


def noisy(weights: Weights, amount: float, seed: int) -> Weights:
    generator = stream(seed, "match", "noise")
    return {
        name: tensor + amount * tensor.std(correction=0) * torch.randn(tensor.shape, generator=generator)
        for name, tensor in weights.items()
    }


def allowed_orders(group: Group) -> list[torch.Tensor]:
    length = group.size // group.blocks
    inside = list(itertools.permutations(range(length)))
    return [
        torch.tensor([block * length + unit for block, order in zip(outer, inner, strict=True) for unit in order])
        for outer in itertools.permutations(range(group.blocks))
        for inner in itertools.product(inside, repeat=group.blocks)
    ]


@every(ONE_GROUP, GROUP_NORMED)
@pytest.mark.parametrize("seed", range(2))
def test_one_group_is_solved_to_the_optimum(example: Example, seed: int) -> None:
    """Against all permutations, and against all that move blocks as wholes."""
    pairs = example.pairs(2, seed=10 * seed)
    (group,) = example.symmetry.groups
    best = max(
        true_objective(Permutation(example.symmetry, {group.name: order}), pairs) for order in allowed_orders(group)
    )
    result = matched(example.symmetry, pairs)
    assert result.objective == pytest.approx(best, rel=1e-5)
    assert result.objective == pytest.approx(true_objective(result.permutation, pairs), rel=1e-5)
    assert result.solves == 1
    assert result.sweeps == 1
    assert result.converged


@every(*ALL)
def test_a_permuted_copy_is_found_again(example: Example) -> None:
    """The objective is at least that of the planted permutation, and the function is the same."""
    model, inputs = example.model(0), example.inputs()
    source = weights_of(model)
    planted = drawn(example.symmetry)
    target = planted.apply(source)
    result = match_weights(example.symmetry, source, target)
    pairs = [
        ({name: target[name] for name in model_parameters(model)}, {n: source[n] for n in model_parameters(model)})
    ]
    if example is RECURRENT:  # a group that meets itself is a quadratic problem: no method finds every optimum
        assert result.objective >= result.objective_before
    else:
        assert result.objective >= true_objective(planted, pairs) * (1 - 1e-5)
        moved = torch.func.functional_call(model, result.permutation.apply(source), (inputs,))
        torch.testing.assert_close(moved, torch.func.functional_call(model, target, (inputs,)), rtol=1e-4, atol=1e-4)
        assert result.cosine == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", ["conv4", "resnet18"])
def test_a_permuted_copy_of_a_bundled_network_is_found_again(name: str) -> None:
    model = build_model({"name": name, "width": 0.125}, shape=(3, 32, 32), classes=10, seed=0)
    symmetry = discover(model, torch.zeros(2, 3, 32, 32))
    source = weights_of(model)
    result = match_weights(symmetry, source, drawn(symmetry).apply(source))
    assert result.cosine == pytest.approx(1, abs=1e-5)
    assert result.converged


def model_parameters(model: torch.nn.Module) -> list[str]:
    return [name for name, _ in model.named_parameters()]


@every(MLP, CONV, RESIDUAL, DEPTHWISE)
def test_the_distance_of_an_exactly_permuted_pair_is_zero(example: Example) -> None:
    """The published "matching loss" permutes the target instead of the source and reports 10.4 here, not 0."""
    source = example.weights(1)
    draws = (drawn(example.symmetry, seed) for seed in itertools.count(3))
    planted = next(one for one in draws if one != one.inverse())  # both sides agree on an involution
    result = matched(example.symmetry, [(planted.apply(source), source)])
    assert result.squared_distance <= 1e-5 * norm(source) ** 2
    wrong_side = norm(subtract(source, result.permutation.apply(planted.apply(source)))) ** 2
    assert wrong_side > 0.1 * norm(source) ** 2


@every(MLP, CONV, RESIDUAL)
def test_noisy_copies_are_recovered_no_worse_than_by_plain_descent(example: Example) -> None:
    for seed, amount in enumerate([0.0, 0.1, 0.3, 0.6, 1.0, 2.0]):
        source, planted = example.weights(seed), drawn(example.symmetry, seed)
        pairs = [(noisy(planted.apply(source), amount, seed), source)]
        result = matched(example.symmetry, pairs, seed=seed)
        plain = plain_descent(example.symmetry, pairs, seed=seed)
        room = norm(pairs[0][0]) * norm(pairs[0][1])
        assert result.objective >= true_objective(plain, pairs) - 1e-6 * room
        if amount < 0.5:
            assert result.objective >= true_objective(planted, pairs) - 1e-6 * room
            assert result.permutation == planted


@every(*ALL)
@pytest.mark.parametrize("seed", range(3))
def test_the_objective_never_falls_and_the_end_is_a_fixed_point(
    example: Example, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs, start = example.pairs(3, seed=100 * seed), drawn(example.symmetry, seed)
    values = [true_objective(start, pairs)]
    visit = _descent.Descent.visit

    def watched(self: _descent.Descent, number: int) -> None:
        visit(self, number)
        values.append(true_objective(Permutation(example.symmetry, self.indices), pairs))

    monkeypatch.setattr(_descent.Descent, "visit", watched)
    costs = collected(example.symmetry, pairs)
    result = match_pairs(costs, start=start, seed=seed)
    room = costs.scale()
    assert all(later >= earlier - 1e-6 * room for earlier, later in itertools.pairwise(values))
    assert result.objective_before == pytest.approx(values[0], abs=1e-6 * room)
    assert result.objective == pytest.approx(values[-1], abs=1e-6 * room)
    assert result.converged
    again = match_pairs(costs, start=result.permutation, seed=seed + 1)
    assert again.permutation == result.permutation
    assert again.sweeps == 1


def test_linked_groups_come_close_to_the_optimum_of_all_allowed_permutations() -> None:
    """Two linked groups alone, brute force over both: alternation is a local search in a bilinear problem."""
    pairs = [
        tuple({name: tensor for name, tensor in side.items() if name.startswith(("c1.", "c2."))} for side in pair)
        for pair in GROUPED.pairs(1)
    ]
    first, second, _ = GROUPED.symmetry.groups
    by_blocks: dict[tuple[int, ...], tuple[list[torch.Tensor], list[torch.Tensor]]] = {}
    for number, group in enumerate((first, second)):
        for order in allowed_orders(group):
            key = tuple((order.reshape(4, -1)[:, 0] // (group.size // 4)).tolist())
            by_blocks.setdefault(key, ([], []))[number].append(order)
    result = matched(GROUPED.symmetry, pairs)
    costs = collected(GROUPED.symmetry, pairs)
    best = -float("inf")
    for ones, twos in by_blocks.values():
        for one in ones:
            # With the inputs and the blocks fixed, the rows are solved exactly, block by block.
            base = GROUPED.symmetry.identity().replace({"a": one, "b": twos[0]})
            tiles = costs.group_cost("b", base).reshape(4, 3, 4, 3)
            rest = costs.objective(base) - trace(costs.group_cost("b", base), twos[0])
            value = rest
            for block, source in enumerate((one.reshape(4, -1)[:, 0] // 2).tolist()):
                tile = tiles[block, :, source]
                value += max(float(tile[range(3), list(order)].sum()) for order in itertools.permutations(range(3)))
            best = max(best, value)
    assert result.objective <= best + 1e-5 * costs.scale()
    assert result.objective >= result.objective_before + 0.8 * (best - result.objective_before)


def trace(cost: torch.Tensor, index: torch.Tensor) -> float:
    return float(cost[torch.arange(len(index)), index].sum())


def test_a_planted_permutation_of_linked_blocks_is_found_under_noise() -> None:
    for seed in range(4):
        source, planted = GROUPED.weights(seed), drawn(GROUPED.symmetry, seed)
        result = matched(GROUPED.symmetry, [(noisy(planted.apply(source), 0.2, seed), source)], seed=seed)
        assert result.permutation == planted


@every(MLP, CONV, RESIDUAL, GROUPED)
def test_gradients_of_any_size_are_matched_alike(example: Example) -> None:
    """Scaling a side changes nothing; an absolute threshold of 1e-7, as published, stops at once (spec. of defects)."""
    pairs = example.pairs(2)
    small = [(scale(target, 1e-9 / norm(target)), scale(source, 1e-9 / norm(source))) for target, source in pairs]
    ordinary = [(scale(target, 1 / norm(target)), scale(source, 1 / norm(source))) for target, source in pairs]
    result, reference = matched(example.symmetry, small), matched(example.symmetry, ordinary)
    assert result.permutation.moved() > 0.5
    assert result.relative_gain == pytest.approx(reference.relative_gain, rel=1e-4)
    assert result.sweeps == reference.sweeps
    assert result.objective * 1e18 == pytest.approx(reference.objective, rel=1e-4)
    if example is not GROUPED:
        absolute = plain_descent(example.symmetry, small, epsilon=1e-7)
        assert absolute == example.symmetry.identity()


def test_a_layer_with_small_gradients_counts_beside_one_with_large_ones() -> None:
    """A gain is compared with the norms of the tensors of its own group."""
    example = CONV
    pairs = [
        tuple({name: t * (1e-6 if name[0] in "cb" else 1.0) for name, t in side.items()} for side in pair)
        for pair in example.pairs(1)
    ]
    result = matched(example.symmetry, pairs)
    optimal = plain_descent(example.symmetry, pairs)
    assert result.permutation.moved() > 0.5
    assert (result.permutation["a"] != torch.arange(12)).double().mean() > 0.5
    assert result.objective == pytest.approx(true_objective(optimal, pairs), rel=1e-4)


def test_a_group_is_solved_again_only_after_a_neighbour_moved() -> None:
    solved: list[str] = []
    moved_at: list[set[str]] = []
    example = mlp_of_four()
    costs = collected(example.symmetry, example.pairs(2))
    search = _descent.Descent(costs, dict(example.symmetry.identity().indices), 1e-7)
    for _ in range(20):
        for number, unit in enumerate(search.units):
            name = unit[0].name
            before = search.indices[name]
            if number in search.waiting:
                previous = max((k for k, each in enumerate(solved) if each == name), default=-1)
                since = set().union(*moved_at[previous + 1 :]) if previous >= 0 else costs.neighbours(name)
                assert since & costs.neighbours(name)
                search.visit(number)
                solved.append(name)
                moved_at.append({name} if not torch.equal(before, search.indices[name]) else set())
    assert not search.waiting
    assert search.solves == len(solved) < 20 * 4


def mlp_of_four() -> Example:
    from tests.symmetry.matching_examples import mlp

    return mlp(6, 9, 8, 9, 8, 3)


def test_dead_units_stay_in_place() -> None:
    """Ties are no gain: rows of zeros must not be shuffled, and the objective is what counts."""
    target, source = MLP.pairs(1)[0]
    for side in (target, source):
        for name in ("layers.0.weight", "layers.0.bias"):
            side[name] = side[name] * 0
        side["layers.1.weight"] = side["layers.1.weight"] * 0
    result = matched(MLP.symmetry, [(target, source)])
    assert torch.equal(result.permutation["h0"], torch.arange(16))
    assert result.objective == pytest.approx(
        true_objective(plain_descent(MLP.symmetry, [(target, source)]), [(target, source)]), rel=1e-5
    )


def test_zero_gradients_leave_everything_in_place() -> None:
    nothing = scale(MLP.weights(0), 0.0)
    result = matched(MLP.symmetry, [(nothing, nothing)])
    assert result.permutation == MLP.symmetry.identity()
    assert (result.objective, result.relative_gain, result.cosine, result.squared_distance) == (0, 0, 0, 0)
    assert result.converged


@every(MLP, CONV, GROUPED)
def test_equal_seeds_give_equal_bits(example: Example) -> None:
    pairs = example.pairs(3)
    first, second = (matched(example.symmetry, pairs, seed=5) for _ in range(2))
    assert first.permutation == second.permutation
    assert (first.objective, first.sweeps, first.solves) == (second.objective, second.sweeps, second.solves)


def test_the_seed_decides_the_order_of_the_groups() -> None:
    example = mlp_of_four()
    found = [matched(example.symmetry, example.pairs(2), seed=seed).objective for seed in range(8)]
    assert len({round(value, 4) for value in found}) > 1


def test_matching_changes_neither_the_start_nor_the_pairs() -> None:
    """The published code writes into the permutation it is started from."""
    pairs, start = CONV.pairs(2), drawn(CONV.symmetry, 7)
    kept_start = {name: index.clone() for name, index in start.indices.items()}
    kept_pairs = [tuple({name: t.clone() for name, t in side.items()} for side in pair) for pair in pairs]
    costs = collected(CONV.symmetry, pairs)
    before = costs.objective(start)
    result = match_pairs(costs, start=start)
    assert result.permutation != start
    assert all(torch.equal(start.indices[name], index) for name, index in kept_start.items())
    assert all(
        torch.equal(side[name], tensor)
        for pair, kept in zip(pairs, kept_pairs, strict=True)
        for side, kept_side in zip(pair, kept, strict=True)
        for name, tensor in kept_side.items()
    )
    assert len(costs) == 2
    assert costs.objective(start) == pytest.approx(before, rel=1e-6)


def test_growing_pairs_give_the_same_match_as_all_pairs_at_once() -> None:
    """The list of pairs that fast gradient matching extends from step to step."""
    pairs = RESIDUAL.pairs(6)
    growing = PairCosts(RESIDUAL.symmetry)
    for count, (target, source) in enumerate(pairs, start=1):
        growing.add(target, source)
        grown = match_pairs(growing)
        fresh = matched(RESIDUAL.symmetry, pairs[:count])
        assert grown.pairs == count
        assert grown.permutation == fresh.permutation
        assert grown.objective == pytest.approx(fresh.objective, rel=1e-5)


def test_sweeps_can_be_limited() -> None:
    example = mlp_of_four()
    result = matched(example.symmetry, example.pairs(2), max_sweeps=1)
    assert result.sweeps == 1
    assert not result.converged
    full = matched(example.symmetry, example.pairs(2))
    assert full.converged
    assert full.objective >= result.objective


def test_running_statistics_do_not_count_unless_asked_for() -> None:
    model, other = RESIDUAL.model(0), RESIDUAL.model(1)
    source, target = weights_of(model), weights_of(other)
    result = match_weights(RESIDUAL.symmetry, source, target)
    assert result.objective == pytest.approx(
        matched(RESIDUAL.symmetry, [(RESIDUAL.weights(1), RESIDUAL.weights(0))]).objective
    )
    everything = match_weights(RESIDUAL.symmetry, source, target, parameters=list(source))
    assert everything.objective > result.objective
    with pytest.raises(SymmetryError, match="nowhere"):
        match_weights(RESIDUAL.symmetry, source, target, parameters=["nowhere"])


def test_misuse_is_refused() -> None:
    with pytest.raises(SymmetryError, match="at least one pair"):
        match_pairs(PairCosts(MLP.symmetry))
    with pytest.raises(SymmetryError, match="Discover the symmetry once"):
        matched(MLP.symmetry, MLP.pairs(1), start=CONV.symmetry.identity())  # type: ignore[arg-type]
    with pytest.raises(SymmetryError):
        match_weights(MLP.symmetry, MLP.weights(0), CONV.weights(0))


def test_a_network_without_groups_matches_itself() -> None:
    result = matched(Symmetry(()), MLP.pairs(1))
    assert (result.solves, result.moved, result.converged) == (0, 0, True)
    assert result.objective == pytest.approx(true_objective(result.permutation, MLP.pairs(1)), rel=1e-5)


def test_the_result_is_a_table_of_one_row() -> None:
    row = matched(MLP.symmetry, MLP.pairs(1)).to_frame().iloc[0]
    assert row["objective"] >= row["objective_before"]
    assert 0 < row["moved"] <= 1
