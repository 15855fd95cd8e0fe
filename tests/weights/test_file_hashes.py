import hashlib
import os

import pytest

from weightscape.errors import StoreError
from weightscape.weights import file_hashes as module
from weightscape.weights.file_hashes import file_hash, file_hashes


@pytest.fixture
def memory(tmp_path, monkeypatch):
    monkeypatch.setenv("WEIGHTSCAPE_CACHE", str(tmp_path / "cache"))
    return tmp_path


def aged(path, seconds=100):
    os.utime(path, (1.7e9 - seconds, 1.7e9 - seconds))


def expected(content):
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def test_hashes_are_those_of_the_content_in_the_order_asked_for(memory):
    for name in "ab":
        (memory / name).write_bytes(name.encode())
    assert file_hashes([memory / "b", memory / "a", memory / "b"]) == [expected(b"b"), expected(b"a"), expected(b"b")]


def test_a_file_that_stays_as_it_is_is_read_once(memory, monkeypatch):
    (memory / "a").write_bytes(b"old")
    aged(memory / "a")
    assert file_hash(memory / "a") == expected(b"old")
    monkeypatch.setattr(module, "_hashed", lambda path: pytest.fail("read again"))
    assert file_hash(memory / "a") == expected(b"old")


def test_a_file_that_changed_is_read_again_whatever_it_pretends(memory):
    path = memory / "a"
    path.write_bytes(b"old")
    aged(path)
    assert file_hash(path) == expected(b"old")
    path.write_bytes(b"new")  # the same size
    aged(path)  # and the same time of change: the time of the inode still tells
    assert file_hash(path) == expected(b"new")


def test_a_file_changed_just_now_is_not_remembered(memory, monkeypatch):
    (memory / "a").write_bytes(b"old")
    file_hash(memory / "a")
    monkeypatch.setattr(module, "_hashed", lambda path: "read again")
    assert file_hash(memory / "a") == "read again"


def test_without_a_place_to_remember_nothing_is_lost(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"a")
    monkeypatch.setenv("WEIGHTSCAPE_CACHE", str(tmp_path / "file"))
    assert file_hash(tmp_path / "file") == expected(b"a")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "files.sqlite").write_bytes(b"this is no database, but long enough to look like one" * 99)
    monkeypatch.setenv("WEIGHTSCAPE_CACHE", str(tmp_path / "cache"))
    assert file_hash(tmp_path / "file") == expected(b"a")


def test_a_file_that_is_gone_is_named(memory):
    with pytest.raises(StoreError, match="gone cannot be read"):
        file_hash(memory / "gone")
