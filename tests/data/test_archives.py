"""Fetching archives and files with a published MD5, from a stand-in on this machine."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import tarfile
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from weightscape.data.catalogue import summary
from weightscape.data.downloads import prepare
from weightscape.data.entries import ENTRIES, Entry
from weightscape.data.loading import load_data
from weightscape.errors import DataError

from .packagings import Content, write_cifar10_binary, write_stl10, write_svhn


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, str]]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    folder = tmp_path / "served"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def archive(folder: Path, path: Path, *, inside: str = "some-folder", hostile: bool = False) -> str:
    with tarfile.open(path, "w:gz") as file:
        if hostile:
            for name in ("../escaped", "/tmp/escaped-absolutely"):
                member = tarfile.TarInfo(name)
                member.size = 3
                file.addfile(member, io.BytesIO(b"bad"))
            link = tarfile.TarInfo("train_X.bin")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            file.addfile(link)
        for member_path in sorted(folder.iterdir()):
            file.add(member_path, f"{inside}/{member_path.name}")
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def know(monkeypatch: pytest.MonkeyPatch, name: str, md5: dict[str, str]) -> None:
    entry = ENTRIES[name]
    others = tuple(
        dataclasses.replace(one, md5=md5 if one.reader == "cifar-binary" else {}, archive=one.archive)
        for one in entry.others
    )
    monkeypatch.setitem(ENTRIES, name, dataclasses.replace(entry, md5=md5, others=others))


@pytest.mark.parametrize("hostile", [False, True])
def test_an_archive_is_fetched_checked_and_unpacked(
    small_catalogue: dict[str, Entry],
    served: tuple[Path, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    hostile: bool,
) -> None:
    folder, address = served
    write_stl10(tmp_path / "files", Content(side=96))
    (tmp_path / "files" / "unlabeled_X.bin").write_bytes(b"not needed")
    md5 = archive(tmp_path / "files", folder / "stl10_binary.tar.gz", hostile=hostile)
    know(monkeypatch, "stl10", {"stl10_binary.tar.gz": md5})
    root = tmp_path / "below" / "root"
    prepare("stl10", root, mirrors=[address])
    assert sorted(path.name for path in (root / "stl10").iterdir()) == sorted(ENTRIES["stl10"].files.values())
    assert not (root / "stl10" / "train_X.bin").is_symlink()
    assert not list(tmp_path.rglob("escaped*"))
    assert len(load_data("stl10", root=root).test) == 50


def test_the_archive_of_another_packaging_serves_as_well(
    small_catalogue: dict[str, Entry], served: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, address = served
    write_cifar10_binary(tmp_path / "files", Content())
    md5 = archive(tmp_path / "files", folder / "cifar-10-binary.tar.gz")
    know(monkeypatch, "cifar10", {"cifar-10-binary.tar.gz": md5})
    prepare("cifar10", tmp_path / "root", mirrors=[address])
    assert summary("cifar10", tmp_path / "root").packaging == "cifar-binary"


def test_files_with_a_published_md5_are_checked(
    small_catalogue: dict[str, Entry], served: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, address = served
    write_svhn(folder, Content())
    with pytest.raises(DataError, match=r"not the published train_32x32.mat \(MD5"):
        prepare("svhn", tmp_path / "root", mirrors=[address])
    assert not (tmp_path / "root" / "svhn").exists()
    md5 = {path.name: hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() for path in folder.iterdir()}
    know(monkeypatch, "svhn", md5)
    prepare("svhn", tmp_path / "root", mirrors=[address])
    assert len(load_data("svhn", root=tmp_path / "root").test) == 50


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def page(path: Path) -> None:
    path.write_bytes(b"<html>moved</html>")


@pytest.mark.parametrize("damage", [cut, page])
@pytest.mark.parametrize("known", [True, False])
def test_a_damaged_archive_is_refused_and_leaves_nothing_half_written(
    small_catalogue: dict[str, Entry],
    served: tuple[Path, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    damage: Callable[[Path], None],
    known: bool,
) -> None:
    folder, address = served
    write_stl10(tmp_path / "files", Content(side=96))
    path = folder / "stl10_binary.tar.gz"
    md5 = archive(tmp_path / "files", path)
    know(monkeypatch, "stl10", {path.name: md5} if known else {})
    damage(path)
    with pytest.raises(DataError, match="not the published" if known else "could not be fetched"):
        prepare("stl10", tmp_path / "root", mirrors=[address])
    assert not list((tmp_path / "root").rglob(".part-*"))
    with pytest.raises(DataError):
        load_data("stl10", root=tmp_path / "root")


def test_an_archive_without_a_file_is_refused(
    small_catalogue: dict[str, Entry], served: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, address = served
    write_stl10(tmp_path / "files", Content(side=96))
    (tmp_path / "files" / "test_y.bin").unlink()
    archive(tmp_path / "files", folder / "stl10_binary.tar.gz")
    know(monkeypatch, "stl10", {})
    with pytest.raises(DataError, match=r"the archive lacks test_y.bin"):
        prepare("stl10", tmp_path / "root", mirrors=[address])
