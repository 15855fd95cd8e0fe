"""What tells one run from another: the check that a checkpoint belongs to the run that reads it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from weightscape.training.recipe import Recipe
from weightscape.weights.digest import digest

if TYPE_CHECKING:
    from weightscape.data.dataset import Dataset, Split


def split_digest(split: Split) -> str:
    """Return the hash of a split: pixels, labels and normalisation."""
    return digest({name: getattr(split, name) for name in ("images", "labels", "mean", "std")})


def run_identity(
    model: nn.Module, dataset: Dataset, *, recipe: Recipe, order_seed: int, keep: Iterable[str], device: torch.device
) -> Mapping[str, Any]:
    """Return JSON values that are equal for two calls only if the calls do the same run.

    Contents are hashed: the same model under another name, or the same data from another folder, are the same run.
    """
    return {
        "recipe": recipe.model_dump(mode="json"),
        "order_seed": order_seed,
        "keep": list(keep),
        "model": hashlib.blake2b(str(model).encode(), digest_size=16).hexdigest(),
        "start": digest(model.state_dict()),
        "data": {name: split_digest(getattr(dataset, name)) for name in ("train", "validation", "test")},
        "augment": dataset.settings.model_dump(mode="json")["augment"],
        "device": device.type,
    }
