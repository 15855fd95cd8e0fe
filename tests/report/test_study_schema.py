"""The JSON Schema accepts every study that is right and refuses mistakes, also in short forms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
from tests.markdown_examples import find_examples
from tests.test_docs import PAGES

from weightscape.recipes import find_recipe, recipe_names
from weightscape.report.study_schema import study_schema
from weightscape.studies.document import read_file, read_text


@pytest.fixture(scope="module")
def validator() -> Any:
    """The schema, itself checked."""
    schema = study_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def mistakes(validator: Any, text: str) -> list[str]:
    return [error.message for error in validator.iter_errors(read_text(text).data)]


@pytest.mark.parametrize("name", recipe_names())
def test_bundled_studies_are_accepted(validator: Any, name: str) -> None:
    validator.validate(read_file(find_recipe(name)).data)


def documented() -> list[object]:
    """Return the studies that the documentation shows."""
    examples = (example for path in PAGES for example in find_examples(path.read_text(encoding="utf-8"), path.name))
    return [
        pytest.param(example.text, id=example.place)
        for example in examples
        if example.language == "yaml" and "study:" in example.text.partition("stages:")[0]
    ]


def stage(options: str) -> str:
    return f"study: a\nstages: {{one: {{{options}}}}}"


@pytest.mark.parametrize(
    "options",
    [
        "run: train, with: {data: digits, model: mlp, keep: ends}",
        "run: train, with: {data: {name: digits, validation: 0.2}, model: {name: mlp, hidden: [8]}, keep: [0ep, 5it]}",
        "run: train, with: {recipe: {optimizer: sgd, schedule: cosine}}",
        "run: train, with: {recipe: {optimizer: {lr: 1e-4}}}",
        "run: train, with: {recipe: {optimizer: {name: adam, betas: [0.5, 0.9]}}}",
        "run: train, with: {model: my_module.MyNetwork}",
        "run: train, with: {model: {name: my_module.MyNetwork, depth: 3}}",
        "run: train, grid: {seed: [0, 1], recipe.optimizer.lr: [0.1, 1], model.hidden: [[4], [8]], model.depth: [1]}",
        "run: transfer, from: {source: a, target: [b, c]}, where: source.seed < 3, with: {method: gmt, steps: null}",
        "run: evaluate, from: a@last, with: {split: test}",
        "run: my_module.operation, with: {anything: [1]}, from: {whatever: b}",
    ],
)
def test_short_forms_and_everything_planning_takes_are_accepted(validator: Any, options: str) -> None:
    assert mistakes(validator, stage(options)) == []


@pytest.mark.parametrize(
    "options",
    [
        "run: trian",
        "with: {data: digits}",
        "run: train, wiht: {}",
        "run: train, with: {modell: mlp}",
        "run: train, with: {model: mpl}",
        "run: train, with: {model: {name: mlp, hiden: [8]}}",
        "run: train, with: {recipe: {epochs: many}}",
        "run: train, with: {recipe: {epochs: true}}",
        "run: train, with: {recipe: {epochs: -1}}",
        "run: train, with: {recipe: {optimizer: sdg}}",
        "run: train, with: {recipe: {optimizer: {name: sgd, momentum: 2}}}",
        "run: train, with: {recipe: {optimizer: {betas: [0.5, 0.9]}}}",
        "run: train, with: {keep: always}",
        "run: train, with: {keep: [5 epochs]}",
        "run: train, grid: {seed: 3}",
        "run: train, grid: {seed: []}",
        "run: train, grid: {recipe.epoch: [3]}",
        "run: train, grid: {recipe.epochs: [three]}",
        "run: transfer, from: {sauce: a, target: b}",
        "run: transfer, with: {method: fgtm}",
        "run: evaluate, from: 3",
    ],
)
def test_mistakes_are_refused(validator: Any, options: str) -> None:
    assert mistakes(validator, stage(options))


@pytest.mark.parametrize(
    "text",
    [
        "stages: {one: {run: train}}",
        "study: a",
        "study: a b\nstages: {one: {run: train}}",
        "study: a\nstages: {}",
        "study: a\nstages: {one: {run: train}}\nfigure: {}",
        "study: a\nstages: {one: {run: train}}\nfigures: {f: {draw: learning-curv, from: one.epochs}}",
        "study: a\nstages: {one: {run: train}}\nfigures: {f: {draw: learning-curve}}",
        "study: a\nstages: {one: {run: train}}\nfigures: {f: {draw: learning-curve, from: a.epochs, with: {splt: 1}}}",
    ],
)
def test_mistakes_outside_stages_are_refused(validator: Any, text: str) -> None:
    assert mistakes(validator, text)


def test_a_study_that_extends_another_may_leave_out_and_remove(validator: Any) -> None:
    text = "study: a\nextends: digits-transfer\nstages: {trained: {with: {model: {hidden: [64]}}}, finetuned: null}"
    assert mistakes(validator, text) == []


def test_the_schema_needs_no_torch(tmp_path: Path) -> None:
    from tests.cli.test_help import loaded_by

    assert loaded_by("schema") & {"torch", "matplotlib", "pandas", "pyarrow", "duckdb"} == set()
