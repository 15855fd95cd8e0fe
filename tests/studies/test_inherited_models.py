"""Two networks, two options: what an operation inherits from each of its inputs, and what its own outputs are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import pytest

from weightscape.errors import Problem, SpecificationError
from weightscape.operation import operation
from weightscape.parameters import Inherited
from weightscape.results import Result
from weightscape.studies.document import read_text
from weightscape.studies.plan import Plan
from weightscape.studies.planning import plan_study
from weightscape.studies.specification import validate_study

if TYPE_CHECKING:
    from weightscape.weights.algebra import Weights


@dataclass(frozen=True)
class Net(Result):
    weights: Weights


@dataclass(frozen=True)
class Pair(Result):
    network: Weights
    numbers: Weights


@dataclass(frozen=True)
class Measured(Result):
    value: float


@operation("models-net", version=1)
def net(*, model: dict[str, Any], data: str = "digits", seed: int = 0) -> Net:
    """Make weights."""
    raise NotImplementedError


def _glued(settings: Any) -> dict[str, Any]:
    return {"name": "glued", "front": settings["front_model"], "back": settings["back_model"]}


@operation("models-glue", version=1, architectures={"network": _glued, "numbers": lambda settings: None})
def glue(
    front: Weights, back: Weights, *, front_model: dict[str, Any], back_model: dict[str, Any], data: str, rank: int = 0
) -> Pair:
    """Make one network of two."""
    raise NotImplementedError


@operation("models-measure", version=1)
def measure(weights: Weights, *, model: dict[str, Any], data: str) -> Measured:
    """Measure a network."""
    raise NotImplementedError


@operation("models-compare", version=1)
def compare(
    source: Weights,
    target: Weights,
    *,
    source_model: Annotated[dict[str, Any] | None, Inherited] = None,
    target_model: Annotated[dict[str, Any] | None, Inherited] = None,
    note: str | None = None,
) -> Measured:
    """Compare two networks, or numbers of them."""
    raise NotImplementedError


def _apart(settings: Any) -> list[Problem]:
    return [Problem("low", "at most 'high'", repr(settings.low))] if settings.low > settings.high else []


@operation("models-range", version=1, fits=_apart)
def between(*, low: int = 0, high: int = 1) -> Measured:
    """Take a range."""
    raise NotImplementedError


SMALL, LARGE = {"name": "small"}, {"name": "large"}
NETS = """
  small: {run: models-net, with: {model: {name: small}}, grid: {seed: [0, 1]}}
  large: {run: models-net, with: {model: {name: large}}}
"""
GLUED = NETS + "  glued: {run: models-glue, from: {front: 'small?seed = 0', back: large}}\n"
WHOLE = {"name": "glued", "front": SMALL, "back": LARGE}


def planned(stages: str) -> Plan:
    return plan_study(validate_study(read_text(f"study: t\nstages:\n{stages}")))


def row(stages: str, stage: str) -> Any:
    (found,) = planned(stages).stages[stage].rows
    return found.settings


def test_an_option_named_after_an_input_is_inherited_from_that_input_alone() -> None:
    settings = row(GLUED, "glued")
    assert settings["front_model"] == SMALL
    assert settings["back_model"] == LARGE
    assert settings["data"] == "digits"


def test_an_inherited_option_has_the_key_of_a_written_one() -> None:
    written = GLUED.replace("back: large}}", "back: large}, with: {front_model: {name: small}}}")
    first, second = (planned(text).stages["glued"].rows[0].key for text in (GLUED, written))
    assert first == second


def test_an_option_that_is_written_is_not_inherited() -> None:
    other = GLUED.replace("back: large}}", "back: large}, with: {front_model: {name: other}}}")
    assert row(other, "glued")["front_model"] == {"name": "other"}


def test_what_is_computed_on_an_output_inherits_the_architecture_that_the_output_has() -> None:
    assert row(GLUED + "  tested: {run: models-measure, from: glued.network}", "tested")["model"] == WHOLE


def test_an_output_of_no_network_offers_no_architecture() -> None:
    with pytest.raises(SpecificationError, match=r"stages\.tested\.with\.model"):
        planned(GLUED + "  tested: {run: models-measure, from: glued.numbers}")


def test_glued_networks_can_be_glued_again() -> None:
    again = GLUED + "  again: {run: models-glue, from: {front: glued.network, back: large}}\n"
    assert row(again, "again")["front_model"] == WHOLE


def test_an_optional_option_is_inherited_where_it_is_marked() -> None:
    stages = GLUED + "  compared: {run: models-compare, from: {source: glued.network, target: large}}"
    settings = row(stages, "compared")
    assert settings["source_model"] == WHOLE
    assert settings["target_model"] == LARGE
    assert settings["note"] is None


def test_an_optional_option_stays_as_it_is_where_no_input_supplies_it() -> None:
    stages = GLUED + "  compared: {run: models-compare, from: {source: glued.numbers, target: large}}"
    assert row(stages, "compared")["source_model"] is None


def test_a_where_sees_the_architecture_of_what_was_glued() -> None:
    found = "  tested: {run: models-measure, from: glued.network, where: weights.model.back.name = 'large'}"
    assert row(GLUED + found, "tested")["weights"]["model"] == WHOLE


def test_settings_that_do_not_go_together_are_found_when_planning_at_their_place() -> None:
    with pytest.raises(SpecificationError) as caught:
        planned("  a: {run: models-range, with: {high: 3}, grid: {low: [1, 5, 7]}}")
    assert [problem.received for problem in caught.value.problems] == ["5", "7"]
    assert [problem.where.rpartition(".")[2] for problem in caught.value.problems] == ["1)", "2)"]
