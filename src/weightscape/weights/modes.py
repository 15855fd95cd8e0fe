"""The mode of a model, training or evaluation, which belongs to the caller."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def modes_restored(model: nn.Module) -> Iterator[None]:
    """Put every submodule back into its own mode on leaving, whatever was done and whatever failed."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Switch all submodules to evaluation for a while, and each back to the mode it was in."""
    with modes_restored(model):
        model.eval()
        yield
