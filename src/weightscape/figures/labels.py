"""Labels that do not cover each other."""

from __future__ import annotations

from collections.abc import Sequence


def spread(places: Sequence[float], *, gap: float) -> list[float]:
    """Move ascending places apart until neighbours are `gap` apart, with the least squared movement.

    Places that meet form a block around the mean of where its members wanted to be (pool adjacent violators).

    Args:
        places: Wanted places, ascending.
        gap: The least distance of neighbours.

    >>> spread([0.0, 1.0, 1.0], gap=0.5)
    [0.0, 0.75, 1.25]
    """
    blocks: list[tuple[float, int]] = []  # (mean of the places minus their offsets, number of members)
    for index, place in enumerate(places):
        mean, count = place - index * gap, 1
        while blocks and blocks[-1][0] > mean:
            other, members = blocks.pop()
            mean = (mean * count + other * members) / (count + members)
            count += members
        blocks.append((mean, count))
    shifted = [mean for mean, count in blocks for _ in range(count)]
    return [value + index * gap for index, value in enumerate(shifted)]
