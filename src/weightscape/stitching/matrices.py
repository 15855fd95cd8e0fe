"""The matrix of a stitch: in full, and without its small entries."""

from __future__ import annotations

import copy

import torch

from weightscape.models.stitches import AffineStitch, LowRankStitch, Stitch, matrix_of

_SMALL = 1e-4
"""Entries below this count as 0 in a sparsity, as in the published code."""


def sparsity(stitch: Stitch) -> float:
    """Return the share of the entries of a stitch's matrix that are smaller than 1e-4."""
    return float((matrix_of(stitch).abs() < _SMALL).double().mean())


def without_small_entries(stitch: Stitch, threshold: float) -> Stitch:
    """Return a copy of a stitch in which entries of the matrix below a threshold in absolute value are 0.

    A stitch of low rank becomes one of full form: its factors have no such entries.
    """
    changed = as_full(stitch)
    with torch.no_grad():
        matrix = matrix_of(changed)
        matrix[matrix.abs() < threshold] = 0.0
    return changed


def as_full(stitch: Stitch) -> Stitch:
    """Return a copy of a stitch that has a matrix of its own: of one of low rank, the product of its factors."""
    if not isinstance(stitch, LowRankStitch):
        return copy.deepcopy(stitch)
    matrix = matrix_of(stitch)
    full = AffineStitch(matrix.shape[1], matrix.shape[0], size=stitch.size).to(matrix.device)
    with torch.no_grad():
        full.weight.copy_(matrix)
        full.bias.copy_(stitch.bias)
    return full
