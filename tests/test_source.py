import hashlib
import importlib
import os
import sys

import pytest

from weightscape.errors import ModelError
from weightscape.source import check_source, import_dotted, import_library, require_library, source_hash


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


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A function that writes a file below a folder in which Python looks, later than the file was written before."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(name, text=""):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        before = file.stat().st_mtime_ns if file.exists() else 0
        file.write_text(text)
        os.utime(file, ns=(before + 10**9, before + 10**9))
        importlib.invalidate_caches()
        return file

    return write


@pytest.mark.parametrize(
    "statement",
    [
        "import lab_parts",
        "import lab_parts as parts",
        "from lab_parts import Block",
        "from lab_parts import *",
        "def build():\n    import lab_parts",
        "try:\n    import absent_thing\nexcept ImportError:\n    import lab_parts",
        "import torch, numpy, os.path, lab_parts",
    ],
)
def test_a_helper_that_changes_changes_the_hash(project, statement):
    project("lab_net.py", f"{statement}\nclass Net: pass")
    project("lab_parts.py", "class Block: pass")
    before = source_hash("lab_net.Net")
    assert source_hash("lab_net.Net") == before
    project("lab_parts.py", "class Block: pass  # changed")
    assert source_hash("lab_net.Net") != before


def test_a_helper_of_a_helper_counts_and_circles_end(project):
    project("lab_net.py", "import lab_first\nclass Net: pass")
    project("lab_first.py", "import lab_second")
    project("lab_second.py", "import lab_net, lab_second")
    before = source_hash("lab_net.Net")
    project("lab_second.py", "import lab_net, lab_second  # changed")
    assert source_hash("lab_net.Net") != before


@pytest.mark.parametrize(
    ("statement", "helper"),
    [
        ("from .parts import Block", "lab/nets/parts.py"),
        ("from . import parts", "lab/nets/parts.py"),
        ("from .. import shared", "lab/shared.py"),
        ("from ..tools.make import block", "lab/tools/make.py"),
        ("import lab.tools.make", "lab/tools/__init__.py"),
        ("import lab.tools.make", "lab/__init__.py"),
        ("", "lab/nets/__init__.py"),
        ("from lab import shared", "lab/shared.py"),
    ],
)
def test_imports_inside_a_package_are_followed_with_its_init_files(project, statement, helper):
    for name in ("__init__", "shared", "nets/__init__", "nets/parts", "tools/__init__", "tools/make"):
        project(f"lab/{name}.py")
    project("lab/nets/small.py", f"{statement}\nclass Net: pass")
    before = source_hash("lab.nets.small.Net")
    project(helper, "changed = True")
    assert source_hash("lab.nets.small.Net") != before
    assert "lab" not in sys.modules


def test_folders_without_init_are_packages_too(project):
    project("lab_space/parts.py")
    project("lab_space/net.py", "from lab_space.parts import block\nfrom . import parts\nclass Net: pass")
    before = source_hash("lab_space.net.Net")
    project("lab_space/parts.py", "changed = True")
    assert source_hash("lab_space.net.Net") != before


def test_files_that_are_not_imported_do_not_count(project):
    project("lab_net.py", "import lab_parts\nclass Net: pass")
    project("lab_parts.py")
    project("lab_other.py")
    before = source_hash("lab_net.Net")
    project("lab_other.py", "changed = True")
    assert source_hash("lab_net.Net") == before


def test_installed_packages_and_this_package_do_not_count(project, tmp_path, monkeypatch):
    installed = tmp_path / "lib" / "site-packages"
    installed.mkdir(parents=True)
    monkeypatch.syspath_prepend(installed)
    project("lib/site-packages/lab_installed.py")
    alone = project("lab_net.py", "class Net: pass")
    plain = source_hash("lab_net.Net")
    project("lab_net.py", "import lab_installed, torch, weightscape.seeds, json\nclass Net: pass")
    before = source_hash("lab_net.Net")
    project("lib/site-packages/lab_installed.py", "changed = True")
    assert source_hash("lab_net.Net") == before != plain
    assert before == hashlib.blake2b(alone.read_bytes(), digest_size=16).hexdigest()  # as without imports


def test_a_helper_that_is_no_python_counts_as_it_is(project):
    project("lab_net.py", "import lab_broken\nclass Net: pass")
    project("lab_broken.py", "def (")
    before = source_hash("lab_net.Net")
    project("lab_broken.py", "def ((")
    assert source_hash("lab_net.Net") != before


def test_hashing_runs_no_package_around_a_module(project):
    project("lab_loud/__init__.py", "raise SystemExit")
    project("lab_loud/net.py", "class Net: pass")
    assert source_hash("lab_loud.net.Net")
    check_source("lab_loud.net.Net")


@pytest.mark.parametrize(
    ("text", "path", "message"),
    [
        ("class Net:\n  def (", "lab_net.Net", r"lab_net\.py, line 2"),
        ("class Net: pass", "lab_net.Nett", "defines no 'Nett'. Did you mean 'Net'"),
        ("def net(*, width=3, depth=2): pass", "lab_net.net", "takes no argument 'dpeth'. Did you mean 'depth'"),
        ("class Net:\n    def __init__(self, depth): pass", "lab_net.Net", "takes no argument 'dpeth'"),
    ],
)
def test_what_cannot_work_is_found_without_running_it(project, text, path, message):
    project("lab_net.py", f"{text}\n")
    with pytest.raises(ModelError, match=message):
        check_source(path, {"dpeth"})
    assert "lab_net" not in sys.modules


@pytest.mark.parametrize(
    "text",
    [
        "from elsewhere import *",
        "from elsewhere import Net",
        "import elsewhere as Net",
        "def __getattr__(name): return 3",
        "if True:\n    def Net(**options): pass",
        "try:\n    from fast import Net\nexcept ImportError:\n    Net = None",
        "Net = make()",
        "first, Net = make()",
        "with open('x') as Net: pass",
        "for Net in (1, 2): pass",
        "class Net:\n    def __init__(self, **options): pass",
        "class Net(Base): pass",
        "class Net:\n    def __new__(cls, *a, **k): pass\n    def __init__(self): pass",
        "@decorated\nclass Net:\n    def __init__(self): pass",
        "@decorated\ndef Net(): pass",
    ],
)
def test_what_a_reader_cannot_be_sure_of_is_left_to_the_import(project, text):
    project("lab_net.py", f"{text}\n")
    check_source("lab_net.Net", {"anything"})


def test_a_library_that_is_not_there_is_named_with_its_installation():
    with pytest.raises(ModelError, match=r"timm:x needs absent_library, which is not installed"):
        require_library("absent_library", wanted_by="timm:x")


def test_a_library_that_fails_beside_this_torch_says_so(user_module):
    user_module("users_library", "raise RuntimeError('operator absent::nms does not exist')")
    with pytest.raises(ModelError, match=r"fails to import: RuntimeError\('operator absent::nms"):
        import_library("users_library", wanted_by="timm:x")
