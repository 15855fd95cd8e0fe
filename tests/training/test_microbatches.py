from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from weightscape.data.dataset import Dataset
from weightscape.errors import TrainingError
from weightscape.training.learner import Learner
from weightscape.training.losses import Criterion
from weightscape.training.microbatches import BatchGradient, is_out_of_memory
from weightscape.training.recipe import Recipe
from weightscape.training.run import train_model


def _cuda() -> None:
    raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def _cpu() -> None:
    torch.empty(2**60, dtype=torch.uint8)  # more than any machine has: the allocator's own error


class Small(nn.Module):
    """A network on a machine with memory for so many images at once."""

    def __init__(self, network: nn.Module, room: int, fail: Callable[[], None] = _cuda) -> None:
        super().__init__()
        self.network = network
        self.room = room
        self.fail = fail
        self.sizes: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        self.sizes.append(len(images))
        if self.training and len(images) > self.room:
            self.fail()
        result: Tensor = self.network(images)
        return result


def _network() -> nn.Module:
    torch.manual_seed(3)
    layers = [nn.Linear(6, 8), nn.LayerNorm(8), nn.Tanh(), nn.Linear(8, 4)]
    return nn.Sequential(*layers).double().train()


def _gradients(network: nn.Module) -> list[Tensor]:
    return [parameter.grad for parameter in network.parameters() if parameter.grad is not None]


