"""The stitches of all asked-for classes of maps, from the moments of one pair of layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from weightscape.errors import DataError
from weightscape.stitching.direct.least_squares import least_squares, ridge
from weightscape.stitching.direct.matching import identity, permutation, semi_match
from weightscape.stitching.direct.orthogonal import orthogonal
from weightscape.stitching.direct.reduced_rank import reduced_rank
from weightscape.stitching.direct.settings import METHODS, NEEDED, RANKS, Method
from weightscape.stitching.direct.sparse import penalty_path, sparse_path
from weightscape.stitching.direct.stitch import DirectStitch

if TYPE_CHECKING:
    from weightscape.similarity.moments import Moments


@dataclass(frozen=True)
class Unfitted:
    """A class of maps that these two layers have no member of.

    Attributes:
        method: The class.
        rank: The rank that was asked for.
        reason: What is in the way, and the way out.
    """

    method: Method
    rank: int | None
    reason: str


Fitted: TypeAlias = DirectStitch | Unfitted

_SINGLE: dict[Method, Callable[[Moments], DirectStitch]] = {
    "identity": identity,
    "permutation": permutation,
    "semi-match": semi_match,
    "abs-semi-match": lambda moments: semi_match(moments, absolute=True),
    "orthogonal": orthogonal,
    "orthogonal-centred": lambda moments: orthogonal(moments, centred=True),
    "least-squares": least_squares,
}


def fit_stitches(
    moments: Moments,
    methods: Sequence[Method] = METHODS,
    *,
    ranks: Sequence[int] = RANKS,
    ridge_penalties: Sequence[float] = (),
    l1: int | Sequence[float] = (),
    compat: bool = False,
) -> list[Fitted]:
    """Return the best stitch of each class of maps.

    Args:
        moments: Of the two layers, on training data.
        methods: The classes.
        ranks: Ranks of ``reduced-rank``.
        ridge_penalties: Penalties of ``ridge``.
        l1: Penalties of ``sparse``, or how many to spread from where all weights are 0 to a thousandth of that.
        compat: ``reduced-rank`` as in the published code, without centring and bias.

    Returns:
        The stitches in the order of `methods`, one for each rank and penalty; where the layers have no such map, the
        reason.

    Raises:
        DataError: If there is nothing to fit to, a penalty is negative, or a method lacks its ranks or penalties.
    """
    _check_given(methods, {"reduced-rank": ranks, "ridge": ridge_penalties, "sparse": l1})
    found: list[Fitted] = []
    for method in methods:
        if method == "reduced-rank":
            found.extend(_of_ranks(moments, ranks, compat=compat))
        elif method == "ridge":
            found.extend(ridge(moments, penalty=penalty) for penalty in ridge_penalties)
        elif method == "sparse":
            found.extend(sparse_path(moments, penalty_path(moments, l1) if isinstance(l1, int) else l1))
        else:
            found.append(_single(method, moments))
    return found


def _check_given(methods: Sequence[Method], needed: Mapping[Method, object]) -> None:
    for method in methods:
        if method in needed and not needed[method]:
            raise DataError(f"The method {method!r} needs values of {NEEDED[method]!r}, received none; such as [1].")


def _single(method: Method, moments: Moments) -> Fitted:
    inputs, outputs = moments.cross.shape
    # What else may be wrong (too few rows, NaN) is so for all methods and is an error.
    impossible = {
        "identity": inputs != outputs,
        "permutation": outputs > inputs,
        "orthogonal": outputs < inputs,
        "orthogonal-centred": outputs < inputs,
    }
    try:
        return _SINGLE[method](moments)
    except DataError as error:
        if impossible.get(method, False):
            return Unfitted(method, None, str(error))
        raise


def _of_ranks(moments: Moments, ranks: Sequence[int], *, compat: bool) -> Iterator[Fitted]:
    family = reduced_rank(moments, compat=compat)
    for rank in ranks:
        try:
            yield family.at(rank)
        except DataError as error:
            yield Unfitted("reduced-rank", rank, str(error))
