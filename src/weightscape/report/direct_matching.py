"""One page about two networks stitched by direct matching: what each class of maps explains, layer by layer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import yaml

from weightscape.report.facts import data_notes, facts_of, percent, short_name, table_files

if TYPE_CHECKING:
    from weightscape.report.page import Report, ReportFigure
    from weightscape.results import Table
    from weightscape.studies.workspace.record import Record

_FEW = 500
"""Images below which accuracies are too uncertain to be compared."""
_MOST_SENTENCES = 12


def findings(record: Record) -> list[str]:
    """Return what was found, a sentence for each pair of layers if they are few.

    Args:
        record: A result whose fields are those of a :class:`~weightscape.stitching.direct.result.DirectMatching`.
    """
    metrics: Mapping[str, Any] = record.metrics
    front = metrics["front_accuracy"]
    first = "" if front is None else f", the front network alone {percent(front)}"
    whole = (
        f"{metrics['stitches']} stitches at {metrics['pairs']} pairs of layers, fitted to {metrics['train_images']:,} "
        f"training images of {record.settings['data']['name']} and scored on {metrics['count']:,} test images. The "
        f"back network alone has {percent(metrics['back_accuracy'])}{first}."
    )
    pairs = _by_layers(record.artefact("matches"))
    told = [_of_pair(rows) for rows in pairs[:_MOST_SENTENCES]]
    rest = len(pairs) - len(told)
    return [whole, *told, *([f"{rest} more pairs of layers are in the table."] if rest else [])]


def _by_layers(matches: Table) -> list[list[dict[str, Any]]]:
    """Return the rows that have a stitch, by pair of layers."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in matches.fillna({"reason": ""}).to_dict("records"):
        if not row["reason"]:
            found.setdefault((row["front_layer"], row["back_layer"]), []).append({str(name): row[name] for name in row})
    return list(found.values())


def _of_pair(rows: list[dict[str, Any]]) -> str:
    """Return for example ``bn3: least-squares comes closest to the back's activation, with R2 0.74 and ...``."""
    best = max(rows, key=lambda row: row["accuracy"])
    explaining = [row for row in rows if row["r2"] is not None and not math.isnan(row["r2"])]
    text = f"{' to '.join(dict.fromkeys([best['front_layer'], best['back_layer']]))}:"
    if explaining:
        closest = max(explaining, key=lambda row: row["r2"])
        text += f" {_name(closest)} comes closest to the back's activation, with R2 {closest['r2']:.3g} and an accuracy"
        text += f" of {percent(closest['accuracy'])}{_relative(closest)};"
        if closest["accuracy"] == best["accuracy"]:
            return f"{text} none answers better."
    return f"{text} {_name(best)} answers best, with {percent(best['accuracy'])}{_relative(best)}."


def _name(row: Mapping[str, Any]) -> str:
    """Return a method with its rank or penalty."""
    if row["method"] == "reduced-rank":
        return f"{row['method']} (rank {row['rank']:.0f})"
    has_penalty = row["method"] in {"ridge", "sparse"}
    return f"{row['method']} (penalty {row['penalty']:.2g})" if has_penalty else str(row["method"])


def _relative(row: Mapping[str, Any]) -> str:
    relative = row["relative_accuracy"]
    return "" if relative is None or math.isnan(relative) else f" ({percent(relative)} of the back network's)"


def cautions(record: Record) -> list[str]:
    """Return what must not be read into the numbers."""
    metrics: Mapping[str, Any] = record.metrics
    matches = record.artefact("matches")
    found = []
    if metrics["count"] < _FEW:
        found.append(f"Only {metrics['count']} images were scored on: look at the standard error of the accuracy.")
    missing = matches.loc[matches["reason"].fillna("") != ""]
    if len(missing):
        found.append(f"{len(missing)} of {len(matches)} rows have no stitch. {missing['reason'].iloc[0]}")
    if metrics["lossy_images"]:
        found.append(
            f"The images of {record.settings['data']['name']} are a JPEG copy; networks trained on the original lose "
            "accuracy on them."
        )
    return found


def report_of(record: Record, names: Mapping[str, str]) -> Report:
    """Return the content of the page.

    Args:
        record: The result.
        names: What the user called the inputs ``front`` and ``back``.
    """
    from weightscape.report.page import Report

    settings: dict[str, Any] = dict(record.settings)
    tables: dict[str, Table] = {"matches": record.artefact("matches")}
    front, back = (short_name(names[name]) for name in ("front", "back"))
    notes = [note for note in data_notes(settings["data"]["name"]) if not record.metrics["lossy_images"]]
    return Report(
        title=f"{front} to {back}, direct matching",
        about="\n\n".join(findings(record)),
        figures=_figures(record),
        tables=tables,
        table_files=table_files(record, tables),
        settings=yaml.safe_dump({**names, **settings}, sort_keys=False, allow_unicode=True, width=100),
        environment=facts_of(record),
        warnings=[*cautions(record), *notes],
    )


def _figures(record: Record) -> list[ReportFigure]:
    from weightscape.figures.drawing import draw
    from weightscape.figures.registry import find
    from weightscape.report.page import ReportFigure
    from weightscape.stitching.direct.result import DirectMatching

    metrics: dict[str, Any] = dict(record.metrics)
    name, tables, options = DirectMatching(matches=record.artefact("matches"), **metrics).figure()
    drawn = draw(name, tables, options)
    return [ReportFigure(name, find(name).summary, drawn.image("png"))]
