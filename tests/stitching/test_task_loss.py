from __future__ import annotations

import copy
import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch
from sklearn.linear_model import LinearRegression
from torch import nn

from tests.stitching.conftest import small_network
from tests.stitching.planted import permuted
from tests.stitching.reference import usual_training
from weightscape.data.dataset import Dataset, Split
from weightscape.data.specification import DataSettings
from weightscape.errors import DataError, Interrupted, ModelError, StoreError, TrainingError
from weightscape.models.addresses import find_layers
from weightscape.similarity.probe import choose_probe
from weightscape.stitching.moments import check_memory
from weightscape.stitching.pair import Pair, Wanted
from weightscape.stitching.result import StitchResult
from weightscape.stitching.settings import StitchSpec
from weightscape.stitching.task_loss import train_stitch, train_stitches
from weightscape.training.evaluation import evaluate

QUICK: dict[str, Any] = {"epochs": 2, "batch_size": 64, "probe": 100}
SPEC: dict[str, Any] = {"epochs": 2, "batch_size": 64}


def matrix(result: StitchResult, stage: str = "final") -> np.ndarray:
    table = result.matrix[result.matrix["stage"] == stage]
    found: np.ndarray = table.pivot(index="row", columns="column", values="value").to_numpy()
    return found


def equal(one: StitchResult, other: StitchResult) -> None:
    """Equal to the bit, tables and tensors included."""
    assert one.metrics() == other.metrics()
    for name in ("epochs", "iterations", "thresholds", "matrix", "biases", "singular_values"):
        pandas.testing.assert_frame_equal(getattr(one, name), getattr(other, name), check_exact=True)
    assert all(torch.equal(tensor, other.network[name]) for name, tensor in one.network.items())


def small(data: Dataset, images: int) -> Dataset:
    def cut(split: Split) -> Split:
        return replace(
            split, images=split.images[:images], labels=split.labels[:images], indices=split.indices[:images]
        )

    return replace(data, train=cut(data.train), test=cut(data.test))


def test_a_network_stitched_to_itself_by_the_identity_answers_as_before_at_every_layer(
    digits: Dataset, back: nn.Module
) -> None:
    layers = [name for name in find_layers(back, "all", example=digits.train.normalised(slice(2))) if name != "8"]
    found = train_stitches(back, back, digits, [{"front_layer": name, "init": "eye", "epochs": 0} for name in layers])
    assert len(layers) == 8
    for result in found.results:
        assert result.agreement == 1
        assert result.kl == pytest.approx(0, abs=1e-9)
        assert result.loss == pytest.approx(result.back_loss, abs=1e-5)
        assert result.relative_accuracy == result.relative_to_front == 1


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"target": "hard"},
        {"target": "soft_1", "temperature": 3.0},
        {"l1": 2.0},
        {"cka_reg": 0.5, "front_layer": "4"},
        {"cka_reg": -0.5},
    ],
)
def test_the_stitch_is_that_of_the_usual_loop_which_runs_everything(
    digits: Dataset, front: nn.Module, back: nn.Module, settings: dict[str, Any]
) -> None:
    given = {"front_layer": "1", "init": "eye", "schedule": "constant", "lr": 0.01, **SPEC, **settings}
    spec = StitchSpec.model_validate(given)
    size = 8 if spec.front_layer == "4" else 6
    expected = usual_training(front, back, digits, spec, torch.eye(size))
    (found,) = train_stitches(front, back, digits, [spec], probe=50).results
    np.testing.assert_allclose(matrix(found), expected.weight.detach().flatten(1), atol=2e-4)
    assert expected.bias is not None
    final = found.biases[found.biases["stage"] == "final"]["value"]
    np.testing.assert_allclose(final, expected.bias.detach(), atol=2e-4)
    assert np.abs(matrix(found) - np.eye(size)).max() > 0.05


