"""The page of one stitch: findings in words, tables, figures, and the same as a PDF."""

from __future__ import annotations

import dataclasses
import re
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy
import pandas
import pytest

from weightscape.data.specification import DataSpec
from weightscape.figures.booklet import Block, booklet
from weightscape.figures.drawing import draw
from weightscape.figures.registry import FigureError
from weightscape.operation import operation
from weightscape.parameters import Positional
from weightscape.report import stitching
from weightscape.report.network_curves import curves_of
from weightscape.report.page import render
from weightscape.report.pages import teller_of, write_page
from weightscape.results import Result
from weightscape.stitching.result import StitchResult, as_table
from weightscape.studies.document import read_text
from weightscape.studies.executors.execution import run_plan
from weightscape.studies.planning import plan_study
from weightscape.studies.specification import validate_study
from weightscape.studies.workspace.record import Record
from weightscape.studies.workspace.store import Store

if TYPE_CHECKING:
    from weightscape.results import Table
    from weightscape.weights.algebra import Weights

NUMBERS: dict[str, Any] = {
    "accuracy": 0.7,
    "accuracy_stderr": 0.01,
    "loss": 0.9,
    "front_accuracy": 0.78,
    "back_accuracy": 0.8,
    "relative_accuracy": 0.875,
    "above_chance": 0.857,
    "cross_entropy": 0.11,
    "kl": 0.05,
    "agreement": 0.9,
    "both_right": 600,
    "only_stitched_right": 100,
    "only_back_right": 200,
    "both_wrong": 101,
    "count": 1001,
    "initial_accuracy": 0.31,
    "initial_cross_entropy": 0.25,
    "initial_kl": 0.2,
    "initial_agreement": 0.4,
    "cka": 0.95,
    "initial_cka": 0.96,
    "cka_unstitched": 0.931,
    "probe_images": 500,
    "form": "affine",
    "parameters": 12,
    "iterations_taken": 77,
    "lossy_images": True,
    "sparsity": 0.0,
    "depth": 3,
    "r2": 0.5,
}


def made(**changed: Any) -> StitchResult:
    numbers = {**NUMBERS, **changed}
    tables = {
        "epochs": [{"epoch": epoch, "lr": 1e-3, "target_loss": 1 / epoch, "penalty": 0.0} for epoch in (1, 2, 3)],
        "iterations": [],
        "thresholds": [{"threshold": 0.0, "sparsity": 0.0, "accuracy": 0.7}],
        "matrix": [
            {"stage": stage, "row": row, "column": column, "value": value + row - column}
            for stage, value in (("initial", 1.0), ("final", 1.5))
            for row in range(3)
            for column in range(4)
        ],
        "biases": [],
        "singular_values": [
            {"stage": stage, "index": index, "value": 3.0 - index} for stage in ("initial", "final") for index in (0, 1)
        ],
    }
    tables |= {name: rows for name, rows in changed.items() if name in tables}
    fields = {field.name: numbers.get(field.name) for field in dataclasses.fields(StitchResult)}
    return StitchResult(**{**fields, "network": {}, **{name: as_table(name, rows) for name, rows in tables.items()}})


@dataclasses.dataclass(frozen=True)
class _Net(Result):
    weights: Weights
    epochs: Table


@operation("report-net", version=1)
def net(*, model: str = "m", curve: bool = True) -> _Net:
    """Make a network with the course of its training."""
    import torch

    row = {"epoch": [1, 2], "train_loss": [2.0, 1.0], "test_loss": [2.0, 1.5], "test_accuracy": [0.5, 0.625]}
    return _Net({"w": torch.zeros(1)}, pandas.DataFrame(row if curve else {"epoch": [1]}))


@operation("report-stitch", version=1)
def stitch(
    front: Weights,
    back: Weights,
    *,
    front_layer: Annotated[str, Positional] = "bn1",
    back_layer: Annotated[str | None, Positional] = None,
    data: DataSpec,
    init: str = "ps_inv",
    mask: str = "identity",
    target: str = "soft_2",
    temperature: float = 1.0,
    l1: float = 0.0,
    cka_reg: float = 0.0,
    rank: int | None = None,
    changed: dict[str, Any] | None = None,
) -> StitchResult:
    """Pretend to train a stitch."""
    return dataclasses.replace(made(**(changed or {})), network={"w": front["w"]})


