"""Matrices of layers as vectors of length 1, whose inner products are alignments."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from weightscape.similarity.geometry import Geometry
from weightscape.similarity.measure import UndefinedMeasure

_SIMPLEX = "all samples are equally far from each other, so that no pair of them is more alike than another"


def unit_vector(matrix: Tensor, layer: Geometry, *, of: Tensor) -> Tensor:
    """Return the entries of a matrix of a layer as a vector of length 1.

    Args:
        matrix: The matrix.
        layer: The layer.
        of: What it was made of by subtracting means: how large rounding errors are.

    Raises:
        UndefinedMeasure: If the matrix is zero up to rounding.
    """
    flat = matrix.reshape(-1)
    size = float(flat.norm())
    if not size > 64 * layer.epsilon * float(of.norm()):
        raise UndefinedMeasure(f"The value is 0/0 for {layer.name}: {_SIMPLEX}. Take other or more samples.")
    return flat / size


def ratio(both: float, first: float, second: float, *, scales: list[float], names: tuple[str, str]) -> float:
    """Return ``both / sqrt(first · second)``.

    Args:
        both: A product of two layers.
        first: The product of the first with itself.
        second: The product of the second with itself.
        scales: How large these would be without cancellation.
        names: How messages call the layers.

    Raises:
        UndefinedMeasure: If a product of a layer with itself is zero up to rounding.
    """
    for value, scale, name in zip((first, second), scales, names, strict=True):
        if not value > 64 * torch.finfo(torch.float64).eps * scale:
            raise UndefinedMeasure(f"The value is 0/0 for {name}: {_SIMPLEX}. Take other or more samples.")
    return both / math.sqrt(first * second)
