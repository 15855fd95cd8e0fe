"""One page about two networks: what ``weightscape diagnose`` found, in words, figures and tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import yaml

from weightscape.report.facts import data_notes, facts_of, percent, short_name, table_files

if TYPE_CHECKING:
    from weightscape.report.page import Report, ReportFigure
    from weightscape.results import Table
    from weightscape.studies.workspace.record import Record

_TABLES = ("heights", "mistakes", "groups", "line")
_HIGH = 0.05
"""Loss of accuracy from which averaging the weights is warned of."""


def findings(record: Record) -> list[str]:
    """Return what was found, a sentence each.

    Args:
        record: A result whose scalar fields are those of a :class:`~weightscape.landscape.result.Diagnosis`.
    """
    metrics: Mapping[str, Any] = record.metrics
    settings = record.settings
    return [
        f"On {metrics['count']:,} images of the {metrics['measured_on']} split of {settings['data']['name']}, the "
        f"first network classifies {percent(metrics['source_accuracy'])} correctly, the second "
        f"{percent(metrics['target_accuracy'])}.",
        f"Between them the loss rises by {metrics['direct_loss_barrier']:.3g} above the line from end to end, and by "
        f"{metrics['loss_barrier']:.3g} (standard error {metrics['loss_barrier_stderr']:.2g}) once the units of the "
        "first are in the order of the second; the error rises by "
        f"{_points(metrics['direct_error_barrier'])} points, and by {_points(metrics['error_barrier'])} "
        f"(standard error {_points(metrics['error_barrier_stderr'])}) once aligned.",
        f"Alignment by {settings['method']} moved {percent(metrics['moved'])} of the units; the cosine of all "
        f"parameters went from {metrics['cosine_before']:.3f} to {metrics['cosine']:.3f}.",
        _mistakes(metrics),
    ]


def _mistakes(metrics: Mapping[str, Any]) -> str:
    kappa = ""
    if metrics["kappa"] is not None:
        kappa = (
            f" Error consistency (kappa, 0 for independent mistakes) is {metrics['kappa']:.2f}, 95 % interval "
            f"{metrics['kappa_low']:.2f} to {metrics['kappa_high']:.2f}."
        )
    return (
        f"Both fail on {metrics['both_wrong']} images; independent mistakes would share "
        f"{metrics['both_wrong_expected']:.1f} (95 %: {metrics['both_wrong_low']} to {metrics['both_wrong_high']})."
        f"{kappa} They predict the same class for {percent(metrics['agreement'])} of the images."
    )


def cautions(record: Record) -> list[str]:
    """Return what must not be read into, or done with, these two networks."""
    metrics: Mapping[str, Any] = record.metrics
    found = []
    before, after = metrics["direct_error_barrier"] or 0.0, metrics["error_barrier"] or 0.0
    if after > _HIGH:
        found.append(
            f"Averaging the weights of these two networks costs about {_points(after)} points of accuracy even after "
            "alignment."
        )
    elif before > _HIGH:
        found.append(
            f"Averaging the weights of these two networks as they are costs about {_points(before)} points of "
            "accuracy; align them first."
        )
    if metrics["count"] < 500:
        found.append(
            f"Only {metrics['count']} images were measured on: look at the standard errors before comparing heights."
        )
    return found


def _points(share: float | None) -> str:
    return "?" if share is None else f"{100 * share:.1f}"


def report_of(record: Record, names: Mapping[str, str]) -> Report:
    """Return the content of the page.

    Args:
        record: The result.
        names: What the user called the inputs ``source`` and ``target``.
    """
    from weightscape.report.page import Report

    tables = {name: record.artefact(name) for name in _TABLES}
    settings = record.settings
    first, second = (short_name(names[name]) for name in ("source", "target"))
    return Report(
        title=f"{first} and {second}",
        about="\n\n".join(findings(record)),
        figures=_figures(tables, record.metrics),
        tables=tables,
        table_files=table_files(record, tables),
        settings=yaml.safe_dump({**names, **settings}, sort_keys=False, allow_unicode=True, width=100),
        environment=facts_of(record),
        warnings=[*cautions(record), *data_notes(settings["data"]["name"])],
    )


def _figures(tables: Mapping[str, Table], metrics: Mapping[str, Any]) -> list[ReportFigure]:
    from weightscape.figures.drawing import draw
    from weightscape.figures.registry import find
    from weightscape.landscape.result import policy_note
    from weightscape.report.page import ReportFigure

    note = policy_note(metrics["recalibrated_on"], other="training images")
    # The columns by which figures know that a run is a pair of networks.
    groups = tables["groups"].assign(**{"source.seed": "first", "target.seed": "second"})
    barrier = draw("barrier", {"table": tables["line"]}, {"note": note})
    alignment = draw("match-summary", {"table": groups})
    return [
        ReportFigure("barrier", find("barrier").summary, barrier.image("png")),
        ReportFigure("alignment", find("match-summary").summary, alignment.image("png")),
    ]
