"""Verbs that read: tables, lists, networks, data sets."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import pandas
import pytest
from typer.testing import Result

from weightscape.data.catalogue import names
from weightscape.recipes import recipe_names
from weightscape.studies.workspace.record import sealed

Cli = Callable[..., Result]


@pytest.fixture
def ran(cli: Cli, study: str) -> Cli:
    """A command line on a workspace in which the study of toys was run."""
    assert cli("run", study, "--device", "cpu").exit_code == 0
    return cli


def test_csv_and_json_hold_the_whole_table(ran: Cli, tmp_path: Path) -> None:
    written = pandas.read_parquet(tmp_path / "runs/studies/toys/made.parquet")
    csv = pandas.read_csv(io.StringIO(ran("table", "toys", "made", "--csv").stdout))
    assert list(csv.columns) == list(written.columns)
    assert csv["test_accuracy"].tolist() == written["test_accuracy"].tolist()
    found = json.loads(ran("table", "toys", "made", "--json").stdout)
    assert [row["key"] for row in found] == written["key"].tolist()


def test_a_table_of_no_stage_names_the_stages_there_are(ran: Cli) -> None:
    done = ran("table", "toys")
    assert done.exit_code == 2
    assert "Its stages are 'made', 'joined'." in done.stderr


def test_a_failure_reads_the_same_when_it_happens_and_later(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text("study: odd\nstages: {made: {run: tests.cli.toys.complain}}\n")
    at_once = json.loads(cli("run", path, "--device", "cpu", "--json").stdout)["failures"]
    assert at_once[0]["message"] == "ModelError: one thing\n  and another"
    assert json.loads(cli("status", "odd", "--json").stdout)["failures"] == at_once


def test_the_only_stage_of_a_study_need_not_be_named(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "one.yaml"
    path.write_text("study: one\nstages: {made: {run: tests.cli.toys.make, with: {size: 2}, grid: {seed: [0, 1]}}}\n")
    assert cli("run", path, "--device", "cpu").exit_code == 0
    assert cli("table", "one", "--csv").stdout == cli("table", "one", "made", "--csv").stdout


def test_a_detail_table_has_the_settings_beside_each_line(ran: Cli) -> None:
    found = json.loads(ran("table", "toys", "made", "--detail", "steps", "--json").stdout)
    assert [(row["method"], row["seed"], row["step"]) for row in found] == [
        (method, seed, step) for method in "ab" for seed in (0, 1) for step in range(3)
    ]
    wrong = ran("table", "toys", "made", "--detail", "step")
    assert (wrong.exit_code, "Did you mean 'steps'?" in wrong.stderr) == (2, True)


def test_what_all_rows_share_is_said_once(ran: Cli) -> None:
    text = ran("table", "toys", "made").stdout
    head, *_, last = text.splitlines()
    assert head.split() == ["key", "method", "seed", "test_accuracy"] or set(head.split()) == {
        "key", "seed", "method", "test_accuracy",
    }  # fmt: skip
    assert "size = 3" in last
    assert "status = done" in last


def test_rows_from_different_machines_are_warned_of(ran: Cli, tmp_path: Path) -> None:
    assert ran("table", "toys", "made").stderr == ""
    made = [row["key"] for row in json.loads(ran("table", "toys", "made", "--json").stdout)]
    for key, threads in zip(made[1:], [1, 1, 64], strict=True):  # the first may have loaded no torch: no difference
        record = tmp_path / "runs/objects" / key[:2] / key / "object.json"
        content = json.loads(record.read_text())
        content["environment"]["threads"] = threads
        record.write_text(json.dumps(sealed(content)))
    warning = r"Rows were computed with different threads: 1 \([23] of made.*\); 64 \(1 of made\)\."
    assert re.search(warning, ran("table", "toys", "made").stderr)
    assert re.search(warning, ran("status", "toys").stderr)
    ran("report", "toys")
    assert "different threads" in (tmp_path / "runs/studies/toys/report.html").read_text()


def test_ls_searches_keys_operations_settings_and_studies(ran: Cli) -> None:
    everything = json.loads(ran("ls", "--json").stdout)
    assert len(everything) == 6
    assert len(json.loads(ran("ls", "toy-make", "--json").stdout)) == 4
    assert len(json.loads(ran("ls", "method=b .*|seed=1", "--json").stdout)) == 3
    assert len(json.loads(ran("ls", "toys/joined", "--json").stdout)) == 2
    assert len(json.loads(ran("ls", "seed=1 method=b", "--json").stdout)) == 1
    assert [row["key"] for row in json.loads(ran("ls", everything[0]["key"], "--json").stdout)] == [
        everything[0]["key"]
    ]
    assert "No result matches" in ran("ls", "nothing-like-this").stdout


def test_ls_prints_results_by_stage(ran: Cli) -> None:
    text = ran("ls").stdout
    assert "toys/made (cli-toy-make)" in text
    assert "toys/joined (cli-toy-join)" in text
    assert "seed=1 method=b" in text


def test_show_tells_everything_about_one_result(ran: Cli) -> None:
    key = json.loads(ran("table", "toys", "joined", "--json").stdout)[0]["key"]
    shown = ran("show", key[:10]).stdout
    for text in [key, "toys/joined", "weight", ".steps", "python", "total"]:
        assert text in shown


def test_recipes_are_numbered_and_any_of_three_names_opens_one(cli: Cli) -> None:
    found = json.loads(cli("recipes", "--json").stdout)
    assert [row["name"] for row in found] == list(recipe_names())
    number = next(row["number"] for row in found if row["name"] == "digits-transfer")
    plans = [json.loads(cli("plan", name, "--json").stdout) for name in (number, "digits-transfer")]
    assert plans[0] == plans[1]
    (only,) = json.loads(cli("recipes", "^digits-transfer$", "--json").stdout)
    assert only["number"] == number


def test_a_study_file_named_without_its_ending_is_suggested(cli: Cli, study: str) -> None:
    done = cli("plan", study.removesuffix(".yaml"))
    assert done.exit_code == 2
    assert f"Did you mean the file {study!r}?" in done.stderr


def test_layers_and_symmetry_take_names_settings_and_options(cli: Cli) -> None:
    by_settings = cli("layers", "{name: mlp, hidden: [7]}", "--data", "digits", "--json")
    by_option = cli("layers", "mlp", "--set", "hidden=[7]", "--shape", "1,8,8", "--classes", "10", "--json")
    assert json.loads(by_settings.stdout) == json.loads(by_option.stdout)
    assert json.loads(by_option.stdout)["parameters"] == 64 * 7 + 7 * 10
    found = json.loads(cli("symmetry", "mlp", "--set", "hidden=[7]", "--data", "digits", "--verify", "--json").stdout)
    assert [(group["group"], group["size"]) for group in found["groups"]] == [("linear1", 7)]
    assert found["groups"][0]["error"] < 1e-9


def test_compat_keeps_flattened_channels_fixed(cli: Cli) -> None:
    options = ["conv4", "--set", "width=0.1", "--data", "cifar10", "--json"]
    counts = [len(json.loads(cli("symmetry", *options, *extra).stdout)["groups"]) for extra in ([], ["--compat"])]
    assert counts == [6, 5]


def test_data_sets_are_listed_with_what_is_missing(cli: Cli) -> None:
    found = {row["name"]: row["present"] for row in json.loads(cli("data", "list", "--json").stdout)}
    assert set(found) == set(names())
    assert found["digits"]
    shown = json.loads(cli("data", "show", "mnist", "--json").stdout)
    assert any("train-images" in name for name in shown["looked_for"])
    assert "weightscape data prepare mnist" in cli("data", "show", "mnist").stdout


def test_missing_data_is_bad_input_and_names_the_files(cli: Cli) -> None:
    done = cli("train", "--model", "mlp", "--data", "cifar10")
    assert done.exit_code == 2
    assert "train" in done.stderr
    assert "--data" in done.stderr


def test_doctor_finds_nothing_wrong_here_and_a_workspace_that_cannot_be_written(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = json.loads(cli("doctor", "--json").stdout)
    states = {check["name"]: check["state"] for check in found["checks"]}
    assert {"python", "packages", "threads", "blas", "device", "workspace", "disk", "data"} <= set(states)
    assert states["workspace"] == "ok"
    (tmp_path / "file").touch()
    broken = cli("doctor", "--workspace", tmp_path / "file" / "runs")
    assert broken.exit_code == 1
    assert "problem  workspace" in broken.stdout


@pytest.mark.parametrize(
    "command",
    [["plan", "toys"], ["status", "toys"], ["figure", "toys"], ["report", "toys"], ["run", "toys"], ["ls"]],
)
def test_json_is_all_there_is_on_stdout(command: list[str], ran: Cli) -> None:
    json.loads(ran(*command, "--json").stdout)
