"""data list, data show and data prepare as a user meets them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import Result

Cli = Callable[..., Result]


def test_prepare_verifies_and_says_where_it_is_kept(cli: Cli) -> None:
    found = json.loads(cli("data", "prepare", "digits", "--json").stdout)
    assert (found["train_size"], found["test_size"], found["packaging"]) == (1442, 355, "digits")
    assert found["fingerprint"] == json.loads(cli("data", "show", "digits", "--json").stdout)["fingerprint"]


def test_a_sheet_shows_the_classes_and_an_augmentation(cli: Cli, tmp_path: Path) -> None:
    plain, turned = tmp_path / "plain.png", tmp_path / "turned.png"
    assert cli("data", "show", "digits", "--sheet", plain, "--per-class", "3").exit_code == 0
    augment = "[{name: rotation, degrees: 45}]"
    assert cli("data", "show", "digits", "--sheet", turned, "--per-class", "3", "--augment", augment).exit_code == 0
    first, second = (np.array(Image.open(path)) for path in (plain, turned))
    assert first.shape == second.shape
    assert not np.array_equal(first, second)


def test_a_sheet_says_that_it_shows_no_mixup(cli: Cli, tmp_path: Path) -> None:
    shown = [
        cli("data", "show", "digits", "--sheet", tmp_path / "a.png", "--per-class", "1", "--augment", augment).stderr
        for augment in ("[{name: mixup, alpha: 1}]", "flip")
    ]
    assert ["before mixup" in text for text in shown] == [True, False]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--split", "trian"], "expected train, validation or test"),
        (["--augment", "[{name: rotation, degrees: 400}]"], "180"),
        (["--augment", "["], "--augment"),
    ],
)
def test_wrong_options_of_a_sheet_are_bad_input(cli: Cli, tmp_path: Path, options: list[str], message: str) -> None:
    done = cli("data", "show", "digits", "--sheet", tmp_path / "sheet.png", *options)
    assert done.exit_code == 2
    assert message in done.stderr
    assert not (tmp_path / "sheet.png").exists()


def test_data_of_ones_own_is_described_too(cli: Cli, tmp_path: Path) -> None:
    np.savez(tmp_path / "own.npz", images=np.zeros((20, 5, 6), np.uint8), labels=np.arange(20) % 2)
    found = json.loads(cli("data", "show", tmp_path / "own.npz", "--json").stdout)
    assert (found["shape"], found["classes"], found["train_size"], found["test_size"]) == ("1 x 5 x 6", "0, 1", 16, 4)


def test_a_folder_for_one_data_set_can_be_named(cli: Cli, tmp_path: Path) -> None:
    found = json.loads(cli("data", "list", "--json", "--data-dir", f"cifar10={tmp_path}").stdout)
    folders = {item["name"]: item["folder"] for item in found}
    assert folders["cifar10"] == str(tmp_path)
    assert folders["svhn"] != str(tmp_path)


def test_unknown_data_is_bad_input(cli: Cli) -> None:
    for verb in ("show", "prepare"):
        done = cli("data", verb, "mnits")
        assert done.exit_code == 2
        assert "Did you mean 'mnist'" in done.stderr
