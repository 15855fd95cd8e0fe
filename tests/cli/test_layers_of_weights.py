"""``weightscape layers`` for weights: of which network they are is found out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from typer.testing import Result

import weightscape as ws


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A checkpoint of a network for digits."""
    path = tmp_path / "net [1].pt"
    network = ws.build_model({"name": "mlp", "hidden": [12]}, shape=(1, 8, 8), classes=10, seed=0)
    torch.save({"model": network.state_dict()}, path)
    return path


def names(done: Result) -> list[str]:
    assert done.exit_code == 0, done.stderr
    return [row["name"] for row in json.loads(done.stdout)["layers"]]


def test_the_layers_of_a_file(cli: Callable[..., Result], file: Path) -> None:
    assert names(cli("layers", file, "--data", "digits", "--json")) == names(
        cli("layers", "{name: mlp, hidden: [12]}", "--data", "digits", "--json")
    )


def test_the_layers_of_a_convolutional_file_need_no_data(cli: Callable[..., Result], tmp_path: Path) -> None:
    network = ws.build_model("tiny10", shape=(3, 32, 32), classes=7, seed=0)
    torch.save(network.state_dict(), tmp_path / "tiny.pt")
    done = cli("layers", tmp_path / "tiny.pt", "--json")
    assert "bn8" in names(done)
    assert "7 classes" in json.loads(done.stdout)["model"]


def test_the_layers_of_a_result_are_those_of_its_network_and_data(cli: Callable[..., Result]) -> None:
    options = ("--data", "digits", "--model", "{name: mlp, hidden: [5]}", "--recipe.epochs", "1", "--workers", "0")
    key = json.loads(cli("train", *options, "--device", "cpu", "--json").stdout)[0]["key"]
    done = cli("layers", key[:8], "--json")
    assert "linear2" in names(done)
    assert json.loads(done.stdout)["shape"] == [1, 8, 8]
    assert json.loads(done.stdout)["parameters"] == 64 * 5 + 5 * 10
    refused = cli("layers", f"{key[:8]}?sed = 1")
    assert refused.exit_code == 2
    assert "Did you mean 'seed'?" in " ".join(refused.stderr.split())


def test_weights_that_are_not_known_say_so(cli: Callable[..., Result], file: Path, tmp_path: Path) -> None:
    refused = cli("layers", file, "--data", "{name: digits, size: 9}")
    assert refused.exit_code == 2
    assert "whose tensors fit none" in " ".join(refused.stderr.split())
    assert "It is a folder" in cli("layers", tmp_path).stderr
    assert "It is a folder" in cli("evaluate", tmp_path, "--data", "digits").stderr
    for text in (tmp_path / "no.pt", "abcdef", "study/stage"):
        refused = cli("layers", text)
        assert refused.exit_code == 2
        assert "MODEL" in refused.stderr
