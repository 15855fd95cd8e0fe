"""What tells the training of some stitches from that of others: the check that a checkpoint is theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from weightscape.stitching.settings import StitchSpec
from weightscape.training.identity import split_digest
from weightscape.weights.digest import digest

if TYPE_CHECKING:
    from weightscape.data.dataset import Dataset


class PairIdentity:
    """The hashes of two networks and of the data, made once for all stitches of a pair."""

    def __init__(self, front: nn.Module, back: nn.Module, dataset: Dataset, *, device: torch.device) -> None:
        self._common = {
            "front": digest(front.state_dict()),
            "back": digest(back.state_dict()),
            "data": {name: split_digest(getattr(dataset, name)) for name in ("train", "test")},
            "augment": dataset.settings.model_dump(mode="json")["augment"],
            "device": device.type,
        }

    def of(
        self, specs: Sequence[StitchSpec], beginnings: Sequence[Mapping[str, Tensor]], *, measure_every: int
    ) -> dict[str, Any]:
        """Return JSON values that are equal for two trainings only if these are the same.

        Args:
            specs: The stitches that are trained together.
            beginnings: Where each begins.
            measure_every: Steps between two measurements.
        """
        return {
            **self._common,
            "stitches": {str(number): spec.model_dump(mode="json") for number, spec in enumerate(specs)},
            "beginnings": [digest(one) for one in beginnings],
            "measure_every": measure_every,
        }
