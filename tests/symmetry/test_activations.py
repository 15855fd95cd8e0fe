from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests.symmetry.matching_examples import ALL, CONV, GROUPED, MLP, RESIDUAL, Example
from weightscape.errors import SymmetryError
from weightscape.seeds import stream
from weightscape.symmetry.activations import Similarity, _Moments, match_activations
from weightscape.symmetry.groups import Symmetry
from weightscape.weights.algebra import weights_of


def every(*examples: Example) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("example", examples, ids=lambda example: example.name)


def batches(example: Example, count: int = 3) -> list[Tensor]:
    generator = stream(0, "order", "activations")
    return [torch.randn(16, *example.shape, generator=generator) for _ in range(count)]


def permuted(model: nn.Module, example: Example, seed: int = 0) -> tuple[nn.Module, dict[str, Tensor]]:
    planted = example.symmetry.random(stream(seed, "match", "planted"))
    copy = example.model(0)
    copy.load_state_dict(planted.apply(weights_of(model)))
    return copy, planted.indices


@every(*ALL)
@pytest.mark.parametrize("similarity", ["correlation", "inner-product"])
def test_a_permuted_copy_is_found_again(example: Example, similarity: Similarity) -> None:
    source = example.model(0)
    target, planted = permuted(source, example)
    result = match_activations(example.symmetry, source, target, batches(example), similarity=similarity)
    moved = torch.func.functional_call(source, result.permutation.apply(weights_of(source)), (example.inputs(),))
    if similarity == "correlation":
        assert all(torch.equal(result.permutation[name], index) for name, index in planted.items())
        assert result.cosine == pytest.approx(1, abs=1e-5)
        assert result.squared_distance == pytest.approx(0, abs=1e-3)
        torch.testing.assert_close(moved, target(example.inputs()), rtol=1e-4, atol=1e-4)
    else:  # a unit may respond more strongly than the true one
        assert result.objective >= result.objective_before


@pytest.mark.parametrize("similarity", ["correlation", "inner-product"])
def test_streamed_moments_equal_those_of_all_samples(similarity: Similarity) -> None:
    generator = stream(0, "order", "moments")
    one, two = (torch.randn(4, 90, generator=generator) * 3 + 100 for _ in range(2))
    one[2] = 7.25  # a dead unit
    moments = _Moments(centred=similarity == "correlation")
    for part in range(3):
        moments.add(one[:, 30 * part : 30 * part + 30], two[:, 30 * part : 30 * part + 30])
    if similarity == "correlation":
        expected = torch.corrcoef(torch.cat([one, two]).double())[:4, 4:].nan_to_num(0.0)
        assert moments.energies() == (3, 4)
    else:
        expected = one.double() @ two.double().T / 90
    torch.testing.assert_close(moments.similarity(), expected, rtol=1e-4, atol=1e-4)


def test_scaling_a_unit_does_not_change_its_correlation() -> None:
    """A ReLU network can move a factor from the input to the output weights of a unit; correlations do not see it."""
    source = MLP.model(0)
    target, planted = permuted(source, MLP)
    with torch.no_grad():
        target.layers[0].weight[3] *= 50
        target.layers[0].bias[3] *= 50
        target.layers[1].weight[:, 3] /= 50
    result = match_activations(MLP.symmetry, source, target, batches(MLP))
    assert all(torch.equal(result.permutation[name], index) for name, index in planted.items())


@pytest.mark.parametrize("training", [False, True])
def test_the_models_are_left_as_they_were(training: bool) -> None:
    source, target = RESIDUAL.model(0), RESIDUAL.model(1)
    source.train(training)
    source.b1.eval()
    kept = weights_of(source)
    match_activations(RESIDUAL.symmetry, source, target, batches(RESIDUAL))
    assert (source.training, source.b1.training, source.c1.training) == (training, False, training)
    assert all(torch.equal(tensor, kept[name]) for name, tensor in source.state_dict().items())
    assert not any(module._forward_hooks for module in source.modules())


def test_hooks_and_modes_are_restored_after_an_error() -> None:
    source, target = CONV.model(0).train(), CONV.model(1).train()
    with pytest.raises(RuntimeError):
        match_activations(CONV.symmetry, source, target, [torch.randn(2, 5, 4, 4)])
    for model in (source, target):
        assert model.training
        assert not any(module._forward_hooks for module in model.modules())


def test_batches_may_carry_labels_and_one_network_may_be_both_sides() -> None:
    model = GROUPED.model(0)
    labelled = [(batch, torch.zeros(16)) for batch in batches(GROUPED)]
    result = match_activations(GROUPED.symmetry, model, model, iter(labelled))
    assert result.pairs == 3
    assert result.permutation == GROUPED.symmetry.identity()


def test_missing_batches_and_layers_are_refused() -> None:
    model = MLP.model(0)
    with pytest.raises(SymmetryError, match="at least one batch"):
        match_activations(MLP.symmetry, model, model, [])
    group = MLP.symmetry.groups[0]
    late = Symmetry((type(group)("late", 16, group.axes[2:]),))
    with pytest.raises(SymmetryError, match="'late'"):
        match_activations(late, model, model, batches(MLP))
