from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pandas
import pytest
import torch
from sklearn.linear_model import LinearRegression
from torch import Tensor, nn

from tests.stitching.planted import permuted, rotation
from weightscape.data.dataset import Dataset
from weightscape.data.loading import load_data
from weightscape.errors import DataError, Interrupted, ModelError
from weightscape.similarity.geometry import Geometry
from weightscape.similarity.measure import find_measure
from weightscape.stitching.direct.likeness import StitchedRows, check_probe
from weightscape.stitching.direct.networks import stitch_directly
from weightscape.stitching.direct.result import COLUMNS
from weightscape.training.evaluation import evaluate
from weightscape.training.recipe import Recipe
from weightscape.training.run import train_model


def network(seed: int, widths: tuple[int, int] = (6, 8)) -> nn.Sequential:
    torch.manual_seed(seed)
    one, two = widths
    return nn.Sequential(
        nn.Conv2d(1, one, 3),
        nn.BatchNorm2d(one),
        nn.ReLU(inplace=True),
        nn.Conv2d(one, two, 3, stride=2),
        nn.BatchNorm2d(two),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(4 * two, 10),
    )


@pytest.fixture(scope="module")
def data() -> Dataset:
    return load_data("digits")


@pytest.fixture(scope="module")
def pair(data: Dataset) -> tuple[nn.Module, nn.Module]:
    networks = []
    for seed in (0, 1):
        made = network(seed)
        recipe = Recipe(epochs=2, batch_size=64, optimizer={"name": "sgd", "lr": 0.1, "momentum": 0.9})
        made.load_state_dict(train_model(made, data, recipe=recipe, order_seed=seed).trajectory.last)
        networks.append(made)
    return networks[0], networks[1]


def rows(table: pandas.DataFrame, method: str) -> pandas.DataFrame:
    return table[table["method"] == method].set_index("front_layer")


def test_a_network_with_permuted_channels_is_matched_exactly(data: Dataset, pair: tuple[nn.Module, nn.Module]) -> None:
    back = pair[1]
    front = permuted(back, torch.tensor([3, 0, 5, 1, 4, 2]))
    found = stitch_directly(front, back, data, "1, 2", methods=("identity", "permutation", "semi-match", "orthogonal"))
    accuracy = evaluate(back, data.test).accuracy
    assert found.back_accuracy == accuracy
    for method in ("permutation", "semi-match", "orthogonal"):
        matched = rows(found.matches, method)
        assert (matched["accuracy"] == accuracy).all()
        assert (matched["agreement"] == 1).all()
        np.testing.assert_allclose(matched["kl"], 0, atol=1e-8)
        np.testing.assert_allclose(matched[["r2", "cka", "cka_unstitched"]], 1, atol=1e-6)
        assert (matched["l2"] < 1e-9).all()
    assert (rows(found.matches, "identity")["accuracy"] < accuracy - 0.2).all()


def test_a_network_with_rotated_channels_is_matched_by_a_rotation_alone(
    data: Dataset, pair: tuple[nn.Module, nn.Module]
) -> None:
    back = pair[1]
    front = copy.deepcopy(back)
    turn = rotation(0, 6).float()
    with torch.no_grad():
        front.get_parameter("0.weight").copy_(torch.einsum("ij,jchw->ichw", turn, back.get_parameter("0.weight")))
        front.get_parameter("0.bias").copy_(turn @ back.get_parameter("0.bias"))
    methods = ("permutation", "orthogonal", "orthogonal-centred", "least-squares")
    found = stitch_directly(front, back, data, "0", methods=methods)
    accuracy = evaluate(back, data.test).accuracy
    for method in methods[1:]:
        matched = rows(found.matches, method).loc["0"]
        assert matched["accuracy"] == accuracy
        assert matched["r2"] == pytest.approx(1, abs=1e-6)
    torch.testing.assert_close(found.fitted["0", "0"][1].weight, turn.double().T, rtol=0, atol=1e-5)
    assert rows(found.matches, "permutation").loc["0", "r2"] < 0.9


def activations(given: nn.Module, images: Tensor, layer: int) -> Tensor:
    with torch.no_grad():
        return copy.deepcopy(given).eval()[: layer + 1](images).clone()  # type: ignore[index]


