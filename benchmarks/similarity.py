"""Linear CKA of all layers of one ResNet-20 with all layers of another, beside PyPI's torch-cka.

Run: ``WEIGHTSCAPE_DATA=... python benchmarks/similarity.py`` (half an hour, most of it torch-cka's); ``--images 200
--layers "*add,fc" --rounds 1 --name quick`` for a quick look. Writes ``results/similarity.json``.

Both sides compute the unbiased estimate of HSIC averaged over batches (arXiv 2010.15327), on the same batches, with
networks and products of activations in single precision. torch-cka makes the second network's Gram matrix anew for each
pair of layers and sums in single precision; here each Gram matrix is made once, the sums are in double precision and
all pairs are one product.

Values are compared first: with torch-cka run in double precision on every eighth layer, where both must agree to 1e-5;
what single precision costs it is reported beside. The sides are processes that take turns, with the median of the
ratios of neighbouring rounds. Ours is compared as well with what it cannot do without, measured in the same turns:
its forward passes, and one product per layer and batch.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
import warnings
from collections.abc import Callable
from typing import Any

import torch
from common import gemm_rate, write_results
from published import Material, material
from sides import Side, serve
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.flop_counter import FlopCounterMode

from weightscape.models.addresses import find_layers
from weightscape.similarity.streamed_cka import streamed_cka
from weightscape.training.memory import keep_freed_memory

GOALS = {"torch-cka": 10.0, "forward passes and Gram products": 1.3}
SIDES = ("ours", "theirs", "least")


def layers_of(given: Material, patterns: str) -> tuple[str, ...]:
    """Return the layers, the same of both networks."""
    return find_layers(given.networks[0], patterns, example=given.test.normalised(slice(2)))


def ours(given: Material, layers: tuple[str, ...], batch_size: int) -> Tensor:
    """Return CKA of all pairs of layers."""
    return streamed_cka(*given.networks, given.test, layers=layers, batch_size=batch_size).values


def theirs(
    given: Material, layers: tuple[str, ...], batch_size: int, dtype: torch.dtype = torch.float32
) -> Callable[[], Tensor]:
    """Return a function that does the same with torch-cka."""
    from torch_cka import CKA

    images = given.test.normalised().to(dtype)
    networks = [network.to(dtype) for network in given.networks]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = CKA(*networks, "first", "second", list(layers), list(layers))
    loader = DataLoader(TensorDataset(images), batch_size=batch_size)

    def work() -> Tensor:
        previous = torch.get_default_dtype()
        torch.set_default_dtype(dtype)  # it makes vectors of ones of the default type
        try:
            with torch.no_grad(), contextlib.redirect_stderr(io.StringIO()):
                found.compare(loader, loader)
        finally:
            torch.set_default_dtype(previous)
        return found.hsic_matrix.double()

    return work


def least(given: Material, layers: tuple[str, ...], batch_size: int) -> Callable[[], None]:
    """Return a function that runs both networks and makes one product for each layer and batch, of random numbers."""
    widths = widths_of(given, layers)
    matrices = [torch.rand(batch_size, width) for width in widths]
    images = given.test.normalised()

    @torch.no_grad()
    def work() -> None:
        for part in images.split(batch_size):
            for network in given.networks:
                network(part)
                for matrix in matrices:
                    matrix @ matrix.T

    return work


def widths_of(given: Material, layers: tuple[str, ...]) -> list[int]:
    """Return the number of units of each layer."""
    widths: dict[str, int] = {}
    network = given.networks[0]
    hooks = [
        network.get_submodule(layer).register_forward_hook(
            lambda module, inputs, output, layer=layer: widths.__setitem__(layer, output[0].numel())
        )
        for layer in layers
    ]
    with torch.no_grad():
        network(given.test.normalised(slice(1)))
    for hook in hooks:
        hook.remove()
    return [widths[layer] for layer in layers]


def same_values(patterns: str, images: int, batch_size: int) -> dict[str, Any]:
    """Compare with torch-cka in double and in single precision on some of the layers."""
    given = material("resnet20_w1", train=8, test=images)
    layers = layers_of(given, patterns)[::8]
    mine = ours(given, layers, batch_size)
    found: dict[str, Any] = {"layers compared": len(layers)}
    for name, dtype in (("double", torch.float64), ("single", torch.float32)):
        difference = (theirs(_fresh(images), layers, batch_size, dtype)() - mine).abs()
        found[f"largest difference from torch-cka in {name} precision"] = float(difference.max())
        found[f"median difference from torch-cka in {name} precision"] = float(difference.median())
    assert found["largest difference from torch-cka in double precision"] < 1e-5, found
    return found


def _fresh(images: int) -> Material:
    return material("resnet20_w1", train=8, test=images)


def costs(given: Material, layers: tuple[str, ...], batch_size: int) -> dict[str, float]:
    """Count the operations of both sides; a Gram matrix is a product of all its entries, though it is symmetric."""
    images, pairs, widths = len(given.test), len(layers) ** 2, widths_of(given, layers)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        given.networks[0](given.test.normalised(slice(1)))
    forward = 2 * images * counter.get_total_flops()
    grams = 2 * images * batch_size * sum(widths)
    batches = images / batch_size
    entries = batch_size**2
    return {
        "GFLOP of the forward passes": round(forward / 1e9, 1),
        "GFLOP of our Gram matrices": round(2 * grams / 1e9, 1),
        "GFLOP of our products of all pairs": round(2 * batches * entries * pairs / 1e9, 2),
        "GFLOP of torch-cka's Gram matrices": round((1 + len(layers)) * grams / 1e9, 1),
        "GFLOP of torch-cka's products of pairs": round(batches * pairs * 2 * (2 * batch_size**3) / 1e9, 1),
        "MiB of our matrices of a batch": round(2 * 8 * entries * len(layers) / 2**20, 1),
    }


def compare(arguments: tuple[str, ...], rounds: int) -> dict[str, Any]:
    """Return the ratios and seconds of sides that take turns."""
    sides = {side: Side(__file__, "--side", side, *arguments) for side in SIDES}
    for side in ("ours", "least"):
        sides[side].run()
    rows, rates = [], []
    for turn in range(rounds):
        rates.append(gemm_rate())
        order = SIDES if turn % 2 else SIDES[::-1]
        rows.append({side: sides[side].run() for side in order})
        # What it cannot do without is short: more of it, close to ours.
        rows[-1]["more"] = [(sides["ours"].run(), sides["least"].run()) for _ in range(2)]
    for process in sides.values():
        process.close()
    over_least = [one / other for row in rows for one, other in [(row["ours"], row["least"]), *row["more"]]]
    ratios = [row["theirs"] / row["ours"] for row in rows]
    return {
        "torch_cka_over_our_seconds_median": round(statistics.median(ratios), 2),
        "goal": GOALS["torch-cka"],
        "torch_cka_over_our_seconds": [round(value, 2) for value in ratios],
        "our_seconds_over_forward_passes_and_Gram_products_median": round(statistics.median(over_least), 3),
        "limit": GOALS["forward passes and Gram products"],
        "our_seconds_over_forward_passes_and_Gram_products": [round(value, 3) for value in over_least],
        "our_seconds": round(statistics.median(row["ours"] for row in rows), 2),
        "torch_cka_seconds": round(statistics.median(row["theirs"] for row in rows), 2),
        "GEMM_GFLOP/s": round(statistics.median(rates), 1),
    }


def main() -> None:
    """Measure and write the results, or serve one side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--layers", default="all", help="addresses or patterns")
    parser.add_argument("--name", default="similarity", help="of the file of results")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    given = material("resnet20_w1", train=8, test=options.images)
    layers = layers_of(given, options.layers)
    if options.side:
        keep_freed_memory()
        works = {"ours": lambda: ours(given, layers, options.batch_size)}
        if options.side != "ours":
            make = theirs if options.side == "theirs" else least
            works[options.side] = make(given, layers, options.batch_size)
        serve(works[options.side])
        return
    values = same_values(options.layers, options.images, options.batch_size)
    print(values, flush=True)
    arguments = ("--images", str(options.images), "--batch-size", str(options.batch_size), "--layers", options.layers)
    result = compare(arguments, options.rounds)
    counted = costs(given, layers, options.batch_size)
    floating = sum(counted[f"GFLOP of {part}"] for part in ("the forward passes", "our Gram matrices"))
    result["our_GFLOP/s"] = round(floating / result["our_seconds"], 1)
    result["our_share_of_GEMM_rate"] = round(result["our_GFLOP/s"] / result["GEMM_GFLOP/s"], 3)
    write_results(
        options.name,
        {
            "result": result,
            "values": values,
            "counted": counted,
            "layers": len(layers),
            "images": options.images,
            "batch size": options.batch_size,
            "material": given.where,
            "threads": torch.get_num_threads(),
        },
    )


if __name__ == "__main__":
    main()
