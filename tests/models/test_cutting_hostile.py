"""Cuts of networks that write over their activations, use functions, return dictionaries, or cannot be traced."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import pytest
import torch
from tests.models.cuts import check_cut, generic
from torch import Tensor, nn
from torch.nn import functional

from weightscape.errors import ModelError
from weightscape.models.cutting import back_of, front_of
from weightscape.training.layout import private_copy

IMAGES = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class PublishedBlock(nn.Module):
    """The residual block of the published ResNet20: one ReLU, in place, called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(4)
        self.add = nn.Module()
        self.add.forward = lambda left, right: left + right

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(inputs)))))
        return self.relu(self.add(hidden, inputs))


def published_like() -> nn.Module:
    """A stem and two blocks that work in place, as the networks of arXiv 2110.14633."""
    model = nn.Sequential()
    for name, module in {
        "conv1": nn.Conv2d(3, 4, 3),
        "bn1": nn.BatchNorm2d(4),
        "relu": nn.ReLU(inplace=True),
        "layer1": nn.Sequential(PublishedBlock(), PublishedBlock()),
        "pool": nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten(),
        "fc": nn.Linear(4, 6),
    }.items():
        model.add_module(name, module)
    return generic(model)


@pytest.mark.parametrize(
    "layer",
    [
        "bn1",
        "relu",
        "relu:input",
        "layer1.0.add",
        "layer1.0.bn1",
        "layer1.0.relu#1",
        "layer1.0.relu#2",
        "layer1.0.relu#1:input",
        "layer1.1.relu#2:input",
        "layer1.0",
        "layer1.1:input",
    ],
)
def test_blocks_that_work_in_place_are_cut_before_and_after_their_activations(layer: str) -> None:
    assert check_cut(published_like(), layer, IMAGES).method == "graph"


def test_a_front_stops_before_the_activation_that_would_overwrite_its_result() -> None:
    """Defect 1 of the published code: on a CPU, ``bn1`` and ``add`` were captured after the ReLU."""
    model = published_like()
    for layer in ("bn1", "layer1.0.add", "layer1.1.relu#2:input"):
        assert front_of(model, layer, example=IMAGES)(IMAGES).min() < 0
    assert front_of(model, "layer1.0.relu#2", example=IMAGES)(IMAGES).min() == 0


def test_a_module_called_several_times_needs_the_number_of_its_call() -> None:
    with pytest.raises(ModelError, match=r"called 2 times.*relu#1"):
        front_of(published_like(), "layer1.0.relu", example=IMAGES)


class Functional(nn.Module):
    """Functions and tensor methods between the layers, sizes taken from the inputs, shared weights."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.mix = nn.Conv2d(4, 4, 3, padding=1)
        self.scale = nn.Parameter(torch.tensor(1.5))
        self.register_buffer("shift", torch.tensor(0.25))
        self.fc = nn.Linear(256, 5)

    def forward(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        count = inputs.shape[0]
        hidden = functional.relu(self.conv(inputs), inplace=True)
        skip = hidden * self.scale
        hidden = torch.relu_(self.mix(hidden)) + skip
        hidden = self.mix(hidden) + self.shift + inputs.mean(dim=1, keepdim=True)
        if mask is not None:
            hidden = hidden * mask
        return self.fc(hidden.reshape(count, -1)) if not self.training else hidden


@pytest.mark.parametrize(
    "layer", ["conv", "conv:input", "mix#1", "mix#1:input", "mix#2", "mix#2:input", "fc", "fc:input"]
)
def test_functional_code_is_cut_in_its_graph(layer: str) -> None:
    back = check_cut(generic(Functional()), layer, IMAGES)
    assert back.method == "graph"


def test_a_size_is_taken_from_the_activation_and_not_carried_around_the_cut() -> None:
    back = back_of(generic(Functional()), "mix#2", example=IMAGES)
    assert [tuple(side.shape[1:]) for side in back.sides(IMAGES)] == [(1, 8, 8)]
    assert back.tail(torch.randn(2, 4, 8, 8), back.sides(IMAGES[:2])[0]).shape == (2, 5)


class Methods(nn.Module):
    """Methods that write over a tensor whose result nobody looks at."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.first(inputs)
        hidden.mul_(2.0)
        after = self.second(hidden)
        hidden.clamp_(min=0.0)
        return self.third(after.add_(hidden))


@pytest.mark.parametrize("layer", ["first", "second", "second:input", "third:input", "third"])
def test_methods_that_write_over_tensors_are_cut_rightly_by_one_way_or_the_other(layer: str) -> None:
    check_cut(generic(Methods()), layer, torch.randn(5, 4))


@dataclass
class Output:
    logits: Tensor
    hidden: Tensor


