"""One page about the layers of two networks: what ``weightscape compare`` found, in words, figures and a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import yaml

from weightscape.report.facts import data_notes, facts_of, short_name, table_files
from weightscape.similarity.result import corresponding, sentences

if TYPE_CHECKING:
    import pandas

    from weightscape.report.page import Report, ReportFigure
    from weightscape.results import Table
    from weightscape.studies.workspace.record import Record

_FEW = 500


def findings(record: Record) -> list[str]:
    """Return what was found, a sentence each.

    Args:
        record: A result whose fields are those of a :class:`~weightscape.similarity.result.Comparison`.
    """
    layers: Table = record.artefact("layers")
    metrics, settings = record.metrics, record.settings
    data = (settings.get("data") or {}).get("name")
    where = f" of the {metrics['measured_on']} split of {data}" if data and metrics["measured_on"] else ""
    forms = ", ".join(dict.fromkeys(map(str, layers["form"].dropna())))
    sizes = f"{layers['source_layer'].nunique()} x {layers['target_layer'].nunique()} layers"
    first = f"Compared {sizes} on {metrics['count']:,} images{where}{f', activations as {forms}' if forms else ''}."
    return [first, *(f"{sentence}." for sentence in sentences(layers, int(str(metrics["count"])))[:-1])]


def cautions(record: Record) -> list[str]:
    """Return what must not be read into the numbers."""
    layers: Table = record.artefact("layers")
    found = [_bias(rows) for _, rows in layers.groupby("measure", sort=False)]
    missing = layers.loc[layers["value"].isna()]
    if len(missing):
        found.append(f"{len(missing)} of {len(layers)} values are missing. {missing['message'].iloc[0]}")
    if record.metrics["lossy_images"]:
        found.append("The images are a JPEG copy of the original ones, on which networks trained on those do worse.")
    if int(str(record.metrics["count"])) < _FEW and layers["low"].isna().all():
        found.append(f"Only {record.metrics['count']} images: ask for intervals (--intervals jackknife).")
    return [text for text in found if text]


def _bias(rows: pandas.DataFrame) -> str:
    """Return a warning where a biased measure is read without its null and the layers are wide."""
    widest = rows[["source_width", "target_width"]].max().max()
    if not rows["biased"].any() or rows["null"].notna().any() or not widest * 2 > rows["n"].min():
        return ""
    name = rows["measure"].iloc[0]
    return (
        f"{name} depends on the number of samples: layers of up to {int(widest):,} units on {int(rows['n'].min()):,} "
        "samples score more than they have in common. Ask for the null (--null 20), or take linear-cka-debiased."
    )


def report_of(record: Record, names: Mapping[str, str]) -> Report:
    """Return the content of the page.

    Args:
        record: The result.
        names: What the user called the inputs ``source`` and ``target``.
    """
    from weightscape.report.page import Report

    tables: dict[str, Table] = {"layers": record.artefact("layers")}
    settings: dict[str, Any] = dict(record.settings)
    first, second = (short_name(names[name]) for name in ("source", "target"))
    data = (settings.get("data") or {}).get("name")
    return Report(
        title=f"{first} and {second}, layer by layer",
        about="\n\n".join(findings(record)),
        figures=_figures(tables["layers"], first, second),
        tables=tables,
        table_files=table_files(record, tables),
        settings=yaml.safe_dump({**names, **settings}, sort_keys=False, allow_unicode=True, width=100),
        environment=facts_of(record),
        warnings=[*cautions(record), *(data_notes(data) if data else [])],
    )


def _figures(layers: Table, first: str, second: str) -> list[ReportFigure]:
    from weightscape.figures.drawing import draw
    from weightscape.figures.registry import find
    from weightscape.report.page import ReportFigure

    note = f"First network: {first}. Second network: {second}."
    inner = layers.loc[layers["source_layer"] != "output"]
    found = []
    if len(inner):
        matrix = draw("layer-matrix", {"table": inner}, {"note": note})
        found.append(ReportFigure("layers", find("layer-matrix").summary, matrix.image("png")))
    if corresponding(inner)["source_layer"].nunique() > 1:
        curve = draw("similarity-curve", {"table": inner}, {"note": note})
        found.append(ReportFigure("depth", find("similarity-curve").summary, curve.image("png")))
    return found
