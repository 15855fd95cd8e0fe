from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from weightscape.errors import TrainingError
from weightscape.training.recipe import Adam, Recipe, Sgd
from weightscape.training.schedules import (
    changes_within_epochs,
    check_schedule,
    depends_on_length,
    learning_rate,
    rates,
)


def _recipe(schedule: object, epochs: int = 60, lr: float = 0.05) -> Recipe:
    return Recipe.model_validate({"epochs": epochs, "optimizer": {"name": "sgd", "lr": lr}, "schedule": schedule})


def test_constant_is_the_learning_rate_of_the_optimizer() -> None:
    assert {learning_rate(_recipe("constant"), epoch) for epoch in range(60)} == {0.05}


def test_cosine_begins_at_the_full_rate_and_has_half_of_it_in_the_middle() -> None:
    assert learning_rate(_recipe("cosine"), 0) == 0.05
    assert learning_rate(_recipe("cosine"), 30) == pytest.approx(0.025)


@settings(max_examples=30)
@given(epochs=st.integers(1, 200), data=st.data())
def test_cosine_is_point_symmetric_and_decreases(epochs: int, data: st.DataObject) -> None:
    epoch = data.draw(st.integers(0, epochs))
    recipe = _recipe("cosine", epochs)
    assert learning_rate(recipe, epoch) + learning_rate(recipe, epochs - epoch) == pytest.approx(0.05)
    assert learning_rate(recipe, epoch + 1) < learning_rate(recipe, epoch) or epoch == epochs
    assert learning_rate(recipe, epoch) > 0 or epoch == epochs


def test_cosine_agrees_with_torch() -> None:
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


def _steps(recipe: Recipe, length: int) -> list[float]:
    return [learning_rate(recipe, *divmod(step, length), length=length) for step in range(recipe.epochs * length)]


def test_cosine_by_iteration_agrees_with_torch() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.05)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=21)
    for rate in _steps(_recipe({"name": "cosine", "every": "iteration"}, 3), 7):
        assert rate == pytest.approx(scheduler.get_last_lr()[0], rel=1e-9)
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize(("epochs", "drops"), [(300, [100, 200]), (30, [10, 20]), (10, [4, 7]), (3, [1, 2]), (1, [])])
def test_thirds_drop_at_the_first_epoch_with_a_third_and_two_thirds_done(epochs: int, drops: list[int]) -> None:
    found = [learning_rate(_recipe("thirds", epochs, lr=1.0), epoch) for epoch in range(epochs)]
    assert found == pytest.approx([0.1 ** sum(drop <= epoch for drop in drops) for epoch in range(epochs)])
    # As the published code decides it (arXiv 2110.14633): at a share of 0.333 and of 0.666.
    published = [0.1 ** sum(epoch / epochs >= share for share in (0.333, 0.666)) for epoch in range(epochs)]
    assert found == pytest.approx(published)


@pytest.mark.oracle
@pytest.mark.parametrize("anneal", ["cosine", "linear"])
@pytest.mark.parametrize("phases", [2, 3])
@pytest.mark.parametrize(("epochs", "length", "rise"), [(5, 7, 0.3), (1, 10, 0.45), (10, 40, 0.25), (1, 3, 0.3)])
@pytest.mark.filterwarnings("ignore:Detected call of")
def test_one_cycle_agrees_with_torch_step_by_step(
    anneal: str, phases: int, epochs: int, length: int, rise: float
) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=0.1,
        epochs=epochs,
        steps_per_epoch=length,
        pct_start=rise,
        anneal_strategy="cos" if anneal == "cosine" else "linear",
        three_phase=phases == 3,
    )
    schedule = {"name": "one-cycle", "anneal": anneal, "phases": phases, "rise": rise, "momentum": [0.85, 0.95]}
    recipe = _recipe(schedule, epochs, lr=0.1)
    for step in range(epochs * length):
        found = rates(recipe, *divmod(step, length), length=length)
        group = optimizer.param_groups[0]
        assert (found.lr, found.momentum) == pytest.approx((group["lr"], group["momentum"]), abs=1e-12)
        optimizer.step()
        if step < epochs * length - 1:
            scheduler.step()


def test_one_cycle_leaves_the_momentum_alone_unless_told() -> None:
    # torch's scheduler replaces a momentum of 0.9 by 0.95 -> 0.85 -> 0.95 without being asked.
    assert rates(_recipe("one-cycle"), 3, length=5).momentum is None


def test_a_short_rise_at_few_steps_is_no_division_by_zero() -> None:
    found = _steps(_recipe({"name": "one-cycle", "rise": 0.5}, 2, lr=1.0), 1)  # torch divides by zero here
    assert all(0 < rate <= 1 for rate in found)


def test_warm_up_by_epochs_is_that_of_the_published_image_net_runs() -> None:
    # arXiv 2305.14122: lr (e + 1) / 5 in the first 5 of 100 epochs, the cosine of e / 100 after them.
    recipe = Recipe.model_validate({"epochs": 100, "schedule": "cosine", "warm_up": "5ep"})
    found = [learning_rate(recipe, epoch) for epoch in range(100)]
    assert found[:5] == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.1])
    assert found[5:] == pytest.approx([0.05 * (1 + math.cos(math.pi * epoch / 100)) for epoch in range(5, 100)])


