"""Results under names that people read."""

from __future__ import annotations

import json
from pathlib import Path

import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.studies.test_execution import planned
from weightscape.errors import StoreError
from weightscape.studies.executors.execution import run_plan
from weightscape.studies.exporting import export_study
from weightscape.studies.naming import folder_names
from weightscape.studies.tables import write_plan, write_study
from weightscape.studies.workspace.store import Store
from weightscape.weights.files import load_weights

STAGES = """
  made: {run: toy-make, with: {size: 3}, grid: {seed: [0, 1]}}
  grown: {run: toy-snapshots, with: {size: 2}, grid: {seed: [4]}}
  pooled: {run: toy-pool, from: grown}
"""
values = st.text(max_size=40) | st.integers() | st.floats(allow_nan=False) | st.none() | st.booleans()
settings = st.dictionaries(st.text(max_size=30), values | st.lists(values, max_size=3), max_size=4)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "runs")
    plan = planned(STAGES)
    write_study(plan, run_plan(plan, store).outcomes, store)
    return store


def test_folders_are_named_by_the_settings_that_differ(store: Store, tmp_path: Path) -> None:
    done = export_study(store, "t", tmp_path / "out")
    assert (done.results, done.missing) == (4, 0)
    files = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert files >= {
        "index.csv",
        "made/seed=0/lines.parquet",
        "made/seed=1/result.json",
    }
    index = pandas.read_csv(tmp_path / "out" / "index.csv")
    assert list(index["stage"]) == ["made", "made", "grown", "pooled"]
    for folder, key in zip(index["folder"], index["key"], strict=True):
        assert json.loads((tmp_path / "out" / folder / "result.json").read_text())["key"] == key
    assert list(index["value"][:2]) == [0.0, 1.0]


def test_weights_and_tables_are_those_of_the_workspace(store: Store, tmp_path: Path) -> None:
    export_study(store, "t", tmp_path / "out", stages=["pooled", "made"], tables="csv")
    assert not (tmp_path / "out" / "grown").exists()
    (weights,) = (tmp_path / "out" / "pooled").glob("*/weights.safetensors")
    assert load_weights(weights)["w"].tolist() == [4.0, 4.0]
    assert pandas.read_csv(tmp_path / "out/made/seed=1/lines.csv")["height"].tolist() == [1.0, 1.1, 1.2]


def test_links_take_no_space_and_copies_do_not_touch_the_workspace(store: Store, tmp_path: Path) -> None:
    export_study(store, "t", tmp_path / "linked", files="link")
    export_study(store, "t", tmp_path / "copied")
    names = "made/seed=0/lines.parquet"
    links = [(tmp_path / folder / names).stat().st_nlink for folder in ("linked", "copied")]
    assert links[0] > links[1]


def test_nothing_is_ever_overwritten_and_nothing_half_written(store: Store, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("precious")
    with pytest.raises(StoreError, match="is there already and is never overwritten"):
        export_study(store, "t", tmp_path / "out")
    record = next(store.records())
    (record.folder / next(iter(record.content["files"]))).write_bytes(b"")
    with pytest.raises(StoreError, match=r"is damaged .* verify --repair"):
        export_study(store, "t", tmp_path / "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "runs"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


def test_rows_that_are_not_computed_are_left_out_and_counted(store: Store, tmp_path: Path) -> None:
    write_plan(planned(STAGES.replace("seed: [0, 1]", "seed: [0, 1, 2]")), store)
    done = export_study(store, "t", tmp_path / "out", stages=["made"])
    assert (done.results, done.missing) == (2, 1)


@pytest.mark.parametrize(
    ("study", "stages", "message"),
    [("u", None, "There is no study 'u'"), ("t", ["mad"], "has no stage 'mad'; its stages are made")],
)
def test_unknown_names_are_answered_with_those_there_are(
    store: Store, tmp_path: Path, study: str, stages: list[str] | None, message: str
) -> None:
    with pytest.raises(StoreError, match=message):
        export_study(store, study, tmp_path / "out", stages=stages)


@given(st.lists(settings, min_size=1, max_size=6))
def test_names_are_safe_short_and_unique_whatever_the_settings(rows: list[dict[str, object]]) -> None:
    keys = [f"{number:032x}"[::-1] for number in range(len(rows))]
    names = folder_names(rows, keys)
    assert len({name.casefold() for name in names}) == len(rows)
    for name in names:
        assert 0 < len(name) <= 80
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.,=+-")
        assert name.strip(". ") == name
