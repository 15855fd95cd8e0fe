"""Whether an iterable of batches can be read again, and gives the same batches when it is."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.utils.data import DataLoader, RandomSampler, SubsetRandomSampler, WeightedRandomSampler

from weightscape.errors import DataError

_RANDOM = (RandomSampler, SubsetRandomSampler, WeightedRandomSampler)
_COMPARED = 2


@runtime_checkable
class Cuttable(Protocol):
    """Samples in memory that are cut into batches when they are read, such as a split of a data set."""

    def batches(self, batch_size: int) -> Iterator[Any]:
        """Yield the batches of one pass, in an order that never changes."""


def iterator_factory(source: Any, *, once: bool, batch_size: int) -> tuple[Callable[[], Iterator[Any]], bool]:
    """Return a function that begins a pass over batches, and whether they lie in memory, equal in each pass.

    Args:
        source: An iterable, a function that makes one, or an object with a method ``batches(batch_size)``.
        once: Whether one pass is all that is needed.
        batch_size: Given to that method.

    Raises:
        DataError: If the source can be read only once and that is not enough.
    """
    if isinstance(source, Cuttable):
        return lambda: iter(source.batches(batch_size)), True
    if not isinstance(source, Iterable):
        return lambda: iter(source()), False
    if isinstance(source, Iterator) and not once:
        raise DataError(
            f"These batches are read several times, but {_kind(source)} can be read only once. Give a list, a "
            "DataLoader, or the function that makes it, without calling it."
        )
    return lambda: iter(source), isinstance(source, tuple | list)


def check_equal_passes(source: Any, make: Callable[[], Iterator[Any]]) -> None:
    """Check that two passes begin with the same batches.

    Raises:
        DataError: If they do not, or the loader draws its samples at random.
    """
    sampler = _random_sampler(source)
    if sampler is None:
        # A loader may draw from torch's global generator; what the caller draws afterwards must not depend on this.
        with torch.random.fork_rng(devices=[]):
            first, second = (list(islice(make(), _COMPARED)) for _ in range(2))
        if _equal(first, second):
            return
    reason = f"it draws samples at random ({sampler})" if sampler else "two passes gave different first batches"
    raise DataError(
        f"The order of the batches matters here, because results on the same samples are compared, and {_kind(source)} "
        f"does not keep it: {reason}. Build the loader with shuffle=False and without random transforms, or read it "
        "once: batches = list(loader)."
    )


def _random_sampler(source: Any) -> str | None:
    if not isinstance(source, DataLoader):
        return None
    samplers = (source.sampler, getattr(source.batch_sampler, "sampler", None))
    return next((type(sampler).__name__ for sampler in samplers if isinstance(sampler, _RANDOM)), None)


def _kind(source: Any) -> str:
    if inspect.isfunction(source):
        return f"the function {source.__name__}"
    return f"the {type(source).__name__}"


def _equal(left: Any, right: Any) -> bool:
    if isinstance(left, Tensor) and isinstance(right, Tensor):
        return left.shape == right.shape and left.dtype == right.dtype and torch.equal(left, right)
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(_equal(left[name], right[name]) for name in left)
    if isinstance(left, tuple | list) and isinstance(right, tuple | list):
        return len(left) == len(right) and all(map(_equal, left, right))
    if hasattr(left, "__array__") and hasattr(right, "__array__"):
        return _equal(torch.as_tensor(left), torch.as_tensor(right))
    return bool(left == right)
