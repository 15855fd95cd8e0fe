"""Wrong results that other code gives, and that this code does not."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from tests.similarity.oracles import unbiased_hsic
from tests.similarity.representations import MEASURES, pair
from weightscape.seeds import stream
from weightscape.similarity.computing import moments_of
from weightscape.similarity.measure import find_measure
from weightscape.similarity.measures.minibatch_cka import StreamedCka

DEBIASED, BIASED = find_measure("linear-cka-debiased"), find_measure("linear-cka")


class Fixed(nn.Module):
    """A network whose one layer gives a stored representation: the inputs are row numbers."""

    def __init__(self, rows: Tensor) -> None:
        super().__init__()
        self.layer = nn.Embedding.from_pretrained(rows)

    def forward(self, index: Tensor) -> Tensor:
        return self.layer(index)


def torch_cka(x: Tensor, y: Tensor, batch_size: int) -> float:
    from torch_cka import CKA

    found = CKA(Fixed(x), Fixed(y), "first", "second", ["layer"], ["layer"])
    loader = DataLoader(TensorDataset(torch.arange(len(x))), batch_size=batch_size)
    found.compare(loader, loader)
    return float(found.export()["CKA"])


@pytest.mark.oracle
def test_the_stream_of_batches_is_that_of_torch_cka_where_it_works() -> None:
    x, y = (rows.float() - rows.float().mean(dim=0) for rows in pair(DEBIASED, seed=0, first=20, second=30))
    stream_of_batches = StreamedCka()
    for start in range(0, 60, 15):
        stream_of_batches.add(x[start : start + 15], y[start : start + 15])
    expected = torch_cka(x, y, 15)
    assert stream_of_batches.result() == pytest.approx(expected, abs=1e-4)
    assert find_measure("minibatch-cka")(x, y, batch_size=15) == pytest.approx(stream_of_batches.result(), abs=1e-9)
    assert DEBIASED(x, y) == pytest.approx(torch_cka(x, y, 60), abs=1e-4)


@pytest.mark.oracle
def test_a_large_mean_in_single_precision_gives_a_number() -> None:
    """Where torch-cka's self-HSIC turns negative and its square root is no number."""
    random = stream(0, "noise", "large mean")
    x = (torch.randn(64, 512, generator=random) * 0.1 + 1000).float()
    y = x + 0.1 * torch.randn(64, 512, generator=random)
    with pytest.raises(AssertionError, match="NAN"):
        torch_cka(x, y, 64)
    expected = DEBIASED((x - 1000).double(), (y - 1000).double())
    assert DEBIASED(x, y) == pytest.approx(expected, abs=1e-6)
    assert BIASED.from_moments(moments_of(x.double(), y.double())) == pytest.approx(BIASED(x, y), abs=1e-8)


def test_self_similarity_is_a_sum_of_squares_for_any_mean() -> None:
    random = stream(1, "noise", "large mean")
    for scale in (1e-6, 1e-3, 1.0):
        x = (torch.randn(50, 200, generator=random) * scale + 1).float()
        assert DEBIASED(x, x) == pytest.approx(1.0, abs=1e-9)


def test_what_is_called_debiased_is_not_the_biased_estimator() -> None:
    random = stream(2, "noise", "independent")
    x, y = (torch.randn(50, 500, generator=random, dtype=torch.float64) for _ in range(2))
    assert abs(DEBIASED(x, y)) < 0.1
    assert BIASED(x, y) > 0.85
    # not a biased numerator over unbiased norms either: the three estimates are of one kind
    means = [
        unbiased_hsic(*sides) for sides in ((x.numpy(), y.numpy()), (x.numpy(), x.numpy()), (y.numpy(), y.numpy()))
    ]
    assert DEBIASED(x, y) == pytest.approx(means[0] / math.sqrt(means[1] * means[2]), abs=1e-9)


def test_batches_are_averaged_before_the_ratio_and_each_pair_of_layers_by_itself() -> None:
    """Not the mean of one CKA per batch, and not a mean over layers."""
    x, y = pair(DEBIASED, seed=3, count=48)
    parts = [(x[start : start + 8], y[start : start + 8]) for start in range(0, 48, 8)]
    mean_of_ratios = sum(DEBIASED(one, other) for one, other in parts) / 6
    found = find_measure("minibatch-cka")(x, y, batch_size=8)
    assert abs(found - mean_of_ratios) > 1e-3
    others = pair(DEBIASED, seed=4, count=48)
    assert find_measure("minibatch-cka")(x, others[1], batch_size=8) != pytest.approx(found, abs=1e-3)


def test_procrustes_is_a_distance_and_not_its_square() -> None:
    """Two perpendicular directions are √2 apart, half of a turn between them is 2 − √2 squared."""
    half = torch.tensor([[1.0], [-1.0], [0.0], [0.0]])
    other = torch.tensor([[0.0], [0.0], [1.0], [-1.0]])
    measure = find_measure("procrustes")
    assert measure(half, other) == pytest.approx(math.sqrt(2))
    assert measure(half, (half + other) / 2**0.5) == pytest.approx(math.sqrt(2 - math.sqrt(2)))


def test_every_measure_says_whether_large_means_alike() -> None:
    for measure in MEASURES:
        one, other = pair(measure, seed=0)
        labels = {"labels": torch.arange(60) % 6} if measure.needs_labels else {}
        alike, apart = measure(one, one, **labels), measure(one, other, **labels)
        assert (alike > apart) == (measure.kind == "similarity"), measure.name


def test_regression_and_correlations_are_of_centred_activations() -> None:
    """Uncentred code counts a mean that both layers have as something explained: unrelated layers score near 1."""
    random = stream(5, "noise", "means")
    x, y = (torch.randn(400, 5, generator=random, dtype=torch.float64) + 20 for _ in range(2))
    basis = torch.linalg.qr(x)[0]
    uncentred = float((basis.T @ y).square().sum() / y.square().sum())
    assert uncentred > 0.99
    assert find_measure("linear-regression")(x, y) < 0.05
    uncentred_cca = float(torch.linalg.svdvals(basis.T @ torch.linalg.qr(y)[0])[0])
    assert uncentred_cca > 0.99
    assert find_measure("mean-cca")(x, y) < 0.2


def test_divergence_is_in_nats_per_image_and_from_log_softmax() -> None:
    """Not divided by the number of classes, and finite for logits whose softmax is 0 in single precision."""
    certain = torch.tensor([[0.0, -200.0, -200.0, -200.0]])
    uniform = torch.zeros(1, 4)
    assert find_measure("output-kl")(certain, uniform) == pytest.approx(math.log(4))
    assert find_measure("output-kl")(uniform, certain) == pytest.approx(150 - math.log(4))
