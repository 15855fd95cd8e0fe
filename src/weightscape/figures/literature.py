"""Curves from papers, for drawing beside one's own. The numbers are JSON files of this package."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from weightscape.errors import did_you_mean
from weightscape.figures.registry import FigureError

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class PublishedCurve:
    """Mean and n-1 standard deviation of one method, in percent, by step."""

    method: str
    steps: tuple[int, ...]
    mean: tuple[float, ...]
    sd: tuple[float, ...]


@dataclass(frozen=True)
class Published:
    """The curves of one published figure.

    Attributes:
        name: The name in the option ``published``.
        source: Paper, version and figure.
        note: How the numbers were taken from the paper.
        runs: The number of runs behind each mean.
        split: The split that the paper drew.
        curves: One per method.
        trained: Accuracy of standard training in percent, by epoch.
    """

    name: str
    source: str
    note: str
    runs: int
    split: str
    curves: tuple[PublishedCurve, ...]
    trained: dict[int, float]

    def to_frame(self) -> pandas.DataFrame:
        """Return the curves as a table with the columns method, step, mean and sd."""
        import pandas

        rows = [
            {"method": curve.method, "step": step, "mean": mean, "sd": sd}
            for curve in self.curves
            for step, mean, sd in zip(curve.steps, curve.mean, curve.sd, strict=True)
        ]
        return pandas.DataFrame(rows)


def published_names() -> tuple[str, ...]:
    """Return the names of the published figures that can be drawn."""
    folder = resources.files("weightscape.figures") / "published"
    return tuple(sorted(file.name.removesuffix(".json") for file in folder.iterdir() if file.name.endswith(".json")))


def load_published(name: str) -> Published:
    """Read the curves of a published figure.

    Raises:
        FigureError: If there is none of that name.
    """
    known = published_names()
    if name not in known:
        raise FigureError(f"{name!r} is not among the published figures. {did_you_mean(name, known)}")
    file = resources.files("weightscape.figures") / "published" / f"{name}.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    curves = tuple(
        PublishedCurve(curve["method"], tuple(curve["steps"]), tuple(curve["mean"]), tuple(curve["sd"]))
        for curve in content["curves"]
    )
    trained = {int(epoch): float(value) for epoch, value in content["trained"].items()}
    return Published(name, content["source"], content["note"], content["runs"], content["split"], curves, trained)
