"""Gram matrices are inner products of all samples, whatever the batches, the memory and the number of passes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from weightscape.data.dataset import Split
from weightscape.errors import DataError
from weightscape.models.building import build_model
from weightscape.similarity.capture import capture
from weightscape.similarity.gram_plan import plan_grams
from weightscape.similarity.grams import (
    StreamedGrams,
    gram_of,
    grams,
    grams_of_tensors,
    tensors_of_grams,
)
from weightscape.similarity.probe import choose_probe
from weightscape.weights.files import load_weights, save_weights

IMAGES = torch.randn(11, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return build_model("tiny10", shape=(3, 32, 32), classes=10)


@pytest.mark.parametrize(("count", "width"), [(1, 1), (5, 3), (300, 40), (700, 5), (20, 5000)])
def test_half_of_the_products_gives_all_of_the_matrix(count: int, width: int) -> None:
    rows = torch.randn(count, width, dtype=torch.float64)
    blocks = rows.split(max(1, count // 3))
    matrix = gram_of(blocks)
    torch.testing.assert_close(matrix, rows @ rows.T)
    assert torch.equal(matrix, matrix.T)


@pytest.mark.parametrize("form", ["features", "pooled", "pixels"])
def test_grams_are_the_inner_products_of_what_capture_returns(model: nn.Module, form: str) -> None:
    images = IMAGES[:2] if form == "pixels" else IMAGES
    found = grams(model, list(images.split(4)), "bn3,bn8,fc", form=form)
    rows = capture(model, list(images.split(4)), "bn3,bn8,fc", form=form)
    assert list(found) == ["bn3", "bn8", "fc"]
    for layer, gram in found.items():
        expected = rows[layer].double() @ rows[layer].double().T
        torch.testing.assert_close(gram.matrix, expected)
        torch.testing.assert_close(gram.row_means, expected.mean(dim=1))
        assert (gram.width, gram.layer) == (rows[layer].shape[1], layer)


def test_features_of_different_layouts_have_the_same_products(model: nn.Module) -> None:
    fast = grams(model, [IMAGES], "bn1", device="cpu")["bn1"]  # a copy in the layout channels_last
    torch.testing.assert_close(fast.matrix, grams(model, [IMAGES], "bn1")["bn1"].matrix, rtol=1e-5, atol=1e-3)


def test_what_does_not_fit_is_computed_in_several_passes_that_the_plan_announces(model: nn.Module) -> None:
    whole = grams(model, list(IMAGES.split(3)), "bn*")
    batches = list(IMAGES.split(3))
    passes = []
    handle = model.fc.register_forward_hook(lambda *_: passes.append(1))
    try:
        for limit, expected in ((8 << 30, 1), (1 << 20, None), (300_000, None)):
            plan = plan_grams(model, batches, "bn*", limit=limit)
            assert plan.bytes <= limit
            assert plan.count == 11
            assert expected is None or len(plan.passes) == expected
            passes.clear()
            found = grams(model, batches, "bn*", limit=limit)
            looks = 1 + len(plan.passes)  # each pass looks at its layers first
            assert len(passes) == looks + len(batches) * len(plan.passes)
            for layer, gram in found.items():
                torch.testing.assert_close(gram.matrix, whole[layer].matrix)
                assert gram.width == whole[layer].width
                assert gram.fingerprint == whole[layer].fingerprint
        assert [features["bn1"] for features in plan.passes if "bn1" in features][1] == slice(4800, 9600)  # in parts
        assert str(plan) == f"{len(plan.passes)} passes over 11 samples, {plan.bytes / 1024:.3g} KiB of memory"
    finally:
        handle.remove()


def test_matrices_that_do_not_fit_are_refused_before_anything_runs(model: nn.Module) -> None:
    with pytest.raises(DataError, match=r"the Gram matrices of 8 layers on 11 samples need 7\.56 KiB"):
        grams(model, [IMAGES], "bn*", limit=7000)
    sums = StreamedGrams(["fc"], limit=100)
    sums.add({"fc": torch.randn(2, 10)})
    with pytest.raises(DataError, match="the activations of the samples so far"):
        sums.add({"fc": torch.randn(1, 10)})
    with pytest.raises(DataError, match="at least one batch"):
        StreamedGrams(["fc"]).result()


def test_a_large_mean_leaves_the_centred_products_exact() -> None:
    """In float32, the products of responses with a mean of 1000 have no digit of the differences left."""
    rows = torch.randn(50, 400, dtype=torch.float64)
    centring = torch.eye(50, dtype=torch.float64) - 1 / 50
    expected = centring @ rows @ rows.T @ centring
    sums = StreamedGrams(["layer"])
    sums.add({"layer": (rows + 1000).float()})
    found = sums.result()["layer"].matrix
    assert float((centring @ found @ centring - expected).abs().max() / expected.abs().max()) < 1e-4
    single = StreamedGrams(["layer"], dtype=torch.float32)
    single.add({"layer": (rows + 1000).float()})
    worse = single.result()["layer"].matrix
    assert worse.dtype == torch.float32
    assert float((centring @ worse.double() @ centring - expected).abs().max() / expected.abs().max()) > 1e-2


def test_the_fingerprint_is_that_of_the_samples_and_their_order(model: nn.Module) -> None:
    def of(*batches: Tensor) -> str:
        return grams(model, list(batches), "fc")["fc"].fingerprint

    assert of(IMAGES) == of(*IMAGES.split(2))
    assert len({of(IMAGES), of(IMAGES.flip(0)), of(IMAGES[:10]), of(IMAGES + 1e-6)}) == 4
    pixels = torch.randint(0, 256, (20, 3, 32, 32), dtype=torch.uint8)
    split = Split(pixels, torch.zeros(20, dtype=torch.int64), torch.arange(20), torch.zeros(3), torch.ones(3))
    probe = choose_probe(split, images=8)
    found = grams(model, probe, "fc")["fc"]
    assert found.fingerprint == probe.fingerprint
    assert found.matrix.shape == (8, 8)


def test_a_probe_set_has_an_order(model: nn.Module) -> None:
    loader = DataLoader(TensorDataset(IMAGES), batch_size=2, shuffle=True)
    with pytest.raises(DataError, match="shuffle=False"):
        grams(model, loader, "fc")


def test_an_unknown_number_of_samples_is_counted_first(model: nn.Module) -> None:
    found = grams(model, lambda: iter(IMAGES.split(4)), "fc")["fc"]
    assert torch.equal(found.matrix, grams(model, list(IMAGES.split(4)), "fc")["fc"].matrix)


def test_stored_grams_come_back_as_they_were(model: nn.Module, tmp_path) -> None:
    found = grams(model, [IMAGES], "bn7,bn8")
    tensors = tensors_of_grams(found)
    assert tensors["bn7/matrix"] is found["bn7"].matrix
    save_weights(tmp_path / "grams.safetensors", {**tensors, "outputs": torch.zeros(2)})
    again = grams_of_tensors(load_weights(tmp_path / "grams.safetensors"))
    assert list(again) == list(found)
    for layer, gram in found.items():
        assert torch.equal(again[layer].matrix, gram.matrix)
        assert torch.equal(again[layer].row_means, gram.row_means)
        rest = (gram.width, gram.fingerprint, gram.layer)
        assert (again[layer].width, again[layer].fingerprint, again[layer].layer) == rest
    del tensors["bn8/width"]
    with pytest.raises(DataError, match="'bn8/width' is missing"):
        grams_of_tensors(tensors)
