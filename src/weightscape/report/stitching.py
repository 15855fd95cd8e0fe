"""One page about one stitch, as HTML and as PDF: what was found, its matrix, its training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from weightscape.report.facts import data_notes, facts_of, short_name, table_files
from weightscape.report.stitch_findings import back_layer_of
from weightscape.report.stitch_findings import cautions as cautions
from weightscape.report.stitch_findings import findings as findings

if TYPE_CHECKING:
    from weightscape.figures.drawing import DrawnFigure
    from weightscape.report.page import Report, ReportFigure
    from weightscape.results import Table
    from weightscape.studies.workspace.record import Record

_TABLES = ("epochs", "iterations", "thresholds")
_STAGES = {"initial": "before training", "final": "after training"}


def report_of(record: Record, names: Mapping[str, str]) -> Report:
    """Return the content of the page.

    Args:
        record: The result.
        names: What the user called the inputs ``front`` and ``back``.
    """
    from weightscape.report.page import ReportFigure

    figures = [ReportFigure(title, caption, drawn.image("png")) for title, caption, drawn in _figures(record, names)]
    return _report(record, names, figures)


def _report(record: Record, names: Mapping[str, str], figures: Sequence[ReportFigure] = ()) -> Report:
    from weightscape.report.page import Report

    settings = record.settings
    tables = _tables(record)
    notes = [note for note in data_notes(settings["data"]["name"]) if not record.metrics["lossy_images"]]
    return Report(
        title=_title(record, names),
        about="\n\n".join(findings(record)),
        figures=figures,
        tables=tables,
        table_files=table_files(record, tables),
        settings=yaml.safe_dump({**names, **settings}, sort_keys=False, allow_unicode=True, width=100),
        environment=facts_of(record),
        warnings=[*cautions(record), *notes],
    )


def extra_files(record: Record, path: Path, names: Mapping[str, str]) -> list[Path]:
    """Write the same page as a PDF beside the HTML page, and return its path."""
    from weightscape.figures.booklet import booklet
    from weightscape.report.booklets import blocks_of
    from weightscape.studies.workspace.files import replacing

    figures = [(caption, drawn.figure) for _, caption, drawn in _figures(record, names)]
    pdf = path.with_suffix(".pdf")
    with replacing(pdf) as draft:
        draft.write_bytes(booklet(blocks_of(_report(record, names)), figures))
    return [pdf]


def _title(record: Record, names: Mapping[str, str]) -> str:
    front, back = (short_name(names[name]) for name in ("front", "back"))
    return f"{front} ({record.settings['front_layer']}) to {back} ({back_layer_of(record.settings)})"


def _tables(record: Record) -> dict[str, Table]:
    import pandas

    metrics = record.metrics
    known = {name: record.artefact(name) for name in _TABLES if name in record.outputs}
    overlap = [
        {
            "stitched network": "right",
            "back right": metrics["both_right"],
            "back wrong": metrics["only_stitched_right"],
        },
        {"stitched network": "wrong", "back right": metrics["only_back_right"], "back wrong": metrics["both_wrong"]},
    ]
    own = {
        "scores": pandas.DataFrame(_scores(metrics)),
        "right and wrong answers": pandas.DataFrame(overlap),
        "similarity to the back network": pandas.DataFrame(_similarities(metrics)),
    }
    values = record.artefact("singular_values").pivot(index="index", columns="stage", values="value")
    if len(values):
        known["singular values"] = values.rename(columns=_STAGES)[list(_STAGES.values())].reset_index()
    return {**own, **{name: table for name, table in known.items() if len(table)}}


def _scores(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    columns = ("accuracy", "loss", "relative_accuracy", "cross_entropy", "kl", "agreement")
    rows = [
        {"network": "front", "accuracy": metrics["front_accuracy"], "loss": metrics.get("front_loss")},
        {"network": "back", "accuracy": metrics["back_accuracy"], "loss": metrics.get("back_loss")},
        {"network": "stitched, before training", **{name: metrics[f"initial_{name}"] for name in columns}},
        {"network": "stitched, after training", **{name: metrics[name] for name in columns}},
    ]
    return [{"network": row["network"], **{name: row.get(name) for name in columns}} for row in rows]


def _similarities(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    names = {
        "cka": "linear CKA",
        "cka_debiased": "debiased",
        "l2": "mean squared difference",
        "r2": "variance explained",
    }
    stages = {
        "activation of the front": "{}_unstitched",
        "stitch before training": "initial_{}",
        "stitch after training": "{}",
    }
    return [
        {"compared": stage, **{text: metrics.get(form.format(name)) for name, text in names.items()}}
        for stage, form in stages.items()
    ]


def _figures(record: Record, names: Mapping[str, str]) -> list[tuple[str, str, DrawnFigure]]:
    """Return the figures of the page: title, caption, figure. What there is nothing of is left out."""
    from weightscape.figures.drawing import draw
    from weightscape.figures.registry import find
    from weightscape.report.network_curves import curves_of

    names_of_tables = ("matrix", "singular_values", "epochs", "iterations")
    lossy = bool(record.metrics["lossy_images"])
    tables = {name: record.artefact(name).assign(lossy_images=lossy) for name in names_of_tables}
    wanted: list[tuple[str, str, dict[str, Table], dict[str, Any]]] = []
    if len(tables["matrix"]):
        given = {"table": tables["matrix"], "singular_values": tables["singular_values"]}
        wanted.append(("the matrix", "stitch-map", given, {}))
    if len(tables["epochs"]):
        wanted.append(("training of the stitch", "stitch-course", {"table": tables["epochs"]}, {}))
    if len(tables["iterations"]):
        along = tables["iterations"].assign(front_layer=record.settings["front_layer"])
        wanted.append(("similarity along training", "stitch-training", {"table": along}, {}))
    networks = curves_of(record, names)
    if networks is not None:
        wanted.append(("training of the networks", "learning-curve", {"table": networks}, {"by": "network"}))
    return [(title, find(name).summary, draw(name, given, options)) for title, name, given, options in wanted]
