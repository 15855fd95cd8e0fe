"""Studies that are wrong in ways that no one intends: each is a listed mistake, never a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.studies import toy
from tests.studies.test_planning import MADE, mistakes, planned
from weightscape.errors import SpecificationError
from weightscape.studies import planning, relation
from weightscape.studies.document import read_text
from weightscape.studies.planning import plan_study
from weightscape.studies.reference import Reference
from weightscape.studies.specification import load_study, validate_study


@pytest.mark.parametrize(("first", "second"), [("self.yaml", "self.yaml"), ("a/one.yaml", "../b/two.yaml")])
def test_studies_that_extend_one_another_are_named(tmp_path: Path, first: str, second: str) -> None:
    for folder in "ab":
        (tmp_path / folder).mkdir()
    (tmp_path / first).write_text(f"study: x\nextends: {second}\n")
    (tmp_path / "b" / "two.yaml").write_text("study: x\nextends: ../a/one.yaml\n")
    with pytest.raises(SpecificationError, match=r"extends\): expected a study that does not extend itself"):
        load_study(tmp_path / first)


@pytest.mark.parametrize(
    "option",
    ["recipe: {pace: {name: fast, rate: .inf}}", "recipe: {pace: {name: fast, rate: .nan}}"],
)
def test_a_number_that_no_key_can_be_made_of_is_a_mistake(option: str) -> None:
    text = mistakes(f"  made: {{run: toy-make, with: {{size: 1, {option}}}}}")
    assert "(stages.made.with.recipe.pace.rate): expected a finite number" in text


def test_an_infinite_number_in_a_grid_has_the_place_of_that_value() -> None:
    text = mistakes(
        "  made: {run: toy-make, with: {size: 1, recipe: {pace: fast}}, grid: {recipe.pace.rate: [1, .inf]}}"
    )
    assert "(stages.made.grid.recipe.pace.rate.1)" in text


@pytest.mark.parametrize("name", ["decade", "facade", "étage", "a b", "../x"])
def test_a_stage_that_no_reference_could_name_is_refused(name: str) -> None:
    assert repr(name) in mistakes(f"  '{name}': {{run: toy-make, with: {{size: 1}}}}")


@pytest.mark.parametrize("reference", ["/", ".", "~nobody-of-this-name/x.pt", "./*.none", "made@", "made?"])
def test_references_to_what_is_not_there_are_mistakes(reference: str) -> None:
    assert "stages.pooled.from" in mistakes(f"{MADE}  pooled: {{run: toy-pool, from: '{reference}'}}")


def test_signs_of_references_and_patterns_may_stand_in_the_names_of_folders(tmp_path: Path) -> None:
    folder = tmp_path / "me@home [old]"
    folder.mkdir()
    (folder / "a.safetensors").write_bytes(b"")
    plan = planned(f"  pooled: {{run: toy-pool, from: '{folder}/a.safetensors'}}")
    (task,) = plan.tasks.values()
    assert [bound.path for bound in task.upstream()] == [str(folder / "a.safetensors")]
    assert Reference.parse("./me@home/a.pt@3ep").step == "3ep"
    assert Reference.parse("stitch.pkl").kind == "path"  # which says that it is a pickle, instead of naming stages


def test_a_number_too_large_for_a_table_can_still_be_joined_on() -> None:
    plan = planned(
        "  made: {run: toy-make, with: {size: 1}, grid: {seed: [1000000000000000000000000000000, 2]}}\n"
        "  once: {run: toy-once, from: made.lines, where: 'lines.size = 1'}"
    )
    assert len(plan.stages["once"].rows) == 2


@pytest.mark.parametrize(
    ("stages", "place"),
    [
        ("  made: {run: toy-make, with: {size: 1}, grid: {seed: [0, 1, 2], recipe.epochs: [1, 2]}}", "stages.made)"),
        (MADE + "  all: {run: toy-join, from: {source: made.lines, target: made.lines}}", "stages.all.where)"),
        (
            MADE + "  all: {run: toy-join, from: {source: made.lines, target: made.lines}, where: source.size > 0}",
            "stages.all.where)",
        ),
    ],
)
def test_more_rows_than_can_be_planned_are_a_mistake(monkeypatch: pytest.MonkeyPatch, stages: str, place: str) -> None:
    for module in (planning, relation):
        monkeypatch.setattr(module, "MOST_ROWS", 5)
    text = mistakes(stages)
    assert place in text
    assert "more than" in text or "at most 5 rows" in text


@pytest.mark.parametrize(
    ("table", "remedy"),
    [
        ("made.lines@3ep", "Remove '@3ep'"),
        ("made.lines?seeed = 1", "seeed"),
        ("made.lines?seed = 99", "None of 3 rows"),
    ],
)
def test_the_tables_of_figures_are_checked_before_anything_runs(table: str, remedy: str) -> None:
    toy.CALLS.clear()
    text = mistakes(MADE, figures=f"{{one: {{draw: learning-curve, from: '{table}'}}}}")
    assert "figures.one.from" in text
    assert remedy in text
    assert not toy.CALLS


@pytest.mark.parametrize("option", ["size: true", "size: 1, seed: false", "size: 1, recipe: {epochs: true}"])
def test_true_and_false_are_no_numbers(option: str) -> None:
    study = f"study: a\nstages: {{made: {{run: toy-make, with: {{{option}}}}}}}"
    with pytest.raises(SpecificationError, match="expected a number, not true or false, received"):
        plan_study(validate_study(read_text(study)))


def test_booleans_in_a_grid_are_no_numbers_and_booleans_stay_booleans() -> None:
    study = "study: a\nstages: {made: {run: toy-make, with: {size: 1, fail: true}, grid: {seed: [0, true]}}}"
    with pytest.raises(SpecificationError, match=r"grid.seed.1\): expected a number, not true or false") as error:
        plan_study(validate_study(read_text(study)))
    assert len(error.value.problems) == 1
