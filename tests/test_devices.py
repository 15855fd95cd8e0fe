from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import weightscape as ws
from weightscape.devices import device_here
from weightscape.errors import SpecificationError

DATA = ws.load_data("digits")
NETWORK = ws.build_model({"name": "cnn", "depth": 1, "channels": 2}, shape=DATA.shape, classes=10, seed=0)


@pytest.mark.parametrize("device", ["cpu", "meta", torch.device("cpu")])
def test_a_device_that_is_there_is_returned(device: str | torch.device) -> None:
    assert device_here(device) == torch.device(device)


@pytest.mark.parametrize("device", ["gpuu", "cuda:99", "", "vulkan"])
def test_a_device_that_is_not_there_is_named_beside_those_that_are(device: str) -> None:
    with pytest.raises(SpecificationError, match=rf"a device of this machine, received '{device}'. There is 'cpu'"):
        device_here(device)


def test_a_device_that_is_out_of_order_says_so_in_its_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*_: Any, **__: Any) -> None:
        raise RuntimeError("CUDA error: all devices are busy")

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch, "empty", busy)
    with pytest.raises(RuntimeError, match="busy"):
        device_here("cuda:1")
    with pytest.raises(SpecificationError, match="'cpu' and 'cuda:0' to 'cuda:1'"):
        device_here("cuda:2")


@pytest.mark.parametrize(
    "use",
    [
        lambda device: ws.train_stitch(NETWORK, NETWORK, DATA, "conv0", epochs=1, device=device),
        lambda device: ws.stitch_directly(NETWORK, NETWORK, DATA, "conv0", device=device),
        lambda device: ws.compare(NETWORK, NETWORK, DATA.test, layers="conv0", device=device),
        lambda device: ws.capture(NETWORK, DATA.test, "conv0", device=device),
        lambda device: ws.evaluate(NETWORK, DATA.test, device=device),
        lambda device: ws.train_model(NETWORK, DATA, recipe=ws.Recipe(epochs=1), order_seed=0, device=device),
        lambda device: ws.load_data("digits", device=device),
    ],
    ids=["train_stitch", "stitch_directly", "compare", "capture", "evaluate", "train_model", "load_data"],
)
def test_whatever_computes_says_which_devices_there_are(use: Callable[[str], Any]) -> None:
    with pytest.raises(SpecificationError, match="'gpuu'"):
        use("gpuu")
