"""User code named by a dotted path: find it, check it, import it, hash it with what it imports.

Finding, checking and hashing read files and run nothing of theirs, so that planning stays fast and free of torch.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Collection, Iterator
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import PackageNotFoundError, version
from itertools import accumulate
from pathlib import Path
from typing import Any

from weightscape.errors import ModelError, did_you_mean

DOTTED = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$"
"""What the dotted path of the user's own code looks like."""
_INSTALLED = {"site-packages", "dist-packages"}
_BUNDLED = {Path(__file__).parent, Path(os.__file__).parent}
_INSTALL = {
    "timm": "pip install 'weightscape[models]'",
    "torchvision": "pip install torchvision, in the version that belongs to your torch",
}


def import_dotted(path: str) -> Any:
    """Import ``package.module.name`` (or ``package.module:name``).

    Raises:
        ModelError: If the module cannot be imported, fails while it is imported, or has no such name.
    """
    module_name, _, name = path.replace(":", ".").rpartition(".")
    try:
        return getattr(importlib.import_module(module_name), name)
    except Exception as error:  # the module is foreign code: whatever it raises is its user's to read
        raise ModelError(
            f"{path!r} cannot be imported: {error!r}. A dotted path names a module that Python finds "
            "(the study's own folder is searched too) and a class or function in it."
        ) from error


def require_library(name: str, *, wanted_by: str) -> None:
    """Check that an optional library is installed, without importing it.

    Raises:
        ModelError: If it is not, with the command that installs it.
    """
    if name not in sys.modules and importlib.util.find_spec(name) is None:
        raise ModelError(f"{wanted_by} needs {name}, which is not installed. Run: {_INSTALL.get(name, name)}")


def library_version(name: str, *, wanted_by: str) -> str:
    """Return the name and version of an optional library, without importing it.

    Raises:
        ModelError: If it is not installed.
    """
    require_library(name, wanted_by=wanted_by)
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:  # a bare folder on the path
        return f"{name} of unknown version"


def import_library(name: str, *, wanted_by: str) -> Any:
    """Import an optional library.

    Raises:
        ModelError: If it is not installed, or does not work beside this PyTorch.
    """
    require_library(name, wanted_by=wanted_by)
    try:
        return importlib.import_module(name)
    except Exception as error:  # a library that was built for another PyTorch may raise anything
        remedy = "Install builds of torch and torchvision that belong together: https://pytorch.org/get-started"
        raise ModelError(
            f"{wanted_by} needs {name}, which is installed but fails to import: {error!r}. {remedy}"
        ) from error


def source_hash(path: str) -> str:
    """Return the blake2b hash of the file of the module that `path` names and of the user's files that it imports.

    Followed are ``import`` statements wherever they stand, relative and absolute, and the ``__init__.py`` of each
    package on the way. Not followed is what is installed (``site-packages``), Python's own library, this package, names
    computed at run time, and what an installed module imports.

    Raises:
        ModelError: If the module does not exist or has no source file.
    """
    module = path.replace(":", ".").rpartition(".")[0]
    start = _source_file(path, module)
    own = _file_hash(start, start.stat().st_mtime_ns)
    helpers = _imported_files(module, start)
    if not helpers:
        return own
    lines = [own, *(f"{name} {_file_hash(file, file.stat().st_mtime_ns)}" for name, file in sorted(helpers.items()))]
    return hashlib.blake2b("\n".join(lines).encode(), digest_size=16).hexdigest()


def check_source(path: str, arguments: Collection[str] = ()) -> None:
    """Check without running it that a file is Python, defines the name, and that this takes arguments of these names.

    What a file can hide from a reader (names made at run time, decorators, base classes) is left to the import.

    Raises:
        ModelError: If it cannot work.
    """
    module, _, name = path.replace(":", ".").rpartition(".")
    file = _source_file(path, module)
    if file.suffix != ".py":
        return
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError) as error:
        where, what = (f"{file}, line {error.lineno}", error.msg) if isinstance(error, SyntaxError) else (file, error)
        raise ModelError(f"{path!r} cannot be imported: {where}: {what}") from error
    bound = dict(_bound(tree.body))
    if name not in bound and not bound.keys() & {"*", "__getattr__"}:
        public = [known for known in bound if not known.startswith("_")]
        raise ModelError(f"{path!r} cannot be imported: {file} defines no {name!r}. {did_you_mean(name, public)}")
    parameters = _parameters(bound.get(name))
    for argument in arguments:
        if parameters is not None and argument not in parameters:
            raise ModelError(f"{path} takes no argument {argument!r}. {did_you_mean(argument, parameters)}")


