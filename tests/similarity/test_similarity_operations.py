"""Representations and comparisons as stages of a study."""

from __future__ import annotations

from typing import Any

import pytest

from weightscape.errors import SpecificationError
from weightscape.studies.document import read_text
from weightscape.studies.plan import Plan
from weightscape.studies.planning import plan_study
from weightscape.studies.specification import validate_study

STAGES = """
  trained: {run: train, with: {data: digits, model: {name: mlp, hidden: [8]}}, grid: {seed: [0, 1, 2]}}
  represented: {run: represent, from: trained@last}
"""
COMPARED = """
  compared:
    run: compare
    from: {source: represented, target: represented}
    where: source.seed < target.seed
"""


def planned(stages: str) -> Plan:
    return plan_study(validate_study(read_text(f"study: t\nstages:{stages}")))


def first(stages: str, stage: str) -> Any:
    return planned(stages).stages[stage].rows[0]


def test_what_is_stored_stands_for_its_network_by_seed_and_needs_neither_model_nor_data() -> None:
    plan = planned(STAGES + COMPARED)
    pairs = [(row.settings["source"]["seed"], row.settings["target"]["seed"]) for row in plan.stages["compared"].rows]
    assert pairs == [(0, 1), (0, 2), (1, 2)]
    settings = plan.stages["compared"].rows[0].settings
    assert (settings["source_model"], settings["target_model"], settings["data"]) == (None, None, None)
    assert settings["source"]["weights"]["model"]["name"] == "mlp"


def test_networks_are_compared_with_their_own_architectures_and_data() -> None:
    direct = STAGES + COMPARED.replace("represented", "trained@last")
    settings = first(direct, "compared").settings
    assert settings["source_model"]["hidden"] == [8]
    assert settings["data"]["name"] == "digits"


def test_measures_may_be_written_in_short_and_have_the_same_key() -> None:
    forms = ("linear-cka", "[linear-cka]", "[{name: linear-cka}]", "{name: linear-cka}")
    keys = {first(f"{STAGES}{COMPARED}    with: {{measures: {form}}}\n", "compared").key for form in forms}
    assert len(keys) == 1
    layers = ("'relu1, linear1'", "[relu1, linear1]")
    keys = {first(f"{STAGES}{COMPARED}    with: {{layers: {form}}}\n", "compared").key for form in layers}
    assert len(keys) == 1


def test_an_unknown_measure_is_an_error_of_planning() -> None:
    with pytest.raises(SpecificationError, match="Did you mean 'linear-cka'"):
        planned(f"{STAGES}{COMPARED}    with: {{measures: [linear-ckaa]}}\n")


def test_the_source_of_a_measure_of_ones_own_is_part_of_the_key(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "from weightscape.similarity.measure import measure\n\n{}def alike(first, second):\n    return {}\n"
    monkeypatch.syspath_prepend(str(tmp_path))
    keys = set()
    for place, value in enumerate((0.5, 0.25)):
        (tmp_path / "measure_in_two_versions.py").write_text(text.format("", value) + f"# {place}\n")
        keys.add(first(f"{STAGES}{COMPARED}    with: {{measures: measure_in_two_versions.alike}}\n", "compared").key)
    assert len(keys) == 2
