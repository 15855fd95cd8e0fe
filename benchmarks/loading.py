"""How fast a worker process has its data, and how fast batches are augmented.

Two questions, each in interleaved rounds with the rate of a matrix product beside them:

- A fresh process loads a data set, without the cache of decoded data sets and with it: seconds, and memory of its own
  that it takes (pages that it does not share with other processes).
- One thread augments images, in batches here and one by one with Pillow and the same draws: images per second.

Both start from arrays of bytes and end with them, as a loader does. Writes ``results/loading.json``: medians, and
medians of the ratios of each round. Data sets that are not on this machine are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import Any

import numpy
import torch
from common import gemm_rate, seconds, write_results
from PIL import Image
from pydantic import TypeAdapter

from weightscape.data.catalogue import summary
from weightscape.data.pipeline import Pipeline, draw_pipeline
from weightscape.data.transforms import Augmentation

LOADED = """
import json, sys, time
import numpy, torch
from weightscape.data.loading import load_data

def own_memory():
    lines = (line.split() for line in open("/proc/self/status"))
    return next(int(words[1]) / 1024 for words in lines if words[0] == "RssAnon:")

before, began = own_memory(), time.perf_counter()
data = load_data(sys.argv[1])
taken = time.perf_counter() - began
print(json.dumps({"seconds": taken, "own MiB": own_memory() - before, "sum": int(data.train.images.sum())}))
"""
TRANSFORMS: dict[str, Any] = {
    "pad-crop-flip": "pad-crop-flip",
    "random-resized-crop": [{"name": "random-resized-crop"}],
    "rotation, nearest": [{"name": "rotation", "degrees": 20}],
    "affine, bilinear": [{"name": "affine", "degrees": 5, "scale": [0.9, 1.1], "interpolation": "bilinear"}],
}
IMAGES, BATCH = 4096, 128


def loaded(name: str, cache: str) -> dict[str, float]:
    """Return what a fresh process says about loading a data set."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED, name],
        env={**os.environ, "WEIGHTSCAPE_CACHE": cache},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def loading(name: str, rounds: int) -> dict[str, Any]:
    """Compare processes without and with the cache."""
    with tempfile.TemporaryDirectory() as cache:
        filled = loaded(name, cache)
        pairs = [(loaded(name, "off"), loaded(name, cache)) for _ in range(rounds)]
    assert all(one["sum"] == filled["sum"] for pair in pairs for one in pair)
    table: dict[str, Any] = {"first process, which fills the cache": round(filled["seconds"], 3)}
    for place, state in enumerate(("without the cache", "with the cache")):
        for what in ("seconds", "own MiB"):
            table[f"{what} {state}"] = round(statistics.median(pair[place][what] for pair in pairs), 3)
    table["ratio of seconds"] = round(statistics.median(one["seconds"] / two["seconds"] for one, two in pairs), 2)
    return table


def batched(images: torch.Tensor, pipeline: Pipeline) -> None:
    """Augment all images in batches."""
    for start in range(0, IMAGES, BATCH):
        rows = slice(start, start + BATCH)
        pipeline.apply(images[rows], rows)


def one_by_one(arrays: list[Any], name: str, pipeline: Pipeline) -> None:
    """Do the same with Pillow."""
    change = BY_PILLOW[name](pipeline)
    for row, array in enumerate(arrays):
        numpy.array(change(row, Image.fromarray(array)))


def _crop_and_flip(pipeline: Pipeline) -> Callable[[int, Image.Image], Image.Image]:
    draws = pipeline.steps[0]._draws  # type: ignore[attr-defined]
    corners, flips = draws.crop.tolist(), draws.flip.tolist()

    def change(row: int, picture: Image.Image) -> Image.Image:
        top, left = corners[row]
        framed = Image.new("RGB", (40, 40))
        framed.paste(picture, (4, 4))
        part = framed.crop((left, top, left + 32, top + 32))
        return part.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flips[row] else part

    return change


def _resize(pipeline: Pipeline) -> Callable[[int, Image.Image], Image.Image]:
    boxes = _drawn(pipeline)

    def change(row: int, picture: Image.Image) -> Image.Image:
        top, left, height, width = boxes[row]
        part = picture.crop((left, top, left + width, top + height))
        return part.resize((32, 32), Image.Resampling.BILINEAR)

    return change


def _map(method: Image.Resampling) -> Callable[[Pipeline], Callable[[int, Image.Image], Image.Image]]:
    def prepare(pipeline: Pipeline) -> Callable[[int, Image.Image], Image.Image]:
        maps = [[*along_x, *along_y] for along_x, along_y in _drawn(pipeline)]
        return lambda row, picture: picture.transform((32, 32), Image.Transform.AFFINE, maps[row], method)

    return prepare


def _drawn(pipeline: Pipeline) -> Any:
    draws = pipeline.steps[0].draws
    assert draws is not None
    return draws.tolist()


BY_PILLOW = {
    "pad-crop-flip": _crop_and_flip,
    "random-resized-crop": _resize,
    "rotation, nearest": _map(Image.Resampling.NEAREST),
    "affine, bilinear": _map(Image.Resampling.BILINEAR),
}


def augmenting(name: str, rounds: int) -> dict[str, Any]:
    """Compare batches with one image at a time."""
    images = torch.randint(0, 256, (IMAGES, 3, 32, 32), dtype=torch.uint8)
    arrays = [image.permute(1, 2, 0).contiguous().numpy() for image in images]
    augment = TypeAdapter(Augmentation).validate_python(TRANSFORMS[name])
    pipeline = draw_pipeline(IMAGES, augment, (32, 32), seed=0, index=(0,))
    batched(images, pipeline)
    pairs = [
        (seconds(lambda: one_by_one(arrays, name, pipeline)), seconds(lambda: batched(images, pipeline)))
        for _ in range(rounds)
    ]
    return {
        "Pillow, images per second": round(IMAGES / statistics.median(pair[0] for pair in pairs)),
        "batches, images per second": round(IMAGES / statistics.median(pair[1] for pair in pairs)),
        "ratio": round(statistics.median(one / two for one, two in pairs), 2),
    }


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    here = [name for name in ("mnist", "cifar10") if summary(name).present]
    write_results(
        "loading",
        {
            "rounds": rounds,
            "GEMM GFLOP/s, one thread": round(gemm_rate(), 1),
            "a fresh process loads": {name: loading(name, rounds) for name in here},
            "one thread augments 32 x 32 x 3": {name: augmenting(name, rounds) for name in TRANSFORMS},
        },
    )


if __name__ == "__main__":
    main()
