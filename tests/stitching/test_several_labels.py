"""Faces with forty attributes each: networks trained on them are stitched, matched and scored by mean accuracy."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.data.faces import Faces, write_tables
from weightscape.data.dataset import Dataset
from weightscape.data.loading import load_data
from weightscape.data.specification import DataSettings
from weightscape.models.building import build_model
from weightscape.stitching.direct.networks import stitch_directly
from weightscape.stitching.task_loss import train_stitch
from weightscape.training.evaluation import evaluate
from weightscape.training.recipe import Recipe
from weightscape.training.run import train_model

CLASSES = 40


@pytest.fixture
def faces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    monkeypatch.setenv("WEIGHTSCAPE_CACHE", str(tmp_path / "cache"))
    write_tables(tmp_path / "celeba", Faces(train=48, test=12))
    settings = {"name": "celeba", "size": 32, "validation": 0.2}
    return load_data(DataSettings.model_validate(settings), root=tmp_path)


def trained(faces: Dataset, seed: int) -> torch.nn.Module:
    model = build_model("tiny10", shape=faces.shape, classes=CLASSES, seed=seed)
    recipe = Recipe.model_validate({"epochs": 2, "batch_size": 16, "loss": "binary-cross-entropy"})
    model.load_state_dict(train_model(model, faces, recipe=recipe, order_seed=seed).best)
    return model


@pytest.mark.slow
def test_two_networks_of_faces_are_stitched_and_matched(faces: Dataset) -> None:
    front, back = (trained(faces, seed) for seed in (0, 1))
    options = {"init": "ps_inv", "epochs": 2, "batch_size": 16, "target": "hard", "probe": 12}
    stitch = train_stitch(front, back, faces, "bn3", **options)
    own = evaluate(back, faces.test)
    assert stitch.back_accuracy == pytest.approx(own.accuracy)
    assert stitch.accuracy / own.accuracy == pytest.approx(stitch.relative_accuracy)
    assert 0.3 < stitch.accuracy < 0.8
    soft = train_stitch(front, back, faces, "bn3", **(options | {"target": "soft_2", "epochs": 0}))
    matched = stitch_directly(front, back, faces, ["bn3"], methods=["least-squares"], probe=12).matches
    assert matched["accuracy"].iloc[0] == pytest.approx(soft.accuracy, abs=1e-3)
    assert matched["cross_entropy"].iloc[0] == pytest.approx(soft.cross_entropy, rel=1e-3)


@pytest.mark.slow
def test_a_stitch_of_a_network_to_itself_changes_nothing(faces: Dataset) -> None:
    model = trained(faces, 0)
    same = train_stitch(model, model, faces, "bn5", init="eye", epochs=0, probe=12)
    assert same.relative_accuracy == pytest.approx(1.0)
    assert same.kl == pytest.approx(0.0, abs=1e-6)
    assert same.agreement == pytest.approx(1.0)
