"""A measure of activations, Gram matrices or moments: checked, in double precision, clipped to its range."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from weightscape.errors import DataError
from weightscape.similarity.geometry import Geometry, StoredGram
from weightscape.similarity.measure import Measure, check_options
from weightscape.similarity.memory import MEMORY_LIMIT, in_words
from weightscape.similarity.moments import Moments
from weightscape.similarity.overlap import JointMoments
from weightscape.similarity.probe import check_same_probe

_MATRICES = 5
"""Matrices of Gram's size that are there at once when a measure is computed."""
_LARGEST = 1e60
"""Sums of fourth powers of larger numbers leave the range of double precision."""

_NAMES = ("the first representation", "the second representation")


def of_activations(measure: Measure, first: Any, second: Any, **options: Any) -> float:
    """Return a measure of two matrices ``(n, d1)`` and ``(n, d2)``: the same n samples in the same order.

    Whichever of Gram matrices and moments is smaller is made of them; the value is the same.

    Raises:
        DataError: If the shapes do not fit, there are too few samples, or numbers are not finite.
    """
    check_options(measure, options)
    one, other = as_matrices(first, second)
    _check_count(measure, len(one))
    for sums in ("activations", "outputs"):
        if sums in measure.functions:
            return measure.clipped(measure.function_of(sums)(one, other, **options))
    if "moments" in measure.functions and (
        "grams" not in measure.functions or one.shape[1] + other.shape[1] < len(one)
    ):
        return measure.clipped(measure.function_of("moments")(moments_of(one, other), **options))
    return measure.clipped(measure.function_of("grams")(*geometries_of(one, other), **options))


def of_grams(measure: Measure, first: StoredGram | Geometry, second: StoredGram | Geometry, **options: Any) -> float:
    """Return a measure of two layers' Gram matrices on the same samples.

    Raises:
        DataError: If they are of different probe sets, or of too few samples, or the measure needs other sums.
    """
    check_options(measure, options)
    one, other = as_geometry(first), as_geometry(second)
    check_pair(measure, one, other)
    return measure.clipped(measure.function_of("grams")(one, other, **options))


def of_moments(measure: Measure, moments: JointMoments, **options: Any) -> float:
    """Return a measure of the joint moments of two layers' channels.

    Raises:
        DataError: If they are of too few samples, or the measure needs other sums.
    """
    check_options(measure, options)
    function = measure.function_of("moments")
    _check_count(measure, moments.count)
    _check_finite(moments)
    return measure.clipped(function(moments, **options))


def _check_finite(moments: JointMoments) -> None:
    sides = ((moments.first_mean, moments.first), (moments.second_mean, moments.second))
    for name, (mean, sums) in zip(_NAMES, sides, strict=True):
        if not bool(torch.isfinite(mean).all() and torch.isfinite(sums).all()):
            raise DataError(
                f"Expected finite numbers, but sums over {name} are NaN or infinite. Activations above 65504 overflow "
                "half precision: capture them in float32; else look for where the network diverged."
            )


def similarity_matrix(
    measure: Measure, first: Sequence[StoredGram | Geometry], second: Sequence[StoredGram | Geometry], **options: Any
) -> Tensor:
    """Return a measure of every layer of one list with every layer of another ``(len(first), len(second))``.

    What depends on one layer alone is computed once per layer. Measures that are inner products (CKA, RSA) are one
    product of matrices for all pairs, in double precision.

    The values are on the CPU, wherever the layers are.

    Args:
        measure: A measure of Gram matrices.
        first: Gram matrices or geometries of layers on one probe set.
        second: The same; may be the same list.
        options: Options of the measure.

    Raises:
        DataError: If they are of different probe sets, or of too few samples, or the measure needs other sums.
    """
    check_options(measure, options)
    function = measure.function_of("grams")
    rows = [as_geometry(layer) for layer in first]
    columns = rows if second is first else [as_geometry(layer) for layer in second]
    for layer in [*rows, *columns]:
        check_pair(measure, rows[0], layer)
    if measure.vectors:
        embed = measure.vectors[0]
        one = torch.stack([embed(layer, **options) for layer in rows])
        other = one if columns is rows else torch.stack([embed(layer, **options) for layer in columns])
        return (one @ other.T).clamp(measure.low, measure.high).cpu()
    found = torch.empty(len(rows), len(columns), dtype=torch.float64)
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            known = columns is rows and measure.symmetric and j < i
            found[i, j] = found[j, i] if known else measure.clipped(function(row, column, **options))
    return found


