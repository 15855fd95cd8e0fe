"""A small folder laid out as CelebA is, in both packagings: smooth random pictures, random attributes."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from weightscape.data.entries import CELEBA

TRAIN, VALIDATION, TEST = 24, 3, 8
SIDES = (178, 218)


class Faces:
    """Pictures as JPEG files and attributes (-1 or 1) of three partitions."""

    def __init__(self, seed: int = 0, train: int = TRAIN, test: int = TEST) -> None:
        random = np.random.default_rng(seed)
        self.counts = (train, VALIDATION, test)
        self.files = [_picture(random) for _ in range(sum(self.counts))]
        self.attributes = random.choice([-1, 1], (len(self.files), len(CELEBA.classes)))
        self.partition = np.repeat([0, 1, 2], self.counts)

    def names(self) -> list[str]:
        return [f"{number + 1:06d}.jpg" for number in range(len(self.files))]

    def rows(self, part: str) -> np.ndarray:
        return np.flatnonzero(self.partition == {"train": 0, "test": 2}[part])


def _picture(random: np.random.Generator) -> bytes:
    coarse = Image.fromarray(random.integers(0, 256, (9, 7, 3), dtype=np.uint8))
    file = io.BytesIO()
    coarse.resize(SIDES, Image.Resampling.BICUBIC).save(file, "JPEG", quality=92)
    return file.getvalue()


def write_images(folder: Path, faces: Faces) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in zip(faces.names(), faces.files, strict=True):
        (folder / name).write_bytes(content)


def write_tables(root: Path, faces: Faces) -> None:
    """``train.csv`` and ``test.csv``, with the attributes in another order and a column of row numbers."""
    write_images(root / "images", faces)
    order = list(reversed(range(len(CELEBA.classes))))
    for part in ("train", "test"):
        header = ",".join(["", "img", *(CELEBA.classes[place] for place in order)])
        lines = [
            ",".join([str(row), f"images/{faces.names()[row]}", *map(str, faces.attributes[row][order])])
            for row in faces.rows(part)
        ]
        (root / f"{part}.csv").write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")


def write_lists(root: Path, faces: Faces, *, nested: bool = False) -> None:
    """The official lists, in one folder or in the three of the original download."""
    notes, parts, images = (root / place if nested else root for place in ("Anno", "Eval", "Img"))
    write_images(images / "img_align_celeba", faces)
    for folder in (notes, parts):
        folder.mkdir(parents=True, exist_ok=True)
    lines = [
        f"{name} {' '.join(f'{value:2d}' for value in values)}"
        for name, values in zip(faces.names(), faces.attributes, strict=True)
    ]
    (notes / "list_attr_celeba.txt").write_text("\n".join([str(len(lines)), " ".join(CELEBA.classes), *lines]) + "\n")
    assigned = [f"{name} {part}" for name, part in zip(faces.names(), faces.partition, strict=True)]
    (parts / "list_eval_partition.txt").write_text("\n".join(assigned) + "\n")
