"""Stitching two Tiny10 beside the usual way (``usual_stitching.py``): fits, steps, and a study of eight layers.

Run: ``WEIGHTSCAPE_DATA=... python benchmarks/stitching.py --part fit`` (seconds), ``step`` (half a minute) and
``study`` (some minutes). Writes ``results/stitching-PART.json``.

Three questions, each answered by processes that take turns, with the median of the ratios of neighbouring rounds:

- *fit*: affine least squares at bn3 from the activations of 1,000 images, by the pseudo-inverse of the pixel matrix
  (169,000 x 33, doubles), and from moments.
- *step*: a step of task-loss training with Adam at batch 128, by running both whole networks, and by running the stitch
  and the rest of the back network on features that are kept. The teacher's logits are given to both. (The usual loop
  that runs the back network once more for them, as the published code does, is measured besides.)
- *study*: stitches at bn1 to bn8 of one pair, without augmentation, scored on test images: eight runs of the usual
  loop, and one call. What only our side measures (likeness of activations on probe images, thresholds) is left out.

Values are compared first: weights and predictions of the fits, the loss and the stitch after steps, accuracies of the
studies. The operations of a step are counted, and the bytes that it reads at least; a large matrix product and a copy
in memory, measured between the rounds, say how far the limit is.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from common import gemm_rate, seconds, write_results
from published import Material, material
from sides import Side, serve
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from usual_stitching import (
    HookedPair,
    Usual,
    convolution,
    pseudo_inverse_fit,
    usual_accuracy,
    usual_activations,
    usual_step,
    usual_training,
)

from weightscape.seeds import stream
from weightscape.similarity.moments import StreamedMoments
from weightscape.stitching.direct.least_squares import least_squares
from weightscape.stitching.features import CachedFeatures, Site
from weightscape.stitching.learner import StitchLearner, wanted_by
from weightscape.stitching.pair import Pair
from weightscape.stitching.settings import StitchSpec
from weightscape.stitching.task_loss import train_stitches
from weightscape.training.memory import keep_freed_memory

LAYERS = tuple(f"bn{number}" for number in range(1, 9))
FITTED, STEPPED = "bn3", ("bn3", "bn7")
BATCH, FIT_IMAGES, TEST_IMAGES = 128, 1000, 1000
STEPS = {"bn3": 20, "bn7": 40}
"""Steps of one turn."""
_REST = 0.5
"""Seconds between two turns, in which the threads of the side before fall asleep: they wait busily for more work."""
GOALS = {"fit bn3": 5.0, "step bn3": 2.5, "step bn7": 20.0, "study": 4.0}


def spec_of(layer: str, epochs: int) -> StitchSpec:
    """Return the settings of a stitch: from random weights, so that both sides can begin at the same."""
    return StitchSpec(front_layer=layer, init="random", epochs=epochs)


def beginnings(given: Material, epochs: int) -> dict[str, tuple[Tensor, Tensor]]:
    """Return the weight and bias that each stitch begins with."""
    untrained = [spec_of(layer, 0) for layer in LAYERS]
    made = train_stitches(*given.networks, given.dataset(), untrained, probe=8, thresholds=())
    return {
        layer: (result.network["stitch.weight"], result.network["stitch.bias"])
        for layer, result in zip(LAYERS, made.results, strict=True)
    }


def usual_data(given: Material, epochs: int) -> Usual:
    """Return the images in the order in which our side sees them."""
    orders = [torch.randperm(len(given.train), generator=stream(0, "order", epoch)) for epoch in range(epochs)]
    return Usual(given.train.normalised(), orders, BATCH)


# -- fit --------------------------------------------------------------------------------------------------------------


def maps_of(given: Material) -> tuple[Tensor, Tensor]:
    """Return the activations of both networks at the fitted layer."""
    images = given.train.normalised(slice(FIT_IMAGES))
    first, second = (usual_activations(network, FITTED, images, 250) for network in given.networks)
    return first, second


def moments_fit(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Return weight and bias of the affine least squares between maps, batch by batch."""
    sums = StreamedMoments()
    for one, other in zip(first.split(250), second.split(250), strict=True):
        sums.add(one, other)
    found = least_squares(sums.result())
    return found.weight, found.bias


