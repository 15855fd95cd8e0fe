"""How a stitch is begun and trained. Loads no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    BeforeValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from weightscape.models.families import StitchForm, StitchResize
from weightscape.training.recipe import Adam, Recipe, Schedule, Sgd, Thirds
from weightscape.training.settings import Settings

_INITS = {
    "permutation": "perm",
    "identity": "eye",
    "pseudo-inverse": "ps_inv",
    "pseudo_inverse": "ps_inv",
    "least-squares": "ps_inv",
}
_MASKS = {"none": "identity", "semi_match": "semi-match", "abs_semi_match": "abs-semi-match"}
_TARGETS = {name.replace("-", "_"): name for name in ("soft_1_plus_2-mean", "soft_1_plus_2-sum")}


def _canonical(synonyms: Mapping[str, str]) -> Callable[[Any], Any]:
    return lambda value: synonyms.get(value, value) if isinstance(value, str) else value


def _unambiguous(value: Any) -> Any:
    if value == "soft_1_plus_2":
        raise ValueError(
            "'soft_1_plus_2' is documented as the sum of both networks' logits and computed as their mean in the "
            "published code; write 'soft_1_plus_2-mean' or 'soft_1_plus_2-sum'"
        )
    return _canonical(_TARGETS)(value)


Init: TypeAlias = Annotated[
    Literal["ps_inv", "random", "perm", "eye", "ones-zeros", "orthogonal"], BeforeValidator(_canonical(_INITS))
]
"""Where a stitch begins.

``ps_inv``: affine least squares on the training split; of a low rank, the best map of that rank. ``random``: PyTorch's
defaults of a 1x1 convolution. ``perm``: a random permutation of the channels. ``eye``: the identity. ``ones-zeros``:
weights 1, bias 0. ``orthogonal``: orthonormal rows or columns, bias 0.
"""
Mask: TypeAlias = Annotated[
    Literal["identity", "semi-match", "abs-semi-match", "random-permutation"], BeforeValidator(_canonical(_MASKS))
]
"""Which entries of the matrix may differ from 0; the bias is free.

``identity``: all. ``semi-match``: each channel of the back network keeps the channel of the front network that
correlates most with it on the training split; ``abs-semi-match``: most in absolute value. ``random-permutation``: one
entry per row and column, drawn from the seed.
"""
Target: TypeAlias = Annotated[
    Literal["hard", "soft_1", "soft_2", "soft_12", "soft_1_plus_2-mean", "soft_1_plus_2-sum"],
    BeforeValidator(_unambiguous),
]
"""What the stitched network learns to answer.

``hard``: the labels. ``soft_1``, ``soft_2``: the outputs of the front, of the back network. ``soft_12``: the mean of
these two losses. ``soft_1_plus_2-mean``, ``soft_1_plus_2-sum``: the softmax of the mean, of the sum of their logits.
"""
Rule: TypeAlias = Literal["adam", "sgd"]
"""Update rule: Adam, or gradient descent with Nesterov momentum 0.9."""
Resize: TypeAlias = StitchResize
"""What becomes of maps of another height and width than the back network has at its layer.

``refuse``: an error. ``keep``: the back network goes on with maps of the front network's size, as far as it can.
``bilinear``: they are resized before the stitch.
"""
Form: TypeAlias = StitchForm


class StitchSpec(Settings):
    """One stitch: where it is, where it begins, and how it is trained. Defaults are those of arXiv 2110.14633.

    Attributes:
        front_layer: Where the front network is left, e.g. ``bn3`` or ``layer2.1.add``.
        back_layer: Where the back network is entered; like `front_layer` by default.
        init: Where the stitch begins.
        mask: Which entries of the matrix may differ from 0.
        target: What the stitched network learns to answer.
        temperature: Divides the logits of student and teacher for soft targets; the loss is not scaled back.
        l1: Weight of the mean of the absolute entries of the matrix in the loss.
        cka_reg: Weight of the CKA of each batch, between the stitch's output and the back network's own activation, in
            the loss. A positive weight makes the CKA lower, a negative one higher.
        rank: Rank of a stitch of low rank; full by default.
        flatten: Whether the stitch maps whole activations, all channels and pixels, instead of every pixel alike.
        resize: What becomes of maps of another height and width.
        optimizer: Update rule.
        lr: Learning rate.
        weight_decay: Weight decay of matrix and bias.
        epochs: Passes over the training split; 0 only begins.
        batch_size: Images per step; the last, smaller batch is dropped.
        schedule: Learning rate along the run; by default a tenth after one third and again after two thirds.
        seed: Order of the data, augmentation and whatever is drawn.
    """

    front_layer: str
    back_layer: str | None = None
    init: Init = "ps_inv"
    mask: Mask = "identity"
    target: Target = "soft_2"
    temperature: PositiveFloat = 1.0
    l1: NonNegativeFloat = 0.0
    cka_reg: float = Field(default=0.0, allow_inf_nan=False)
    rank: PositiveInt | None = None
    flatten: bool = False
    resize: Resize = "refuse"
    optimizer: Rule = "adam"
    lr: PositiveFloat = 1e-3
    weight_decay: NonNegativeFloat = 0.0
    epochs: NonNegativeInt = 30
    batch_size: PositiveInt = 128
    schedule: Schedule = Thirds(name="thirds")
    seed: int = 0

    @property
    def entry(self) -> str:
        """The layer of the back network."""
        return self.front_layer if self.back_layer is None else self.back_layer

    @property
    def form(self) -> Form:
        """The form of the stitch."""
        return "flat" if self.flatten else "affine" if self.rank is None else "low-rank"

    @property
    def recipe(self) -> Recipe:
        """Epochs, batches, update rule and schedule in the words of training."""
        if self.optimizer == "adam":
            rule: Adam | Sgd = Adam(name="adam", lr=self.lr, weight_decay=self.weight_decay)
        else:
            rule = Sgd(name="sgd", lr=self.lr, momentum=0.9, nesterov=True, weight_decay=self.weight_decay)
        return Recipe(
            epochs=self.epochs,
            batch_size=self.batch_size,
            optimizer=rule,
            schedule=self.schedule,
            last_batch="dropped",
        )

    @model_validator(mode="after")
    def _fits_together(self) -> StitchSpec:
        if self.rank is not None and self.flatten:
            raise ValueError("'rank' and 'flatten' exclude each other; leave one out")
        if self.rank is not None and self.mask != "identity":
            raise ValueError(f"a stitch of low rank has no entries that the mask {self.mask!r} could keep at 0")
        if self.rank is not None and self.init not in {"ps_inv", "random", "orthogonal"}:
            raise ValueError(
                f"a stitch of low rank begins at 'ps_inv', 'random' or 'orthogonal', received {self.init!r}"
            )
        if self.flatten and self.resize != "refuse":
            raise ValueError("a flat stitch maps any height and width to any other; leave 'resize' out")
        return self
