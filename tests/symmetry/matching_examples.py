"""Small networks with their symmetries written by hand, and slow, obvious versions of what matching computes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torch.nn import functional

from weightscape.seeds import seeded, stream
from weightscape.symmetry.groups import Axis, Group, Symmetry
from weightscape.symmetry.permutation import Permutation
from weightscape.weights.algebra import Weights, dot, parameters_of

Pairs = list[tuple[Weights, Weights]]


@dataclass(frozen=True)
class Example:
    name: str
    build: Callable[[], nn.Module]
    symmetry: Symmetry
    shape: tuple[int, ...]

    def model(self, seed: int) -> nn.Module:
        """A network at a generic point: random buffers as well."""
        with seeded(seed, "init"):
            model = self.build()
            for name, tensor in model.state_dict().items():
                if tensor.is_floating_point() and (tensor.ndim == 1):
                    tensor.copy_(torch.rand_like(tensor) + (0.5 if "var" in name else -0.5))
        return model.eval()

    def weights(self, seed: int) -> Weights:
        return parameters_of(self.model(seed))

    def pairs(self, count: int, seed: int = 0) -> Pairs:
        return [(self.weights(seed + 2 * k), self.weights(seed + 2 * k + 1)) for k in range(count)]

    def inputs(self) -> Tensor:
        return torch.randn(4, *self.shape, generator=stream(0, "order"))


def group(name: str, size: int, *axes: tuple[str, int] | Axis, blocks: int = 1, linked: tuple[str, ...] = ()) -> Group:
    return Group(name, size, tuple(axis if isinstance(axis, Axis) else Axis(*axis) for axis in axes), blocks, linked)


def norm(name: str) -> list[tuple[str, int]]:
    return [(f"{name}.{part}", 0) for part in ("weight", "bias", "running_mean", "running_var")]


class Mlp(nn.Module):
    def __init__(self, *widths: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in itertools.pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = torch.relu(layer(x))
        return self.layers[-1](x)


class Conv(nn.Module):
    """Two convolutions with batch norm, and a feature map flattened into a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.c1, self.b1, self.c2 = nn.Conv2d(3, 12, 3, padding=1), nn.BatchNorm2d(12), nn.Conv2d(12, 10, 3, padding=1)
        self.fc1, self.fc2 = nn.Linear(40, 9), nn.Linear(9, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.c2(torch.relu(self.b1(self.c1(x)))))
        return self.fc2(torch.relu(self.fc1(functional.avg_pool2d(x, 2).flatten(1))))


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.b0 = nn.Conv2d(3, 10, 3, padding=1, bias=False), nn.BatchNorm2d(10)
        self.c1, self.b1 = nn.Conv2d(10, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12)
        self.c2, self.b2 = nn.Conv2d(12, 10, 3, padding=1, bias=False), nn.BatchNorm2d(10)
        self.head = nn.Linear(10, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.b0(self.stem(x)))
        x = torch.relu(x + self.b2(self.c2(torch.relu(self.b1(self.c1(x))))))
        return self.head(x.mean((2, 3)))


class Concat(nn.Module):
    """Two branches joined before a convolution, the second one twice."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 5, 3)
        self.join, self.head = nn.Conv2d(14, 6, 1), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        left, right = torch.relu(self.left(x)), torch.relu(self.right(x))
        return self.head(torch.relu(self.join(torch.cat([left, right, right.square()], 1))).mean((2, 3)))


class Grouped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c1, self.c2 = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 12, 3, groups=4)
        self.c3, self.head = nn.Conv2d(12, 5, 1), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.c3(torch.relu(self.c2(torch.relu(self.c1(x))))))
        return self.head(x.mean((2, 3)))


class GroupNormed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c1, self.norm, self.head = nn.Conv2d(3, 9, 3), nn.GroupNorm(3, 9), nn.Linear(9, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.norm(self.c1(x))).mean((2, 3)))


class Depthwise(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c1, self.c2 = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3, groups=6)
        self.c3, self.head = nn.Conv2d(6, 5, 1), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.c3(torch.relu(self.c2(torch.relu(self.c1(x))))))
        return self.head(x.mean((2, 3)))


class Recurrent(nn.Module):
    """A residual layer from a group to itself."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.middle, self.last = nn.Linear(20, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(x))
        return self.last(x + torch.relu(self.middle(x)))


def mlp(*widths: int) -> Example:
    groups = tuple(
        group(f"h{k}", width, (f"layers.{k}.weight", 0), (f"layers.{k}.bias", 0), (f"layers.{k + 1}.weight", 1))
        for k, width in enumerate(widths[1:-1])
    )
    return Example(f"mlp{len(widths) - 2}", lambda: Mlp(*widths), Symmetry(groups), (widths[0],))


