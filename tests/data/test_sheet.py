"""Sheets of samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from weightscape.data.loading import load_data
from weightscape.data.sheet import save_sheet, sheet
from weightscape.data.specification import DataSettings
from weightscape.errors import DataError

TURN = [{"name": "rotation", "degrees": 45}]


def test_each_row_holds_images_of_its_class() -> None:
    data = load_data(DataSettings(name="digits", classes=(4, 2)))
    picture = sheet(data, per_class=3, split="test", gap=2)
    assert picture.dtype == torch.uint8
    assert picture.shape == (1, 2 * 10 + 2, 3 * 10 + 2)
    for label in (0, 1):
        expected = data.test.images[data.test.labels == label][:3]
        for place in range(3):
            top, left = 2 + 10 * label, 2 + 10 * place
            assert torch.equal(picture[:, top : top + 8, left : left + 8], expected[place])
    assert (picture[:, :2] == 255).all()


def test_places_without_an_image_stay_white() -> None:
    data = load_data(DataSettings(name="digits", classes=(4, 2), validation=0.02))
    held = int(torch.bincount(data.validation.labels).max())
    picture = sheet(data, per_class=held + 2, split="validation")
    assert (picture[:, :, -17:] == 255).all()


def test_no_image_per_class_is_refused() -> None:
    with pytest.raises(DataError, match="at least one image"):
        sheet(load_data("digits"), per_class=0)


def test_a_sheet_is_saved_with_names_and_augmented_where_asked(tmp_path: Path) -> None:
    data = load_data(DataSettings(name="digits", classes=(4, 2)))
    plain, turned = (
        np.array(Image.open(save_sheet(data, tmp_path / f"{name}.png", per_class=3, augment=augment)))
        for name, augment in (("plain", "none"), ("turned", DataSettings(name="digits", augment=TURN).augment))
    )
    picture = sheet(data, per_class=3)
    margin = plain.shape[1] - 8 * picture.shape[2]
    assert np.array_equal(plain[::8, margin::8, 0], picture[0].numpy())
    assert (plain[:, :margin] < 128).any()
    assert np.array_equal(plain[:, :margin], turned[:, :margin])
    assert not np.array_equal(plain, turned)


def test_a_sheet_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    for name in ("sheet.nothing", "absent/sheet.png"):
        with pytest.raises(DataError, match=name):
            save_sheet(load_data("digits"), tmp_path / name)
