from __future__ import annotations

import math

import pandas
import torch

from weightscape.step import Step
from weightscape.training.recipe import Recipe
from weightscape.training.result import TrainResult, binomial_stderr, summarise
from weightscape.weights.trajectory import Trajectory


def _summary(validation: list[float], test: list[float], **recipe: object) -> TrainResult:
    rows = [
        {
            "epoch": epoch,
            "lr": 0.1 if epoch else None,
            "train_loss": 1 / epoch if epoch else None,
            "train_accuracy": 0.5 if epoch else None,
            "validation_loss": 1.0 - share,
            "validation_accuracy": share,
            "test_loss": 2.0 - other,
            "test_accuracy": other,
        }
        for epoch, (share, other) in enumerate(zip(validation, test, strict=True))
    ]
    trajectory = Trajectory({Step(): {"w": torch.zeros(1)}})
    return summarise(
        rows,
        trajectory,
        recipe=Recipe.model_validate({"epochs": 4, **recipe}),
        best={},
        state={},
        test_stderr=binomial_stderr(test[-1], 100),
        iterations=12,
        seconds=3.5,
    )


def test_the_best_epoch_is_chosen_on_validation_and_reported_on_test() -> None:
    # The test split prefers epoch 1; of the two best on validation, the first counts.
    result = _summary(validation=[0.1, 0.6, 0.9, 0.9, 0.8], test=[0.1, 0.99, 0.7, 0.75, 0.8])
    assert result.best_epoch == 2
    assert result.best_validation_accuracy == 0.9
    assert result.best_test_accuracy == 0.7


def test_the_best_epoch_can_be_chosen_by_loss() -> None:
    shares = [0.1, 0.6, 0.9, 0.9, 0.8]
    assert _summary(validation=shares, test=shares, best="loss").best_epoch == 2
    late = {"by": "accuracy", "first_epoch": 3}
    assert _summary(validation=shares, test=shares, best=late).best_epoch == 3


def test_the_final_numbers_are_those_of_the_last_epoch() -> None:
    result = _summary(validation=[0.1, 0.9, 0.8], test=[0.1, 0.7, 0.64])
    assert result.validation_accuracy == 0.8
    assert result.test_accuracy == 0.64
    assert result.test_accuracy_stderr == math.sqrt(0.64 * 0.36 / 100)
    assert result.train_loss == 0.5


def test_the_table_is_numeric_with_gaps_before_training() -> None:
    table = _summary(validation=[0.1], test=[0.2]).epochs
    assert [str(kind) for kind in table.dtypes] == ["int64"] + ["float64"] * 7
    assert list(table.columns[table.isna().any()]) == ["lr", "train_loss", "train_accuracy"]


def test_tensors_and_tables_are_no_metrics() -> None:
    result = _summary(validation=[0.1, 0.2], test=[0.2, 0.3])
    assert not {"trajectory", "epochs"} & result.metrics().keys()
    assert isinstance(result.epochs, pandas.DataFrame)
    assert result.to_frame()["best_epoch"].item() == 1