def test_stitches_are_fitted_to_training_images_and_scored_on_test_images(
    data: Dataset, pair: tuple[nn.Module, nn.Module]
) -> None:
    front, back = pair
    other = replace(data.test, images=255 - data.test.images)  # what the test images would teach is something else
    moved = replace(data, test=other)
    found = stitch_directly(front, back, moved, "4", methods=("least-squares",))
    (stitch,) = found.fitted["4", "4"]

    def pixels(split: Tensor, network_: nn.Module) -> np.ndarray:
        return activations(network_, split, 4).movedim(1, -1).reshape(-1, 8).double().numpy()

    train = data.train.normalised()
    oracle = LinearRegression().fit(pixels(train, front), pixels(train, back))
    np.testing.assert_allclose(stitch.weight, oracle.coef_, atol=1e-5)
    np.testing.assert_allclose(stitch.bias, oracle.intercept_, atol=1e-5)
    on_test = LinearRegression().fit(pixels(other.normalised(), front), pixels(other.normalised(), back))
    assert np.abs(on_test.coef_ - oracle.coef_).max() > 0.05
    row = rows(found.matches, "least-squares").loc["4"]
    predicted, wanted = oracle.predict(pixels(train, front)), pixels(train, back)
    explained = 1 - ((predicted - wanted) ** 2).sum() / ((wanted - wanted.mean(0)) ** 2).sum()
    assert row["train_r2"] == pytest.approx(explained, abs=1e-6)
    assert row["r2"] < row["train_r2"]
    # The scores are those of running everything on the test images.
    with torch.no_grad():
        matched = torch.einsum("ij,njhw->nihw", stitch.weight.float(), activations(front, other.normalised(), 4))
        matched = matched + stitch.bias.float()[:, None, None]
        logits = copy.deepcopy(back).eval()[5:](matched.clone())  # type: ignore[index]
    assert row["accuracy"] == float((logits.argmax(1) == other.labels).double().mean())
    assert row["loss"] == pytest.approx(float(nn.functional.cross_entropy(logits, other.labels)), rel=1e-5)
    assert row["l2"] == pytest.approx(
        float((matched - activations(back, other.normalised(), 4)).square().mean()), rel=1e-5
    )


def test_self_stitches_of_all_pairs_of_layers(data: Dataset, pair: tuple[nn.Module, nn.Module]) -> None:
    network_ = pair[0]
    found = stitch_directly(network_, network_, data, "*", "*", methods=("identity", "least-squares", "orthogonal"))
    table = found.matches
    same = table[(table["front_layer"] == table["back_layer"]) & (table["reason"] == "")]
    np.testing.assert_allclose(same["relative_accuracy"], 1)
    np.testing.assert_allclose(same[["r2", "cka"]], 1, atol=1e-6)
    assert list(table.columns) == list(COLUMNS)
    assert found.pairs == 64
    impossible = table[(table["front_layer"] == "1") & (table["back_layer"] == "4")]
    assert impossible["reason"].str.contains(r"\(6, 6, 6\).*\(8, 2, 2\)").all()
    assert impossible["accuracy"].isna().all()
    assert set(impossible["method"]) == {"identity", "least-squares", "orthogonal"}
    # From before to after the activation function information is lost, and only the way back cannot be bridged.
    one_way = table[(table["method"] == "least-squares")].set_index(["front_layer", "back_layer"])["r2"]
    assert one_way["2", "1"] < 0.999
    assert one_way["3", "4"] == pytest.approx(1, abs=1e-6)  # a batch norm in evaluation mode is affine
    assert list(table["depth"]) == sorted(table["depth"])


def test_impossible_pairs_that_were_named_are_an_error(data: Dataset, pair: tuple[nn.Module, nn.Module]) -> None:
    front, back = pair
    with pytest.raises(ModelError, match=r"\(6, 6, 6\).*\(8, 2, 2\).*resize"):
        stitch_directly(front, back, data, "1", "4")
    with pytest.raises(ModelError, match="front network: The model has no layer 'bn1'"):
        stitch_directly(front, back, data, "bn1")
    with pytest.raises(DataError, match="equal numbers"):
        stitch_directly(front, network(3, (5, 8)), data, "1", methods=("identity",))
    with pytest.raises(DataError, match="'ridge' needs values"):
        stitch_directly(front, back, data, "1", methods=("ridge",))
    with pytest.raises(DataError, match="at least one method"):
        stitch_directly(front, back, data, "1", methods=())
    with pytest.raises(DataError, match="probe set of 1 to"):
        stitch_directly(front, back, data, "1", images=10**6)


def test_networks_of_other_widths_are_matched_where_a_map_exists(
    data: Dataset, pair: tuple[nn.Module, nn.Module]
) -> None:
    wider = network(5, (9, 12))
    methods = ("identity", "permutation", "semi-match", "orthogonal", "least-squares", "reduced-rank")
    found = stitch_directly(pair[0], wider, data, "1,4", methods=methods, ranks=(2, 7)).matches
    reasons = found.set_index(["front_layer", "method", found["rank"].fillna(0)])["reason"]
    assert "semi-match" in reasons["1", "permutation", 0]
    assert "equal numbers" in reasons["1", "identity", 0]
    assert "rank of 1 to 6" in reasons["1", "reduced-rank", 7]
    assert not found.loc[found["method"].isin(["semi-match", "least-squares", "orthogonal"]), "reason"].any()
    assert found.loc[found["reason"] == "", "accuracy"].notna().all()


