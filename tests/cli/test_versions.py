"""What doctor says about versions."""

from __future__ import annotations

import importlib.metadata
import sys
import tomllib
from pathlib import Path

import pytest

from weightscape.cli import versions
from weightscape.cli.doctor import _extras

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("installed", "word"),
    [
        ("2.5.1", "Older"),
        ("1.13.0", "Older"),
        (versions.OLDEST_TORCH, ""),
        ("2.13.0+cpu", ""),
        ("2.10.0a0+git123", ""),
        (f"{versions.NEWEST_TORCH}+cu130", ""),
        ("3.0.0", "Newer"),
        ("2.115.0", "Newer"),
    ],
)
def test_a_torch_outside_of_what_was_tried_is_told(installed: str, word: str) -> None:
    remedy = versions.torch_remedy(installed)
    assert remedy.startswith(word)
    assert bool(remedy) == bool(word)


def test_the_oldest_torch_is_the_bound_of_the_package_and_both_are_documented() -> None:
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert versions.numbers(versions.OLDEST_TORCH)[:2] == versions.numbers(
        next(text for text in dependencies if text.startswith("torch"))
    )
    oldest = ".".join(versions.OLDEST_TORCH.split(".")[:2])
    guide = ROOT / "docs" / "how-to" / "install.md"
    for page in (ROOT / "README.md", guide):
        assert f"PyTorch {oldest} or newer" in " ".join(page.read_text().split()), page
    for tried in (versions.OLDEST_TORCH, versions.NEWEST_TORCH):
        assert tried in guide.read_text()


def test_packages_that_are_absent_or_too_old_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not list(versions.missing_packages())
    needed = ["torch>=2.6", "numpy>=999", "absent-thing>=1.0", "scipy", 'timm>=1.0; extra == "models"']
    monkeypatch.setattr(versions, "requires", lambda name: needed)
    assert list(versions.missing_packages()) == [
        ("numpy>=999", importlib.metadata.version("numpy")),
        ("absent-thing>=1.0", "not installed"),
    ]


def test_an_extra_that_fails_to_import_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "extra_good.py").write_text("")
    (tmp_path / "extra_bad.py").write_text("raise RuntimeError('operator x::nms does not exist')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(versions, "EXTRAS", ("extra_good", "extra_bad", "extra_absent"))
    assert list(versions.extras()) == [
        ("extra_good", ""),
        ("extra_bad", "RuntimeError: operator x::nms does not exist"),
    ]
    bad, others = list(_extras())
    assert (bad.state, others.state) == ("note", "ok")
    assert "extra_bad is installed, but fails to import" in bad.found
    assert others.found == "extra_good; extra_absent not installed (optional)"
    sys.modules.pop("extra_good")
