"""Laws of the arithmetic on weights."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from weightscape.errors import ModelError
from weightscape.weights import algebra

SHAPES = st.lists(st.lists(st.integers(0, 3), max_size=3).map(tuple), min_size=1, max_size=4)
FACTORS = st.floats(-4, 4)
few = settings(max_examples=40, deadline=None)


@st.composite
def alike(draw, count):
    """Draw several weights of one architecture: some tensors are empty, some have no axes, some are not contiguous."""
    shapes = draw(SHAPES)
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))

    def tensor(shape):
        drawn = torch.randn(*shape[::-1], 2, generator=generator, dtype=dtype)[..., 0]
        return drawn.permute(tuple(reversed(range(drawn.dim()))))

    return [{f"t{index}": tensor(shape) for index, shape in enumerate(shapes)} for _ in range(count)]


def equal(left, right):
    torch.testing.assert_close(left, right, rtol=0, atol=0)


def close(left, right):
    torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-5)


@few
@given(alike(3))
def test_addition_is_commutative_and_associative_and_undone_by_subtraction(weights):
    a, b, c = weights
    equal(algebra.add(a, b), algebra.add(b, a))
    close(algebra.add(algebra.add(a, b), c), algebra.add(a, algebra.add(b, c)))
    close(algebra.subtract(algebra.add(a, b), b), a)


@few
@given(alike(2), FACTORS)
def test_scaling_distributes_over_addition(weights, factor):
    a, b = weights
    close(algebra.scale(algebra.add(a, b), factor), algebra.add(algebra.scale(a, factor), algebra.scale(b, factor)))


@few
@given(alike(2))
def test_the_ends_of_a_line_are_exact(weights):
    a, b = weights
    equal(algebra.lerp(a, b, 0), a)
    equal(algebra.lerp(a, b, 1), b)


def test_the_ends_of_a_line_are_exact_where_rounding_would_miss_them():
    a, b = {"w": torch.tensor([1e8, 3e38, 1.0])}, {"w": torch.tensor([1e-3, -3e38, torch.inf])}
    missed = a["w"] + 1 * (b["w"] - a["w"])
    assert not torch.equal(missed, b["w"])
    equal(algebra.lerp(a, b, 1.0), b)
    equal(algebra.lerp(a, b, 0.0), a)


@few
@given(alike(2), FACTORS)
def test_a_line_is_walked_alike_from_both_ends(weights, fraction):
    a, b = weights
    close(algebra.lerp(a, b, fraction), algebra.lerp(b, a, 1 - fraction))
    close(algebra.lerp(a, b, fraction), algebra.add(algebra.scale(a, 1 - fraction), algebra.scale(b, fraction)))


@pytest.mark.parametrize("fraction", [0, 0.5, 1])
def test_only_the_named_parameters_are_interpolated(fraction):
    a, b = {"w": torch.zeros(2), "buffer": torch.zeros(2)}, {"w": torch.ones(2), "buffer": torch.ones(2)}
    result = algebra.lerp(a, b, fraction, parameters=["w"])
    equal(result, {"w": torch.full((2,), float(fraction)), "buffer": torch.zeros(2)})
    assert list(result) == ["w", "buffer"]


def test_counters_and_masks_are_carried_over_whole():
    a = {"w": torch.zeros(1), "count": torch.tensor(3), "mask": torch.tensor([True])}
    b = {"w": torch.ones(1), "count": torch.tensor(8), "mask": torch.tensor([False])}
    equal(algebra.lerp(a, b, 0.5), {**a, "w": torch.tensor([0.5])})


@few
@given(alike(2), st.floats(-2, 2))
def test_no_operation_changes_or_shares_its_arguments(weights, fraction):
    a, b = weights
    copies = [{name: tensor.clone() for name, tensor in side.items()} for side in (a, b)]
    flat = algebra.flatten(a)
    results = [
        algebra.add(a, b),
        algebra.subtract(a, b),
        algebra.scale(a, 1.0),
        algebra.lerp(a, b, fraction),
        algebra.lerp(a, b, 0),
        algebra.lerp(a, b, 1),
        algebra.lerp(a, b, 0.5, parameters=[]),
        algebra.unflatten(flat, a),
        algebra.stack([a, b]),
    ]
    for result in results:
        for tensor in result.values():
            tensor.fill_(7.0)
    flat.fill_(7.0)
    equal(a, copies[0])
    equal(b, copies[1])


@few
@given(alike(2), FACTORS)
def test_the_inner_product_is_symmetric_and_linear_and_that_of_the_vectors(weights, factor):
    a, b = weights
    assert algebra.dot(a, b) == algebra.dot(b, a)
    assert algebra.dot(algebra.scale(a, factor), b) == pytest.approx(factor * algebra.dot(a, b), rel=1e-4, abs=1e-4)
    assert algebra.dot(a, b) == pytest.approx(
        float(algebra.flatten(a).double() @ algebra.flatten(b).double()), abs=1e-9
    )
    assert algebra.norm(a) ** 2 == pytest.approx(algebra.dot(a, a))


@few
@given(alike(2))
def test_a_cosine_obeys_cauchy_and_schwarz(weights):
    a, b = weights
    assert abs(algebra.cosine(a, b)) <= 1 + 1e-12
    if algebra.norm(a):
        assert algebra.cosine(a, algebra.scale(a, -2)) == pytest.approx(-1)
    assert algebra.cosine(a, algebra.scale(a, 0)) == 0


def test_the_inner_product_is_accumulated_in_double_precision():
    a = {"w": torch.tensor([1e4, 1.0, -1e4])}
    b = {"w": torch.tensor([1e4, 1.0, 1e4])}
    assert algebra.dot(a, b) == 1.0


@few
@given(alike(2))
def test_flattening_is_undone(weights):
    a, b = weights
    vector = algebra.flatten(a)
    assert vector.shape == (sum(tensor.numel() for tensor in a.values()),)
    equal(algebra.unflatten(vector, like=b), a)


def test_a_vector_of_the_wrong_length_is_refused():
    with pytest.raises(ModelError, match="vector of 6 entries, received 5"):
        algebra.unflatten(torch.zeros(5), {"w": torch.zeros(2, 3)})


@few
@given(alike(3))
def test_stacked_weights_hold_each_member(weights):
    stacked = algebra.stack(weights)
    for index, member in enumerate(weights):
        equal({name: tensor[index] for name, tensor in stacked.items()}, member)


@pytest.mark.parametrize(
    "operation",
    [
        algebra.add,
        algebra.subtract,
        algebra.dot,
        lambda a, b: algebra.lerp(a, b, 0.5),
        lambda a, b: algebra.stack([a, b]),
    ],
)
@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"v": torch.zeros(2)}, r"2 differences.*v is missing on the left; w is missing on the right"),
        ({"w": torch.zeros(3)}, r"w is \(2,\) on the left, \(3,\) on the right"),
        ({"w": torch.zeros(1)}, r"w is \(2,\) on the left, \(1,\) on the right"),
        ({"w": torch.zeros(2), "v": torch.zeros(2)}, "v is missing on the left"),
    ],
)
def test_weights_of_different_architectures_are_refused_not_broadcast(operation, other, message):
    with pytest.raises(ModelError, match=message):
        operation({"w": torch.zeros(2)}, other)


def test_five_differences_are_enough():
    with pytest.raises(ModelError, match="9 differences") as caught:
        algebra.check_alike({f"w{index}": torch.zeros(1) for index in range(9)}, {})
    assert str(caught.value).count("missing") == 5


def test_nothing_cannot_be_stacked():
    with pytest.raises(ModelError, match="at least one"):
        algebra.stack([])


def test_an_unknown_tensor_is_refused_with_the_closest_name():
    weights = {"linear1.weight": torch.zeros(1)}
    with pytest.raises(ModelError, match=r"Did you mean 'linear1\.weight'"):
        algebra.select(weights, ["linear.weight"])
    with pytest.raises(ModelError, match="'linear'"):
        algebra.lerp(weights, weights, 0.5, parameters=["linear"])


def test_selection_keeps_the_order_asked_for():
    weights = {"a": torch.zeros(1), "b": torch.ones(1)}
    assert list(algebra.select(weights, ["b", "a"])) == ["b", "a"]


def test_the_weights_of_a_module_are_detached_copies():
    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    weights = algebra.weights_of(module)
    assert list(weights) == list(module.state_dict())
    assert not any(tensor.requires_grad for tensor in weights.values())
    for tensor in weights.values():
        tensor.fill_(3)
    assert not any(bool((tensor == 3).any()) for tensor in module.state_dict().values())


def test_parameters_leave_out_buffers_and_second_names():
    module = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False), nn.BatchNorm1d(2))
    module[1].weight = module[0].weight
    assert list(algebra.parameters_of(module)) == ["0.weight", "2.weight", "2.bias"]
