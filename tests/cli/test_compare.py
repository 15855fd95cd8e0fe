"""Layers of two networks compared by one command, also from what was stored of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from typer.testing import Result

import weightscape as ws

OWN = ("--device", "cpu", "--workers", "0")
MLP = {"name": "mlp", "hidden": [12, 8]}


@pytest.fixture
def nets(tmp_path: Path) -> list[Path]:
    """Two untrained networks of one architecture, and one of another."""
    models = [(0, MLP), (1, MLP), (2, {"name": "mlp", "hidden": [12, 10]})]
    paths = []
    for seed, model in models:
        network = ws.build_model(model, shape=(1, 8, 8), classes=10, seed=seed)
        paths.append(tmp_path / f"net{seed}.pt")
        torch.save(network.state_dict(), paths[-1])
    return paths


def page_of(done: Result) -> str:
    return Path(next(line for line in done.stdout.splitlines() if line.startswith("page")).split()[1]).read_text()


def key_of(done: Result) -> str:
    return next(line for line in done.stdout.splitlines() if line.startswith("key")).split()[1]


def test_two_files_become_an_answer_and_a_page(cli: Callable[..., Result], nets: list[Path]) -> None:
    done = cli("compare", *nets[:2], "--data", "digits", "--layers", "linear*,relu1", "--images", "60", *OWN)
    assert done.exit_code == 0, done.stderr
    assert "Compared 4 x 4 layers on 60 images of the test split of digits, activations as features." in done.stdout
    assert "linear-cka-debiased: linear1 " in done.stdout
    page = page_of(done)
    assert page.count('src="data:image/png;base64,') == 2
    assert "Only 60 images" in page


def test_the_command_and_a_study_have_the_same_key(
    cli: Callable[..., Result], nets: list[Path], tmp_path: Path
) -> None:
    done = cli("compare", *nets[:2], "--data", "digits", "--layers", "relu*", "--images", "60", *OWN)
    model = "{name: mlp, hidden: [12, 8]}"
    study = tmp_path / "study.yaml"
    study.write_text(
        "study: same\nstages:\n  compared:\n    run: compare\n"
        f"    from: {{source: {nets[0]}, target: {nets[1]}}}\n"
        f"    with: {{data: digits, source_model: {model}, target_model: {model}, layers: [relu*], images: 60}}\n"
    )
    planned = cli("plan", study)
    assert "0 to compute" in planned.stdout, planned.stdout
    assert len(key_of(done)) == 32


def test_networks_of_other_architectures_are_compared(cli: Callable[..., Result], nets: list[Path]) -> None:
    done = cli(
        *("compare", nets[0], nets[2], "--data", "digits", "--layers", "relu*", "--measures", "linear-cka,procrustes"),
        *("--images", "60", *OWN),
    )
    assert done.exit_code == 0, done.stderr
    assert "procrustes: relu1 " in done.stdout


def test_what_was_stored_is_compared_without_data(
    cli: Callable[..., Result], nets: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = []
    for path in nets[:2]:
        done = cli("represent", path, "--data", "digits", "--images", "60", *OWN)
        assert done.exit_code == 0, done.stderr
        keys.append(key_of(done))
    monkeypatch.setattr("weightscape.data.loading.load_data", None)  # nothing may ask for it
    done = cli("compare", *keys, "--layers", "linear*", *OWN)
    assert done.exit_code == 0, done.stderr
    shown = json.loads(cli("compare", *keys, "--layers", "linear*", "--json", *OWN).stdout)[0]
    assert shown["settings"]["data"] is None
    assert shown["metrics"]["count"] == 60


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--layers", "linear9"), "Did you mean 'linear"),
        (("--measures", "linear-ckaa"), "Did you mean 'linear-cka'"),
        (("--measures", "svcca", "--images", "3"), "samples"),
    ],
)
def test_mistakes_are_named(
    cli: Callable[..., Result], nets: list[Path], options: tuple[str, ...], message: str
) -> None:
    done = cli("compare", *nets[:2], "--data", "digits", *options, *OWN)
    assert done.exit_code != 0
    assert message in " ".join((done.stdout + done.stderr).split())


def test_networks_without_a_data_set_are_told_the_option(cli: Callable[..., Result], nets: list[Path]) -> None:
    models = ("--source-model", json.dumps(MLP), "--target-model", json.dumps(MLP))
    done = cli("compare", *nets[:2], *models, *OWN)
    assert done.exit_code != 0
    assert "the option data (--data NAME)" in " ".join(done.stderr.split())


def test_a_network_and_a_representation_are_not_compared(cli: Callable[..., Result], nets: list[Path]) -> None:
    key = key_of(cli("represent", nets[0], "--data", "digits", "--images", "60", *OWN))
    done = cli("compare", key, nets[1], "--data", "digits", "--target-model", json.dumps(MLP), *OWN)
    assert done.exit_code == 3
    assert "the source is what represent stored, the target a network" in " ".join(done.stderr.split())
