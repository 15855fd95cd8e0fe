"""Read data of the user's own from files: a folder of images by class, or arrays as .npz, .pt or .safetensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from weightscape.errors import DataError

ARRAY_SUFFIXES = (".npz", ".pt", ".safetensors")
_IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".pgm", ".webp", ".tif", ".tiff"}
_FORMATS = ("PNG", "JPEG", "BMP", "PPM", "WEBP", "TIFF")
_TEST_FOLDERS = ("test", "val", "validation")


def read_arrays(path: Path) -> dict[str, Any]:
    """Return the arrays of a file by name; nothing in it is executed.

    Raises:
        DataError: If the file is damaged or holds anything but arrays.
    """
    try:
        if path.suffix == ".npz":
            import numpy

            with numpy.load(path, allow_pickle=False) as found:
                return dict(found)
        if path.suffix == ".pt":
            held = torch.load(path, map_location="cpu", weights_only=True)
            if not isinstance(held, Mapping):
                raise DataError(f"{path}: expected a dictionary of tensors, received {type(held).__name__}.")
            return dict(held)
        from safetensors.torch import load_file

        return dict(load_file(path))
    except DataError:
        raise
    except Exception as error:  # whatever the three libraries raise
        raise DataError(f"{path} is damaged or holds more than arrays: {error}") from error


def image_files(folder: Path) -> tuple[tuple[str, ...], dict[str, list[tuple[Path, int]]]]:
    """Return the names of the classes, sorted, and per part (``train``, ``test`` or ``all``) the images and labels.

    The folder holds ``CLASS/IMAGE``, or ``train/CLASS/IMAGE`` and ``test/CLASS/IMAGE`` (or ``val``).

    Raises:
        DataError: If there are fewer than two classes, a class has no image, or the parts have other classes.
    """
    test = next((folder / name for name in _TEST_FOLDERS if (folder / name).is_dir()), None)
    if (folder / "train").is_dir() and test is not None:
        parts = {"train": folder / "train", "test": test}
    else:
        parts = {"all": folder}
    names = {part: tuple(path.name for path in _folders(place)) for part, place in parts.items()}
    classes, *others = names.values()
    if len(classes) < 2 or any(other != classes for other in others):
        raise DataError(
            f"{folder}: expected a folder of images per class, the same two or more classes everywhere, received "
            + "; ".join(f"{part}: {', '.join(found) or 'none'}" for part, found in names.items())
        )
    return classes, {part: list(_listed(place)) for part, place in parts.items()}


def _folders(place: Path) -> list[Path]:
    return sorted(path for path in place.iterdir() if path.is_dir() and not path.name.startswith("."))


def _listed(place: Path) -> Iterator[tuple[Path, int]]:
    for label, folder in enumerate(_folders(place)):
        images = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _IMAGE_SUFFIXES and path.is_file())
        if not images:
            raise DataError(f"{folder} holds no image ({', '.join(sorted(_IMAGE_SUFFIXES))}).")
        yield from ((path, label) for path in images)


def read_images(files: list[tuple[Path, int]], *, size: int | None, colours: bool) -> Tensor:
    """Return images ``(n, C, H, W)`` uint8.

    Args:
        files: Paths (and labels, which are not used).
        size: If given, the shorter side becomes this many pixels, and the centre is cut out as a square.
        colours: Whether images get three channels, or one.

    Raises:
        DataError: If an image is damaged, or the images have several sizes and none is given.
    """
    import numpy

    found = None
    for row, (path, _) in enumerate(files):
        pixels = numpy.asarray(_picture(path, size, "RGB" if colours else "L"))
        if found is None:
            # Filled in place: a list of all images and their stack would take the memory twice.
            found = numpy.empty((len(files), *pixels.shape), dtype=numpy.uint8)
        if pixels.shape != found.shape[1:]:
            raise DataError(
                f"{path} has {pixels.shape[0]} x {pixels.shape[1]} pixels, {files[0][0]} has {found.shape[1]} x "
                f"{found.shape[2]}. Give a size, e.g. size: 64, to which all are brought."
            )
        found[row] = pixels
    images = torch.from_numpy(found)
    return images.permute(0, 3, 1, 2).contiguous() if colours else images.unsqueeze(1)


def _picture(path: Path, size: int | None, mode: str) -> Any:
    from PIL import Image

    try:
        with Image.open(path, formats=_FORMATS) as picture:
            plain = picture.convert(mode)
            return plain if size is None else _square(plain, size)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} is no complete image: {error}") from error


def _square(picture: Any, size: int) -> Any:
    from PIL import Image

    width, height = picture.size
    if (width, height) == (size, size):
        return picture
    shorter = min(width, height)
    wide, high = max(size, round(width * size / shorter)), max(size, round(height * size / shorter))
    left, top = (wide - size) // 2, (high - size) // 2
    resized = picture.resize((wide, high), Image.Resampling.BILINEAR)
    return resized.crop((left, top, left + size, top + size))


def has_colours(files: list[tuple[Path, int]]) -> bool:
    """Return whether any image has colours.

    Raises:
        DataError: If an image is damaged.
    """
    from PIL import Image

    for path, _ in files:
        try:
            with Image.open(path, formats=_FORMATS) as picture:
                if picture.mode not in {"1", "L"}:
                    return True
        except (OSError, SyntaxError, ValueError) as error:
            raise DataError(f"{path} is no complete image: {error}") from error
    return False
