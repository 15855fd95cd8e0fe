"""Representational similarity analysis (Kriegeskorte et al. 2008): are the same pairs of samples alike?"""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor

from weightscape.errors import DataError
from weightscape.similarity.geometry import Geometry
from weightscape.similarity.measure import Invariance, UndefinedMeasure, measure

Dissimilarity: TypeAlias = Literal["euclidean", "squared-euclidean", "cosine", "correlation"]
_SOURCE = "Kriegeskorte et al. 2008, Frontiers in Systems Neuroscience 2, 4"
_INVARIANT: tuple[Invariance, ...] = ("orthogonal", "isotropic-scale", "translation", "sample-permutation")
_CONSTANT = 1e-12  # relative spread of dissimilarities below which only rounding tells them apart


@measure(
    "rsa-pearson",
    low=-1.0,
    invariances=_INVARIANT,
    minimum_samples=3,
    biased=False,
    cost="O(n²)",
    source=_SOURCE,
)
def rsa_pearson(first: Geometry, second: Geometry, *, dissimilarity: Dissimilarity = "euclidean") -> float:
    """Pearson correlation of the dissimilarities of all pairs of samples in one layer with those in the other.

    Args:
        first: The first layer.
        second: The second layer.
        dissimilarity: Of two samples: the distance of their activations, its square, one less their cosine, or one
            less the correlation over the units. The cosine is not invariant to translations; the correlation neither
            to these nor to rotations, and needs activations, as Gram matrices do not know the mean over the units.
    """
    return float(
        pearson_vector(first, dissimilarity=dissimilarity) @ pearson_vector(second, dissimilarity=dissimilarity)
    )


@rsa_pearson.embeds
def pearson_vector(layer: Geometry, *, dissimilarity: Dissimilarity = "euclidean") -> Tensor:
    """Return the standardised dissimilarities of all ordered pairs ``(n²,)``, a vector of length 1."""
    return layer.keep(("rsa", dissimilarity), lambda: _standardised(dissimilarities(layer, dissimilarity), layer))


@measure(
    "rsa-spearman",
    low=-1.0,
    invariances=_INVARIANT,
    minimum_samples=3,
    biased=False,
    cost="O(n² log n)",
    source=_SOURCE,
)
def rsa_spearman(first: Geometry, second: Geometry, *, dissimilarity: Dissimilarity = "euclidean") -> float:
    """Spearman rank correlation of the dissimilarities of all pairs of samples; ties share their mean rank.

    Args:
        first: The first layer.
        second: The second layer.
        dissimilarity: Of two samples, as in ``rsa-pearson``.
    """
    return float(
        spearman_vector(first, dissimilarity=dissimilarity) @ spearman_vector(second, dissimilarity=dissimilarity)
    )


@rsa_spearman.embeds
def spearman_vector(layer: Geometry, *, dissimilarity: Dissimilarity = "euclidean") -> Tensor:
    """Return the standardised ranks of the dissimilarities of all ordered pairs ``(n²,)``, a vector of length 1."""

    def compute() -> Tensor:
        return _standardised(_ranks(dissimilarities(layer, dissimilarity)), layer)

    return layer.keep(("rsa-ranks", dissimilarity), compute)


def dissimilarities(layer: Geometry, kind: Dissimilarity) -> Tensor:
    """Return the dissimilarities of all pairs i < j of samples ``(n (n − 1) / 2,)``.

    Raises:
        DataError: If the kind is not known, or needs activations where only the Gram matrix is known.
    """
    if kind in {"euclidean", "squared-euclidean"}:
        found = layer.squared_distances if kind == "squared-euclidean" else layer.squared_distances.sqrt()
    elif kind == "cosine":
        found = 1 - _cosines(layer.gram, layer)
    elif kind == "correlation":
        if layer.features is None:
            raise DataError(
                "The dissimilarity 'correlation' needs the mean over the units, which a Gram matrix does not know. "
                "Compare the activations themselves, or take 'euclidean' or 'cosine'."
            )
        rows = layer.features - layer.features.mean(dim=1, keepdim=True)
        found = 1 - _cosines(rows @ rows.T, layer)
    else:
        raise DataError(f"Expected euclidean, squared-euclidean, cosine or correlation, received {kind!r}.")
    above = torch.triu_indices(layer.count, layer.count, offset=1, device=found.device)
    return found[above[0], above[1]]


def _cosines(gram: Tensor, layer: Geometry) -> Tensor:
    lengths = gram.diagonal().clamp(min=0).sqrt()
    if not bool((lengths > 1e-7 * lengths.max()).all()):
        raise UndefinedMeasure(
            f"A sample without activation has no angle with others: of {layer.name}, "
            f"{int((lengths <= 1e-7 * lengths.max()).sum())} of {layer.count} samples are zero or constant over the "
            "units. Take the dissimilarity 'euclidean'."
        )
    return (gram / lengths[:, None] / lengths).clamp(-1, 1)


def _standardised(values: Tensor, layer: Geometry) -> Tensor:
    """Return values of pairs less their mean, each in both triangles of a matrix, as a vector ``(n²,)`` of length 1.

    Raises:
        UndefinedMeasure: If the values are equal.
    """
    found = values - values.mean()
    size = float(found.norm())
    if not size > _CONSTANT * float(values.norm()):
        raise UndefinedMeasure(
            f"The correlation is 0/0 for {layer.name}: all pairs of samples are equally dissimilar. Take other or more "
            "samples."
        )
    matrix = found.new_zeros(layer.count, layer.count)
    above = torch.triu_indices(layer.count, layer.count, offset=1, device=found.device)
    matrix[above[0], above[1]] = found / (size * 2**0.5)
    return (matrix + matrix.T).reshape(-1)


def _ranks(values: Tensor) -> Tensor:
    """Return ranks from 1; equal values, up to the rounding of double precision, share their mean rank."""
    ordered, order = values.sort()
    apart = ordered.diff() > _CONSTANT * ordered.abs().max()
    group = torch.cat([apart.new_zeros(1), apart]).cumsum(0)
    sizes = torch.bincount(group).double()
    ends = sizes.cumsum(0)
    ranks = torch.empty_like(values)
    ranks[order] = ((ends - sizes + 1 + ends) / 2)[group]
    return ranks
