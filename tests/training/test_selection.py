from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from weightscape.data.dataset import Dataset
from weightscape.errors import Interrupted
from weightscape.step import Step
from weightscape.training.evaluation import evaluate
from weightscape.training.recipe import Recipe
from weightscape.training.result import TrainResult
from weightscape.training.run import train_model
from weightscape.training.selection import best_epoch, has_stalled

MEASURES = st.lists(st.integers(0, 8).map(lambda eighths: eighths / 8), min_size=1, max_size=12)


def _rows(values: list[float]) -> list[dict[str, float]]:
    return [{"validation_accuracy": value, "validation_loss": 1 - value} for value in values]


def _recipe(**options: object) -> Recipe:
    return Recipe.model_validate({"epochs": 40, "batch_size": 16, **options})


@settings(max_examples=30)
@given(values=MEASURES, by=st.sampled_from(["accuracy", "loss"]), first=st.integers(0, 14))
def test_the_best_epoch_is_the_first_maximum_of_those_that_count(values: list[float], by: str, first: int) -> None:
    found = best_epoch(_rows(values), _recipe(best={"by": by, "first_epoch": first}).best)
    counted = values[min(first, len(values) - 1) :]
    assert found == values.index(max(counted), min(first, len(values) - 1))


@settings(max_examples=30)
@given(values=MEASURES, by=st.sampled_from(["accuracy", "loss"]))
def test_the_latest_epoch_is_the_best_exactly_when_it_is_better_than_all_before(values: list[float], by: str) -> None:
    is_latest = best_epoch(_rows(values), _recipe(best=by).best) == len(values) - 1
    assert is_latest == (len(values) == 1 or values[-1] > max(values[:-1]))


@settings(max_examples=30)
@given(values=MEASURES, patience=st.integers(1, 4))
def test_early_stopping_is_the_counter_of_the_published_loop(values: list[float], patience: int) -> None:
    # The cut-point study: best = 0 before the first epoch; strictly better resets the counter, else it grows, and the
    # run stops once it reaches the patience.
    recipe = _recipe(early_stopping=patience, best={"by": "accuracy", "first_epoch": 1})
    best, counter, stopped_after = 0.0, 0, None
    for epoch, value in enumerate(values, start=1):
        best, counter = (value, 0) if value > best else (best, counter + 1)
        if counter >= patience and stopped_after is None:
            stopped_after = epoch
    rows = _rows([0.5, *values])  # the state before training, which that loop does not look at
    stalled = [epoch for epoch in range(1, len(rows)) if has_stalled(rows[: epoch + 1], recipe)]
    if values[0] > 0:  # at an accuracy of exactly 0 that loop counts the first epoch as no improvement
        assert stalled[:1] == ([] if stopped_after is None else [stopped_after])


def test_small_improvements_do_not_count() -> None:
    recipe = _recipe(early_stopping={"patience": 2, "min_delta": 0.1})
    assert not has_stalled(_rows([0.1, 0.3, 0.35]), recipe)
    assert has_stalled(_rows([0.1, 0.3, 0.35, 0.39]), recipe)
    assert not has_stalled(_rows([0.1, 0.3, 0.35, 0.41]), recipe)
    assert not has_stalled(_rows([0.5] * 40), _recipe())


def _train(model: nn.Module, dataset: Dataset, **options: object) -> TrainResult:
    keep, resume = options.pop("keep", "ends"), options.pop("resume", None)
    stop = options.pop("should_stop", None)
    return train_model(
        model, dataset, recipe=_recipe(**options), order_seed=1, keep=keep, resume=resume, should_stop=stop
    )


@pytest.mark.parametrize("by", ["accuracy", "loss"])
def test_the_best_weights_are_those_of_the_best_epoch(dataset: Dataset, convolutional: nn.Module, by: str) -> None:
    result = _train(convolutional, dataset, epochs=6, best=by, keep="epochs")
    expected = result.trajectory.at(Step(result.best_epoch))
    assert all(torch.equal(result.best[name], tensor) for name, tensor in expected.items())
    convolutional.load_state_dict(result.best)
    assert evaluate(convolutional, dataset.validation).accuracy == result.best_validation_accuracy
    assert evaluate(convolutional, dataset.test).accuracy == result.best_test_accuracy


