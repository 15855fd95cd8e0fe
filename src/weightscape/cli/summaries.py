"""What operations are declared and what each does, read without importing any of them.

``weightscape --help`` lists the operations; importing them would load pydantic and the settings of every room.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
from importlib.metadata import entry_points
from pathlib import Path


@functools.cache
def declared_operations() -> dict[str, str]:
    """Return the module of each operation that installed packages declare, sorted by name."""
    return dict(sorted((point.name, point.value) for point in entry_points(group="weightscape.operations")))


def operation_summary(name: str) -> str:
    """Return the first line of an operation's docstring; empty where its source cannot be read."""
    try:
        spec = importlib.util.find_spec(declared_operations()[name])
        tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8")) if spec and spec.origin else ast.Module([], [])
    except (ImportError, OSError, SyntaxError, ValueError):
        return ""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and any(_registers(item, name) for item in node.decorator_list):
            return (ast.get_docstring(node) or "").partition("\n")[0]
    return ""


def _registers(decorator: ast.expr, name: str) -> bool:
    if not (isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Name | ast.Attribute)):
        return False
    called = decorator.func.id if isinstance(decorator.func, ast.Name) else decorator.func.attr
    first = decorator.args[0] if decorator.args else None
    return called == "operation" and isinstance(first, ast.Constant) and first.value == name
