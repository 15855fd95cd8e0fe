from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tests.landscape.conftest import SmallNet
from weightscape.errors import ModelError
from weightscape.landscape.line import line, line_positions, parameter_names, point_on_line
from weightscape.weights.algebra import weights_of


@given(st.integers(2, 60))
def test_evenly_spaced_positions_begin_and_end_exactly_at_the_ends(points: int) -> None:
    positions = line_positions(points)
    assert (positions[0], positions[-1], len(positions)) == (0.0, 1.0, points)
    assert all(right > left for left, right in itertools.pairwise(positions))


def test_given_positions_are_sorted_and_get_both_ends() -> None:
    assert line_positions([0.7, 0.2, 0.7]) == (0.0, 0.2, 0.7, 1.0)


@pytest.mark.parametrize("points", [1, 0, [1.2], [-0.1], [float("nan")]])
def test_positions_that_are_no_line_are_refused(points: object) -> None:
    with pytest.raises(ModelError):
        line_positions(points)  # type: ignore[arg-type]


def test_the_ends_are_the_inputs_to_the_bit_and_nothing_is_changed() -> None:
    first, second = SmallNet(0), SmallNet(1)
    with torch.no_grad():
        second.conv.weight[0] = 1e30  # start + 1 * (end - start) would miss it
    ends = weights_of(first), weights_of(second)
    before = [{name: tensor.clone() for name, tensor in end.items()} for end in ends]
    points = dict(line(*ends, line_positions(5), parameter_names(first)))
    for position, end in zip((0.0, 1.0), ends, strict=True):
        assert all(torch.equal(points[position][name], tensor) for name, tensor in end.items())
        assert all(points[position][name].data_ptr() != tensor.data_ptr() for name, tensor in end.items())
    for end, saved in zip(ends, before, strict=True):
        assert all(torch.equal(end[name], tensor) for name, tensor in saved.items())


def test_parameters_are_interpolated_and_buffers_are_those_of_the_nearer_end() -> None:
    first, second = SmallNet(0).double(), SmallNet(1).double()
    ends = weights_of(first), weights_of(second)
    names = parameter_names(first)
    assert "bn.running_var" not in names
    for position, nearer in ((0.25, ends[0]), (0.5, ends[0]), (0.75, ends[1])):
        point = point_on_line(*ends, position, names)
        assert torch.equal(point["bn.running_mean"], nearer["bn.running_mean"])
        assert torch.equal(point["bn.running_var"], nearer["bn.running_var"])
        expected = (1 - position) * ends[0]["conv.weight"] + position * ends[1]["conv.weight"]
        torch.testing.assert_close(point["conv.weight"], expected, rtol=1e-14, atol=1e-14)


def test_tied_parameters_stay_tied() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(3, 3), nn.Linear(3, 3)
            self.two.weight = self.one.weight

    first, second = Tied(), Tied()
    point = point_on_line(weights_of(first), weights_of(second), 0.3, parameter_names(first))
    assert torch.equal(point["one.weight"], point["two.weight"])
    assert not torch.equal(point["two.weight"], first.two.weight)
