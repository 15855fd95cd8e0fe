"""What is captured is what the layers passed on: before activations that work in place, in order, once per batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from weightscape.data.dataset import Split
from weightscape.errors import DataError, ModelError
from weightscape.models.building import build_model
from weightscape.similarity.capture import capture
from weightscape.similarity.memory import expected_count, in_words
from weightscape.similarity.passing import passing
from weightscape.similarity.rows import as_rows
from weightscape.similarity.watching import activations

SHAPE = (3, 32, 32)
IMAGES = torch.randn(7, *SHAPE, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 0, 1, 2, 0])


class Net(nn.Module):
    """A convolution, one ReLU in place that is called twice, a head; takes its inputs by name."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.conv, self.bn, self.fc = nn.Conv2d(3, 4, 5, stride=4), nn.BatchNorm2d(4), nn.Linear(4, 3)
        self.relu, self.drop = nn.ReLU(inplace=True), nn.Dropout(0.5)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        hidden = self.relu(self.bn(self.conv(image)))
        return {"logits": self.fc(self.drop(self.relu(hidden.mean(dim=(2, 3)) - 0.2)))}


def clean(model: nn.Module) -> bool:
    return not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def by_hand(model: Net) -> dict[str, Tensor]:
    """The activations of Net, by other means."""
    with torch.no_grad():
        bn = nn.functional.batch_norm(
            model.conv(IMAGES), model.bn.running_mean, model.bn.running_var, model.bn.weight, model.bn.bias, eps=1e-5
        )
        pooled = bn.clamp(min=0).mean(dim=(2, 3)) - 0.2
        return {"bn": bn, "relu#1": bn.clamp(min=0), "relu#2:input": pooled, "fc": model.fc(pooled.clamp(min=0))}


FORMS: list[Any] = [
    [IMAGES],
    list(IMAGES.split(3)),
    [(IMAGES[:4], LABELS[:4]), (IMAGES[4:], LABELS[4:])],
    [{"image": IMAGES, "label": LABELS}],
    DataLoader(TensorDataset(IMAGES, LABELS), batch_size=2),
    lambda: iter(IMAGES.split(5)),
]


@pytest.mark.parametrize("batches", FORMS)
def test_activations_are_those_before_and_after_the_activation_function(batches: Any) -> None:
    """Defect 1 of the published code: on a CPU, what was captured before a ReLU in place was what came after it."""
    model = Net().train()
    found = capture(model, batches, ["bn", "relu#1", "relu#2:input", "fc"])
    expected = by_hand(model)
    assert list(found) == list(expected)
    for layer, rows in found.items():
        torch.testing.assert_close(rows, expected[layer].flatten(1), rtol=1e-5, atol=1e-6)
    assert found["bn"].min() < 0
    assert clean(model)
    assert model.training
    assert model.bn.training


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_forms_of_an_activation(layout: torch.memory_format) -> None:
    maps = torch.randn(2, 3, 4, 5).to(memory_format=layout)
    pixels = torch.stack([maps[n, :, h, w] for n in range(2) for h in range(4) for w in range(5)])
    assert torch.equal(as_rows(maps, "pixels"), pixels)
    assert torch.equal(as_rows(maps, "features"), maps.contiguous().view(2, 60))
    torch.testing.assert_close(as_rows(maps, "pooled"), maps.mean(dim=(2, 3)))
    vectors = torch.randn(4, 6)
    assert all(as_rows(vectors, form) is vectors for form in ("pixels", "features", "pooled"))
    with pytest.raises(DataError, match=r"shape \(4,\)"):
        as_rows(torch.randn(4), "features")


def test_several_networks_see_every_batch_once_and_together() -> None:
    read = []

    def batches() -> Any:
        for number, images in enumerate(IMAGES.split(3)):
            read.append(number)
            yield images

    models = [Net(0), Net(1)]
    steps = list(passing(models, batches, ["bn", ["fc", "relu#1"]]))
    assert read == [0, 1, 2]
    assert [step.batch.count for step in steps] == [3, 3, 1]
    assert [list(side) for side in steps[0].activations] == [["bn"], ["relu#1", "fc"]]
    for side, model in enumerate(models):
        with torch.no_grad():
            expected = model.eval()(IMAGES)["logits"]
        torch.testing.assert_close(torch.cat([step.outputs[side] for step in steps]), expected)
    first, second = capture(models, [IMAGES], "bn")
    assert torch.equal(first["bn"], capture(models[0], [IMAGES], "bn")["bn"])
    assert not torch.equal(first["bn"], second["bn"])


def test_labels_come_with_each_batch() -> None:
    loader = DataLoader(TensorDataset(IMAGES, LABELS), batch_size=4)
    assert torch.equal(torch.cat([step.batch.targets for step in passing([Net()], loader, ["fc"])]), LABELS)


