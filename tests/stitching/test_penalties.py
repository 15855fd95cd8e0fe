from __future__ import annotations

import pytest
import torch

from weightscape.similarity.measure import find_measure
from weightscape.stitching.penalties import batch_cka, mean_magnitude


def test_the_cka_of_a_batch_is_linear_cka_of_images_by_features() -> None:
    generator = torch.Generator().manual_seed(0)
    one = torch.randn(16, 3, 4, 4, generator=generator).to(memory_format=torch.channels_last)
    other = one[:, :2, :3] + 0.5 * torch.randn(16, 2, 3, 4, generator=generator)
    expected = find_measure("linear-cka")(one.flatten(1), other.flatten(1))
    assert float(batch_cka(one, other)) == pytest.approx(expected, abs=1e-6)
    assert float(batch_cka(one, -3 * one + 5)) == pytest.approx(1, abs=1e-6)


def test_the_cka_of_a_batch_has_a_gradient_where_nothing_varies() -> None:
    constant = torch.ones(8, 5, requires_grad=True)
    found = batch_cka(torch.randn(8, 3), constant)
    found.backward()
    assert float(found.detach()) == 0
    assert constant.grad is not None
    assert torch.isfinite(constant.grad).all()


def test_the_l1_penalty_is_a_mean_over_all_entries() -> None:
    assert float(mean_magnitude(torch.tensor([[1.0, -3.0], [0.0, 0.0]]))) == 1.0
