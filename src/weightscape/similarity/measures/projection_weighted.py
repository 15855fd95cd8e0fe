"""Projection-weighted CCA (Morcos et al. 2018, arXiv 1806.05759): canonical directions count by what they explain."""

from __future__ import annotations

import torch

from weightscape.similarity.measure import measure
from weightscape.similarity.overlap import JointMoments, overlap_of_moments


@measure(
    "pwcca",
    symmetric=False,
    invariances=["isotropic-scale", "translation", "unit-permutation", "sample-permutation"],
    sums="moments",
    sample_rule="n > rank(X) + rank(Y)",
    cost="O(d³)",
    source="Morcos et al. 2018, arXiv 1806.05759, section 3",
)
def pwcca(moments: JointMoments) -> float:
    """Mean of the canonical correlations weighted by how much of the first layer's units they account for.

    Σ αᵢ ρᵢ / Σ αᵢ with αᵢ = Σⱼ |⟨hᵢ, xⱼ⟩| over the units xⱼ of the first layer, where hᵢ are its canonical variables.
    The absolute values depend on the units, so Gram matrices do not suffice and rotations change it. Only as many
    directions are counted as the smaller layer has.
    """
    overlap = overlap_of_moments(moments)
    overlap.check_samples()
    assert overlap.first_units is not None
    rotation, correlations, _ = torch.linalg.svd(overlap.matrix, full_matrices=False)
    # h_i = U₁ a_i, so that ⟨h_i, X⟩ = a_iᵀ S₁ V₁ᵀ
    projections = (rotation * overlap.first[:, None]).T @ overlap.first_units.T
    weights = projections.abs().sum(dim=1)
    return float(weights @ correlations.clamp(max=1) / weights.sum())
