"""What measures need of one layer, each computed once: centred Gram, distances, principal directions, neighbours.

A layer is compared with many others, so everything that depends on it alone is kept here: comparing all layers of two
networks then costs one product of matrices per pair.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, Protocol, Self, TypeVar

import torch
from torch import Tensor

from weightscape.errors import DataError
from weightscape.similarity.measure import UndefinedMeasure

Value = TypeVar("Value")

_ROUNDING = 8
"""How many rounding errors of the sum of squares a layer may vary by and still count as constant."""


class StoredGram(Protocol):
    """What is kept of a layer: its Gram matrix on a probe set."""

    @property
    def matrix(self) -> Tensor:
        """Inner products of the rows, not centred ``(n, n)``."""

    @property
    def width(self) -> int:
        """Number of units."""

    @property
    def fingerprint(self) -> str:
        """Hash of the probe set; empty where it is not known."""

    @property
    def layer(self) -> str:
        """Address of the layer."""


class Geometry:
    """One layer's responses to n samples, up to rotations of its units.

    Everything is in double precision, whatever it was stored in: sums of squares of activations lose digits quickly.

    Attributes:
        count: Number of samples.
        width: Number of units.
        name: How messages call the layer.
        fingerprint: Hash of the probe set; empty where it is not known.
        epsilon: Relative rounding error of the numbers that it was made from.
    """

    def __init__(
        self,
        *,
        gram: Tensor | None = None,
        features: Tensor | None = None,
        width: int = 0,
        name: str = "the representation",
        fingerprint: str = "",
    ) -> None:
        """Make the geometry of a Gram matrix ``(n, n)``, or of activations ``(n, d)``."""
        given = gram if features is None else features
        assert given is not None
        self.features = None if features is None else features.detach().double()
        self._given_gram = None if gram is None else gram.detach()
        self.count = len(given)
        self.width = width or given.shape[1]
        self.name, self.fingerprint = name, fingerprint
        self.epsilon = torch.finfo(given.dtype).eps if gram is not None else torch.finfo(torch.float64).eps
        self._kept: dict[Any, Any] = {}
        self._shifted: Tensor | None = None

    @classmethod
    def of_gram(cls, gram: StoredGram) -> Self:
        """Make the geometry of a stored Gram matrix.

        Raises:
            DataError: If it is no square matrix of finite numbers.
        """
        matrix = gram.matrix
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not bool(torch.isfinite(matrix.sum())):
            raise DataError(
                f"Expected a square matrix of finite numbers as the Gram matrix of {gram.layer or 'a layer'!r}, "
                f"received the shape {tuple(matrix.shape)} with {int((~torch.isfinite(matrix)).sum())} that are NaN or "
                "infinite. Activations that overflow half precision are to be captured in float32."
            )
        name = repr(gram.layer) if gram.layer else "the representation"
        return cls(gram=gram.matrix, width=gram.width, name=name, fingerprint=gram.fingerprint)

    @classmethod
    def of_activations(cls, activations: Tensor, *, name: str = "the representation") -> Self:
        """Make the geometry of a matrix ``(n, d)``."""
        return cls(features=activations, name=name)

    @property
    def device(self) -> torch.device:
        """Where the numbers are."""
        given = self._given_gram if self.features is None else self.features
        assert given is not None
        return given.device

    @cached_property
    def gram(self) -> Tensor:
        """Inner products of the rows, not centred ``(n, n)``."""
        if self.features is not None:
            return self.features @ self.features.T
        assert self._given_gram is not None
        return self._given_gram.double()

    @cached_property
    def centred_features(self) -> Tensor | None:
        """The rows less their mean ``(n, d)``; None where only the Gram matrix is known."""
        return None if self.features is None else self.features - self.features.mean(dim=0)

    @cached_property
    def centred(self) -> Tensor:
        """Inner products of the rows less their mean ``(n, n)``: HKH with H = I − 11ᵀ/n.

        Raises:
            UndefinedMeasure: If all rows are equal.
        """
        rows = self.centred_features
        if self._shifted is None and rows is not None:
            found, whole = rows @ rows.T, float(self.features.square().sum())  # type: ignore[union-attr]
        else:
            products = self.gram if self._shifted is None else self._shifted
            means = products.mean(dim=0)
            found, whole = products - means[:, None] - means[None, :] + means.mean(), float(products.trace())
        if not float(found.trace()) > _ROUNDING * self.epsilon * whole:
            raise UndefinedMeasure(
                f"Expected rows that differ, but {self.name} is the same for all {self.count} samples, so that nothing "
                "can be compared with it. Leave this layer out; in a trained network its units are dead."
            )
        return found

    @cached_property
    def unbiased(self) -> Tensor:
        """The Gram matrix with zeros on the diagonal and in the sums of its rows ``(n, n)``.

        ``<A, B> / (n (n − 3))`` of two of them is the unbiased estimator of HSIC of Song et al. (2012, JMLR 13, 1393),
        as Székely and Rizzo (2014, Annals of Statistics 42, 2382) write it. With itself it is a sum of squares, which
        no rounding makes negative.
        """
        n = self.count
        raw = self.centred.clone()
        raw.fill_diagonal_(0)
        rows = raw.sum(dim=0) / (n - 2)
        found = raw - rows[:, None] - rows[None, :] + raw.sum() / ((n - 1) * (n - 2))
        found.fill_diagonal_(0)
        return found

    @cached_property
    def squared_distances(self) -> Tensor:
        """Squared Euclidean distances of the rows ``(n, n)``; what is zero but for rounding is zero."""
        squares = self.centred.diagonal()
        found = squares[:, None] + squares[None, :] - 2 * self.centred
        found[found <= _ROUNDING * self.epsilon * (squares[:, None] + squares[None, :])] = 0
        found.fill_diagonal_(0)
        return found

    @cached_property
    def directions(self) -> tuple[Tensor, Tensor]:
        """Left singular vectors ``(n, r)`` and singular values ``(r,)``, descending, of the centred rows."""
        return self._directions(self.centred, self.centred_features)

    @cached_property
    def raw_directions(self) -> tuple[Tensor, Tensor]:
        """The same of the rows as they are, not centred.

        Raises:
            UndefinedMeasure: If all rows are zero.
        """
        if not float(self.gram.trace()) > 0:
            raise UndefinedMeasure(f"Expected numbers other than zero, but {self.name} is zero for all samples.")
        return self._directions(self.gram, self.features)

    def _directions(self, gram: Tensor, rows: Tensor | None) -> tuple[Tensor, Tensor]:
        tolerance = rank_tolerance(self.epsilon, self.count)
        if rows is not None and rows.shape[1] < self.count:
            vectors, values, _ = torch.linalg.svd(rows, full_matrices=False)
            kept = values.square() > tolerance * values.square().max()
        else:
            squares, vectors = torch.linalg.eigh(gram)
            squares, vectors = squares.flip(0), vectors.flip(1)
            kept = squares > tolerance * squares.max()
            values = squares.clamp(min=0).sqrt()
        return vectors[:, kept], values[kept]

    def keep(self, key: Any, compute: Callable[[], Value]) -> Value:
        """Return what was computed under `key` before, or compute it now."""
        if key not in self._kept:
            self._kept[key] = compute()
        found: Value = self._kept[key]
        return found

    def rows(self, index: Tensor) -> Geometry:
        """Return the geometry of some of the samples, or of all in another order."""
        features = None if self.features is None else self.features[index]
        gram = None if self._given_gram is None else self._given_gram[index][:, index]
        found = Geometry(gram=gram, features=features, width=self.width, name=self.name, fingerprint=self.fingerprint)
        if "centred" in vars(self):  # inner products about the mean of all rows serve as well as those about zero
            found._shifted = self.centred[index][:, index]
        return found

    def permuted(self, order: Tensor) -> Geometry:
        """Return the geometry of the samples in another order; what is known of it already is reordered with it."""
        found = self.rows(order)
        known = vars(self)
        for name in ("gram", "centred", "unbiased", "squared_distances"):
            if name in known:
                vars(found)[name] = known[name][order][:, order]
        for name in ("directions", "raw_directions"):
            if name in known:
                vectors, values = known[name]
                vars(found)[name] = (vectors[order], values)
        return found


def rank_tolerance(epsilon: float, count: int) -> float:
    """Return below which share of the largest one a squared singular value counts as zero.

    Of double precision 1e-12, a millionth of the largest singular value, which is about what activations in single
    precision resolve; of a Gram matrix in single precision what its rounding leaves.
    """
    return max(1e-12, epsilon * count if epsilon > 1e-12 else 0.0)