def test_a_split_is_cut_into_batches_that_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = torch.randint(0, 256, (9, *SHAPE), dtype=torch.uint8)
    split = Split(pixels, torch.zeros(9, dtype=torch.int64), torch.arange(9), torch.zeros(3), torch.ones(3))
    model = Net()
    whole = capture(model, split, "bn")
    per_image = 4 * 7 * 7 * 4
    monkeypatch.setattr("weightscape.similarity.passing._STEP_BYTES", 2 * per_image + 1)
    assert [step.batch.count for step in passing([model], split, ["bn"])] == [2, 2, 2, 2, 1]
    torch.testing.assert_close(capture(model, split, "bn")["bn"], whole["bn"])


@pytest.mark.parametrize("device", [None, "cpu"])
def test_a_failing_pass_leaves_no_hooks_and_no_modes_behind(device: str | None) -> None:
    """Defect 10 of the published code: hooks were never removed, and networks were left in training mode."""
    model = Net().train()
    with pytest.raises(RuntimeError):
        capture(model, [IMAGES, torch.randn(2, 1, 32, 32)], ["bn", "relu#1"], device=device)
    assert clean(model)
    assert model.training
    steps = passing([model], [IMAGES, IMAGES], ["bn"], device=device)
    next(steps)  # and none between two batches, when nobody goes on
    assert clean(model)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_context_gives_each_pass_anew() -> None:
    model = Net().eval()
    with activations(model, ["bn", "relu#2"]) as found:
        model(IMAGES)
        first = dict(found)
        model(IMAGES[:2])
        assert len(found["bn"]) == 2
    assert first["bn"].shape == (7, 4, 7, 7)
    assert first["relu#2"].min() == 0
    assert clean(model)
    with pytest.raises(ModelError, match="called several times"), activations(model, ["relu"]):
        model(IMAGES)
    assert clean(model)


@pytest.mark.parametrize(
    ("layers", "message"),
    [("con", "Did you mean 'conv'"), ("relu", "called 2 times"), ("relu#3", "called 2 times"), ("conv9*", "No layer")],
)
def test_layers_that_do_not_exist_are_refused_before_anything_runs(layers: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        capture(Net(), [IMAGES], layers)


def test_a_shuffled_loader_is_refused_where_rows_have_an_order() -> None:
    loader = DataLoader(TensorDataset(IMAGES, LABELS), batch_size=2, shuffle=True)
    with pytest.raises(DataError, match="shuffle=False"):
        capture(Net(), loader, "bn")
    assert sum(step.batch.count for step in passing([Net(), Net(1)], loader, ["bn", "bn"])) == 7


def test_too_much_for_the_memory_is_said_before_it_is_kept() -> None:
    model = Net()
    batches = list(IMAGES.split(1))
    needed = 7 * 4 * 7 * 7 * 4
    assert capture(model, batches, "bn", limit=needed)["bn"].shape == (7, 196)
    seen = []
    model.fc.register_forward_hook(lambda *_: seen.append(1))
    with pytest.raises(DataError, match=r"7 samples need 5\.36 KiB.*fewer layers"):
        capture(model, batches, "bn", limit=needed - 1)
    assert len(seen) == 2  # the layers were looked up and the first batch was run
    with pytest.raises(DataError, match="samples so far"):
        capture(model, lambda: iter(batches), "bn", limit=needed - 1)
    with pytest.raises(DataError, match="a batch of 7"):
        capture(model, [IMAGES], "bn", limit=needed - 1)


def test_no_batches_are_an_error() -> None:
    with pytest.raises(DataError, match="at least one batch"):
        capture(Net(), [], "bn")


@pytest.mark.parametrize(
    ("batches", "count"),
    [
        (FORMS[1], 7),
        (FORMS[3], 7),
        (FORMS[4], 7),
        (DataLoader(TensorDataset(IMAGES), batch_size=2, drop_last=True), 6),
        (FORMS[5], None),
    ],
)
def test_the_number_of_samples_is_known_where_it_can_be(batches: Any, count: int | None) -> None:
    assert expected_count(batches) == count


def test_sizes_in_words() -> None:
    assert [in_words(size) for size in (12, 2048, 3 << 20, 5 << 30)] == ["12 bytes", "2 KiB", "3 MiB", "5 GiB"]


def test_a_layer_that_passes_on_no_batch_is_refused() -> None:
    class Mean(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.total = nn.Flatten(0)

        def forward(self, inputs: Tensor) -> Tensor:
            return inputs.flatten(1) + self.total(inputs).mean()

    with pytest.raises(ModelError, match="a vector or a map for each of 2 samples"):
        capture(Mean(), [IMAGES], "total")


def test_published_layers_of_a_resnet_are_captured_before_their_activation() -> None:
    model = build_model("resnet20_w1", shape=SHAPE, classes=10)
    found = capture(model, [IMAGES], "bn1,layer*.add", form="pooled")
    assert [rows.shape[1] for rows in found.values()] == [16] * 4 + [32] * 3 + [64] * 3
    assert all(rows.min() < 0 for rows in found.values())