def record_of(tmp_path: Path, options: str = "") -> Record:
    text = f"""
study: t
stages:
  front: {{run: report-net}}
  back: {{run: report-net, with: {{curve: false}}}}
  stitched:
    run: report-stitch
    from: {{front: front.weights, back: back.weights}}
    with: {{data: digits, {options}}}
"""
    store, plan = Store(tmp_path), plan_study(validate_study(read_text(text)))
    assert not run_plan(plan, store).count("failed")
    record = store.get(plan.stages["stitched"].rows[0].key)
    assert record is not None
    return record


NAMES = {"front": "/nets/in0-gn0/110000.pt", "back": "/nets/in1-gn1/110000.pt"}


def test_the_findings_are_sentences_with_the_numbers(tmp_path: Path) -> None:
    text = " ".join(stitching.findings(record_of(tmp_path)))
    assert "classify 70.0 % (standard error 1.0 %) of 1,001 test images of digits" in text
    assert "relative to the back network that is 87.5 %" in text
    assert "from 0.25 to 0.11 nats" in text
    assert "600 are right in both" in text
    assert "0.9500 (0.9600 before training); that of the front's activation without a stitch is 0.9310" in text


def test_what_is_not_known_is_left_out_of_the_sentences(tmp_path: Path) -> None:
    gone = ["front_accuracy", "relative_accuracy", "above_chance", "cka", "r2"]
    record = record_of(tmp_path, f"changed: {{iterations_taken: 0, {', '.join(f'{name}: null' for name in gone)}}}")
    text = " ".join(stitching.findings(record))
    assert "None" not in text
    assert "was not trained" in text
    assert "cannot be compared" in text


def test_masks_penalties_and_a_stitch_far_from_the_activation_are_said_in_words(tmp_path: Path) -> None:
    record = record_of(tmp_path, "mask: semi-match, l1: 1.0, temperature: 2.0, changed: {r2: -4.5}")
    text = " ".join(stitching.findings(record))
    assert "entries outside the mask semi-match are kept at 0" in text
    assert "soft_2, temperature 2, l1 1 for" in text
    assert "The means of its channels would be closer to it" in text
    assert "-450" not in text


def test_a_jpeg_copy_few_images_and_distant_layers_are_warned_of(tmp_path: Path) -> None:
    warnings = " ".join(stitching.cautions(record_of(tmp_path, "back_layer: bn7, changed: {count: 9}")))
    assert "JPEG copy" in warnings
    assert "Only 9 images" in warnings
    assert "2412.11299" in warnings
    assert not stitching.cautions(record_of(tmp_path, "changed: {lossy_images: false}"))


def test_the_page_has_the_matrix_the_overlap_and_the_curves_of_networks_that_are_known(tmp_path: Path) -> None:
    record = record_of(tmp_path)
    report = stitching.report_of(record, NAMES)
    assert report.title == "in0-gn0/110000.pt (bn1) to in1-gn1/110000.pt (bn1)"
    assert [figure[0] for figure in report.figures] == [
        "the matrix",
        "training of the stitch",
        "training of the networks",
    ]
    overlap = report.tables["right and wrong answers"].set_index("stitched network")
    assert overlap.to_numpy().tolist() == [[600, 100], [200, 101]]
    assert record.key in render(report)
    curves = curves_of(record, NAMES)
    assert curves is not None
    assert curves["network"].unique().tolist() == ["front"]  # of the other one no losses are known


def test_a_flat_stitch_has_a_page_without_a_matrix(tmp_path: Path) -> None:
    record = record_of(tmp_path, "changed: {matrix: [], singular_values: [], epochs: [], form: flat}")
    report = stitching.report_of(record, NAMES)
    assert [figure[0] for figure in report.figures] == ["training of the networks"]


