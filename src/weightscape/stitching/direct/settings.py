"""Choices of direct matching. Loads no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

Method: TypeAlias = Literal[
    "identity",
    "permutation",
    "semi-match",
    "abs-semi-match",
    "orthogonal",
    "orthogonal-centred",
    "least-squares",
    "ridge",
    "reduced-rank",
    "sparse",
]
"""Which class of maps is searched; from few maps to many."""
RowForm: TypeAlias = Literal["pixels", "features"]
"""A map is applied to the channels of each pixel, or to all features of an image at once (small layers)."""

METHODS: tuple[Method, ...] = ("identity", "permutation", "semi-match", "orthogonal", "least-squares", "reduced-rank")
"""What is compared where nothing else is asked for."""
RANKS = (4, 8, 16)
"""The ranks of the paper's figure."""
NEEDED: Mapping[Method, str] = {"reduced-rank": "ranks", "ridge": "ridge", "sparse": "l1"}
"""The option that a method cannot do without."""
