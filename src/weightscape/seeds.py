"""Named random streams.

Nothing in this package draws from the global generators. A stream is a pure function of ``(seed, purpose, *index)``, so
that the batches of epoch 7 are the same whether or not epochs 1 to 6 were run in this process.

Purposes in use: ``init``, ``order``, ``augment``, ``subset``, ``split``, ``head``, ``noise``, ``match``, ``proof``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy
    import torch


def derive(seed: int, purpose: str, *index: int | str) -> int:
    """Return the 63-bit seed of a named stream.

    The streams of different purposes or indices are independent for all practical ends: the seed is a blake2b hash.

    >>> derive(0, "init") == derive(0, "init"), derive(0, "init") == derive(0, "order")
    (True, False)
    """
    text = json.dumps([seed, purpose, *index]).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1


def stream(seed: int, purpose: str, *index: int | str, device: str = "cpu") -> torch.Generator:
    """Return a torch generator at the start of the named stream."""
    import torch

    return torch.Generator(device).manual_seed(derive(seed, purpose, *index))


def numpy_stream(seed: int, purpose: str, *index: int | str) -> numpy.random.Generator:
    """Return a NumPy generator at the start of the named stream."""
    import numpy

    return numpy.random.default_rng(derive(seed, purpose, *index))


@contextmanager
def seeded(seed: int, purpose: str, *index: int | str) -> Iterator[None]:
    """Run code that insists on torch's global CPU generator from a named stream, and restore the generator afterwards.

    Module constructors initialise themselves from the global generator; this is the one place that lends it to them.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        # torch.manual_seed would seed the generators of other devices too, and they are not restored
        torch.default_generator.manual_seed(derive(seed, purpose, *index))
        yield
