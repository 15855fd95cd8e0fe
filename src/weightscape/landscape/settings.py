"""Options that the library, studies and results share. Loads no torch."""

from __future__ import annotations

from typing import Literal, TypeAlias

from weightscape.errors import ModelError

BatchNorm: TypeAlias = Literal["none", "recalibrate"]
"""What becomes of running statistics: the given ones are taken, or they are computed anew at every point."""


def check_policy(policy: str | None, layers: int) -> BatchNorm:
    """Return the batch-norm policy; a network with batch norms needs one said.

    Args:
        policy: The policy, None where nothing was said.
        layers: Number of batch norms of the network.

    Raises:
        ModelError: If the policy is unknown, or not said for a network with batch norms.
    """
    if policy is None:
        if not layers:
            return "none"
        raise ModelError(
            f"The network has {layers} batch norm{'s' * (layers != 1)}, and the running statistics of two networks do "
            "not belong to the weights between them. Say what becomes of them: bn='recalibrate' computes them anew at "
            "every point, bn='none' takes those of the nearer end."
        )
    if policy == "repair":
        raise ModelError("The batch-norm policy 'repair' (arXiv 2211.08403) is not there yet; use 'recalibrate'.")
    if policy not in {"none", "recalibrate"}:
        raise ModelError(f"Expected the batch-norm policy 'none' or 'recalibrate', received {policy!r}.")
    return "recalibrate" if policy == "recalibrate" else "none"
