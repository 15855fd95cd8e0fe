"""Discovery never declares a group that changes the function, whatever a network is put together from."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weightscape.symmetry.discovery import discover
from weightscape.symmetry.verification import verify_symmetry

UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "softmax": lambda x: x.softmax(1),
    "centred": lambda x: x - x.mean(1, keepdim=True),
    "gate": lambda x: F.glu(x, 1),
    "swapped": lambda x: torch.cat(x.chunk(2, 1)[::-1], 1),
    "doubled": lambda x: torch.cat([x, x], 1),
    "folded": lambda x: sum(x.chunk(2, 1)),  # type: ignore[arg-type, return-value]
    "alternating": lambda x: torch.cat([x[:, ::2], 2 * x[:, 1::2]], 1),
    "some": lambda x: torch.cat([x[:, :1], x[:, 3:]], 1),
    "shuffled": lambda x: x.unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2),
    "running": lambda x: x.cumsum(1),
    "reversed": lambda x: x.flip(1),
    "padded": lambda x: F.pad(x, (0, 0, 0, 0, 1, 1)),
    "pooled": lambda x: F.max_pool2d(x, 3, stride=1, padding=1),
    "largest": lambda x: x * x.amax((1, 2, 3), keepdim=True).sigmoid(),
}


class RandomNet(nn.Module):
    """Steps drawn at random; each reads earlier values and appends one."""

    def __init__(self, seed: int, steps: int = 7) -> None:
        super().__init__()
        draw = random.Random(seed)
        self.layers = nn.ModuleDict()
        self.plan: list[tuple[str, list[int], str]] = []
        widths = [8]
        self.layers["stem"] = nn.Conv2d(3, 8, 1)
        for number in range(steps):
            widths.append(self.step(draw, number, widths))
        self.head = nn.Linear(sum(widths[-2:]) * 9, 2)

    def step(self, draw: random.Random, number: int, widths: list[int]) -> int:
        source = len(widths) - 1 - min(draw.choice([0, 0, 0, 1, 2]), len(widths) - 1)
        width = widths[source]
        kind = draw.choice(["layer", "layer", "unary", "unary", "add", "cat"])
        partners = [index for index, other in enumerate(widths) if other == width and index != source]
        if kind == "add" and partners:
            self.plan.append(("add", [source, draw.choice(partners)], ""))
            return width
        if kind == "cat" and width <= 12:
            other = draw.randrange(len(widths))
            self.plan.append(("cat", [source, other], ""))
            return width + widths[other]
        if kind == "layer" or width % 2 or width < 4:
            layer, width = self.layer(draw, width)
            self.layers[str(number)] = layer
            self.plan.append(("layer", [source], str(number)))
            return width
        name = draw.choice(list(UNARY))
        self.plan.append(("unary", [source], name))
        return UNARY[name](torch.zeros(1, width, 3, 3)).shape[1]

    @staticmethod
    def layer(draw: random.Random, width: int) -> tuple[nn.Module, int]:
        groups = draw.choice([count for count in (1, 1, 2, 4, width) if width % count == 0])
        out = groups * draw.choice([1, 2, 3]) if groups > 1 else draw.choice([4, 6, 8])
        choices: list[tuple[nn.Module, int]] = [
            (nn.Conv2d(width, out, 3, padding=1, groups=groups), out),
            (nn.ConvTranspose2d(width, 6, 1), 6),
            (nn.BatchNorm2d(width), width),
            (nn.GroupNorm(groups, width), width),
            (nn.LayerNorm((width, 3, 3)), width),
            (nn.PReLU(width), width),
        ]
        return draw.choice([choices[0], *choices])

    def forward(self, x: Tensor) -> Tensor:
        values = [self.layers["stem"](x)]
        for kind, sources, name in self.plan:
            inputs = [values[source] for source in sources]
            if kind == "layer":
                values.append(self.layers[name](inputs[0]))
            elif kind == "unary":
                values.append(UNARY[name](inputs[0]))
            else:
                values.append(inputs[0] + inputs[1] if kind == "add" else torch.cat(inputs, 1))
        return self.head(torch.cat(values[-2:], 1).flatten(1))


@pytest.mark.parametrize("seed", [*range(10), 268])  # 268: units that lie in the same blocks in different ways
def test_random_networks_keep_their_function(seed: int) -> None:
    with torch.random.fork_rng():
        model = RandomNet(seed)
    symmetry = discover(model, torch.zeros(2, 3, 3, 3))
    assert verify_symmetry(model, symmetry, seed=seed).largest_error < 1e-10


def test_the_random_networks_are_worth_testing() -> None:
    found = [discover(RandomNet(seed), torch.zeros(2, 3, 3, 3)) for seed in range(10)]
    assert sum(len(symmetry) for symmetry in found) > 15
    assert any(group.blocks > 1 for symmetry in found for group in symmetry)