def test_both_networks_see_the_same_augmented_images(digits: Dataset, back: nn.Module) -> None:
    augmented = replace(digits, settings=DataSettings(name="digits", augment="pad-crop-flip"))
    # With the same images the loss has its minimum at the identity: gradient descent does not move.
    options = {"init": "eye", "optimizer": "sgd", "lr": 0.1, **QUICK}
    found = train_stitch(back, back, augmented, "1", **options)
    np.testing.assert_allclose(matrix(found), np.eye(6), atol=1e-4)
    assert found.features == "computed"
    spec = StitchSpec(front_layer="1", init="eye", schedule="constant", target="hard", lr=0.01, **SPEC)
    expected = usual_training(back, back, augmented, spec, torch.eye(6))
    trained = train_stitches(back, back, augmented, [spec], probe=50).results[0]
    np.testing.assert_allclose(matrix(trained), expected.weight.detach().flatten(1), atol=2e-4)


def test_the_networks_and_their_running_statistics_are_left_alone(
    digits: Dataset, front: nn.Module, back: nn.Module
) -> None:
    before = [copy.deepcopy(network.state_dict()) for network in (front, back)]
    modes = [[module.training for module in network.modules()] for network in (front, back)]
    result = train_stitch(front, back, digits, "1", **QUICK)
    for network, state, mode in zip((front, back), before, modes, strict=True):
        assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())
        assert [module.training for module in network.modules()] == mode
        assert all(parameter.requires_grad for parameter in network.parameters())
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        assert torch.equal(result.network[f"front.1.{name}"], before[0][f"1.{name}"])
        assert torch.equal(result.network[f"back.4.{name}"], before[1][f"4.{name}"])


def test_the_seed_changes_order_and_what_is_drawn(digits: Dataset, front: nn.Module, back: nn.Module) -> None:
    options = ({"init": "ps_inv"}, {"init": "ps_inv", "mask": "semi-match"}, {"init": "random", "mask": "semi-match"})
    for one in options:
        specs = [{"front_layer": "1", "seed": seed, **one, **SPEC} for seed in (0, 1)]
        first, second = train_stitches(front, back, digits, specs, probe=50).results
        assert not np.allclose(matrix(first), matrix(second))
        drawn = not np.allclose(matrix(first, "initial"), matrix(second, "initial"))
        assert drawn == (one["init"] == "random")


def test_a_stitch_does_not_depend_on_its_company(digits: Dataset, front: nn.Module, back: nn.Module) -> None:
    specs = [
        {"front_layer": "4", "seed": 3, **SPEC},
        {"front_layer": "1", "init": "random", "target": "soft_12", **SPEC},
        {"front_layer": "4", "rank": 2, "cka_reg": 0.1, **SPEC},
        {"front_layer": "1", "mask": "random-permutation", "epochs": 1, "batch_size": 32},
    ]
    together = train_stitches(front, back, digits, specs, probe=50, measure_every=10).results
    for spec, result in zip(specs, together, strict=True):
        torch.randn(5)  # what others draw has no effect
        equal(train_stitches(front, back, digits, [spec], probe=50, measure_every=10).results[0], result)


def test_features_that_do_not_fit_into_memory_are_computed_batch_by_batch(
    digits: Dataset, front: nn.Module, back: nn.Module
) -> None:
    specs = [{"front_layer": name, **SPEC} for name in ("1", "4")]
    kept = train_stitches(front, back, digits, specs, probe=50)
    computed = train_stitches(front, back, digits, specs, probe=50, memory_limit=10)
    for one, other in zip(kept.results, computed.results, strict=True):
        assert (one.features, other.features) == ("cached", "computed")
        np.testing.assert_allclose(matrix(one), matrix(other), atol=1e-4)
        assert one.loss == pytest.approx(other.loss, abs=1e-4)


