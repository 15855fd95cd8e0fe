"""The settings of each bundled family of networks: a name without default, options with defaults. Loads no torch.

The number of classes and the shape of the inputs follow from the data and are given when the network is built.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from weightscape.models.foreign import Custom as Custom
from weightscape.models.foreign import Foreign as Foreign
from weightscape.models.foreign import Library as Library

if TYPE_CHECKING:
    from weightscape.models.architecture import Architecture

Stem: TypeAlias = Literal["small", "imagenet"]
Initialisation: TypeAlias = Literal["pytorch", "he-fan-out", "he-fan-in"]
StitchForm: TypeAlias = Literal["affine", "flat", "low-rank"]
StitchResize: TypeAlias = Literal["refuse", "keep", "bilinear"]


class Family(BaseModel):
    """Base of the bundled families."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def fingerprint(self, data_root: Path | None = None) -> str | None:
        """Return the hash of code outside this package that the key must contain; none for bundled families."""
        return None


class Scaled(Family):
    """Base of the families whose hidden widths can be multiplied."""

    width: float = Field(default=1.0, gt=0, allow_inf_nan=False)

    def scaled(self, channels: int) -> int:
        """Return the number of channels that stands for `channels` at this width, at least 1."""
        return max(1, round(channels * self.width))


class Mlp(Family):
    """Linear layers on flattened inputs, a ReLU between each two. Layers are named ``linear1``, ``linear2``, ..."""

    name: Literal["mlp"]
    hidden: tuple[PositiveInt, ...] = (64,)
    bias: bool = False


class Dense(Family):
    """Three hidden layers of 300 units on flattened inputs, ``fc1`` to ``fc3``, and ``fc4``, all with biases.

    Source: arXiv 2110.14633.
    """

    name: Literal["dense"]


class LeNet(Family):
    """Two 5x5 convolutions without padding, each with a maximum pool, then layers of 120 and 84 units.

    Made for images of 32 pixels, where the last maps have 5x5 pixels. Source: LeCun et al., "Gradient-based learning
    applied to document recognition" (1998), in the form of arXiv 2110.14633.
    """

    name: Literal["lenet"]


class Cnn(Family):
    """Convolutions of one width and a linear layer: the network of the study of cut points in transfer learning.

    Blocks ``conv0``, ``act0``, ``conv1``, ... with a ``pool`` after every ``pool_every``-th block, then ``fc``; with
    ``hidden`` a second linear layer, ``fc_2``. Convolutions have bias and pad by half their kernel.

    Attributes:
        depth: Number of convolutions.
        channels: Channels of each convolution.
        kernel: Side of the kernels.
        pooling: Kind of pool, of side 2; ``none`` for no pools.
        pool_every: Number of blocks from one pool to the next.
        pool_stride: Stride of the pools.
        hidden: Units between two linear layers; null for a single one.
        activation: What follows each convolution and the hidden layer.
    """

    name: Literal["cnn"]
    depth: PositiveInt = 6
    channels: PositiveInt = 64
    kernel: PositiveInt = 3
    pooling: Literal["none", "average", "maximum"] = "average"
    pool_every: PositiveInt = 2
    pool_stride: PositiveInt = 2
    hidden: PositiveInt | None = None
    activation: Literal["relu", "leaky-relu", "elu", "gelu", "tanh", "sigmoid"] = "relu"


class Conv(Scaled):
    """The VGG-like networks Conv4, Conv6 and Conv8 of arXiv 2305.14122; `width` multiplies all hidden widths."""

    name: Literal["conv4", "conv6", "conv8"]


class ResNet(Scaled):
    """ResNets for ImageNet (arXiv 1512.03385); `width` multiplies all widths, that of the stem included.

    Basic blocks in ``resnet18`` and ``resnet34``, bottlenecks that stride in the 3x3 convolution in ``resnet50``.

    Attributes:
        stem: ``small`` is a 3x3 convolution without pooling, for images up to 64 pixels; ``imagenet`` a 7x7 convolution
            of stride 2 and a 3x3 maximum of stride 2.
        initialisation: ``pytorch`` leaves it to each layer; ``he-fan-out`` draws the convolutions from a normal
            distribution of variance 2 / fan-out, as torchvision does; ``he-fan-in`` draws convolutions and head from a
            uniform one of variance 2 / fan-in and sets the bias of the head to 0.01, as arXiv 2504.18072 does.
    """

    name: Literal["resnet18", "resnet34", "resnet50"]
    stem: Stem = "small"
    initialisation: Initialisation = "pytorch"


class ResNet20(Family):
    """ResNet-20 for CIFAR (arXiv 1512.03385), 1 to 5 times as wide: stages of 16, 32 and 64 channels times the number.

    Source: arXiv 2110.14633, which projects the shortcut where its width changes.

    Attributes:
        initialisation: As for ``resnet18``.
    """

    name: Literal["resnet20_w1", "resnet20_w2", "resnet20_w3", "resnet20_w4", "resnet20_w5"]
    initialisation: Initialisation = "he-fan-out"

    @property
    def widening(self) -> int:
        """The factor in the name, 1 to 5."""
        return int(self.name[-1])


class Fixup(Scaled):
    """ResNets without batch norm, with scalar biases and scales (Fixup, arXiv 1901.09321), as used by arXiv 2008.11687.

    Attributes:
        stem: As for ``resnet18``; the published networks have the ``imagenet`` stem.
        zero_head: Start the last layer at zero, as Fixup does, and not from PyTorch's default as arXiv 2008.11687 does.
    """

    name: Literal["fixup_resnet18", "fixup_resnet34", "fixup_resnet50"]
    stem: Stem = "small"
    zero_head: bool = False


class Tiny10(Family):
    """The eight-convolution network of "Similarity and Matching of Neural Network Representations".

    Source: arXiv 2110.14633.
    """

    name: Literal["tiny10"]
    batch_norm: bool = True


class Inception(Family):
    """InceptionV1 without auxiliary heads, for images of 224 pixels; at least 32.

    Source: GoogLeNet (arXiv 1409.4842) in the form of arXiv 2110.14633, where a batch norm after each convolution is an
    option.
    """

    name: Literal["inceptionv1"]
    batch_norm: bool = False


class Stitched(Family):
    """One network up to a layer, a stitch, and another network from a layer on (arXiv 2110.14633).

    Its tensors are those of ``front`` up to `front_layer`, of ``stitch``, and of ``back`` from `back_layer` on.

    Attributes:
        front: The network that the stitched one begins with.
        back: The network that it ends with.
        front_layer: Address of the layer whose activation the stitch maps, such as ``bn3`` or ``layer1.0.add``.
        back_layer: Address of the layer whose activation it stands in for.
        form: ``affine`` and ``low-rank`` act on the channels of each pixel, ``flat`` on whole activations.
        rank: Rank of a ``low-rank`` stitch, null for the others.
        resize: What becomes of maps of another size than the back's: they are refused, kept, or resized, ``bilinear``.
    """

    name: Literal["stitched"]
    front: Architecture
    back: Architecture
    front_layer: str
    back_layer: str
    form: StitchForm = "affine"
    rank: PositiveInt | None = None
    resize: StitchResize = "refuse"

    def fingerprint(self, data_root: Path | None = None) -> str | None:
        """Return the fingerprints of the two networks together; None if neither has one."""
        found = [network.fingerprint(data_root) for network in (self.front, self.back)]
        return None if found == [None, None] else " ".join(str(one) for one in found)
