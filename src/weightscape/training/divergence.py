"""What is said of a run whose loss is no longer a number."""

from __future__ import annotations


def diverged(loss: float, split: str, *, epoch: int, epochs: int, lr: float) -> str:
    """Return what happened and what to do about it.

    Args:
        loss: Infinite, or not a number.
        split: On which split.
        epoch: Epochs done before.
        epochs: Epochs of the run.
        lr: Learning rate at the start of the epoch.
    """
    return (
        f"Training diverged: the {split} loss is {loss} in epoch {epoch + 1} of {epochs}, at a learning rate of "
        f"{lr:g}. Use a smaller learning rate."
    )
