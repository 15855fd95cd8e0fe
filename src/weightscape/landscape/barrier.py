"""Loss and error along the straight line between two networks, before and after alignment."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

from torch import nn

from weightscape.batches import BatchSource, Forward, Loss
from weightscape.errors import SymmetryError
from weightscape.landscape.gauge import Gauge
from weightscape.landscape.line import line_positions, parameter_names, point_on_line
from weightscape.landscape.result import Barrier
from weightscape.landscape.scores import Scores
from weightscape.landscape.settings import BatchNorm, check_policy
from weightscape.landscape.summary import Line, as_result
from weightscape.symmetry.alignment import Alignment
from weightscape.symmetry.permutation import Permutation
from weightscape.weights.algebra import Weights, norm, select, subtract
from weightscape.weights.batch_norm import batch_norms
from weightscape.weights.pairs import Network, Pair, as_pair

# A permutation changes sums in their order alone; float32 rounding stays far below this share of the loss.
_SAME_FUNCTION = 1e-3


def barrier(
    a: Network,
    b: Network,
    batches: BatchSource,
    *,
    align: Permutation | Alignment | None = None,
    bn: BatchNorm | None = None,
    bn_batches: BatchSource | None = None,
    points: int | Sequence[float] = 11,
    forward: Forward | None = None,
    loss: Loss | None = None,
    model: nn.Module | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Barrier:
    """Measure loss and error along the straight line from `a` to `b`, and the height of the barrier between them.

    Every point is measured on the same samples, so that heights have a paired standard error. The split is yours to
    choose, and no two are mixed: the barrier of the training loss and that of the test loss are two calls.

    Args:
        a: The network at 0: a module or its weights. It is not changed.
        b: The network at 1, of the same architecture.
        batches: What to measure on: a split, or batches of inputs and labels in any form
            (:func:`weightscape.as_batches`), the same in each pass.
        align: A permutation π of the units of `a`, from :func:`~weightscape.symmetry.alignment.match`; the line from
            ``π a`` to `b` is then measured beside the direct one.
        bn: What becomes of the running statistics of batch norms, at every point alike, the ends included:
            ``recalibrate`` computes them anew, ``none`` takes those of the nearer end. Must be said for a network
            that has any.
        bn_batches: What ``recalibrate`` computes them on: training images, best. By default the inputs measured on,
            which lets the networks see the test images; the result says so.
        points: Evenly spaced points, the ends included; or positions in [0, 1].
        forward: ``forward(model, batch)`` returns the outputs; by default the model is called with the inputs.
        loss: ``loss(outputs, targets)`` returns one value per sample ``(n,)``; the cross-entropy by default.
        model: The module, when both networks are given as weights.
        progress: Called with the points done and their number.

    Raises:
        ModelError: If the networks are of different architectures, the policy is not said, or a loss at an end is not
            finite.
        SymmetryError: If the permutation changes what `a` computes.
        DataError: If the batches cannot be read, or do not fit the loss.
    """
    return measure(
        as_pair(a, b, model),
        batches,
        align=align.permutation if isinstance(align, Alignment) else align,
        bn=bn,
        bn_batches=bn_batches,
        points=points,
        forward=forward,
        loss=loss,
        progress=progress,
    ).barrier


class Measured(NamedTuple):
    """A barrier, and what the two networks do as they were given."""

    barrier: Barrier
    first: Scores
    second: Scores


def measure(
    pair: Pair,
    batches: BatchSource,
    *,
    align: Permutation | None = None,
    bn: BatchNorm | None = None,
    bn_batches: BatchSource | None = None,
    points: int | Sequence[float] = 11,
    forward: Forward | None = None,
    loss: Loss | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Measured:
    """Measure a barrier as :func:`barrier` does, and keep what the ends do on each sample."""
    normalised = bool(batch_norms(pair.model))
    policy = check_policy(bn, len(batch_norms(pair.model)))
    gauge = Gauge(pair.model, batches, bn=policy, statistics=bn_batches, loss=loss, forward=forward)
    starts = {"direct": pair.first}
    if align is not None:
        starts["aligned"] = align.apply(pair.first)
    positions, parameters = line_positions(points), parameter_names(pair.model)
    lines = _measured(gauge, starts, pair.second, positions, parameters, progress)
    given = _given(gauge, starts, pair.second, lines["direct"])
    used = "nothing" if not normalised else "kept"
    if gauge.policy_matters:
        used = "evaluated" if bn_batches is None else "other"
    distances = {name: _distance(start, pair.second, parameters) for name, start in starts.items()}
    found = as_result(lines, given=given, distances=distances, bn=policy, recalibrated_on=used)
    return Measured(found, *given)


def _distance(start: Weights, end: Weights, parameters: Iterable[str]) -> float:
    return norm(subtract(select(start, parameters), select(end, parameters)))


def _measured(
    gauge: Gauge,
    starts: dict[str, Weights],
    end: Weights,
    positions: tuple[float, ...],
    parameters: Collection[str],
    progress: Callable[[int, int], None],
) -> dict[str, Line]:
    """Measure every point of every line; the end, which lines share, once."""
    total, done = len(starts) * (len(positions) - 1) + 1, 0
    last = gauge.after_policy(end)
    lines = {}
    for name, start in starts.items():
        scores = []
        for position in positions[:-1]:
            scores.append(gauge.after_policy(point_on_line(start, end, position, parameters)))
            done += 1
            progress(done, total)
        lines[name] = Line(positions, (*scores, last))
    progress(total, total)
    return lines


def _given(gauge: Gauge, starts: dict[str, Weights], end: Weights, direct: Line) -> tuple[Scores, Scores]:
    """Return the scores of both ends as they were given, and prove that the alignment leaves the first what it was.

    Raises:
        SymmetryError: If it does not.
    """
    ends = direct.scores[0], direct.scores[-1]
    if gauge.policy_matters:
        ends = gauge.as_given(starts["direct"]), gauge.as_given(end)
    if "aligned" in starts:
        before, after = ends[0].losses, gauge.as_given(starts["aligned"]).losses
        change = float((after - before).abs().mean())
        # An end whose own loss is not finite is named as such, where the heights are taken.
        if bool(before.isfinite().all()) and not change <= _SAME_FUNCTION * (1 + float(before.abs().mean())):
            raise SymmetryError(
                f"The permutation changes what the first network computes: its loss moves by {change:.2g} per sample. "
                "Was it matched the other way round? It permutes the units of the first network; "
                "align.verify(a) names the group at fault."
            )
    return ends
