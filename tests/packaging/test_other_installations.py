"""The files for conda and Docker, which CI cannot try, at least say the same as pyproject.toml."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINS = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split())
ON_CONDA = {"torch": "pytorch", "duckdb": "python-duckdb", "matplotlib": "matplotlib-base"}


def bounded(requirement: str) -> tuple[str, str]:
    name, bound = re.fullmatch(r"([\w-]+)(.*)", requirement).groups()
    return name, bound


def test_conda_gets_the_dependencies_with_their_bounds() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    *packages, inner = environment["dependencies"]
    expected = {f"{ON_CONDA.get(name, name)}{bound}" for name, bound in map(bounded, PROJECT["dependencies"])}
    assert set(packages) == expected | {"pip", f"python{PROJECT['requires-python']}"}
    assert inner == {"pip": ["."]}


def test_the_container_copies_what_a_build_needs_and_pins_the_torch_of_ci() -> None:
    text = (ROOT / "Dockerfile").read_text()
    copied = [name for line in re.findall(r"^COPY (.*) \S+$", text, re.MULTILINE) for name in line.split()]
    assert all((ROOT / name).exists() for name in copied)
    assert {PROJECT["readme"], *PROJECT["license-files"], "pyproject.toml", "src"} <= set(copied)
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert kept == set(copied)
    assert f"torch=={PINS['torch']}" in text


def test_both_say_that_they_are_not_tried_in_ci() -> None:
    assert "not built in CI" in (ROOT / "Dockerfile").read_text()
    assert "not solved in CI" in (ROOT / "environment.yml").read_text()


def test_what_ci_uses_is_pinned_inside_the_bounds() -> None:
    def version(text: str) -> tuple[int, ...]:
        return tuple(int(part) for part in re.findall(r"\d+", text)[:3])

    pins = {name.lower().replace("_", "-"): pin for name, pin in PINS.items()}
    for name, bound in map(bounded, PROJECT["dependencies"]):
        assert version(pins[name]) >= version(bound), name