def _source_file(path: str, module: str) -> Path:
    spec = _find(module)
    if spec is None or not spec.origin or not spec.has_location:
        raise ModelError(f"The module {module!r} of {path!r} has no source file on Python's path or beside the study.")
    return Path(spec.origin)


@functools.lru_cache
def _file_hash(path: Path, modified: int) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()


def _find(module: str) -> ModuleSpec | None:
    """Return where a module is, without importing the packages around it, as ``importlib.util.find_spec`` would."""
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    for name in rest:
        if spec is None or spec.submodule_search_locations is None:
            return None
        spec = PathFinder.find_spec(f"{spec.name}.{name}", spec.submodule_search_locations)
    return spec


def _imported_files(module: str, start: Path) -> dict[str, Path]:
    """Return the user's own files that a module imports, directly or not, by module name, without its own file."""
    if not _is_users(start):
        return {}
    found: dict[str, Path] = {}
    others, waiting = set(sys.stdlib_module_names), [module]
    while waiting:
        for name in _with_parents(waiting.pop()):
            if name in others:
                break
            if name in found:
                continue
            spec = _find(name)
            file = Path(spec.origin) if spec and spec.origin and spec.has_location else None
            if spec is None or (file and not _is_users(file)):
                others.add(name)
                break
            if file:
                found[name] = file
                package = name if spec.submodule_search_locations is not None else name.rpartition(".")[0]
                waiting += _imports(file, file.stat().st_mtime_ns, package)
    return {name: file for name, file in found.items() if file != start}


def _with_parents(module: str) -> Iterator[str]:
    return accumulate(module.split("."), "{}.{}".format)


def _is_users(file: Path) -> bool:
    """Return whether a file is Python that neither an installer, nor Python, nor this package brought."""
    return file.suffix == ".py" and _INSTALLED.isdisjoint(file.parts) and _BUNDLED.isdisjoint(file.parents)


@functools.lru_cache(maxsize=4096)
def _imports(file: Path, modified: int, package: str) -> frozenset[str]:
    """Return the names of all modules that a file may import; some are names inside modules, which nobody finds."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):  # it will be told when the file is imported; its hash is as good as any
        return frozenset()
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, package)
            found |= {base, *(f"{base}.{alias.name}" for alias in node.names)} if base else set()
    return frozenset(found)


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parents = package.split(".")
    kept = parents[: len(parents) - node.level + 1]
    return ".".join([*kept, node.module] if node.module else kept)


def _bound(body: list[ast.stmt]) -> Iterator[tuple[str, ast.stmt]]:
    """Yield the names that statements at the top of a module bind, each with its statement; ``*`` for a star import."""
    for node in body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name, node
            case ast.Import() | ast.ImportFrom():
                yield from (((alias.asname or alias.name).partition(".")[0], node) for alias in node.names)
            case _:
                for child in ast.iter_child_nodes(node):
                    if isinstance(child, ast.stmt):
                        yield from _bound([child])
                    elif isinstance(child, ast.ExceptHandler | ast.match_case):
                        yield from _bound(child.body)
                    else:
                        parts = (part for part in ast.walk(child) if isinstance(part, ast.Name))
                        yield from ((part.id, node) for part in parts if isinstance(part.ctx, ast.Store))


def _parameters(node: ast.stmt | None) -> set[str] | None:
    """Return the keyword parameters of a plain function or of a class with a plain ``__init__``, None where unsure."""
    if isinstance(node, ast.ClassDef) and not node.decorator_list and not node.keywords:
        own = [member for member in node.body if isinstance(member, ast.FunctionDef)]
        inits = [member for member in own if member.name == "__init__"]
        return _parameters(inits[0]) if len(inits) == 1 and "__new__" not in {member.name for member in own} else None
    if not isinstance(node, ast.FunctionDef) or node.decorator_list or node.args.kwarg:
        return None
    return {argument.arg for argument in [*node.args.args, *node.args.kwonlyargs]} - {"self"}