@pytest.mark.parametrize(("augment", "patiences"), [("none", (9, 19, 14)), ("pad-crop-flip", (9, 8, 5))])
def test_a_killed_training_goes_on_to_the_same_bits(
    digits: Dataset, front: nn.Module, back: nn.Module, tmp_path: Path, augment: Any, patiences: tuple[int, ...]
) -> None:
    data = replace(small(digits, 400), settings=DataSettings(name="digits", augment=augment))
    specs = [
        {"front_layer": "1", "epochs": 3, "batch_size": 64},
        {"front_layer": "4", "init": "random", "epochs": 2, "batch_size": 64, "l1": 0.1, "optimizer": "sgd"},
    ]
    options: dict[str, Any] = {"probe": 50, "measure_every": 5}
    whole = train_stitches(front, back, data, specs, **options).results
    for patience in patiences:
        asked = iter(range(10**6))

        def stop(asked: Any = asked, patience: int = patience) -> bool:
            return next(asked) > patience

        with pytest.raises(Interrupted):
            train_stitches(
                front, back, data, specs, resume=tmp_path, should_stop=stop, checkpoint_seconds=0.0, **options
            )
    resumed = train_stitches(front, back, data, specs, resume=tmp_path, **options).results
    for one, other in zip(whole, resumed, strict=True):
        equal(one, other)


def test_checkpoints_of_other_stitches_are_refused(
    digits: Dataset, front: nn.Module, back: nn.Module, tmp_path: Path
) -> None:
    options = {"front_layer": "1", "batch_size": 64}
    train_stitches(front, back, digits, [{**options, "epochs": 1}], probe=50, resume=tmp_path)
    other = train_stitches(front, back, digits, [{**options, "epochs": 1, "l1": 1.0}], probe=50, resume=tmp_path)
    with pytest.raises(StoreError, match=r"stitches.0.l1 is 1.0 here and 0.0 there"):
        _ = other.results


def test_the_beginning_and_the_end_are_told_apart(digits: Dataset, front: nn.Module, back: nn.Module) -> None:
    result = train_stitch(front, back, digits, "1", lr=0.01, **QUICK)
    begun = train_stitch(front, back, digits, "1", **{**QUICK, "epochs": 0})
    np.testing.assert_array_equal(matrix(begun), matrix(result, "initial"))
    np.testing.assert_array_equal(matrix(begun), matrix(begun, "initial"))
    assert np.abs(matrix(result) - matrix(result, "initial")).max() > 1e-3
    assert (begun.accuracy, begun.kl, begun.cka) == (result.initial_accuracy, result.initial_kl, result.initial_cka)
    assert result.kl < result.initial_kl
    assert begun.train_loss is None
    assert len(begun.epochs) == 0


def test_least_squares_fits_the_training_split_and_nothing_else(
    digits: Dataset, front: nn.Module, back: nn.Module
) -> None:
    other = replace(digits, test=replace(digits.test, images=255 - digits.test.images))
    for mask in ("identity", "semi-match", "abs-semi-match"):
        one, two = (train_stitch(front, back, data, "4", mask=mask, **QUICK) for data in (digits, other))
        np.testing.assert_array_equal(matrix(one), matrix(two))
        assert one.accuracy != two.accuracy


@pytest.mark.parametrize("mask", ["semi-match", "abs-semi-match", "random-permutation"])
def test_masked_entries_stay_exactly_0_and_the_bias_is_free(
    digits: Dataset, front: nn.Module, back: nn.Module, mask: str
) -> None:
    options = {**QUICK, "mask": mask, "init": "random", "weight_decay": 0.1, "optimizer": "sgd", "lr": 0.05}
    result = train_stitch(front, back, digits, "1", **options)
    initial, final = matrix(result, "initial") != 0, matrix(result) != 0
    np.testing.assert_array_equal(initial, final)
    assert (final.sum(1) == 1).all()
    if mask == "random-permutation":
        assert (final.sum(0) == 1).all()
    biases = [result.biases[result.biases["stage"] == stage]["value"].to_numpy() for stage in ("initial", "final")]
    assert (biases[0] != biases[1]).all()


def test_the_channels_of_a_permuted_copy_are_found(digits: Dataset, back: nn.Module) -> None:
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    front = permuted(back, order)
    for mask in ("identity", "semi-match"):
        found = train_stitch(front, back, digits, "1", **{**QUICK, "epochs": 0, "mask": mask})
        planted = torch.eye(6)[order].T
        np.testing.assert_allclose(matrix(found), planted, atol=1e-5)
        assert found.agreement == 1
        assert found.r2 == pytest.approx(1, abs=1e-6)


