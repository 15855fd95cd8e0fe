"""Full disks, closed folders, torn files: clear errors, and the next run ends in the same bytes."""

from __future__ import annotations

import ctypes
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.unbreakable.harness import Runs, check_finished, command, contents, look, surroundings
from weightscape.studies.workspace.store import Store
from weightscape.studies.workspace.verification import verify

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="mounts and limits are those of Linux"),
]
DROP_CAPABILITY = 24
OVERRIDES = (1, 2, 3)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """A run that nobody touched."""
    runs = Runs(tmp_path_factory.mktemp("reference"), "--workers", "0")
    runs.finish()
    return runs


@contextmanager
def mounted(folder: Path, size: str) -> Iterator[None]:
    """Mount a small file system, or skip where that is not allowed."""
    folder.mkdir(parents=True)
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {made.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_said_and_the_run_continues_when_there_is_space(reference: Runs, tmp_path: Path) -> None:
    runs = Runs(tmp_path, "--workers", "0")
    needed = sum(path.stat().st_size for path in reference.workspace.rglob("*") if path.is_file())
    with mounted(runs.workspace, f"{needed // 3}"):
        with runs.start() as run:
            printed = run.communicate(timeout=240)[0]
        assert run.returncode != 0
        assert "No space left on device" in printed
        assert "Free some space and run the same command again" in " ".join(printed.split())
        assert "Traceback" not in printed
        look(runs.workspace)
        subprocess.run(["mount", "-o", "remount,size=64m", str(runs.workspace)], check=True)
        runs.finish()
        check_finished(runs, reference)


def test_files_that_may_not_grow_are_a_full_disk(reference: Runs, tmp_path: Path) -> None:
    runs = Runs(tmp_path, "--workers", "0")
    largest = max(len(content) for content in contents(reference.workspace).values())
    done = limited(runs, largest // 2)
    assert done.returncode != 0
    assert "File too large" in done.stdout
    assert "Traceback" not in done.stdout
    look(runs.workspace)
    runs.finish()
    check_finished(runs, reference)


def limited(runs: Runs, size: int) -> subprocess.CompletedProcess[str]:
    """Run where no file may be larger than `size` bytes."""
    return subprocess.run(
        command("run", str(runs.study), "--workspace", str(runs.workspace), "--device", "cpu", *runs.options),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=surroundings(),
        timeout=240,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
    )


def test_a_folder_that_may_not_be_written_any_more_is_named(reference: Runs, tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    shutil.copytree(reference.workspace, runs.workspace)
    key = next(runs.workspace.glob("objects/*/*"))
    shutil.rmtree(key)
    with unwritable(tmp_path):
        done = unprivileged(command("run", str(runs.study), "--workspace", str(runs.workspace), "--device", "cpu"))
        assert (done.returncode, done.stdout) == (2, "")
        assert str(runs.workspace) in done.stderr.replace("\n", " ")
        assert "weightscape doctor" in " ".join(done.stderr.split())
        assert "Traceback" not in done.stderr
        read = unprivileged(command("table", "hunted", "tested", "--csv", "--workspace", str(runs.workspace)))
        assert (read.returncode, len(read.stdout.splitlines())) == (0, 5), read.stderr
    runs.finish()
    check_finished(runs, reference)


@contextmanager
def unwritable(folder: Path) -> Iterator[None]:
    """Take the right to write to a folder and everything in it."""
    before = {path: path.stat().st_mode for path in [*folder.rglob("*"), folder]}
    for path, mode in before.items():
        path.chmod(mode & ~0o222)
    try:
        if unprivileged(["touch", str(folder / "probe")]).returncode == 0:
            pytest.skip("whoever runs the tests may write everywhere, and cannot give that up")
        yield
    finally:
        for path, mode in before.items():
            path.chmod(mode)


def unprivileged(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command that permissions hold for, as they do not for root."""
    library = ctypes.CDLL(None)

    def give_up() -> None:
        for capability in OVERRIDES:
            library.prctl(DROP_CAPABILITY, capability, 0, 0, 0)

    return subprocess.run(
        arguments, capture_output=True, text=True, env=surroundings(), timeout=240, check=False, preexec_fn=give_up
    )


def damages() -> Iterator[tuple[str, str]]:
    for file in ("object.json", "epochs.parquet", "trajectory/4ep.safetensors", "trajectory/iterations-per-epoch.json"):
        for way in ("flipped", "cut", "emptied", "removed"):
            yield file, way


def spoil(path: Path, way: str) -> None:
    content = bytearray(path.read_bytes())
    path.unlink()  # equal files of a result may be one file under two names
    content[len(content) // 2] ^= 1
    if way != "removed":
        path.write_bytes({"flipped": content, "cut": content[: len(content) // 2], "emptied": b""}[way])


def test_whatever_is_damaged_is_found_removed_and_computed_anew(reference: Runs, tmp_path: Path) -> None:
    runs = Runs(tmp_path, "--workers", "0")
    shutil.copytree(reference.workspace, runs.workspace)
    trained = sorted(folder.parent for folder in runs.workspace.glob("objects/*/*/trajectory"))
    for number, (file, way) in enumerate(damages()):
        folder = trained[number % len(trained)]
        spoil(folder / file, way)
        (damage,) = verify(Store(runs.workspace), repair=True).damages
        assert (damage.name, damage.removed, folder.exists()) == (folder.name, True, False)
        assert Path(file).name in damage.problem
        shutil.copytree(reference.workspace / folder.relative_to(runs.workspace), folder)
    for folder in trained:
        shutil.rmtree(folder)
    runs.finish()
    check_finished(runs, reference)


def test_a_run_mends_by_itself_what_it_reads(reference: Runs, tmp_path: Path) -> None:
    runs = Runs(tmp_path, "--workers", "0")
    shutil.copytree(reference.workspace, runs.workspace)
    first, second = sorted(folder.parent for folder in runs.workspace.glob("objects/*/*/trajectory"))
    spoil(first / "epochs.parquet", "flipped")
    spoil(second / "object.json", "emptied")
    shutil.rmtree(runs.workspace / "studies")
    runs.finish()
    check_finished(runs, reference)