def same_fit(given: Material) -> dict[str, Any]:
    """Compare the two fits, and what the stitched networks answer."""
    maps = maps_of(given)
    fits = [fit(*maps) for fit in (pseudo_inverse_fit, moments_fit)]
    images, logits = given.test.normalised(), []
    for weight, bias in fits:
        pair = HookedPair(*given.networks, FITTED, convolution(weight.float(), bias.float()))
        with torch.no_grad():
            logits.append(torch.cat([pair(part) for part in images.split(250)]))
        pair.release()
    difference = max(float((one - other).abs().max()) for one, other in zip(*fits, strict=True))
    assert difference < 1e-5
    assert torch.equal(*(values.argmax(1) for values in logits))
    return {"largest difference of weights": difference, "predictions": "equal on all test images"}


# -- step -------------------------------------------------------------------------------------------------------------


def our_steps(given: Material, layer: str, steps: int) -> tuple[Callable[[], None], StitchLearner]:
    """Return a function that takes steps on kept features, as a study does, and the learner."""
    keep_freed_memory()
    example = given.train.normalised(slice(2))
    pair, spec, site = Pair(*given.networks, example=example, device="cpu"), spec_of(layer, 1), Site(layer, layer)
    kept = CachedFeatures(pair, given.train, wanted_by(spec, site))
    shapes = pair.front_shape(layer), pair.back_cut(layer).shape
    stitch = _stitch(*shapes)
    learner = StitchLearner(spec, site, stitch, pair.fast_tail(layer), mask=None, several=False, device=pair.device)

    def work() -> None:
        taken = 0
        learner.begin_epoch()
        while taken < steps:
            for features in kept.epoch(BATCH, seed=0, epoch=0):
                learner.step(features)
                taken += 1
                if taken == steps:
                    break
        learner.means()

    return work, learner


def _stitch(front: tuple[int, ...], back: tuple[int, ...]) -> Any:
    from weightscape.models.stitches import make_stitch
    from weightscape.seeds import seeded

    with seeded(0, "init", "stitch"):
        return make_stitch(front, back, form="affine")


def usual_steps(
    given: Material, layer: str, steps: int, *, again: bool
) -> tuple[Callable[[], list[float]], HookedPair]:
    """Return a function that takes the same steps by running whole networks and returns the losses, and the pair."""
    data = usual_data(given, 1)
    reference = _reference_stitch(given, layer)
    pair = HookedPair(*given.networks, layer, convolution(*reference))
    optimizer = torch.optim.Adam(pair.stitch.parameters(), lr=1e-3)
    teacher = torch.cat([pair.own_logits(part) for part in data.images.split(250)])

    def work() -> list[float]:
        losses: list[float] = []
        while len(losses) < steps:
            for rows in data.batches(0):
                losses.append(usual_step(pair, optimizer, data.images[rows], None if again else teacher[rows]))
                if len(losses) == steps:
                    break
        return losses

    return work, pair


def _reference_stitch(given: Material, layer: str) -> tuple[Tensor, Tensor]:
    example = given.train.normalised(slice(2))
    pair = Pair(*given.networks, example=example, device="cpu")
    stitch = _stitch(pair.front_shape(layer), pair.back_cut(layer).shape)
    return stitch.weight.detach().clone(), stitch.bias.detach().clone()


def same_steps(given: Material, layer: str) -> dict[str, Any]:
    """Compare the stitches after one step and after five."""
    table = {}
    for steps in (1, 5):
        ours, learner = our_steps(given, layer, steps)
        usual, pair = usual_steps(given, layer, steps, again=False)
        ours()
        loss = statistics.fmean(usual())
        pair.release()
        difference = abs(learner.means().loss - loss)
        assert difference < 1e-5, (layer, steps, difference)
        table[f"difference of the mean loss of {steps} steps"] = difference
        weights = (learner.stitch.weight - pair.stitch.weight[:, :, 0, 0]).detach().abs().max()
        # Adam's first steps are as large for a gradient of rounding errors as for any other.
        table[f"largest difference of weights after {steps} steps"] = float(weights)
    return table


