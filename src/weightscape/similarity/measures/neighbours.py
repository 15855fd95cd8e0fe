"""Whether samples have the same neighbours in two layers: similarity of what is near, whatever is far."""

from __future__ import annotations

from torch import Tensor

from weightscape.errors import DataError
from weightscape.similarity.geometry import Geometry
from weightscape.similarity.measure import measure

_TIE = 1e-10  # relative to the largest squared distance


@measure(
    "knn-jaccard",
    invariances=["orthogonal", "isotropic-scale", "translation", "sample-permutation"],
    minimum_samples=3,
    sample_rule="n > k + 1",
    cost="O(n² log n)",
    source="Klabunde et al. 2023, arXiv 2305.06329 (survey), neighbourhood measures",
)
def knn_jaccard(first: Geometry, second: Geometry, *, neighbours: int = 10) -> float:
    """Mean over the samples of the Jaccard index of its k nearest neighbours in one layer and in the other.

    Neighbours are by Euclidean distance. Samples exactly as far as the k-th (duplicates) all belong to them, so that
    the value does not depend on the order of the samples. For unrelated layers it is about k / (2n − k).

    Args:
        first: The first layer.
        second: The second layer.
        neighbours: k.
    """
    one, other = (near(layer, neighbours) for layer in (first, second))
    both = (one & other).sum(dim=1).double()
    return float((both / (one | other).sum(dim=1)).mean())


def near(layer: Geometry, neighbours: int) -> Tensor:
    """Return which samples are among the nearest of each ``(n, n)``.

    Raises:
        DataError: If there are not more samples than neighbours and the sample itself.
    """
    if not 0 < neighbours < layer.count - 1:
        raise DataError(
            f"Expected from 1 to {layer.count - 2} neighbours for {layer.count} samples, fewer than there are other "
            f"samples, received {neighbours}. Take more samples or fewer neighbours."
        )

    def compute() -> Tensor:
        distances = layer.squared_distances.clone()
        distances.fill_diagonal_(float("inf"))
        farthest = distances.kthvalue(neighbours, dim=1, keepdim=True).values
        return distances <= farthest + _TIE * layer.squared_distances.max()

    return layer.keep(("near", neighbours), compute)