def test_penalties_push_where_they_say(digits: Dataset, front: nn.Module, back: nn.Module) -> None:
    options = {"front_layer": "4", "batch_size": 64, "epochs": 4, "lr": 0.01, "init": "random"}
    changes: list[dict[str, Any]] = [{}, {"l1": 5.0}, {"cka_reg": 3.0}, {"cka_reg": -3.0}]
    plain, sparse, low, high = train_stitches(front, back, digits, [{**options, **one} for one in changes]).results
    assert np.abs(matrix(sparse)).mean() < 0.7 * np.abs(matrix(plain)).mean()
    assert low.cka is not None
    assert plain.cka is not None
    assert high.cka is not None
    assert low.cka < plain.cka - 0.02
    assert high.cka > plain.cka
    assert (sparse.epochs["penalty"] > 0).all()
    assert low.epochs["batch_cka"].notna().all()
    assert plain.epochs["batch_cka"].isna().all()


@pytest.mark.parametrize("init", ["ps_inv", "orthogonal", "random"])
def test_low_rank_stitches_have_their_rank_between_different_widths(
    digits: Dataset, wide: nn.Module, back: nn.Module, init: str
) -> None:
    result = train_stitch(wide, back, digits, "4", init=init, rank=3, **QUICK)
    assert matrix(result).shape == (8, 12)
    values = result.singular_values[result.singular_values["stage"] == "final"]["value"].to_numpy()
    assert (values[3:] < 1e-5).all()
    assert (values[:3] > 1e-3).all()
    product = result.network["stitch.outer"] @ result.network["stitch.inner"]
    np.testing.assert_allclose(matrix(result), product, atol=1e-6)
    assert result.parameters == 3 * (8 + 12) + 8
    if init == "orthogonal":
        begun = result.singular_values[result.singular_values["stage"] == "initial"]["value"].to_numpy()
        np.testing.assert_allclose(begun[:3], 1, atol=1e-5)


def test_the_least_squares_of_a_low_rank_is_the_best_of_that_rank(
    digits: Dataset, wide: nn.Module, back: nn.Module
) -> None:
    specs = [{"front_layer": "4", "rank": rank, "epochs": 0} for rank in (1, 2, 4, 8)]
    results = train_stitches(wide, back, digits, [*specs, {"front_layer": "4", "epochs": 0}], probe=360).results
    explained = [result.r2 for result in results]
    assert all(one < other for one, other in pairwise(explained[:4]))  # type: ignore[operator]
    assert explained[3] == pytest.approx(explained[4], abs=1e-5)


def test_flat_stitches_map_pixels_and_vectors_alike(digits: Dataset, wide: nn.Module, back: nn.Module) -> None:
    flat = train_stitch(wide, back, digits, "4", flatten=True, **QUICK)
    assert flat.network["stitch.weight"].shape == (8 * 16, 12 * 16)
    assert flat.form == "flat"
    assert len(flat.matrix) == 0
    vectors = train_stitch(wide, back, digits, "7", init="ps_inv", **QUICK)
    assert vectors.network["stitch.weight"].shape == (32, 48)
    cross = train_stitch(wide, back, digits, "1", "4", flatten=True, init="random", **QUICK)
    assert cross.network["stitch.weight"].shape == (8 * 16, 9 * 36)


def test_maps_of_other_sizes_are_refused_resized_or_kept(digits: Dataset, front: nn.Module, back: nn.Module) -> None:
    with pytest.raises(ModelError, match=r"\(6, 6, 6\).*\(8, 4, 4\)"):
        train_stitch(front, back, digits, "1", "4", **QUICK)
    resized = train_stitch(front, back, digits, "1", "4", resize="bilinear", **QUICK)
    assert resized.r2 is not None
    assert resized.initial_r2 is not None
    assert resized.initial_r2 > 0.1
    kept = train_stitch(front, back, digits, "1", "4", resize="keep", init="random", **QUICK)
    assert kept.r2 is None
    assert kept.cka is not None
    with pytest.raises(ModelError, match="pixel by pixel"):
        train_stitch(front, back, digits, "1", "4", resize="keep", **QUICK)


