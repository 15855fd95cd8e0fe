"""One-line commands on two networks of different architectures, with settings by their place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from typer.testing import Result

import weightscape as ws

GLUE = "tests.cli.toys.glue"
OWN = ("--device", "cpu", "--workers", "0")


def saved(path: Path, model: Any, *, shape: tuple[int, int, int] = (1, 8, 8), classes: int = 10) -> Path:
    torch.save(ws.build_model(model, shape=shape, classes=classes, seed=0).state_dict(), path)
    return path


@pytest.fixture
def nets(tmp_path: Path) -> tuple[Path, Path]:
    """Checkpoints of two architectures."""
    small, dense = {"name": "mlp", "hidden": [12]}, {"name": "dense"}
    return saved(tmp_path / "small.pt", small), saved(tmp_path / "dense.pt", dense)


def test_each_file_has_its_own_architecture(cli: Callable[..., Result], nets: tuple[Path, Path]) -> None:
    done = cli(GLUE, *nets, "relu1", "fc2", "--data", "digits", "--json", *OWN)
    assert done.exit_code == 0, done.stderr
    (row,) = json.loads(done.stdout)
    assert row["metrics"] == {"front": "mlp", "back": "dense", "layers": "relu1-fc2"}
    assert row["settings"]["front_model"]["hidden"] == [12]


def test_an_optional_place_may_stay_empty(cli: Callable[..., Result], nets: tuple[Path, Path]) -> None:
    (row,) = json.loads(cli(GLUE, *nets, "relu1", "--data", "digits", "--json", *OWN).stdout)
    assert row["metrics"]["layers"] == "relu1-relu1"


def test_a_layer_whose_name_is_a_number_is_a_text(cli: Callable[..., Result], nets: tuple[Path, Path]) -> None:
    (row,) = json.loads(cli(GLUE, *nets, "0", "2:input", "--data", "digits", "--json", *OWN).stdout)
    assert row["metrics"]["layers"] == "0-2:input"


def test_the_command_by_places_and_a_study_have_the_same_key(
    cli: Callable[..., Result], nets: tuple[Path, Path], tmp_path: Path
) -> None:
    study = tmp_path / "two.yaml"
    study.write_text(
        f"study: two\nstages:\n  glued:\n    run: {GLUE}\n    from: {{front: {nets[0]}, back: {nets[1]}}}\n    with: "
        "{data: digits, front_model: {name: mlp, hidden: [12]}, back_model: dense, front_layer: a, back_layer: b}\n"
    )
    (done,) = json.loads(cli(GLUE, *nets, "a", "b", "--data", "digits", "--json", *OWN).stdout)
    assert done["key"] in cli("plan", study, "--json").stdout


def test_a_place_that_must_be_filled_is_asked_for(cli: Callable[..., Result], nets: tuple[Path, Path]) -> None:
    asked = cli(GLUE, *nets, "--data", "digits")
    assert asked.exit_code == 2
    assert "FRONT_LAYER" in asked.stderr


def test_layers_are_looked_for_before_anything_is_computed(
    cli: Callable[..., Result], nets: tuple[Path, Path], tmp_path: Path
) -> None:
    done = cli("stitch", *nets, "relu9", "fc22", "--data", "digits", "--json", *OWN)
    assert (done.exit_code, done.stdout) == (2, "")
    text = " ".join(done.stderr.split())
    assert "2 problems; nothing was started." in text
    assert "FRONT_LAYER expected one layer to stitch at, received 'relu9'." in text
    assert "Did you mean 'relu1'?" in text
    assert "BACK_LAYER expected one layer to stitch at, received 'fc22'." in text
    assert not (tmp_path / "runs").exists()


def test_the_help_shows_the_places_after_the_inputs(cli: Callable[..., Result]) -> None:
    text = " ".join(cli(GLUE, "--help").stdout.split())
    assert "{FRONT} {BACK} {FRONT_LAYER} [BACK_LAYER]" in text
    assert "Where the first one ends" in text
    assert "--front-layer" not in text


def test_the_data_of_a_result_serve_the_file_beside_it(cli: Callable[..., Result], nets: tuple[Path, Path]) -> None:
    trained = cli(
        "train", "--data", "digits", "--model", "mlp", "--recipe.epochs", "1", "--set", "keep=ends", "--json", *OWN
    )
    key = json.loads(trained.stdout)[0]["key"]
    done = cli(GLUE, f"{key[:10]}@last", nets[1], "relu1", "--json", *OWN)
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)[0]["metrics"]["back"] == "dense"


def test_a_file_that_fits_none_is_told_apart_from_the_closest(
    cli: Callable[..., Result], nets: tuple[Path, Path], tmp_path: Path
) -> None:
    other = saved(tmp_path / "other.pt", "dense", classes=7)
    refused = cli(GLUE, nets[0], other, "a", "--data", "digits", *OWN)
    assert refused.exit_code == 2
    text = " ".join(refused.stderr.split())
    assert "--back-model" in text
    assert "dense is close, but fc4.weight has shape (7, 300) in the weights and (10, 300) in the model" in text
    assert "2 more" not in text


def test_data_of_another_number_of_channels_are_named(cli: Callable[..., Result], tmp_path: Path) -> None:
    tiny = saved(tmp_path / "tiny.pt", "tiny10", shape=(3, 32, 32))
    grey = tmp_path / "grey.npz"
    images, labels = numpy.zeros((20, 32, 32), dtype=numpy.uint8), numpy.arange(20) % 10
    numpy.savez(grey, train_images=images, train_labels=labels, test_images=images, test_labels=labels)
    refused = cli("stitch", tiny, tiny, "bn3", "--data", grey, *OWN)
    assert refused.exit_code == 2
    assert "For images with 3 channels it is tiny10: take data with as many" in " ".join(refused.stderr.split())


def test_an_architecture_that_is_given_is_compared_with_the_file_before_anything_starts(
    cli: Callable[..., Result], nets: tuple[Path, Path]
) -> None:
    refused = cli(GLUE, *nets, "a", "--data", "digits", "--front-model", "dense", "--back-model", "mlp", *OWN)
    assert refused.exit_code == 2
    text = " ".join(refused.stderr.split())
    assert "--front-model expected the architecture of" in text
    assert "fc1.weight is not in the weights" in text
    assert "--back-model expected the architecture of" in text


def test_without_data_only_the_data_are_asked_for(cli: Callable[..., Result], nets: tuple[Path, Path]) -> None:
    asked = cli(GLUE, *nets, "a", *OWN)
    assert asked.exit_code == 2
    assert "1 problem" in asked.stderr
    assert "--data" in asked.stderr
