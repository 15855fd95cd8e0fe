"""Direct matching in one line: an answer in words and a page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from typer.testing import Result

import weightscape as ws

OWN = ("--device", "cpu", "--workers", "0", "--data", "digits")


def test_direct_matching_is_told_by_layer_and_has_a_page(cli: Callable[..., Result], tmp_path: Path) -> None:
    nets = [tmp_path / f"net{seed}.pt" for seed in (0, 1)]
    for seed, path in enumerate(nets):
        network = ws.build_model({"name": "mlp", "hidden": [12, 8]}, shape=(1, 8, 8), classes=10, seed=seed)
        torch.save(network.state_dict(), path)
    done = cli("direct-matching", *nets, "relu*", "--methods", "[identity,least-squares,reduced-rank]", *OWN)
    assert done.exit_code == 0, done.stderr
    words = " ".join(done.stdout.split())
    assert "stitches at 2 pairs of layers, fitted to 1,297 training images of digits" in words
    assert "relu1: least-squares comes closest to the back's activation, with R2 0." in words
    assert "relu2: " in words
    assert "Only 355 images were scored on" in " ".join(done.stderr.split())
    page = Path(next(line for line in done.stdout.splitlines() if line.startswith("page")).split()[1]).read_text()
    assert page.count('src="data:image/png;base64,') == 1
    assert "net1.pt, direct matching</title>" in page
    across = cli("direct-matching", *nets, "relu1", "relu2", "--methods", "[identity,least-squares]", *OWN)
    assert across.exit_code == 0, across.stderr
    assert "relu1 to relu2: least-squares comes closest" in " ".join(across.stdout.split())
    assert "1 of 2 rows have no stitch" in " ".join(across.stderr.split())
