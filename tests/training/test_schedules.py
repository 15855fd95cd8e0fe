from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightscape.training.recipe import Adam, Recipe, Sgd
from weightscape.training.schedules import learning_rate


def _recipe(schedule: object, epochs: int = 60, lr: float = 0.05) -> Recipe:
    return Recipe.model_validate({"epochs": epochs, "optimizer": {"name": "sgd", "lr": lr}, "schedule": schedule})


def test_constant_is_the_learning_rate_of_the_optimizer() -> None:
    assert {learning_rate(_recipe("constant"), epoch) for epoch in range(60)} == {0.05}


def test_cosine_begins_at_the_full_rate_and_has_half_of_it_in_the_middle() -> None:
    assert learning_rate(_recipe("cosine"), 0) == 0.05
    assert learning_rate(_recipe("cosine"), 30) == pytest.approx(0.025)


@given(epochs=st.integers(1, 200), data=st.data())
def test_cosine_is_point_symmetric_and_decreases(epochs: int, data: st.DataObject) -> None:
    epoch = data.draw(st.integers(0, epochs))
    recipe = _recipe("cosine", epochs)
    assert learning_rate(recipe, epoch) + learning_rate(recipe, epochs - epoch) == pytest.approx(0.05)
    assert learning_rate(recipe, epoch + 1) < learning_rate(recipe, epoch) or epoch == epochs
    assert learning_rate(recipe, epoch) > 0 or epoch == epochs


def test_cosine_agrees_with_torch() -> None:
    import torch

    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.05)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=12)
    recipe = _recipe("cosine", 12)
    for epoch in range(12):
        assert learning_rate(recipe, epoch) == pytest.approx(scheduler.get_last_lr()[0], rel=1e-9)
        optimizer.step()
        scheduler.step()


def test_multistep_drops_at_the_start_of_its_milestones() -> None:
    recipe = _recipe({"name": "multistep", "milestones": [2, 4], "factor": 0.1}, 6, lr=1.0)
    assert [learning_rate(recipe, epoch) for epoch in range(6)] == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_recipes_that_torch_would_refuse_later_are_refused_at_once() -> None:
    with pytest.raises(ValueError, match="nesterov needs a momentum"):
        Sgd(name="sgd", momentum=0.0, nesterov=True)
    with pytest.raises(ValueError, match="less than 1"):
        Adam(name="adam", betas=(0.9, 1.0))


def test_what_plans_a_study_loads_no_heavy_library() -> None:
    modules = ("recipe", "result", "schedules", "keeping")
    imports = "; ".join(f"import weightscape.training.{module}" for module in modules)
    check = "import sys; print(sorted({'torch', 'numpy', 'pandas', 'pyarrow'} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", f"{imports}; {check}"], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"
