from __future__ import annotations

from collections import UserDict
from types import SimpleNamespace

import numpy
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from weightscape.batches import as_batches, first_inputs
from weightscape.errors import DataError
from weightscape.symmetry.activations import match_activations
from weightscape.symmetry.discovery import discover
from weightscape.training.evaluation import evaluate
from weightscape.training.gradients import mean_gradient
from weightscape.weights.algebra import weights_of
from weightscape.weights.batch_norm import recalibrate

INPUTS = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(50) % 3


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(6, 5)
        self.norm = nn.BatchNorm1d(5)
        self.head = nn.Linear(5, 3)

    def forward(self, x):
        return self.head(self.norm(self.hidden(x)).relu())


class HuggingFace(Classifier):
    def forward(self, pixel_values, attention_mask=None, labels=None):
        assert labels is None
        return SimpleNamespace(logits=super().forward(pixel_values))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Classifier()


def parts(size=20):
    return list(zip(INPUTS.split(size), LABELS.split(size), strict=True))


FORMS = {
    "tuples": parts(),
    "lists": [list(part) for part in parts()],
    "loader": DataLoader(TensorDataset(INPUTS, LABELS), batch_size=20),
    "shuffled loader": DataLoader(TensorDataset(INPUTS, LABELS), batch_size=20, shuffle=True),
    "generator function": lambda: (part for part in parts()),
    "one-shot iterator": None,
    "images and labels": [{"image": x, "label": y} for x, y in parts()],
    "with an index": [{"label": y, "index": y, "image": x} for x, y in parts()],
    "mapping that is no dict": [UserDict(x=x, target=y) for x, y in parts()],
    "three members": [(x, y, y.float()) for x, y in parts()],
    "numpy": [(x.numpy(), y.numpy()) for x, y in parts()],
    "narrow labels": [(x, y.to(torch.uint8)) for x, y in parts()],
    "already": as_batches(parts()),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_same_batches_gives_the_same_evaluation(model, form):
    batches = FORMS[form] if FORMS[form] is not None else iter(parts())
    measured = evaluate(model, batches)
    model.eval()
    with torch.no_grad():
        logits = model(INPUTS)
    assert measured.count == 50
    assert measured.loss == pytest.approx(functional.cross_entropy(logits, LABELS).item(), rel=1e-5)
    assert measured.accuracy == (logits.argmax(1) == LABELS).double().mean().item()


def test_batches_of_hugging_face_and_their_outputs_are_understood(model):
    other = HuggingFace()
    other.load_state_dict(model.state_dict())
    mask = torch.ones(20)
    batches = [{"pixel_values": x, "attention_mask": mask[: len(x)], "labels": y} for x, y in parts()]
    assert evaluate(other, batches) == evaluate(model, parts())


def test_a_forward_and_a_loss_of_ones_own(model):
    batches = [{"left": x[:, :3], "right": x[:, 3:], "goal": x[:, :3] * 0} for x, _ in parts()]
    measured = evaluate(
        model,
        batches,
        forward=lambda network, batch: network(torch.cat([batch["left"], batch["right"]], dim=1)),
        loss=lambda outputs, batch: functional.mse_loss(outputs, batch["goal"]),
    )
    model.eval()
    assert measured.loss == pytest.approx(model(INPUTS).square().mean().item(), rel=1e-5)
    assert numpy.isnan(measured.accuracy)


def test_a_loss_may_give_one_value_per_sample(model):
    summed = evaluate(model, parts(), loss=lambda outputs, labels: functional.cross_entropy(outputs, labels))
    each = evaluate(model, parts(), loss=lambda out, labels: functional.cross_entropy(out, labels, reduction="none"))
    assert each.loss == pytest.approx(summed.loss, rel=1e-6)
    with pytest.raises(DataError, match=r"scalar or \(20,\) values"):
        evaluate(model, parts(), loss=lambda outputs, labels: outputs)


def test_a_batch_without_targets_is_its_own_target():
    autoencoder = nn.Linear(6, 6)
    measured = evaluate(autoencoder, INPUTS.split(20), loss=functional.mse_loss)
    assert measured.loss == pytest.approx((autoencoder(INPUTS) - INPUTS).square().mean().item(), rel=1e-5)


def test_the_gradient_of_dictionary_batches_is_that_of_tuples(model):
    weights = weights_of(model)
    plain = mean_gradient(model, weights, parts(25))
    named = mean_gradient(model, weights, [{"image": x, "label": y} for x, y in parts(25)])
    halved = mean_gradient(model, weights, parts(25), loss=lambda out, y: functional.cross_entropy(out, y) / 2)
    for name, tensor in plain.items():
        assert torch.equal(tensor, named[name])
        torch.testing.assert_close(halved[name], tensor / 2)


def test_activations_and_statistics_take_a_loader_of_dictionaries(model):
    loader = [{"image": x, "label": y} for x, y in parts()]
    symmetry = discover(model, INPUTS[:2])
    found = match_activations(symmetry, model, model, loader)
    assert found.permutation.moved() == 0
    assert found.permutation.verify(model, loader).largest_error < 1e-9
    other = Classifier()
    other.load_state_dict(model.state_dict())
    assert recalibrate(model, loader) == recalibrate(other, [x for x, _ in parts()]) == 3
    assert torch.equal(model.norm.running_var, other.norm.running_var)


def test_two_passes_over_a_one_shot_iterator_are_refused():
    with pytest.raises(DataError, match="generator can be read only once"):
        as_batches((part for part in parts()), passes="many")
    exhausted = iter(parts())
    given = as_batches(lambda: exhausted, passes="many")
    assert len(list(given)) == 3
    with pytest.raises(DataError, match="a second pass found none"):
        list(given)


def test_batches_that_were_taken_before_are_looked_at_anew_and_keep_their_functions(model):
    with pytest.raises(DataError, match="read only once"):
        as_batches(as_batches(part for part in parts()), passes="many")
    given = as_batches(parts(), loss=lambda outputs, labels: outputs.sum() * 0 + 7)
    assert evaluate(model, given).loss == 7
    assert evaluate(model, given, loss=lambda outputs, labels: outputs.sum() * 0 + 3).loss == 3


@pytest.mark.parametrize("kind", ["shuffle", "batch sampler", "own sampler", "random transform"])
def test_a_loader_that_changes_from_pass_to_pass_is_named_where_that_matters(kind):
    data = TensorDataset(INPUTS, LABELS)
    generator = numpy.random.default_rng(0)
    source = {
        "shuffle": DataLoader(data, batch_size=20, shuffle=True),
        "batch sampler": DataLoader(
            data, batch_sampler=torch.utils.data.BatchSampler(torch.utils.data.RandomSampler(data), 20, False)
        ),
        "own sampler": lambda: ((INPUTS[order], LABELS[order]) for order in generator.permutation(50).reshape(5, 10)),
        "random transform": lambda: ((x + torch.randn(x.shape), y) for x, y in parts()),
    }[kind]
    with pytest.raises(DataError, match=r"order of the batches matters.*shuffle=False.*list\(loader\)"):
        as_batches(source, passes="equal")
    assert len(list(as_batches(source, passes="many"))) == (5 if kind == "own sampler" else 3)


def test_looking_at_the_order_leaves_the_global_generator_alone():
    loader = DataLoader(TensorDataset(INPUTS, LABELS), batch_size=20)
    before = torch.get_rng_state()
    as_batches(loader, passes="equal")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("given", "remedy"),
    [
        (INPUTS, r"Write \[inputs\]"),
        ((INPUTS, LABELS), r"Write \[\(inputs, labels\)\]"),
        ({"image": INPUTS}, r"Write \[batch\]"),
        (TensorDataset(INPUTS, LABELS), "DataLoader"),
        (7, "received int"),
    ],
    ids=["tensor", "pair", "dictionary", "samples", "number"],
)
def test_what_is_no_batches_is_refused_with_the_remedy(given, remedy):
    with pytest.raises(DataError, match=remedy):
        as_batches(given)


def test_what_the_model_takes_must_be_clear(model):
    with pytest.raises(DataError, match=r"forward=lambda model, batch"):
        evaluate(model, [{"left": INPUTS, "right": INPUTS, "label": LABELS}])
    with pytest.raises(DataError, match="labels for the cross-entropy"):
        evaluate(model, [INPUTS])
    with pytest.raises(DataError, match="do not fit"):
        evaluate(model, [(INPUTS, torch.ones(50, 3, dtype=torch.int64))])
    with pytest.raises(DataError, match="received str"):
        evaluate(model, [(INPUTS, LABELS)], forward=lambda network, batch: "nothing")


def test_the_first_inputs_of_a_split_or_loader(model):
    (inputs,) = first_inputs(model, FORMS["loader"])
    assert torch.equal(inputs, INPUTS[:20])
    with pytest.raises(DataError, match="at least one batch"):
        first_inputs(model, [])
