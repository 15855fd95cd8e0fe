"""Many weights of one architecture, read when they are asked for."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor, nn

from weightscape.errors import ModelError
from weightscape.step import Step
from weightscape.weights.algebra import Weights, flatten, select
from weightscape.weights.layouts import LayoutName, find_layout
from weightscape.weights.likeness import difference
from weightscape.weights.runs import FoundRun, find_runs
from weightscape.weights.trajectory import LazyWeights, Trajectory

if TYPE_CHECKING:
    import pandas

Content: TypeAlias = "Weights | LazyWeights | Trajectory"


@dataclass(frozen=True)
class Member:
    """One network, or one run, of a population.

    Attributes:
        label: Its name.
        content: Its weights, a function that reads them, or its trajectory.
        settings: What tells it from the others.
    """

    label: str
    content: Content
    settings: Mapping[str, Any] = field(default_factory=dict)


class Population:
    """An ordered collection of labelled weights with a table of their settings.

    A trajectory counts as its snapshots. Weights are read when they are looked at, one set after the other. Members are
    not checked to be of one architecture until they are combined.

    Args:
        members: Members, or labels with weights or trajectories.

    Raises:
        ModelError: If there is no member.
    """

    def __init__(self, members: Sequence[Member | tuple[str, Content]]) -> None:
        if not members:
            raise ModelError("A population has at least one member, received none.")
        self._members = tuple(member if isinstance(member, Member) else Member(*member) for member in members)

    @classmethod
    def from_files(
        cls,
        files: str | Path | Sequence[str | Path],
        *,
        model: nn.Module | Callable[[], nn.Module] | None = None,
        step: str | None = None,
        member: str | None = None,
        layout: LayoutName | None = None,
    ) -> Population:
        r"""Open the files of training loops as trajectories, one per folder, without reading the weights.

        State dicts are found in whatever ``torch.save`` wrote, alone or among other things, and in safetensors; nothing
        in a file is executed. ``module.``, ``_orig_mod.`` and Lightning's ``model.`` are taken off the names.

        Args:
            files: Paths with ``*``, such as ``runs/*/ep*.pt``; of a folder all files of weights in it are meant.
            model: The network, or a function that builds it: every file must then have its tensors, no more and no
                fewer.
            step: How steps and settings stand in the names: a regular expression with the groups ``epoch``,
                ``iteration`` and any others (``seed(?P<seed>\d+)/ep(?P<epoch>\d+)``), a template
                (``seed{seed}/ep{epoch}.pt``), or one step for all (``15ep``). By default ``ep12``, ``epoch=12``,
                ``step_500`` and ``000500`` are understood; without a step in the name, what the file itself says.
            member: Which part of the files is meant, where they hold several networks.
            layout: How published folders are laid out, which then stands for `step`: ``dr-frankenstein`` are those of
                arXiv 2110.14633, ``in{init_seed}-gn{order_seed}/{iteration}.pt`` anywhere in a folder.

        Raises:
            StoreError: If files are missing, damaged, have no step or share one, or are of several architectures.
            ModelError: If they do not fit the model, naming the file and the tensors.
        """
        patterns = [str(files)] if isinstance(files, str | Path) else [str(pattern) for pattern in files]
        if layout is not None:
            known = find_layout(layout)
            patterns, step = known.patterns(patterns), step or known.step
        expected = None if model is None else shapes_of(model)
        runs = find_runs(patterns, step=step, member=member, expected=expected)
        if expected is not None:
            check_fit(runs, expected)
        return cls([Member(run.path, trajectory_of(run), run.settings) for run in runs])

    @property
    def members(self) -> tuple[Member, ...]:
        """The members."""
        return self._members

    @property
    def trajectories(self) -> tuple[Trajectory, ...]:
        """The members that are trajectories."""
        return tuple(member.content for member in self._members if isinstance(member.content, Trajectory))

    @property
    def labels(self) -> tuple[str, ...]:
        """The label of each of the weights."""
        return tuple(label for label, _, _ in self._each())

    def __len__(self) -> int:
        return sum(len(member.content) if isinstance(member.content, Trajectory) else 1 for member in self._members)

    def __iter__(self) -> Iterator[Weights]:
        return (read() for _, _, read in self._each())

    def __getitem__(self, position: int) -> Weights:
        return [read for _, _, read in self._each()][position]()

    def __repr__(self) -> str:
        return f"Population of {len(self._members)} members, {len(self)} sets of weights"

    def _repr_html_(self) -> str:
        return f"<p>{self!r}</p>{self.to_frame().to_html(max_rows=20)}"

    def _each(self) -> Iterator[tuple[str, dict[str, Any], LazyWeights]]:
        for member in self._members:
            content = member.content
            if isinstance(content, Trajectory):
                for step in content.steps:
                    row = {**member.settings, "step": str(step)}
                    yield f"{member.label}@{step}", row, _reader(content, step)
            elif callable(content):
                yield member.label, dict(member.settings), content
            else:
                yield member.label, dict(member.settings), _constant(content)

    def at(self, step: Step | str) -> Population:
        """Return the population of the weights at one step: ``15ep``, ``first`` or ``last``, still to be read.

        Raises:
            StoreError: If a member has no snapshot at that step.
        """
        return Population([_at(member, step) for member in self._members])

    def select(self, condition: Callable[[Mapping[str, Any]], bool] | None = None, **settings: Any) -> Population:
        """Return the members for whose settings a condition holds, or that have the given values.

        >>> population = Population([Member("a", {}, {"seed": 0}), Member("b", {}, {"seed": 1})])
        >>> population.select(seed=1).labels, population.select(lambda row: row["seed"] < 1).labels
        (('b',), ('a',))

        Raises:
            ModelError: If there is none; the message says which values there are.
        """
        kept = [
            member
            for member in self._members
            if (condition is None or condition(member.settings))
            and all(name in member.settings and member.settings[name] == value for name, value in settings.items())
        ]
        if not kept:
            there = {name: sorted({repr(member.settings.get(name)) for member in self._members}) for name in settings}
            known = "; ".join(f"{name} is one of {', '.join(values)}" for name, values in there.items())
            raise ModelError(f"No member of this population fulfils the condition. {known}".rstrip())
        return Population(kept)

    def modules(self, model: nn.Module) -> Iterator[nn.Module]:
        """Yield the networks, one after the other in one private copy of `model`, filled with each of the weights.

        Raises:
            ModelError: If weights do not fit the model.
        """
        network = copy.deepcopy(model)
        expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
        for label, _, read in self._each():
            weights = read()
            wrong = difference({name: tuple(tensor.shape) for name, tensor in weights.items()}, expected)
            if wrong:
                raise ModelError(f"The weights {label} do not fit the model. {wrong}.")
            network.load_state_dict(weights)
            yield network

    def vectors(self, names: Collection[str] | None = None) -> Tensor:
        """Return the weights as rows of a matrix ``(n, p)``, tensors in the order of `names`.

        Args:
            names: Tensors to take, such as those of ``model.named_parameters()``; all floating-point ones by default.

        Raises:
            ModelError: If a set of weights lacks a tensor, or they are of several architectures.
        """
        if names is None:
            names = [name for name, tensor in self[0].items() if tensor.is_floating_point()]
        rows = [flatten(select(weights, names)) for weights in self]
        if len({len(row) for row in rows}) > 1:
            raise ModelError("The weights are of several architectures, so that their vectors have several lengths.")
        return torch.stack(rows)

    def to_frame(self) -> pandas.DataFrame:
        """Return one row per set of weights: label, settings (nested ones dotted) and step."""
        import pandas

        return pandas.json_normalize([{"label": label, **row} for label, row, _ in self._each()])


def shapes_of(model: nn.Module | Callable[[], nn.Module]) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor of a network, or of the one that a function builds."""
    network = model if isinstance(model, nn.Module) else model()
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def check_fit(runs: Sequence[FoundRun], expected: Mapping[str, tuple[int, ...]]) -> None:
    """Check that files have the tensors of a network, no more and no fewer.

    Raises:
        ModelError: Naming the first file that does not, and how it differs.
    """
    for run in runs:
        for checkpoint in run.checkpoints.values():
            wrong = difference(checkpoint.shapes, expected)
            if wrong:
                raise ModelError(f"{checkpoint.path} does not fit the model. {wrong}.")


def trajectory_of(run: FoundRun) -> Trajectory:
    """Return the snapshots of a run, to be read from its files when they are looked at."""
    snapshots = {step: checkpoint.load for step, checkpoint in run.checkpoints.items()}
    return Trajectory(snapshots, iterations_per_epoch=run.iterations_per_epoch)


def _reader(trajectory: Trajectory, step: Step) -> LazyWeights:
    return lambda: trajectory.at(step)


def _constant(weights: Weights) -> LazyWeights:
    return lambda: weights


def _at(member: Member, step: Step | str) -> Member:
    if not isinstance(member.content, Trajectory):
        return member
    found = member.content.find(step)
    return Member(f"{member.label}@{found}", _reader(member.content, found), {**member.settings, "step": str(found)})
