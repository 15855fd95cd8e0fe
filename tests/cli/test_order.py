"""The verbs that keep a workspace in order, as a user types them."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas
import pytest
from typer.testing import Result

from weightscape.cli.keeping_verbs import size_text

Cli = Callable[..., Result]


@pytest.fixture
def ran(cli: Cli, study: str) -> Cli:
    """A command line on a workspace in which the study of toys was run."""
    assert cli("run", study, "--device", "cpu", "--workers", "0").exit_code == 0
    return cli


def spoil(workspace: Path) -> str:
    """Damage a table; return the key of its result."""
    path = next(workspace.glob("objects/*/*/steps.parquet"))
    path.write_bytes(path.read_bytes()[:-1])
    return path.parent.name


def test_verify_names_the_damage_and_repair_lets_the_next_run_mend_it(ran: Cli, study: str, tmp_path: Path) -> None:
    assert "6 results" in ran("verify").stdout
    key = spoil(tmp_path / "runs")
    found = ran("verify")
    assert found.exit_code == 1
    assert f"{key[:8]}  toys/made  steps.parquet changed" in found.stdout
    assert "weightscape verify --repair" in found.stdout
    facts = json.loads(ran("verify", "--json").stdout)
    assert [(item["name"], item["removed"], item["studies"]) for item in facts["damages"]] == [
        (key, False, ["toys/made"])
    ]
    assert ran("verify", "toys/joined").exit_code == 0, "only what was asked for is read"
    repaired = ran("verify", "--repair")
    assert (repaired.exit_code, "Run the studies again" in repaired.stdout) == (0, True)
    assert json.loads(ran("run", study, "--workers", "0", "--json").stdout)["tasks"]["done"] == 1
    assert ran("verify").exit_code == 0


def test_a_damaged_table_of_a_finished_study_is_mended_by_the_next_run_with_a_warning(
    ran: Cli, study: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = ran("table", "toys", "made", "--detail", "steps", "--csv").stdout
    key = spoil(tmp_path / "runs")
    done = ran("run", study, "--workers", "0", "--json")
    assert (done.exit_code, json.loads(done.stdout)["tasks"]["done"]) == (0, 1)
    assert key in caplog.text
    assert ran("table", "toys", "made", "--detail", "steps", "--csv").stdout == before


def test_gc_says_what_would_go_and_removes_it_when_told_to(ran: Cli, study: str) -> None:
    ran("gc", "--yes")
    assert "There is nothing to remove" in ran("gc").stdout
    ran("run", study, "--workers", "0", "--set", "made.size=2")
    found = ran("gc")
    assert "No study reaches 6 results" in found.stdout
    assert "weightscape gc --yes" in found.stdout
    assert len(json.loads(ran("ls", "--json").stdout)) == 12
    assert "Removed 6 results" in ran("gc", "--yes").stdout
    assert len(json.loads(ran("ls", "--json").stdout)) == 6
    assert "nothing to remove" in ran("gc").stdout


def test_results_of_one_line_commands_are_no_garbage_unless_all_is_asked_for(ran: Cli) -> None:
    made = json.loads(ran("tests.cli.toys.make", "--size", "9", "--device", "cpu", "--workers", "0", "--json").stdout)
    found = ran("gc", "--yes")
    assert "1 result stays that a one-line command asked for" in found.stdout
    assert ran("show", made[0]["key"]).exit_code == 0
    assert "1 result" in ran("gc", "--all", "--yes").stdout
    assert ran("show", made[0]["key"]).exit_code == 2


def test_query_prints_or_writes_what_it_was_asked_for(ran: Cli, tmp_path: Path) -> None:
    sql = "select method, seed, test_accuracy from toys.made order by method, seed"
    assert ran("query", sql).stdout.splitlines()[1].split() == ["a", "0", "0.875"]
    rows = json.loads(ran("query", sql, "--json").stdout)
    assert [(row["method"], row["seed"]) for row in rows] == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]
    assert pandas.read_csv(io.StringIO(ran("query", sql, "--csv").stdout)).to_dict("records") == rows
    for ending, read in (("csv", pandas.read_csv), ("parquet", pandas.read_parquet), ("json", pandas.read_json)):
        assert ran("query", sql, "--output", tmp_path / f"out.{ending}").stdout == ""
        assert read(tmp_path / f"out.{ending}").to_dict("records") == rows
    wrong = ran("query", sql, "--output", tmp_path / "out.xls")
    assert (wrong.exit_code, ".parquet" in wrong.stderr) == (2, True)
    listed = ran("query").stdout
    assert "toys.made" in listed
    assert "source.* (6)" in listed
    assert "No rows" in ran("query", "select * from made where seed = 5").stdout


def test_columns_of_a_table_can_be_chosen(ran: Cli, tmp_path: Path) -> None:
    text = ran("table", "toys", "made", "--columns", "test_accuracy, seed", "--csv").stdout
    assert text.splitlines()[0] == "test_accuracy,seed"
    wrong = ran("table", "toys", "made", "--columns", "sed")
    assert (wrong.exit_code, "Did you mean 'seed'?" in wrong.stderr) == (2, True)


def test_a_setting_is_searched_for_as_a_whole(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "seeds.yaml"
    path.write_text("study: s\nstages: {a: {run: tests.cli.toys.make, with: {size: 7}, grid: {seed: [7, 77, 777]}}}")
    assert cli("run", path, "--device", "cpu", "--workers", "0").exit_code == 0
    assert len(json.loads(cli("ls", "seed=7", "--json").stdout)) == 1
    assert len(json.loads(cli("ls", "seed=7*$|seed=7", "--json").stdout)) == 3
    assert len(json.loads(cli("ls", "size=7 seed=77", "--json").stdout)) == 1
    assert len(json.loads(cli("ls", "rate=0.5", "--json").stdout)) == 3


def test_export_writes_an_index_and_overwrites_nothing(ran: Cli, tmp_path: Path) -> None:
    done = ran("export", "toys", "made", tmp_path / "out")
    assert (done.exit_code, "4 results" in done.stdout) == (0, True)
    assert (tmp_path / "out/made/seed=1,method=b/steps.parquet").is_file()
    again = ran("export", "toys", tmp_path / "out")
    assert (again.exit_code, "never overwritten" in again.stderr) == (2, True)


def test_a_study_of_the_workspace_remembers_where_its_code_is(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "its_own_code.py").write_text((Path(__file__).parent / "toys.py").read_text())
    (folder / "mine.yaml").write_text("study: mine\nstages: {made: {run: its_own_code.make, with: {size: 2}}}\n")
    assert cli("run", folder / "mine.yaml", "--device", "cpu", "--workers", "0").exit_code == 0
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if "project" not in path)}
    done = subprocess.run(
        [sys.executable, "-m", "weightscape.cli.main", "status", "mine", "--json"],
        capture_output=True, text=True, cwd=tmp_path, env=environment, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["tasks"]["cached"] == 1


def test_sizes_are_said_in_the_unit_that_fits() -> None:
    assert [size_text(count) for count in (0, 1023, 1024, 5 * 2**20)] == ["0 B", "1023 B", "1.0 KiB", "5.0 MiB"]
