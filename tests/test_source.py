import os
import sys

import pytest

from weightscape.errors import ModelError
from weightscape.source import import_dotted, source_hash


@pytest.fixture
def user_module(tmp_path, monkeypatch):
    """A function that writes a module which Python finds, and returns its file."""
    monkeypatch.syspath_prepend(tmp_path)
    written = []

    def write(name, text):
        file = tmp_path / f"{name}.py"
        before = file.stat().st_mtime_ns if file.exists() else 0
        file.write_text(text)
        os.utime(file, ns=(before + 10**9, before + 10**9))
        written.append(name)
        return file

    yield write
    for name in written:
        sys.modules.pop(name, None)


def test_a_name_is_imported_in_both_spellings():
    from collections import OrderedDict

    assert import_dotted("collections.OrderedDict") is import_dotted("collections:OrderedDict") is OrderedDict
    assert import_dotted("os.path.join") is os.path.join


@pytest.mark.parametrize("path", ["absent_module.Net", "collections.Absent", "Net", "", ".Net", "collections."])
def test_what_cannot_be_imported_is_refused(path):
    with pytest.raises(ModelError, match="cannot be imported"):
        import_dotted(path)


@pytest.mark.parametrize("text", ["def broken(:", "1 / 0", "import absent_module"])
def test_a_module_that_fails_while_it_is_imported_is_named(user_module, text):
    user_module("users_broken", text)
    with pytest.raises(ModelError, match=r"'users_broken\.Net' cannot be imported"):
        import_dotted("users_broken.Net")


def test_a_hash_follows_the_source_not_the_name(user_module):
    user_module("users_first", "x = 1")
    user_module("users_second", "x = 1")
    before = source_hash("users_first.x")
    assert before == source_hash("users_first:anything") == source_hash("users_second.x")
    user_module("users_first", "x = 2")
    assert source_hash("users_first.x") != before
    user_module("users_first", "x = 1")
    assert source_hash("users_first.x") == before


def test_hashing_does_not_run_the_module(user_module):
    user_module("users_hashed", "raise SystemExit")
    assert source_hash("users_hashed.Net")
    assert "users_hashed" not in sys.modules


@pytest.mark.parametrize("path", ["absent_module.Net", "absent.module.Net", "sys.path", "Net"])
def test_a_module_without_source_is_refused(path):
    with pytest.raises(ModelError, match=r"cannot be found|no source file"):
        source_hash(path)
