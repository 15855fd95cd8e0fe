"""The straight line between two stitches of one pair of networks (arXiv 2110.14633, linear mode connectivity)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from weightscape.errors import Interrupted, ModelError
from weightscape.models.stitches import Stitch, StitchedNetwork, matrix_of
from weightscape.stitching.line_result import LINE_COLUMNS, StitchLine
from weightscape.stitching.matrices import as_full
from weightscape.stitching.scored import StitchScores
from weightscape.stitching.scores import logits_of, scores_of
from weightscape.training.layout import memory_format, place, private_copy

if TYPE_CHECKING:
    from weightscape.data.dataset import Split

_AGAINST_BACK = ("relative_accuracy", "cross_entropy", "kl", "agreement")


def line_of_stitches(
    first: nn.Module,
    second: nn.Module,
    split: Split,
    *,
    back: nn.Module | None = None,
    points: int = 11,
    lossy: bool = False,
    batch_size: int = 250,
    device: str | torch.device = "cpu",
    should_stop: Callable[[], bool] = lambda: False,
) -> StitchLine:
    """Measure the stitches on the line ``(1 - alpha) W1 + alpha W2``; the front network runs once.

    Stitches of low rank are taken as their matrices, so that the points between have up to twice the rank.

    Args:
        first: The stitched network at alpha 0; never changed.
        second: The stitched network at alpha 1, of the same front and back; never changed.
        split: Images to measure on.
        back: The back network as it was trained; without it only loss and accuracy are measured.
        points: Number of points, both ends included.
        lossy: Whether the images are a lossy copy.
        batch_size: Images per forward pass.
        device: Where to compute.
        should_stop: Asked between batches.

    Raises:
        ModelError: If these are no stitched networks, or their fronts, backs or stitches do not fit each other.
        Interrupted: If `should_stop` said so.
    """
    one, other = _stitched(first), _stitched(second)
    _check_same(one, other)
    network = private_copy(one, device).eval()
    stitches = [stitch.to(device) for stitch in _between(one.stitch, other.stitch, points)]  # type: ignore[arg-type]
    parts: list[list[Tensor]] = [[] for _ in stitches]
    with torch.no_grad():
        for images, _ in split.batches(batch_size):
            if should_stop():
                raise Interrupted("The line between two stitches was stopped; nothing of it is kept.")
            inputs = place(images, device, memory_format(network))
            activation = network.front(inputs)  # type: ignore[operator]
            for stitch, logits in zip(stitches, parts, strict=True):
                logits.append(network.back(stitch(activation), inputs).cpu())  # type: ignore[operator]
    logits_at = [torch.cat(logits) for logits in parts]
    reference = logits_at[0] if back is None else logits_of(private_copy(back, device), split, batch_size=batch_size)
    labels = split.labels.cpu()
    scores = [scores_of(logits, labels, back=reference, lossy=lossy) for logits in logits_at]
    return _summary(
        scores, matrices=[matrix_of(stitch).detach() for stitch in (stitches[0], stitches[-1])], scored=back is not None
    )


def _stitched(network: nn.Module) -> StitchedNetwork:
    if not isinstance(network, StitchedNetwork):
        raise ModelError(
            f"Expected a stitched network, received {type(network).__name__}. Take the output 'network' of a stitch."
        )
    return network


def _check_same(one: StitchedNetwork, other: StitchedNetwork) -> None:
    """Check that two stitched networks differ in their stitches alone.

    Raises:
        ModelError: If they do not.
    """
    mine, its = one.state_dict(), other.state_dict()
    frozen = [name for name in mine.keys() | its.keys() if not name.startswith("stitch.")]
    different = sorted(
        name for name in frozen if name not in mine or name not in its or not _equal(mine[name], its[name])
    )
    if different:
        raise ModelError(
            f"Expected two stitches between the same two networks and layers, but {len(different)} tensors of these "
            f"differ, first {different[0]}. Take stitches of one front and one back network."
        )
    sizes = [tuple(matrix_of(network.stitch).shape) for network in (one, other)]  # type: ignore[arg-type]
    if sizes[0] != sizes[1]:
        raise ModelError(f"Expected stitches of one shape, received matrices {sizes[0]} and {sizes[1]}.")


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one, other.to(one.device))


def _between(first: Stitch, second: Stitch, points: int) -> list[Stitch]:
    """Return the stitches at equal distances, the ends exactly."""
    ends = [as_full(stitch) for stitch in (first, second)]
    made: list[Stitch] = []
    for number in range(points):
        alpha = number / (points - 1)
        stitch = copy.deepcopy(ends[0])
        with torch.no_grad():
            for mine, start, end in zip(stitch.parameters(), ends[0].parameters(), ends[1].parameters(), strict=True):
                mine.copy_(end if number == points - 1 else (1 - alpha) * start + alpha * end)
        made.append(stitch)
    return made


def _summary(scores: Sequence[StitchScores], *, matrices: Sequence[Tensor], scored: bool) -> StitchLine:
    import pandas

    alphas = [number / (len(scores) - 1) for number in range(len(scores))]
    rows: list[dict[str, Any]] = []
    for alpha, one in zip(alphas, scores, strict=True):
        row: dict[str, Any] = {"alpha": alpha, **asdict(one)}
        rows.append({name: row[name] if scored or name not in _AGAINST_BACK else None for name in LINE_COLUMNS})
    start, end = scores[0].loss, scores[-1].loss
    heights = [one.loss - (1 - alpha) * start - alpha * end for alpha, one in zip(alphas, scores, strict=True)]
    heights[0] = heights[-1] = 0.0
    highest = max(range(len(heights)), key=heights.__getitem__)
    near, far = (matrix.double().flatten() for matrix in matrices)
    scale = float(near.norm() * far.norm())
    relative = [score.relative_accuracy for score in scores if scored and score.relative_accuracy is not None]
    return StitchLine(
        line=pandas.DataFrame(rows, columns=list(LINE_COLUMNS)).astype("float64"),
        loss_barrier=heights[highest],
        loss_barrier_alpha=alphas[highest] if heights[highest] > 0 else 0.0,
        lowest_accuracy=min(score.accuracy for score in scores),
        lowest_relative_accuracy=min(relative) if relative else None,
        first_accuracy=scores[0].accuracy,
        second_accuracy=scores[-1].accuracy,
        distance=float((near - far).norm()) / scale**0.5 if scale else None,
        cosine=float(near @ far) / scale if scale else None,
        points=len(scores),
        count=scores[0].count,
        lossy_images=scores[0].lossy_images,
    )
