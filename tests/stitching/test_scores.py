from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax
from scipy.stats import entropy
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss
from torch import Tensor, nn

from weightscape.data.loading import load_data
from weightscape.errors import DataError
from weightscape.stitching.scores import logits_of, score, scores_of
from weightscape.stitching.soft_losses import soft_cross_entropy, soft_divergence


def drawn(seed: int, *shape: int, scale: float = 2.0) -> Tensor:
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def classes(seed: int, count: int, number: int) -> Tensor:
    return torch.randint(0, number, (count,), generator=torch.Generator().manual_seed(seed))


@given(st.integers(0, 10**6), st.integers(4, 60))
def test_scores_are_those_of_independent_libraries(seed: int, count: int) -> None:
    logits, back, front = drawn(seed, count, 4), drawn(seed + 1, count, 4), drawn(seed + 2, count, 4)
    labels = classes(seed + 3, count, 4)
    found = scores_of(logits, labels, back=back, front=front)
    chosen, reference = logits.argmax(1), back.argmax(1)
    shares, teacher = softmax(logits.double().numpy(), axis=1), softmax(back.double().numpy(), axis=1)
    assert found.accuracy == pytest.approx(accuracy_score(labels, chosen))
    assert found.front_accuracy == pytest.approx(accuracy_score(labels, front.argmax(1)))
    assert found.loss == pytest.approx(log_loss(labels, shares, labels=range(4)))
    assert found.back_loss == pytest.approx(log_loss(labels, teacher, labels=range(4)))
    assert found.front_loss == pytest.approx(float(nn.functional.cross_entropy(front.double(), labels)))
    assert found.agreement == pytest.approx(accuracy_score(reference, chosen))
    assert found.kl == pytest.approx(entropy(teacher, shares, axis=1).mean())
    assert found.cross_entropy == pytest.approx((entropy(teacher, shares, axis=1) + entropy(teacher, axis=1)).mean())
    table = confusion_matrix(chosen == labels, reference == labels, labels=[True, False])
    counts = (found.both_right, found.only_stitched_right, found.only_back_right, found.both_wrong)
    assert counts == tuple(table.ravel())
    assert sum(counts) == found.count == count


def test_relative_accuracies_are_to_back_front_and_above_chance() -> None:
    labels = torch.arange(100) % 10
    right = torch.nn.functional.one_hot(labels, 10).float()

    def with_hits(number: int) -> Tensor:
        return torch.cat([right[:number], right[number:].roll(1, dims=1)])

    found = scores_of(with_hits(50), labels, back=with_hits(80), front=with_hits(40))
    assert found.relative_accuracy == pytest.approx(50 / 80)
    assert found.relative_to_front == pytest.approx(50 / 40)
    assert found.above_chance == pytest.approx(40 / 70)
    assert found.accuracy_stderr == pytest.approx(0.05)
    nothing = scores_of(with_hits(50), labels, back=with_hits(0))
    assert (nothing.relative_accuracy, nothing.above_chance, nothing.relative_to_front) == (None, None, None)
    assert scores_of(with_hits(50), labels, back=with_hits(10)).above_chance is None


@pytest.mark.parametrize("scale", [1e3, 1e10, 1e38])
def test_saturated_logits_give_numbers(scale: float) -> None:
    labels = torch.tensor([0, 1, 2])
    logits, back = scale * torch.eye(3), -scale * torch.eye(3)
    found = scores_of(logits, labels, back=back)
    # The teacher is undecided between the two wrong classes; the student denies both by `scale`.
    assert found.cross_entropy == pytest.approx(scale, rel=1e-6)
    assert found.kl == pytest.approx(scale - math.log(2), rel=1e-6)
    assert scores_of(logits, labels, back=logits).kl == 0
    assert math.isfinite(found.loss)
    naive = -(back.softmax(1) * logits.softmax(1).log()).sum(1)
    assert not naive.isfinite().any()


def test_an_answer_that_is_ruled_out_by_both_counts_nothing() -> None:
    logits = torch.tensor([[0.0, -math.inf, 1.0]])
    assert float(soft_divergence(logits, logits)) == 0
    assert float(soft_cross_entropy(logits, torch.zeros(1, 3))) == math.inf


def test_gradients_of_saturated_logits_are_numbers() -> None:
    logits = (1e4 * torch.eye(3)).requires_grad_()
    soft_cross_entropy(logits, -1e4 * torch.eye(3)).mean().backward()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, (logits.detach().softmax(1) - (-1e4 * torch.eye(3)).softmax(1)) / 3)


@given(st.integers(0, 10**6), st.floats(0.2, 5.0))
def test_soft_cross_entropy_is_least_at_the_teacher(seed: int, temperature: float) -> None:
    logits, teacher = drawn(seed, 6, 5).double(), drawn(seed + 1, 6, 5).double()
    for several in (False, True):
        found = soft_divergence(logits, teacher, temperature=temperature, several=several)
        assert (found > 0).all()
        same = soft_divergence(teacher + 3.0 * (not several), teacher, temperature=temperature, several=several)
        assert float(same.abs().max()) < 1e-12


def test_several_labels_are_scored_by_label() -> None:
    logits, back = torch.tensor([[5.0, -5.0], [5.0, 5.0]]), torch.tensor([[5.0, 5.0], [-5.0, 5.0]])
    labels = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    found = scores_of(logits, labels, back=back)
    assert (found.accuracy, found.back_accuracy, found.agreement, found.count) == (0.75, 0.75, 0.5, 2)
    counts = (found.both_right, found.only_stitched_right, found.only_back_right, found.both_wrong)
    assert counts == (2, 1, 1, 0)
    expected = nn.functional.binary_cross_entropy(logits.double().sigmoid(), back.double().sigmoid())
    assert found.cross_entropy == pytest.approx(float(expected))
    assert found.chance == 0.5
    assert scores_of(logits, torch.zeros(2, 2), back=back).chance == 1.0


def test_logits_passed_in_give_what_the_networks_give() -> None:
    data = load_data("digits")
    torch.manual_seed(0)
    one, two = (nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(64, 10)) for _ in range(2))
    computed = score(one, two, data.test, front=one)
    given_logits = score(one, logits_of(two, data.test), data.test, front=logits_of(one, data.test))
    assert computed == given_logits
    assert computed.relative_to_front == 1
    assert one.training
    assert two.training


def test_a_back_network_without_answers_is_refused_and_not_agreed_with() -> None:
    broken = torch.randn(4, 3)
    broken[1:3] = math.nan
    labels = torch.tensor([0, 0, 0, 1])
    with pytest.raises(DataError, match="NaN for 2 of 4 images"):
        scores_of(broken, labels, back=broken)
    assert scores_of(broken, labels, back=torch.randn(4, 3)).count == 4  # a stitch that diverged has a row


def test_bad_input_is_named() -> None:
    data = load_data("digits")
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with pytest.raises(DataError, match=r"\(3, 10\)"):
        score(network, torch.zeros(3, 10), data.test)
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(data.test.normalised(), data.test.labels), batch_size=50, shuffle=True
    )
    with pytest.raises(DataError, match="shuffle"):
        score(network, network, loader)
    with pytest.raises(DataError, match="labelled"):
        score(network, network, [torch.zeros(2, 1, 8, 8)])
