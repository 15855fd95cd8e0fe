from __future__ import annotations

import numpy
import pandas
import pytest

from weightscape.figures.drawing import draw


def lines(pairs: int) -> pandas.DataFrame:
    rows = [
        {
            "key": f"key{pair}",
            "source.seed": pair,
            "target.seed": pair + pairs,
            "path": path,
            "alpha": alpha,
            "loss": 0.5 + height * alpha * (1 - alpha) + 0.01 * pair,
            "loss_excess_stderr": 0.02,
            "accuracy": 0.9 - 0.1 * height * alpha * (1 - alpha),
            "error_excess_stderr": 0.01,
            "count": 1000,
        }
        for pair in range(pairs)
        for path, height in (("direct", 4.0), ("aligned", 1.0))
        for alpha in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    return pandas.DataFrame(rows)


def test_one_pair_has_the_standard_error_of_its_heights_as_band() -> None:
    drawn = draw("barrier", {"table": lines(1)})
    middle = drawn.numbers.loc[drawn.numbers["x"] == 0.5].set_index(["quantity", "series"])
    assert middle.loc[("loss", "direct"), "y"] == pytest.approx(1.5)
    assert middle.loc[("loss", "direct"), "sd"] == pytest.approx(0.02)
    assert middle.loc[("accuracy (%)", "aligned"), "y"] == pytest.approx(87.5)
    assert middle.loc[("accuracy (%)", "aligned"), "sd"] == pytest.approx(1.0)
    assert "One pair on 1,000 images" in drawn.figure.get_supxlabel()


def test_several_pairs_have_the_spread_over_pairs_and_say_how_many() -> None:
    drawn = draw("barrier", {"table": lines(3)})
    means = drawn.numbers.loc[(drawn.numbers["kind"] == "mean") & (drawn.numbers["quantity"] == "loss")]
    assert means["sd"].to_numpy() == pytest.approx(numpy.full(10, 0.01))
    assert "n = 3 pairs on 1,000 images" in drawn.figure.get_supxlabel()


def test_both_ends_are_marked_and_joined_by_the_line_that_heights_are_counted_from() -> None:
    axes = draw("barrier", {"table": lines(1)}).figure.axes[0]
    straight = [
        line for line in axes.get_lines() if list(line.get_xdata()) == [0.0, 1.0] and line.get_marker() == "None"
    ]
    marks = [line for line in axes.get_lines() if list(line.get_xdata()) == [0.0, 1.0] and line.get_marker() != "None"]
    assert len(straight) >= 2
    assert {tuple(line.get_ydata()) for line in marks} == {(0.5, 0.5)}
    assert [label.get_text() for label in axes.get_xticklabels()][::4] == ["first", "second"]


def test_a_pair_that_failed_is_named_as_missing() -> None:
    table = lines(2)
    rows = pandas.DataFrame([
        {"key": f"key{pair}", "source.seed": pair, "target.seed": pair + 2, "status": status}
        for pair, status in ((0, "done"), (1, "failed"))
    ])  # fmt: skip
    drawn = draw("barrier", {"table": table.loc[table["key"] == "key0"], "rows": rows})
    note = " ".join(drawn.figure.get_supxlabel().split())
    assert "Missing: before alignment (1 of 2 pairs drawn), after alignment (1 of 2 pairs drawn)" in note


def test_a_loss_without_classes_has_one_panel() -> None:
    table = lines(1).assign(accuracy=float("nan"))
    assert len(draw("barrier", {"table": table}).figure.axes) == 1


def test_a_title_does_not_cover_the_legend() -> None:
    figure = draw("barrier", {"table": lines(1)}, {"title": "two networks"}).figure
    assert figure.legends[0].get_title().get_text() == "two networks"
    assert figure.get_suptitle() == ""
