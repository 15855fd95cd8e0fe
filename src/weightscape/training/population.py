"""Train many networks of one architecture: together where that pays, one after the other elsewhere."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import nn

from weightscape.errors import TrainingError
from weightscape.together import Stack
from weightscape.training.keeping import epoch_length, kept_steps
from weightscape.training.population_rule import StackPlan, plan_stack
from weightscape.training.population_run import Member, StackedRun
from weightscape.training.recipe import Keep, Recipe
from weightscape.training.result import TrainResult
from weightscape.training.run import train_model

if TYPE_CHECKING:
    import pandas

    from weightscape.data.dataset import Dataset

OnMember: TypeAlias = Callable[[int, Member, str], None]
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainedPopulation:
    """What became of the members of a population.

    Attributes:
        members: The result of each member, or the error that stopped it, in the order given.
        how: Whether they were to be trained as a stack, and why.
        group_sizes: How many networks were trained together with each member, itself included.
    """

    members: tuple[Member, ...]
    how: StackPlan
    group_sizes: tuple[int, ...]

    @property
    def results(self) -> tuple[TrainResult, ...]:
        """The results of all members.

        Raises:
            TrainingError: If a member has none.
        """
        failed = {index: member for index, member in enumerate(self.members) if isinstance(member, TrainingError)}
        if failed:
            listed = " ".join(f"Member {index}: {error}" for index, error in failed.items())
            raise TrainingError(f"{len(failed)} of {len(self.members)} members have no result. {listed}")
        return tuple(member for member in self.members if isinstance(member, TrainResult))

    def to_frame(self) -> pandas.DataFrame:
        """Return a row per member: its metrics, or the ``message`` of the error that stopped it."""
        import pandas

        return pandas.DataFrame(
            [
                {"message": str(member)} if isinstance(member, TrainingError) else {"message": "", **member.metrics()}
                for member in self.members
            ]
        )

    def __repr__(self) -> str:
        failed = sum(isinstance(member, TrainingError) for member in self.members)
        return f"TrainedPopulation({len(self.members)} members, {failed} without a result; {self.how})"


def train_population(
    models: Sequence[nn.Module],
    dataset: Dataset,
    *,
    recipe: Recipe | Sequence[Recipe],
    order_seeds: Sequence[int],
    keep: Keep = "ends",
    device: str | torch.device = "cpu",
    stack: Stack = "auto",
    memory_limit: int | None = None,
    resume: str | Path | None = None,
    checkpoint_seconds: float = 60.0,
    on_epoch: Callable[[int, int], None] | None = None,
    on_member: OnMember | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> TrainedPopulation:
    """Train copies of many networks of one architecture, each as :func:`weightscape.training.run.train_model` would.

    As a stack, all members take each step together, with one call of each kernel for all of them. Every member has its
    own weights, batches, augmentation, learning rate, momentum and weight decay; epochs, batch size and kind of
    optimiser are common. The results are those of members trained one by one up to rounding: the sums are the same, but
    in another order. Whether to stack is a fixed rule (:func:`weightscape.training.population_rule.plan_stack`) that
    looks at the device and the size of the networks. Dropout and what else the stack has no form for leads to the loop.

    A member that diverges has an error instead of a result; the others go on.

    Args:
        models: Initial weights; never changed.
        dataset: Training, validation and test split, and how to augment.
        recipe: How to train: one for all members, or one for each.
        order_seeds: Seed of each member's order of samples and augmentation.
        keep: Which snapshots to keep, of each member.
        device: Where to train.
        stack: ``auto`` follows the rule, ``always`` makes a stack on any device where there is a stacked form of
            everything, ``never`` a loop.
        memory_limit: Bytes a stack may take, by which the number of members trained at once is bounded; by default half
            of a GPU's memory, a quarter of the machine's.
        resume: Folder of checkpoints, written after every epoch and read at the start. Continuing a stack gives the
            bits that it would have had. The trajectories read their snapshots from there.
        checkpoint_seconds: Time after which a checkpoint is written within an epoch too.
        on_epoch: Called with the epochs done and to do, of all members together.
        on_member: Called with the position of a member, what became of it, and how it was trained, as soon as it ends.
        should_stop: Asked before every step; ``True`` writes a checkpoint and stops.

    Raises:
        TrainingError: If the numbers of models, recipes and seeds differ, or a step to keep lies beyond the run.
        DataError: If a split is empty, or has labels that the models have no logits for.
        StoreError: If `resume` holds checkpoints of another population.
        Interrupted: If `should_stop` said so.
    """
    recipes = [recipe] * len(models) if isinstance(recipe, Recipe) else list(recipe)
    _check_counts(models, recipes, order_seeds)
    for one in recipes:
        kept_steps(keep, epochs=one.epochs, iterations=epoch_length(len(dataset.train), one))
    device = torch.empty(0, device=device).device
    how = plan_stack(models, dataset, recipes, device=device, stack=stack, memory_limit=memory_limit)
    work = _Work(
        models,
        dataset,
        recipes,
        order_seeds,
        keep=keep,
        device=device,
        resume=None if resume is None else Path(resume),
        checkpoint_seconds=checkpoint_seconds,
        on_epoch=on_epoch or (lambda done, total: None),
        on_member=lambda index, member: on_member(index, member, str(how)) if on_member else None,
        should_stop=should_stop or (lambda: False),
    )
    for group in _groups(len(models), how.group_size):
        work.train(group)
    return TrainedPopulation(tuple(work.members), how, tuple(work.sizes))


def _check_counts(models: Sequence[nn.Module], recipes: Sequence[Recipe], order_seeds: Sequence[int]) -> None:
    if not len(models) or not len(models) == len(recipes) == len(order_seeds):
        raise TrainingError(
            "Expected as many models as recipes and order seeds, and at least one; "
            f"received {len(models)} models, {len(recipes)} recipes and {len(order_seeds)} order seeds."
        )


def _groups(count: int, size: int) -> list[range]:
    """Cut `count` members into as few groups of at most `size` as possible, of nearly equal size.

    >>> _groups(9, 4)
    [range(0, 3), range(3, 6), range(6, 9)]
    """
    number = math.ceil(count / size)
    edges = [index * count // number for index in range(number + 1)]
    return [range(start, stop) for start, stop in pairwise(edges)]


class _Work:
    """The members of a population, what of them is done, and how the rest is done."""

    def __init__(
        self,
        models: Sequence[nn.Module],
        dataset: Dataset,
        recipes: Sequence[Recipe],
        order_seeds: Sequence[int],
        *,
        keep: Keep,
        device: torch.device,
        resume: Path | None,
        checkpoint_seconds: float,
        on_epoch: Callable[[int, int], None],
        on_member: Callable[[int, Member], None],
        should_stop: Callable[[], bool],
    ) -> None:
        self._models, self._dataset, self._recipes, self._order_seeds = models, dataset, recipes, order_seeds
        self._keep, self._device = keep, device
        self._resume, self._checkpoint_seconds = resume, checkpoint_seconds
        self._on_epoch, self._on_member, self._should_stop = on_epoch, on_member, should_stop
        self.members: list[Member] = []
        self.sizes: list[int] = []

    def train(self, group: range) -> None:
        """Train a group of members: alone, or as a stack that is halved when it does not fit into memory.

        Raises:
            Interrupted: If the user asked to stop.
            OutOfMemoryError: If not even one member fits.
        """
        try:
            members = [self._alone(group.start)] if len(group) == 1 else self._together(group)
        except torch.OutOfMemoryError:
            if len(group) == 1:
                raise
            _LOG.warning("%d networks at once do not fit into memory; they are trained in halves.", len(group))
            for half in (group[: len(group) // 2], group[len(group) // 2 :]):
                self.train(half)
            return
        self.members += members
        self.sizes += [len(group)] * len(group)
        for index, member in zip(group, members, strict=True):
            self._on_member(index, member)

    def _alone(self, index: int) -> Member:
        try:
            return train_model(
                self._models[index],
                self._dataset,
                recipe=self._recipes[index],
                order_seed=self._order_seeds[index],
                keep=self._keep,
                device=self._device,
                resume=self._folder(range(index, index + 1)),
                checkpoint_seconds=self._checkpoint_seconds,
                on_epoch=lambda done, total, row: self._report(done),
                should_stop=self._should_stop,
            )
        except TrainingError as error:
            return error

    def _together(self, group: range) -> list[Member]:
        models = [self._models[index] for index in group]
        run = StackedRun(
            models,
            self._dataset,
            recipes=[self._recipes[index] for index in group],
            order_seeds=[self._order_seeds[index] for index in group],
            keep=self._keep,
            device=self._device,
        )
        folder = self._folder(group)
        if folder is not None:
            run.attach(folder, models, self._checkpoint_seconds)
        return run.train(self._should_stop, lambda done, total: self._report(done * len(group)))

    def _folder(self, group: range) -> Path | None:
        return None if self._resume is None else self._resume / f"{group.start:04d}-{group.stop - 1:04d}"

    def _report(self, done: int) -> None:
        before = sum(recipe.epochs for recipe in self._recipes[: len(self.members)])
        self._on_epoch(before + done, sum(recipe.epochs for recipe in self._recipes))
