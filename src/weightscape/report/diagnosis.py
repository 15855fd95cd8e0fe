"""One page about two networks: what ``weightscape diagnose`` found, in words, figures and tables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

import weightscape.figures
import weightscape.report
from weightscape.report.stamps import code_digest, is_current, write_stamp
from weightscape.studies.keys import digest

if TYPE_CHECKING:
    from weightscape.report.page import ReportFigure
    from weightscape.results import Table
    from weightscape.studies.workspace.record import Record

_TABLES = ("heights", "mistakes", "groups", "line")
_HIGH = 0.05
"""Loss of accuracy from which averaging the weights is warned of."""


def write_diagnosis(record: Record, path: Path, *, names: Mapping[str, str]) -> Path:
    """Write the page of one result of the operation ``diagnose``, if it would change; return its path.

    Args:
        record: The result.
        path: Where the page goes; its stamp goes beside it.
        names: What the user called the inputs ``source`` and ``target``.
    """
    stamp = path.with_suffix(".json")
    code = [code_digest(Path(package.__path__[0])) for package in (weightscape.report, weightscape.figures)]
    source = digest([record.key, dict(names), record.content["environment"], code])
    if not is_current(stamp, source, [path]):
        _write(record, path, names)
        write_stamp(stamp, source, [path])
    return path


def findings(metrics: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    """Return what was found, a sentence each.

    Args:
        metrics: The scalar fields of a :class:`~weightscape.landscape.result.Diagnosis`.
        settings: The settings of the operation.
    """
    return [
        f"On {metrics['count']:,} images of the {metrics['measured_on']} split of {settings['data']['name']}, the "
        f"first network classifies {_percent(metrics['source_accuracy'])} correctly, the second "
        f"{_percent(metrics['target_accuracy'])}.",
        f"Between them the loss rises by {metrics['direct_loss_barrier']:.3g} above the line from end to end, and by "
        f"{metrics['loss_barrier']:.3g} (standard error {metrics['loss_barrier_stderr']:.2g}) once the units of the "
        "first are in the order of the second; the error rises by "
        f"{_points(metrics['direct_error_barrier'])} points, and by {_points(metrics['error_barrier'])} "
        f"(standard error {_points(metrics['error_barrier_stderr'])}) once aligned.",
        f"Alignment by {settings['method']} moved {_percent(metrics['moved'])} of the units; the cosine of all "
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
        f"{kappa} They predict the same class for {_percent(metrics['agreement'])} of the images."
    )


def cautions(metrics: Mapping[str, Any]) -> list[str]:
    """Return what must not be read into, or done with, these two networks."""
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


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _points(share: float | None) -> str:
    return "?" if share is None else f"{100 * share:.1f}"


def _write(record: Record, path: Path, names: Mapping[str, str]) -> None:
    from weightscape.report.page import Report, write_report
    from weightscape.report.provenance import duration

    tables = {name: record.artefact(name) for name in _TABLES}
    metrics, settings, content = record.metrics, record.settings, record.content
    facts = {name: "not set" if value is None else str(value) for name, value in content["environment"].items()}
    facts |= {"computing time": duration(float(content["seconds"]["total"])), "key": record.key}
    first, second = (_short(names[name]) for name in ("source", "target"))
    report = Report(
        title=f"{first} and {second}",
        about="\n\n".join(findings(metrics, settings)),
        figures=_figures(tables, metrics),
        tables=tables,
        table_files={name: f"../objects/{record.key[:2]}/{record.key}/{name}.parquet" for name in _TABLES},
        settings=yaml.safe_dump({**names, **settings}, sort_keys=False, allow_unicode=True, width=100),
        environment=facts,
        warnings=[*cautions(metrics), *_data_notes(settings["data"]["name"])],
    )
    write_report(report, path)


def _data_notes(name: str) -> list[str]:
    from weightscape.data.catalogue import describe
    from weightscape.data.sources import source_kind

    notes = describe(name).notes if source_kind(name) == "catalogue" else ""
    return [f"{name}: {notes}"] if notes else []


def _short(name: str) -> str:
    """Return the end of a path, which tells files apart; other references as they are."""
    parts = Path(name).parts
    return "/".join(parts[-2:]) if len(parts) > 2 else name


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