def test_the_log_beside_published_files_is_drawn(tmp_path: Path) -> None:
    record = record_of(tmp_path)
    (tmp_path / "training_log.csv").write_text("train_accuracy,train_loss,val_accuracy,val_loss\n.1,2,.3,1\n")
    inputs = {"front": ["file:00", "weights", None], "back": ["file:11", "weights", None]}
    record.content["inputs"] = inputs
    curves = curves_of(record, {"front": str(tmp_path / "110000.pt"), "back": "/nowhere/x.pt"})
    assert curves is not None
    assert curves[["network", "epoch", "test_accuracy"]].to_numpy().tolist() == [["front", 1, 0.3]]


@pytest.mark.slow
def test_page_and_pdf_are_written_once_and_byte_equal(tmp_path: Path) -> None:
    teller, record = teller_of("stitch"), record_of(tmp_path)
    assert teller is not None
    page, pdf = write_page(teller, record, tmp_path / "pages/stitch-1.html", names=NAMES)
    content = pdf.read_bytes()
    assert content.startswith(b"%PDF")
    before = pdf.stat().st_mtime_ns
    assert write_page(teller, record, page, names=NAMES) == [page, pdf]
    assert pdf.stat().st_mtime_ns == before
    pdf.unlink()
    write_page(teller, record, page, names=NAMES)
    assert pdf.read_bytes() == content


def test_long_text_goes_on_on_the_next_page() -> None:
    short, long = booklet([Block("text", "word")]), booklet([Block("mono", "\n".join(map(str, range(200))))])
    assert _pages(short) == 1
    assert _pages(long) == 3
    assert _pages(booklet([Block("text", "a $ and another $ are no formula")])) == 1


def _pages(content: bytes) -> int:
    streams = [content, *(_inflated(part) for part in re.findall(rb"stream\r?\n(.*?)endstream", content, re.DOTALL))]
    return max(int(count) for text in streams for count in re.findall(rb"/Count (\d+)", text))


def _inflated(part: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(part)
    except zlib.error:
        return b""


def test_the_map_shows_what_training_changed() -> None:
    result = made()
    drawn = draw("stitch-map", {"table": result.matrix, "singular_values": result.singular_values})
    numbers = drawn.to_frame()
    assert numpy.allclose(numbers.loc[numbers["panel"] == "difference", "value"], 0.5)
    begun = numbers.loc[(numbers["panel"] == "initial") & (numbers["row"] == 2) & (numbers["column"] == 0), "value"]
    assert begun.tolist() == [3.0]
    assert sum(axes.get_title() == "singular values" for axes in drawn.figure.axes) == 1


def test_figures_of_one_stitch_say_that_images_are_a_copy() -> None:
    result = made()
    for lossy in (True, False):
        for matrix in (result.matrix, result.matrix[:0]):
            one = dataclasses.replace(result, lossy_images=lossy, matrix=matrix)
            assert ("JPEG copy" in one.plot().get_supxlabel()) is lossy
    rows = pandas.DataFrame({"key": ["a"], "status": ["done"], "lossy_images": [True]})
    for name, table in (("stitch-map", result.matrix), ("stitch-course", result.epochs)):
        drawn = draw(name, {"table": table.assign(key="a"), "rows": rows})
        assert "JPEG copy" in drawn.figure.get_supxlabel()


def test_a_map_of_several_stitches_or_of_none_is_refused() -> None:
    table = made().matrix
    with pytest.raises(FigureError, match="Choose one"):
        draw("stitch-map", {"table": pandas.concat([table.assign(key="a"), table.assign(key="b")])})
    with pytest.raises(FigureError, match="flat stitches"):
        draw("stitch-map", {"table": table.head(0)})


def test_a_course_leaves_out_a_penalty_that_there_is_not() -> None:
    epochs = made().epochs
    drawn = draw("stitch-course", {"table": epochs}).to_frame()
    assert "penalty" not in set(drawn["quantity"])
    penalised = draw("stitch-course", {"table": epochs.assign(penalty=0.5)}).to_frame()
    assert "penalty" in set(penalised["quantity"])
    with pytest.raises(FigureError, match="not trained"):
        draw("stitch-course", {"table": epochs.head(0)})
