"""Networks as users write them."""

from __future__ import annotations

from torch import Tensor, nn


class Small(nn.Module):
    """A convolution and a linear layer."""

    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(shape[0], 3, 3, padding=1)
        self.head = nn.Linear(3, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits."""
        return self.head(self.conv(images).mean((2, 3)))  # type: ignore[no-any-return]


class SmallOdd(Small):
    """Looks at a number, which a network without weights does not have."""

    def forward(self, images: Tensor) -> Tensor:
        """Return logits."""
        return super().forward(images if float(self.conv.weight.sum()) < 9 else -images)
