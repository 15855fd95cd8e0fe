from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.nn import functional

from weightscape.errors import ModelError
from weightscape.stitching.settings import StitchSpec, Target
from weightscape.stitching.targets import needs_back, needs_front, target_loss


@pytest.fixture
def logits() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    student, front, back = (3 * torch.randn(7, 4, generator=generator) for _ in range(3))
    return student, front, back


LABELS = torch.tensor([0, 1, 2, 3, 0, 1, 2])


def by_torch(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """PyTorch's cross-entropy to shares of the classes."""
    return functional.cross_entropy(student / temperature, (teacher / temperature).softmax(1))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_soft_losses_are_cross_entropies_to_the_teachers_without_a_factor_of_t_squared(
    logits: tuple[Tensor, Tensor, Tensor], temperature: float
) -> None:
    student, front, back = logits
    expected: dict[Target, Tensor] = {
        "hard": functional.cross_entropy(student, LABELS),  # T is not used
        "soft_1": by_torch(student, front, temperature),
        "soft_2": by_torch(student, back, temperature),
        "soft_12": (by_torch(student, front, temperature) + by_torch(student, back, temperature)) / 2,
        "soft_1_plus_2-mean": by_torch(student, (front + back) / 2, temperature),
        "soft_1_plus_2-sum": by_torch(student, front + back, temperature),
    }
    for target, value in expected.items():
        found = target_loss(target, student, labels=LABELS, front=front, back=back, temperature=temperature)
        torch.testing.assert_close(found, value)
    assert not torch.isclose(expected["soft_1_plus_2-mean"], expected["soft_1_plus_2-sum"])


def test_several_labels_are_binary_cross_entropies(logits: tuple[Tensor, Tensor, Tensor]) -> None:
    student, front, back = logits
    labels = (torch.arange(28).view(7, 4) % 3 == 0).float()
    hard = target_loss("hard", student, labels=labels, several=True)
    torch.testing.assert_close(hard, functional.binary_cross_entropy_with_logits(student, labels))
    soft = target_loss("soft_2", student, labels=labels, front=front, back=back, temperature=2.0, several=True)
    expected = functional.binary_cross_entropy_with_logits(student / 2, (back / 2).sigmoid())
    torch.testing.assert_close(soft, expected)


def test_saturated_logits_give_numbers() -> None:
    student = torch.tensor([[1e4, -1e4, 0.0]], requires_grad=True)
    teacher = torch.tensor([[-1e4, 1e4, 0.0]])
    loss = target_loss("soft_2", student, labels=LABELS[:1], back=teacher)
    loss.backward()
    assert torch.isfinite(loss)
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()


def test_a_target_says_which_network_it_needs(logits: tuple[Tensor, Tensor, Tensor]) -> None:
    student, front, back = logits
    with pytest.raises(ModelError, match="'soft_12' needs the front network's logits"):
        target_loss("soft_12", student, labels=LABELS, back=back)
    with pytest.raises(ModelError, match="other classes"):
        target_loss("soft_1", student, labels=LABELS, front=front[:, :2])
    needs = {target: (needs_front(target), needs_back(target)) for target in ("hard", "soft_1", "soft_2", "soft_12")}
    assert needs == {
        "hard": (False, False),
        "soft_1": (True, False),
        "soft_2": (False, True),
        "soft_12": (True, True),
    }


def test_the_name_that_means_two_things_is_refused() -> None:
    with pytest.raises(ValidationError, match="soft_1_plus_2-mean"):
        StitchSpec(front_layer="bn1", target="soft_1_plus_2")
    assert StitchSpec(front_layer="bn1", target="soft_1_plus_2_sum").target == "soft_1_plus_2-sum"


@pytest.mark.parametrize(
    ("published", "name"),
    [("pseudo_inverse", "ps_inv"), ("permutation", "perm"), ("identity", "eye"), ("ones-zeros", "ones-zeros")],
)
def test_published_synonyms_of_initialisations_mean_what_they_say(published: str, name: str) -> None:
    assert StitchSpec(front_layer="bn1", init=published).init == name


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank": 4, "mask": "semi-match"}, "low rank has no entries"),
        ({"rank": 4, "init": "eye"}, "low rank begins at"),
        ({"rank": 4, "flatten": True}, "exclude each other"),
        ({"flatten": True, "resize": "bilinear"}, "leave 'resize' out"),
        ({"temperature": 0}, "greater than 0"),
        ({"l1": -1}, "greater than or equal to 0"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        StitchSpec(front_layer="bn1", **settings)


def test_defaults_are_those_of_the_paper() -> None:
    spec = StitchSpec(front_layer="bn1")
    recipe = spec.recipe
    assert (recipe.epochs, recipe.batch_size, recipe.last_batch) == (30, 128, "dropped")
    assert (recipe.optimizer.name, recipe.optimizer.lr, recipe.optimizer.weight_decay) == ("adam", 1e-3, 0)
    assert recipe.schedule.name == "thirds"
    assert (spec.target, spec.temperature, spec.entry) == ("soft_2", 1.0, "bn1")
