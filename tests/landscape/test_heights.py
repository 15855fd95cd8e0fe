from __future__ import annotations

import math

import pytest
import torch

from weightscape.errors import ModelError
from weightscape.landscape.heights import excess, height
from weightscape.landscape.line import line_positions


def parabola(start: float, end: float, hump: float, positions: tuple[float, ...]) -> torch.Tensor:
    """The line from start to end with a parabola of height `hump` above its middle."""
    places = torch.tensor(positions, dtype=torch.float64)
    return (1 - places) * start + places * end + 4 * hump * places * (1 - places)


def test_the_three_definitions_of_height_on_a_known_curve() -> None:
    positions = line_positions(101)
    values = parabola(1.0, 3.0, 2.0, positions)[:, None].expand(-1, 7)
    found = height(positions, values)
    # f = 1 + 2a + 8a(1 - a) has its maximum 4.125 at a = 0.625; above the line it is highest in the middle, by 2.
    assert found.barrier == pytest.approx(2.0, abs=1e-12)
    assert found.position == 0.5
    assert found.above_mean == pytest.approx(4.125 - 2.0, abs=1e-3)
    assert found.above_worse_end == pytest.approx(1.125, abs=1e-3)
    assert (found.start, found.end) == (1.0, 3.0)
    assert found.stderr == pytest.approx(0, abs=1e-12)


def test_unequal_ends_without_a_hump_are_no_barrier() -> None:
    positions = line_positions(11)
    found = height(positions, parabola(0.2, 2.0, 0.0, positions)[:, None].expand(-1, 3))
    assert found.barrier == pytest.approx(0, abs=1e-12)
    assert found.above_worse_end == pytest.approx(0, abs=1e-12)
    assert found.above_mean == pytest.approx(0.9)  # which is why "above the mean" needs its name


def test_a_line_that_sags_has_height_zero() -> None:
    positions = line_positions(5)
    found = height(positions, parabola(1.0, 1.0, -0.5, positions)[:, None].expand(-1, 4))
    assert (found.barrier, found.position) == (0.0, 0.0)


def test_the_standard_error_is_paired_over_samples() -> None:
    positions = (0.0, 0.5, 1.0)
    generator = torch.Generator().manual_seed(0)
    common = 10 * torch.randn(400, generator=generator, dtype=torch.float64)  # how hard each sample is: large, shared
    own = 0.1 * torch.randn(400, generator=generator, dtype=torch.float64)
    found = height(positions, torch.stack([common, common + 1 + own, common]))
    assert found.stderr == pytest.approx(float(own.std()) / math.sqrt(400), rel=1e-6)
    assert found.barrier == pytest.approx(1, abs=5 * found.stderr)


def test_the_maximum_is_biased_upwards_and_the_crossfit_is_not() -> None:
    positions = line_positions(21)
    generator = torch.Generator().manual_seed(1)
    maxima, crossfits = [], []
    for _ in range(200):  # no barrier at all: 19 points of pure noise between equal ends
        values = torch.randn(21, 50, generator=generator, dtype=torch.float64)
        values[0] = values[-1] = 0
        found = height(positions, values)
        maxima.append(found.barrier)
        crossfits.append(found.crossfit)
    assert torch.tensor(maxima).mean() > 0.2
    assert abs(torch.tensor(crossfits).mean()) < 0.03


def test_a_point_that_overflows_is_an_infinite_barrier_and_not_a_missing_one() -> None:
    values = torch.ones(3, 4, dtype=torch.float64)
    values[1, 2] = math.nan
    assert height((0.0, 0.5, 1.0), values).barrier == math.inf
    with pytest.raises(ModelError, match="finite"):
        height((0.0, 0.5, 1.0), values.flip(0)[[1, 0, 2]])


def test_heights_at_the_ends_are_exactly_zero() -> None:
    values = torch.rand(4, 9, dtype=torch.float64) * 1e8
    above = excess((0.0, 0.3, 0.6, 1.0), values)
    assert float(above[0].abs().max()) == float(above[-1].abs().max()) == 0.0
