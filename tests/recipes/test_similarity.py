"""The bundled studies of similarity: the small one runs from end to end, the others plan on files of their networks."""

from __future__ import annotations

from pathlib import Path

import pandas
import pytest
from tests.recipes.command import weightscape


@pytest.mark.slow
def test_the_small_study_runs_from_end_to_end_with_every_figure(tmp_path: Path) -> None:
    weightscape("run", "digits-similarity", workspace=tmp_path)
    folder = tmp_path / "studies" / "digits-similarity"
    drawn = {file.stem for file in (folder / "figures").glob("*.csv")}
    assert drawn == {"mlp", "cnn", "mlp-depth", "cnn-depth"}
    assert all((folder / "figures" / f"{name}.{kind}").stat().st_size for name in drawn for kind in ("png", "pdf"))

    layers = pandas.read_parquet(folder / "compared.layers.parquet")
    debiased = layers.loc[layers["measure"] == "linear-cka-debiased"]
    assert debiased["value"].notna().all()
    assert debiased["null"].abs().max() < 0.02
    own = debiased.loc[debiased["source_layer"] == debiased["target_layer"], "value"]
    assert own.min() > 0.3
    # the biased estimator scores unrelated layers above 0
    assert layers.loc[layers["measure"] == "linear-cka", "null"].min() > debiased["null"].max()

    drawn_values = pandas.read_csv(folder / "figures" / "mlp.csv")
    assert set(drawn_values["n"]) == {6}
    assert set(drawn_values["networks"]) == {4}
    cell = drawn_values.loc[(drawn_values["source_layer"] == "relu1") & (drawn_values["target_layer"] == "relu3")]
    rows = layers.loc[(layers["source_layer"] == "relu1") & (layers["target_layer"] == "relu3")]
    expected = rows.groupby("measure")["value"].mean()
    assert cell.set_index("quantity")["y"].to_dict() == pytest.approx(expected.to_dict())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "folder", "pairs"), [("tiny10", "tiny10_cifar10", 6), ("resnet20", "resnet20_w1_cifar10", 1)]
)
def test_studies_of_published_networks_plan_on_their_files(
    name: str, folder: str, pairs: int, shared_data: Path, tmp_path: Path
) -> None:
    files = shared_data / "reference" / folder
    if not files.is_dir():
        pytest.skip(f"{files} is not there")
    arguments = ("plan", f"similarity/{name}", "--set", f"published.files={files}")
    planned = weightscape(*arguments, workspace=tmp_path, data=shared_data)
    row = next(line for line in planned.splitlines() if line.startswith("compared"))
    assert int(row.split()[2]) == pairs
