"""The names of the bundled measures and the modules they are in; loads nothing."""

from __future__ import annotations

from typing import Literal, TypeAlias

MeasureName: TypeAlias = Literal[
    "linear-cka",
    "linear-cka-debiased",
    "minibatch-cka",
    "rbf-cka",
    "mean-cca",
    "mean-squared-cca",
    "svcca",
    "pwcca",
    "procrustes",
    "angular-procrustes",
    "orthogonal-distance",
    "linear-regression",
    "rsa-pearson",
    "rsa-spearman",
    "l2",
    "semi-match",
    "one-to-one-match",
    "knn-jaccard",
    "prediction-agreement",
    "output-kl",
    "mistakes-jaccard",
    "mistakes-kappa",
]
"""The names of the bundled measures."""

HOMES: dict[str, str] = {
    "linear-cka": "linear_cka",
    "linear-cka-debiased": "linear_cka",
    "minibatch-cka": "minibatch_cka",
    "rbf-cka": "rbf_cka",
    "mean-cca": "canonical_correlation",
    "mean-squared-cca": "canonical_correlation",
    "svcca": "canonical_correlation",
    "pwcca": "projection_weighted",
    "procrustes": "procrustes",
    "angular-procrustes": "procrustes",
    "orthogonal-distance": "procrustes",
    "linear-regression": "linear_regression",
    "rsa-pearson": "dissimilarities",
    "rsa-spearman": "dissimilarities",
    "l2": "squared_difference",
    "semi-match": "channel_matching",
    "one-to-one-match": "channel_matching",
    "knn-jaccard": "neighbours",
    "prediction-agreement": "outputs",
    "output-kl": "outputs",
    "mistakes-jaccard": "mistakes",
    "mistakes-kappa": "mistakes",
}
"""By measure: its module in ``similarity/measures``."""
