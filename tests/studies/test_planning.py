"""The study language: rows, joins, inheritance, collected mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.studies import toy
from weightscape.errors import SpecificationError
from weightscape.studies.document import read_text
from weightscape.studies.plan import Plan
from weightscape.studies.planning import plan_study
from weightscape.studies.specification import apply_overrides, load_study, validate_study


def planned(stages: str, *, overrides: tuple[str, ...] = (), figures: str = "{}", root: Path | None = None) -> Plan:
    document = read_text(f"study: t\nstages:\n{stages}\nfigures: {figures}")
    apply_overrides(document, overrides)
    return plan_study(validate_study(document), data_root=root)


def mistakes(stages: str, **options: object) -> str:
    with pytest.raises(SpecificationError) as caught:
        planned(stages, **options)  # type: ignore[arg-type]
    return str(caught.value)


MADE = "  made: {run: toy-make, with: {size: 4}, grid: {seed: [0, 1, 2]}}\n"


def test_a_grid_makes_one_row_for_each_combination_the_last_axis_fastest() -> None:
    plan = planned("  made: {run: toy-make, grid: {size: [1, 2], recipe.epochs: [3, 4]}}")
    rows = [(row.settings["size"], row.settings["recipe"]["epochs"]) for row in plan.stages["made"].rows]
    assert rows == [(1, 3), (1, 4), (2, 3), (2, 4)]


def test_a_dotted_grid_axis_keeps_the_other_options_of_the_nested_setting() -> None:
    plan = planned(
        "  made: {run: toy-make, with: {size: 1, recipe: {epochs: 7, pace: slow}}, grid: {recipe.pace.delay: [1, 2]}}"
    )
    assert [row.settings["recipe"] for row in plan.stages["made"].rows] == [
        {"epochs": 7, "pace": {"name": "slow", "delay": delay}} for delay in (1, 2)
    ]


def test_where_joins_the_rows_of_the_inputs_in_the_order_of_the_rows() -> None:
    plan = planned(
        MADE
        + "  joined: {run: toy-join, from: {source: made.lines, target: made.lines}, where: source.seed < target.seed}"
    )
    pairs = [(row.settings["source"]["seed"], row.settings["target"]["seed"]) for row in plan.stages["joined"].rows]
    assert pairs == [(0, 1), (0, 2), (1, 2)]


def test_without_where_inputs_are_combined_in_all_ways() -> None:
    plan = planned(MADE + "  joined: {run: toy-join, from: {source: made.lines, target: made.lines}}")
    assert len(plan.stages["joined"].rows) == 9


def test_a_where_sees_the_settings_of_the_inputs_of_the_inputs() -> None:
    plan = planned(
        MADE
        + "  first: {run: toy-again, from: made.lines, grid: {factor: [1, 2]}}\n"
        + "  second: {run: toy-once, from: first, where: 'lines.lines.seed = 2 and lines.factor = 1'}"
    )
    (row,) = plan.stages["second"].rows
    assert row.settings["lines"]["lines"]["seed"] == 2


def test_a_required_option_is_inherited_when_the_inputs_agree() -> None:
    plan = planned(MADE + "  joined: {run: toy-join, from: {source: made.lines, target: made.lines}}")
    assert {row.settings["size"] for row in plan.stages["joined"].rows} == {4}


def test_a_required_option_about_which_the_inputs_disagree_is_a_mistake() -> None:
    text = mistakes(
        "  made: {run: toy-make, grid: {size: [1, 2]}}\n"
        "  joined: {run: toy-join, from: {source: made.lines, target: made.lines}}"
    )
    assert "inputs that agree about 'size'" in text


def test_an_option_with_a_default_is_not_inherited() -> None:
    plan = planned(
        "  made: {run: toy-make, with: {size: 1}}\n"
        "  first: {run: toy-again, from: made.lines, with: {factor: 5}}\n  second: {run: toy-again, from: first}"
    )
    assert plan.stages["second"].rows[0].settings["factor"] == 1


def test_a_list_in_from_is_a_union_with_a_column_stage() -> None:
    plan = planned(
        MADE + "  more: {run: toy-make, with: {size: 4, seed: 9}}\n"
        "  once: {run: toy-once, from: [made.lines, more.lines], where: \"lines.stage = 'more' or lines.seed = 0\"}"
    )
    rows = [(row.settings["lines"]["stage"], row.settings["lines"]["seed"]) for row in plan.stages["once"].rows]
    assert rows == [("made", 0), ("more", 9)]


def test_a_reference_can_choose_rows() -> None:
    plan = planned(MADE + "  once: {run: toy-once, from: 'made.lines?seed >= 1'}")
    assert [row.settings["lines"]["seed"] for row in plan.stages["once"].rows] == [1, 2]


def test_equal_tasks_of_different_stages_are_one_task() -> None:
    plan = planned(MADE + "  same: {run: toy-make, with: {size: 4, seed: 1, recipe: {epochs: 10, pace: {name: fast}}}}")
    assert len(plan.tasks) == 3
    assert plan.stages["same"].rows[0].key == plan.stages["made"].rows[1].key


def test_adding_an_axis_value_keeps_the_keys_of_the_rows_that_were_there() -> None:
    before = [row.key for row in planned(MADE).stages["made"].rows]
    after = [row.key for row in planned(MADE.replace("[0, 1, 2]", "[5, 2, 1, 0]")).stages["made"].rows]
    assert set(before) < set(after)


def test_a_population_takes_the_rows_of_each_group_in_order() -> None:
    plan = planned(
        "  made: {run: toy-snapshots, grid: {seed: [0, 1, 2], size: [3, 4]}}\n"
        "  pooled: {run: toy-pool, from: made, group: [size]}"
    )
    assert [len(list(task.upstream())) for task in plan.tasks.values() if task.operation.name == "toy-pool"] == [3, 3]
    assert [row.settings["members"]["size"] for row in plan.stages["pooled"].rows] == [3, 4]
    assert all(row.settings["members"]["members"] == 3 for row in plan.stages["pooled"].rows)


def test_one_more_member_changes_the_key_of_its_own_group_alone() -> None:
    stages = (
        "  made: {run: toy-snapshots, grid: {seed: [0, 1], size: [3, 4]}}\n"
        "  pooled: {run: toy-pool, from: '%s', group: [size]}"
    )
    few = planned(stages % "made?seed = 0 or size = 3").stages["pooled"].rows
    all_ = planned(stages % "made").stages["pooled"].rows
    assert few[0].key == all_[0].key
    assert few[1].key != all_[1].key


def test_an_optional_input_may_be_left_out_and_its_key_differs_when_given() -> None:
    plan = planned(
        "  made: {run: toy-make, with: {size: 1}}\n"
        "  plain: {run: toy-again, from: made.lines}\n"
        "  started: {run: toy-again, from: {lines: made.lines, start: made.other}}"
    )
    assert plan.stages["plain"].rows[0].key != plan.stages["started"].rows[0].key


def test_content_outside_the_study_is_part_of_the_key(tmp_path: Path) -> None:
    stages = "  made: {run: toy-make, with: {size: 1, text: {path: a.txt}}}"
    keys = []
    for content in ("one", "two", "one"):
        (tmp_path / "a.txt").write_text(content)
        keys.append(planned(stages, root=tmp_path).stages["made"].rows[0].key)
    assert keys[0] == keys[2] != keys[1]


def test_all_mistakes_are_collected_with_place_and_remedy() -> None:
    text = mistakes(
        "  made: {run: toy-make, with: {siz: 4, recipe: {epoch: 3, pace: {name: fats}}}, grid: {seed: [0, x]}}\n"
        "  guess: {run: toy-mak, with: {size: a}}\n"
        "  joined: {run: toy-join, from: {source: mad.lines, target: made.lines}}\n"
        "  once: {run: toy-once, from: {lines: made.lines}, with: {factr: 2}}",
        figures="{f: {draw: x, from: maed.lines}}",
    )
    for part in (
        "(stages.made.with.siz): expected a known option, received 'siz'. Did you mean 'size'?",
        "(stages.made.with.size): expected a value for 'size'",
        "(stages.made.with.recipe.epoch): expected a known option, received 'epoch'. Did you mean 'epochs'?",
        "(stages.made.with.recipe.pace): expected a 'name' out of 'fast', 'slow', received 'fats'. "
        "Did you mean 'fast'?",
        "(stages.made.grid.seed.1): expected a valid integer",
        "(stages.guess.run): expected the name of an operation, or the dotted path of one, received 'toy-mak'. "
        "Did you mean 'toy-make'?",
        "(stages.guess.with.size): expected a valid integer",
        "(stages.joined.from.source): expected the name of a stage, received 'mad'. Did you mean 'made'?",
        "(stages.once.with.factr): expected a known option, received 'factr'. Did you mean 'factor'?",
        "(figures.f.from): expected a stage of this study, received 'maed.lines'. Did you mean 'made'?",
    ):
        assert part in text
    assert "10 problems" in text


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        (MADE + "  b: {run: toy-once, from: made}", "Write one of: made.lines, made.other."),
        (MADE + "  b: {run: toy-once, from: made.value}", "an output of 'made', received 'value'"),
        (MADE + "  b: {run: toy-once, from: 'made.lines?sed = 1'}", 'column "sed" not found'),
        (MADE + "  b: {run: toy-once, from: 'made.lines?sed = 1'}", "(Did you mean 'seed'?)"),
        (MADE + "  b: {run: toy-once, from: made.lines, where: lines.width = 1}", 'column named "width" (Known: '),
        (MADE + "  b: {run: toy-once, from: made.lines, where: lines.seed = 7}", "a join with at least one row"),
        (MADE + "  b: {run: toy-once, from: made.lines, where: lines.seed}", "not true or false"),
        (MADE + "  b: {run: toy-once, from: made.lines, where: 'true) or (true'}", "syntax error"),
        (
            MADE + "  b: {run: toy-once, from: made.lines, where: 'Random () < 0.5'}",
            "random() differs from call to call",
        ),
        (MADE + "  b: {run: toy-once, from: {liens: made.lines}}", "Did you mean 'lines'?"),
        (MADE + "  b: {run: toy-join, from: made.lines}", "Write 'from: {parameter: reference}'."),
        (MADE + "  b: {run: toy-once, from: made.lines, group: [seed]}", "an operation that takes a population"),
        ("  a: {run: toy-once, from: b}\n  b: {run: toy-once, from: a}", "do not depend on themselves"),
        ("  a: {run: toy-make, with: {size: 1}, where: 'true'}", "Remove 'where'"),
        ("  a: {run: toy-make, with: {size: 1}, grid: {seed: []}}", "an empty list"),
        ("  a: {run: toy-once, from: nothing/here}", "a study of this workspace"),
        ("  a: {run: toy-pool, from: ./nothing.safetensors}", "No file has this path."),
        ("  a: {run: toy-pool, from: ./}", "It is a folder"),
        ("  a: {run: no.such.module}", "cannot be imported"),
        ("  a: {run: toy-make, wit: {size: 1}}", "Did you mean 'with'?"),
        ("  a: {run: toy-once, from: x y}", "a reference such as"),
    ],
)
def test_each_mistake_is_explained(stages: str, expected: str) -> None:
    assert expected in mistakes(stages)


def test_files_cannot_be_read_from_a_condition(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("x")
    condition = f"exists(select * from read_text('{tmp_path}/secret.txt'))"
    stages = MADE + f'  b: {{run: toy-once, from: made.lines, where: "{condition}"}}'
    assert "disabled by configuration" in mistakes(stages)


def test_set_replaces_options_and_grid_values_and_names_the_flag() -> None:
    plan = planned(MADE, overrides=("made.seed=[7]", "made.recipe.pace.rate=0.25", "made.size=2"))
    (row,) = plan.stages["made"].rows
    assert (row.settings["seed"], row.settings["size"]) == (7, 2)
    assert mistakes(MADE, overrides=("made.sise=1",)).count("--set made.sise=1 (stages.made.with.sise)") == 1
    assert "Did you mean 'made'?" in mistakes(MADE, overrides=("maed.size=1", "x"))


def test_a_study_extends_another_and_overrides_it(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(f"study: base\nstages:\n{MADE}  extra: {{run: toy-make, with: {{size: 1}}}}\n")
    child = tmp_path / "child.yaml"
    child.write_text(
        "extends: base.yaml\nstudy: child\nstages: {made: {with: {size: 9}, grid: {seed: [5]}}, extra: null}\n"
    )
    study = load_study(child)
    (row,) = plan_study(study).stages["made"].rows
    assert study.name == "child"
    assert (row.settings["size"], row.settings["seed"]) == (9, 5)
    assert list(study.settings.stages) == ["made"]
    child.write_text("extends: base.yaml\nstages: {made: {with: {sise: 9}}}\n")
    with pytest.raises(SpecificationError, match=r"child.yaml:2:30 \(stages.made.with.sise\)"):
        plan_study(load_study(child))


def test_a_study_cannot_extend_itself(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("extends: a.yaml\nstudy: a\n")
    with pytest.raises(SpecificationError, match="does not extend itself"):
        load_study(path)


def test_an_operation_can_be_named_by_its_dotted_path() -> None:
    plan = planned("  a: {run: tests.studies.toy.make, with: {size: 1}}")
    assert plan.stages["a"].rows[0].key == planned("  a: {run: toy-make, with: {size: 1}}").stages["a"].rows[0].key


def test_planning_computes_nothing() -> None:
    toy.CALLS.clear()
    planned(MADE)
    assert toy.CALLS == []


@pytest.mark.parametrize(
    ("keep", "step", "kept"),
    [
        ("ends", "3ep", "0ep, 9ep"),
        ("epochs", "10ep", "0ep, 1ep, 2ep"),
        ("[0ep, 5ep]", "9ep", "0ep, 5ep"),
    ],
)
def test_a_step_that_will_not_be_kept_is_a_mistake_before_anything_is_trained(keep: str, step: str, kept: str) -> None:
    found = mistakes(trained(keep, step))
    assert "(stages.tested.from): expected a step that is kept: " + kept in found
    assert f"received {step!r}. Add it to 'keep' of 'trained'" in found


@pytest.mark.parametrize(
    ("keep", "step"),
    [("ends", "9ep"), ("epochs", "09ep"), ("[0ep, 5ep]", "5ep"), ("[0ep, 40it]", "1ep"), ("ends", "40it")],
)
def test_a_step_that_is_kept_or_may_be_is_no_mistake(keep: str, step: str) -> None:
    assert len(planned(trained(keep, step)).tasks) == 2


def trained(keep: str, step: str) -> str:
    return (
        f"  trained: {{run: train, with: {{data: digits, model: mlp, recipe: {{epochs: 9}}, keep: {keep}}}}}\n"
        f"  tested: {{run: evaluate, from: 'trained@{step}'}}"
    )
