"""Decode the images of a folder into arrays on the disk, from which they are mapped: they may not fit into memory.

Only the images of the splits that were asked for are decoded, each split once for all processes. Test images are kept
under a name of their own, so that other cuts of the training images share them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from weightscape.data.cache import filled_arrays
from weightscape.data.entry import Entry
from weightscape.data.files import Located
from weightscape.data.fingerprinting import source_key
from weightscape.data.listed import Listing, listings
from weightscape.data.official import Official
from weightscape.data.specification import DataSettings
from weightscape.data.subsets import training_and_validation
from weightscape.errors import DataError

_CHUNK = 64


def listed_pieces(entry: Entry, located: Located, settings: DataSettings) -> dict[str, Official]:
    """Return the images of each split, mapped into memory, with the border that crops may use.

    Training and validation are drawn from all training images alike, for an image has no one class.

    Raises:
        DataError: If an image is damaged, or neither disk nor memory can hold the decoded images.
    """
    lists = listings(entry, located)
    count = len(lists["train"].names)
    rows, held_out = training_and_validation(
        torch.zeros(count, dtype=torch.int64),
        (0,),
        validation=settings.validation,
        fraction=settings.fraction,
        seed=settings.split_seed,
    )
    side = (settings.size or entry.shape[1]) + 2 * entry.border_at(settings.size)
    cut = f"{settings.validation!r} {settings.fraction!r} {settings.split_seed!r}".encode()
    key = f"{source_key(entry, located)}-{side}"
    images = _decoded(
        f"{key}-{hashlib.blake2b(cut, digest_size=8).hexdigest()}",
        {"train": _paths(lists["train"], rows), "validation": _paths(lists["train"], held_out)},
        side,
    )
    everything = torch.arange(len(lists["test"].names))
    images |= _decoded(f"{key}-test", {"test": _paths(lists["test"], everything)}, side)
    chosen = {"train": ("train", rows), "validation": ("train", held_out), "test": ("test", everything)}
    return {
        part: Official(images[part], _labels(lists[role], chosen_rows, settings), chosen_rows)
        for part, (role, chosen_rows) in chosen.items()
    }


def _labels(listing: Listing, rows: Tensor, settings: DataSettings) -> Tensor:
    labels = torch.from_numpy(listing.labels)[rows].float()
    return labels if settings.classes is None else labels[:, list(settings.classes)]


def _paths(listing: Listing, rows: Tensor) -> list[Path]:
    return [listing.folder / listing.names[row] for row in rows.tolist()]


def _decoded(key: str, files: dict[str, list[Path]], side: int) -> dict[str, Tensor]:
    """Return images ``(n, 3, side, side)`` uint8 by part: from the disk, else decoded onto it, else into memory."""
    shapes = {part: (len(paths), 3, side, side) for part, paths in files.items()}

    def fill(arrays: dict[str, Any]) -> None:
        for part, array in arrays.items():
            _fill(array, files[part], side)

    kept = filled_arrays(key, shapes, fill)
    if kept is not None:
        return kept
    _check_memory(shapes)
    arrays = {part: torch.empty(shape, dtype=torch.uint8) for part, shape in shapes.items()}
    fill({part: array.numpy() for part, array in arrays.items()})
    return arrays


def _fill(array: Any, paths: Sequence[Path], side: int) -> None:
    def decode(start: int) -> None:
        for row in range(start, min(start + _CHUNK, len(paths))):
            array[row] = _pixels(paths[row], side)

    # Pillow decodes and resizes without the interpreter's lock.
    with ThreadPoolExecutor(max(1, torch.get_num_threads())) as threads:
        for done in [threads.submit(decode, start) for start in range(0, len(paths), _CHUNK)]:
            done.result()


def _pixels(path: Path, side: int) -> Any:
    import numpy
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path, formats=("JPEG", "PNG")) as picture:
            whole = picture.convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{path} is no complete image: {error}. Fetch it again.") from error
    return numpy.asarray(whole).transpose(2, 0, 1)


def _check_memory(shapes: Mapping[str, tuple[int, ...]]) -> None:
    needed = sum(torch.Size(shape).numel() for shape in shapes.values())
    free = _free_memory()
    if free is not None and needed > free / 2:
        raise DataError(
            f"The decoded images take {needed / 2**30:.1f} GiB, {free / 2**30:.1f} GiB of memory are free, and they "
            "cannot be kept on the disk. Let WEIGHTSCAPE_CACHE name a folder with room for them, or take a smaller "
            "size or fraction."
        )


def _free_memory() -> int | None:
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return None