def step_cost(given: Material, layer: str) -> dict[str, float]:
    """Count the operations of a step of both sides, and the bytes of features that ours reads."""
    ours, learner = our_steps(given, layer, 1)
    usual, pair = usual_steps(given, layer, 1, again=False)
    counts = []
    for work in (usual, ours):
        with FlopCounterMode(display=False) as counter:
            work()
        counts.append(counter.get_total_flops() / 1e6)
    pair.release()
    features = BATCH * learner.stitch.weight.shape[1] * _pixels(given, layer)
    return {
        "usual MFLOP": round(counts[0], 1),
        "our MFLOP": round(counts[1], 1),
        "ratio of FLOP": round(counts[0] / counts[1], 2),
        "our features, MiB": round(4 * features / 2**20, 2),
    }


def _pixels(given: Material, layer: str) -> int:
    return usual_activations(given.networks[0], layer, given.train.normalised(slice(1)), 1)[0, 0].numel()


# -- study ------------------------------------------------------------------------------------------------------------


def our_study(given: Material, epochs: int) -> dict[str, float]:
    """Train and score the stitches of all layers in one call; return the accuracies."""
    made = train_stitches(
        *given.networks, given.dataset(), [spec_of(layer, epochs) for layer in LAYERS], probe=8, thresholds=()
    )
    return {layer: result.accuracy for layer, result in zip(LAYERS, made.results, strict=True)}


def usual_study(given: Material, begin: dict[str, tuple[Tensor, Tensor]], epochs: int) -> dict[str, float]:
    """Do the same by the usual loop, a layer after the other."""
    data, test = usual_data(given, epochs), given.test.normalised()
    found = {}
    for layer in LAYERS:
        pair = HookedPair(*given.networks, layer, convolution(*begin[layer]))
        usual_training(pair, data, lr=1e-3)
        found[layer] = usual_accuracy(pair, test, given.test.labels, 250)[0]
        pair.release()
    return found


# -- sides ------------------------------------------------------------------------------------------------------------


def serve_side(name: str, images: int, epochs: int) -> None:
    """Do the work of one side, a turn each."""
    question, side, *layer = name.split("-")
    given = material("tiny10", train=images, test=TEST_IMAGES)
    if question == "fit":
        maps = maps_of(given)
        fit = moments_fit if side == "ours" else pseudo_inverse_fit
        serve(lambda: fit(*maps))
    elif question == "step":
        steps = STEPS[layer[0]]
        work = (
            our_steps(given, layer[0], steps)[0]
            if side == "ours"
            else usual_steps(given, layer[0], steps, again=side == "again")[0]
        )
        serve(work)
    elif side == "ours":
        keep_freed_memory()
        serve(lambda: our_study(given, epochs))
    else:
        begin = beginnings(given, epochs)
        serve(lambda: usual_study(given, begin, epochs))


def compare(question: str, sides: tuple[str, ...], *, rounds: int, arguments: tuple[str, ...]) -> dict[str, Any]:
    """Return the ratio of seconds, and the seconds, of sides that take turns; the first is ours."""
    processes = [Side(__file__, "--side", side, *arguments) for side in sides]
    if question != "study":
        for process in processes:
            process.run()
    rows = []
    for turn in range(rounds):
        order = range(len(sides)) if turn % 2 else range(len(sides) - 1, -1, -1)
        taken = {}
        for place in order:
            time.sleep(_REST)
            taken[place] = processes[place].run()
        rows.append([taken[place] for place in range(len(sides))])
    for process in processes:
        process.close()
    ratios = [[row[place] / row[0] for row in rows] for place in range(1, len(sides))]
    return {
        "usual_over_our_seconds_median": round(statistics.median(ratios[0]), 2),
        "goal": GOALS[question],
        "usual_over_our_seconds": [round(value, 2) for value in ratios[0]],
        **(
            {"usual_with_the_back_network_run_again_over_our_seconds_median": round(statistics.median(ratios[1]), 2)}
            if len(sides) > 2
            else {}
        ),
        "our_seconds": round(statistics.median(row[0] for row in rows), 4),
        "usual_seconds": round(statistics.median(row[1] for row in rows), 4),
    }