@pytest.mark.parametrize(
    ("layers", "settings", "message"),
    [
        (("bn1",), {}, "front network: .* no layer 'bn1'"),
        (("1", "9"), {}, "back network: .* no layer '9'"),
        (("1", "4"), {"resize": "bilinear", "init": "eye"}, "equal numbers of channels"),
        (("1", "4"), {"resize": "bilinear", "mask": "random-permutation"}, "equal numbers of channels"),
        (("1",), {"rank": 7}, "rank from 1 to 6"),
        (("*",), {}, "one layer"),
        (("1", "7"), {"init": "random"}, "channel by channel"),
    ],
)
def test_what_cannot_be_stitched_is_said_before_anything_is_trained(
    digits: Dataset,
    front: nn.Module,
    back: nn.Module,
    layers: tuple[str, ...],
    settings: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(ModelError, match=message):
        train_stitch(front, back, digits, *layers, **{**QUICK, **settings})


def test_least_squares_of_large_flat_stitches_are_refused_before_they_fill_the_memory() -> None:
    with pytest.raises(ModelError, match=r"about 18.5 GiB, more than the 4.0 GiB"):
        check_memory((16, 30, 30), (16, 30, 30), form="flat", limit=4 * 2**30)
    check_memory((16, 30, 30), (16, 30, 30), form="affine", limit=4 * 2**30)
    check_memory((32, 4, 4), (64, 4, 4), form="flat", limit=4 * 2**30)


def test_too_few_images_for_a_batch_are_an_error(digits: Dataset, front: nn.Module, back: nn.Module) -> None:
    with pytest.raises(DataError, match=r"full batch of 64, received 40 training images.*smaller batch_size"):
        train_stitch(front, back, small(digits, 40), "1", **QUICK)


def test_a_back_network_that_answers_nan_is_said_before_anything_is_trained(
    digits: Dataset, front: nn.Module, back: nn.Module
) -> None:
    broken = copy.deepcopy(back)
    with torch.no_grad():
        next(module for module in reversed(list(broken.modules())) if isinstance(module, nn.Linear)).bias[0] = math.nan
    said: list[str] = []
    with pytest.raises(DataError, match=r"NaN for .* images"):
        train_stitch(front, broken, digits, "1", on_progress=lambda share, text: said.append(text), **QUICK)
    assert not any("epoch" in text for text in said)


def test_a_stitch_that_fails_stops_no_other(digits: Dataset, front: nn.Module, back: nn.Module) -> None:
    for memory in (None, 10):
        found = train_stitches(
            front,
            back,
            digits,
            [
                {"front_layer": "1", **SPEC},
                {"front_layer": "1", "optimizer": "sgd", "lr": 1e38, "init": "random", **SPEC},
                {"front_layer": "nowhere", **SPEC},
            ],
            probe=50,
            memory_limit=memory,
        )
        assert isinstance(found.members[0], StitchResult)
        assert isinstance(found.members[1], TrainingError)
        assert isinstance(found.members[2], ModelError)
        frame = found.to_frame()
        assert (frame["message"] != "").tolist() == [False, True, True]
        with pytest.raises(TrainingError, match="diverged"):
            _ = found.results


def test_several_labels_are_learnt_with_binary_cross_entropies(digits: Dataset) -> None:
    torch.manual_seed(0)

    def several(split: Split) -> Split:
        labels = torch.stack([split.labels % 2, split.labels > 4, split.labels % 3 == 0], 1).float()
        return replace(split, labels=labels)

    data = replace(
        digits, train=several(digits.train), test=several(digits.test), classes=("odd", "large", "divisible")
    )
    one, other = (small_network(seed, classes=3) for seed in (0, 1))
    result = train_stitch(one, other, data, "1", target="hard", init="random", epochs=4, batch_size=64, lr=0.02)
    assert result.loss < result.initial_loss
    assert result.both_right + result.only_stitched_right + result.only_back_right + result.both_wrong == 3 * 355
    soft = train_stitch(one, other, data, "1", init="random", epochs=4, batch_size=64, lr=0.02)
    assert soft.kl < 0.5 * soft.initial_kl


def test_indices_are_measured_along_the_training(digits: Dataset, front: nn.Module, back: nn.Module) -> None:
    result = train_stitch(front, back, digits, "4", measure_every=10, **{**QUICK, "probe": 355})
    steps = 2 * (len(digits.train) // 64)
    assert result.iterations["iteration"].tolist() == list(range(0, steps + 1, 10))
    assert result.iterations_taken == steps
    first = result.iterations.iloc[0]
    assert (first["accuracy"], first["kl"]) == (result.initial_accuracy, pytest.approx(result.initial_kl))
    assert first["cka"] == pytest.approx(result.initial_cka)
    assert first["cka_debiased"] <= first["cka"] + 1e-3


def test_the_regression_along_the_training_is_of_the_stitch_on_the_back(
    digits: Dataset, front: nn.Module, back: nn.Module
) -> None:
    result = train_stitch(front, back, digits, "1", measure_every=40, **{**QUICK, "probe": 355})
    pair = Pair(front, back, example=digits.train.normalised(slice(2)), device="cpu")
    images = choose_probe(digits.test, images=355).split.normalised()
    features = pair.features(images, Wanted(("1",), ("1",)))
    weight = torch.tensor(matrix(result), dtype=torch.float32)
    stitched = torch.einsum("ij,njhw->nhwi", weight, features["front/1"]).flatten(0, 2).double()
    own = features["back/1"].permute(0, 2, 3, 1).flatten(0, 2).double()
    oracle = LinearRegression().fit(own, stitched)
    residual = (stitched - torch.from_numpy(oracle.predict(own))).square().sum()
    expected = 1 - residual / (stitched - stitched.mean(0)).square().sum()
    assert result.iterations["linear_regression"].iloc[-1] == pytest.approx(float(expected), abs=1e-5)
    assert result.iterations["linear_regression"].nunique() > 1


def test_small_entries_are_set_to_0_and_scored_again(digits: Dataset, front: nn.Module, back: nn.Module) -> None:
    result = train_stitch(front, back, digits, "4", thresholds=(1e-4, 0.1, 1e9), **QUICK)
    table = result.thresholds.set_index("threshold")
    assert table.index.tolist() == [0, 1e-4, 0.1, 1e9]
    assert table.loc[0, "accuracy"] == result.accuracy
    assert table.loc[1e9, "sparsity"] == 1
    assert table.loc[0.1, "sparsity"] == pytest.approx((np.abs(matrix(result)) < 0.1).mean())
    assert table.loc[1e9, "accuracy"] < 0.4


def test_the_learning_rate_is_a_tenth_after_a_third_and_again_after_two_thirds(
    digits: Dataset, front: nn.Module, back: nn.Module
) -> None:
    result = train_stitch(front, back, small(digits, 200), "1", epochs=6, batch_size=64)
    np.testing.assert_allclose(result.epochs["lr"], [1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5])


def test_the_scores_are_those_of_the_network_that_is_kept(digits: Dataset, wide: nn.Module, back: nn.Module) -> None:
    from weightscape.models.stitches import StitchedNetwork, make_stitch

    result = train_stitch(wide, back, digits, "4", **QUICK)
    pair = Pair(wide, back, example=digits.train.normalised(slice(2)), device="cpu")
    cut = pair.back_cut("4")
    network = StitchedNetwork(pair.front_cut("4"), make_stitch(pair.front_shape("4"), cut.shape), cut)
    network.load_state_dict(result.network)
    found = evaluate(network, digits.test)
    assert found.accuracy == result.accuracy
    assert found.loss == pytest.approx(result.loss, abs=1e-5)
