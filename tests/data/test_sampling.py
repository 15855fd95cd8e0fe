"""The laws of what is drawn, against closed forms and an independent reading of the published procedure."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import torch
from scipy import stats

from weightscape.data.mixing import draw_mixture
from weightscape.data.sampling import draw_affine, draw_boxes, draw_corners, draw_flips, draw_rotations
from weightscape.data.transform_settings import Affine, Flip, Mixup, RandomResizedCrop, Rotation

COUNT = 20_000
LEAST = 1e-4
"""A test of a true law fails once in so many runs; the seeds are fixed, so it never does twice."""


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def published_box(
    height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float], source: random.Random
) -> tuple[int, int, int, int]:
    """The procedure of the usual random resized crop, one image at a time, with Python's own numbers."""
    for _ in range(10):
        area = source.uniform(*scale) * height * width
        aspect = math.exp(source.uniform(math.log(ratio[0]), math.log(ratio[1])))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            return source.randint(0, height - h), source.randint(0, width - w), h, w
    whole = width / height
    if whole < ratio[0]:
        w, h = width, round(width / ratio[0])
    elif whole > ratio[1]:
        w, h = round(height * ratio[1]), height
    else:
        w, h = width, height
    return (height - h) // 2, (width - w) // 2, h, w


@pytest.mark.parametrize(
    ("size", "scale", "ratio"),
    [
        ((32, 32), (0.08, 1.0), (3 / 4, 4 / 3)),
        ((40, 40), (0.5, 0.9), (1.0, 1.0)),
        ((16, 60), (0.9, 1.0), (0.75, 4 / 3)),  # hardly any attempt fits: the central part
        ((60, 16), (0.3, 1.0), (0.75, 4 / 3)),
    ],
)
def test_parts_have_the_published_law(
    size: tuple[int, int], scale: tuple[float, float], ratio: tuple[float, float]
) -> None:
    boxes = draw_boxes(
        COUNT, size, RandomResizedCrop(name="random-resized-crop", scale=scale, ratio=ratio), generator()
    )
    source = random.Random(0)
    expected = np.array([published_box(*size, scale, ratio, source) for _ in range(COUNT)])
    received = boxes.numpy()
    for column in range(4):
        values = np.union1d(received[:, column], expected[:, column])
        table = [[(array[:, column] == value).sum() for value in values] for array in (received, expected)]
        common = [pair for pair in zip(*table, strict=True) if sum(pair) >= 20]
        rest = [pair for pair in zip(*table, strict=True) if sum(pair) < 20]
        cells = common + ([tuple(map(sum, zip(*rest, strict=True)))] if sum(map(sum, rest)) else [])
        if len(cells) > 1:
            assert stats.chi2_contingency(np.array(cells).T).pvalue > LEAST
        else:
            assert common
    # Jointly as well: the area and the aspect of the part.
    for quantity in (lambda box: box[:, 2] * box[:, 3], lambda box: box[:, 3] / box[:, 2]):
        assert stats.ks_2samp(quantity(received), quantity(expected)).pvalue > LEAST


def test_parts_lie_inside_the_image() -> None:
    for size in ((7, 7), (5, 31), (31, 5), (1, 1)):
        top, left, height, width = draw_boxes(
            COUNT, size, RandomResizedCrop(name="random-resized-crop"), generator()
        ).unbind(1)
        assert min(int(top.min()), int(left.min())) >= 0
        assert min(int(height.min()), int(width.min())) >= 1
        assert (top + height <= size[0]).all()
        assert (left + width <= size[1]).all()


def angles(maps: torch.Tensor) -> np.ndarray:
    return torch.rad2deg(torch.atan2(maps[:, 0, 1], maps[:, 0, 0])).numpy()


def test_rotations_are_uniform() -> None:
    maps = draw_rotations(COUNT, (32, 32), Rotation(name="rotation", degrees=20), generator())
    assert stats.kstest(angles(maps), stats.uniform(-20, 40).cdf).pvalue > LEAST
    assert torch.allclose(torch.linalg.det(maps[:, :, :2]), torch.ones(COUNT, dtype=torch.float64))


def test_affine_parameters_are_uniform_and_independent() -> None:
    settings = Affine(name="affine", degrees=15, translate=(0.25, 0.125), scale=(0.9, 1.1))
    maps = draw_affine(COUNT, (32, 32), settings, generator())
    forward = torch.linalg.inv(maps[:, :, :2])
    scale = torch.linalg.det(forward).sqrt().numpy()
    centre = torch.full((2, 1), 16.0, dtype=torch.float64)
    # The centre of the image goes to the centre of the result plus the shift.
    shift = (forward @ (centre - maps[:, :, 2:]) - centre).squeeze(2).numpy()
    assert stats.kstest(scale, stats.uniform(0.9, 0.2).cdf).pvalue > LEAST
    assert stats.kstest(angles(maps), stats.uniform(-15, 30).cdf).pvalue > LEAST
    assert np.allclose(shift, shift.round())
    for values, farthest in ((shift[:, 0], 8), (shift[:, 1], 4)):
        counts = np.bincount(values.round().astype(int) + farthest, minlength=2 * farthest + 1)
        # round() of a uniform number: the two ends have half the share of the others
        law = np.r_[0.5, np.ones(2 * farthest - 1), 0.5] / (2 * farthest)
        assert stats.chisquare(counts, law * COUNT).pvalue > LEAST
    assert abs(np.corrcoef(np.c_[shift, scale, angles(maps)].T) - np.eye(4)).max() < 0.03


def test_shears_are_uniform() -> None:
    maps = draw_affine(COUNT, (32, 32), Affine(name="affine", shear=10), generator())
    slope = torch.rad2deg(torch.atan(maps[:, 0, 1])).numpy()
    assert stats.kstest(slope, stats.uniform(-10, 20).cdf).pvalue > LEAST
    assert torch.equal(maps[:, 1, :2], torch.tensor([[0.0, 1.0]], dtype=torch.float64).expand(COUNT, 2))


def test_corners_and_flips_are_uniform() -> None:
    corners = draw_corners(COUNT, (8, 3), generator())
    for column, most in enumerate((8, 3)):
        assert stats.chisquare(torch.bincount(corners[:, column], minlength=most + 1).numpy()).pvalue > LEAST
    assert corners.max(0).values.tolist() == [8, 3]
    flips = draw_flips(COUNT, Flip(name="flip", probability=0.3), generator())
    assert stats.binomtest(int(flips.sum()), COUNT, 0.3).pvalue > LEAST


@pytest.mark.parametrize("alpha", [0.2, 0.7, 1.0, 16.0])
def test_weights_of_mixtures_are_beta(alpha: float) -> None:
    mixture = draw_mixture(COUNT, Mixup(name="mixup", alpha=alpha), seed=0, index=(0,))
    # Cells of equal probability: float32 rounds many small weights of small alphas to the ends.
    edges = stats.beta(alpha, alpha).ppf(np.linspace(0, 1, 11))
    counts, _ = np.histogram(mixture.weight.double().numpy(), edges)
    assert stats.chisquare(counts).pvalue > LEAST
    assert sorted(mixture.rank.tolist()) == list(range(COUNT))