def copy_rate() -> float:
    """Return the rate at which memory is read and written by a copy, in GB/s."""
    source = torch.ones(32 * 2**20)
    target = torch.empty_like(source)
    return 2e-9 * source.numel() * 4 / min(seconds(lambda: target.copy_(source)) for _ in range(5))


def fit_limit(result: dict[str, Any], rate: float) -> dict[str, float]:
    """Count what moments need at least: reading the maps once, and products of their rows."""
    rows, channels = FIT_IMAGES * 169, 64
    product = 2 * rows * channels * channels  # all of [A B]^T [A B], a half of which is the other's mirror image
    return {
        "GFLOP of the products": round(product / 1e9, 3),
        "MiB of the maps": round(rows * channels * 4 / 2**20, 1),
        "our_GFLOP/s": round(product / result["our_seconds"] / 1e9, 1),
        "share_of_a_float32_matrix_product": round(product / result["our_seconds"] / 1e9 / rate, 3),
    }


def main() -> None:
    """Measure and write the results, or serve one side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=1024, help="training images of steps and studies")
    parser.add_argument("--epochs", type=int, default=8, help="of a study")
    parser.add_argument("--part", choices=("fit", "step", "study"), default="study")
    parser.add_argument("--name", help="of the file of results")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        serve_side(options.side, options.images, options.epochs)
        return
    given = material("tiny10", train=options.images, test=TEST_IMAGES)
    arguments = ("--images", str(options.images), "--epochs", str(options.epochs))
    measure = {"fit": measure_fit, "step": measure_steps, "study": measure_study}[options.part]
    results, values = measure(given, options, arguments)
    write_results(
        options.name or f"stitching-{options.part}",
        {
            "results": results,
            "values": values,
            "material": given.where,
            "training images": options.images,
            "threads": torch.get_num_threads(),
            "GEMM_GFLOP/s": round(gemm_rate(), 1),
            "copy_GB/s": round(copy_rate(), 1),
        },
    )


def measure_fit(given: Material, options: argparse.Namespace, arguments: tuple[str, ...]) -> tuple[Any, Any]:
    """Return the results and the values of the fits."""
    values = same_fit(given)
    found = compare("fit bn3", ("fit-ours", "fit-usual"), rounds=options.rounds, arguments=arguments)
    return found | fit_limit(found, gemm_rate()), values


def measure_steps(given: Material, options: argparse.Namespace, arguments: tuple[str, ...]) -> tuple[Any, Any]:
    """Return the results and the values of the steps."""
    results, values = {}, {layer: same_steps(given, layer) for layer in STEPPED}
    for layer in STEPPED:
        sides = (f"step-ours-{layer}", f"step-usual-{layer}", f"step-again-{layer}")
        found = compare(f"step {layer}", sides, rounds=options.rounds, arguments=arguments)
        milliseconds = {name: 1000 * found.pop(name) / STEPS[layer] for name in ("our_seconds", "usual_seconds")}
        found |= {f"{name.partition('_')[0]}_milliseconds": round(value, 2) for name, value in milliseconds.items()}
        cost = step_cost(given, layer)
        rate = cost["our MFLOP"] / milliseconds["our_seconds"]
        found |= {"our_GFLOP/s": round(rate, 1), "our_share_of_GEMM_rate": round(rate / gemm_rate(), 3)}
        results[layer] = {**found, **cost}
    return results, values


def measure_study(given: Material, options: argparse.Namespace, arguments: tuple[str, ...]) -> tuple[Any, Any]:
    """Return the results and the values of the studies."""
    epochs = min(options.epochs, 2)
    accuracies = {"ours": our_study(given, epochs), "usual": usual_study(given, beginnings(given, epochs), epochs)}
    values = {
        f"accuracy after {epochs} epochs": accuracies,
        "largest difference": max(abs(accuracies["ours"][layer] - accuracies["usual"][layer]) for layer in LAYERS),
    }
    print(values, flush=True)
    study = compare("study", ("study-ours", "study-usual"), rounds=options.rounds, arguments=arguments)
    steps = len(LAYERS) * options.epochs * (options.images // BATCH)
    return {**study, "layers": len(LAYERS), "epochs": options.epochs, "steps": steps}, values


if __name__ == "__main__":
    main()
