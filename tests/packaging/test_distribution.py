"""What is shipped: the wheel is complete and runs far from the clone, the source distribution makes the same wheel."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


def build(source: Path, folder: Path, *kinds: str) -> None:
    targets = [part for kind in kinds for part in ("--target", kind)]
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", *targets, "--directory", str(folder)],
        cwd=source,
        check=True,
        capture_output=True,
        env={**os.environ, "SOURCE_DATE_EPOCH": "1700000000"},
    )


def only(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source distribution of the working tree."""
    folder = tmp_path_factory.mktemp("shipped")
    build(ROOT, folder, "wheel", "sdist")
    return folder


@pytest.fixture(scope="module")
def installed(shipped: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that has the wheel, and the dependencies of this one behind it.

    A line in a .pth file adds a folder to the path and reads no .pth file in that folder, so the editable installation
    of the clone is not reachable.
    """
    home = tmp_path_factory.mktemp("elsewhere") / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    python = home / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, only(shipped, "*.whl")], check=True)
    own = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    )
    (Path(own.stdout.strip()) / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return python.parent


def command(programs: Path, *arguments: str, folder: Path) -> str:
    unwanted = {"PYTHONPATH", "WEIGHTSCAPE_WORKSPACE", "VIRTUAL_ENV"}
    environment = {name: value for name, value in os.environ.items() if name not in unwanted}
    done = subprocess.run(
        [str(programs / arguments[0]), *arguments[1:]],
        cwd=folder,
        env={**environment, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def package_files(home: Path) -> set[str]:
    files = (file.relative_to(home.parent) for file in home.rglob("*") if file.is_file())
    return {file.as_posix() for file in files if "__pycache__" not in file.parts}


def wheel_files(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(shipped: Path) -> None:
    inside = wheel_files(only(shipped, "*.whl"))
    metadata = {name for name in inside if re.match(r"weightscape-[\d.]+\.dist-info/", name)}
    assert inside - metadata == package_files(ROOT / "src" / "weightscape")
    for needed in (
        "py.typed",
        "recipes/digits-transfer.yaml",
        "figures/published/mnist-mlp.json",
        "report/templates/report.html.j2",
        "studies/operations.lock.json",
    ):
        assert f"weightscape/{needed}" in inside


def test_the_source_distribution_makes_the_same_wheel(shipped: Path, tmp_path: Path) -> None:
    with tarfile.open(only(shipped, "*.tar.gz")) as archive:
        assert max(member.size for member in archive.getmembers()) < 1_000_000
        assert not any(re.search(r"/(\.venv|_build|weightscape-runs|shared)/", name) for name in archive.getnames())
        archive.extractall(tmp_path, filter="data")
    build(only(tmp_path, "weightscape-*"), tmp_path, "wheel")
    assert only(tmp_path, "*.whl").read_bytes() == only(shipped, "*.whl").read_bytes()


def test_the_installed_package_is_the_one_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    code = "import weightscape, weightscape.studies.workspace.store; print(weightscape.__file__)"
    assert Path(command(installed, "python", "-c", code, folder=tmp_path).strip()).is_relative_to(installed.parent)


def test_the_command_and_its_bundled_recipes_work_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    assert "Usage: weightscape" in command(installed, "weightscape", "--help", folder=tmp_path)
    recipes = command(installed, "weightscape", "recipes", folder=tmp_path)
    assert "digits-transfer" in recipes
    assert "learning-transfer/mnist-mlp" in recipes
    assert not list(tmp_path.iterdir())


def test_the_demo_runs_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    command(installed, "weightscape", "run", "digits-transfer", folder=tmp_path)
    results = tmp_path / "weightscape-runs" / "studies" / "digits-transfer"
    assert (results / "report.html").stat().st_size > 10_000
    tables = {file.stem for file in results.glob("*.parquet")}
    assert tables == {"trained", "trained.epochs", "transferred", "transferred.steps", "finetuned", "finetuned.epochs"}
    assert len(list((results / "figures").glob("*.png"))) == 4
    table = command(installed, "weightscape", "table", "digits-transfer", "trained", folder=tmp_path)
    assert "test_accuracy" in table
