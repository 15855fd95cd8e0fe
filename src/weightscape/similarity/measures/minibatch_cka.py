"""CKA of a stream of batches (Nguyen et al. 2020, arXiv 2010.15327): any number of samples, memory for one batch."""

from __future__ import annotations

import torch
from torch import Tensor

from weightscape.errors import DataError
from weightscape.similarity.geometry import Geometry
from weightscape.similarity.kernels import ratio
from weightscape.similarity.measure import UndefinedMeasure, measure
from weightscape.similarity.measures.linear_cka import unbiased_product

_LEAST = 4


@measure(
    "minibatch-cka",
    low=-1.0,
    invariances=["orthogonal", "isotropic-scale", "translation"],
    minimum_samples=_LEAST,
    biased=False,
    cost="O(n b) for batches of b samples",
    source="Nguyen et al. 2020, arXiv 2010.15327, section 2, equations 2 to 4",
)
def minibatch_cka(first: Geometry, second: Geometry, *, batch_size: int = 256) -> float:
    """Linear CKA from unbiased estimates of HSIC that are averaged over batches.

    Each of ⟨K, L⟩, ⟨K, K⟩ and ⟨L, L⟩ is averaged over the batches, and the ratio is taken of the averages. (An average
    of one CKA per batch, or over layers, is another number.) Samples are compared within their batch alone, so the
    value depends on which are together: it is not invariant to their order, and neighbours in a sorted set are no
    random batch.

    Args:
        first: The first layer.
        second: The second layer.
        batch_size: At most so many samples in a batch; the samples are cut, in their order, into batches of equal size
            but for one. As many as there are gives linear-cka-debiased.
    """
    return float(minibatch_vector(first, batch_size=batch_size) @ minibatch_vector(second, batch_size=batch_size))


@minibatch_cka.embeds
def minibatch_vector(layer: Geometry, *, batch_size: int = 256) -> Tensor:
    """Return the batches' matrices, each weighted with its size, as one vector of length 1.

    Raises:
        UndefinedMeasure: If the layer is constant in every batch.
    """

    def compute() -> Tensor:
        parts = []
        for rows in even_batches(layer.count, batch_size):
            try:
                part, n = layer.rows(rows.to(layer.device)).unbiased, len(rows)
            except UndefinedMeasure:  # constant within this batch: adds nothing to any of the averages
                part, n = torch.zeros(len(rows), len(rows), dtype=torch.float64, device=layer.device), len(rows)
            parts.append(part.reshape(-1) * (n - 3) ** -0.5)
        found = torch.cat(parts)
        size = float(found.norm())
        if not size > 0:
            raise UndefinedMeasure(f"The value is 0/0: in every batch, {layer.name} is the same for all samples.")
        return found / size

    return layer.keep(("minibatch-cka", batch_size), compute)


@minibatch_cka.also_from("activations")
def minibatch_cka_of_activations(first: Tensor, second: Tensor, *, batch_size: int = 256) -> float:
    """Return the same of matrices ``(n, d)``, in the memory of one batch."""
    stream = StreamedCka()
    for rows in even_batches(len(first), batch_size):
        stream.add(first[rows], second[rows])
    return stream.result()


class StreamedCka:
    """Linear CKA of two layers whose activations come batch by batch; nothing but six numbers is kept.

    Batches count as many times as they have samples: the sums over pairs are divided by n (n − 3) and weighted by n.
    """

    def __init__(self) -> None:
        self.count = 0
        self._products = torch.zeros(3, dtype=torch.float64)
        self._scales = torch.zeros(2, dtype=torch.float64)

    def add(self, first: Tensor, second: Tensor) -> None:
        """Add a batch: matrices ``(m, d1)`` and ``(m, d2)`` of the same samples.

        Raises:
            DataError: If the two have different samples, or fewer than four.
        """
        n = len(first)
        if first.ndim != 2 or second.ndim != 2 or len(second) != n:
            raise DataError(
                f"Expected two matrices (samples, units) of the same samples, received {tuple(first.shape)} and "
                f"{tuple(second.shape)}; flatten maps with .flatten(1)."
            )
        if n < _LEAST:
            raise DataError(
                f"The unbiased estimator needs batches of at least {_LEAST} samples, received one of {n}: leave out an "
                "incomplete last batch (drop_last), or choose a batch size that divides the samples evenly."
            )
        sides = [_centred(rows) for rows in (first, second)]
        pairs = ((0, 1), (0, 0), (1, 1))
        found = [_hsic_product(sides[one], sides[other]) for one, other in pairs]
        self._products += torch.tensor(found, dtype=torch.float64) / (n - 3)
        squares = [float(rows.square().sum()) ** 2 for rows in sides]
        self._scales += torch.tensor(squares, dtype=torch.float64) / (n - 3)
        self.count += n

    def result(self) -> float:
        """Return CKA of all batches so far, in [-1, 1].

        Raises:
            DataError: If there was no batch.
        """
        if not self.count:
            raise DataError("Expected at least one batch, received none.")
        both, one, other = self._products.tolist()
        names = ("the first representation", "the second representation")
        return min(max(ratio(both, one, other, scales=self._scales.tolist(), names=names), -1.0), 1.0)


def even_batches(count: int, batch_size: int) -> list[Tensor]:
    """Return the rows of consecutive batches of nearly equal size, none larger than `batch_size`.

    Raises:
        DataError: If the batches would be smaller than four samples.
    """
    batches = -(-count // max(batch_size, 1))
    if batch_size < _LEAST or count // batches < _LEAST:
        raise DataError(
            f"The unbiased estimator needs batches of at least {_LEAST} samples, received a batch size of {batch_size} "
            f"for {count} samples."
        )
    return list(torch.arange(count).tensor_split(batches))


def _centred(rows: Tensor) -> Tensor:
    rows = rows.detach().double()
    found = rows - rows.mean(dim=0)
    # what only rounding makes differ is constant
    constant = not float(found.square().sum()) > 8 * torch.finfo(torch.float64).eps * float(rows.square().sum())
    return torch.zeros_like(found) if constant else found


def _hsic_product(first: Tensor, second: Tensor) -> float:
    """Return n (n − 3) times the unbiased HSIC of centred rows, in the cheaper of its two forms."""
    if max(first.shape[1], second.shape[1]) < len(first):
        return unbiased_product(first, second)
    one, other = (_without_diagonal(rows) for rows in (first, second))
    return float((one * other).sum())


def _without_diagonal(rows: Tensor) -> Tensor:
    n = len(rows)
    gram = rows @ rows.T
    gram.fill_diagonal_(0)
    sums = gram.sum(dim=0) / (n - 2)
    found = gram - sums[:, None] - sums[None, :] + gram.sum() / ((n - 1) * (n - 2))
    return found.fill_diagonal_(0)