@settings(max_examples=30)
@given(
    iterations=st.integers(1, 30),
    length=st.integers(1, 9),
    schedule=st.sampled_from(["constant", "cosine", "thirds", "one-cycle", {"name": "cosine", "every": "iteration"}]),
)
def test_warm_up_by_iterations_rises_linearly_and_leaves_the_rest_of_the_schedule(
    iterations: int, length: int, schedule: object
) -> None:
    plain = _recipe(schedule, 5, lr=1.0)
    warm = plain.model_validate(plain.model_dump() | {"warm_up": f"{iterations}it"})
    found, without = _steps(warm, length), _steps(plain, length)
    assert found[:iterations] == pytest.approx([(k + 1) / iterations for k in range(min(iterations, len(found)))])
    assert found[iterations:] == without[iterations:]


def test_a_schedule_that_waits_begins_after_the_warm_up_and_fills_the_rest() -> None:
    base = {"epochs": 12, "schedule": "cosine", "warm_up": {"length": "2ep", "schedule": "waits"}}
    recipe, alone = Recipe.model_validate(base), Recipe.model_validate({"epochs": 10, "schedule": "cosine"})
    assert [learning_rate(recipe, epoch) for epoch in range(2, 12)] == pytest.approx(
        [learning_rate(alone, epoch) for epoch in range(10)]
    )


def test_warm_up_by_iteration_can_be_given_in_epochs() -> None:
    recipe = Recipe.model_validate({"epochs": 4, "warm_up": {"length": "2ep", "every": "iteration"}})
    assert _steps(recipe, 3) == pytest.approx([0.1 * min(1, (k + 1) / 6) for k in range(12)])
    with pytest.raises(ValueError, match="whole epochs"):
        Recipe.model_validate({"warm_up": {"length": "30it", "every": "epoch"}})


OWN = """
def polynomial(epoch, epochs, *, power=1.0):
    return (1 - epoch / epochs) ** power


def halving(iteration, *, every):
    return 0.5 ** (iteration // every)


def wrong(epoch):
    return "fast"
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "own_schedules_of_a_test.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    return "own_schedules_of_a_test"


def test_a_schedule_of_ones_own_gets_its_arguments_and_what_it_asks_for(own: str) -> None:
    recipe = _recipe({"name": f"{own}.polynomial", "power": 2}, 4, lr=1.0)
    assert [learning_rate(recipe, epoch) for epoch in range(4)] == pytest.approx([1, 0.5625, 0.25, 0.0625])
    recipe = _recipe({"name": f"{own}.halving", "every": 4}, 2, lr=1.0)
    assert _steps(recipe, 5) == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25]


def test_mistakes_in_a_schedule_of_ones_own_are_said_before_training(own: str) -> None:
    with pytest.raises(TrainingError, match=r"takes no argument 'powr'\. Did you mean 'power'"):
        check_schedule(_recipe({"name": f"{own}.polynomial", "powr": 2}))
    with pytest.raises(TrainingError, match="number of at least 0; it returned 'fast'"):
        learning_rate(_recipe(f"{own}.wrong"), 0)


def test_only_rates_that_do_not_know_the_end_of_the_run_let_it_be_continued(own: str) -> None:
    free = ["constant", {"name": "multistep", "milestones": [3]}, {"name": f"{own}.halving", "every": 4}]
    bound = ["cosine", "thirds", "one-cycle", f"{own}.polynomial"]
    assert [depends_on_length(_recipe(schedule)) for schedule in [*free, *bound]] == [False] * 3 + [True] * 4
    for schedule in free:
        recipe = _recipe(schedule, 4).model_copy(update={"warm_up": Recipe(warm_up="2ep").warm_up})
        longer = recipe.model_copy(update={"epochs": 9})
        assert _steps(longer, 3)[:12] == _steps(recipe, 3)


@settings(max_examples=30)
@given(
    schedule=st.sampled_from(["constant", "cosine", "thirds", "one-cycle"]), warm=st.sampled_from([None, "2ep", "5it"])
)
def test_rates_that_are_set_once_an_epoch_are_equal_throughout_it(schedule: str, warm: str | None) -> None:
    recipe = Recipe.model_validate({"epochs": 6, "schedule": schedule, "warm_up": warm})
    varies = any(len(set(_steps(recipe, 4)[4 * epoch : 4 * epoch + 4])) > 1 for epoch in range(6))
    assert varies == changes_within_epochs(recipe)


def test_recipes_that_torch_would_refuse_later_are_refused_at_once() -> None:
    with pytest.raises(ValueError, match="nesterov needs a momentum"):
        Sgd(name="sgd", momentum=0.0, nesterov=True)
    with pytest.raises(ValueError, match="less than 1"):
        Adam(name="adam", betas=(0.9, 1.0))


def test_what_plans_a_study_loads_no_heavy_library() -> None:
    modules = ("recipe", "result", "schedules", "keeping", "selection", "continuation", "operations")
    imports = "; ".join(f"import weightscape.training.{module}" for module in modules)
    check = "import sys; print(sorted({'torch', 'numpy', 'pandas', 'pyarrow'} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", f"{imports}; {check}"], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"
