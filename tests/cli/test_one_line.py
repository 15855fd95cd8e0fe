"""Operations as commands: the same keys and the same store as in a study."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from typer.testing import Result

Cli = Callable[..., Result]
MAKE, JOIN = "tests.cli.toys.make", "tests.cli.toys.join"


def rows(done: Result) -> list[dict[str, object]]:
    """Return the rows that a command printed as JSON."""
    assert done.exit_code == 0, done.output
    found: list[dict[str, object]] = json.loads(done.stdout)
    return found


def test_the_key_is_that_of_the_same_task_in_a_study(cli: Cli, study: str) -> None:
    cli("run", study, "--device", "cpu")
    in_study = json.loads(cli("table", "toys", "made", "--json").stdout)
    (row,) = rows(cli(MAKE, "--size", "3", "--seed", "1", "--method", "b", "--json"))
    assert row["status"] == "cached"
    assert row["key"] == in_study[-1]["key"]
    assert row["metrics"] == {"test_accuracy": in_study[-1]["test_accuracy"]}


def test_nested_options_are_set_by_yaml_or_by_a_dotted_name(cli: Cli) -> None:
    (first,) = rows(cli(MAKE, "--size", 2, "--pace", "{rate: 0.25}", "--device", "cpu", "--json"))
    (second,) = rows(cli(MAKE, "--set", "size=2", "--set", "pace.rate=0.25", "--device", "cpu", "--json"))
    (third,) = rows(cli(MAKE, "--size", 2, "--pace", "{delay: 3}", "--set", "pace.rate=0.25", "--json"))
    (fourth,) = rows(cli(MAKE, "--size=2", "--pace.rate", 0.25, "--json"))
    (fifth,) = rows(cli(MAKE, "--size=2", "--pace.rate=0.25", "--json"))
    assert first["key"] == second["key"] == third["key"] == fourth["key"] == fifth["key"]
    assert {row["status"] for row in (second, third, fourth, fifth)} == {"cached"}
    assert first["settings"]["pace"] == {"rate": 0.25, "delay": 3}  # type: ignore[index]


def test_the_row_and_its_key_are_printed(cli: Cli) -> None:
    done = cli(MAKE, "--size", 3, "--device", "cpu")
    assert done.stdout.split()[:3] == ["test_accuracy", "0.875", "key"]
    shown = json.loads(cli("show", done.stdout.split()[3], "--json").stdout)
    assert shown["settings"]["size"] == 3


def test_a_reference_that_matches_several_rows_runs_all_combinations(cli: Cli, study: str) -> None:
    cli("run", study, "--device", "cpu")
    found = rows(cli(JOIN, "toys/made.steps", "toys/made.steps?seed = 0", "--device", "cpu", "--json"))
    assert len(found) == 4 * 2
    table = cli(JOIN, "toys/made.steps", "toys/made.steps?seed = 0")
    assert len(table.stdout.splitlines()) == 1 + 4 * 2 + 1
    some = cli(JOIN, "toys/made.steps", "toys/made.steps", "--where", "source.seed < target.seed", "--json")
    assert {(row["settings"]["source"]["seed"], row["settings"]["target"]["seed"]) for row in rows(some)} == {(0, 1)}  # type: ignore[index]


def test_a_prefix_of_a_key_is_a_reference(cli: Cli) -> None:
    (made,) = rows(cli(MAKE, "--size", 4, "--device", "cpu", "--json"))
    reference = f"{str(made['key'])[:8]}.steps"
    (joined,) = rows(cli(JOIN, reference, reference, "--weight", 2, "--device", "cpu", "--json"))
    assert joined["metrics"] == {"total": 6.0 + 2 * 6.0}


def test_mistakes_are_listed_under_the_flags_they_were_made_with(cli: Cli) -> None:
    done = cli(MAKE, "--seed", "x", "--method", "c", "--pace", "{rat: 1}", "--set", "pace.dely=3", "--set", "size")
    assert done.exit_code == 2
    for text in [
        "\n  --size\n",
        "\n  --seed\n",
        "\n  --method\n",
        "--pace (pace.rat)",
        "--set pace.dely=3",
        "--set size",
    ]:
        assert text in done.stderr, text
    assert "Did you mean 'delay'?" in done.stderr
    assert "stages." not in done.stderr


def test_a_missing_or_unfitting_input_is_named_by_its_parameter(cli: Cli) -> None:
    done = cli(JOIN, "nowhere/made", "ffffff")
    assert done.exit_code == 2
    assert "\n  SOURCE\n" in done.stderr
    assert "\n  TARGET\n" in done.stderr


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("toys/made?seed = 0@last", "Write 'toys/made@last?seed = 0'."),
        ("toys/made?seed = 0@3ep20it", "Write 'toys/made@3ep20it?seed = 0'."),
        ("a9f3", "'study/stage', six digits or more of a key, or a path of weights"),
    ],
)
def test_a_reference_of_a_wrong_form_is_answered_with_the_right_one(reference: str, expected: str, cli: Cli) -> None:
    done = cli("evaluate", reference)
    assert done.exit_code == 2
    assert expected in " ".join(done.stderr.split())


@pytest.mark.parametrize("command", [MAKE, "train", "run"])
def test_a_misspelt_option_is_answered_with_the_closest(command: str, cli: Cli) -> None:
    done = cli(command, "--devise", "cpu")
    assert done.exit_code == 2
    assert "--device" in done.stderr


def test_a_failing_operation_exits_with_3(cli: Cli) -> None:
    done = cli(MAKE, "--size", 1, "--fail-at", 0, "--device", "cpu")
    assert done.exit_code == 3
    assert "asked to fail at 0" in done.stderr
    assert done.stdout == ""


def test_null_can_be_given(cli: Cli) -> None:
    (default,) = rows(cli(MAKE, "--size", 3, "--device", "cpu", "--json"))
    (null,) = rows(cli(MAKE, "--size", 3, "--fail-at", "null", "--json"))
    assert default["key"] == null["key"]
