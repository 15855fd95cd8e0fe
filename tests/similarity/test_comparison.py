from __future__ import annotations

import copy
from pathlib import Path

import numpy
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import weightscape as ws
from weightscape.data.dataset import Split
from weightscape.errors import DataError, ModelError
from weightscape.similarity.capture import capture
from weightscape.similarity.declaration import UndefinedMeasure
from weightscape.similarity.representation import representation_of
from weightscape.similarity.result import Comparison
from weightscape.similarity.rows import as_rows
from weightscape.weights.files import load_weights, save_weights
from weightscape.weights.population import Population

LAYERS = "conv0, act0, conv1, fc"


def network(seed: int, **options: object) -> nn.Module:
    settings = {"name": "cnn", "depth": 2, "channels": 4, "pooling": "none", **options}
    return ws.build_model(settings, shape=(1, 6, 6), classes=3, seed=seed)


def samples(count: int = 40, *, size: int = 16, seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    random = torch.Generator().manual_seed(seed)
    images, labels = torch.randn(count, 1, 6, 6, generator=random), torch.randint(3, (count,), generator=random)
    return [(images[start : start + size], labels[start : start + size]) for start in range(0, count, size)]


def value_of(found: Comparison, source: str, target: str, measure: str | None = None) -> float:
    rows = found.layers.loc[(found.layers["source_layer"] == source) & (found.layers["target_layer"] == target)]
    rows = rows if measure is None else rows.loc[rows["measure"] == measure]
    (value,) = rows["value"]
    return float(value)


class Counting(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.calls = inner, 0

    def forward(self, inputs: Tensor) -> Tensor:
        self.calls += len(inputs)
        return self.inner(inputs)


@pytest.mark.parametrize("form", ["features", "pooled"])
@pytest.mark.parametrize("measure", ["linear-cka", "linear-cka-debiased", "procrustes", "rsa-pearson"])
def test_every_cell_is_the_measure_of_the_activations_themselves(form: str, measure: str) -> None:
    first, second, shown = network(0), network(1, channels=3), samples()
    found = ws.compare(first, second, shown, layers=LAYERS, measures=measure, form=form)
    one, other = (capture(model, shown, LAYERS, form=form) for model in (first, second))
    for layer, x in one.items():
        for partner, y in other.items():
            assert value_of(found, layer, partner) == pytest.approx(float(ws.similarity_of(x, y, measure)), abs=1e-6)
    assert (found.layers["n"] == 40).all()
    assert set(found.layers["form"]) == {form}


def test_channels_are_compared_over_all_pixels() -> None:
    first, second, shown = network(0), network(1), samples()
    found = ws.compare(first, second, shown, layers=LAYERS, measures=["semi-match", "l2", "linear-cka"], form="pixels")
    one, other = (capture(model, shown, LAYERS, form="pixels") for model in (first, second))
    for measure in ("semi-match", "l2", "linear-cka"):
        expected = float(ws.similarity_of(one["conv0"], other["act0"], measure))
        assert value_of(found, "conv0", "act0", measure) == pytest.approx(expected, rel=1e-5)
    counts = found.layers.set_index(["source_layer", "target_layer"])["n"]
    assert set(counts.loc["conv0", "act0"]) == {40 * 36}


def test_layers_without_common_pixels_have_a_message_and_the_others_their_values() -> None:
    found = ws.compare(network(0), network(1), samples(), layers=LAYERS, measures="semi-match").layers
    missing = found.loc[found["value"].isna()]
    assert set(zip(missing["source_layer"] == "fc", missing["target_layer"] == "fc", strict=True)) == {
        (True, False),
        (False, True),
    }
    assert missing["message"].str.contains("their pixels do not correspond").all()
    assert (found.loc[found["value"].notna(), "message"] == "").all()


def test_a_network_with_its_units_permuted_is_the_same_for_every_invariant_measure() -> None:
    first = network(0)
    second = copy.deepcopy(first)
    order = torch.tensor([2, 0, 3, 1])
    with torch.no_grad():
        second.conv0.weight.copy_(first.conv0.weight[order])
        second.conv0.bias.copy_(first.conv0.bias[order])
        second.conv1.weight.copy_(first.conv1.weight[:, order])
    measures = ["linear-cka", "linear-cka-debiased", "rsa-pearson", "procrustes", "l2", "one-to-one-match"]
    found = ws.compare(first, second, samples(), layers=LAYERS, measures=measures)
    for measure in measures[:3]:
        assert found.matrix(measure).to_numpy().diagonal() == pytest.approx(numpy.ones(4), abs=1e-6)
    assert found.matrix("procrustes").to_numpy().diagonal() == pytest.approx(numpy.zeros(4), abs=1e-5)
    assert value_of(found, "conv0", "conv0", "one-to-one-match") == pytest.approx(1)
    assert value_of(found, "conv0", "conv0", "l2") > 0.01
    assert found.mean == pytest.approx(1)


def test_every_network_runs_once_whatever_the_layers_and_measures() -> None:
    networks = {str(seed): Counting(network(seed)) for seed in range(3)}
    options = {"layers": "inner.conv0, inner.fc", "forward": lambda model, batch: model(batch[0])}
    measures = ["linear-cka", "semi-match", "prediction-agreement"]
    ws.compare_all(networks, samples(), measures=measures, **options)
    # two samples of the first batch tell which layers there are and how large
    assert {one.calls for one in networks.values()} == {40 + 2}


def test_networks_are_the_same_afterwards() -> None:
    model = network(0).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    ws.compare(model, network(1), samples(), layers=LAYERS, measures=["linear-cka", "l2"])
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_all_pairs_of_many_networks_are_those_of_two_at_a_time() -> None:
    networks = {"a": network(0), "b": network(1), "c": network(2)}
    measures = ["linear-cka-debiased", "l2"]
    found = ws.compare_all(networks, samples(), layers="conv0, fc", measures=measures)
    assert found.pairs == 3
    for (source, target), rows in found.layers.groupby(["source", "target"]):
        alone = ws.compare(networks[source], networks[target], samples(), layers="conv0, fc", measures=measures)
        assert rows["value"].to_numpy() == pytest.approx(alone.layers["value"].to_numpy(), nan_ok=True)


def test_a_population_of_weights_is_compared_with_its_module() -> None:
    networks = [network(seed) for seed in range(3)]
    population = Population([(f"seed{seed}", one.state_dict()) for seed, one in enumerate(networks)])
    found = ws.compare_all(population, samples(), model=networks[0], layers="conv0")
    expected = ws.compare_all(networks, samples(), layers="conv0")
    assert found.layers["value"].to_numpy() == pytest.approx(expected.layers["value"].to_numpy())
    assert set(found.layers["source"]) == {"seed0", "seed1"}
    with pytest.raises(DataError, match="model=network"):
        ws.compare_all(population, samples())


def test_outputs_agreement_and_mistakes_are_rows_of_their_own() -> None:
    first, second, shown = network(0), network(1), samples()
    measures = ["prediction-agreement", "mistakes-kappa", "output-kl"]
    found = ws.compare(first, second, shown, layers="fc", measures=measures).layers.set_index("measure")
    with torch.no_grad():
        images, labels = (torch.cat(parts) for parts in zip(*shown, strict=True))
        one, other = first(images), second(images)
    assert set(found["source_layer"]) == {"output"}
    agreement = (one.argmax(1) == other.argmax(1)).double().mean()
    assert found.loc["prediction-agreement", "value"] == pytest.approx(float(agreement))
    kappa = ws.shared_mistakes(one.argmax(1), other.argmax(1), labels).kappa
    assert found.loc["mistakes-kappa", "value"] == pytest.approx(kappa)


def test_a_measure_without_any_value_says_why_and_the_others_keep_theirs() -> None:
    shown = samples()
    with torch.no_grad():
        right = [(images, network(0)(images).argmax(1)) for images, _ in shown]
    measures = ["mistakes-kappa", "linear-cka"]
    found = ws.compare(network(0), network(0), right, layers="fc", measures=measures)
    rows = found.layers.set_index("measure")
    assert "says nothing about which samples are hard" in rows.loc["mistakes-kappa", "message"]
    assert rows.loc["linear-cka", "value"] == pytest.approx(1.0)
    others = ws.compare_all([network(0), network(1), network(2)], right, layers="fc", measures="mistakes-kappa").layers
    assert list(others["message"] == "") == list(others["value"].notna())
    with pytest.raises(UndefinedMeasure, match="says nothing about which samples are hard"):
        ws.compare(network(0), network(0), right, layers="fc", measures="mistakes-kappa")


def test_what_is_no_network_says_what_to_do() -> None:
    weights = network(0).state_dict()
    with pytest.raises(DataError, match="load_state_dict"):
        ws.compare(weights, weights, samples())  # type: ignore[arg-type]
    with pytest.raises(DataError, match="weightscape compare A B"):
        ws.compare("a.pt", "b.pt", samples())  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"such as data\.test"):
        ws.compare(network(0), network(1), ws.load_data("digits"))  # type: ignore[arg-type]


def test_one_similarity_takes_a_measure_as_comparisons_do() -> None:
    x, y = torch.randn(2, 60, 5, generator=torch.Generator().manual_seed(0)).unbind()
    settings = {"name": "svcca", "variance": 0.9}
    assert float(ws.similarity_of(x, y, settings)) == float(ws.similarity_of(x, y, "svcca", variance=0.9))
    with pytest.raises(DataError, match="no option 'varianc'"):
        ws.similarity_of(x, y, {"name": "svcca", "varianc": 0.9})


def test_mistakes_without_labels_are_an_error() -> None:
    images = [batch[0] for batch in samples()]
    with pytest.raises(DataError, match="right class of every sample"):
        ws.compare(network(0), network(1), images, layers="fc", measures="mistakes-kappa")


def test_linear_cka_of_the_logits_by_batch_is_the_mean_over_batches() -> None:
    # phase-zoo: the biased estimator on mini-batches of 128, averaged over the first ten
    first, second = network(0), network(1)
    shown = samples(48, size=16)
    found = ws.compare(first, second, shown, layers="fc", measures="linear-cka", average_over=16)
    by_hand = []
    with torch.no_grad():
        for images, _ in shown:
            x, y = (model(images) - model(images).mean(0) for model in (first, second))
            by_hand.append(float((x.T @ y).norm() ** 2 / ((x.T @ x).norm() * (y.T @ y).norm())))
    assert value_of(found, "fc", "fc") == pytest.approx(numpy.mean(by_hand), rel=1e-5)


def test_stored_representations_give_the_same_values_without_networks(tmp_path: Path) -> None:
    first, second, shown = network(0), network(1), samples()
    measures = ["linear-cka-debiased", "procrustes", "prediction-agreement", "mistakes-jaccard"]
    direct = ws.compare(first, second, shown, layers=LAYERS, measures=measures, null=5).layers
    stored = []
    for name, model in (("a", first), ("b", second)):
        save_weights(tmp_path / f"{name}.safetensors", ws.represent(model, shown).grams)
        stored.append(representation_of(load_weights(tmp_path / f"{name}.safetensors")))
    later = ws.compare(*stored, layers=LAYERS, measures=measures, null=5).layers
    assert later.drop(columns="message").equals(direct.drop(columns="message"))
    assert stored[0].layers["layer"].tolist() == ["conv0", "act0", "conv1", "act1", "flatten", "fc"]


def test_what_a_representation_is_of_is_in_its_table() -> None:
    found = ws.represent(network(0), samples(), layers="conv1, fc", form="pooled")
    rows = found.layers.to_dict("records")
    assert rows[0] == {
        "layer": "conv1",
        "depth": 0,
        "shape": "4x6x6",
        "width": 4,
        "form": "pooled",
        "bytes": 40 * 40 * 8,
    }
    assert (found.count, found.form) == (40, "pooled")


def test_representations_of_other_samples_are_refused() -> None:
    one, other = ws.represent(network(0), samples()), ws.represent(network(1), samples(seed=1))
    with pytest.raises(DataError, match=r"taken on other images.*fingerprints"):
        ws.compare(one, other)


def test_how_samples_are_cut_into_batches_makes_no_odds() -> None:
    one, other = ws.represent(network(0), samples(size=8)), ws.represent(network(1), samples(size=40))
    direct = ws.compare(network(0), network(1), samples())
    assert ws.compare(one, other).layers["value"].to_numpy() == pytest.approx(direct.layers["value"].to_numpy())


def test_a_stored_layer_that_does_not_exist_has_the_closest_name() -> None:
    one = ws.represent(network(0), samples())
    with pytest.raises(DataError, match="Did you mean 'conv1'"):
        ws.compare(one, one, layers="convv1")


def test_measures_of_channels_need_the_networks() -> None:
    one = ws.represent(network(0), samples())
    with pytest.raises(DataError, match="Compare the networks themselves"):
        ws.compare(one, one, measures="semi-match")
    with pytest.raises(DataError, match="two networks or two representations"):
        ws.compare(one, network(0), samples())


def test_a_probe_set_of_a_split_has_the_fingerprint_of_its_pixels() -> None:
    images = torch.randint(0, 256, (30, 1, 6, 6), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    split = Split(images, torch.arange(30) % 3, torch.arange(30), torch.tensor([0.5]), torch.tensor([0.2]))
    probe = ws.choose_probe(split, images=20)
    found = ws.compare(network(0), network(1), probe, layers="fc")
    assert (found.fingerprint, found.count) == (probe.fingerprint, 20)


def test_a_shuffled_loader_is_refused() -> None:
    data = TensorDataset(*(torch.cat(parts) for parts in zip(*samples(), strict=True)))
    with pytest.raises(DataError, match="shuffle=False"):
        ws.compare(network(0), network(1), DataLoader(data, batch_size=8, shuffle=True), layers="fc")


def test_an_unknown_layer_has_the_closest_name() -> None:
    with pytest.raises(ModelError, match="Did you mean 'conv1'"):
        ws.compare(network(0), network(1), samples(), layers="convv1")


def test_too_few_samples_are_refused_for_the_measure_that_needs_more() -> None:
    few = samples(3, size=3)
    with pytest.raises(DataError, match="needs at least 4 samples"):
        ws.compare(network(0), network(1), few, layers="fc")


def test_a_measure_degenerate_for_wide_layers_has_messages_there_and_values_elsewhere() -> None:
    found = ws.compare(network(0), network(1), samples(), layers="conv0, fc", measures="mean-cca").layers
    values = found.set_index(["source_layer", "target_layer"])
    assert numpy.isfinite(values.loc[("fc", "fc"), "value"])
    assert "more samples than the ranks" in values.loc[("conv0", "conv0"), "message"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"measures": "linear-ckaa"}, "Did you mean 'linear-cka'"),
        ({"measures": {"name": "svcca", "varianc": 0.9}}, "no option 'varianc'"),
        ({"measures": []}, "at least one measure"),
        ({"measures": "rsa-pearson", "form": "pixels"}, "of pixels there are too many"),
        ({"measures": "l2", "intervals": "jackknife"}, "no intervals over samples"),
    ],
)
def test_what_cannot_be_computed_is_refused_before_any_network_runs(options: dict[str, object], message: str) -> None:
    model = Counting(network(0))
    with pytest.raises((DataError, ValueError), match=message):
        ws.compare(model, model, samples(), layers="inner.fc", **options)
    assert model.calls == 0