def geometries_of(first: Tensor, second: Tensor) -> tuple[Geometry, Geometry]:
    """Return the geometries of two matrices ``(n, d1)`` and ``(n, d2)``.

    Raises:
        DataError: If their Gram matrices would take too much memory.
    """
    check_gram_memory(len(first))
    return Geometry.of_activations(first, name=_NAMES[0]), Geometry.of_activations(second, name=_NAMES[1])


def as_geometry(layer: StoredGram | Geometry) -> Geometry:
    """Return the geometry of a stored Gram matrix; a geometry as it is."""
    return layer if isinstance(layer, Geometry) else Geometry.of_gram(layer)


def as_matrices(first: Any, second: Any) -> tuple[Tensor, Tensor]:
    """Return two representations of the same samples as matrices in double precision.

    Raises:
        DataError: If one is no matrix of finite numbers, or they have different numbers of samples.
    """
    one, other = as_matrix(first, name=_NAMES[0]), as_matrix(second, name=_NAMES[1])
    if len(one) != len(other):
        raise DataError(
            "Expected two representations of the same samples in the same order, one row each, received the shapes "
            f"{tuple(one.shape)} and {tuple(other.shape)}: {len(one)} and {len(other)} samples. Show both networks the "
            "same images without shuffling, and keep incomplete batches in both or in neither."
        )
    return one, other


def as_matrix(values: Any, *, name: str = "the representation") -> Tensor:
    """Return activations ``(n, d)`` in double precision.

    Raises:
        DataError: If they are no matrix, are empty or hold NaN or infinite values.
    """
    precise = torch.float64 if isinstance(values, list | tuple) else None
    try:
        found = torch.as_tensor(values, dtype=precise).detach()
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"Expected {name} as a tensor, array or list of rows (samples, units), received a "
            f"{type(values).__name__}: {error}"
        ) from error
    if found.ndim != 2 or found.is_complex():
        way = "; flatten maps with .flatten(1), or count each pixel as a sample" if found.ndim > 2 else ""
        raise DataError(
            f"Expected {name} as a matrix of real numbers (samples, units), received the shape {tuple(found.shape)} of "
            f"{str(found.dtype).removeprefix('torch.')}{way}."
        )
    if not found.numel():
        raise DataError(f"Expected {name} to have samples and units, received the shape {tuple(found.shape)}.")
    found = found.double()
    if not bool(torch.isfinite(found).all()):
        bad = int((~torch.isfinite(found)).sum())
        raise DataError(
            f"Expected finite numbers, but {bad:,} of the {found.numel():,} entries of {name} are NaN or infinite. "
            "Activations above 65504 overflow half precision: capture them in float32; else look for where the network "
            "diverged."
        )
    if float(found.abs().max()) > _LARGEST:
        raise DataError(
            f"Expected activations of ordinary size, but {name} has entries up to {float(found.abs().max()):.1g}, "
            "whose products overflow: the network has diverged, or the layer is to be scaled."
        )
    return found


def moments_of(first: Tensor, second: Tensor) -> Moments:
    """Return the joint moments of two matrices ``(n, d1)`` and ``(n, d2)`` of the same samples."""
    means = first.mean(dim=0), second.mean(dim=0)
    one, other = first - means[0], second - means[1]
    return Moments(len(first), means[0], means[1], one.T @ one, other.T @ other, one.T @ other)


def check_gram_memory(count: int) -> None:
    """Check that Gram matrices of so many samples can be made from activations.

    Raises:
        DataError: If they take too much memory.
    """
    needed = _MATRICES * count**2 * 8
    if needed > MEMORY_LIMIT:
        raise DataError(
            f"Gram matrices of {count:,} samples take {in_words(needed)}, more than {in_words(MEMORY_LIMIT)}. Take "
            "fewer samples, pool the maps so that there are fewer units than samples, or minibatch-cka, which holds "
            "one batch at a time."
        )


def check_pair(measure: Measure, first: Geometry, second: Geometry) -> None:
    """Check that two layers were taken on the same samples, enough for the measure.

    Raises:
        DataError: If not.
    """
    if first.fingerprint and second.fingerprint:
        check_same_probe(first.fingerprint, second.fingerprint)
    if first.count != second.count:
        raise DataError(
            f"Expected Gram matrices of the same samples, received {first.count} and {second.count} samples."
        )
    _check_count(measure, first.count)


def _check_count(measure: Measure, count: int) -> None:
    if count < measure.minimum_samples:
        rule = f" ({measure.sample_rule})" if measure.sample_rule else ""
        raise DataError(
            f"The measure {measure.name!r} needs at least {measure.minimum_samples} samples{rule}, received {count}. "
            "Take more samples."
        )