def _batch(size: int, kind: str, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(size, 6, generator=generator, dtype=torch.float64)
    if kind == "classes":
        return images, torch.randint(0, 4, (size,), generator=generator)
    soft = torch.rand(size, 4, generator=generator, dtype=torch.float64)
    return images, soft / soft.sum(1, keepdim=True) if kind == "soft" else (soft > 0.5).double()


LOSSES = {
    "classes": {"name": "cross-entropy", "label_smoothing": 0.1},
    "soft": {"name": "cross-entropy"},
    "several": {"name": "binary-cross-entropy"},
}


@settings(max_examples=30)
@given(
    size=st.integers(1, 23),
    room=st.integers(1, 23),
    kind=st.sampled_from(list(LOSSES)),
    fail=st.sampled_from([_cuda, _cpu]),
    seed=st.integers(0, 99),
)
def test_a_batch_in_parts_has_the_gradient_of_the_mean_over_the_whole(
    size: int, room: int, kind: str, fail: Callable[[], None], seed: int
) -> None:
    images, targets = _batch(size, kind, seed)
    criterion = Criterion(Recipe.model_validate({"loss": LOSSES[kind]}).loss)
    whole, parted = _network(), Small(_network(), room, fail)
    expected = BatchGradient(whole, criterion, save_noise=lambda: lambda: None)(images, targets)
    gradient = BatchGradient(parted, criterion, save_noise=lambda: lambda: None)
    found = gradient(images, targets)
    torch.testing.assert_close(found.loss, expected.loss)
    torch.testing.assert_close(found.hits, expected.hits)
    torch.testing.assert_close(_gradients(parted), _gradients(whole))
    assert gradient.parts & (gradient.parts - 1) == 0
    assert -(-size // gradient.parts) <= room
    assert gradient.parts == 1 or -(-size // (gradient.parts // 2)) > room  # no more parts than are needed


@settings(max_examples=30)
@given(size=st.integers(1, 23), largest=st.integers(1, 30), seed=st.integers(0, 99))
def test_micro_batches_on_demand_have_the_same_gradient(size: int, largest: int, seed: int) -> None:
    images, targets = _batch(size, "classes", seed)
    criterion = Criterion(Recipe().loss)
    whole, parted = _network(), Small(_network(), 1000)
    BatchGradient(whole, criterion, save_noise=lambda: lambda: None)(images, targets)
    BatchGradient(parted, criterion, largest=largest, save_noise=lambda: lambda: None)(images, targets)
    torch.testing.assert_close(_gradients(parted), _gradients(whole))
    assert max(parted.sizes) == min(size, largest)


def test_a_run_with_little_memory_ends_where_one_with_enough_does(plain_dataset: Dataset) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    double = nn.Sequential(_Double(), network)
    recipe = Recipe(epochs=2, batch_size=16)
    enough = train_model(double, plain_dataset, recipe=recipe, order_seed=0)
    little = train_model(Small(double, 5), plain_dataset, recipe=recipe, order_seed=0)
    assert (enough.micro_batches, little.micro_batches) == (1, 4)
    for name, tensor in enough.trajectory.last.items():
        torch.testing.assert_close(little.trajectory.last[f"network.{name}"], tensor)
    assert list(little.epochs["train_loss"][1:]) == pytest.approx(list(enough.epochs["train_loss"][1:]))
    assert list(little.epochs["train_accuracy"][1:]) == list(enough.epochs["train_accuracy"][1:])


@pytest.mark.parametrize("loss", list(LOSSES.values()))
def test_a_run_in_micro_batches_is_the_run_with_whole_batches(dataset: Dataset, loss: dict[str, object]) -> None:
    # Published code that accumulates gradients plans its cycle in micro-batches but steps it once per update, divides
    # the loss it logs, and lets what is left at the end of an epoch (here 2 images of 50) leak into the next one.
    torch.manual_seed(0)
    network = nn.Sequential(_Double(), nn.Flatten(), nn.Linear(192, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    base = {"epochs": 3, "batch_size": 16, "schedule": {"name": "one-cycle", "momentum": [0.85, 0.95]}, "loss": loss}
    recipes = [Recipe.model_validate(base | {"micro_batch": size}) for size in (None, 5)]
    whole, parted = (train_model(network, dataset, recipe=recipe, order_seed=0) for recipe in recipes)
    assert parted.iterations == whole.iterations == 12
    for name, tensor in whole.trajectory.last.items():
        torch.testing.assert_close(parted.trajectory.last[name], tensor, rtol=1e-12, atol=1e-12)
    for column in ("lr", "train_loss", "train_accuracy"):
        assert list(parted.epochs[column][1:]) == pytest.approx(list(whole.epochs[column][1:]))


class _Double(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.double()


def test_the_number_of_parts_is_found_once_and_kept(dataset: Dataset, linear: nn.Module) -> None:
    small = Small(linear, 4)
    learner = Learner(small, Recipe(batch_size=16), "cpu")
    images, labels = next(iter(dataset.train.batches(16)))
    for _ in range(3):
        learner.step(images, labels)
    assert learner.model.sizes == [16, 8] + 3 * 4 * [4]
    again = Learner(small, Recipe(batch_size=16), "cpu")
    again.restore(learner.tensors())
    assert again.parts == 4


def test_a_failed_attempt_leaves_the_noise_where_it_was() -> None:
    # Each image gets noise of its own from one stream, so that the parts that follow can be compared with a whole.
    class Noisy(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images + torch.stack([torch.randn(4, dtype=images.dtype) for _ in images])

    layers = nn.Sequential(nn.Linear(6, 4).double(), Noisy())
    images, labels = _batch(10, "classes", 0)
    found = []
    for room in (100, 3):
        learner = Learner(Small(copy.deepcopy(layers), room), Recipe(), "cpu")
        learner.begin_epoch(0, 0)
        learner.step(images, labels)
        found.append((learner.loss(), learner.parts))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-12)
    assert [parts for _, parts in found] == [1, 4]


def test_dropout_in_parts_is_dropout_of_the_same_rate(dataset: Dataset) -> None:
    layers = nn.Sequential(nn.Flatten(), nn.Linear(192, 400), nn.ReLU(), nn.Dropout(0.3), nn.Linear(400, 3))
    result = train_model(Small(layers, 4), dataset, recipe=Recipe(epochs=1, batch_size=16), order_seed=0)
    assert result.micro_batches == 4
    assert result.validation_loss < 5


def test_batch_norm_is_not_taken_in_parts_unasked(dataset: Dataset, convolutional: nn.Module) -> None:
    small = Small(convolutional, 4)
    with pytest.raises(TrainingError, match=r"batch norm \(network\.1\) normalises with the statistics of the images"):
        train_model(small, dataset, recipe=Recipe(epochs=1, batch_size=16), order_seed=0)
    asked = Recipe(epochs=1, batch_size=16, micro_batch=4)
    assert train_model(small, dataset, recipe=asked, order_seed=0).micro_batches == 1


def test_a_loss_of_a_whole_batch_is_not_taken_in_parts(dataset: Dataset, linear: nn.Module) -> None:
    recipe = Recipe.model_validate({"epochs": 1, "batch_size": 16, "loss": "torch.nn.functional.cross_entropy"})
    assert train_model(linear, dataset, recipe=recipe, order_seed=0).micro_batches == 1

    with pytest.raises(TrainingError, match="the loss returns one number for a batch"):
        Learner(Small(linear, 4), recipe, "cpu").step(*next(iter(dataset.train.batches(16))))

    class LossFails(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers, self.steps = copy.deepcopy(linear), 0

        def forward(self, images: Tensor) -> Tensor:
            self.steps += self.training
            if self.steps > 2 and len(images) > 4:
                _cuda()
            result: Tensor = self.layers(images)
            return result

    with pytest.raises(TrainingError, match="the loss returns one number for a batch"):
        train_model(LossFails(), dataset, recipe=recipe, order_seed=0)


def test_one_image_that_does_not_fit_is_said(dataset: Dataset, linear: nn.Module) -> None:
    with pytest.raises(TrainingError, match=r"not even one by one"):
        train_model(Small(linear, 0), dataset, recipe=Recipe(epochs=1, batch_size=16), order_seed=0)


def test_other_errors_are_let_through(dataset: Dataset, linear: nn.Module) -> None:
    def fail() -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        train_model(Small(linear, 4, fail), dataset, recipe=Recipe(epochs=1, batch_size=16), order_seed=0)
    with pytest.raises(RuntimeError) as caught:
        _cpu()
    assert is_out_of_memory(caught.value)
    assert not is_out_of_memory(RuntimeError("size mismatch"))
