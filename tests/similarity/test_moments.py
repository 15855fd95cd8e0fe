"""Joint moments are those of all samples at once, however they come and wherever their means lie."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from weightscape.errors import DataError, ModelError
from weightscape.models.building import build_model
from weightscape.similarity.capture import capture
from weightscape.similarity.moments import Moments, StreamedMoments, joint_moments
from weightscape.similarity.rows import as_rows

RELATIVE = 1e-10


def two_layers(count: int, *, mean: float = 0.0, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    common = torch.randn(count, 3, generator=generator, dtype=torch.float64)
    layers = [
        common @ torch.randn(3, width, generator=generator, dtype=torch.float64)
        + torch.randn(count, width, generator=generator, dtype=torch.float64)
        for width in (5, 4)
    ]
    return layers[0] + mean, layers[1] - 2 * mean


def streamed(parts: Sequence[tuple[Tensor, Tensor]]) -> Moments:
    sums = StreamedMoments()
    for first, second in parts:
        sums.add(first, second)
    return sums.result()


def check(found: Moments, first: Tensor, second: Tensor, *, relative: float = RELATIVE) -> None:
    """Compare with torch.cov of all samples at once."""
    joined = torch.cat([first, second], dim=1).double()
    centred = joined - joined.mean(dim=0)  # torch.cov subtracts a mean too; this one is taken twice
    expected = torch.cov(centred.T) * (len(joined) - 1)
    cut = first.shape[1]
    scale = float(expected.abs().max())
    assert found.count == len(joined)
    for part, block in (
        (found.first, expected[:cut, :cut]),
        (found.second, expected[cut:, cut:]),
        (found.cross, expected[:cut, cut:]),
    ):
        assert part.dtype == torch.float64
        assert float((part - block).abs().max()) <= relative * scale
    for mean, side in ((found.first_mean, first), (found.second_mean, second)):
        error = float((mean - side.double().mean(dim=0)).abs().max())
        assert error <= relative * float(side.abs().max())


@settings(max_examples=30)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.integers(0, 100))
def test_moments_are_the_covariance_of_all_samples_however_these_are_cut(sizes: list[int], seed: int) -> None:
    first, second = two_layers(sum(sizes) + 1, seed=seed)
    cut = [*sizes, 1]
    found = streamed(list(zip(first.split(cut), second.split(cut), strict=True)))
    check(found, first, second)


@settings(max_examples=30)
@given(st.integers(1, 60), st.integers(0, 100))
def test_merged_moments_are_those_of_both_sets(cut: int, seed: int) -> None:
    first, second = two_layers(61, seed=seed)
    whole = streamed([(first[:cut], second[:cut])]).merged(streamed([(first[cut:], second[cut:])]))
    check(whole, first, second)


@pytest.mark.parametrize("mean", [1e3, 1e6])
def test_a_large_mean_costs_no_digits_that_the_samples_have(mean: float) -> None:
    first, second = two_layers(3000, mean=mean)
    exact = streamed([two_layers(3000)])
    found = streamed(list(zip(first.split(70), second.split(70), strict=True)))
    scale = float(exact.first.abs().max())
    # the samples themselves were rounded: 1e-16 of the mean
    assert float((found.first - exact.first).abs().max()) <= 1e-16 * mean * 3000 * 10
    assert float((found.cross - exact.cross).abs().max()) <= 1e-9 * scale


def test_batches_with_means_far_apart_lose_nothing() -> None:
    """As images sorted by class: the first batch says little about the mean of all."""
    first, second = two_layers(300)
    shift = torch.linspace(-1e4, 1e4, 10, dtype=torch.float64).repeat_interleave(30)[:, None]
    first, second = first + shift, second - shift
    check(streamed(list(zip(first.split(30), second.split(30), strict=True))), first, second, relative=1e-12)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_maps_are_pixels_in_any_layout_and_precision(layout: torch.memory_format, dtype: torch.dtype) -> None:
    maps = [torch.randn(6, width, 30, 40).to(dtype).to(memory_format=layout) for width in (5, 7)]
    rows = [as_rows(one, "pixels") for one in maps]
    check(streamed([(maps[0], maps[1])]), *rows)
    check(streamed([(maps[0], rows[1])]), *rows)
    check(streamed([(maps[0].contiguous(), maps[1].to(memory_format=torch.channels_last))]), *rows)


def test_wide_layers_and_long_batches_are_cut_into_chunks() -> None:
    first, second = torch.randn(700, 300), torch.randn(700, 250)
    check(streamed([(first, second)]), first, second)
    first, second = torch.randn(60000, 6), torch.randn(60000, 3)
    check(streamed([(first, second)]), first, second)


def test_dead_channels_have_sums_of_exactly_zero() -> None:
    first, second = two_layers(40)
    first[:, 2], second[:, 1] = 0.0, 3.0
    found = streamed([(first[:25], second[:25]), (first[25:], second[25:])])
    assert not found.first[2].any()
    assert not found.cross[:, 1].any()
    assert found.second_mean[1] == 3.0


def test_exchanged_layers_give_the_transposed_moments() -> None:
    first, second = two_layers(30)
    found, other = streamed([(first, second)]).transposed(), streamed([(second, first)])
    torch.testing.assert_close(found.cross, other.cross)
    torch.testing.assert_close(found.first, other.first)
    torch.testing.assert_close(found.second_mean, other.second_mean)


def test_samples_that_do_not_pair_are_refused() -> None:
    sums = StreamedMoments()
    with pytest.raises(DataError, match="received none"):
        sums.result()
    with pytest.raises(DataError, match=r"equally many samples.*5 and 4"):
        sums.add(torch.randn(5, 2), torch.randn(4, 2))
    with pytest.raises(DataError, match=r"equally many samples.*0 and 0"):
        sums.add(torch.randn(0, 2), torch.randn(0, 2))
    sums.add(torch.randn(5, 2), torch.randn(5, 3))
    with pytest.raises(DataError, match="2 and 3 channels, as before, received 2 and 2"):
        sums.add(torch.randn(5, 2), torch.randn(5, 2))
    with pytest.raises(DataError, match="2 and 3 channels, received 3 and 2"):
        sums.result().merged(sums.result().transposed())


def test_one_joint_pass_gives_the_moments_of_all_pairs() -> None:
    front, back = (build_model("tiny10", shape=(3, 32, 32), classes=10, seed=seed) for seed in (0, 1))
    images = torch.randn(9, 3, 32, 32) + 2
    counted: list[nn.Module] = []
    for model in (front, back):
        model.fc.register_forward_hook(lambda module, *_: counted.append(module))
    pairs = [("bn3", "bn3"), ("bn3", "relu3"), ("fc", "fc")]
    batches = list(images.split(4))
    found = joint_moments(front, back, batches, pairs=pairs)
    assert len(counted) == 2 * (3 + 1)  # three batches, and one look at the layers
    for pair, moments in found.items():
        rows = [
            capture(model, batches, layer, form="pixels")[layer]
            for model, layer in zip((front, back), pair, strict=True)
        ]
        check(moments, *rows)
    assert list(found) == pairs
    pooled = joint_moments(front, back, [images], pairs=[("bn1", "bn8")], form="pooled")
    assert pooled["bn1", "bn8"].count == 9


def test_maps_of_two_sizes_are_refused_with_the_way_out() -> None:
    model = build_model("tiny10", shape=(3, 32, 32), classes=10)
    with pytest.raises(DataError, match=r"bn1 and bn3.*\(16, 30, 30\) and \(32, 13, 13\).*'pooled'"):
        joint_moments(model, model, [torch.randn(2, 3, 32, 32)], pairs=[("bn1", "bn3")])
    with pytest.raises(ModelError, match="Did you mean 'bn8'"):
        joint_moments(model, model, [torch.randn(2, 3, 32, 32)], pairs=[("bn1", "bn9")])
