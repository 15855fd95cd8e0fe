"""What was found of one stitch, in words, and what must not be read into it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from weightscape.report.facts import percent

if TYPE_CHECKING:
    from weightscape.studies.workspace.record import Record

_FEW = 500
"""Images below which accuracies are too uncertain to be compared."""
_PLAIN_TRAINING = {"temperature": 1.0, "l1": 0.0, "cka_reg": 0.0}
"""Settings of training that are told of unless they have these values."""


def findings(record: Record) -> list[str]:
    """Return what was found, a sentence or two each.

    Args:
        record: A result whose scalar fields are those of a :class:`~weightscape.stitching.result.StitchResult`.
    """
    metrics, settings = record.metrics, record.settings
    return [_accuracy(metrics, settings), _training(metrics, settings), _overlap(metrics), _likeness(metrics)]


def _accuracy(metrics: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    relative = metrics["relative_accuracy"]
    whole = "" if relative is None else f"; relative to the back network that is {percent(relative)}"
    above = metrics.get("above_chance")
    if above is not None:
        whole += f", and {percent(above)} of what it is above guessing"
    front = metrics["front_accuracy"]
    first = "" if front is None else f", the front network alone {percent(front)}"
    return (
        f"The front network up to {settings['front_layer']} and the back network from {back_layer_of(settings)} on, "
        f"joined by {_form(metrics, settings)}, classify {percent(metrics['accuracy'])} (standard error "
        f"{percent(metrics['accuracy_stderr'])}) of {metrics['count']:,} test images of {settings['data']['name']} "
        f"correctly{whole}. The back network alone has {percent(metrics['back_accuracy'])}{first}."
    )


def _form(metrics: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    numbers = f"{metrics['parameters']:,} numbers"
    if metrics["form"] == "flat":
        return f"an affine map of whole activations ({numbers})"
    if metrics["form"] == "low-rank":
        return f"an affine map of rank {settings['rank']} of the channels ({numbers})"
    masked = "" if settings["mask"] == "identity" else f"; entries outside the mask {settings['mask']} are kept at 0"
    return f"an affine map of the channels ({numbers}{masked})"


def _training(metrics: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    begin = f"The stitch began at {settings['init']} with an accuracy of {percent(metrics['initial_accuracy'])}"
    if not metrics["iterations_taken"]:
        return f"{begin}; it was not trained."
    extra = "".join(
        f", {name} {settings[name]:g}" for name, plain in _PLAIN_TRAINING.items() if settings[name] != plain
    )
    return (
        f"{begin}. Training on the target {settings['target']}{extra} for {metrics['iterations_taken']:,} steps took "
        f"the cross-entropy to the outputs of the back network from {metrics['initial_cross_entropy']:.3g} to "
        f"{metrics['cross_entropy']:.3g} nats, the Kullback-Leibler divergence from {metrics['initial_kl']:.3g} to "
        f"{metrics['kl']:.3g}, and the share of answers that are the back network's from "
        f"{percent(metrics['initial_agreement'])} to {percent(metrics['agreement'])}."
    )


def _overlap(metrics: Mapping[str, Any]) -> str:
    total = sum(metrics[name] for name in ("both_right", "only_stitched_right", "only_back_right", "both_wrong"))
    return (
        f"Of {total:,} answers, {metrics['both_right']:,} are right in both the stitched and the back network, "
        f"{metrics['only_stitched_right']:,} in the stitched one alone, {metrics['only_back_right']:,} in the back "
        f"network alone, and {metrics['both_wrong']:,} in neither."
    )


def _likeness(metrics: Mapping[str, Any]) -> str:
    cka = metrics["cka"]
    if cka is None:
        return "The output of the stitch and the back network's activation cannot be compared on these images."
    moved = "" if metrics["initial_cka"] is None else f" ({metrics['initial_cka']:.4f} before training)"
    without = metrics["cka_unstitched"]
    bare = "" if without is None else f"; that of the front's activation without a stitch is {without:.4f}"
    explained = _explained(metrics["r2"])
    return (
        f"On {metrics['probe_images']:,} probe images, the linear CKA of the stitch's output with the back network's "
        f"own activation is {cka:.4f}{moved}{bare}.{explained}"
    )


def _explained(share: float | None) -> str:
    if share is None:
        return ""
    if share < 0:  # a share below 0 % would be read as a slip
        return f" The means of its channels would be closer to it than what the stitch gives (R2 {share:.3g})."
    return f" The stitch explains {percent(share)} of the variance of its channels."


def cautions(record: Record) -> list[str]:
    """Return what must not be read into these numbers."""
    metrics: Mapping[str, Any] = record.metrics
    settings = record.settings
    found = []
    if metrics["count"] < _FEW:
        found.append(f"Only {metrics['count']} images were scored on: look at the standard error of the accuracy.")
    if back_layer_of(settings) != settings["front_layer"]:
        found.append(
            "The two layers are different ones. A stitch trained on the task loss can join distant layers without "
            "their representations being alike (arXiv 2412.11299)."
        )
    if settings.get("resize", "refuse") != "refuse":
        found.append(f"The maps are of different size; they were joined with resize: {settings['resize']}.")
    if metrics["lossy_images"]:
        found.append(
            f"The images of {settings['data']['name']} are a JPEG copy; networks trained on the original lose accuracy "
            "on them."
        )
    return found


def back_layer_of(settings: Mapping[str, Any]) -> str:
    """Return the layer at which the back network is entered."""
    return str(settings["back_layer"] or settings["front_layer"])
