"""One SELECT over the tables of a workspace, and over nothing else."""

from __future__ import annotations

from pathlib import Path

import pandas
import pytest

from tests.studies.test_execution import planned
from weightscape.errors import SpecificationError
from weightscape.studies.executors.execution import run_plan
from weightscape.studies.query import answer, query, tables
from weightscape.studies.tables import write_study
from weightscape.studies.workspace.store import Store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A workspace with two studies, one of them with a hyphen in its name."""
    store = Store(tmp_path_factory.mktemp("query") / "runs")
    for name in ("t", "with-hyphen"):
        plan = planned(name=name)
        write_study(plan, run_plan(plan, store).outcomes, store)
    return store


def test_a_query_sees_what_the_tables_hold(store: Store) -> None:
    written = pandas.read_parquet(store.study_folder("t") / "made.lines.parquet")
    found = query(store, 'select seed, max(height) as top from t."made.lines" group by seed order by seed')
    assert found["top"].tolist() == written.groupby("seed")["height"].max().tolist()


def test_a_study_with_a_hyphen_goes_into_quotes_and_tables_can_be_joined(store: Store) -> None:
    sql = 'select count(*) as n from t.made a join "with-hyphen".made b using (key)'
    assert query(str(store.folder), sql)["n"].tolist() == [2]


def test_every_result_has_a_row_with_its_settings_metrics_and_surroundings(store: Store) -> None:
    found = query(store, 'select operation, seed, value, seconds, "environment.device" as device from results')
    assert sorted(found["operation"]) == ["toy-join", "toy-make", "toy-make"]
    assert (found["seconds"] > 0).all()
    assert set(found["device"]) == {"cpu"}


def test_the_tables_are_listed_as_a_query_must_write_them(store: Store) -> None:
    names = list(tables(store))
    assert {"results", "t.joined", 't."made.lines"', '"with-hyphen".made'} <= set(names)
    for name in names:
        assert query(store, f"select * from {name}").columns.tolist() == tables(store)[name]


def test_in_a_workspace_of_one_study_its_name_can_be_left_out(tmp_path: Path) -> None:
    store = Store(tmp_path)
    plan = planned(name="with-hyphen")
    write_study(plan, run_plan(plan, store).outcomes, store)
    assert query(store, "select count(*) as n from made")["n"].tolist() == [2]


def test_names_that_are_words_of_the_language_are_listed_in_quotes(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for name in ("all", "left"):
        plan = planned("  order: {run: toy-make, with: {size: 3}}", name=name)
        write_study(plan, run_plan(plan, store).outcomes, store)
    names = list(tables(store))
    assert {'"all"."order"', '"left"."order"'} <= set(names)
    assert all(not query(store, f"select * from {name}").empty for name in names)


def test_a_column_that_is_not_there_is_named_with_those_that_are(store: Store) -> None:
    with pytest.raises(SpecificationError, match=r'"sed" not found in FROM clause\. Candidate bindings: .*"seed"'):
        query(store, "select sed from t.made")


def test_integers_stay_integers(store: Store) -> None:
    found = answer(store, "select sum(seed) as total, sum(seed + 0.5) as half from t.made").to_pylist()
    assert found == [{"total": 1, "half": 2.0}]
    assert isinstance(found[0]["total"], int)


@pytest.mark.parametrize(
    "sql",
    [
        "select * from read_csv('{file}')",
        "select * from read_text('{file}')",
        "select * from read_blob('{file}')",
        "select * from read_parquet('{parquet}')",
        "select * from '{parquet}'",
        "select * from glob('{folder}/*')",
        "select * from parquet_metadata('{parquet}')",
        "select * from sniff_csv('{file}')",
        "select getenv('HOME')",
        "with a as (select * from read_csv('{file}')) select 1 from t.made, a",
        "select (select content from read_text('{file}'))",
        "select * from query('copy (select 1) to ''{folder}/out.csv''')",
        "select * from secret",
    ],
)
def test_nothing_but_the_tables_can_be_read(store: Store, tmp_path: Path, sql: str) -> None:
    secret = pandas.DataFrame({"word": ["sesame"]})
    (tmp_path / "secret.csv").write_text("sesame\n")
    secret.to_parquet(tmp_path / "secret.parquet")
    places = {"file": tmp_path / "secret.csv", "parquet": tmp_path / "secret.parquet", "folder": tmp_path}
    with pytest.raises(SpecificationError) as refused:
        query(store, sql.format(**places))
    assert "sesame" not in str(refused.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["secret.csv", "secret.parquet"]


@pytest.mark.parametrize(
    ("sql", "received"),
    [
        ("copy t.made to 'out.csv'", "COPY"),
        ("select '\udcff'", "\"select '\\udcff'\""),
        ("attach 'out.db'", "ATTACH"),
        ("pragma database_list", "PRAGMA"),
        ("install httpfs", "LOAD"),
        ("load httpfs", "LOAD"),
        ("set enable_external_access = true", "SET"),
        ("create table x as select 1", "CREATE"),
        ("export database 'out'", "EXPORT"),
        ("call pragma_version()", "CALL"),
        ("drop view t.made", "DROP"),
        ("select 1; select 2", "2 statements"),
        ("select 1; copy t.made to 'out.csv'", "2 statements"),
        ("", "none"),
        ("-- nothing", "none"),
        ("selec 1", "'selec 1'"),
        ("select (", "'select ('"),
    ],
)
def test_only_one_select_is_answered(store: Store, sql: str, received: str) -> None:
    with pytest.raises(SpecificationError) as refused:
        query(store, sql)
    assert f"expected one SELECT, received {received}" in str(refused.value)


def test_a_table_that_is_not_there_is_answered_with_those_that_are(store: Store) -> None:
    with pytest.raises(SpecificationError, match=r"Did you mean t.made\? The tables are "):
        query(store, "select * from t.mades")
    with pytest.raises(SpecificationError, match=r"nope"):
        query(store, "select nope from t.made")
