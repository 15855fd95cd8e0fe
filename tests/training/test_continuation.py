from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from weightscape.data.dataset import Dataset
from weightscape.errors import Interrupted, TrainingError
from weightscape.step import Step
from weightscape.training.continuation import done_by, family_of
from weightscape.training.operations import train
from weightscape.training.recipe import Recipe
from weightscape.training.result import TrainResult
from weightscape.training.run import train_model

RECIPES: dict[str, dict[str, Any]] = {
    "sgd": {},
    "no-momentum": {"optimizer": {"name": "sgd", "momentum": 0.0}},
    "adamw": {"optimizer": {"name": "adamw", "lr": 0.01}, "schedule": {"name": "multistep", "milestones": [2, 3]}},
    "warm-up": {"optimizer": {"name": "sgd", "nesterov": True}, "warm_up": "10it"},
    "early-stopping": {"early_stopping": 2, "best": "loss"},
}


def _recipe(epochs: int, **options: Any) -> Recipe:
    return Recipe.model_validate({"epochs": epochs, "batch_size": 16, **options})


def _train(model: nn.Module, dataset: Dataset, epochs: int, *, keep: Any = "ends", **options: Any) -> TrainResult:
    run = {name: options.pop(name) for name in ("earlier", "resume", "should_stop") if name in options}
    return train_model(model, dataset, recipe=_recipe(epochs, **options), order_seed=2, keep=keep, **run)


def _assert_same(left: TrainResult, right: TrainResult) -> None:
    assert left.epochs.equals(right.epochs)
    assert left.trajectory.steps == right.trajectory.steps
    pairs = [(one.weights, other.weights) for one, other in zip(left.trajectory, right.trajectory, strict=True)]
    for one, other in [*pairs, (left.best, right.best), (left.state, right.state)]:
        assert list(one) == list(other)
        assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    drop = {"train_seconds"}
    one, other = ({k: v for k, v in result.metrics().items() if k not in drop} for result in (left, right))
    assert one == other


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("keep", ["ends", "epochs", ("0ep", "1ep", "2ep")])
def test_a_longer_run_ends_in_the_bits_of_a_run_from_the_start(
    dataset: Dataset, convolutional: nn.Module, name: str, keep: Any
) -> None:
    keep = keep if isinstance(keep, str) else tuple(map(Step.parse, keep))
    shorter = _train(convolutional, dataset, 2, keep=keep, **RECIPES[name])
    through = _train(convolutional, dataset, 5, keep=keep, **RECIPES[name])
    steps = itertools.count()
    longer = _train(
        convolutional,
        dataset,
        5,
        keep=keep,
        **RECIPES[name],
        earlier=shorter,
        should_stop=lambda: next(steps) >= 3 * 4,  # 3 epochs of 4 steps, and no more
    )
    _assert_same(longer, through)


def test_a_continued_run_can_be_killed_and_continued(
    dataset: Dataset, convolutional: nn.Module, tmp_path: Path
) -> None:
    shorter, through = (_train(convolutional, dataset, epochs) for epochs in (2, 4))
    for stop in range(8):
        folder = tmp_path / str(stop)
        steps = itertools.count()
        with pytest.raises(Interrupted):
            _train(
                convolutional,
                dataset,
                4,
                earlier=shorter,
                resume=folder,
                should_stop=lambda: next(steps) >= stop,  # noqa: B023
            )
        # What was saved goes before the earlier run, which is not even needed any more.
        _assert_same(_train(convolutional, dataset, 4, resume=folder), through)


def test_a_run_that_stopped_early_is_over_however_many_epochs_are_asked_for(
    dataset: Dataset, linear: nn.Module
) -> None:
    shorter = _train(linear, dataset, 30, early_stopping=2)
    assert shorter.stopped_early
    longer = _train(linear, dataset, 60, early_stopping=2, earlier=shorter, should_stop=lambda: True)
    _assert_same(longer, _train(linear, dataset, 60, early_stopping=2))


def test_nothing_is_kept_for_runs_that_cannot_be_continued(dataset: Dataset, linear: nn.Module) -> None:
    shorter = _train(linear, dataset, 2, schedule="cosine")
    assert shorter.state == {}
    with pytest.raises(TrainingError, match="no state was kept with it"):
        _train(linear, dataset, 4, earlier=shorter)


def test_what_cannot_be_gone_on_from_is_refused_saying_why(dataset: Dataset, linear: nn.Module) -> None:
    shorter = _train(linear, dataset, 2)
    with pytest.raises(TrainingError, match="the schedule depends on the number of epochs"):
        _train(linear, dataset, 4, schedule="cosine", earlier=shorter)
    with pytest.raises(TrainingError, match="more than 1"):
        _train(linear, dataset, 1, earlier=shorter)
    with pytest.raises(TrainingError, match="did not keep 1ep"):
        _train(linear, dataset, 4, keep="epochs", earlier=shorter)
    with pytest.raises(TrainingError, match="epochs have 4 iterations, not 7"):
        _train(linear, dataset, 4, batch_size=8, earlier=shorter)
    with torch.no_grad():
        linear[1].bias += 1
    with pytest.raises(TrainingError, match="began with other weights"):
        _train(linear, dataset, 4, earlier=shorter)


def _settings(epochs: int, keep: Any = "ends", **recipe: Any) -> Any:
    options = {"model": "mlp", "data": "digits", "keep": keep, "recipe": {"epochs": epochs, **recipe}}
    return train.settings.model_validate(options)


@pytest.mark.parametrize(
    ("keep", "shorter", "done"),
    [
        ("ends", "ends", 4),
        ("ends", "epochs", 4),
        ("ends", ["0ep", "4ep"], 4),
        ("ends", ["4ep"], None),
        ("epochs", "ends", None),
        ("epochs", "epochs", 4),
        (["0ep", "9ep"], "ends", 4),
        (["0ep", "2ep", "9ep"], "ends", None),
        (["0ep", "2ep", "9ep"], "epochs", 4),
        (["0ep", "2ep", "9ep"], ["0ep", "2ep"], None),
        (["0ep", "2ep", "9ep"], ["0ep", "1ep", "2ep", "4ep"], 4),
        (["30it", "9ep"], "epochs", None),
        (["30it", "9ep"], ["30it", "4ep"], 4),
        (["5ep30it"], "ends", 4),
    ],
)
def test_a_shorter_run_must_hold_what_is_kept_up_to_its_end(keep: Any, shorter: Any, done: int | None) -> None:
    assert done_by(_settings(9, keep), _settings(4, shorter)) == done


def test_runs_are_of_a_family_if_only_their_length_and_what_they_keep_differ() -> None:
    assert family_of(_settings(9)) == family_of(_settings(4, "epochs"))
    assert family_of(_settings(9)) != family_of(_settings(4, batch_size=64))
    assert family_of(_settings(9)) != family_of(_settings(9).model_copy(update={"order_seed": 3}))
    assert family_of(_settings(9, schedule="cosine")) is None
    assert done_by(_settings(4), _settings(4)) is None
    assert done_by(_settings(4), _settings(9)) is None
    assert done_by(_settings(4), _settings(0)) is None


def test_any_result_with_the_same_four_fields_will_do(dataset: Dataset, linear: nn.Module) -> None:
    shorter = _train(linear, dataset, 1)
    plain = SimpleNamespace(
        trajectory=shorter.trajectory, epochs=shorter.epochs, best=shorter.best, state=shorter.state
    )
    _assert_same(_train(linear, dataset, 3, earlier=plain), _train(linear, dataset, 3))
