"""Fetching files from mirrors and from a hub, with local stand-ins for both."""

from __future__ import annotations

import dataclasses
import gzip
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from weightscape.data.catalogue import fingerprint
from weightscape.data.downloads import prepare
from weightscape.data.entries import ENTRIES, Entry
from weightscape.data.fingerprinting import content_digest
from weightscape.data.loading import load_data
from weightscape.errors import DataError

from .conftest import colour_arrays, write_idx, write_parquet

LABELS = "t10k-labels-idx1-ubyte.gz"


class Quiet(SimpleHTTPRequestHandler):
    asked: list[str]

    def log_message(self, *arguments: object) -> None:
        type(self).asked.append(self.path)


@dataclasses.dataclass
class Mirror:
    folder: Path
    address: str
    asked: list[str]


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    """A folder of the official files, served from this machine; the catalogue knows their content."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    folder = tmp_path / "served"
    write_idx(folder, compress=True)
    digests = {role: content_digest(folder / f"{name}.gz") for role, name in ENTRIES["mnist"].files.items()}
    small = dataclasses.replace(ENTRIES["mnist"], train_size=200, test_size=50, digests=digests)
    monkeypatch.setitem(ENTRIES, "mnist", small)
    handler = type("Handler", (Quiet,), {"asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield Mirror(folder, f"http://127.0.0.1:{server.server_port}", handler.asked)
    server.shutdown()
    server.server_close()


def leftovers(root: Path) -> list[str]:
    return [path.name for path in root.rglob(".part-*")]


def test_a_mirror_fills_the_folder_and_is_not_asked_again(mirror: Mirror, tmp_path: Path) -> None:
    root = tmp_path / "root"
    assert prepare("mnist", root, mirrors=[mirror.address]) == root / "mnist"
    assert fingerprint("mnist", root) == fingerprint("mnist", _copied(mirror.folder, tmp_path / "copy"))
    asked = len(mirror.asked)
    assert asked == 4
    prepare("mnist", root, mirrors=[mirror.address])
    assert len(mirror.asked) == asked
    assert not leftovers(root)


def _copied(folder: Path, root: Path) -> Path:
    shutil.copytree(folder, root / "mnist")
    return root


def test_nothing_is_fetched_unless_asked(mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENTRIES, "mnist", dataclasses.replace(ENTRIES["mnist"], mirrors=(mirror.address,)))
    with pytest.raises(DataError, match="not found"):
        load_data("mnist", root=tmp_path / "root")
    assert mirror.asked == []
    data = load_data("mnist", root=tmp_path / "root", download=True)
    assert len(data.test) == 50


def test_only_the_missing_file_is_fetched(mirror: Mirror, tmp_path: Path) -> None:
    root = _copied(mirror.folder, tmp_path / "root")
    (root / "mnist" / LABELS).unlink()
    prepare("mnist", root, mirrors=[mirror.address])
    assert len(mirror.asked) == 1


def test_the_next_mirror_is_tried_and_other_compression_is_accepted(mirror: Mirror, tmp_path: Path) -> None:
    path = mirror.folder / LABELS
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()), compresslevel=1))
    prepare("mnist", tmp_path / "root", mirrors=["http://127.0.0.1:9/closed", mirror.address])
    assert len(load_data("mnist", root=tmp_path / "root").test) == 50


@pytest.mark.parametrize(
    ("content", "message"),
    [
        # Without the time, which would make the name of the test another one in each process.
        (gzip.compress(b"something else", mtime=0), "not the test labels of MNIST"),
        (b"<html>Please log in</html>", "damaged"),
        (b"", "not the test labels|truncated"),
    ],
)
def test_wrong_content_is_refused_and_leaves_nothing(
    mirror: Mirror, tmp_path: Path, content: bytes, message: str
) -> None:
    (mirror.folder / LABELS).write_bytes(content)
    root = tmp_path / "root"
    with pytest.raises(DataError, match=message) as caught:
        prepare("mnist", root, mirrors=[mirror.address])
    assert f"{mirror.address}/{LABELS}" in str(caught.value)
    assert not (root / "mnist" / LABELS).exists()
    assert not leftovers(root)


def test_a_broken_transfer_is_refused(mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served = SimpleHTTPRequestHandler.copyfile

    def interrupted(handler: SimpleHTTPRequestHandler, source: object, target: object) -> None:
        target.write(source.read(30))  # type: ignore[attr-defined]

    monkeypatch.setattr(SimpleHTTPRequestHandler, "copyfile", interrupted)
    with pytest.raises(DataError, match="ended after 30 of"):
        prepare("mnist", tmp_path / "root", mirrors=[mirror.address])
    assert not leftovers(tmp_path)
    monkeypatch.setattr(SimpleHTTPRequestHandler, "copyfile", served)
    prepare("mnist", tmp_path / "root", mirrors=[mirror.address])


def test_all_failures_are_listed(mirror: Mirror, tmp_path: Path) -> None:
    mirrors = ["http://127.0.0.1:9/closed", f"{mirror.address}/nowhere"]
    with pytest.raises(DataError) as caught:
        prepare("mnist", tmp_path / "root", mirrors=mirrors)
    assert "127.0.0.1:9/closed" in str(caught.value)
    assert "404" in str(caught.value)


def test_a_folder_that_cannot_be_made_is_named(small_catalogue: dict[str, Entry], tmp_path: Path) -> None:
    (tmp_path / "root").write_text("a file")
    with pytest.raises(DataError, match="cannot be made"):
        prepare("mnist", tmp_path / "root", mirrors=[])


def test_embedded_data_need_no_network(tmp_path: Path) -> None:
    assert (prepare("digits", tmp_path) / "digits.csv.gz").is_file()


@pytest.mark.slow
def test_a_hub_repository_becomes_the_same_data_set(
    small_catalogue: dict[str, Entry], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub-home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hub-cache")
    images, labels = colour_arrays(200)
    repository = tmp_path / "repository"
    write_parquet(repository / "data" / "train-00000-of-00002.parquet", images[:120], labels[:120])
    write_parquet(repository / "data" / "train-00001-of-00002.parquet", images[120:], labels[120:])
    write_parquet(repository / "data" / "test-00000-of-00001.parquet", images[:50], labels[:50])
    direct = tmp_path / "direct"
    shutil.copytree(repository, direct / "cifar10")
    root = tmp_path / "root"
    assert prepare("cifar10", root, hub=str(repository)) == root / "cifar10"
    assert fingerprint("cifar10", root) == fingerprint("cifar10", direct)
    assert len(load_data("cifar10", root=root).test) == 50
    assert not leftovers(root)


@pytest.mark.slow
def test_an_absent_hub_repository_is_an_error(
    small_catalogue: dict[str, Entry], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("datasets")
    with pytest.raises(DataError, match=r"could not be fetched from .*by hand"):
        prepare("cifar10", tmp_path / "root", hub=str(tmp_path / "absent"))
