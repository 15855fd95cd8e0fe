"""What a stitched network learns to answer: labels, or the outputs of the networks that it is made of."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from weightscape.errors import ModelError
from weightscape.stitching.settings import Target
from weightscape.stitching.soft_losses import soft_cross_entropy

_FRONT = ("soft_1", "soft_12", "soft_1_plus_2-mean", "soft_1_plus_2-sum")
_BACK = ("soft_2", "soft_12", "soft_1_plus_2-mean", "soft_1_plus_2-sum")


def needs_front(target: Target) -> bool:
    """Return whether a target is made of the front network's outputs."""
    return target in _FRONT


def needs_back(target: Target) -> bool:
    """Return whether a target is made of the back network's outputs."""
    return target in _BACK


def target_loss(
    target: Target,
    logits: Tensor,
    *,
    labels: Tensor,
    front: Tensor | None = None,
    back: Tensor | None = None,
    temperature: float = 1.0,
    several: bool = False,
) -> Tensor:
    """Return the mean loss of a batch, a scalar to differentiate (arXiv 2110.14633, "task loss").

    Soft losses are cross-entropies to the softmax of a teacher's logits divided by T, without a factor of T squared;
    ``hard`` does not use T. For several labels, each is a binary cross-entropy, and the mean is over them too.

    Args:
        target: What is learnt.
        logits: Of the stitched network ``(b, k)``.
        labels: Classes ``(b,)`` int64, or floats ``(b, k)``: shares of the classes or several labels.
        front: Logits of the front network ``(b, k)``.
        back: Logits of the back network ``(b, k)``.
        temperature: T.
        several: Whether images have several labels each.

    Raises:
        ModelError: If the outputs of a network that the target needs are not given or have another width.
    """
    if target == "hard":
        if several:
            return functional.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))
        return functional.cross_entropy(logits, labels)

    def soft(teacher: Tensor) -> Tensor:
        return soft_cross_entropy(logits, teacher, temperature=temperature, several=several).mean()

    first = _given("front", target, front, logits) if needs_front(target) else None
    second = _given("back", target, back, logits) if needs_back(target) else None
    if first is None or second is None:
        return soft(second if first is None else first)  # type: ignore[arg-type]
    if target == "soft_12":
        return (soft(first) + soft(second)) / 2
    return soft(first + second if target == "soft_1_plus_2-sum" else (first + second) / 2)


def _given(name: str, target: Target, teacher: Tensor | None, logits: Tensor) -> Tensor:
    if teacher is None or teacher.shape != logits.shape:
        received = "none" if teacher is None else f"logits of shape {tuple(teacher.shape)}"
        raise ModelError(
            f"The target {target!r} needs the {name} network's logits of shape {tuple(logits.shape)}, received "
            f"{received}. Networks with other classes can be stitched with the target 'soft_2' or 'hard'."
        )
    return teacher
