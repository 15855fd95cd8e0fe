"""Each measure once more, from another library or from its definition written out: numpy, scipy, sklearn, torch-cka."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import permutations
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from scipy import linalg, special, stats
from scipy.spatial import distance, procrustes
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression
from sklearn.metrics import accuracy_score, cohen_kappa_score, jaccard_score, mean_squared_error
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import KernelCenterer

Array = np.ndarray[Any, np.dtype[np.float64]]
Oracle = Callable[..., float]


def aligned(first: Array, second: Array) -> float:
    """CKA of two kernel matrices."""
    one, other = (KernelCenterer().fit_transform(kernel) for kernel in (first, second))
    return float((one * other).sum() / (np.linalg.norm(one) * np.linalg.norm(other)))


def linear_cka(x: Array, y: Array) -> float:
    return aligned(x @ x.T, y @ y.T)


def unbiased_hsic(x: Array, y: Array) -> float:
    """By torch-cka, which wants the diagonals to be zero."""
    from torch_cka import CKA

    torch.set_default_dtype(torch.float64)  # it makes its ones in the default type
    try:
        kernels = [torch.from_numpy(rows @ rows.T).fill_diagonal_(0) for rows in (x, y)]
        return float(CKA._HSIC(SimpleNamespace(device="cpu"), *kernels))
    finally:
        torch.set_default_dtype(torch.float32)


def debiased_cka(x: Array, y: Array) -> float:
    return unbiased_hsic(x, y) / math.sqrt(unbiased_hsic(x, x) * unbiased_hsic(y, y))


def minibatch_cka(x: Array, y: Array, batch_size: int = 256) -> float:
    batches = [(x[start : start + batch_size], y[start : start + batch_size]) for start in range(0, len(x), batch_size)]
    means = [
        np.mean([unbiased_hsic(*pair(one, other)) for one, other in batches])
        for pair in (lambda a, b: (a, b), lambda a, b: (a, a), lambda a, b: (b, b))
    ]
    return float(means[0] / math.sqrt(means[1] * means[2]))


def rbf_cka(x: Array, y: Array, bandwidth: float = 0.8) -> float:
    kernels = [
        rbf_kernel(rows, gamma=1 / (2 * bandwidth**2 * np.median(distance.pdist(rows, "sqeuclidean"))))
        for rows in (x, y)
    ]
    return aligned(*kernels)


def canonical(x: Array, y: Array) -> Array:
    """Canonical correlations: cosines of the principal angles between the column spaces."""
    return np.cos(linalg.subspace_angles(x - x.mean(0), y - y.mean(0)))


def svcca(x: Array, y: Array, variance: float = 0.99) -> float:
    parts = [PCA().fit(rows) for rows in (x, y)]
    kept = [int(np.searchsorted(np.cumsum(part.explained_variance_ratio_), variance)) + 1 for part in parts]
    reduced = [part.transform(rows)[:, :size] for part, rows, size in zip(parts, (x, y), kept, strict=True)]
    return float(canonical(*reduced).mean())


def pwcca(x: Array, y: Array) -> float:
    """Canonical variables as generalised eigenvectors."""
    x, y = x - x.mean(0), y - y.mean(0)
    explained = x.T @ y @ np.linalg.solve(y.T @ y, y.T @ x)
    squares, vectors = linalg.eigh(explained, x.T @ x)
    kept = np.argsort(squares)[::-1][: min(x.shape[1], y.shape[1])]
    variables = x @ vectors[:, kept]
    variables /= np.linalg.norm(variables, axis=0)
    weights = np.abs(variables.T @ x).sum(axis=1)
    return float(weights @ np.sqrt(squares[kept].clip(0)) / weights.sum())


def padded(x: Array, y: Array) -> tuple[Array, Array]:
    width = max(x.shape[1], y.shape[1])
    first, second = (np.pad(rows, ((0, 0), (0, width - rows.shape[1]))) for rows in (x, y))
    return first, second


def procrustes_distance(x: Array, y: Array) -> float:
    """scipy's disparity is 1 − ν², after the best scale as well."""
    return math.sqrt(2 - 2 * math.sqrt(1 - procrustes(*padded(x, y))[2]))


def angular(x: Array, y: Array) -> float:
    """The distance of Williams et al. (2021): arccos of the inner product of aligned layers of unit norm."""
    first, second = padded(x - x.mean(0), y - y.mean(0))
    first, second = first / np.linalg.norm(first), second / np.linalg.norm(second)
    left, _, right = np.linalg.svd(first.T @ second)
    return math.acos(float(np.sum((first @ (left @ right)) * second)))


