"""Layers of networks compared by measures of similarity: two networks, or all pairs of many."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any, TypeAlias

from torch import nn

from weightscape.batches import BatchSource, Forward
from weightscape.errors import DataError
from weightscape.similarity.cells import Asked
from weightscape.similarity.collecting import Collected, Side, collect
from weightscape.similarity.compared import Compared as Compared
from weightscape.similarity.compared import named_networks, stored_form, way_out
from weightscape.similarity.declaration import UndefinedMeasure
from weightscape.similarity.intervals import IntervalMethod
from weightscape.similarity.memory import MEMORY_LIMIT
from weightscape.similarity.passing import LayerPatterns
from weightscape.similarity.plan import Planned, plan_measures, wanted_sums
from weightscape.similarity.representation import side_of
from weightscape.similarity.result import Comparison, Representation, corresponding, identified
from weightscape.similarity.settings import DEFAULT_MEASURES, ChosenMeasure, Form, chosen
from weightscape.similarity.tables import rows_of_pair
from weightscape.weights.population import Population

if TYPE_CHECKING:
    import pandas

MeasuresGiven: TypeAlias = str | ChosenMeasure | Mapping[str, Any] | Sequence[str | ChosenMeasure | Mapping[str, Any]]


def compare(
    first: Compared,
    second: Compared,
    batches: BatchSource | None = None,
    *,
    layers: LayerPatterns = "all",
    other_layers: LayerPatterns | None = None,
    measures: MeasuresGiven = DEFAULT_MEASURES,
    form: Form | None = None,
    average_over: int | None = None,
    null: int = 0,
    intervals: IntervalMethod | None = None,
    seed: int = 0,
    forward: Forward | None = None,
    device: Any = None,
    limit: int = MEMORY_LIMIT,
) -> Comparison:
    """Compare every layer of one network with every layer of another, by one or several measures.

    Each network runs once over the samples, in evaluation mode, whatever the number of layers and measures; nothing of
    it is changed. Representations that were stored (:func:`~weightscape.similarity.representation.represent`) are
    compared without the networks.

    Args:
        first: A network, or its representation.
        second: The same; may have another architecture.
        batches: Samples for two networks, in any form (:func:`~weightscape.batches.as_batches`) and in a fixed order.
        layers: Addresses or patterns of layers of the first network (``"bn*, fc"``, ``["conv1", "relu1:input"]``); all
            modules without modules of their own by default.
        other_layers: Those of the second network; like `layers` by default.
        measures: Names of measures, or mappings with ``name`` and options (``{"name": "svcca", "variance": 0.95}``).
        form: What a row is: ``features``, ``pooled`` or ``pixels``; by default features for measures that compare
            samples, pixels for those that compare channels.
        average_over: Measure batches of that many consecutive samples and take the mean.
        null: Shuffles of the pairs of samples to set beside the values.
        intervals: How to make intervals over samples: ``jackknife`` or ``subsampling``.
        seed: Draws shuffles and subsets.
        forward: ``forward(model, batch)`` runs a network; by default it is called with the inputs.
        device: Where to run copies of the networks; by default they run where they are.
        limit: Bytes that activations may take.

    Raises:
        DataError: If there are too few samples for a measure, batches are shuffled, or probe sets differ.
        UndefinedMeasure: If no measure has a value for any pair of layers; else rows without one say why.
        ModelError: If a layer does not exist or is not called, with the closest name.
    """
    asked = Asked(null=null, intervals=intervals, seed=seed, batch=average_over)
    if isinstance(first, Representation) and isinstance(second, Representation):
        planned = plan_measures(chosen(measures), stored_form(form, [first, second]), asked)
        sides = side_of(first, layers, name="first"), side_of(second, other_layers or layers, name="second")
        return _result(Collected(sides, {}), [(0, 1)], planned, asked, named=False)
    planned = plan_measures(chosen(measures), form, asked)
    if not (isinstance(first, nn.Module) and isinstance(second, nn.Module)):
        kinds = " and ".join(type(one).__name__ for one in (first, second))
        raise DataError(f"Expected two networks or two representations, received {kinds}. {way_out(first, second)}")
    if batches is None:
        raise DataError("Expected the samples that both networks are shown: compare(first, second, batches).")
    found = collect(
        {"first": first, "second": second},
        batches,
        [layers, other_layers or layers],
        wanted=wanted_sums(planned, asked),
        pairs=[(0, 1)],
        forward=forward,
        device=device,
        limit=limit,
    )
    return _result(found, [(0, 1)], planned, asked, named=False)


def compare_all(
    networks: Mapping[str, Compared] | Sequence[Compared] | Population,
    batches: BatchSource | None = None,
    *,
    model: nn.Module | None = None,
    layers: LayerPatterns = "all",
    measures: MeasuresGiven = DEFAULT_MEASURES,
    form: Form | None = None,
    average_over: int | None = None,
    null: int = 0,
    intervals: IntervalMethod | None = None,
    seed: int = 0,
    forward: Forward | None = None,
    device: Any = None,
    limit: int = MEMORY_LIMIT,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Comparison:
    """Compare the layers of all pairs of many networks; each runs once over the samples.

    The first network of a pair is the one that comes first. Pairs that share a network are not independent: figures
    and :func:`~weightscape.similarity.networks.mean_over_pairs` leave out whole networks.

    Args:
        networks: Networks or representations by name or in a sequence; or a population of weights.
        batches: As for :func:`compare`.
        model: The module of a population; it is not changed.
        layers: As for :func:`compare`, of all networks.
        measures: As for :func:`compare`.
        form: As for :func:`compare`.
        average_over: As for :func:`compare`.
        null: As for :func:`compare`.
        intervals: As for :func:`compare`.
        seed: As for :func:`compare`.
        forward: As for :func:`compare`.
        device: As for :func:`compare`.
        limit: As for :func:`compare`.
        progress: Called with the pairs done and their number.

    Raises:
        DataError: As :func:`compare`, or if there are fewer than two networks, or networks and representations.
        ModelError: As :func:`compare`.
    """
    asked = Asked(null=null, intervals=intervals, seed=seed, batch=average_over)
    named = named_networks(networks, model)
    pairs = list(combinations(range(len(named)), 2))
    stored = {name: one for name, one in named.items() if isinstance(one, Representation)}
    if len(stored) == len(named):
        planned = plan_measures(chosen(measures), stored_form(form, stored.values()), asked)
        sides = tuple(side_of(one, layers, name=name) for name, one in stored.items())
        return _result(Collected(sides, {}), pairs, planned, asked, named=True, progress=progress)
    planned = plan_measures(chosen(measures), form, asked)
    modules = {name: one for name, one in named.items() if isinstance(one, nn.Module)}
    if len(modules) != len(named) or batches is None:
        raise DataError(
            "Expected networks and the samples that they are shown, or representations alone; received "
            f"{len(modules)} networks, {len(stored)} representations and {'no ' * (batches is None)}samples."
        )
    wanted = wanted_sums(planned, asked)
    patterns = [layers] * len(modules)
    found = collect(modules, batches, patterns, wanted=wanted, pairs=pairs, forward=forward, device=device, limit=limit)
    return _result(found, pairs, planned, asked, named=True, progress=progress)


def _result(
    found: Collected,
    pairs: Sequence[tuple[int, int]],
    planned: Sequence[Planned],
    asked: Asked,
    *,
    named: bool,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Comparison:
    """Return the comparison of pairs of networks.

    Raises:
        UndefinedMeasure: If nothing has a value.
    """
    import pandas

    rows: list[pandas.DataFrame] = []
    for done, (first, second) in enumerate(pairs):
        progress(done, len(pairs))
        sides: tuple[Side, Side] = found.sides[first], found.sides[second]
        part = rows_of_pair(*sides, found.moments.get((first, second)), planned, asked)
        names = {"source": sides[0].name, "target": sides[1].name}
        rows.append(part.assign(**names)[[*names, *part.columns]] if named else part)
    table = pandas.concat(rows, ignore_index=True)
    if table["value"].isna().all():
        raise UndefinedMeasure(table["message"].iloc[-1])
    first_rows = table.loc[table["measure"] == table["measure"].iloc[0]]
    matched = corresponding(first_rows)["value"].dropna()
    return Comparison(
        layers=table,
        measures=", ".join(dict.fromkeys(table["measure"])),
        mean=float(matched.mean()) if len(matched) else None,
        identified=identified(first_rows),
        pairs=len(pairs),
        count=found.sides[0].count,
        fingerprint=found.sides[0].fingerprint,
    )
