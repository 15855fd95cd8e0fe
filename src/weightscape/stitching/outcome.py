"""The result of a trained stitch: scores, likeness and tables, before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from weightscape.models.stitches import FlatStitch, Stitch, StitchedNetwork, matrix_of
from weightscape.stitching.assessment import Assessor
from weightscape.stitching.features import Site, Source
from weightscape.stitching.matrices import sparsity, without_small_entries
from weightscape.stitching.pair import Pair
from weightscape.stitching.result import INITIAL, StitchResult, as_table
from weightscape.stitching.scored import StitchScores
from weightscape.stitching.settings import StitchSpec
from weightscape.training.layout import plain_weights

_STAGES = ("initial", "final")
_LARGEST = 2**21
"""Entries of a matrix whose singular values are computed; a flat stitch may have a hundred times as many."""


@dataclass(frozen=True)
class Finished:
    """A stitch at the end of its training.

    Attributes:
        spec: Its settings.
        site: Its place.
        beginning: Where it began; a copy, which training has not touched.
        stitch: Where it ended.
        epochs: Rows of the table of epochs.
        iterations: Rows of the table of iterations.
        steps: Steps taken.
        features: How its features were had.
    """

    spec: StitchSpec
    site: Site
    beginning: Stitch
    stitch: Stitch
    epochs: Sequence[Mapping[str, Any]]
    iterations: Sequence[Mapping[str, Any]]
    steps: int
    features: str


def result_of(
    done: Finished, pair: Pair, assessor: Assessor, test: Source, *, thresholds: Sequence[float]
) -> StitchResult:
    """Score a stitch before and after training, and return all that is known of it.

    Args:
        done: The stitch.
        pair: Its networks.
        assessor: Measures it.
        test: Features of the test split.
        thresholds: Entries below each are set to 0 and the stitch is scored again.
    """
    cuts = sorted({0.0, *thresholds})
    variants = [without_small_entries(done.stitch, cut) if cut else done.stitch for cut in cuts]
    first, *scored = assessor.scores([done.beginning, *variants], done.site, test)
    before, after = (assessor.likeness(stitch, done.site) for stitch in (done.beginning, done.stitch))
    unstitched = assessor.unstitched(done.site)
    network = StitchedNetwork(pair.front_cut(done.site.front_layer), done.stitch, pair.back_cut(done.site.back_layer))
    initial: dict[str, Any] = {f"initial_{name}": getattr(first, name) for name in INITIAL}
    return StitchResult(
        **_tables(done, cuts, variants, scored),
        **{**asdict(scored[0]), **initial},
        network=plain_weights(network.state_dict()),
        cka=after.cka,
        cka_debiased=after.cka_debiased,
        cka_unstitched=unstitched.cka,
        cka_debiased_unstitched=unstitched.cka_debiased,
        initial_cka=before.cka,
        l2=after.l2,
        initial_l2=before.l2,
        r2=after.r2,
        initial_r2=before.r2,
        depth=pair.depth(done.site.front_layer),
        sparsity=sparsity(done.stitch),
        parameters=sum(parameter.numel() for parameter in done.stitch.parameters()),
        iterations_taken=done.steps,
        train_loss=done.epochs[-1]["loss"] if done.epochs else None,
        probe_images=assessor.images,
        form=done.spec.form,
        features=done.features,
    )


def _tables(
    done: Finished, cuts: Sequence[float], variants: Sequence[Any], scored: Sequence[StitchScores]
) -> dict[str, Any]:
    stages = dict(zip(_STAGES, (done.beginning, done.stitch), strict=True))
    thresholds = [
        {"threshold": cut, "sparsity": float((matrix_of(stitch) == 0).double().mean()), **asdict(scores)}
        for cut, stitch, scores in zip(cuts, variants, scored, strict=True)
    ]
    rows: dict[str, Sequence[Mapping[str, Any]]] = {
        "epochs": list(done.epochs),
        "iterations": list(done.iterations),
        "thresholds": thresholds,
        "matrix": [row for stage, stitch in stages.items() for row in _entries(stage, stitch)],
        "biases": [
            {"stage": stage, "row": row, "value": value}
            for stage, stitch in stages.items()
            for row, value in enumerate(stitch.bias.tolist())
        ],
        "singular_values": [
            {"stage": stage, "index": index, "value": value}
            for stage, stitch in stages.items()
            for index, value in enumerate(_singular_values(stitch))
        ],
    }
    return {name: as_table(name, listed) for name, listed in rows.items()}


def _entries(stage: str, stitch: Stitch) -> list[dict[str, Any]]:
    if isinstance(stitch, FlatStitch):
        return []
    return [
        {"stage": stage, "row": row, "column": column, "value": value}
        for row, values in enumerate(matrix_of(stitch).detach().tolist())
        for column, value in enumerate(values)
    ]


def _singular_values(stitch: Stitch) -> list[float]:
    matrix = matrix_of(stitch).detach()
    if matrix.numel() > _LARGEST:
        return []
    found: list[float] = torch.linalg.svdvals(matrix.double()).tolist()
    return found