def orthogonal_distance(x: Array, y: Array) -> float:
    first, second = padded(x, y)
    rotation, _ = linalg.orthogonal_procrustes(second, first)
    return float(np.linalg.norm(first - second @ rotation) / math.sqrt(len(x)))


def linear_regression(x: Array, y: Array) -> float:
    fitted = LinearRegression().fit(x, y).predict(x)
    return float(1 - ((y - fitted) ** 2).sum() / ((y - y.mean(0)) ** 2).sum())


def rsa_pearson(x: Array, y: Array, dissimilarity: str = "euclidean") -> float:
    kind = {"squared-euclidean": "sqeuclidean"}.get(dissimilarity, dissimilarity)
    return float(stats.pearsonr(distance.pdist(x, kind), distance.pdist(y, kind))[0])


def rsa_spearman(x: Array, y: Array, dissimilarity: str = "euclidean") -> float:
    kind = {"squared-euclidean": "sqeuclidean"}.get(dissimilarity, dissimilarity)
    return float(stats.spearmanr(distance.pdist(x, kind), distance.pdist(y, kind))[0])


def correlation_matrix(x: Array, y: Array) -> Array:
    return np.corrcoef(x.T, y.T)[: x.shape[1], x.shape[1] :]


def semi_match(x: Array, y: Array, sign: str = "signed") -> float:
    found = correlation_matrix(x, y)
    return float((np.abs(found) if sign == "absolute" else found).max(axis=0).mean())


def one_to_one_match(x: Array, y: Array, sign: str = "signed") -> float:
    """All assignments one after the other."""
    found = correlation_matrix(x, y)
    found = np.abs(found) if sign == "absolute" else found
    found = found if found.shape[0] >= found.shape[1] else found.T
    rows = permutations(range(found.shape[0]), found.shape[1])
    return float(max(np.mean([found[row, column] for column, row in enumerate(chosen)]) for chosen in rows))


def knn_jaccard(x: Array, y: Array, neighbours: int = 10) -> float:
    near = [
        NearestNeighbors(n_neighbors=neighbours).fit(rows).kneighbors(return_distance=False).tolist() for rows in (x, y)
    ]
    return float(np.mean([len(set(a) & set(b)) / len(set(a) | set(b)) for a, b in zip(*near, strict=True)]))


def output_kl(x: Array, y: Array, temperature: float = 1.0) -> float:
    first, second = (special.softmax(logits / temperature, axis=1) for logits in (x, y))
    return float(np.mean(stats.entropy(first, second, axis=1)))


ORACLES: dict[str, Oracle] = {
    "linear-cka": linear_cka,
    "linear-cka-debiased": debiased_cka,
    "minibatch-cka": minibatch_cka,
    "rbf-cka": rbf_cka,
    "mean-cca": lambda x, y: float(canonical(x, y).mean()),
    "mean-squared-cca": lambda x, y: float((canonical(x, y) ** 2).mean()),
    "svcca": svcca,
    "pwcca": pwcca,
    "procrustes": procrustes_distance,
    "angular-procrustes": angular,
    "orthogonal-distance": orthogonal_distance,
    "linear-regression": linear_regression,
    "rsa-pearson": rsa_pearson,
    "rsa-spearman": rsa_spearman,
    "l2": lambda x, y: float(mean_squared_error(x, y)),
    "semi-match": semi_match,
    "one-to-one-match": one_to_one_match,
    "knn-jaccard": knn_jaccard,
    "prediction-agreement": lambda x, y: float(accuracy_score(x.argmax(1), y.argmax(1))),
    "output-kl": output_kl,
    "mistakes-jaccard": lambda x, y, labels: float(jaccard_score(x.argmax(1) != labels, y.argmax(1) != labels)),
    "mistakes-kappa": lambda x, y, labels: float(cohen_kappa_score(x.argmax(1) != labels, y.argmax(1) != labels)),
}
"""By measure: the same number by other means."""

OTHER_OPTIONS: dict[str, list[dict[str, Any]]] = {
    "minibatch-cka": [{"batch_size": 15}, {"batch_size": 20}],
    "rbf-cka": [{"bandwidth": 0.2}, {"bandwidth": 2.0}],
    "svcca": [{"variance": 0.6}, {"variance": 0.9}, {"variance": 1.0}],
    "rsa-pearson": [{"dissimilarity": kind} for kind in ("squared-euclidean", "cosine", "correlation")],
    "rsa-spearman": [{"dissimilarity": kind} for kind in ("squared-euclidean", "cosine", "correlation")],
    "semi-match": [{"sign": "absolute"}],
    "one-to-one-match": [{"sign": "absolute"}],
    "knn-jaccard": [{"neighbours": 1}, {"neighbours": 30}],
    "output-kl": [{"temperature": 3.0}],
}
"""By measure: options to be tried beside the defaults."""
