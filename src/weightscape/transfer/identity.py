"""What tells one transfer from another, so that finished steps on disk are only read by their own."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from torch import nn

from weightscape.symmetry.groups import Symmetry
from weightscape.transfer.paths import Source
from weightscape.transfer.settings import Settings
from weightscape.weights.algebra import Weights
from weightscape.weights.digest import digest

if TYPE_CHECKING:
    from weightscape.data.dataset import Dataset, Split


def transfer_identity(
    settings: Settings,
    *,
    model: nn.Module,
    dataset: Dataset,
    source: Source,
    target: Weights,
    displacement: Weights | None,
    symmetry: Symmetry,
    device: str,
) -> Mapping[str, Any]:
    """Return JSON values that are equal for two calls only if the calls do the same transfer.

    Contents are hashed: the same weights or the same data from another folder are the same transfer.
    """
    return {
        **asdict(settings),
        "model": hashlib.blake2b(str(model).encode(), digest_size=16).hexdigest(),
        "symmetry": hashlib.blake2b(symmetry.to_json().encode(), digest_size=16).hexdigest(),
        "source": [digest(source.weights(anchor)) for anchor in range(len(source.anchors))],
        "target": digest(target),
        "target's training": None if displacement is None else digest(displacement),
        "data": {name: _split_digest(getattr(dataset, name)) for name in ("train", "validation", "test")},
        "augment": dataset.settings.model_dump(mode="json")["augment"],
        "device": device.partition(":")[0],
    }


def _split_digest(split: Split) -> str:
    return digest({name: getattr(split, name) for name in ("images", "labels", "mean", "std")})
