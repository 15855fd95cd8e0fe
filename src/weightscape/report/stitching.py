"""One page about one stitch, as HTML and as PDF: what it does, its matrix, its training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from weightscape.report.pages import data_notes, facts_of, short_name, table_files

if TYPE_CHECKING:
    from weightscape.figures.drawing import DrawnFigure
    from weightscape.report.page import Report, ReportFigure
    from weightscape.results import Table
    from weightscape.studies.workspace.record import Record

_TABLES = ("epochs", "iterations", "thresholds")
_STAGES = {"initial": "before training", "final": "after training"}
_FEW = 500
"""Images below which accuracies are too uncertain to be compared."""


def findings(record: Record) -> list[str]:
    """Return what was found, a sentence or two each.

    Args:
        record: A result whose scalar fields are those of a :class:`~weightscape.stitching.result.StitchResult`.
    """
    metrics, settings = record.metrics, record.settings
    return [_accuracy(metrics, settings), _training(metrics, settings), _overlap(metrics), _likeness(metrics)]


def _accuracy(metrics: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    relative = metrics["relative_accuracy"]
    whole = "" if relative is None else f"; relative to the back network that is {_percent(relative)}"
    above = metrics.get("above_chance")
    if above is not None:
        whole += f", and {_percent(above)} of what it is above guessing"
    front = metrics["front_accuracy"]
    first = "" if front is None else f", the front network alone {_percent(front)}"
    return (
        f"The front network up to {settings['front_layer']} and the back network from {_entry(settings)} on, joined by "
        f"{_form(metrics, settings)}, classify {_percent(metrics['accuracy'])} (standard error "
        f"{_percent(metrics['accuracy_stderr'])}) of {metrics['count']:,} test images of {settings['data']['name']} "
        f"correctly{whole}. The back network alone has {_percent(metrics['back_accuracy'])}{first}."
    )


def _form(metrics: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    numbers = f"{metrics['parameters']:,} numbers"
    if metrics["form"] == "flat":
        return f"an affine map of whole activations ({numbers})"
    if metrics["form"] == "low-rank":
        return f"an affine map of rank {settings['rank']} of the channels ({numbers})"
    masked = "" if settings["mask"] == "identity" else f", masked by {settings['mask']}"
    return f"an affine map of the channels ({numbers}{masked})"


def _training(metrics: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    begin = f"The stitch began at {settings['init']} with an accuracy of {_percent(metrics['initial_accuracy'])}"
    if not metrics["iterations_taken"]:
        return f"{begin}; it was not trained."
    extra = "".join(
        f", {name} {settings[name]:g}" for name in ("temperature", "l1", "cka_reg") if settings[name] not in {0.0, 1.0}
    )
    return (
        f"{begin}. Training on the target {settings['target']}{extra} for {metrics['iterations_taken']:,} steps took "
        f"the cross-entropy to the outputs of the back network from {metrics['initial_cross_entropy']:.3g} to "
        f"{metrics['cross_entropy']:.3g} nats, the Kullback-Leibler divergence from {metrics['initial_kl']:.3g} to "
        f"{metrics['kl']:.3g}, and the share of answers that are the back network's from "
        f"{_percent(metrics['initial_agreement'])} to {_percent(metrics['agreement'])}."
    )


def _overlap(metrics: Mapping[str, Any]) -> str:
    total = sum(metrics[name] for name in ("both_right", "only_stitched_right", "only_back_right", "both_wrong"))
    return (
        f"Of {total:,} answers, {metrics['both_right']:,} are right in both the stitched and the back network, "
        f"{metrics['only_stitched_right']:,} in the stitched one alone, {metrics['only_back_right']:,} in the back "
        f"network alone, and {metrics['both_wrong']:,} in neither."
    )


def _likeness(metrics: Mapping[str, Any]) -> str:
    cka = metrics["cka"]
    if cka is None:
        return "The output of the stitch and the back network's activation cannot be compared on these images."
    moved = "" if metrics["initial_cka"] is None else f" ({metrics['initial_cka']:.4f} before training)"
    without = metrics["cka_unstitched"]
    bare = "" if without is None else f"; that of the front's activation without a stitch is {without:.4f}"
    share = metrics["r2"]
    explained = "" if share is None else f" The stitch explains {_percent(share)} of the variance of its channels."
    return (
        f"On {metrics['probe_images']:,} probe images, the linear CKA of the stitch's output with the back network's "
        f"own activation is {cka:.4f}{moved}{bare}.{explained}"
    )


def cautions(record: Record) -> list[str]:
    """Return what must not be read into these numbers."""
    metrics: Mapping[str, Any] = record.metrics
    settings = record.settings
    found = []
    if metrics["count"] < _FEW:
        found.append(f"Only {metrics['count']} images were scored on: look at the standard error of the accuracy.")
    if _entry(settings) != settings["front_layer"]:
        found.append(
            "The two layers are different ones. A stitch trained on the task loss can join distant layers without "
            "their representations being alike (arXiv 2412.11299)."
        )
    if settings.get("resize", "refuse") != "refuse":
        found.append(f"The maps are of different size; they were joined with resize: {settings['resize']}.")
    if metrics["lossy_images"]:
        found.append(
            f"The images of {settings['data']['name']} are a JPEG copy; networks trained on the original lose accuracy "
            "on them."
        )
    return found


def _entry(settings: Mapping[str, Any]) -> str:
    return str(settings["back_layer"] or settings["front_layer"])


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


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
    return f"{front} ({record.settings['front_layer']}) to {back} ({_entry(record.settings)})"


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
