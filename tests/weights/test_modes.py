import pytest
from torch import nn

from weightscape.weights.modes import evaluation_mode, modes_restored


def mixed():
    """A model in training whose batch norm is frozen."""
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Sequential(nn.Dropout())).train()
    model[1].eval()
    return model


def modes(model):
    return [module.training for module in model.modules()]


def test_everything_evaluates_inside_and_is_as_before_outside():
    model = mixed()
    before = modes(model)
    with evaluation_mode(model):
        assert not any(modes(model))
    assert modes(model) == before
    assert len(set(before)) == 2


@pytest.mark.parametrize("context", [evaluation_mode, modes_restored])
def test_a_failure_restores_the_modes_too(context):
    model = mixed()
    before = modes(model)

    def fail():
        with context(model):
            model.train()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert modes(model) == before