ONE_GROUP = mlp(3, 5, 2)
MLP = mlp(12, 16, 14, 4)
CONV = Example(
    "conv",
    Conv,
    Symmetry(
        (
            group("a", 12, ("c1.weight", 0), ("c1.bias", 0), *norm("b1"), ("c2.weight", 1)),
            group("b", 10, ("c2.weight", 0), ("c2.bias", 0), Axis("fc1.weight", 1, repeat=4)),
            group("f", 9, ("fc1.weight", 0), ("fc1.bias", 0), ("fc2.weight", 1)),
        )
    ),
    (3, 4, 4),
)
RESIDUAL = Example(
    "residual",
    Residual,
    Symmetry((
        group(
            "stream", 10, ("stem.weight", 0), *norm("b0"), ("c1.weight", 1), ("c2.weight", 0), *norm("b2"),
            ("head.weight", 1),
        ),
        group("inner", 12, ("c1.weight", 0), *norm("b1"), ("c2.weight", 1)),
    )),
    (3, 5, 5),
)  # fmt: skip
CONCAT = Example(
    "concat",
    Concat,
    Symmetry((
        group("l", 4, ("left.weight", 0), ("left.bias", 0), ("join.weight", 1)),
        group(
            "r", 5, ("right.weight", 0), ("right.bias", 0), Axis("join.weight", 1, offset=4),
            Axis("join.weight", 1, offset=9),
        ),
        group("j", 6, ("join.weight", 0), ("join.bias", 0), ("head.weight", 1)),
    )),
    (3, 5, 5),
)  # fmt: skip
GROUPED = Example(
    "grouped",
    Grouped,
    Symmetry(
        (
            group("a", 8, ("c1.weight", 0), ("c1.bias", 0), Axis("c2.weight", 1, grouped=4), blocks=4, linked=("b",)),
            group("b", 12, ("c2.weight", 0), ("c2.bias", 0), ("c3.weight", 1), blocks=4, linked=("a",)),
            group("c", 5, ("c3.weight", 0), ("c3.bias", 0), ("head.weight", 1)),
        )
    ),
    (3, 6, 6),
)
GROUP_NORMED = Example(
    "group-normed",
    GroupNormed,
    Symmetry(
        (
            group(
                "a",
                9,
                ("c1.weight", 0),
                ("c1.bias", 0),
                ("norm.weight", 0),
                ("norm.bias", 0),
                ("head.weight", 1),
                blocks=3,
            ),
        )
    ),
    (3, 5, 5),
)
DEPTHWISE = Example(
    "depthwise",
    Depthwise,
    Symmetry((
        group(
            "a", 6, ("c1.weight", 0), ("c1.bias", 0), ("c2.weight", 0), ("c2.bias", 0),
            Axis("c2.weight", 1, grouped=6), ("c3.weight", 1),
        ),
        group("c", 5, ("c3.weight", 0), ("c3.bias", 0), ("head.weight", 1)),
    )),
    (3, 6, 6),
)  # fmt: skip
RECURRENT = Example(
    "recurrent",
    Recurrent,
    Symmetry((
        group(
            "h", 8, ("first.weight", 0), ("first.bias", 0), ("middle.weight", 0), ("middle.bias", 0),
            ("middle.weight", 1), ("last.weight", 1),
        ),
    )),
    (20,),
)  # fmt: skip
ALL = (ONE_GROUP, MLP, CONV, RESIDUAL, CONCAT, GROUPED, GROUP_NORMED, DEPTHWISE, RECURRENT)


def true_objective(permutation: Permutation, pairs: Pairs) -> float:
    """The definition: the sum over pairs of <target, π source>."""
    return sum(dot(target, permutation.apply(source)) for target, source in pairs)


def expanded(tensor: Tensor, groups: int) -> Tensor:
    """The block-diagonal weight that the weight of a grouped convolution stands for."""
    if groups == 1:
        return tensor
    rows, length = tensor.shape[0] // groups, tensor.shape[1]
    full = tensor.new_zeros(tensor.shape[0], groups * length, *tensor.shape[2:])
    for row in range(tensor.shape[0]):
        first = row // rows * length
        full[row, first : first + length] = tensor[row]
    return full


def naive_cost(name: str, permutation: Permutation, pairs: Pairs) -> Tensor:
    """Slice by slice, in float64, straight from the definition of an axis."""
    symmetry = permutation.symmetry
    size = symmetry.group(name).size
    cost = torch.zeros(size, size, dtype=torch.float64)
    grouped = {axis.tensor: axis.grouped for each in symmetry.groups for axis in each.axes if axis.grouped > 1}
    for axis in symmetry.group(name).axes:
        for target, source in pairs:
            if axis.tensor not in target:
                continue
            one, two = (expanded(side[axis.tensor].double(), grouped.get(axis.tensor, 1)) for side in (target, source))
            for each in symmetry.groups:
                for other in each.axes:
                    if other.tensor == axis.tensor and other.axis != axis.axis:
                        two = _moved(two, other, permutation.indices[each.name])
            for i in range(size):
                for j in range(size):
                    left = one.narrow(axis.axis, axis.offset + i * axis.repeat, axis.repeat)
                    right = two.narrow(axis.axis, axis.offset + j * axis.repeat, axis.repeat)
                    cost[i, j] += torch.sum(left * right)
    return cost


def _moved(tensor: Tensor, axis: Axis, index: Tensor) -> Tensor:
    positions = list(range(tensor.shape[axis.axis]))
    for unit, source in enumerate(index.tolist()):
        for r in range(axis.repeat):
            positions[axis.offset + unit * axis.repeat + r] = axis.offset + source * axis.repeat + r
    return tensor.index_select(axis.axis, torch.tensor(positions))


def plain_descent(symmetry: Symmetry, pairs: Pairs, *, seed: int = 0, epsilon: float = 0.0) -> Permutation:
    """The published algorithm: every group in every sweep, until a whole sweep gains no more than `epsilon`."""
    permutation, generator, progress = symmetry.identity(), stream(seed, "match"), True
    while progress:
        progress = False
        for number in torch.randperm(len(symmetry.groups), generator=generator).tolist():
            name = symmetry.groups[number].name
            cost = naive_cost(name, permutation, pairs)
            rows, found = linear_sum_assignment(cost.numpy(), maximize=True)
            before = cost[rows, permutation.indices[name]].sum()
            if cost[rows, found].sum() > before + epsilon:
                progress = True
                permutation = permutation.replace({name: torch.from_numpy(found)})
    return permutation
