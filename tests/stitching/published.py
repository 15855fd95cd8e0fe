"""The published networks of arXiv 2110.14633, and the images that the numbers of the specification were measured on."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow.parquet
import torch
from PIL import Image
from torch import Tensor, nn

from weightscape.data.dataset import Dataset, Split
from weightscape.data.specification import DataSettings
from weightscape.models.building import build_model

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
MEAN, STD = torch.tensor([0.4914, 0.4822, 0.4465]), torch.tensor([0.2023, 0.1994, 0.2010])


def published_network(folder: Path, model: str, number: int) -> nn.Module:
    """Network `number` of the published ones, in evaluation mode."""
    network = build_model({"name": model}, shape=(3, 32, 32), classes=10)
    file = folder / "reference" / f"{model}_cifar10" / f"in{number}-gn{number}" / "110000.pt"
    network.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    return network.eval()


def published_images(folder: Path) -> Dataset:
    """CLASS/0000.jpg to CLASS/0099.jpg of every class, ordered by file number and then class: 1000 of each split."""
    train, test = (_split(folder / "cifar10" / f"cifar10-{name}.parquet") for name in ("train", "test"))
    return Dataset("cifar10", train, test, test, CLASSES, DataSettings(name="cifar10"), lossy=True)


def _split(path: Path) -> Split:
    chosen: dict[tuple[int, int], bytes] = {}
    for row in pyarrow.parquet.read_table(path, columns=["img"]).column("img").to_pylist():
        name, file = row["path"].split("/")
        if int(file[:4]) < 100:
            chosen[int(file[:4]), CLASSES.index(name)] = row["bytes"]
    keys = sorted(chosen)
    images = torch.stack([_pixels(chosen[key]) for key in keys])
    labels = torch.tensor([label for _, label in keys])
    return Split(images, labels, torch.arange(len(keys)), MEAN, STD)


def _pixels(content: bytes) -> Tensor:
    with Image.open(io.BytesIO(content)) as picture:
        return torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1).contiguous()
