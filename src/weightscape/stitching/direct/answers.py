"""Logits of all stitched networks of one pair from one pass over the test images: only the tails run per stitch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from weightscape.errors import Interrupted
from weightscape.models.stitches import on_channels
from weightscape.stitching.direct.settings import RowForm
from weightscape.stitching.direct.stitch import DirectStitch
from weightscape.stitching.features import BATCH, Site
from weightscape.stitching.pair import Features, Pair, Wanted, sides_of

if TYPE_CHECKING:
    from weightscape.data.dataset import Split


@dataclass(frozen=True)
class Answers:
    """What networks answer to the images of a split, on the CPU.

    Attributes:
        front: Logits of the front network ``(n, k)``.
        back: Logits of the back network ``(n, k)``.
        stitched: Logits of every stitched network, in the order of the stitches of each site.
        labels: Labels of the images.
    """

    front: Tensor
    back: Tensor
    stitched: dict[Site, list[Tensor]]
    labels: Tensor


@torch.no_grad()
def answers_of(
    pair: Pair,
    split: Split,
    stitches: Mapping[Site, Sequence[DirectStitch]],
    *,
    form: RowForm,
    progress: Callable[[float], None] = lambda share: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Answers:
    """Run both networks once over a split, and the tail of the back network once for each stitch.

    Args:
        pair: The networks.
        split: The images.
        stitches: The stitches of each pair of layers.
        form: Whether they act on the channels of each pixel, or on whole activations.
        progress: Called with the share done.
        should_stop: Asked before every batch.

    Raises:
        Interrupted: If `should_stop` said so.
    """
    states = {site: [_placed(stitch, pair) for stitch in members] for site, members in stitches.items()}
    wanted = Wanted(
        front_layers=tuple(dict.fromkeys(site.front_layer for site in stitches)),
        sides=tuple(dict.fromkeys(site.back_layer for site in stitches)),
        front_logits=True,
        back_logits=True,
    )
    parts: dict[Site, list[list[Tensor]]] = {site: [[] for _ in members] for site, members in stitches.items()}
    whole: list[Features] = []
    for number, (images, _) in enumerate(split.batches(BATCH)):
        if should_stop():
            raise Interrupted("The evaluation of stitches was stopped; the same command does it again.")
        features = pair.features(images, wanted)
        whole.append({name: features[name].cpu() for name in ("front_logits", "back_logits")})
        for site, members in states.items():
            for state, logits in zip(members, parts[site], strict=True):
                logits.append(_answer(pair, site, features, state, form).cpu())
        progress(min(1.0, (number + 1) * BATCH / len(split)))
    front, back = (torch.cat([part[name] for part in whole]) for name in ("front_logits", "back_logits"))
    joined = {site: [torch.cat(logits) for logits in members] for site, members in parts.items()}
    return Answers(front, back, joined, split.labels.cpu())


def _placed(stitch: DirectStitch, pair: Pair) -> dict[str, Tensor]:
    return {name: tensor.to(pair.device) for name, tensor in stitch.state().items()}


def _answer(pair: Pair, site: Site, features: Features, state: Mapping[str, Tensor], form: RowForm) -> Tensor:
    activation = features[f"front/{site.front_layer}"]
    if form == "pixels":
        matched = on_channels(activation, state["weight"], state["bias"])
    else:
        matched = functional.linear(activation.flatten(1), state["weight"], state["bias"])
        matched = matched.reshape(len(activation), *pair.back_cut(site.back_layer).shape)
    answer: Tensor = pair.fast_tail(site.back_layer)(matched, *sides_of(features, site.back_layer))
    return answer
