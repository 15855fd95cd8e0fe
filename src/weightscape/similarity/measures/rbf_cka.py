"""CKA with a Gaussian kernel (Kornblith et al. 2019, arXiv 1905.00414): alike where near samples are the same ones."""

from __future__ import annotations

import torch
from torch import Tensor

from weightscape.errors import DataError
from weightscape.similarity.geometry import Geometry
from weightscape.similarity.kernels import unit_vector
from weightscape.similarity.measure import UndefinedMeasure, measure


@measure(
    "rbf-cka",
    invariances=["orthogonal", "isotropic-scale", "translation", "sample-permutation"],
    cost="O(n²)",
    source="Kornblith et al. 2019, arXiv 1905.00414, section 3",
)
def rbf_cka(first: Geometry, second: Geometry, *, bandwidth: float = 0.8) -> float:
    """CKA with the kernel exp(−‖x − x'‖² / (2 σ²)), biased estimator.

    σ is a fraction of the median Euclidean distance between different samples of the layer, as in the paper, so that
    the scale of a layer does not matter.

    Args:
        first: The first layer.
        second: The second layer.
        bandwidth: σ over the median distance; 0.8 is the paper's largest.
    """
    return float(rbf_vector(first, bandwidth=bandwidth) @ rbf_vector(second, bandwidth=bandwidth))


@rbf_cka.embeds
def rbf_vector(layer: Geometry, *, bandwidth: float = 0.8) -> Tensor:
    """Return the centred kernel matrix as a vector ``(n²,)`` of length 1.

    Raises:
        DataError: If the bandwidth is not positive.
    """
    if not bandwidth > 0:
        raise DataError(f"Expected a bandwidth above 0, a fraction of the median distance, received {bandwidth}.")
    return layer.keep(("rbf-cka", bandwidth), lambda: _vector(layer, bandwidth))


def _vector(layer: Geometry, bandwidth: float) -> Tensor:
    kernel = torch.exp(layer.squared_distances / (-2 * bandwidth**2 * median_square(layer)))
    means = kernel.mean(dim=0)
    return unit_vector(kernel - means[:, None] - means[None, :] + means.mean(), layer, of=kernel)


def median_square(layer: Geometry) -> float:
    """Return the median squared distance between different samples.

    Raises:
        UndefinedMeasure: If it is zero.
    """
    above = torch.triu_indices(layer.count, layer.count, offset=1, device=layer.device)
    ordered = layer.squared_distances[above[0], above[1]].sort().values
    found = float(ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
    if not found > 0:
        raise UndefinedMeasure(
            f"The bandwidth is a fraction of the median distance, which is 0 for {layer.name}: most of its rows are "
            "equal. Take samples that differ, or linear-cka."
        )
    return found
