"""How well a stitched network does what the back network does. Loads no torch."""

from __future__ import annotations

from dataclasses import dataclass

from weightscape.results import Result


@dataclass(frozen=True, repr=False)
class StitchScores(Result):
    """A stitched network beside the two that it is made of, on the same n images.

    Where images have several labels each, an accuracy is the share of right answers over images and labels, losses are
    means over images and labels, and the four counts are of answers, of which there are n times the labels.

    Attributes:
        accuracy: Share of right answers of the stitched network.
        accuracy_stderr: Its standard error, of the sampling of images alone.
        loss: Mean cross-entropy to the labels in nats, whatever the stitch was trained on.
        front_accuracy: Of the front network; None where it was not given or has other classes.
        front_loss: Mean cross-entropy of the front network to the labels in nats; None as its accuracy.
        back_accuracy: Of the back network.
        back_loss: Of the back network.
        relative_accuracy: Accuracy over that of the back network; None where that is 0.
        relative_to_front: Accuracy over that of the front network.
        chance: Accuracy of guessing: one over the number of classes; for several labels, that of the best constant
            answer to each.
        above_chance: ``(accuracy - chance) / (back_accuracy - chance)``; None where the back network is no better than
            chance.
        cross_entropy: Mean over images of the cross-entropy to the softmax of the back network, in nats (not divided by
            the number of classes, as the published code does). Its least possible value is the entropy of that
            network's outputs, not 0.
        kl: The same without that entropy: the Kullback-Leibler divergence from the back network's outputs, in nats; 0
            where the stitched network is as good as the back network.
        agreement: Share of answers that are those of the back network.
        both_right: Answers right in both the stitched and the back network.
        only_stitched_right: Answers that the stitched network alone has right.
        only_back_right: Answers that the back network alone has right.
        both_wrong: Answers wrong in both.
        count: Number of images.
        lossy_images: Whether the images are a lossy copy of the ones in the literature.
    """

    accuracy: float
    accuracy_stderr: float
    loss: float
    front_accuracy: float | None
    front_loss: float | None
    back_accuracy: float
    back_loss: float
    relative_accuracy: float | None
    relative_to_front: float | None
    chance: float
    above_chance: float | None
    cross_entropy: float
    kl: float
    agreement: float
    both_right: int
    only_stitched_right: int
    only_back_right: int
    both_wrong: int
    count: int
    lossy_images: bool = False