def test_the_test_split_has_no_say_in_what_is_best(dataset: Dataset, linear: nn.Module) -> None:
    # The published code chooses checkpoints on the test split (arXiv 2008.11687, 2110.14633).
    shuffled = replace(dataset, test=replace(dataset.test, labels=dataset.test.labels.flip(0)))
    ours, other = (_train(linear, one, epochs=5) for one in (dataset, shuffled))
    assert list(ours.epochs["test_accuracy"]) != list(other.epochs["test_accuracy"])
    assert ours.best_epoch == other.best_epoch
    assert all(torch.equal(ours.best[name], tensor) for name, tensor in other.best.items())


def test_a_run_stops_early_and_keeps_its_last_weights(dataset: Dataset, linear: nn.Module) -> None:
    long = _train(linear, dataset, keep="epochs")
    result = _train(linear, dataset, early_stopping=3)
    done = len(result.epochs) - 1
    assert result.stopped_early
    assert done < 40
    assert result.epochs.equals(long.epochs[: done + 1])
    assert done - result.best_epoch == 3
    assert result.trajectory.steps == (Step(), Step(done))
    assert result.iterations == 4 * done
    last, best = long.trajectory.at(Step(done)), long.trajectory.at(Step(result.best_epoch))
    assert all(torch.equal(result.trajectory.last[name], tensor) for name, tensor in last.items())
    assert all(torch.equal(result.best[name], tensor) for name, tensor in best.items())


def test_steps_that_an_early_stopped_run_never_reached_are_left_out(dataset: Dataset, linear: nn.Module) -> None:
    done = len(_train(linear, dataset, early_stopping=3).epochs) - 1
    listed = tuple(map(Step.parse, ("0ep", "2ep", "39ep", "40ep")))
    result = _train(linear, dataset, early_stopping=3, keep=listed)
    assert result.trajectory.steps == (Step(), Step(2), Step(done))
    result = _train(linear, dataset, early_stopping=3, keep=listed[:3])
    assert result.trajectory.steps == (Step(), Step(2))
    assert not _train(linear, dataset, epochs=2, early_stopping=30).stopped_early


def test_a_network_that_only_gets_worse_is_best_at_its_start(dataset: Dataset, linear: nn.Module) -> None:
    trained = _train(linear, dataset, epochs=30)
    linear.load_state_dict(trained.best)
    ruin = {"name": "sgd", "lr": 100.0, "momentum": 0.0}
    result = _train(linear, dataset, epochs=20, optimizer=ruin, early_stopping=2)
    assert (result.best_epoch, len(result.epochs) - 1) == (0, 2)
    assert all(torch.equal(result.best[name], tensor) for name, tensor in trained.best.items())


def test_stopped_and_continued_the_best_weights_and_the_end_are_the_same(
    dataset: Dataset, convolutional: nn.Module, tmp_path: Path
) -> None:
    options = {"early_stopping": {"patience": 2, "min_delta": 0.02}, "best": "loss", "epochs": 8}
    through = _train(convolutional, dataset, **options)
    steps = through.iterations
    for stop in range(1, steps, 3):
        folder = tmp_path / str(stop)
        questions = iter([False] * stop + [True] * 1000)
        with pytest.raises(Interrupted):
            _train(convolutional, dataset, **options, resume=folder, should_stop=lambda: next(questions))  # noqa: B023
        result = _train(convolutional, dataset, **options, resume=folder)
        assert result.epochs.equals(through.epochs)
        assert all(torch.equal(result.best[name], tensor) for name, tensor in through.best.items())
        assert (result.stopped_early, result.best_epoch) == (through.stopped_early, through.best_epoch)


def test_the_resume_folder_holds_the_best_weights_once(dataset: Dataset, linear: nn.Module, tmp_path: Path) -> None:
    result = _train(linear, dataset, epochs=12, resume=tmp_path / "ends")
    files = {path.stem for path in (tmp_path / "ends" / "snapshots").iterdir()}
    assert {"0ep", "12ep"} < files
    assert len(files) <= 4  # the best of the last two checkpoints
    result = _train(linear, dataset, epochs=6, keep="epochs", resume=tmp_path / "epochs")
    assert {path.stem for path in (tmp_path / "epochs" / "snapshots").iterdir()} == {f"{e}ep" for e in range(7)}
    assert all(torch.equal(result.best[n], t) for n, t in result.trajectory.at(Step(result.best_epoch)).items())