def test_options_of_a_measure_are_part_of_its_name_in_the_table() -> None:
    measures = [{"name": "svcca", "variance": 0.5}, "linear-cka"]
    found = ws.compare(network(0), network(1), samples(), layers="fc", measures=measures)
    assert found.measures == "svcca (variance=0.5), linear-cka"


def test_intervals_and_null_are_columns() -> None:
    found = ws.compare(network(0), network(1), samples(), layers="fc", intervals="jackknife", null=20).layers.iloc[0]
    assert found["low"] < found["value"] < found["high"]
    assert found["null_low"] < found["null"] < found["null_high"]
    assert 1 / 21 <= found["p_value"] <= 1


def test_the_null_of_channels_pairs_every_image_with_another() -> None:
    model = network(0)
    found = ws.compare(model, model, samples(), layers="conv0", measures="l2", null=3).layers.iloc[0]
    rows = as_rows(capture(model, samples(), "conv0", form="features")["conv0"], "features")
    unrelated = 2 * rows.var(dim=0, unbiased=True).mean()  # of two different images
    assert found["value"] == pytest.approx(0, abs=1e-6)
    assert 0.3 * unrelated < found["null"] < 1.5 * unrelated


def test_the_share_of_layers_that_find_their_own_is_counted() -> None:
    model = network(0)
    assert ws.compare(model, model, samples(), layers=LAYERS).identified == 1.0
    assert ws.compare(model, model, samples(), layers="fc").identified is None
    distances = ws.compare(model, model, samples(), layers=LAYERS, measures="procrustes")
    assert distances.identified == 1.0


def test_a_notebook_draws_the_heat_map() -> None:
    found = ws.compare(network(0), network(1), samples(), layers=LAYERS)
    figure = found.plot(title="two networks")
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["conv0", "act0", "conv1", "fc"]
    assert "linear-cka-debiased: conv0" in repr(found)


def test_more_activations_than_the_limit_are_refused_before_they_are_kept() -> None:
    with pytest.raises(DataError, match=r"memory"):
        ws.compare(network(0), network(1), samples(), layers=LAYERS, limit=10_000)
