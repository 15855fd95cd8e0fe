"""Small tables as a study makes them."""

from __future__ import annotations

import numpy
import pandas
import pytest

METHODS = ("naive", "gmt", "fgmt", "oracle")


@pytest.fixture
def steps() -> pandas.DataFrame:
    """Three pairs, four methods, steps 0 to 5."""
    draws = numpy.random.default_rng(0)
    rows = [
        {
            "key": f"{method}-{pair}",
            "method": method,
            "source.seed": pair,
            "target.seed": pair + 3,
            "step": step,
            "fraction": step / 5,
            "validation_accuracy": 0.5 + 0.08 * step + 0.05 * draws.random(),
            "test_accuracy": 0.4 + 0.08 * step + 0.05 * draws.random(),
            "source_accuracy": 0.3 + 0.1 * step + 0.01 * pair,
            "cosine_matching": None if method == "naive" else 0.6 + 0.1 * draws.random(),
            "cosine_heldout": 0.3 + 0.1 * draws.random(),
            "cosine_null": 0.01 * draws.standard_normal(),
        }
        for method in METHODS
        for pair in range(3)
        for step in range(6)
    ]
    return pandas.DataFrame(rows)


@pytest.fixture
def epochs() -> pandas.DataFrame:
    """Four seeds, epochs 0 to 10, without training values at epoch 0."""
    draws = numpy.random.default_rng(1)
    rows = [
        {
            "seed": seed,
            "epoch": epoch,
            "train_loss": 1 / epoch if epoch else None,
            "validation_loss": 1.1 / (epoch + 0.5) + 0.01 * draws.random(),
            "validation_accuracy": 1 - 0.5 / (epoch + 1) - 0.01 * draws.random(),
        }
        for seed in range(4)
        for epoch in range(11)
    ]
    return pandas.DataFrame(rows)
