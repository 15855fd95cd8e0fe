from __future__ import annotations

import csv
import io
import re
import subprocess
import sys
import zlib

import matplotlib
import pandas
import pytest
from matplotlib.figure import Figure

from weightscape.errors import SpecificationError
from weightscape.figures.drawing import draw, save
from weightscape.figures.registry import FigureError


def points_and_bars(table: pandas.DataFrame, *, label: str = "mine") -> Figure:
    figure = Figure()
    left, right = figure.subplots(1, 2)
    left.plot(table["a"], table["b"], label=label)
    right.bar(table["a"], table["b"], label="bars")
    return figure


def only_axes(table: pandas.DataFrame):
    return Figure().subplots().plot(table["a"], table["b"])[0].axes


def nothing(table: pandas.DataFrame) -> int:
    return len(table)


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(sys.modules, "my_figures", sys.modules[__name__])
    return "my_figures"


def contents(pdf: bytes) -> bytes:
    """The PDF with its compressed streams unpacked."""
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL)
    unpacked = []
    for stream in streams:
        try:
            unpacked.append(zlib.decompress(stream))
        except zlib.error:
            unpacked.append(stream)
    return pdf + b"\n".join(unpacked)


def test_equal_tables_give_equal_files(steps, epochs, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables, options = {"table": steps, "reference": epochs}, {"published": "mnist-mlp"}
    first = save(draw("transfer-curve", tables, options), tmp_path / "a", "five")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")  # another day
    again = save(draw("transfer-curve", {name: table.copy() for name, table in tables.items()}, options), tmp_path, "b")
    for name in ("pdf", "png", "csv"):
        assert getattr(first, name).read_bytes() == getattr(again, name).read_bytes()
    assert b"CreationDate" not in first.pdf.read_bytes()


def test_rows_in_another_order_give_the_same_pictures(steps) -> None:
    shuffled = steps.sample(frac=1, random_state=0)
    first, second = (draw("transfer-curve", {"table": table}) for table in (steps, shuffled))
    assert first.image("png") == second.image("png")


def test_the_pdf_has_truetype_fonts(steps) -> None:
    pdf = contents(draw("transfer-curve", {"table": steps}).image("pdf"))
    assert b"/Type0" in pdf
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf


def test_the_csv_is_read_back_exactly(steps) -> None:
    drawn = draw("transfer-curve", {"table": steps})
    read = list(csv.DictReader(io.StringIO(drawn.csv().decode())))
    assert [float(row["y"]) for row in read] == list(drawn.numbers["y"])
    assert list(read[0]) == list(drawn.numbers.columns)


def test_the_png_has_two_hundred_dots_per_inch_of_page_width(steps) -> None:
    png = draw("transfer-curve", {"table": steps}).image("png")
    assert int.from_bytes(png[16:20], "big") == 1100  # 5.5 inches


def test_vector_graphics_load_nothing(steps) -> None:
    svg = draw("transfer-curve", {"table": steps}).image("svg").decode()
    assert "<text" not in svg
    assert not re.findall(r'(?:href|src)="(?!#)', svg)


def test_drawing_leaves_the_users_settings_and_tables_alone(steps) -> None:
    before, table = dict(matplotlib.rcParams), steps.copy()
    with matplotlib.rc_context({"axes.labelpad": 40, "font.size": 30}):
        loud = draw("transfer-curve", {"table": steps}).image("png")
        assert matplotlib.rcParams["font.size"] == 30
    assert loud == draw("transfer-curve", {"table": steps}).image("png")
    assert dict(matplotlib.rcParams) == before
    pandas.testing.assert_frame_equal(steps, table)


def test_drawing_never_loads_pyplot() -> None:
    code = (
        "import sys, pandas; from weightscape.figures.drawing import draw; "
        "draw('learning-curve', {'table': pandas.DataFrame({'seed': [0], 'epoch': [1], 'train_loss': [1.0]})})"
        ".image('png'); print('matplotlib.pyplot' in sys.modules, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False False"


def test_a_figure_of_the_users_is_read_back_from_its_axes(own: str) -> None:
    table = pandas.DataFrame({"a": [1.0, 2.0], "b": [0.3, 0.1]})
    drawn = draw(f"{own}.points_and_bars", {"table": table}, {"label": "yours"})
    assert drawn.numbers.to_dict("list") == {
        "panel": [0, 0, 1, 1],
        "series": ["yours", "yours", "bars", "bars"],
        "kind": ["line", "line", "bars", "bars"],
        "x": [1.0, 2.0, 1.0, 2.0],
        "y": [0.3, 0.1, 0.3, 0.1],
    }
    assert draw(f"{own}.only_axes", {"table": table}).numbers["y"].tolist() == [0.3, 0.1]


def test_what_is_no_figure_is_refused(own: str) -> None:
    with pytest.raises(FigureError, match="must return a matplotlib Figure or Axes"):
        draw(f"{own}.nothing", {"table": pandas.DataFrame()})
    with pytest.raises(SpecificationError, match="Did you mean 'split'"):
        draw("transfer-curve", {"table": pandas.DataFrame()}, {"splitt": "test"})
