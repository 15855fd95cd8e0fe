"""Loss and error along the straight line between two networks, before and after alignment."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from weightscape.batches import BatchSource, Forward, Loss, as_batches
from weightscape.errors import SymmetryError
from weightscape.landscape.heights import excess, height, mean_and_stderr
from weightscape.landscape.line import line_positions, parameter_names, point_on_line
from weightscape.landscape.result import LINE_COLUMNS, Barrier
from weightscape.landscape.scores import Scores, comparable, score
from weightscape.landscape.settings import BatchNorm, check_policy
from weightscape.symmetry.alignment import Alignment
from weightscape.symmetry.permutation import Permutation
from weightscape.training.evaluation import device_of
from weightscape.training.layout import private_copy
from weightscape.weights.algebra import Weights, norm, select, subtract
from weightscape.weights.batch_norm import batch_norms, recalibrate
from weightscape.weights.pairs import Network, Pair, as_pair

if TYPE_CHECKING:
    from weightscape.results import Table

# A permutation changes sums in their order alone; float32 rounding stays far below this share of the loss.
_SAME_FUNCTION = 1e-3


@dataclass(frozen=True)
class Line:
    """The scores at every point of one line."""

    positions: tuple[float, ...]
    scores: tuple[Scores, ...]

    def losses(self) -> Tensor:
        """Return the loss of every sample at every point ``(points, n)``."""
        return torch.stack([point.losses for point in self.scores])

    def mistakes(self) -> Tensor | None:
        """Return 1 for every mistake at every point ``(points, n)``; None where the targets are no classes."""
        found = [point.mistakes for point in self.scores]
        return None if any(item is None for item in found) else torch.stack([item.double() for item in found])  # type: ignore[union-attr]


class Gauge:
    """Measures weights on the same samples, after the batch-norm policy, on a private copy of the network.

    Args:
        model: Template; never changed.
        batches: What is measured on.
        bn: Batch-norm policy.
        statistics: Batches that running statistics are computed on; those measured on by default.
        loss: Loss per sample; the cross-entropy by default.
        forward: ``forward(model, batch)`` runs the network; by default it is called with the inputs.
    """

    def __init__(
        self,
        model: nn.Module,
        batches: BatchSource,
        *,
        bn: BatchNorm,
        statistics: BatchSource | None = None,
        loss: Loss | None = None,
        forward: Forward | None = None,
    ) -> None:
        self._model = private_copy(model, device_of(model))
        self._batches, self._loss = comparable(batches, forward), loss
        self._statistics = (
            self._batches if statistics is None else as_batches(statistics, forward=forward, passes="many")
        )
        self._recalibrates = bn == "recalibrate" and bool(batch_norms(self._model))

    def as_given(self, weights: Weights) -> Scores:
        """Return the scores of weights with the statistics that they come with."""
        self._model.load_state_dict(weights)
        return score(self._model, self._batches, self._loss)

    def after_policy(self, weights: Weights) -> Scores:
        """Return the scores of weights after the batch-norm policy."""
        self._model.load_state_dict(weights)
        if self._recalibrates:
            recalibrate(self._model, self._statistics)
        return score(self._model, self._batches, self._loss)

    @property
    def policy_matters(self) -> bool:
        """Whether scores as given and after the policy can differ."""
        return self._recalibrates


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
        if not change <= _SAME_FUNCTION * (1 + float(before.abs().mean())):
            raise SymmetryError(
                f"The permutation changes what the first network computes: its loss moves by {change:.2g} per sample. "
                "Was it matched the other way round? It permutes the units of the first network; "
                "align.verify(a) names the group at fault."
            )
    return ends


def as_result(
    lines: dict[str, Line],
    *,
    given: tuple[Scores, Scores],
    distances: dict[str, float],
    bn: BatchNorm,
    recalibrated_on: str,
) -> Barrier:
    """Return the result of measured lines; the last one is the one asked for."""
    import pandas

    rows: list[dict[str, Any]] = []
    for name, line in lines.items():
        measures = {"loss": line.losses(), "error": line.mistakes()}
        rows += [
            {"path": name, "measure": measure, **height(line.positions, values).metrics()}
            for measure, values in measures.items()
            if values is not None
        ]
    heights = {(row["path"], row["measure"]): row for row in rows}
    asked = list(lines)[-1]
    loss, error = heights[asked, "loss"], heights.get((asked, "error"), {})
    direct_loss, direct_error = heights["direct", "loss"], heights.get(("direct", "error"), {})
    compared = len(lines) > 1
    return Barrier(
        line=pandas.concat([_table(name, line) for name, line in lines.items()], ignore_index=True),
        heights=pandas.DataFrame(rows),
        loss_barrier=loss["barrier"],
        loss_barrier_stderr=loss["stderr"],
        loss_barrier_position=loss["position"],
        error_barrier=error.get("barrier"),
        error_barrier_stderr=error.get("stderr"),
        error_barrier_position=error.get("position"),
        direct_loss_barrier=direct_loss["barrier"] if compared else None,
        direct_error_barrier=direct_error.get("barrier") if compared else None,
        given_start_loss=float(given[0].losses.mean()),
        given_end_loss=float(given[1].losses.mean()),
        distance=distances[asked],
        direct_distance=distances["direct"] if compared else None,
        count=len(given[0].losses),
        points=len(lines[asked].positions),
        bn=bn,
        recalibrated_on=recalibrated_on,
    )


def _table(name: str, line: Line) -> Table:
    import pandas

    losses, mistakes = line.losses(), line.mistakes()
    nothing = torch.full((len(line.positions), 1), math.nan, dtype=torch.float64)
    errors = nothing if mistakes is None else mistakes
    error, error_stderr = mean_and_stderr(errors)
    above = nothing if mistakes is None else excess(line.positions, errors)
    loss, loss_stderr = mean_and_stderr(losses)
    columns = (
        [name] * len(line.positions),
        line.positions,
        loss,
        loss_stderr,
        1 - error,
        error_stderr,
        *_rounded(excess(line.positions, losses)),
        *_rounded(above),
        [losses.shape[1]] * len(line.positions),
    )
    values = [column.tolist() if isinstance(column, Tensor) else list(column) for column in columns]
    return pandas.DataFrame(dict(zip(LINE_COLUMNS, values, strict=True)))


def _rounded(above: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard error of heights, those that are 0 but for rounding as 0."""
    mean, stderr = mean_and_stderr(above)
    return mean.where(mean.abs() > 1e-14, 0.0), stderr
