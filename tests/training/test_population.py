"""A population trained as a stack against its members trained one by one."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from weightscape.data.dataset import Dataset
from weightscape.errors import Interrupted, StoreError, TrainingError
from weightscape.together import Stack
from weightscape.training import population, population_run
from weightscape.training.optimizers import build_optimizer
from weightscape.training.population import TrainedPopulation, train_population
from weightscape.training.population_optimizers import build_stacked_optimizer
from weightscape.training.population_rule import activation_bytes, plan_stack
from weightscape.training.recipe import EarlyStopping, Recipe
from weightscape.training.result import TrainResult
from weightscape.training.run import train_model
from weightscape.weights.algebra import weights_of

KEEP = ("0ep", "3it", "5ep", "13ep")
SEEDS = (7, 8, 7)


class Double(nn.Module):
    """The data are float32; with this first, a network of float64 weights takes them."""

    def forward(self, images: Tensor) -> Tensor:
        return images.double()


def _mlp() -> nn.Module:
    return nn.Sequential(Double(), nn.Flatten(), nn.Linear(192, 16), nn.ReLU(), nn.Linear(16, 3))


def _conv() -> nn.Module:
    return nn.Sequential(
        Double(), nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(96, 3)
    )


def _batch_norm() -> nn.Module:
    """Running statistics, a frozen parameter and a tied one."""
    first, second = nn.Linear(6, 6, bias=False), nn.Linear(6, 6, bias=False)
    second.weight = first.weight
    convolution = nn.Conv2d(3, 6, 3, padding=1)
    assert convolution.bias is not None
    convolution.bias.requires_grad_(False)
    return nn.Sequential(
        Double(),
        convolution,
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        first,
        second,
        nn.BatchNorm1d(6),
        nn.Linear(6, 3),
    )


def _models(build: Callable[[], nn.Module], count: int = 3) -> list[nn.Module]:
    models = []
    for seed in range(count):
        torch.manual_seed(seed)
        models.append(build().double())
    return models


def _recipes(kind: str) -> list[Recipe]:
    """Three recipes that differ in every number that may differ."""
    numbers: dict[str, list[dict[str, Any]]] = {
        "sgd": [{"lr": 0.1}, {"lr": 0.03, "momentum": 0.0, "weight_decay": 0.01}, {"lr": 0.05, "momentum": 0.5}],
        "nesterov": [{"lr": lr, "momentum": lr + 0.5, "nesterov": True} for lr in (0.1, 0.03, 0.05)],
        "adam": [{"lr": 0.01}, {"lr": 0.003, "betas": [0.8, 0.99]}, {"lr": 0.01, "weight_decay": 0.1}],
        "adamw": [{"lr": 0.01}, {"lr": 0.003, "betas": [0.8, 0.99]}, {"lr": 0.01, "weight_decay": 0.3}],
    }
    name = "sgd" if kind == "nesterov" else kind
    schedules = ["cosine", "constant", {"name": "multistep", "milestones": [2, 5], "factor": 0.5}]
    return [
        Recipe.model_validate(
            {"epochs": 13, "batch_size": 16, "optimizer": {"name": name, **own}, "schedule": schedule}
        )
        for own, schedule in zip(numbers[kind], schedules, strict=True)
    ]


def _stacked(models: Sequence[nn.Module], dataset: Dataset, **options: Any) -> TrainedPopulation:
    options = {"recipe": _recipes("sgd"), "order_seeds": SEEDS, "keep": KEEP, "stack": "always", **options}
    return train_population(models, dataset, **options)


def _assert_close(stacked: TrainResult, alone: TrainResult, *, tolerance: float = 1e-9) -> None:
    assert stacked.trajectory.steps == alone.trajectory.steps
    for one, other in zip(stacked.trajectory, alone.trajectory, strict=True):
        assert list(one.weights) == list(other.weights)
        for name, tensor in one.weights.items():
            torch.testing.assert_close(tensor, other.weights[name], rtol=tolerance, atol=tolerance, msg=name)
    assert list(stacked.epochs) == list(alone.epochs)
    for name in map(str, stacked.epochs):
        left, right = (torch.tensor(result.epochs[name].to_numpy(float)) for result in (stacked, alone))
        torch.testing.assert_close(left, right, rtol=tolerance, atol=tolerance, equal_nan=True)
    for name, tensor in stacked.best.items():
        torch.testing.assert_close(tensor, alone.best[name], rtol=tolerance, atol=tolerance)
    skip = {"train_seconds"}
    numbers = [{k: v for k, v in one.metrics().items() if k not in skip} for one in (stacked, alone)]
    assert numbers[0] == pytest.approx(numbers[1], rel=tolerance)


def _assert_same(left: TrainResult, right: TrainResult) -> None:
    assert left.epochs.equals(right.epochs)
    for one, other in zip(left.trajectory, right.trajectory, strict=True):
        assert one.step == other.step
        assert all(torch.equal(tensor, other.weights[name]) for name, tensor in one.weights.items())


@pytest.mark.parametrize(
    ("build", "kind"),
    [
        (_mlp, "sgd"),
        (_mlp, "adamw"),
        (_conv, "nesterov"),
        (_conv, "adam"),
        (_batch_norm, "sgd"),
        (_batch_norm, "adam"),
    ],
)
def test_a_stack_does_what_its_members_do_alone(dataset: Dataset, build: Callable[[], nn.Module], kind: str) -> None:
    models, recipes = _models(build), _recipes(kind)
    trained = _stacked(models, dataset, recipe=recipes)
    assert trained.how.mode == "stack"
    assert trained.group_sizes == (3, 3, 3)
    for model, recipe, seed, member in zip(models, recipes, SEEDS, trained.results, strict=True):
        alone = train_model(model, dataset, recipe=recipe, order_seed=seed, keep=KEEP)  # type: ignore[arg-type]
        assert alone.iterations == 52
        _assert_close(member, alone)
    if build is _batch_norm:
        assert int(trained.results[0].trajectory.last["2.num_batches_tracked"]) == 52


@pytest.mark.parametrize(
    ("common", "schedules"),
    [
        ({"loss": "binary-cross-entropy", "last_batch": "dropped"}, ["one-cycle", "thirds", "constant"]),
        (
            {"loss": {"name": "cross-entropy", "label_smoothing": 0.1}, "warm_up": "1ep2it", "best": "loss"},
            [{"name": "cosine", "every": "iteration"}, "cosine", "constant"],
        ),
    ],
)
def test_schedules_within_an_epoch_and_other_losses_are_stacked_too(
    dataset: Dataset, common: dict[str, Any], schedules: list[Any]
) -> None:
    models = _models(_mlp)
    base = {"epochs": 3, "batch_size": 16, **common}
    recipes = [Recipe.model_validate({**base, "schedule": schedule}) for schedule in schedules]
    trained = _stacked(models, dataset, recipe=recipes, keep="epochs")
    for model, recipe, seed, member in zip(models, recipes, SEEDS, trained.results, strict=True):
        _assert_close(member, train_model(model, dataset, recipe=recipe, order_seed=seed, keep="epochs"))


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.0, 0.99)])
@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_a_stacked_adam_is_as_exact_in_float32_as_that_of_torch(name: str, betas: tuple[float, float]) -> None:
    # The corrections of its first steps, such as 1 - 0.999 ** 2, lose two digits or more when taken in float32.
    recipe = Recipe.model_validate({"optimizer": {"name": name, "lr": 1e-3, "betas": betas, "weight_decay": 0.01}})
    generator = torch.Generator().manual_seed(0)
    start, *gradients = torch.randn(4, 1000, generator=generator) * 1e-3  # as small as a step, to see its digits
    stacked, exact = {"w": start[None].clone()}, nn.Parameter(start.double())
    together = build_stacked_optimizer([recipe.optimizer], stacked)
    alone = build_optimizer(recipe.optimizer, [exact])
    for gradient in gradients:
        together.update({"w": gradient[None].clone()}, torch.tensor([1e-3]))
        exact.grad = gradient.double()
        alone.step()
        assert (stacked["w"][0] - exact.detach()).norm() < 2e-7 * (exact.detach() - start).norm()


def test_the_callers_models_and_generator_stay_as_they_are(dataset: Dataset) -> None:
    models = _models(_batch_norm)
    before, state = [weights_of(model) for model in models], torch.get_rng_state()
    _stacked(models, dataset)
    for model, weights in zip(models, before, strict=True):
        assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())
        assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)


def test_a_member_that_diverges_leaves_the_others_alone(dataset: Dataset) -> None:
    models, recipes = _models(_batch_norm), _recipes("sgd")
    wild = recipes[1].model_copy(update={"optimizer": recipes[1].optimizer.model_copy(update={"lr": 1e200})})
    trained = _stacked(models, dataset, recipe=[recipes[0], wild, recipes[2]])
    assert isinstance(trained.members[1], TrainingError)
    assert "at a learning rate of 1e+200" in str(trained.members[1])
    with pytest.raises(TrainingError) as alone:
        train_model(models[1], dataset, recipe=wild, order_seed=SEEDS[1])
    assert str(alone.value) == str(trained.members[1])
    calm = _stacked(models, dataset, recipe=recipes)
    for index in (0, 2):
        result = trained.members[index]
        assert isinstance(result, TrainResult)
        _assert_close(result, calm.results[index])
    with pytest.raises(TrainingError, match=r"1 of 3 members have no result\. Member 1: Training diverged"):
        _ = trained.results
    frame = trained.to_frame()
    assert frame["message"].str.startswith("Training diverged").tolist() == [False, True, False]
    assert frame["test_accuracy"].isna().tolist() == [False, True, False]
    assert repr(trained).startswith("TrainedPopulation(3 members, 1 without a result; stack of up to 3: ")


def test_a_loop_keeps_failures_apart_too(dataset: Dataset) -> None:
    models, recipes = _models(_mlp), _recipes("sgd")
    wild = recipes[1].model_copy(update={"optimizer": recipes[1].optimizer.model_copy(update={"lr": 1e200})})
    trained = _stacked(models, dataset, recipe=[recipes[0], wild, recipes[2]], stack="never")
    assert [isinstance(member, TrainResult) for member in trained.members] == [True, False, True]
    assert trained.group_sizes == (1, 1, 1)


def _after(steps: int) -> Callable[[], bool]:
    count = itertools.count()
    return lambda: next(count) >= steps


@pytest.mark.parametrize(
    ("kind", "stack", "moments"), [("sgd", "always", (0, 4, 51)), ("adam", "always", (2, 9)), ("sgd", "never", (3, 60))]
)
def test_a_stopped_population_ends_in_the_same_bits(
    dataset: Dataset, tmp_path: Path, kind: str, stack: str, moments: tuple[int, ...]
) -> None:
    models, recipes = _models(_batch_norm), _recipes(kind)
    wild = recipes[1].model_copy(update={"optimizer": recipes[1].optimizer.model_copy(update={"lr": 1e200})})
    options: dict[str, Any] = {"recipe": [recipes[0], wild, recipes[2]], "stack": stack}
    through = _stacked(models, dataset, **options)
    for steps in moments:
        folder = tmp_path / str(steps)
        with pytest.raises(Interrupted, match="the same command continues it"):
            _stacked(models, dataset, resume=folder, should_stop=_after(steps), **options)
        resumed = _stacked(models, dataset, resume=folder, **options)
        for index in (0, 2):
            left, right = resumed.members[index], through.members[index]
            assert isinstance(left, TrainResult)
            assert isinstance(right, TrainResult)
            _assert_same(left, right)
        assert str(resumed.members[1]) == str(through.members[1])


def test_another_population_is_not_continued(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        _stacked(_models(_mlp), dataset, resume=tmp_path, should_stop=_after(3))
    with pytest.raises(StoreError, match="another run"):
        _stacked(_models(_mlp), dataset, resume=tmp_path, order_seeds=(7, 8, 9))


def test_memory_bounds_the_group(dataset: Dataset) -> None:
    models, recipes = _models(_conv), _recipes("sgd")
    one = _stacked(models, dataset).how.member_bytes
    trained = _stacked(models, dataset, memory_limit=2 * one + 1)
    assert trained.how.group_size == 2
    assert trained.group_sizes == (1, 2, 2)
    for model, recipe, seed, member in zip(models, recipes, SEEDS, trained.results, strict=True):
        _assert_close(member, train_model(model, dataset, recipe=recipe, order_seed=seed, keep=KEEP))  # type: ignore[arg-type]
    assert "more than the limit" in _stacked(models, dataset, memory_limit=one - 1).how.reason


def test_a_stack_that_does_not_fit_is_halved(dataset: Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Small(population_run.StackedRun):
        def train(self, *arguments: Any) -> Any:
            if len(self._order_seeds) > 2:
                raise torch.OutOfMemoryError("as if")
            return super().train(*arguments)

    monkeypatch.setattr(population, "StackedRun", Small)
    models = _models(_mlp)
    trained = _stacked(models, dataset, resume=tmp_path)
    assert trained.group_sizes == (1, 2, 2)
    monkeypatch.undo()
    for member, expected in zip(trained.results, _stacked(models, dataset).results, strict=True):
        _assert_close(member, expected)


def test_activations_are_counted(dataset: Dataset) -> None:
    # The linear layers keep their inputs (192 and 16 float64), the ReLU its output, which is the second of these.
    expected = 16 * (192 * 8 + 16 * 8)
    batch = 16 * 192 * 4
    assert activation_bytes(_models(_mlp, 1)[0], dataset.train, 16) == expected + batch


def _why(models: Sequence[nn.Module], dataset: Dataset, recipes: Sequence[Recipe], stack: str = "always") -> str:
    device = torch.device("cpu" if stack == "always" else "cuda")
    how = plan_stack(models, dataset, recipes, device=device, stack=cast(Stack, stack))
    assert (how.mode, how.group_size) == ("loop", 1)
    return how.reason


class Lonely(nn.Module):
    """Branches on a value, which cannot be vectorised."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(192, 3)

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.linear(images.flatten(1))
        return out if out.sum() > 0 else 2 * out