class Answering(nn.Module):
    """Returns its logits in a dictionary, an object or a tuple, beside something else."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form
        self.body, self.head, self.other = nn.Linear(4, 6), nn.Linear(6, 3), nn.Linear(6, 2)

    def forward(self, inputs: Tensor) -> object:
        hidden = functional.relu(self.body(inputs))
        logits, other = self.head(hidden), self.other(hidden)
        if self.form == "dictionary":
            return {"other": other, "logits": logits}
        return Output(logits, other) if self.form == "object" else (logits, other)


@pytest.mark.parametrize("form", ["dictionary", "object", "tuple"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_the_logits_are_what_a_tail_returns(form: str, wrapped: bool) -> None:
    model = generic(Answering(form))
    back = check_cut(nn.Sequential(model) if wrapped else model, "0.body" if wrapped else "body", torch.randn(5, 4))
    assert back.tail(torch.randn(2, 6)).shape == (2, 3) if back.method == "graph" else True
    if form != "object" and not wrapped:
        assert "other.weight" not in back.tail.state_dict()  # only the logits are computed


class Branching(nn.Module):
    """Control flow that depends on the data: no graph."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.relu, self.last = nn.Linear(4, 4), nn.ReLU(inplace=True), nn.Linear(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.first(inputs)
        if hidden.sum() > 1e9:
            hidden = -hidden
        for row in range(len(hidden)):
            hidden[row].abs_()
        return self.last(self.relu(hidden))


@pytest.mark.parametrize("layer", ["first", "relu:input", "relu", "last:input", "last"])
def test_what_cannot_be_traced_is_cut_by_hooks_and_says_so(layer: str) -> None:
    model = generic(Branching())
    back = check_cut(model, layer, torch.randn(5, 4))
    assert back.method == "hooks"
    front_of(model, layer, example=torch.randn(2, 4))(torch.randn(3, 4))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_control_flow_in_a_block_without_the_layer_does_not_hinder_the_graph() -> None:
    model = generic(nn.Sequential(nn.Linear(4, 4), nn.Sequential(Branching()), nn.Linear(3, 3)))
    assert check_cut(model, "0", torch.randn(5, 4)).method == "graph"
    assert check_cut(model, "1.0.last", torch.randn(5, 4)).method == "hooks"


def test_hooks_are_gone_after_a_failing_pass() -> None:
    model = generic(Branching())
    front, back = front_of(model, "relu", example=torch.randn(2, 4)), back_of(model, "relu", example=torch.randn(2, 4))
    for part, given in ((front, (torch.randn(2, 9),)), (back.tail, (torch.randn(2, 4), torch.randn(2, 9)))):
        with pytest.raises(RuntimeError):
            part(*given)
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in part.modules())


class Deaf(nn.Module):
    """A layer without effect on the outputs, one that has no batch, one that returns a pair."""

    def __init__(self) -> None:
        super().__init__()
        self.aside, self.recurrent, self.last = nn.Linear(4, 4), nn.LSTM(4, 4, batch_first=True), nn.Linear(4, 2)
        self.total = nn.AdaptiveAvgPool1d(1)

    def forward(self, inputs: Tensor) -> Tensor:
        self.aside(inputs)
        return self.last(self.recurrent(inputs[:, None])[0][:, 0]) + self.total(inputs.t()[:3]).mean()


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("total", "Expected at total a batch of 4 activations"),
        ("recurrent", "'recurrent' returns tuple"),
        ("aside", "cannot be cut at aside: the outputs do not depend on aside"),
    ],
)
def test_layers_without_a_batch_of_activations_are_refused(layer: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        back_of(generic(Deaf()), layer, example=torch.randn(4, 4))


def test_a_network_that_answers_differently_every_time_is_refused() -> None:
    class Random(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(4, 4)

        def forward(self, inputs: Tensor) -> Tensor:
            return torch.bernoulli(torch.full((len(inputs), 4), 0.5)) * self.first(inputs)

    with pytest.raises(ModelError, match="equal inputs give equal outputs"):
        back_of(Random(), "first", example=torch.randn(4, 4))


class Pair(nn.Module):
    """Returns two tensors."""

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        return inputs, 2 * inputs


class Product(nn.Module):
    """Takes a tensor and a pair."""

    def forward(self, inputs: Tensor, pair: tuple[Tensor, Tensor]) -> Tensor:
        return inputs + pair[0] * pair[1]


class PairAround(nn.Module):
    """A pair of tensors goes around the layer ``cut``."""

    def __init__(self) -> None:
        super().__init__()
        self.pair, self.cut, self.product, self.last = Pair(), nn.Linear(4, 4), Product(), nn.Linear(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        pair = self.pair(inputs)
        return self.last(self.product(self.cut(inputs), pair))


def test_a_pair_of_tensors_around_the_cut_is_left_to_hooks() -> None:
    assert check_cut(generic(PairAround()), "cut", torch.randn(5, 4)).method == "hooks"


class Keeping(nn.Module):
    """Keeps an activation of its last pass, with the graph of its gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        self.kept = self.first(inputs)
        return self.last(self.kept.relu())


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_networks_that_keep_results_of_a_pass_with_gradients_are_cut_and_copied() -> None:
    inputs = torch.randn(5, 4)
    normed = nn.Sequential(nn.utils.weight_norm(nn.Linear(4, 4)), nn.ReLU(), nn.Linear(4, 3))
    for model, layer in ((Keeping(), "first"), (normed, "0")):
        model(inputs).sum().backward()
        front, back = front_of(model, layer, example=inputs), back_of(model, layer, example=inputs)
        torch.testing.assert_close(back(front(inputs), inputs), model(inputs))
        torch.testing.assert_close(private_copy(model, "cpu")(inputs), model(inputs))


def test_what_cannot_be_copied_is_said() -> None:
    class Counter:
        def __init__(self) -> None:
            self.lock = threading.Lock()

        def count(self, *_: object) -> None:
            pass

    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    model[0].register_forward_hook(Counter().count)
    with pytest.raises(ModelError, match="The Sequential cannot be copied"):
        front_of(model, "0", example=torch.randn(2, 4))
