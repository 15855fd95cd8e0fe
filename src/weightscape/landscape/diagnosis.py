"""Two trained networks side by side: alignment, barrier before and after it, shared mistakes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from weightscape.errors import DataError
from weightscape.landscape.barrier import Measured, measure
from weightscape.landscape.result import Diagnosis
from weightscape.landscape.scores import Scores
from weightscape.landscape.settings import BatchNorm
from weightscape.seeds import stream
from weightscape.similarity.mistakes import SharedMistakes, shared_mistakes
from weightscape.symmetry.alignment import Alignment, Method, match
from weightscape.training.layout import private_copy
from weightscape.weights.pairs import Network, as_pair

if TYPE_CHECKING:
    from weightscape.data.dataset import Dataset, Split

_BATCH_SIZE = 128


def _batches(split: Split, count: int, *, seed: int, purpose: str) -> list[Tensor]:
    """Return random training batches without augmentation."""
    return [split.sample(_BATCH_SIZE, seed=seed, index=(purpose, number))[0] for number in range(count)]


def diagnose(
    source: Network,
    target: Network,
    *,
    model: nn.Module,
    dataset: Dataset,
    split: str = "test",
    images: int | None = None,
    method: Method = "weights",
    match_batches: int = 10,
    points: int = 11,
    batch_norm: BatchNorm = "recalibrate",
    batch_norm_batches: int = 10,
    seed: int = 0,
    device: str | torch.device = "cpu",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Diagnosis:
    """Align one network with another, measure the barrier between them before and after, and compare their mistakes.

    What is measured and what is fitted stay apart: heights and mistakes are of `split`, activations and running
    statistics are those of training images.

    Args:
        source: The network whose units are permuted.
        target: The network that stays.
        model: The module of both; it is not changed.
        dataset: Its `split` is measured on, its training split serves for the rest.
        split: ``train``, ``validation`` or ``test``.
        images: Measure on that many images of the split, drawn at random; on all by default.
        method: What the alignment compares.
        match_batches: Training batches of 128 images that ``activations`` compares on.
        points: Points on each line.
        batch_norm: What becomes of running statistics, see :func:`~weightscape.landscape.barrier.barrier`.
        batch_norm_batches: Training batches of 128 images that they are computed on.
        seed: Draws images and batches, and shuffles the matching.
        device: Where to compute.
        progress: Called with the points done and their number.

    Raises:
        ModelError: If the networks are of different architectures.
        SymmetryError: If the network cannot be traced or the permutation does not preserve its function.
        DataError: If the split has no images.
    """
    private = private_copy(model, device)
    pair = as_pair(_tensors(source, device), _tensors(target, device), private)
    private.load_state_dict(pair.first)
    measured_on = _some(getattr(dataset, split), images, seed)
    example = torch.zeros(2, *dataset.shape, device=device)
    alignment = match(
        pair.first,
        pair.second,
        _batches(dataset.train, match_batches, seed=seed, purpose="match") if method == "activations" else None,
        model=private,
        example=example,
        method=method,
        seed=seed,
    )
    alignment.permutation.verify(private)
    found = measure(
        pair,
        measured_on,
        align=alignment.permutation,
        bn=batch_norm,
        bn_batches=_batches(dataset.train, batch_norm_batches, seed=seed, purpose="batch-norm"),
        points=points,
        progress=progress,
    )
    return _summary(alignment, found, _shared(found), split)


def _tensors(network: Network, device: str | torch.device) -> dict[str, Tensor]:
    tensors = network.state_dict() if isinstance(network, nn.Module) else network
    return {name: tensor.to(device) for name, tensor in tensors.items()}


def _some(split: Split, images: int | None, seed: int) -> Split:
    """Return so many random images of a split, in their order; all of them if it has no more."""
    if images is None or images >= len(split):
        return split
    chosen = torch.randperm(len(split), generator=stream(seed, "subset", "diagnose"))[:images].sort().values
    rows = chosen.to(split.labels.device)
    return replace(split, images=split.images[rows], labels=split.labels[rows], indices=split.indices[rows])


def _shared(found: Measured) -> SharedMistakes:
    first, second = found.first, found.second
    if first.predictions is None or second.predictions is None or first.labels is None:
        raise DataError("The mistakes of two networks can be compared for classifiers alone: one class per image.")
    return shared_mistakes(first.predictions, second.predictions, first.labels)


def _summary(alignment: Alignment, found: Measured, shared: SharedMistakes, split: str) -> Diagnosis:
    barrier = found.barrier
    return Diagnosis(
        permutation=alignment.permutation,
        line=barrier.line,
        heights=barrier.heights,
        groups=alignment.groups,
        mistakes=shared.table(),
        source_loss=barrier.given_start_loss,
        source_accuracy=_accuracy(found.first),
        target_loss=barrier.given_end_loss,
        target_accuracy=_accuracy(found.second),
        loss_barrier=barrier.loss_barrier,
        loss_barrier_stderr=barrier.loss_barrier_stderr,
        error_barrier=barrier.error_barrier,
        error_barrier_stderr=barrier.error_barrier_stderr,
        direct_loss_barrier=barrier.direct_loss_barrier,
        direct_error_barrier=barrier.direct_error_barrier,
        moved=alignment.moved,
        cosine=alignment.cosine,
        cosine_before=alignment.cosine_before,
        agreement=shared.agreement,
        both_wrong=shared.both_wrong,
        both_wrong_expected=shared.both_wrong_expected,
        both_wrong_low=shared.both_wrong_low,
        both_wrong_high=shared.both_wrong_high,
        jaccard=shared.jaccard,
        jaccard_expected=shared.jaccard_expected,
        kappa=shared.kappa,
        kappa_low=shared.kappa_low,
        kappa_high=shared.kappa_high,
        same_wrong_class=shared.same_wrong_class,
        count=barrier.count,
        recalibrated_on=barrier.recalibrated_on,
        measured_on=split,
    )


def _accuracy(scores: Scores) -> float:
    mistakes = scores.mistakes
    assert mistakes is not None
    return 1 - float(mistakes.double().mean())
