"""Small networks, each with a kind of connection that discovery must understand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

IMAGES = torch.zeros(2, 3, 6, 6)
VECTORS = torch.zeros(2, 5)


class Net(nn.Module):
    """A network whose forward is given as a function of its layers."""

    def __init__(self, function: Callable[..., Any], **layers: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(self, *inputs)


def pooled(features: Tensor) -> Tensor:
    return F.relu(features).mean((2, 3))


def concat_depthwise() -> nn.Module:
    def forward(net: Any, x: Tensor) -> Any:
        left, right = F.relu(net.left(x)), F.relu(net.depthwise(F.relu(net.right(x))))
        return net.head(pooled(torch.cat([left, right], 1)))

    return Net(
        forward,
        left=nn.Conv2d(3, 6, 3, padding=1),
        right=nn.Conv2d(3, 4, 3, padding=1),
        depthwise=nn.Conv2d(4, 4, 3, padding=1, groups=4),
        head=nn.Linear(10, 5),
    )


def grouped() -> nn.Module:
    return Net(
        lambda net, x: net.head(pooled(net.grouped(F.relu(net.stem(x))))),
        stem=nn.Conv2d(3, 8, 3),
        grouped=nn.Conv2d(8, 12, 3, groups=4),
        head=nn.Linear(12, 5),
    )


def grouped_residual() -> nn.Module:
    def forward(net: Any, x: Tensor) -> Any:
        stream = F.relu(net.stem(x))
        return net.head(pooled(stream + net.grouped(stream)))

    return Net(forward, stem=nn.Conv2d(3, 8, 3), grouped=nn.Conv2d(8, 8, 3, padding=1, groups=4), head=nn.Linear(8, 5))


def grouped_unequal() -> nn.Module:
    return Net(
        lambda net, x: net.head(pooled(net.second(F.relu(net.first(F.relu(net.stem(x))))))),
        stem=nn.Conv2d(3, 8, 3),
        first=nn.Conv2d(8, 16, 1, groups=4),
        second=nn.Conv2d(16, 8, 1, groups=2),
        head=nn.Linear(8, 5),
    )


def grouped_on_input() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 12, 3, groups=3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 2)
    )


def depthwise_multiplier() -> nn.Module:
    return Net(
        lambda net, x: net.head(pooled(net.depthwise(net.stem(x)))),
        stem=nn.Conv2d(3, 4, 3),
        depthwise=nn.Conv2d(4, 12, 3, groups=4),
        head=nn.Linear(12, 5),
    )


def group_norm() -> nn.Module:
    return Net(
        lambda net, x: net.head(pooled(net.norm(net.stem(x)))),
        stem=nn.Conv2d(3, 8, 3),
        norm=nn.GroupNorm(4, 8),
        head=nn.Linear(8, 5),
    )


def two_group_norms() -> nn.Module:
    return Net(
        lambda net, x: net.head(pooled(net.coarse(net.fine(net.stem(x))))),
        stem=nn.Conv2d(3, 8, 3),
        fine=nn.GroupNorm(4, 8),
        coarse=nn.GroupNorm(2, 8),
        head=nn.Linear(8, 5),
    )


def layer_norm() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 8), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 3))


def shared_module() -> nn.Module:
    shared = nn.Linear(8, 8)
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), shared, nn.ReLU(), shared, nn.ReLU(), nn.Linear(8, 3))


def tied_weights() -> nn.Module:
    first, second = nn.Linear(8, 8), nn.Linear(8, 8)
    second.weight = first.weight
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), first, nn.ReLU(), second, nn.ReLU(), nn.Linear(8, 3))


def autoencoder() -> nn.Module:
    return Net(lambda net, x: F.linear(F.relu(net.code(x)), net.code.weight.t()), code=nn.Linear(5, 9, bias=False))


def tied_embedding() -> nn.Module:
    words, head = nn.Embedding(11, 6), nn.Linear(6, 11, bias=False)
    head.weight = words.weight
    return Net(lambda net, x: net.head(F.gelu(net.inner(net.words(x)))), words=words, inner=nn.Linear(6, 6), head=head)


def transposed() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.ConvTranspose2d(6, 5, 2), nn.PReLU(5), nn.BatchNorm2d(5), nn.Conv2d(5, 2, 1)
    )


def flattened() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 3))


def flattened_positions_first() -> nn.Module:
    return Net(
        lambda net, x: net.head(net.stem(x).permute(0, 2, 3, 1).flatten(1)),
        stem=nn.Conv2d(3, 4, 5),
        head=nn.Linear(16, 3),
    )


def two_flattenings() -> nn.Module:
    def forward(net: Any, x: Tensor) -> Any:
        features = F.relu(net.stem(x))
        return net.head(torch.cat([features.flatten(1), pooled(features)], 1))

    return Net(forward, stem=nn.Conv2d(3, 4, 5), head=nn.Linear(20, 3))


def gate() -> nn.Module:
    return Net(lambda net, x: net.head(F.glu(net.stem(x))), stem=nn.Linear(5, 16), head=nn.Linear(8, 3))


def halves() -> nn.Module:
    def forward(net: Any, x: Tensor) -> Any:
        first, second = net.stem(x).chunk(2, 1)
        return net.head(torch.cat([second, 2 * first], 1))

    return Net(forward, stem=nn.Linear(5, 16), head=nn.Linear(16, 3))


def crossed_halves() -> nn.Module:
    """Units 0-3 are added to units 4-7 and pass on in that order and in the reverse one."""

    def forward(net: Any, x: Tensor) -> Any:
        features = net.stem(x)
        first, second = features.chunk(2, 1)
        return net.head(torch.cat([first + second, torch.relu(features)], 1))

    return Net(forward, stem=nn.Linear(5, 8), head=nn.Linear(12, 3))


def squeeze_excitation() -> nn.Module:
    def forward(net: Any, x: Tensor) -> Any:
        features = F.relu(net.stem(x))
        gates = torch.sigmoid(net.excite(F.relu(net.squeeze(features.mean((2, 3))))))
        return net.head(pooled(features * gates[:, :, None, None]))

    return Net(forward, stem=nn.Conv2d(3, 8, 3), squeeze=nn.Linear(8, 4), excite=nn.Linear(4, 8), head=nn.Linear(8, 3))


def attention() -> nn.Module:
    def heads(values: Tensor) -> Tensor:
        return values.view(2, 4, 3, 2).transpose(1, 2)

    def forward(net: Any, x: Tensor) -> Any:
        stream = net.embed(x)
        query, key, value = heads(net.query(stream)), heads(net.key(stream)), heads(net.value(stream))
        mixed = (query @ key.transpose(-1, -2)).softmax(-1) @ value
        stream = net.norm(stream + net.out(mixed.transpose(1, 2).reshape(2, 4, 6)))
        return net.head(stream.mean(1))

    layers = {name: nn.Linear(6, 6) for name in ("query", "key", "value", "out")}
    return Net(forward, embed=nn.Linear(5, 6), norm=nn.LayerNorm(6), head=nn.Linear(6, 2), **layers)


def class_token() -> nn.Module:
    """A learned token that is repeated for each input and set before the others, as in a vision transformer."""

    def forward(net: Any, x: Tensor) -> Any:
        stream = torch.cat([net.token.weight[None].expand(len(x), -1, -1), net.embed(x)], 1)
        return net.head(F.gelu(net.inner(stream)).mean(1))

    return Net(forward, token=nn.Embedding(1, 6), embed=nn.Linear(5, 6), inner=nn.Linear(6, 8), head=nn.Linear(8, 2))


def decoder() -> nn.Module:
    return Net(
        lambda net, x: net.out(F.relu(net.stem(x)).view(-1, 6, 3, 3)), stem=nn.Linear(5, 54), out=nn.Conv2d(6, 1, 2)
    )


def padded_shortcut() -> nn.Module:
    def forward(net: Any, x: Tensor) -> Any:
        stream = F.relu(net.stem(x))
        return net.head(pooled(F.pad(stream, (0, 0, 0, 0, 0, 4)) + net.wide(stream)))

    return Net(forward, stem=nn.Conv2d(3, 4, 3), wide=nn.Conv2d(4, 8, 3, padding=1), head=nn.Linear(8, 3))


def weight_norm() -> nn.Module:
    return nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(5, 8)), nn.ReLU(), nn.Linear(8, 3))


def instance_norm() -> nn.Module:
    norm = nn.InstanceNorm2d(8, affine=True, track_running_stats=True)
    return nn.Sequential(nn.Conv2d(3, 8, 3), norm, nn.AdaptiveMaxPool2d(2), nn.Flatten(), nn.Linear(32, 3))


def changed_in_place() -> nn.Module:
    def forward(net: Any, x: Tensor) -> Any:
        features = net.stem(x)
        features[:, :3].mul_(2)
        return net.head(features)

    return Net(forward, stem=nn.Linear(5, 8), head=nn.Linear(8, 3))


TOKENS = torch.zeros(2, 4, dtype=torch.int64)

ZOO: dict[str, tuple[Callable[[], nn.Module], Tensor, dict[str, int]]] = {
    "concat_depthwise": (concat_depthwise, IMAGES, {"left": 6, "right": 4}),
    "grouped": (grouped, IMAGES, {"stem": 8, "grouped": 12}),
    "grouped_residual": (grouped_residual, IMAGES, {"stem": 8}),
    "grouped_unequal": (
        grouped_unequal,
        IMAGES,
        {f"stem[{i}:{i + 2}]": 2 for i in range(0, 8, 2)}
        | {f"first[{i}:{i + 4}]": 4 for i in range(0, 16, 4)}
        | {"second[0:4]": 4, "second[4:8]": 4},
    ),
    "grouped_on_input": (grouped_on_input, IMAGES, {"0[0:4]": 4, "0[4:8]": 4, "0[8:12]": 4}),
    "depthwise_multiplier": (depthwise_multiplier, IMAGES, {"stem": 4, "depthwise": 12}),
    "group_norm": (group_norm, IMAGES, {"stem": 8}),
    "two_group_norms": (two_group_norms, IMAGES, {f"stem[{i}:{i + 2}]": 2 for i in range(0, 8, 2)}),
    "layer_norm": (layer_norm, VECTORS, {"0": 8}),
    "shared_module": (shared_module, VECTORS, {"0": 8}),
    "tied_weights": (tied_weights, VECTORS, {"0": 8}),
    "autoencoder": (autoencoder, VECTORS, {"code": 9}),
    "tied_embedding": (tied_embedding, TOKENS, {"words": 6}),
    "transposed": (transposed, IMAGES, {"0": 6, "2": 5}),
    "flattened": (flattened, IMAGES, {"0": 4}),
    "flattened_positions_first": (flattened_positions_first, IMAGES, {"stem": 4}),
    "two_flattenings": (two_flattenings, IMAGES, {"stem": 4}),
    "gate": (gate, VECTORS, {"stem": 8}),
    "halves": (halves, VECTORS, {"stem[0:8]": 8, "stem[8:16]": 8}),
    "crossed_halves": (crossed_halves, VECTORS, {"stem": 4}),
    "squeeze_excitation": (squeeze_excitation, IMAGES, {"stem": 8, "squeeze": 4}),
    "attention": (attention, torch.zeros(2, 4, 5), {"embed": 6, "query": 3}),
    "class_token": (class_token, torch.zeros(2, 4, 5), {"embed": 6, "inner": 8}),
    "decoder": (decoder, VECTORS, {"stem": 6}),
    "padded_shortcut": (padded_shortcut, IMAGES, {"stem": 4, "wide": 4}),
    "weight_norm": (weight_norm, VECTORS, {"0": 8}),
    "instance_norm": (instance_norm, IMAGES, {"0": 8}),
    "changed_in_place": (changed_in_place, VECTORS, {"stem[0:3]": 3, "stem[3:8]": 5}),
}
"""Per network: how to build it, an input, and the sizes of its groups by name, worked out by hand."""
