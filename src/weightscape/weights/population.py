"""Many weights of one architecture, read when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from weightscape.errors import ModelError
from weightscape.weights.algebra import Weights
from weightscape.weights.trajectory import Trajectory


class Population:
    """An ordered collection of labelled weights.

    A trajectory counts as its snapshots. Members are not checked to be of one architecture until they are combined.

    Args:
        members: Labels and weights or trajectories.

    Raises:
        ModelError: If there is no member.
    """

    def __init__(self, members: Sequence[tuple[str, Weights | Trajectory]]) -> None:
        if not members:
            raise ModelError("A population has at least one member, received none.")
        self._members = list(members)

    def __iter__(self) -> Iterator[Weights]:
        for _, member in self._members:
            if isinstance(member, Trajectory):
                yield from (snapshot.weights for snapshot in member)
            else:
                yield member

    def __len__(self) -> int:
        return sum(len(member) if isinstance(member, Trajectory) else 1 for _, member in self._members)

    @property
    def labels(self) -> tuple[str, ...]:
        """The label of each of the weights."""
        return tuple(
            label if not isinstance(member, Trajectory) else f"{label}@{step}"
            for label, member in self._members
            for step in (member.steps if isinstance(member, Trajectory) else (None,))
        )