class Hiding(nn.Module):
    """Keeps a tensor of its own where the state dict does not have it."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(192, 3)
        self.mask = torch.rand(3)

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.linear(images.flatten(1)) * self.mask
        return out


def test_what_has_no_stacked_form_is_said_and_looped(dataset: Dataset) -> None:
    plain = Recipe(epochs=1, batch_size=16)
    dropout = [nn.Sequential(nn.Flatten(), nn.Dropout(0.1), nn.Linear(192, 3)) for _ in range(2)]
    cumulative = [nn.Sequential(nn.Flatten(), nn.BatchNorm1d(192, momentum=None), nn.Linear(192, 3)) for _ in range(2)]
    uneven = [nn.Sequential(nn.Flatten(), nn.Linear(192, width), nn.Linear(width, 3)) for width in (4, 5)]
    cases: list[tuple[Sequence[nn.Module], Recipe, str]] = [
        (dropout, plain, "the layer '1' draws random numbers"),
        (cumulative, plain, "the layer '1' keeps cumulative means"),
        (uneven, plain, "the members differ in their layers"),
        ([Lonely(), Lonely()], plain, "cannot be vectorised"),
        ([Hiding(), Hiding()], plain, "computes something else in a stack than alone"),
    ]
    for models, recipe, reason in cases:
        for stack in ("always", "auto"):
            assert reason in _why(models, dataset, [recipe] * 2, stack)
    assert train_population(dropout, dataset, recipe=plain, order_seeds=(0, 1)).how.mode == "loop"
    longer = plain.model_copy(update={"epochs": 2})
    adam = Recipe.model_validate({"epochs": 1, "batch_size": 16, "optimizer": "adam"})
    assert "differ in epochs" in _why(_models(_mlp, 2), dataset, [plain, longer])
    assert "optimisers of different kinds" in _why(_models(_mlp, 2), dataset, [plain, adam])
    stopping = plain.model_copy(update={"early_stopping": EarlyStopping(patience=2)})
    assert "no stacked form of the recipe's 'early_stopping'" in _why(_models(_mlp, 2), dataset, [stopping] * 2)


def test_the_rule_loops_on_a_cpu_and_stacks_small_networks_on_a_gpu(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipes = _recipes("sgd")
    cpu = plan_stack(_models(_mlp), dataset, recipes, device=torch.device("cpu"), stack="auto")
    assert (cpu.mode, cpu.group_size) == ("loop", 1)
    gpu = plan_stack(_models(_mlp), dataset, recipes, device=torch.device("cuda"), stack="auto", memory_limit=2**30)
    assert (gpu.mode, gpu.group_size) == ("stack", 3)
    huge = [recipe.model_copy(update={"batch_size": 2**20}) for recipe in recipes]
    large = plan_stack(_models(_mlp), dataset, huge, device=torch.device("cuda"), stack="auto", memory_limit=2**40)
    assert large.mode == "loop"
    assert "keeps 2432 MiB, more than 256 MiB" in large.reason


def test_unequal_numbers_are_refused(dataset: Dataset) -> None:
    with pytest.raises(TrainingError, match="received 3 models, 3 recipes and 2 order seeds"):
        _stacked(_models(_mlp), dataset, order_seeds=(1, 2))


def test_progress_counts_the_epochs_of_all_members(dataset: Dataset) -> None:
    seen: list[tuple[int, int]] = []
    one = _stacked(_models(_mlp), dataset).how.member_bytes
    _stacked(_models(_mlp), dataset, memory_limit=2 * one, on_epoch=lambda *counts: seen.append(counts))
    assert seen[0] == (0, 39)
    assert seen[-1] == (39, 39)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
