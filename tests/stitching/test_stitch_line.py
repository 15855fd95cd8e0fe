from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from weightscape.data.dataset import Dataset
from weightscape.errors import ModelError
from weightscape.models.stitches import AffineStitch, Form, StitchedNetwork, make_stitch
from weightscape.stitching.line import line_of_stitches
from weightscape.stitching.pair import Pair
from weightscape.training.evaluation import evaluate


def stitched(
    front: nn.Module, back: nn.Module, digits: Dataset, *, seed: int, form: Form = "affine", rank: int | None = None
) -> StitchedNetwork:
    pair = Pair(front, back, example=digits.train.normalised(slice(2)), device="cpu")
    cut = pair.back_cut("1")
    torch.manual_seed(seed)
    return StitchedNetwork(
        pair.front_cut("1"), make_stitch(pair.front_shape("1"), cut.shape, form=form, rank=rank), cut
    )


def test_the_ends_are_the_stitches_and_the_middle_is_their_mean(
    digits: Dataset, front: nn.Module, back: nn.Module
) -> None:
    one, other = (stitched(front, back, digits, seed=seed) for seed in (0, 1))
    line = line_of_stitches(one, other, digits.test, back=back, points=3)
    middle = copy.deepcopy(one)
    assert isinstance(middle.stitch, AffineStitch)
    with torch.no_grad():
        for mine, end in zip(middle.stitch.parameters(), other.stitch.parameters(), strict=True):
            mine.add_(end).div_(2)
    for row, network in zip(line.line.to_dict("records"), (one, middle, other), strict=True):
        found = evaluate(network, digits.test)
        assert row["accuracy"] == found.accuracy
        assert row["loss"] == pytest.approx(found.loss, abs=1e-5)
        assert row["relative_accuracy"] == pytest.approx(found.accuracy / evaluate(back, digits.test).accuracy)
    losses = line.line["loss"]
    assert line.loss_barrier == pytest.approx(max(0.0, losses[1] - (losses[0] + losses[2]) / 2))
    assert line.line["alpha"].tolist() == [0, 0.5, 1]
    assert (line.first_accuracy, line.second_accuracy) == (line.line["accuracy"][0], line.line["accuracy"][2])


def test_without_the_back_network_only_loss_and_accuracy_are_measured(
    digits: Dataset, front: nn.Module, back: nn.Module
) -> None:
    one, other = (stitched(front, back, digits, seed=seed) for seed in (0, 1))
    line = line_of_stitches(one, other, digits.test, points=2)
    assert line.line["kl"].isna().all()
    assert line.lowest_relative_accuracy is None
    assert line.line["accuracy"].notna().all()


def test_a_stitch_of_low_rank_is_its_matrix(digits: Dataset, front: nn.Module, back: nn.Module) -> None:
    low = stitched(front, back, digits, seed=0, form="low-rank", rank=2)
    line = line_of_stitches(low, stitched(front, back, digits, seed=1), digits.test, back=back, points=2)
    assert line.first_accuracy == evaluate(low, digits.test).accuracy


def test_stitches_of_other_networks_are_refused(
    digits: Dataset, front: nn.Module, back: nn.Module, wide: nn.Module
) -> None:
    one = stitched(front, back, digits, seed=0)
    options: dict[str, Any] = {"points": 2}
    with pytest.raises(ModelError, match="two stitches between the same two networks"):
        line_of_stitches(one, stitched(back, back, digits, seed=0), digits.test, **options)
    with pytest.raises(ModelError, match="the same two networks"):
        line_of_stitches(one, stitched(wide, back, digits, seed=0), digits.test, **options)
    with pytest.raises(ModelError, match=r"matrices \(6, 6\) and \(216, 216\)"):
        line_of_stitches(one, stitched(front, back, digits, seed=0, form="flat"), digits.test, **options)
    with pytest.raises(ModelError, match="Expected a stitched network, received Sequential"):
        line_of_stitches(one, back, digits.test, **options)
