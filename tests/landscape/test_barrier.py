from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import weightscape as ws
from tests.landscape.conftest import SmallNet, mlp, samples, shuffled_copy
from weightscape.errors import DataError, ModelError, SymmetryError
from weightscape.landscape.barrier import barrier
from weightscape.landscape.scores import comparable, score
from weightscape.symmetry.discovery import discover
from weightscape.weights.batch_norm import recalibrate

IMAGES = (1, 6, 6)


def state(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def test_a_quadratic_loss_has_the_barrier_of_its_closed_form() -> None:
    # |X w - y|^2 along w = (1-a) u + a v lies a (1-a) |X (u - v)|^2 below the line between the ends: never a barrier.
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(40, 6, generator=generator, dtype=torch.float64)
    targets = torch.randn(40, generator=generator, dtype=torch.float64)
    first, second = nn.Linear(6, 1, bias=False).double(), nn.Linear(6, 1, bias=False).double()

    def squares(outputs: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        return (outputs[:, 0] - wanted) ** 2

    found = barrier(first, second, [(inputs, targets)], loss=squares, points=9)
    difference = inputs @ (first.weight - second.weight)[0].detach()
    places = torch.tensor(found.line["alpha"].to_numpy())
    expected = -places * (1 - places) * (difference**2).mean()
    torch.testing.assert_close(torch.tensor(found.line["loss_excess"].to_numpy()), expected, rtol=1e-10, atol=1e-12)
    assert found.loss_barrier == 0
    assert found.error_barrier is None
    assert found.line["accuracy"].isna().all()


def test_a_convex_loss_of_the_negated_kind_has_a_barrier_of_known_height() -> None:
    # The same with the sign turned: the height is |X (u - v)|^2 / 4, in the middle.
    inputs = torch.eye(3, dtype=torch.float64)
    first, second = nn.Linear(3, 1, bias=False).double(), nn.Linear(3, 1, bias=False).double()
    found = barrier(first, second, [inputs], loss=lambda outputs, _: -(outputs[:, 0] ** 2), points=11)
    expected = float(((first.weight - second.weight) ** 2).mean().detach() / 4)
    assert found.loss_barrier == pytest.approx(expected, rel=1e-12)
    assert found.loss_barrier_position == 0.5


def test_a_network_permuted_on_purpose_has_a_barrier_that_alignment_removes_exactly() -> None:
    network = mlp(0).double()
    batches = [(inputs, network(inputs).argmax(1)) for inputs, _ in samples(200, dtype=torch.float64)]
    other = copy.deepcopy(network)
    other.load_state_dict(shuffled_copy(network, batches[0][0])[0])
    pi = ws.match(network, other)
    found = barrier(network, other, batches, align=pi)
    assert found.direct_loss_barrier > 0.1
    assert found.direct_error_barrier > 0
    assert found.loss_barrier < 1e-12
    assert found.error_barrier == 0
    assert (found.distance, found.direct_distance > 1) == (0, True)
    aligned = found.line.loc[found.line["path"] == "aligned", "loss"]
    assert aligned.max() - aligned.min() < 1e-12


def test_swapping_the_ends_mirrors_the_line() -> None:
    first = mlp(0).double()
    batches = [(inputs, first(inputs).argmax(1)) for inputs, _ in samples(dtype=torch.float64)]
    second = copy.deepcopy(first)
    second.load_state_dict(shuffled_copy(first, batches[0][0])[0])
    torch.nn.init.normal_(second[0].bias)
    there, back = barrier(first, second, batches, points=7), barrier(second, first, batches, points=7)
    for column in ("loss", "accuracy", "loss_excess", "loss_excess_stderr"):
        torch.testing.assert_close(
            torch.tensor(there.line[column].to_numpy()), torch.tensor(back.line[column].to_numpy()[::-1].copy())
        )
    assert there.loss_barrier == pytest.approx(back.loss_barrier, rel=1e-10)
    assert there.loss_barrier > 0
    assert there.loss_barrier_position == pytest.approx(1 - back.loss_barrier_position)


@pytest.mark.parametrize("bn", ["none", "recalibrate"])
def test_the_two_ends_alone_are_what_evaluate_measures(bn: str) -> None:
    networks, batches = (SmallNet(0), SmallNet(1)), samples(shape=IMAGES)
    found = barrier(*networks, batches, bn=bn, points=2)
    for network, row in zip(networks, found.line.to_dict("records"), strict=True):
        expected = copy.deepcopy(network)
        if bn == "recalibrate":
            recalibrate(expected, [inputs for inputs, _ in batches])
        measured = ws.evaluate(expected, batches)
        assert row["loss"] == pytest.approx(measured.loss, rel=1e-6)
        assert row["accuracy"] == pytest.approx(measured.accuracy)
        assert row["accuracy_stderr"] == pytest.approx(measured.accuracy_stderr * (60 / 59) ** 0.5)
    assert found.given_start_loss == pytest.approx(ws.evaluate(networks[0], batches).loss, rel=1e-6)
    assert found.given_end_loss == pytest.approx(ws.evaluate(networks[1], batches).loss, rel=1e-6)
    assert found.loss_barrier == 0


def test_nothing_that_the_caller_owns_is_changed() -> None:
    first, second = SmallNet(0).train(), SmallNet(1).eval()
    before = state(first), state(second)
    drawn = torch.random.get_rng_state()
    found = barrier(first, second, samples(shape=IMAGES), bn="recalibrate", align=ws.match(first, second), points=3)
    assert found.points == 3
    for network, saved in zip((first, second), before, strict=True):
        assert all(torch.equal(tensor, saved[name]) for name, tensor in network.state_dict().items())
    assert (first.bn.training, second.bn.training) == (True, False)
    assert torch.equal(drawn, torch.random.get_rng_state())


def test_the_batch_norm_policy_must_be_said_and_is_seen_in_the_result() -> None:
    first, second, batches = SmallNet(0), SmallNet(1), samples(shape=IMAGES)
    with pytest.raises(ModelError, match="bn='recalibrate'"):
        barrier(first, second, batches)
    with pytest.raises(ModelError, match="'repair'"):
        barrier(first, second, batches, bn="repair")  # type: ignore[arg-type]
    none, own = barrier(first, second, batches, bn="none"), barrier(first, second, batches, bn="recalibrate")
    other = barrier(first, second, batches, bn="recalibrate", bn_batches=[inputs for inputs, _ in batches[:1]])
    middle = [found.line["loss"][5] for found in (none, own, other)]
    assert len({round(value, 6) for value in middle}) == 3
    assert [found.recalibrated_on for found in (none, own, other)] == ["kept", "evaluated", "other"]
    notes = [found.figure()[2]["note"] for found in (none, own, other)]
    for note, said in zip(notes, ("of the nearer end", "the images measured on", "other images"), strict=True):
        assert said in note
    nothing = barrier(mlp(0), mlp(1), samples())
    assert (nothing.recalibrated_on, nothing.figure()[2]["note"]) == ("nothing", "")


def test_every_point_is_recalibrated_afresh() -> None:
    first, second = SmallNet(0).double(), SmallNet(1).double()
    batches = samples(shape=IMAGES, dtype=torch.float64)
    found = barrier(first, second, batches, bn="recalibrate", points=3)
    middle = copy.deepcopy(first)
    middle.load_state_dict(ws.lerp(first.state_dict(), second.state_dict(), 0.5, dict(first.named_parameters())))
    recalibrate(middle, [inputs for inputs, _ in batches])
    scores = score(middle, comparable(batches))
    assert found.line["loss"][1] == pytest.approx(float(scores.losses.mean()), rel=1e-12)


def test_double_precision_networks_are_measured_in_double_precision() -> None:
    first, second = mlp(0).double(), mlp(1).double()
    inputs, labels = samples(batch=60, dtype=torch.float64)[0]
    found = barrier(first, second, [(inputs, labels)], points=2)
    exact = functional.cross_entropy(first(inputs), labels)
    assert found.given_start_loss == pytest.approx(exact.item(), rel=1e-14)


def test_weights_need_a_module_and_give_what_modules_give() -> None:
    first, second, batches = mlp(0), mlp(1), samples()
    with pytest.raises(ModelError, match="model="):
        barrier(state(first), state(second), batches)
    one = barrier(state(first), state(second), batches, model=mlp(5))
    two = barrier(first, second, batches)
    assert one.metrics() == two.metrics()
    with pytest.raises(ModelError, match="different architectures"):
        barrier(first, mlp(1, hidden=4), batches)


def test_a_permutation_that_belongs_to_the_other_network_is_refused() -> None:
    class Gated(nn.Module):  # units 0 and 1 differ by more than their weights, so no permutation keeps the function
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(5, 2), nn.Linear(2, 3)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return self.two(self.one(inputs) * torch.tensor([1.0, 5.0]))

    plain = nn.Sequential()
    plain.add_module("one", nn.Linear(5, 2))
    plain.add_module("two", nn.Linear(2, 3))
    wrong = ws.Permutation(discover(plain, torch.zeros(2, 5)), {"one": torch.tensor([1, 0])})
    with pytest.raises(SymmetryError, match="changes what the first network computes"):
        barrier(Gated(), Gated(), samples(), align=wrong)


def test_an_end_without_a_finite_loss_is_named_and_not_the_alignment() -> None:
    first, second = mlp(0), mlp(1)
    align = ws.match(first, second)
    with torch.no_grad():
        first[0].weight[0, 0] = math.inf
    for given in (None, align):
        with pytest.raises(ModelError, match="two networks with finite losses"):
            barrier(first, second, samples(), align=given)


def test_batches_in_other_forms_and_hostile_ones() -> None:
    first, second, batches = mlp(0), mlp(1), samples()
    expected = barrier(first, second, batches).metrics()
    named = [{"inputs": inputs, "labels": labels} for inputs, labels in batches]
    assert barrier(first, second, named).metrics() == expected
    inputs, labels = (torch.cat(side) for side in zip(*batches, strict=True))
    ordered = DataLoader(TensorDataset(inputs, labels), batch_size=25)
    assert barrier(first, second, ordered).metrics() == expected
    with pytest.raises(DataError, match="order"):
        barrier(first, second, DataLoader(TensorDataset(inputs, labels), batch_size=25, shuffle=True))
    with pytest.raises(DataError, match="class of each sample"):
        barrier(first, second, [(inputs, labels + 7)])
    with pytest.raises(DataError, match="reduction='none'"):
        barrier(first, second, batches, loss=functional.cross_entropy)
    with pytest.raises(DataError, match="at least one sample"):
        barrier(first, second, [])


def test_a_whole_data_set_does_not_say_which_split_is_meant() -> None:
    data = ws.load_data("digits")
    networks = [ws.build_model("mlp", shape=data.shape, classes=10, seed=seed) for seed in (0, 1)]
    with pytest.raises(DataError, match="split"):
        barrier(*networks, data)  # type: ignore[arg-type]
    assert barrier(*networks, data.validation, points=2).count == len(data.validation)


def test_the_result_draws_itself_and_says_itself_in_words() -> None:
    network, batches = mlp(0), samples()
    other = mlp(1)
    found = barrier(network, other, batches, align=ws.match(network, other))
    figure = found.plot(title="two networks")
    assert set(figure.numbers["series"]) == {"direct", "aligned"}
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert "before alignment" in repr(found)
    alone = barrier(network, other, batches).plot()
    assert set(alone.numbers["series"]) == {"direct"}
