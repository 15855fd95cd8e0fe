"""The usual loop of task-loss training: both whole networks in every step, the activation put in by a hook."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

from weightscape.data.dataset import Dataset
from weightscape.stitching.settings import StitchSpec


def usual_training(front: nn.Module, back: nn.Module, data: Dataset, spec: StitchSpec, start: Tensor) -> nn.Conv2d:
    """Return a 1x1 convolution trained from the identity times `start`, with Adam and a constant rate."""
    front, back = (copy.deepcopy(network).eval().requires_grad_(False) for network in (front, back))
    stitch = nn.Conv2d(start.shape[1], start.shape[0], 1)
    with torch.no_grad():
        stitch.weight.copy_(start[:, :, None, None])
        stitch.bias.zero_()  # type: ignore[union-attr]
    optimizer = torch.optim.Adam(stitch.parameters(), spec.lr)
    seen: dict[str, Tensor] = {}
    front.get_submodule(spec.front_layer).register_forward_hook(lambda *call: seen.update(front=call[2].clone()))

    def replace(module: nn.Module, inputs: object, output: Tensor) -> Tensor | None:
        seen["own"] = output.clone()
        return stitch(seen["front"]) if seen.get("stitched") is not None else None

    back.get_submodule(spec.entry).register_forward_hook(replace)
    for epoch in range(spec.epochs):
        for images, labels in data.train.epoch(
            spec.batch_size, seed=spec.seed, epoch=epoch, augment=data.settings.augment
        ):
            if len(labels) < spec.batch_size:
                break
            seen.pop("stitched", None)
            teachers = {"soft_1": front(images), "soft_2": back(images)}
            own = seen["own"]
            seen["stitched"] = images
            logits = back(images)
            if spec.target == "hard":
                loss = functional.cross_entropy(logits, labels)
            else:
                loss = functional.cross_entropy(
                    logits / spec.temperature, (teachers[spec.target] / spec.temperature).softmax(1)
                )
            loss = loss + spec.l1 * stitch.weight.abs().mean() + spec.cka_reg * _cka(own, stitch(seen["front"]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return stitch


def _cka(one: Tensor, other: Tensor) -> Tensor:
    grams = []
    for activation in (one, other):
        gram = activation.flatten(1) @ activation.flatten(1).T
        centring = torch.eye(len(gram)) - 1 / len(gram)
        grams.append(centring @ gram @ centring)
    return (grams[0] * grams[1]).sum() / (grams[0].norm() * grams[1].norm())
