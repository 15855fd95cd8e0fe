"""The bundled studies of stitching: the small one runs from end to end, the others plan on files of their networks."""

from __future__ import annotations

from pathlib import Path

import pandas
import pytest
from tests.recipes.command import weightscape

from weightscape.recipes import recipe_names

FIGURES = {
    "matching",
    "similarity",
    "budget",
    "training",
    "rank",
    "sparsity",
    "interpolation",
    "masks",
    "width",
    "sanity",
}
# Rows of the largest stage: pairs times layers times what else differs.
STITCHES = {
    "tiny10-matching": 12 * 8,
    "tiny10-training": 4 * 4,
    "tiny10-rank": 4 * 6 * 4,
    "tiny10-sparsity": 4 * 6 * 5,
    "tiny10-interpolation": 4 * 6 * 3,
    "tiny10-semi-match": 4 * 6 * 3,
    "tiny10-sanity": 2 * 8 * 8,
    "resnet20-matching": 2 * 10,
    "resnet20-width": 5 * 6 * 10,
}
NETWORKS = {"tiny10": "tiny10_cifar10", "resnet20": "resnet20_w1_cifar10"}


@pytest.mark.slow
def test_the_small_study_runs_from_end_to_end_with_every_figure(tmp_path: Path) -> None:
    weightscape("run", "digits-stitching", workspace=tmp_path)
    folder = tmp_path / "studies" / "digits-stitching"
    drawn = {file.stem for file in (folder / "figures").glob("*.csv")}
    assert drawn == FIGURES
    assert all((folder / "figures" / f"{name}.{kind}").stat().st_size for name in drawn for kind in ("png", "pdf"))

    stitched = pandas.read_parquet(folder / "stitched.parquet")
    matching = pandas.read_csv(folder / "figures" / "matching.csv")
    wide = stitched.loc[(stitched["front.model.channels"] == 8) & (stitched["front_layer"] == "conv1")]
    curve = matching.loc[(matching["kind"] == "mean") & (matching["series"] == "task loss")]
    curve = curve.loc[(curve["layer"] == "conv1") & curve["quantity"].str.startswith("accuracy")]
    assert curve["y"].item() == pytest.approx(wide["relative_accuracy"].mean())
    assert (curve["pairs"].item(), curve["networks"].item()) == (3, 3)

    budget = pandas.read_csv(folder / "figures" / "budget.csv")
    means = budget.loc[(budget["kind"] == "mean") & budget["quantity"].str.startswith("accuracy")]
    reached = means.loc[means["series"] == "reached with task loss"].set_index("layer")["y"]
    steps = means.loc[~means["series"].str.startswith("reached")].groupby("layer")["y"].sum()
    assert steps.to_dict() == pytest.approx(reached.to_dict())

    sanity = pandas.read_parquet(folder / "sanity.parquet")
    itself = sanity.loc[(sanity["back.seed"] == 0) & (sanity["front_layer"] == sanity["back_layer"])]
    assert itself["initial_relative_accuracy"].to_list() == pytest.approx([1.0] * 3)


def test_every_study_of_stitching_is_tested() -> None:
    assert {name.removeprefix("stitching/") for name in recipe_names("^stitching/")} == set(STITCHES)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(STITCHES))
def test_a_study_of_published_networks_plans(name: str, shared_data: Path, tmp_path: Path) -> None:
    files = shared_data / "reference" / NETWORKS[name.partition("-")[0]]
    located = [] if name == "resnet20-width" else ["--set", f"published.files={files}"]
    said = weightscape("plan", f"stitching/{name}", *located, workspace=tmp_path, data=shared_data)
    largest = max(
        int(line.split()[2]) for line in said.splitlines() if line.split()[1:2] == ["stitch"] or _is_line(line)
    )
    assert largest == STITCHES[name]


def _is_line(line: str) -> bool:
    return line.split()[1:2] == ["interpolate-stitches"]