def test_whole_activations_are_matched_feature_by_feature(data: Dataset, pair: tuple[nn.Module, nn.Module]) -> None:
    front, back = pair
    found = stitch_directly(front, back, data, "4", "3", methods=("least-squares",), form="features", images=200)
    (stitch,) = found.fitted["4", "3"]
    assert tuple(stitch.weight.shape) == (32, 32)
    row = found.matches.iloc[0]
    # As many pixels are more unknowns, the fit is better than that of a map for all pixels alike.
    pixels = stitch_directly(front, back, data, "4", "3", methods=("least-squares",), images=200).matches.iloc[0]
    assert row["train_r2"] > pixels["train_r2"]
    sizes = stitch_directly(front, back, data, "1", "4", methods=("least-squares",), form="features", images=400)
    assert sizes.matches.iloc[0]["accuracy"] > 0.5
    assert sizes.train_images == 400


def test_networks_run_as_often_however_many_stitches_there_are(
    data: Dataset, pair: tuple[nn.Module, nn.Module]
) -> None:
    front, back = copy.deepcopy(pair[0]), copy.deepcopy(pair[1])
    calls = {"front": 0, "back": 0}

    class Counting(nn.Conv2d):
        name: str

        def forward(self, images: Tensor) -> Tensor:
            calls[self.name] += len(images)
            return super().forward(images)

    for name, made in (("front", front), ("back", back)):
        counting = Counting(1, 6, 3)
        counting.load_state_dict(made[0].state_dict())  # type: ignore[index]
        counting.name = name
        made[0] = counting  # type: ignore[index]
    counts = []
    for methods in (("least-squares",), ("identity", "permutation", "semi-match", "orthogonal", "least-squares")):
        calls.update(front=0, back=0)
        stitch_directly(front, back, data, "1,2", methods=methods, probe=100)
        counts.append(dict(calls))
    assert counts[0] == counts[1]


def test_networks_are_left_as_they_are(data: Dataset, pair: tuple[nn.Module, nn.Module]) -> None:
    front, back = pair
    front.train()
    before = copy.deepcopy(front.state_dict())
    stitch_directly(front, back, data, "1", methods=("least-squares",))
    assert front.training
    assert all(torch.equal(before[name], tensor) for name, tensor in front.state_dict().items())
    assert not any(module._forward_hooks for module in front.modules())


def test_matching_stops_when_asked(data: Dataset, pair: tuple[nn.Module, nn.Module]) -> None:
    with pytest.raises(Interrupted):
        stitch_directly(*pair, data, "1", should_stop=lambda: True)
    seen: list[float] = []
    stitch_directly(*pair, data, "1", on_progress=lambda share, text: seen.append(share))
    assert seen == sorted(seen)
    assert seen[-1] <= 1


@pytest.mark.parametrize("rank", [1, 3, 5])
def test_the_gram_matrix_of_a_stitch_is_that_of_its_output(rank: int) -> None:
    torch.manual_seed(0)
    activation, weight, bias = torch.randn(20, 5, 3, 4), torch.randn(7, rank) @ torch.randn(rank, 5), torch.randn(7)
    found = StitchedRows(activation, "pixels").stitched(weight.double())
    stitched = torch.einsum("ij,njhw->nihw", weight, activation) + bias[:, None, None]
    other = Geometry.of_activations(torch.randn(20, 11))
    for name in ("linear-cka", "linear-cka-debiased"):
        measure = find_measure(name)
        expected = measure.from_grams(Geometry.of_activations(stitched.flatten(1)), other)
        assert measure.from_grams(found, other) == pytest.approx(expected, abs=1e-5)
    flat = StitchedRows(activation, "features").stitched(torch.eye(60, dtype=torch.float64)[:rank])
    direct = Geometry.of_activations(activation.flatten(1)[:, :rank])
    assert find_measure("linear-cka").from_grams(flat, other) == pytest.approx(
        find_measure("linear-cka").from_grams(direct, other), abs=1e-5
    )


def test_a_stitch_of_nothing_has_no_similarity_and_explains_nothing(
    data: Dataset, pair: tuple[nn.Module, nn.Module]
) -> None:
    found = stitch_directly(*pair, data, "1", methods=("sparse",), l1=(1e9,)).matches.iloc[0]
    assert found["sparsity"] == 1
    assert np.isnan(found["cka"])
    assert found["cka_unstitched"] > 0
    assert found["train_r2"] == pytest.approx(0, abs=1e-9)
    assert np.isfinite(found["kl"])


def test_memory_of_the_probe_images_is_known_before() -> None:
    check_probe({"conv": (64, 10, 10)}, 100, limit=3 * 4 * 6400 * 100)
    with pytest.raises(DataError, match=r"'?conv.*7.3.*MiB.*probe=99"):
        check_probe({"conv": (64, 10, 10)}, 100, limit=3 * 4 * 6400 * 100 - 1)
