"""Sheets of samples."""

from __future__ import annotations

import pytest
import torch

from weightscape.data.loading import load_data
from weightscape.data.sheet import sheet
from weightscape.data.specification import DataSettings
from weightscape.errors import DataError


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
